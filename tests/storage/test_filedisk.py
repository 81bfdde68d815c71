"""Images behind file objects: what is read and written, and each way in which such an object can
fail.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import octavo
from octavo.status import Status, StatusError
from octavo.storage.filedisk import FileDisk
from octavo.system import System
from tests.lent import Lent
from tests.machines import within_seconds

SIZE = 64 << 10


class Halting(io.BytesIO):
    """Gives and takes at most 100 bytes a call, as sockets and pipes may."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Some of it."""
        return super().read(100 if size is None or size < 0 else min(size, 100))

    def write(self, data: Any, /) -> int:
        """Some of it."""
        return super().write(memoryview(data)[:100])


class Failing(io.BytesIO):
    """Raises `error` in the method that is named."""

    def __init__(self, method: str, error: Exception) -> None:
        super().__init__(bytes(SIZE))
        self.method, self.error = method, error

    def _look(self, method: str) -> None:
        if method == self.method:
            raise self.error

    def read(self, size: int | None = -1, /) -> bytes:
        """As BytesIO."""
        self._look("read")
        return super().read(size)

    def write(self, data: Any, /) -> int:
        """As BytesIO."""
        self._look("write")
        return super().write(data)

    def flush(self) -> None:
        """As BytesIO."""
        self._look("flush")


@pytest.fixture
def system() -> Iterator[System]:
    """A machine for devices, in real time: their calls are made by workers."""
    with octavo.boot(memory="8M") as system:
        yield system


@pytest.mark.parametrize("kind", [io.BytesIO, Halting])
def test_bytes_go_where_they_belong(kind: type[io.BytesIO], system: System) -> None:
    """Several requests at once, in any order; the file that ends within a sector ends before it."""
    data = os.urandom(SIZE)
    file, lent = kind(data + b"tail"), Lent()
    disk = FileDisk("file", file, system.scheduler)
    assert (disk.size, disk.read_only, disk.removable) == (SIZE, False, False)
    reads = [lent.read(place, 1024) for place in (4096, 0, SIZE - 1024)]
    system.scheduler.run(disk.submit(reads))
    assert [r.frames.read() for r in reads] == [data[p : p + 1024] for p in (4096, 0, SIZE - 1024)]
    system.scheduler.run(disk.submit([lent.write(512, b"a" * 512), lent.write(8192, b"b" * 2048)]))
    system.scheduler.run(disk.flush())
    wanted = bytearray(data + b"tail")
    wanted[512:1024], wanted[8192:10240] = b"a" * 512, b"b" * 2048
    assert file.getvalue() == wanted
    assert disk.statistics().waits == 3 and disk.statistics().errors == 0
    disk.close()
    with pytest.raises(StatusError, match="is closed"):
        system.scheduler.run(disk.flush())
    assert not file.closed


def test_a_volume_on_a_file(system: System, tmp_path: Path, image: Path) -> None:
    """Files of the host without a buffer and with one: what is flushed is in the file."""
    for buffering in (0, -1):
        with open(image, "r+b", buffering=buffering) as file:
            volume = system.attach_device(FileDisk("file", file, system.scheduler))
            volume.write_bytes("a", b"data" * 5000)
            volume.flush()
            (tmp_path / "copy").write_bytes(image.read_bytes())
            system.unmount(volume.letter)
        with octavo.open_image(tmp_path / "copy", read_only=True) as copy:
            assert copy.read_bytes("a") == b"data" * 5000 and copy.check() == []


def test_floppies_are_removable_and_readers_read_only(system: System) -> None:
    """By their size; a disk that may only be read refuses writes itself."""
    disk = FileDisk("file", io.BytesIO(bytes(1440 << 10)), system.scheduler, read_only=True)
    assert disk.removable
    with pytest.raises(StatusError) as caught:
        system.scheduler.run(disk.submit([Lent().write(0, bytes(512))]))
    assert caught.value.status == Status.MEDIA_WRITE_PROTECTED
    system.scheduler.run(disk.flush())


@pytest.mark.parametrize(
    ("method", "error", "status", "text"),
    [
        ("read", OSError(5, "dead"), Status.IO_DEVICE_ERROR, "file: cannot read the image: dead"),
        ("read", ValueError("a\nb"), Status.IO_DEVICE_ERROR, "file: cannot read the image: a b"),
        ("read", KeyError(), Status.IO_DEVICE_ERROR, "file: cannot read the image: KeyError"),
        ("write", OSError(28, "full"), Status.DISK_FULL, "file: cannot write the image: full"),
        ("write", StatusError(Status.DISK_FULL, "inner"), Status.DISK_FULL, "inner"),
        ("flush", RuntimeError("no"), Status.IO_DEVICE_ERROR, "file: cannot flush the image: no"),
    ],
)
def test_what_a_file_raises(
    method: str, error: Exception, status: Status, text: str, system: System
) -> None:
    """Is a StatusError with one line, and the disk goes on."""
    file, lent = Failing(method, error), Lent()
    disk = FileDisk("file", file, system.scheduler)
    calls = {
        "read": lambda: disk.submit([lent.read(0, 512)]),
        "write": lambda: disk.submit([lent.write(0, bytes(512))]),
        "flush": lambda: disk.flush(),
    }
    with pytest.raises(StatusError) as caught:
        system.scheduler.run(calls[method]())
    assert (caught.value.status, caught.value.text) == (status, text)
    assert disk.statistics().errors == 1
    file.method = ""
    system.scheduler.run(calls[method]())


def test_a_file_that_becomes_shorter(system: System) -> None:
    """Is told, and not waited for."""
    file = io.BytesIO(bytes(SIZE))
    disk = FileDisk("file", file, system.scheduler)
    file.truncate(700)
    with pytest.raises(StatusError, match="has become shorter"):
        system.scheduler.run(disk.submit([Lent().read(512, 512)]))


class Refusing(io.BytesIO):
    """Takes no bytes, and does not say why."""

    def write(self, data: Any, /) -> int:
        """None of them."""
        return 0


def test_a_file_that_takes_nothing(system: System) -> None:
    """Is told, and not asked again for ever."""
    disk = FileDisk("file", Refusing(bytes(SIZE)), system.scheduler)
    with within_seconds(30), pytest.raises(StatusError, match="takes no more bytes"):
        system.scheduler.run(disk.submit([Lent().write(0, bytes(512))]))


def test_a_flush_reaches_the_host_s_disk(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file of the host's, not of one in memory."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    (tmp_path / "image").write_bytes(bytes(SIZE))
    with open(tmp_path / "image", "r+b") as file:
        disk = FileDisk("file", file, system.scheduler)
        system.scheduler.run(disk.flush())
        assert synced == [file.fileno()]
    system.scheduler.run(FileDisk("m", io.BytesIO(bytes(SIZE)), system.scheduler).flush())
    assert len(synced) == 1


def test_files_without_an_end(system: System) -> None:
    """What cannot be sought in is refused when the disk is made."""
    end, other = os.pipe()
    with open(end, "rb") as file, pytest.raises(StatusError, match="cannot seek in the image"):
        FileDisk("pipe", file, system.scheduler)
    os.close(other)
