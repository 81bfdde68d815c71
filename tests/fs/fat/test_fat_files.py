"""Files of a FAT volume as Python files, open, closed and at the end."""

from __future__ import annotations

import io
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import octavo
from octavo.status import Status, StatusError


def test_open_files_are_in_the_way(image: Path) -> None:
    """Renaming and unmounting what is open is SHARING_VIOLATION."""
    with octavo.boot(disks=[image]) as system:
        volume = system.volumes["C:"]
        with volume.open("a.txt", "wb"):
            actions: list[Callable[[], object]] = [
                lambda: volume.rename("a.txt", "b.txt"),
                lambda: system.unmount("C:"),
            ]
            for action in actions:
                with pytest.raises(StatusError) as caught:
                    action()
                assert caught.value.status == Status.SHARING_VIOLATION
        volume.rename("a.txt", "A.TXT")
        assert [e.name for e in volume.entries()] == ["A.TXT"]


def test_a_file_that_is_open_at_the_end_is_written(image: Path) -> None:
    """Closing a system is no reason to lose what was written."""
    with octavo.boot(disks=[image]) as system:
        file = system.volumes["C:"].open("open.txt", "wb")
        file.write(b"not closed")
    with octavo.open_image(image, read_only=True) as volume:
        assert volume.read_bytes("open.txt") == b"not closed"
        assert volume.check() == []


def test_python_files(image: Path) -> None:
    """Modes, text, seeking, append, readinto, iteration."""
    with octavo.open_image(image) as volume:
        with volume.open("a.txt", "w") as text:
            text.write("first\nsecond é\n")
        with volume.open("a.txt", "r") as text:
            assert text.readlines() == ["first\n", "second é\n"]
        with volume.open("a.txt", "ab") as file:
            file.write(b"third\n")
        with volume.open("a.txt") as file:
            assert list(file)[-1] == b"third\n"
            file.seek(-3, 2)
            assert file.read() == b"rd\n" and file.read() == b""
            buffer = bytearray(5)
            file.seek(0)
            assert file.readinto(buffer) == 5 and buffer == b"first"
            model = io.BytesIO(b"first\nsecond \xc3\xa9\nthird\n")
            for offset, whence in (
                (0, 2),
                (3, 0),
                (4, 1),
                (-2, 1),
                (0, 1),
                (-1, 2),
                (50, 1),
                (0, 0),
            ):
                assert file.seek(offset, whence) == model.seek(offset, whence) == file.tell()
                assert file.read(2) == model.read(2)
            with pytest.raises(OSError, match="not opened for writing"):
                file.write(b"x")
        with pytest.raises(StatusError, match="exists already"):
            volume.open("a.txt", "xb")
        with pytest.raises(StatusError, match="not a mode"):
            volume.open("a.txt", "q")
        with volume.open("a.txt", "w+b") as file:
            file.write(b"0123456789")
            file.seek(20)
            file.write(b"end")
            assert file.truncate(22) == 22
            file.seek(0)
            assert file.read() == b"0123456789" + bytes(10) + b"en"
            for empty in (bytearray(), b"", memoryview(bytearray(4))[4:], array("q")):
                for place in (0, 22):
                    file.seek(place)
                    assert (
                        file.readinto(empty) == 0 and file.tell() == place and file.read(0) == b""
                    )


CLOSED: dict[str, tuple[object, ...]] = {
    "read": (), "readall": (), "readinto": (bytearray(3),), "readline": (), "readlines": (),
    "write": (b"x",), "writelines": ([b"x"],), "seek": (0,), "tell": (),
    "truncate": (0,), "flush": (), "readable": (), "writable": (), "seekable": (),
    "set_modified": (0.0,), "__enter__": (), "__next__": (), "isatty": (),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["rb", "r+b", "ab"])
def test_a_closed_file_says_so(image: Path, mode: Any) -> None:
    """In each of its calls, as Python's do (of its own calls Python says so); closing it once more
    does nothing.
    """
    with octavo.open_image(image) as volume:
        volume.write_bytes("a", b"abc")
        file = volume.open("a", mode)
        file.close()
        file.close()
        for name, arguments in CLOSED.items():
            with pytest.raises((StatusError, ValueError), match="closed") as error:
                getattr(file, name)(*arguments)
            assert (
                not isinstance(error.value, StatusError) or error.value.status == Status.FILE_CLOSED
            )
        assert file.closed and volume.read_bytes("a") == b"abc"
        for text in ("r", "w", "a+"):
            stream = volume.open("a", text)
            stream.close()
            assert stream.closed


def test_a_closed_file_does_nothing(image: Path) -> None:
    """Every call says that it is closed; to close it once more is nothing."""
    with octavo.open_image(image) as volume:
        volume.write_bytes("a.txt", b"01234")
        run_ = volume.scheduler.run
        core = run_(volume.core.open("a.txt", write=True))
        run_(core.write(0, b"last"))
        run_(core.close())
        buffer = memoryview(bytearray(1))
        for waits in (
            core.read(0, 1),
            core.read_into(0, buffer),
            core.write(0, b"x"),
            core.truncate(1),
            core.grow(99),
            core.flush(),
            core.set_modified(0),
        ):
            with pytest.raises(StatusError, match="closed"):
                run_(waits)
        for call in (core.duplicate, lambda: core.size):
            with pytest.raises(StatusError, match="closed"):
                call()
        run_(core.close())
        assert volume.read_bytes("a.txt") == b"last4"
