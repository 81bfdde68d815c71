"""How files that are written end: closed, left by an exception, failed, dropped, in a transaction,
with their filesystem, with the program. What was there stays until all of the new file is.
"""

from __future__ import annotations

import errno
import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

import octavo
from octavo.adapters.fsspec import OctavoFileSystem
from octavo.files import Volume
from tests.conftest import fsck

OLD = b"old " * 5000
NEW = b"new " * 9000  # larger than a buffer at once


def names(fs: OctavoFileSystem) -> list[str]:
    """All that the volume has, what is hidden from listings, too."""
    with fs.image.use(fs.part) as volume:
        return [entry.name for entry in volume.entries()]


def on_medium(disk: Path) -> dict[str, bytes]:
    """What another program finds in the image now."""
    copy = disk.with_suffix(".copy")
    copy.write_bytes(disk.read_bytes())
    with octavo.open_image(copy, read_only=True) as volume:
        assert volume.check() == []
        return {entry.name: volume.read_bytes(entry.name) for entry in volume.entries()}


CALLS: list[tuple[Callable[[OctavoFileSystem], object], list[str]]] = [
    (lambda f: f.pipe("b", NEW), ["a", "b"]),
    (lambda f: f.pipe({"b": NEW, "c": NEW}), ["a", "b", "c"]),
    (lambda f: f.touch("b"), ["a", "b"]),
    (lambda f: f.cp_file("a", "b"), ["a", "b"]),
    (lambda f: f.copy(["a"], ["b"]), ["a", "b"]),
    (lambda f: f.mv("a", "b"), ["b"]),
    (lambda f: f.mv(["a"], ["b"]), ["b"]),
    (lambda f: f.rm("a"), []),
    (lambda f: f.rm_file("a"), []),
]


@pytest.mark.dosfstools
@pytest.mark.parametrize("number", range(len(CALLS)))
def test_a_call_is_on_the_medium_when_it_returns(number: int, disk: Path) -> None:
    """Another program sees a clean volume with what was done, while the filesystem stays open."""
    call, there = CALLS[number]
    with OctavoFileSystem(str(disk)) as fs:
        fs.pipe("a", OLD)
        call(fs)
        assert sorted(on_medium(disk)) == there
        fsck(disk)


def test_a_file_that_is_closed_is_on_the_medium(disk: Path) -> None:
    """New, and in the place of an old one; before that, the old one is there."""
    with OctavoFileSystem(str(disk)) as fs:
        fs.pipe("a", OLD)
        with fs.open("a", "wb") as file:
            file.write(NEW)
            file.flush()
            assert fs.cat("a") == OLD and fs.ls("", detail=False) == ["a"]
            assert len(names(fs)) == 2
        assert on_medium(disk) == {"a": NEW}


@pytest.mark.parametrize("mode", ["wb", "w", "xb", "ab", "w+b", "a", "x"])
@pytest.mark.parametrize("there", [False, True])
def test_an_exception_leaves_what_was_there(there: bool, mode: str, fs: OctavoFileSystem) -> None:
    """In a `with` block, with some of it in the volume already."""
    if there and mode[0] != "x":
        fs.pipe("f", OLD)
    before = {name: fs.cat(name) for name in names(fs)}
    with pytest.raises(ZeroDivisionError), fs.open("f", mode) as file:
        file.write(NEW if "b" in mode else NEW.decode())
        raise ZeroDivisionError
    assert {name: fs.cat(name) for name in names(fs)} == before
    assert file.closed


@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_a_volume_that_fills_up(mode: str, fs: OctavoFileSystem) -> None:
    """The write fails, closing fails, the old file is there and all else is free."""
    fs.pipe("f", OLD)
    file = fs.open("f", mode)
    with pytest.raises(OSError, match="full") as caught:
        for _ in range(100):
            file.write(NEW)
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="full"):
        file.close()
    assert file.closed and names(fs) == ["f"] and fs.cat("f") == OLD
    fs.pipe("g", bytes(1_300_000))


