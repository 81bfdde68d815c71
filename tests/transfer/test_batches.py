"""Many files at once into a volume: what is there then, and how it came there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import octavo
from octavo.status import Status
from octavo.storage.image import ImageDisk
from octavo.threads.scheduler import Scheduler
from octavo.transfer import batch as batches
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.volume import VolumeTree
from tests.conftest import fsck, make_image, run
from tests.transfer.copies import OneByOne, contents, copy
from tests.volumes import fat_of

NAMES = [
    *(
        "README",
        "readme.txt",
        "Mixed.txt",
        "lower.c",
        "A.TXT",
        "x" * 13,
        "y" * 26 + ".é",
        "z" * 255,
    ),
    *("äöü.txt", "naïve name.text", "漢字.txt", "😀 smile.txt", "a.b.c.d", ".hidden", "A" * 12),
    *("many words here.doc", "[odd]+(name);=,.x", "no extension at all", "very long.extension"),
]
VOLUMES = [(12, 4 << 20, 4096), (12, 1 << 20, 512), (16, 40 << 20, 2048), (32, 40 << 20, 512)]


def make_tree(root: Path) -> None:
    """Files of all kinds of names and sizes, some of them many of a kind."""
    sizes = [0, 1, 511, 512, 513, 4096, 5000, 20_000]
    for number, folder in enumerate(("", "d", "d/e", "Another Folder", "empty")):
        (root / folder).mkdir(parents=True)
        for i, name in enumerate(NAMES[: 0 if folder == "empty" else 20 - 2 * number]):
            (root / folder / name).write_bytes(bytes([i + 65]) * sizes[(i + number) % 8])
            os.utime(root / folder / name, (0, 1e9 + 86400 * 37 * i + i))
    for i in range(12):
        (root / "d" / f"a name that is the same {i}.txt").write_bytes(b"%d" % i)


@pytest.fixture(name="tree")
def _tree(source: Path) -> Path:
    make_tree(source / "tree")
    return source / "tree"


def open_slowly(image: Path) -> octavo.System:
    """A machine whose clock stands still, with the image."""
    system = octavo.boot("4M", seed=1)
    system.attach_device(ImageDisk(image, system.scheduler))
    return system


def listing(volume: octavo.Volume) -> list[tuple[object, ...]]:
    """All that entries say, in their order."""
    said = ["name", "short_name", "size", "modified", "created", "flags", "slot", "slots"]
    return [
        (d, *(getattr(entry, what) for what in said))
        for d, _ in volume.walk()
        for entry in volume.entries(d)
    ]


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize(("bits", "size", "cluster"), VOLUMES)
def test_a_batch_is_what_one_by_one_would_make(
    bits: int, size: int, cluster: int, tree: Path, tmp_path: Path
) -> None:
    """The same names, long and short, in the same slots, with the same times and bytes; mtools
    reads the tree that was copied.
    """
    found = []
    for kind, name in ((VolumeTree, "many.img"), (OneByOne, "one.img")):
        image = make_image(tmp_path / name, size, bits, cluster)
        with open_slowly(image) as system:
            volume = system.volumes["C:"]
            volume.write_bytes("before.txt", b"b" * 5000)
            plan, told = copy(HostTree(), tree, kind(volume, ""), "/")
            assert told == [] and all(s.done == (kind is VolumeTree) for s in plan.steps)
            found.append((listing(volume), contents(volume), volume.space().free))
            system.check()
            assert volume.check() == []
        fsck(image)
    assert found[0] == found[1]
    back = tmp_path / "back"
    back.mkdir()
    run("env", "LC_ALL=C.UTF-8", "mcopy", "-s", "-Q", "-i", tmp_path / "many.img", "::tree", back)
    run("diff", "-r", "-x", "*smile.txt", tree, back / "tree")  # mtools writes them as "__"


@pytest.mark.parametrize("memory", ["1M", "2M", "4M"])
def test_a_small_memory_takes_more_stages(memory: str, tree: Path, image: Path) -> None:
    """Also for files that are larger than a stage."""
    (tree / "large.bin").write_bytes(os.urandom(3_000_001))
    (tree / "whole.bin").write_bytes(os.urandom(1 << 21))
    with octavo.boot(memory, disks=[image]) as system:
        volume = system.volumes["C:"]
        plan, told = copy(HostTree(), tree, VolumeTree(volume, ""), "/")
        assert told == [] and all(step.done for step in plan.steps)
        system.check()
        for name in ("large.bin", "whole.bin", "d/e/lower.c"):
            assert volume.read_bytes(f"tree/{name}") == (tree / name).read_bytes()
    fsck(image)


def test_behind_a_file_are_zeros(source: Path, tmp_path: Path) -> None:
    """In its last cluster: the stage had other files' bytes there. A file that cannot be read takes
    none with it.
    """
    image = make_image(tmp_path / "disk.img", 64 << 20, 16, 16384)
    for i in range(700):  # more than one stage
        (source / f"{i}").write_bytes(b"x" * (16000 - i))
    (source / "b").symlink_to(source / "0")
    with octavo.open_image(image) as volume:
        plan = plan_copy([(HostTree(), str(source))], VolumeTree(volume, ""), "", True)
        (source / "350").unlink()
        assert len(run_copy(plan)) == 1
        numbers = [volume.stat(f"source/{i}").number for i in range(700) if i != 350]
        layout = fat_of(volume).geometry
    data = image.read_bytes()
    for size, number in zip([16000 - i for i in range(700) if i != 350], numbers, strict=True):
        place = layout.place(number)
        assert data[place : place + 16384] == b"x" * size + bytes(16384 - size)


def test_what_is_there_is_left_to_the_other_way(tree: Path, image: Path) -> None:
    """Files that are replaced, and directories that are there, beside what is new."""
    with octavo.open_image(image) as volume:
        volume.mkdir("tree/d", parents=True)
        volume.write_bytes("tree/README", b"old")
        volume.write_bytes("tree/d/other", b"other")
        plan, told = copy(HostTree(), tree, VolumeTree(volume, ""), "/")
        assert told == []
        assert [s.to for s in plan.steps if not s.done] == ["/tree", "/tree/README", "/tree/d"]
        assert volume.read_bytes("tree/README") == (tree / "README").read_bytes()
        assert volume.read_bytes("tree/d/e/README") == (tree / "d/e/README").read_bytes()
        assert volume.read_bytes("tree/d/other") == b"other"
        assert volume.check() == []
    fsck(image)


def test_batches_are_bounded(tree: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In steps and bytes: what follows finds the directories of the one before it."""
    monkeypatch.setattr(batches, "MOST_STEPS", 7)
    monkeypatch.setattr(batches, "MOST_BYTES", 19_999)  # some files are larger
    with octavo.open_image(image) as volume:
        plan, told = copy(HostTree(), tree, VolumeTree(volume, ""), "/")
        assert told == []
        assert {s.item.size for s in plan.steps if not s.done} == {20_000}
        assert len(contents(volume)) == plan.files
        assert volume.check() == []
    fsck(image)


