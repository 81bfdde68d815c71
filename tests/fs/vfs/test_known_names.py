"""Names that a volume knows: a warm one asks the format nothing, and none is believed longer than
it is true.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import octavo
from octavo.files import Volume
from octavo.fs.fat.directory import FatDirectory
from octavo.fs.vfs.known import Changed, KnownNames
from octavo.fs.vfs.node import Directory
from octavo.fs.vfs.volume import Volume as Mounted
from octavo.status import StatusError
from tests.conftest import fsck, make_image
from tests.fs.ext.trees import make_ext

FOLDED = {12: 1 << 20, 16: 16 << 20, 32: 40 << 20}


def known_of(volume: Volume) -> KnownNames[Any]:
    """The names that a volume knows."""
    return cast(Mounted[Any], volume.core).nodes.known


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Volume], Counter[str]]:
    """Counts what a volume asks its format, its directories and its links."""

    def count(volume: Volume) -> Counter[str]:
        counter: Counter[str] = Counter()

        def noted(name: str, old: Callable[..., Any]) -> Callable[..., Any]:
            def act(*arguments: Any) -> Any:
                counter[name] += 1
                return old(*arguments)

            return act

        core = cast(Mounted[Any], volume.core)
        for name in ("locate", "parse", "target", "is_link", "glance", "inode", "space"):
            if hasattr(core.format, name):
                monkeypatch.setattr(core.format, name, noted(name, getattr(core.format, name)))
        for kind in (Directory, FatDirectory):
            for name in ("find", "key", "keys"):
                monkeypatch.setattr(kind, name, noted(name, getattr(kind, name)))
        return counter

    return count


def ext2_image(folder: Path) -> Path:
    """A directory, a file in it, and links to both."""
    tree = folder / "tree"
    (tree / "Long Directory").mkdir(parents=True)
    (tree / "Long Directory" / "a long name.txt").write_text("text")
    (tree / "way").symlink_to("Long Directory")
    (tree / "link").symlink_to("way/a long name.txt")
    return make_ext(folder / "disk.img", "1M", tree)


def fat_image(folder: Path, bits: int) -> Path:
    """The same without links."""
    image = make_image(folder / "disk.img", FOLDED[bits], bits)
    with octavo.open_image(image) as volume:
        volume.mkdir("Long Directory")
        volume.write_bytes("Long Directory/a long name.txt", b"text")
    return image


@pytest.mark.dosfstools
@pytest.mark.e2fsprogs
@pytest.mark.parametrize("kind", [12, 16, 32, "ext2"])
def test_a_warm_name_asks_the_format_nothing(
    tmp_path: Path, kind: Any, asked: Callable[[Volume], Counter[str]]
) -> None:
    """`stat`, `open`, `exists` and what is not there, on every format, by long names, aliases and
    links; the statistics say so.
    """
    image = ext2_image(tmp_path) if kind == "ext2" else fat_image(tmp_path, kind)
    there = ["Long Directory", "Long Directory/a long name.txt"]
    there += ["link", "way/a long name.txt"] if kind == "ext2" else ["LONGDI~1/ALONGN~1.TXT"]
    missing = ["nothing", "Long Directory/nothing", "Long Directory/Nothing.", "LONGDI~1/no"]
    with octavo.open_image(image) as volume:
        counter = asked(volume)
        for warm in (False, True):
            before = dict(cast("dict[str, int]", volume.statistics()["names"]))
            for path in there:
                assert volume.stat(path).is_directory == (path == there[0])
                if path != there[0]:
                    with volume.open(path) as file:
                        assert file.size == 4
            for path in missing:
                assert not volume.exists(path)
                with pytest.raises(StatusError):
                    volume.open(path)
            now = cast("dict[str, int]", volume.statistics()["names"])
            assert bool(counter) != warm, counter
            assert (now["misses"] == before["misses"]) == warm and now["hits"] > before["hits"]
            counter.clear()
        assert now["entries"] >= len(there)


@pytest.mark.dosfstools
def test_another_handle_and_attributes_are_seen(tmp_path: Path) -> None:
    """A warm name's size, time and attributes are those of the file, whoever changes them."""
    with octavo.open_image(fat_image(tmp_path, 16)) as volume:
        path = "long directory/A Long Name.TXT"
        assert volume.stat(path).size == 4
        with volume.open("LONGDI~1/alongn~1.txt", "ab") as file:
            file.write(b"more")
            assert volume.stat(path).size == 8
            file.set_modified(1e9)
        assert volume.stat(path).modified.year == 2001
        volume.set_attributes(path, on="h")
        assert "h" in volume.stat("Long Directory/a long name.txt").flags
        known_of(volume).check()