def test_a_write_that_succeeds_in_the_end(fs: OctavoFileSystem) -> None:
    """What failed for want of room is written when there is some."""
    fs.pipe("g", bytes(1_430_000))
    file = fs.open("f", "wb")
    file.write(NEW)
    with pytest.raises(OSError, match="full"):
        file.flush()
    fs.rm("g")
    file.close()
    assert fs.cat("f") == NEW


def drop_in_the_executive(fs: OctavoFileSystem, data: bytes) -> None:
    """Has a file f with some data collected while the executive runs."""
    files = [fs.open("f", "wb")]
    files[0].write(data)
    with fs.image.use(fs.part) as volume:

        async def drop() -> None:
            files.clear()
            gc.collect()

        volume.scheduler.run(drop())


def test_dropped_files_are_closed(fs: OctavoFileSystem) -> None:
    """As Python's are, also when the collector comes in the middle of the executive."""
    fs.open("f", "wb").write(b"dropped")
    assert fs.cat("f") == b"dropped"
    drop_in_the_executive(fs, b"later")
    assert fs.cat("f") == b"later" and names(fs) == ["f"]


def test_closing_with_a_file_that_cannot_be_finished(disk: Path) -> None:
    """The image is let go of, and the error is told."""
    fs = OctavoFileSystem(str(disk))
    fs.pipe("g", bytes(1_430_000))
    file = fs.open("f", "wb")
    file.write(NEW)
    with pytest.raises(OSError, match="full") as caught:
        fs.close()
    assert caught.value.errno == errno.ENOSPC and list(on_medium(disk)) == ["g"]
    with octavo.open_image(disk) as volume:
        assert not volume.exists("f")


def test_a_dropped_file_that_cannot_be_closed(fs: OctavoFileSystem) -> None:
    """Is not there, and is nobody else's error."""
    fs.pipe("g", bytes(1_430_000))
    fs.open("f", "wb").write(NEW)
    assert names(fs) == ["g"]
    drop_in_the_executive(fs, NEW)
    assert fs.ls("", detail=False) == ["g"] == names(fs)


def test_a_transaction(disk: Path) -> None:
    """Nothing is seen of it before its end, then all of it."""
    with OctavoFileSystem(str(disk)) as fs:
        fs.pipe("a", OLD)
        with fs.transaction:
            with fs.open("a", "wb") as file:
                file.write(NEW)
            fs.pipe("b", NEW)
            file = fs.open("c", "w")
            file.write("not closed")
            assert fs.find("") == ["a"] and fs.cat("a") == OLD
        assert on_medium(disk) == {"a": NEW, "b": NEW, "c": b"not closed"}


def test_a_transaction_that_fails(fs: OctavoFileSystem) -> None:
    """Leaves nothing, whether its files were closed or not; so does one in which a file cannot take
    its place, which ends it.
    """
    fs.pipe("a", OLD)
    with pytest.raises(ZeroDivisionError), fs.transaction:
        fs.pipe("a", NEW)
        fs.open("b", "wb").write(NEW)
        raise ZeroDivisionError
    assert names(fs) == ["a"] and fs.cat("a") == OLD
    with pytest.raises(FileExistsError), fs.transaction:
        fs.pipe("c", NEW)
        fs.pipe("a", NEW)
        with fs.image.use(fs.part, True) as volume:
            volume.mkdir("c")
    assert names(fs) == ["a", "c"] and fs.cat("a") == OLD and fs._intrans is False
    fs.pipe("d", b"at once")
    assert fs.cat("d") == b"at once"


