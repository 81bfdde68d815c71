"""A copy that fails leaves what was there, on the host and in the image."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

import octavo
from octavo.status import StatusError
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.tree import CHUNK
from octavo.transfer.volume import VolumeTree
from tests.command import OCTAVO
from tests.command import octavo as command
from tests.conftest import blank_image, fsck
from tests.transfer.copies import BIG, OLD, FailingTree, copy, device_error, names

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
