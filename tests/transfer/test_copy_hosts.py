"""Hosts that are full, read-only, or have what is no file."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import octavo
from octavo.status import Status
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.volume import VolumeTree
from tests.command import OCTAVO
from tests.command import octavo as command
from tests.conftest import blank_image
from tests.transfer.copies import OLD, FailingTree, copy, device_error, names

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