def test_a_transaction_of_many_files(fs: OctavoFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each finds a name beside its own at once."""
    whole, tried = Volume.open, list[str]()

    def counted(volume: Volume, path: str, *given: Any) -> Any:
        tried.append(path)
        return whole(volume, path, *given)

    monkeypatch.setattr(Volume, "open", counted)
    with fs.transaction:
        for n in range(40):
            fs.pipe(f"{n}", b"")
    assert len(tried) == 40 and len(names(fs)) == 40


def test_an_encoding_that_nobody_knows(fs: OctavoFileSystem) -> None:
    """Leaves what was there."""
    fs.pipe("f", OLD)
    for mode in ("w", "a", "r"):
        with pytest.raises(LookupError):
            fs.open("f", mode, encoding="none such")
    assert names(fs) == ["f"] and fs.cat("f") == OLD


def test_closing_the_filesystem(disk: Path) -> None:
    """Closes what is open, as the end of a program would; an exception leaves what was there."""
    fs = OctavoFileSystem(str(disk))
    fs.pipe("a", OLD)
    file = fs.open("a", "wb")
    file.write(NEW)
    fs.close()
    assert file.closed and on_medium(disk) == {"a": NEW}
    with octavo.open_image(disk) as volume:  # nobody has the image
        volume.write_bytes("b", b"by another program")
    assert fs.cat("b") == b"by another program"
    with pytest.raises(ZeroDivisionError), fs:
        file = fs.open("a", "wb")
        file.write(OLD)
        raise ZeroDivisionError
    assert file.closed and sorted(on_medium(disk)) == ["a", "b"] and on_medium(disk)["a"] == NEW


def test_readers_go_on(disk: Path) -> None:
    """When the image is opened for writing by the first change, and when it was let go of."""
    fs = OctavoFileSystem(str(disk))
    fs.pipe("a", bytes(range(256)) * 1000)
    fs.close()
    file = fs.open("a", "rb")
    assert file.read(3) == b"\0\1\2" and file.seek(100_000) == 100_000
    fs.pipe("b", b"")
    assert file.read(3) == bytes([160, 161, 162])
    fs.close()
    file.seek(200_001)
    assert file.read(1) == bytes([200_001 % 256])
    fs.close()
    with octavo.open_image(disk) as volume:
        volume.write_bytes("a", bytes(256_000), 1e9)
    with pytest.raises(OSError, match="another file") as caught:
        file.seek(5)
        file.read(100_000)
    assert caught.value.errno == errno.EBADF
    fs.rm("a")
    fs.close()
    with pytest.raises(FileNotFoundError):
        file.seek(5)
        file.read(100_000)
    file.close()


PROGRAM = """
import fsspec, sys
fs = fsspec.filesystem("octavo", fo=sys.argv[1])
with fs.open("done", "wb") as file:
    file.write(b"done")
kept = fs.open("old", "wb")
kept.write(b"half" * 50_000)
kept.cycle = [kept]
sys.exit(3)
"""


def test_the_end_of_the_program(disk: Path) -> None:
    """What was not finished by then stays as it was."""
    with OctavoFileSystem(str(disk)) as fs:
        fs.pipe("old", OLD)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(disk)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert on_medium(disk) == {"old": OLD, "done": b"done"}


HOLDS = """
import fsspec, sys, threading
fs = fsspec.filesystem("octavo", fo=sys.argv[1])
taken = threading.Event()
def hold():
    with fs.image.use(fs.part):
        taken.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
taken.wait()
"""


def test_a_daemon_thread_holds_up_no_exit(disk: Path) -> None:
    """Whatever it waits for."""
    done = subprocess.run(
        [sys.executable, "-c", HOLDS, str(disk)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_is_open_is_replaced(fs: OctavoFileSystem) -> None:
    """And removed: who reads it has the old bytes to the end, everybody else the new ones."""
    fs.pipe("f", OLD * 5)
    with fs.open("f", "rb") as reader:
        assert reader.read(3) == OLD[:3]
        with fs.open("f", "wb") as writer:
            writer.write(NEW)
        assert fs.cat("f") == NEW and reader.read(len(OLD)) == (OLD * 5)[3 : len(OLD) + 3]
        fs.rm("f")
        assert reader.read() == (OLD * 5)[len(OLD) + 3 :] and names(fs) == []


def test_fsspec_open_finishes_half_files(disk: Path) -> None:
    """As the documentation says: it does not tell its files of the exception."""
    with pytest.raises(ZeroDivisionError), fsspec.open(f"octavo://f::file://{disk}", "wb") as file:
        file.write(b"half")
        raise ZeroDivisionError
    with OctavoFileSystem(str(disk)) as fs:
        assert fs.cat("f") == b"half"