@pytest.mark.dosfstools
def test_what_is_known_is_bounded(tmp_path: Path) -> None:
    """Names, those of nothing too, ways to directories: the oldest go, what is used stays."""
    with octavo.open_image(fat_image(tmp_path, 16)) as volume:
        known = known_of(volume)
        known.most = 50
        for i in range(300):
            assert not volume.exists(f"nothing {i}")
            assert not volume.exists("./" * i + "Long Directory/no")
            assert volume.exists("Long Directory")
            known.check()
        misses = known.misses
        assert volume.exists("Long Directory") and known.misses == misses and len(known) == 50


@pytest.mark.dosfstools
def test_changes_are_plain_data(tmp_path: Path) -> None:
    """What was told, as JSON, keeps another's names true that hears of nothing else."""
    told: list[str] = []
    with octavo.open_image(fat_image(tmp_path, 16)) as volume:
        known, other = known_of(volume), KnownNames[Any](100)
        tell, note = known.tell, known.note
        known.tell = lambda changed: (told.append(json.dumps(changed)), tell(changed))[1]  # type: ignore
        known.note = lambda *a: (other.note(*a), note(*a))[1]  # type: ignore
        names = ["A LONG NAME.TXT", "alongn~2.txt", "a long name 2.txt", "B", "b.", "c"]
        steps: list[Callable[[], object]] = [
            lambda: volume.write_bytes("Long Directory/a long name 2.txt", b""),
            lambda: volume.write_bytes("Long Directory/b", b""),
            lambda: volume.rename("Long Directory/b", "Long Directory/C"),
            lambda: volume.rename("Long Directory/C", "Long Directory/a long name 2.txt", True),
            lambda: volume.remove("Long Directory/alongn~1.txt"),
            lambda: volume.rename("Long Directory", "d"),
        ]
        for step in steps:
            for name in names:
                volume.exists(f"Long Directory/{name}")
            step()
            while told:
                directory, keys, tree = json.loads(told.pop(0))
                other.tell(Changed(directory, tuple(keys), tree))
            other.check()
            for name in names:
                found = other.find(f"Long Directory/{name}")
                assert found is None or found.entry is found.directory.find(name), name
        assert not len(other)


POOL = [
    *("a.txt", "A.TXT", "a long name.txt", "A Long Name.TXT", "ALONGN~1.TXT", "alongn~2.txt"),
    *("a long name 2.txt", "b", "B. ", "grün", "GRÜN", "GRN~1"),
]
PLACES = ["", "dir", "DIR", "Another Directory", "anothe~1"]
TEXTS = [f"{place}/{name}".lstrip("/") for place in PLACES for name in POOL]


class Item:
    """A file or directory of the model: its names, its size, what is in it."""

    def __init__(self, name: str, short: str, inside: list[Item] | None) -> None:
        self.name, self.short, self.inside, self.size = name, short, inside, 0

    def called(self, name: str) -> bool:
        """Whether a name, in whatever case, is its own."""
        name = name.rstrip(". ").upper()
        return name in (self.name.upper(), self.short.upper())


