"""Copies onto small volumes: what does not fit is refused before anything is lost."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import octavo
from octavo.cli.main import run as octavo_run
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.volume import VolumeTree
from tests.conftest import fsck
from tests.transfer.copies import OLD, contents, copy, device_error


@pytest.fixture
def tight(tmp_path: Path) -> Iterator[octavo.Volume]:
    """A volume of 4 MiB with 2 KiB clusters, full but for 10 clusters; it has old.bin of 10
    clusters and big.bin of 600.
    """
    path = tmp_path / "tight.img"
    assert (
        octavo_run(["mkfs", "--size", "4M", "--type", "fat12", "--cluster", "2K", str(path)]) == 0
    )
    with octavo.open_image(path) as mounted:
        mounted.write_bytes("old.bin", b"o" * 20480)
        mounted.write_bytes("big.bin", b"b" * 600 * 2048)
        mounted.write_bytes("rest.bin", bytes(mounted.space().free - 20480))
        mounted.flush()
        assert mounted.space().free == 20480
        yield mounted
        assert (
            {"old.bin", "big.bin", "rest.bin"}
            <= {e.name for e in mounted.entries()}
            <= {"old.bin", "big.bin", "rest.bin", "new", "d0", "d1"}
        )
        assert mounted.check() == []
    fsck(path)


@pytest.mark.dosfstools
@pytest.mark.parametrize(
    ("name", "clusters", "fits"),
    [
        ("new", 10, True),
        ("new", 11, False),
        ("old.bin", 10, True),
        ("old.bin", 20, True),
        ("old.bin", 21, False),
        ("big.bin", 600, False),
        ("big.bin", 10, True),
    ],
)
def test_room_is_known_before_the_first_byte(
    name: str, clusters: int, fits: bool, tight: octavo.Volume, source: Path
) -> None:
    """To the last cluster and one beyond: a new file, one beside the old, one over the old, and a
    large one that only fits without the old.
    """
    before = {e.name: tight.read_bytes(e.name) for e in tight.entries()}
    data = os.urandom(clusters * 2048 - 1)
    (source / name).write_bytes(data)
    tree = VolumeTree(tight, "")
    if fits:
        assert copy(HostTree(), source / name, tree, "/")[1] == []
        before[name] = data
    else:
        said = (
            "remove the old one first"
            if name == "big.bin"
            else "22 KiB are needed, and 20 KiB are free"
            if name == "new"
            else "the volume is full"
        )
        with pytest.raises(StatusError, match=said) as caught:
            plan_copy([(HostTree(), str(source / name))], tree, "/", False)
        assert caught.value.status == Status.DISK_FULL
    assert {e.name: tight.read_bytes(e.name) for e in tight.entries()} == before


@pytest.mark.dosfstools
def test_room_for_a_tree_counts_directories(tight: octavo.Volume, source: Path) -> None:
    """Ten clusters: a directory of five files of a cluster, and four more of another; a fifth there
    is one too many.
    """
    for i in range(9):
        (source / f"d{i // 5}").mkdir(exist_ok=True)
        (source / f"d{i // 5}" / f"f{i}").write_bytes(bytes(2048))
    with pytest.raises(StatusError, match="24 KiB are needed"):
        plan_copy([(HostTree(), str(source))], VolumeTree(tight, ""), "/", True)
    (source / "d1" / "f8").unlink()
    with pytest.raises(StatusError, match="22 KiB are needed"):
        plan_copy([(HostTree(), str(source))], VolumeTree(tight, ""), "/", True)
    assert copy(HostTree(), f"{source}/.", VolumeTree(tight, ""), "/")[1] == []
    assert tight.space().free == 0


@pytest.mark.dosfstools
@pytest.mark.parametrize("step", range(1, 4))
def test_write_bytes_that_fails_over_the_old_contents_puts_them_back(
    step: int, tight: octavo.Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room beside: room is taken first, then an error comes in the middle of the n-th write into
    the cache.
    """
    cache, count = tight.core.cache, 0  # type: ignore[attr-defined]  # not of all volumes
    write = cache.copy_write

    async def failing(section: Section, offset: int, data: bytes) -> None:
        nonlocal count
        count += 1
        if count == step:
            await write(section, offset, data[: len(data) // 2])
            raise StatusError(Status.NO_MEMORY, "no memory")
        await write(section, offset, data)

    monkeypatch.setattr(cache, "copy_write", failing)
    try:
        tight.write_bytes("old.bin", b"n" * 30000)
        expected = b"n" * 30000
    except StatusError as error:
        assert error.status == Status.NO_MEMORY
        expected = b"o" * 20480
    monkeypatch.undo()
    assert tight.read_bytes("old.bin") == expected and (count >= step or expected[0] == ord("n"))


def test_write_bytes_to_an_open_file_is_seen_by_who_has_it_open(volume: octavo.Volume) -> None:
    """It cannot be replaced then: it is written over."""
    volume.write_bytes("a", b"old contents")
    with volume.open("a") as file:
        volume.write_bytes("a", b"new")
        assert file.read() == b"new"
    assert [e.name for e in volume.entries()] == ["a"]


def test_a_read_only_file_is_not_replaced(volume: octavo.Volume, source: Path) -> None:
    """By no way in."""
    volume.write_bytes("a", OLD)
    entry = volume.stat("a")
    entry.attributes |= 1  # type: ignore[attr-defined]  # of an entry of FAT
    (source / "a").write_bytes(b"new")
    assert [e.status for e in copy(HostTree(), source / "a", VolumeTree(volume, ""), "a")[1]] == [
        Status.ACCESS_DENIED
    ]
    with pytest.raises(StatusError, match="read-only"):
        volume.write_bytes("a", b"new")
    assert volume.read_bytes("a") == OLD


@dataclass
class Wanted:
    """A file to copy: its name in the source, its size, and whether its source fails."""

    name: str
    size: int
    fails: bool


WANTED = st.builds(
    Wanted,
    st.sampled_from(
        [
            "a",
            "A",
            "b.txt",
            "B.TXT. ",
            "a long name.txt",
            "ALONGN~1.TXT",
            "c?",
            "d\\e",
            "dir/a",
            "dir/x y z",
        ]
    ),
    st.integers(0, 20_000),
    st.sampled_from([False, False, False, True]),
)


@settings(max_examples=60)
@given(st.lists(st.lists(WANTED, min_size=1, max_size=6), max_size=12), st.integers(0, 2))
def test_any_copies_onto_a_small_volume(
    tmp_path_factory: pytest.TempPathFactory, commands: list[list[Wanted]], fill: int
) -> None:
    """Many copies onto 64 KiB, full a third of the time: a file is the new one or the old one,
    never a part; each that is not there was told.
    """
    folder = tmp_path_factory.mktemp("copies")
    image = folder / "small.img"
    octavo_run(["mkfs", "--size", "64K", str(image)])
    with octavo.open_image(image) as volume:
        target = VolumeTree(volume, "")
        if fill == 0:
            volume.write_bytes("filler", bytes(volume.space().free - 4096))
        for number, wanted in enumerate(commands):
            before = contents(volume)
            for one in wanted:
                path = folder / str(number) / one.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes([number + 1]) * one.size)
            failing = {str(folder / str(number) / w.name) for w in wanted if w.fails}
            told = do_copy(volume, target, folder / str(number), failing)
            after = contents(volume)
            made = {key: data for key, data in after.items() if before.get(key) != data}
            files = [p for p in sorted((folder / str(number)).rglob("*")) if p.is_file()]
            assert all(set(data) <= {number + 1} for data in made.values())
            assert before.keys() <= after.keys()
            sizes = [p.stat().st_size for p in files]
            assert all(len(data) in sizes for data in made.values())
            assert told or len(files) == sum(
                1 for k in after if after[k] and set(after[k]) == {number + 1}
            ) + sizes.count(0)
            assert volume.check() == []


def do_copy(
    volume: octavo.Volume, target: VolumeTree, folder: Path, failing: set[str]
) -> list[StatusError]:
    """Copies what is in a folder; the sources in `failing` give one byte less and an error."""

    class Source(HostTree):
        def read(self, path: str, size: int) -> Iterable[bytes]:
            if path in failing:
                raise device_error()
            return super().read(path, size)

    try:
        plan = plan_copy([(Source(), f"{folder}/.")], target, "", True)
    except StatusError as error:
        assert error.status == Status.DISK_FULL
        return [error]
    return plan.problems + run_copy(plan)
