"""Images that others have, that are replaced, or that cannot be made; page files and logs."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run
from octavo.printing import MOST_LINES
from octavo.shell.shell import Shell
from octavo.status import Status, StatusError
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.volume import VolumeTree
from tests.command import octavo as command


def test_an_image_in_use_is_written_over_by_nothing_else(image: Path) -> None:
    """Neither by a picture or drawing, nor by a copy that would take its place, nor by mkfs, which
    would change its size before it is opened as a disk.
    """
    other, link = image.with_name("other.img"), image.with_name("link.img")
    link.symlink_to(image)
    command("mkfs", "--size", "1M", other)
    with octavo.open_image(other) as volume:
        for name in ("a", image.name):
            volume.write_bytes(name, b"new")
    before = image.read_bytes()
    with octavo.boot(memory="4M", disks=[image]) as system:
        lines: list[str] = []
        assert (
            Shell(system, lines.append).run(f"memory picture {image}") == 1
            and "the image is in use" in lines[-1]
        )
        over = [
            ["mkfs", "--force", "--size", "1M", image],
            ["mkfs", "--force", image],
            ["map", "--svg", image, "pc-8m"],
            ["cp", f"{other}:/a", image],
        ]
        for call in [*over, ["cp", "-r", f"{other}:/", image.parent], ["cp", f"{other}:/a", link]]:
            assert "the image is in use" in command(*call, code=1), call
        assert image.read_bytes() == before
    command("cp", "-r", f"{other}:/", image.parent)
    assert image.read_bytes() == b"new"
    assert not [name for name in os.listdir(image.parent) if name.startswith(".octavo")]


def test_a_block_device_in_use_is_not_written_to(image: Path) -> None:
    """A copy writes through to a device; one with a volume that somebody has mounted is refused,
    and is as it was.
    """
    attached = subprocess.run(
        ["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if attached.returncode:
        pytest.skip("only root may make a block device; CI runs as root")
    device = attached.stdout.strip()
    try:
        with octavo.open_image(device) as volume:
            volume.write_bytes("a", b"abc")
            with octavo.boot(memory="4M") as other:
                source = other.attach_ram_disk()
                source.write_bytes("new", b"new")
                plan = plan_copy([(VolumeTree(source, ""), "new")], HostTree(), device, False)
                [error] = run_copy(plan)
                assert error.status == Status.SHARING_VIOLATION
        with octavo.open_image(device) as volume:
            assert volume.read_bytes("a") == b"abc" and volume.check() == []
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_an_image_that_was_replaced_when_it_was_opened_is_not_written_to(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking another program's rename may come: the file that is open has no
    name any more.
    """
    flock = fcntl.flock

    def late(fd: int, how: int) -> None:
        image.unlink()
        image.write_bytes(b"new")
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with (
        pytest.raises(StatusError, match="has just replaced the image") as caught,
        octavo.open_image(image),
    ):
        pass
    assert caught.value.status == Status.SHARING_VIOLATION


def test_a_host_that_cannot_lock_is_told_in_a_sentence(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network's file system without its lock daemon, say."""

    def without(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", without)
    with (
        pytest.raises(StatusError, match="cannot lock the image: No locks available"),
        octavo.open_image(image),
    ):
        pass


def test_what_fails_leaves_no_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image, a drawing and a picture that the host has no room for: none of it stays, and an old
    one is as it was.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = tmp_path / "old"
    old.write_bytes(b"old")
    with octavo.boot(memory="4M") as system:
        shell = Shell(system, lambda line: None)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
        try:
            assert run(["mkfs", "--size", "64K", str(tmp_path / "a.img")]) == 1
        except StatusError as error:
            assert (
                error.status == Status.FILE_TOO_LARGE
                and "cannot be made 65536 bytes long" in error.text
            )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        for name in ("new", "old"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
            try:
                assert shell.run(f"memory picture {tmp_path / name}") == 1
                with pytest.raises(StatusError) as caught:
                    run(["map", "--svg", str(tmp_path / name), "pc-8m"])
                assert caught.value.status == Status.FILE_TOO_LARGE
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["old"] and old.read_bytes() == b"old"


def test_a_page_file_has_its_room_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the commit limit counts on is there: a sparse file gets its blocks when it is added, or
    is refused.
    """
    path = tmp_path / "swap.bin"

    def sparse() -> None:
        with open(path, "wb") as file:
            file.truncate(4 << 20)

    def full(*unused: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def unable(*unused: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    sparse()
    with octavo.boot(memory="4M") as system:
        system.add_page_file(path)
        assert path.stat().st_blocks * 512 >= 4 << 20
    sparse()
    room = os.statvfs(path)
    limited = type(
        "Limited", (), {"f_bavail": (4 << 20) // room.f_frsize - 1, "f_frsize": room.f_frsize}
    )
    for name, stand_in in (("fstatvfs", lambda fd: limited), ("posix_fallocate", full)):
        with octavo.boot(memory="4M") as system, monkeypatch.context() as patch:
            patch.setattr(os, name, stand_in)
            limit = system.virtual.limit
            with pytest.raises(StatusError) as caught:
                system.add_page_file(path)
            assert (
                caught.value.status == Status.DISK_FULL
                and system.virtual.limit == limit
                and path.stat().st_blocks == 0
            )
    monkeypatch.setattr(os, "posix_fallocate", unable)
    with octavo.boot(memory="4M") as system:
        system.add_page_file(path)
        assert system.virtual.limit > limit


def test_a_log_keeps_its_last_lines(image: Path) -> None:
    """A system that mounts for ever does not grow by it."""
    with octavo.boot(memory="4M") as system:
        for _ in range(3):
            system.attach(image)
            system.unmount("C:")
        assert len(system.log) < MOST_LINES
        for i in range(MOST_LINES):
            system.say(f"line {i}")
        assert system.log == [f"line {i}" for i in range(MOST_LINES)]
        system.attach(image)
        assert len(system.log) == MOST_LINES and "Volume C: FAT16" in system.log[-1]