class KnownMachine(RuleBasedStateMachine):
    """Changes of names, by all they go by, against a model; look-ups in between that are known."""

    @initialize(bits=st.sampled_from([12, 16, 32]), most=st.sampled_from([5, 1000]))
    def begin(self, bits: int, most: int) -> None:
        """Two directories."""
        self.folder = Path(tempfile.mkdtemp())
        self.image = make_image(self.folder / "disk.img", FOLDED[bits], bits)
        self.system = octavo.boot("4M", [self.image])
        self.volume = next(iter(self.system.volumes.values()))
        self.known = known_of(self.volume)
        self.known.most = most
        self.root = Item("", "", [])
        self.open: dict[int, tuple[Item, Any]] = {}
        for name in ("dir", "Another Directory"):
            self.volume.mkdir(name)
            self.note(self.root, name, [])

    def find(self, path: str) -> tuple[Item | None, Item | None]:
        """(the directory that it is in, the item), as far as they are there."""
        place, _, name = path.rpartition("/")
        above = self.find(place)[1] if place else self.root
        if above is None or above.inside is None:
            return None, None
        return above, next((item for item in above.inside if item.called(name)), None)

    def note(self, above: Item, name: str, inside: list[Item] | None) -> Item:
        """A new item, with the alias that a listing shows."""
        name = name.rstrip(". ")
        place = "" if above is self.root else above.name
        short = next(e.short_name for e in self.volume.entries(place) if e.name == name)
        item = Item(name, short, inside)
        assert above.inside is not None
        above.inside.append(item)
        return item

    def attempt(self, may: bool, action: Callable[[], object]) -> bool:
        """Does what the model says may be done, and only that."""
        try:
            action()
        except StatusError as error:
            assert not may, error
            return False
        assert may, "it was done, and may not be"
        return True

    @rule(path=st.sampled_from(TEXTS), directory=st.booleans())
    def make(self, path: str, directory: bool) -> None:
        """A file, or a directory."""
        above, item = self.find(path)
        act = self.volume.mkdir if directory else lambda p: self.volume.create_bytes(p, b"")
        may = above is not None and item is None
        if self.attempt(may, lambda: act(path)) and above is not None:
            self.note(above, path.rpartition("/")[2], [] if directory else None)

    @rule(path=st.sampled_from([*TEXTS, *PLACES[1:]]))
    def remove(self, path: str) -> None:
        """A file, or an empty directory."""
        above, item = self.find(path)
        full = item is not None and bool(item.inside)
        act = self.volume.remove if item and item.inside is None else self.volume.rmdir
        may = item is not None and not full and id(item) not in self.open
        if self.attempt(may, lambda: act(path)) and above and item and above.inside is not None:
            above.inside.remove(item)

    @rule(
        old=st.sampled_from([*TEXTS, *PLACES[1:]]),
        new=st.sampled_from([*TEXTS, "dir", "DIR", "Another directory"]),
        replace=st.booleans(),
    )
    def rename(self, old: str, new: str, replace: bool) -> None:
        """Another name, case or place; over a file."""
        above, item = self.find(old)
        target, taken = self.find(new)
        within = item is not None and target is not None and (target is item or item is target)
        files = all(i is not None and i.inside is None for i in (item, taken))
        free = (
            taken is None or (taken is item) or (replace and files and id(taken) not in self.open)
        )
        may = bool(item and target and free) and not within and id(item) not in self.open
        if item is not None and item.inside is not None and target not in (None, self.root):
            may = may and not self._inside(item, target)
        if not self.attempt(may, lambda: self.volume.rename(old, new, replace)):
            return
        assert item and above and target and above.inside is not None and target.inside is not None
        name = new.rpartition("/")[2]
        if taken is not None and taken is not item:
            target.inside.remove(taken)
            name = taken.name
        above.inside.remove(item)
        self.note(target, name, item.inside).size = item.size

    def _inside(self, item: Item, target: Item | None) -> bool:
        return target is item or any(self._inside(i, target) for i in item.inside or ())

    @rule(path=st.sampled_from(TEXTS), count=st.integers(1, 700))
    def write(self, path: str, count: int) -> None:
        """A handle that is kept open writes."""
        _, item = self.find(path)
        if item is None or item.inside is not None:
            return
        if id(item) not in self.open:
            self.open[id(item)] = item, self.volume.open(path, "ab")
        self.open[id(item)][1].write(bytes(count))
        item.size += count

    @rule()
    def close(self) -> None:
        """All handles."""
        for _, file in self.open.values():
            file.close()
        self.open.clear()

    @rule(trim=st.booleans())
    def flush(self, trim: bool) -> None:
        """Everything is written; nodes that nobody needs go."""
        self.volume.flush()
        if trim:
            self.system.scheduler.run(cast(Mounted[Any], self.volume.core).nodes.trim())

    @invariant()
    def names_are_true(self) -> None:
        """Twice: what is known then is as what is found."""
        if not hasattr(self, "volume"):
            return
        for path in [*TEXTS, *TEXTS]:
            item = self.find(path)[1]
            assert self.volume.exists(path) == (item is not None), path
            if item is not None:
                info = self.volume.stat(path)
                assert (info.name, info.size, info.is_directory) == (
                    *(item.name, item.size),
                    item.inside is not None,
                )
        self.known.check()

    def teardown(self) -> None:
        """fsck.fat judges the image."""
        if hasattr(self, "system"):
            self.close()
            self.system.close()
            fsck(self.image)
            shutil.rmtree(self.folder)


KnownMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestKnownNames = pytest.mark.dosfstools(KnownMachine.TestCase)