def test_a_name_that_meets_a_short_name_is_told(source: Path, image: Path) -> None:
    """As it is without batches; a directory takes all below it with it."""
    (source / "ALONGE~1.TXT").mkdir()
    (source / "ALONGE~1.TXT" / "below").write_text("b")
    (source / "A longer file name.txt").write_text("long")
    (source / "other").write_text("o")
    for kind in (VolumeTree, OneByOne):
        with octavo.open_image(image) as volume:
            told = copy(HostTree(), source, kind(volume, ""), "/")[1]
            assert [error.status for error in told] == [Status.OBJECT_NAME_COLLISION]
            assert set(contents(volume)) == {"SOURCE/A LONGER FILE NAME.TXT", "SOURCE/OTHER"}
            volume.rmtree("source")


def test_a_directory_of_too_many_names_is_told(
    source: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left to the other way, with what is below it; the rest is not."""
    from octavo.fs.fat import packer

    monkeypatch.setattr(packer, "MOST_DIRECTORY_BYTES", 2048)
    for name in ("few", "many"):
        (source / name / "inner").mkdir(parents=True)
        (source / name / "inner" / "x").write_text(name)
    for i in range(70):
        (source / "many" / f"{i}").write_text("m")
    with octavo.open_image(image) as volume:
        plan, told = copy(HostTree(), source, VolumeTree(volume, ""), "/")
        assert told == [] and len(contents(volume)) == plan.files
        left = {s.to for s in plan.steps if not s.done}
        assert left == {s.to for s in plan.steps if "/many" in s.to}
    fsck(image)


# -- the host --------------------------------------------------------------------------------------


def grow(path: Path) -> None:
    """A file gets longer."""
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    """A file gets shorter."""
    os.truncate(path, 100)


@pytest.mark.parametrize("change", [grow, shrink, Path.unlink])
@pytest.mark.parametrize("size", [512, 1000, 1 << 20])
@pytest.mark.parametrize("memory", ["1M", "8M"])
def test_a_file_that_changes_is_told_and_the_others_are_copied(
    change: Callable[[Path], None], size: int, memory: str, source: Path, image: Path
) -> None:
    """One sentence for it; nothing of other files is in what is there of it."""
    for name in "abcde":
        (source / name).write_bytes(name.encode() * size)
    with octavo.boot(memory, disks=[image]) as system:
        volume = system.volumes["C:"]
        plan = plan_copy([(HostTree(), str(source))], VolumeTree(volume, ""), "", True)
        change(source / "c")
        [error] = run_copy(plan)
        assert str(source / "c") in error.text
        assert [s.to for s in plan.steps if not s.done] == ["/source/c"]
        for name in "abde":
            assert volume.read_bytes(f"source/{name}") == name.encode() * size
        if change is not Path.unlink:
            assert volume.read_bytes("source/c") == (source / "c").read_bytes()
        assert volume.exists("source/c") == (change is not Path.unlink)
        volume.flush()
        assert volume.check() == []
        system.check()
    fsck(image)


@pytest.mark.parametrize("at", [0, 3, 7])
def test_an_interrupt_keeps_what_is_whole(
    at: int, source: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a file is read: that one and those before it are there, and nothing else."""
    for i in range(8):
        (source / f"{i}").write_bytes(b"%d" % i * 3000)
    read, seen = os.preadv, []

    def interrupted(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        seen.extend([fd] if not flags else [])  # the image is read with flags
        if len(seen) == at + 1:
            Scheduler.interrupt(KeyboardInterrupt())
        return read(fd, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", interrupted)
    with octavo.open_image(image) as volume:
        plan = plan_copy([(HostTree(), str(source))], VolumeTree(volume, ""), "", True)
        with pytest.raises(KeyboardInterrupt):
            run_copy(plan)
        monkeypatch.setattr(os, "preadv", read)
        assert sorted(contents(volume)) == [f"SOURCE/{i}" for i in range(at + 1)]
        assert all(volume.read_bytes(f"source/{i}") == b"%d" % i * 3000 for i in range(at + 1))
        assert copy(HostTree(), source, VolumeTree(volume, ""), "/")[1] == []
        volume.flush()
        assert volume.check() == []
    fsck(image)
