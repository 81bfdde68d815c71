"""Copies lose nothing: what is replaced stays until all of the new file is there, and what cannot
be copied is told.
"""

from __future__ import annotations

import errno
import inspect
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import octavo
from octavo.cli.main import run as octavo_run
from octavo.files import Report
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import Plan, plan_copy
from octavo.transfer.tree import CHUNK, Item
from octavo.transfer.volume import VolumeTree
from tests.cli.test_cli import OCTAVO
from tests.cli.test_cli import octavo as command
from tests.conftest import blank_image, fsck

BIG = 3 * CHUNK + 5
OLD = b"older, precious"


class FailingTree(HostTree):
    """A source whose files fail after so many bytes, with an error of its own or an interrupt."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.after = after
        self.error = error

    def read(self, path: str, size: int) -> Iterable[bytes]:
        """Bytes up to the failure."""
        done = 0
        for chunk in super().read(path, size):
            if done + len(chunk) > self.after:
                raise self.error
            done += len(chunk)
            yield chunk


def device_error() -> StatusError:
    """What a source with a bad sector says."""
    return StatusError(Status.IO_DEVICE_ERROR, "a bad sector")


def copy(
    source: HostTree | VolumeTree,
    path: object,
    target: HostTree | VolumeTree,
    to: object,
    recursive: bool = True,
) -> tuple[Plan, list[StatusError]]:
    """Plans and does a copy; returns the plan and all that was told."""
    plan = plan_copy([(source, str(path))], target, str(to), recursive)
    return plan, plan.problems + run_copy(plan)


def names(directory: Path) -> list[str]:
    """What is in a directory."""
    return sorted(p.name for p in directory.iterdir())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory for sources."""
    path = tmp_path / "source"
    path.mkdir()
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A directory for targets."""
    path = tmp_path / "out"
    path.mkdir()
    return path


@pytest.fixture
def volume(image: Path) -> Iterator[octavo.Volume]:
    """The volume of 16 MiB, clean at the end, with nothing left of a copy that failed."""
    with octavo.open_image(image) as mounted:
        yield mounted
        assert not [
            e.name for _, entries in mounted.walk() for e in entries if e.name.startswith("OCTAVO")
        ]
        assert mounted.check() == []
    fsck(image)


# -- 2.5, out of images ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, BIG])
@pytest.mark.parametrize("error", [device_error(), KeyboardInterrupt()])
@pytest.mark.parametrize("kind", ["new", "old", "link", "device"])
def test_a_copy_to_the_host_that_fails_leaves_what_was_there(
    kind: str, error: BaseException, size: int, source: Path, out: Path
) -> None:
    """An older file, a link and what it leads to, a device node: as they were. Nothing is left that
    was made.
    """
    (source / "a").write_bytes(bytes(size))
    (out / "real").write_bytes(OLD)
    target = {
        "new": out / "new",
        "old": out / "real",
        "link": out / "link",
        "device": out / "device",
    }[kind]
    (out / "link").symlink_to("real")
    (out / "device").symlink_to("/dev/null")
    null = os.stat("/dev/null")
    before = names(out)
    tree = FailingTree(size - 1, error)
    plan = plan_copy([(tree, str(source / "a"))], HostTree(), str(target), False)
    if isinstance(error, StatusError):
        assert run_copy(plan) == [error]
    else:
        with pytest.raises(KeyboardInterrupt):
            run_copy(plan)
    assert (
        names(out) == before and (out / "real").read_bytes() == OLD and (out / "link").is_symlink()
    )
    assert os.path.samestat(os.stat("/dev/null"), null) and stat.S_ISCHR(null.st_mode)


def test_a_device_node_of_its_own_stays(image: Path, out: Path) -> None:
    """As the fault was found: a damaged file copied onto a node that mknod has made. A user that
    cannot make one has a file there.
    """
    command("cp", blank_image(out / "BAD.BIN", 3000), f"{image}:/")
    data = bytearray(image.read_bytes())
    at = data.index(b"BAD     BIN")
    data[at + 28 : at + 32] = (10_000_000).to_bytes(4, "little")
    image.write_bytes(data)
    node = out / "node"
    if os.geteuid() == 0:
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    else:
        node.write_bytes(OLD)
    before = node.lstat()
    assert "claims 10000000 bytes" in command("cp", f"{image}:/BAD.BIN", node, code=1)
    assert node.lstat() == before


def test_what_is_replaced_keeps_permissions_and_links(volume: octavo.Volume, out: Path) -> None:
    """A file that is replaced is a new one with the old one's mode; a link is followed; a device is
    written to.
    """
    volume.write_bytes("a", b"new contents", 1_000_000_000)
    (out / "real").write_bytes(OLD)
    (out / "real").chmod(0o640)
    (out / "link").symlink_to("real")
    number = (out / "real").stat().st_ino
    tree = VolumeTree(volume, "")
    for target in (out / "link", Path("/dev/null"), out / "new"):
        assert copy(tree, "a", HostTree(), target)[1] == []
    found = (out / "real").stat()
    assert (out / "link").is_symlink() and (out / "real").read_bytes() == b"new contents" == (
        out / "new"
    ).read_bytes()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime) == (
        0o640,
        1_000_000_000,
    ) and found.st_ino != number
    assert names(out) == ["link", "new", "real"]


@pytest.mark.parametrize("call", ["replace", "chmod"])
def test_a_rename_that_fails_leaves_the_old_file(
    call: str, volume: octavo.Volume, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As onto a file that is mounted by itself: told, and no temporary file is left."""

    def refused(*arguments: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    volume.write_bytes("a", b"new")
    (out / "a").write_bytes(OLD)
    monkeypatch.setattr(os, call, refused)
    [error] = copy(VolumeTree(volume, ""), "a", HostTree(), out)[1]
    assert error.text == f"{out}/a: Device or resource busy"
    assert names(out) == ["a"] and (out / "a").read_bytes() == OLD


def test_standard_output_is_written_to(image: Path, out: Path) -> None:
    """As a pipe, and as a file that has something already."""
    command("cp", blank_image(out / "a", 3), f"{image}:/a")
    assert command("cp", f"{image}:/a", "/dev/stdout") == "\0\0\0"
    (out / "log").write_bytes(OLD)
    with (out / "log").open("ab") as log:
        subprocess.run([*OCTAVO, "cp", f"{image}:/a", "/dev/stdout"], stdout=log, check=True)
    assert (out / "log").read_bytes() == OLD + b"\0\0\0"


@pytest.mark.dosfstools
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("inward", [True, False])
def test_a_signal_in_the_middle_leaves_the_old_file(
    inward: bool, number: int, tmp_path: Path, source: Path, out: Path
) -> None:
    """Ctrl-C, SIGTERM and a terminal that goes away: no temporary file, the old contents, a clean
    volume.
    """
    image, big = tmp_path / "disk.img", blank_image(source / "a.bin", 1 << (30 if inward else 28))
    command("mkfs", "--size", "1200M", image)
    (out / "a.bin").write_bytes(OLD)
    command("cp", out / "a.bin", f"{image}:/")
    if not inward:
        command("cp", big, f"{image}:/b.bin")
    before = image.stat().st_blocks
    sides = [big, f"{image}:/a.bin"] if inward else [f"{image}:/b.bin", out / "a.bin"]
    process = subprocess.Popen([*OCTAVO, "cp", *map(str, sides)], stderr=subprocess.PIPE)
    while not (
        image.stat().st_blocks > before + (8 << 11)
        if inward
        else any(p.stat().st_size > 8 << 20 for p in out.glob(".octavo-*"))
    ):
        assert process.poll() is None, "it was done before it could be interrupted"
    process.send_signal(number)
    assert process.communicate(timeout=60)[1] == b"" and process.returncode == 128 + number
    assert names(out) == ["a.bin"] and (out / "a.bin").read_bytes() == OLD
    assert command("cat", f"{image}:/a.bin") == OLD.decode()
    assert command("ls", f"{image}:").split() == (["a.bin"] if inward else ["a.bin", "b.bin"])
    fsck(image)


# -- 2.5, into images ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, BIG])
@pytest.mark.parametrize("error", [device_error(), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [None, OLD, b"o" * BIG])
def test_a_copy_into_an_image_that_fails_leaves_what_was_there(
    old: bytes | None, error: BaseException, size: int, volume: octavo.Volume, source: Path
) -> None:
    """The source fails in the middle, or somebody presses Ctrl-C: the old contents, no temporary
    file, the same free space.
    """
    if old is not None:
        volume.write_bytes("A Long Name.bin", old)
    (source / "a").write_bytes(bytes(size))
    free = volume.space().free
    plan = plan_copy(
        [(FailingTree(size - 1, error), str(source / "a"))],
        VolumeTree(volume, ""),
        "a long name.BIN",
        False,
    )
    if isinstance(error, StatusError):
        assert run_copy(plan) == [error]
    else:
        with pytest.raises(KeyboardInterrupt):
            run_copy(plan)
    assert [e.name for e in volume.entries()] == ([] if old is None else ["A Long Name.bin"])
    assert old is None or volume.read_bytes("A Long Name.bin") == old
    assert volume.space().free == free


@pytest.mark.parametrize("size", [0, 1000, CHUNK, BIG])
@pytest.mark.parametrize("old", [0, 1000, BIG])
def test_a_file_takes_the_place_of_another(
    old: int, size: int, volume: octavo.Volume, source: Path
) -> None:
    """New contents and time under the old name, in its old case, found by its short name too; the
    clusters of the old one are free.
    """
    volume.mkdir("d")
    before = volume.space().free
    volume.write_bytes("d/A Long Name.bin", b"o" * old)
    (source / "a long name.bin").write_bytes(os.urandom(size))
    os.utime(source / "a long name.bin", (1_000_000_000, 1_000_000_000))
    for to in ("/d/", "d/ALONGN~1.BIN", "\\d\\a LONG name.bin"):
        assert copy(HostTree(), source / "a long name.bin", VolumeTree(volume, ""), to)[1] == []
    [info] = volume.entries("d")
    assert info.name == "A Long Name.bin" and info.modified.timestamp() == 1_000_000_000
    assert volume.read_bytes("d/A Long Name.bin") == (source / "a long name.bin").read_bytes()
    volume.flush()
    unit = volume.space().unit
    assert volume.space().free == before - -(-size // unit) * unit


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
    cache, count = tight.core.cache, 0  # type: ignore[attr-defined]
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
    entry.attributes |= 1  # type: ignore[attr-defined]
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


def contents(volume: octavo.Volume) -> dict[str, bytes]:
    """Every file of a volume by its path in upper case."""
    return {
        f"{d}/{e.name}".upper(): volume.read_bytes(f"{d}/{e.name}")
        for d, entries in volume.walk()
        for e in entries
        if not e.is_directory
    }


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


# -- 2.6 -------------------------------------------------------------------------------------------


def test_names_that_meet_are_told_and_neither_is_lost(image: Path, source: Path) -> None:
    """Case, dots and spaces at the end, backslashes: the first is copied, each other told;
    directories with all that is in them.
    """
    for name in (
        "README.txt",
        "readme.TXT",
        "readme.txt.",
        "readme.txt ",
        "a\\b",
        "..\\up",
        "fine",
    ):
        (source / name).write_text(name)
    for name in ("Sub", "sub"):
        (source / name).mkdir()
        (source / name / "x").write_text(name)
    said = command("cp", "-r", source, f"{image}:/", code=1)
    assert (
        said.count("would be the same file as") == 4
        and said.count(r"contains '\\'") == 2
        and len(said.splitlines()) == 6
    )
    assert (
        f"octavo: {source}/sub: would be the same file as {source}/Sub in the target: "
        "rename one of them" in said.splitlines()
    )
    with octavo.open_image(image) as volume:
        assert contents(volume) == {
            "SOURCE/README.TXT": b"README.txt",
            "SOURCE/FINE": b"fine",
            "SOURCE/SUB/X": b"Sub",
        }


def test_a_name_that_is_another_files_short_name_is_told(
    volume: octavo.Volume, source: Path
) -> None:
    """Whether the other was there before, or is made by the same command."""
    tree = VolumeTree(volume, "")
    (source / "LONGFI~1.TXT").write_text("short")
    volume.write_bytes("longfilename.txt", OLD)
    told = copy(HostTree(), source / "LONGFI~1.TXT", tree, "/")[1]
    assert [e.status for e in told] == [
        Status.OBJECT_NAME_COLLISION
    ] and "short name of 'longfilename.txt'" in told[0].text
    assert volume.read_bytes("longfilename.txt") == OLD
    (source / "A longer file name.txt").write_text("long")
    (source / "ALONGE~1.TXT").write_text("short")
    told = copy(HostTree(), source, tree, "/")[1]
    assert len(told) == 1 and "ALONGE~1.TXT: exists already" in told[0].text
    assert (
        volume.read_bytes("source/A longer file name.txt") == b"long"
        and len(volume.entries("source")) == 2
    )


def test_two_sources_of_one_name(image: Path, source: Path, out: Path) -> None:
    """In both directions the first is copied, and the second told."""
    for name in ("one", "two"):
        (source / name).mkdir()
        (source / name / "x").write_text(name)
        command("cp", source / name / "x", f"{image}:/{name}")
    assert "two/x: would be the same file as" in command(
        "cp", source / "one" / "x", source / "two" / "x", f"{image}:/", code=1
    )
    assert command("cat", f"{image}:/x") == "one"
    command("mkdir", f"{image}:/d", f"{image}:/e")
    command("cp", source / "one" / "x", f"{image}:/d")
    command("cp", source / "two" / "x", f"{image}:/e")
    assert "/e/x: would be the same file as" in command(
        "cp", f"{image}:/d/x", f"{image}:/e/x", out, code=1
    )
    assert (out / "x").read_text() == "one"


class HostileTree(HostTree):
    """A source with one file, of a name that no honest file system has."""

    def __init__(self, name: str) -> None:
        self.name = name

    def walk(self, path: str, report: Report) -> Iterator[tuple[str, list[Item]]]:
        """The one file."""
        yield "", [Item(self.name, False, 4, 0.0), Item("fine", False, 4, 0.0)]

    def read(self, path: str, size: int) -> Iterable[bytes]:
        """Its contents."""
        yield b"evil"


@pytest.mark.parametrize("name", ["", ".", "..", "/etc/evil", "../evil", "a/b", "nul\0", "\ud800"])
def test_a_name_from_an_image_never_leads_out_of_the_target(
    name: str, source: Path, out: Path
) -> None:
    """Told; what is fine beside it is copied."""
    told = copy(HostileTree(name), source, HostTree(), out)[1]
    assert [e.status for e in told] == [
        Status.OBJECT_NAME_INVALID
    ] and "cannot be a name on the host" in told[0].text
    assert (
        names(out) == ["source"]
        and names(out / "source") == ["fine"]
        and names(out.parent) == ["out", "source"]
    )


# -- 3.2 and host disk space -----------------------------------------------------------------------


@pytest.fixture
def full_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of the host with room for 64 KiB: a file system of its own for root, else writes
    that fail as if there were one.
    """
    path = tmp_path / "full"
    path.mkdir()
    if (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(path)],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    ):
        yield path
        subprocess.run(["umount", "-l", str(path)], check=True)
        return
    write, left = os.write, 65536

    def limited(fd: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(fd, memoryview(data)[:left])
        left -= done
        return done

    monkeypatch.setattr(os, "write", limited)
    yield path


def test_a_full_host_ends_the_copy_at_once(
    full_host: Path, volume: octavo.Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 200 files as many as fit: the rest is not even tried, the files that are there are whole,
    and the old one is as it was.
    """
    (full_host / "f000").write_bytes(OLD)
    volume.mkdir("d")
    for i in range(200):
        volume.write_bytes(f"d/f{i:03}", b"%d" % (i % 10) * (4096 if i else 80_000))
    tried = []

    def read(tree: VolumeTree, path: str, size: int) -> list[bytes]:
        tried.append(path)
        return [volume.read_bytes(path)]

    monkeypatch.setattr(VolumeTree, "read", read)
    sources = [(VolumeTree(volume, ""), "d/f000"), (VolumeTree(volume, ""), "d")]
    plan = plan_copy(sources, HostTree(), str(full_host), True)
    [error] = run_copy(plan)
    assert error.status == Status.DISK_FULL and len(tried) == 1
    assert names(full_host) == ["f000"] and (full_host / "f000").read_bytes() == OLD
    [error] = run_copy(plan_copy(sources[1:], HostTree(), str(full_host), True))
    assert error.status == Status.DISK_FULL and len(tried) == 2
    volume.remove("d/f000")
    (full_host / "d").rmdir()
    [error] = run_copy(plan_copy(sources[1:], HostTree(), str(full_host), True))
    made = names(full_host / "d")
    assert error.status == Status.DISK_FULL and 10 <= len(made) == len(tried) - 3 < 16
    assert all((full_host / "d" / n).read_bytes() == b"%d" % (int(n[1:]) % 10) * 4096 for n in made)


def test_an_image_on_a_full_host_is_told_once(full_host: Path, source: Path) -> None:
    """A sparse image with more room than its host: what could not be written is not called done."""
    image = full_host / "sparse.img"
    command("mkfs", "--size", "4M", image)
    (source / "a").write_bytes(os.urandom(1 << 20))
    if not os.path.ismount(full_host):
        pytest.skip("only a file system of its own is full for another process; CI runs as root")
    said = command("cp", source / "a", f"{image}:/", code=1)
    assert said.count("No space left on device") == 1 and len(said.splitlines()) == 1


def test_a_file_larger_than_the_hosts_limit(
    volume: octavo.Volume, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RLIMIT_FSIZE: the large one is told and removed, the others are copied."""
    import resource

    for name, size in (("a", 100), ("b", 300_000), ("c", 100)):
        volume.write_bytes(name, bytes(size))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        told = copy(VolumeTree(volume, ""), "/", HostTree(), out)[1]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [e.status for e in told] == [Status.FILE_TOO_LARGE] and names(out) == ["a", "c"]


def test_a_read_only_target_ends_the_copy(image: Path, source: Path) -> None:
    """Of two sources one error."""
    for name in ("a", "b"):
        (source / name).write_bytes(b"x")
    with octavo.open_image(image, read_only=True) as volume:
        told = copy(HostTree(), source, VolumeTree(volume, ""), "/")[1]
    assert [e.status for e in told] == [Status.MEDIA_WRITE_PROTECTED]


def test_a_source_that_fails_does_not_end_the_copy(volume: octavo.Volume, source: Path) -> None:
    """A bad sector under one file is that file's; a target's error is everybody's."""
    for i in range(5):
        (source / f"f{i}").write_bytes(bytes(i))
    told = copy(FailingTree(2, device_error()), source, VolumeTree(volume, ""), "/")[1]
    assert len(told) == 2 and [e.name for e in volume.entries("source")] == ["f0", "f1", "f2"]


# -- 3.4 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_what_would_wait_is_refused(kind: str, image: Path, source: Path) -> None:
    """As a source, a target, an image, a page file, and in a tree: a sentence, at once."""
    odd, says = (
        source / "odd",
        {"fifo": "is a FIFO", "socket": "is a socket", "device": "is a character device"}[kind],
    )
    if kind == "fifo":
        os.mkfifo(odd)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(odd))
    else:
        odd.symlink_to("/dev/zero")
    command("cp", blank_image(source / "fine", 10), f"{image}:/fine")
    calls: list[list[object]] = [
        ["cp", odd, f"{image}:/"],
        ["ls", odd],
        ["cp", source / "fine", f"{odd}:/"],
        ["mkfs", "--force", "--size", "1M", odd],
        ["boot", "--page-file", odd, "-c", "exit"],
    ]
    if kind != "device":
        calls += [["cp", f"{image}:/fine", odd], ["cp", "-r", source, f"{image}:/"]]
    for call in calls:
        done = subprocess.run(
            [*OCTAVO, *map(str, call)], capture_output=True, text=True, check=False, timeout=20
        )
        assert (
            done.returncode == 1 and says in done.stderr and len(done.stderr.splitlines()) == 1
        ), call
    assert kind == "device" or command("ls", f"{image}:/source").split() == ["fine"]


# -- 3.6 -------------------------------------------------------------------------------------------


def test_a_file_beyond_fats_limit_is_refused_before_it_is_read(
    tmp_path: Path, source: Path
) -> None:
    """4 GiB, sparse: told with what it has and what may be; one byte less is planned. The others
    are copied.
    """
    image = tmp_path / "large.img"
    command("mkfs", "--size", "9G", image)
    blank_image(source / "large", 1 << 32)
    blank_image(source / "small", 10)
    said = command("cp", "-r", source, f"{image}:/", code=1)
    assert (
        said == f"octavo: {source}/large: has 4294967296 bytes, and a file there has at most "
        "4294967295\n"
    )
    assert command("ls", f"{image}:/source") == "small\n"
    with octavo.open_image(image, read_only=True) as volume:
        os.truncate(source / "large", (1 << 32) - 1)
        plan = plan_copy([(HostTree(), str(source / "large"))], VolumeTree(volume, ""), "/", False)
        assert plan.size == (1 << 32) - 1 and plan.problems == []


# -- 3.1 and 3.7 -----------------------------------------------------------------------------------


@pytest.fixture
def damaged(image: Path) -> Path:
    """An image with three directories, of which the chain of "BROKEN" leads nowhere, and which
    "TWICE" enters a second time.
    """
    with octavo.open_image(image) as volume:
        for name in ("ONE", "BROKEN", "TWO", "TWICE"):
            volume.mkdir(name)
            volume.write_bytes(f"{name}/F", name.encode())
        volume.mkdir("TWO/DEEP")
        volume.write_bytes("TWO/DEEP/F", b"deep")
    data = bytearray(image.read_bytes())
    first = data.index(b"ONE        \x10")
    for entry, cluster in (
        (b"BROKEN     \x10", b"\xf0\xff"),
        (b"TWICE      \x10", data[first + 26 : first + 28]),
    ):
        at = data.index(entry)
        data[at + 26 : at + 28] = cluster
    image.write_bytes(data)
    return image


def run_told(*arguments: object) -> tuple[list[str], list[str]]:
    """Output and errors of a command that fails with 1."""
    done = subprocess.run(
        [*OCTAVO, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1, done
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_a_damaged_directory_does_not_hide_the_rest(damaged: Path, out: Path) -> None:
    """ls -r, cp -r: what can be read is listed and copied, what cannot is told, and what is in two
    places is met once.
    """
    listed, said = run_told("ls", "-r", f"{damaged}:")
    assert [line for line in listed if line.endswith(":")] == [
        f"{damaged}:/{p}:" for p in ("", "ONE", "TWO", "TWO/DEEP")
    ]
    assert (
        len(said) == 2 and "BROKEN" in "".join(said) and "TWICE: is in two places" in "".join(said)
    )
    _, said = run_told("cp", "-r", f"{damaged}:/", out)
    assert len(said) == 2
    assert {str(p.relative_to(out)): p.read_text() for p in out.rglob("*") if p.is_file()} == {
        "ONE/F": "ONE",
        "TWO/F": "TWO",
        "TWO/DEEP/F": "deep",
    }


def test_rm_removes_what_can_be_removed(damaged: Path) -> None:
    """A tree that is removed tells each thing that stays, once; with --force nothing stays."""
    said: list[StatusError] = []
    with octavo.open_image(damaged) as volume:
        volume.rmtree("", said.append)  # as rm -r, which asks for -f where a whole volume is meant
    assert len(said) == 2
    assert command("ls", f"{damaged}:").split() == ["BROKEN/", "TWICE/"]
    octavo_run(["rm", "-rf", f"{damaged}:/BROKEN"])
    assert command("ls", f"{damaged}:").split() == ["TWICE/"]


def test_an_unreadable_host_directory_does_not_hide_the_rest(
    volume: octavo.Volume, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made, empty, and told; a file that goes away while it is looked at is told, too."""
    for name in ("a", "closed", "z"):
        (source / name).mkdir()
        (source / name / "f").write_text(name)
    scandir = os.scandir

    def closed(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    told = copy(HostTree(), source, VolumeTree(volume, ""), "/")[1]
    assert [e.text for e in told] == [f"{source}/closed: Permission denied"]
    assert (
        contents(volume) == {"SOURCE/A/F": b"a", "SOURCE/Z/F": b"z"}
        and volume.entries("source/closed") == []
    )


def test_a_missing_source_does_not_stop_the_others(image: Path, source: Path) -> None:
    """And a directory without -r."""
    (source / "a").write_text("a")
    said = command("cp", source / "missing", source, source / "a", f"{image}:/", code=1)
    assert len(said.splitlines()) == 2 and command("ls", f"{image}:") == "a\n"


def test_a_directory_that_cannot_be_made_takes_nothing_with_it(
    volume: octavo.Volume, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error for all that would be below it."""
    for name in ("a/b", "c"):
        (source / name).mkdir(parents=True)
        (source / name / "f").write_text(name)
    make = volume.mkdir

    def failing(path: str) -> None:
        if path.endswith("source/a"):
            raise StatusError(Status.FILE_CORRUPT_ERROR, "cannot be made")
        make(path)

    monkeypatch.setattr(volume, "mkdir", failing)
    assert [e.text for e in copy(HostTree(), source, VolumeTree(volume, ""), "/")[1]] == [
        "cannot be made"
    ]
    assert contents(volume) == {"SOURCE/C/F": b"c"}


def test_a_tree_deeper_than_python_recurses(volume: octavo.Volume, source: Path, out: Path) -> None:
    """In and out again, and removed; with a low limit, since a deep tree that is left behind can be
    removed by few programs.
    """
    deep = source
    for _ in range(200):
        deep = deep / "d"
        deep.mkdir()
    (deep / "f").write_text("deep")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        assert copy(HostTree(), source, VolumeTree(volume, ""), "/")[1] == []
        assert copy(VolumeTree(volume, ""), "source", HostTree(), out)[1] == []
        volume.rmtree("source")
    finally:
        sys.setrecursionlimit(limit)
    assert (out / "source" / Path(*["d"] * 200) / "f").read_text() == "deep"


# -- issue 10, 5.3 and 5.8 -------------------------------------------------------------------------


def test_links_that_stand_in_the_target_lead_nowhere(
    image: Path, source: Path, out: Path, tmp_path: Path
) -> None:
    """A link where a directory is copied, and a link to nothing where a file is: refused, nothing
    is written outside; the rest is copied.
    """
    (source / "d").mkdir()
    for name in ("d/passwd", "f", "g"):
        (source / name).write_text(name)
    command("cp", "-r", f"{source}/.", f"{image}:/")
    (tmp_path / "outside").mkdir()
    (out / "d").symlink_to("../outside")
    (out / "f").symlink_to("../nowhere")
    said = command("cp", "-r", f"{image}:/", out, code=1)
    assert said.splitlines() == [
        f"octavo: {out}/d: is a file or a link: a directory cannot replace it",
        f"octavo: {out}/f: is a link to nothing: remove it first",
    ]
    assert (
        names(tmp_path / "outside") == []
        and not (tmp_path / "nowhere").exists()
        and (out / "g").read_text() == "g"
    )


def test_times_of_directories_are_kept(volume: octavo.Volume, source: Path, out: Path) -> None:
    """Of new ones, in both directions, whatever is put into them; those that were there keep
    theirs.
    """
    moments = {"": 1_100_000_000, "d": 1_200_000_000, "d/e": 1_300_000_000}
    (source / "d" / "e").mkdir(parents=True)
    for name in ("d/f", "d/e/f"):
        (source / name).write_text("x")
    for name, moment in reversed(moments.items()):
        os.utime(source / name, (moment, moment))
    assert copy(HostTree(), source, VolumeTree(volume, ""), "/")[1] == []
    assert {name: volume.stat(f"source/{name}").modified.timestamp() for name in moments} == moments
    os.utime(out, (1_400_000_000, 1_400_000_000))
    assert copy(VolumeTree(volume, ""), "source", HostTree(), out)[1] == []
    assert {name: (out / "source" / name).stat().st_mtime for name in moments} == moments
    (source / "d").touch()
    assert copy(HostTree(), source, VolumeTree(volume, ""), "/")[1] == []
    assert volume.stat("source/d").modified.timestamp() == moments["d"]


@pytest.mark.parametrize("size", [0, 100, CHUNK, BIG])
@pytest.mark.parametrize("change", [-50, 1, 2 * CHUNK])
def test_a_file_that_changes_while_it_is_copied_is_told(
    change: int, size: int, volume: octavo.Volume, source: Path
) -> None:
    """It grows or shrinks after it was planned: what is there is copied, and told."""
    if size + change < 0:
        size += 50
    (source / "log").write_bytes(b"x" * size)
    plan = plan_copy([(HostTree(), str(source / "log"))], VolumeTree(volume, ""), "/", False)
    os.truncate(source / "log", size + change)
    [error] = run_copy(plan)
    assert (
        f"has {'grown' if change > 0 else 'shrunk'} from {size} to {size + change} bytes"
        in error.text
    )
    assert volume.stat("log").size == size + change


@pytest.mark.parametrize("name", ["disk.img", "soft.img", "hard.img"])
def test_an_image_is_copied_neither_into_itself_nor_over_itself(name: str, image: Path) -> None:
    """Under none of its names, and refused before the first byte; what lies beside it is copied."""
    here = image.parent
    (here / "soft.img").symlink_to("disk.img")
    os.link(image, here / "hard.img")
    (here / "beside").write_bytes(b"b")
    other = here / name
    with octavo.open_image(image) as volume:
        volume.write_bytes("a", b"abc")
        volume.write_bytes("disk.img", b"abc")
    before = image.read_bytes()
    for source, target in (
        (other, f"{image}:/x"),
        (image, f"{other}:/x"),
        (f"{image}:/a", other),
        (f"{other}:/a", image),
        (f"{image}:/disk.img", here),
    ):
        assert "is an image that this copy reads or writes" in command(
            "cp", source, target, code=1
        ), (source, target)
        assert image.read_bytes() == before
    said = command("cp", "-r", here, f"{other}:/all", code=1)
    assert said.count("is an image that this copy reads or writes") == 3
    with octavo.open_image(image) as volume:
        assert [e.name for e in volume.entries("all")] == ["beside"]
    fsck(image)


def test_two_names_of_an_image_are_one_image(image: Path) -> None:
    """It is opened once, so that a copy within it is one."""
    os.link(image, image.with_name("hard.img"))
    with octavo.open_image(image) as volume:
        volume.write_bytes("a", b"abc")
    command("cp", f"{image}:/a", f"{image.with_name('hard.img')}:/b")
    assert "onto or into itself" in command(
        "cp", f"{image}:/a", f"{image.with_name('hard.img')}:/a", code=1
    )
    with octavo.open_image(image) as volume:
        assert volume.read_bytes("b") == b"abc"
