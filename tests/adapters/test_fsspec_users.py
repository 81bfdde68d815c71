"""Several users of one image: whose files a close ends, which filesystem one gets, what a reader
has of a file that is replaced, what Ctrl-C leaves.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

import octavo
from octavo.adapters.fsspec import OctavoFileSystem
from octavo.files import Volume
from octavo.threads.interrupts import interrupt
from tests.adapters.test_fsspec_ends import NEW, OLD, names


def in_thread(call: Callable[[], object]) -> None:
    """Calls in another thread, which gets a filesystem of its own."""
    said: list[object] = []
    thread = threading.Thread(target=lambda: said.append(call()))
    thread.start()
    thread.join(60)
    assert len(said) == 1


def leave(disk: Path, fails: bool) -> None:
    """Uses the image in a `with` block that ends with or without an exception."""
    try:
        with fsspec.filesystem("octavo", fo=str(disk)) as fs:
            fs.exists("f")
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails


def is_free(disk: Path) -> bool:
    """Whether another program could change the image."""
    try:
        with octavo.open_image(disk):
            return True
    except octavo.StatusError:
        return False


@pytest.mark.parametrize("fails", [False, True])
def test_who_closes_ends_no_file_of_others(fails: bool, disk: Path) -> None:
    """It is written to its end; that lets go of the image."""
    fs = fsspec.filesystem("octavo", fo=str(disk))
    fs.pipe("f", OLD)
    file = fs.open("f", "wb")
    file.write(NEW)
    in_thread(lambda: leave(disk, fails))
    assert not file.closed and fs.cat("f") == OLD and not is_free(disk)
    file.write(NEW)
    file.close()
    assert is_free(disk) and fs.cat("f") == NEW + NEW
    fs.close()


@pytest.mark.parametrize("other", [False, True])
def test_a_transaction_outlasts_a_close(other: bool, disk: Path) -> None:
    """One's own and another's: its files take their places at its end, which closes."""
    fs = fsspec.filesystem("octavo", fo=str(disk))
    with fs.transaction:
        fs.pipe("f", NEW)
        file = fs.open("g", "wb")
        file.write(NEW)
        in_thread(lambda: leave(disk, False)) if other else fs.close()
        assert fs.ls("") == []
    assert is_free(disk) and fs.cat("f") == fs.cat("g") == NEW
    fs.close()


@pytest.mark.parametrize("mode", ["wb", "w", "r+b"])
def test_a_file_that_was_given_up_says_so(mode: str, disk: Path) -> None:
    """Who closes it is told; what was there before is."""
    fs = OctavoFileSystem(str(disk), skip_instance_cache=True)
    fs.pipe("f", OLD)
    file = fs.open("f", mode)
    file.write("new" if mode == "w" else b"new")
    with pytest.raises(ZeroDivisionError), fs:
        raise ZeroDivisionError
    for call in (file.close, lambda: file.write("x" if mode == "w" else b"x")):
        with pytest.raises((OSError, ValueError), match="was closed|closed file"):
            call()
    with pytest.raises(OSError, match="filesystem was closed") as caught:
        file.close()
    assert caught.value.errno == errno.EBADF and fs.cat("f") == OLD
    fs.close()


def test_a_write_that_failed_is_told_at_the_end(fs: OctavoFileSystem) -> None:
    """Also when all that came before it had been written."""
    fs.pipe("f", OLD)
    file = fs.open("f", "wb")
    file.write(NEW)
    file.flush()
    with pytest.raises(OSError, match="full"):
        file.raw.write(bytes(2 << 20))
    with pytest.raises(OSError, match="last write failed"):
        file.close()
    assert fs.cat("f") == OLD and names(fs) == ["f"]


def test_a_transaction_that_fails_halfway(fs: OctavoFileSystem) -> None:
    """The file that cannot take its place and those behind it stay as they were."""
    fs.pipe({"a": OLD, "c": OLD})
    with pytest.raises(FileExistsError), fs.transaction:
        fs.pipe({"a": NEW, "b": NEW, "c": NEW})
        with fs.image.use(fs.part, True) as volume:
            volume.mkdir("b")
    assert (fs.cat("a"), fs.cat("c"), sorted(names(fs))) == (NEW, OLD, ["a", "b", "c"])


def test_a_transaction_that_nobody_ends(fs: OctavoFileSystem) -> None:
    """Leaves nothing, once its filesystem is dropped."""
    other: Any = OctavoFileSystem("/disk.img", "memory", skip_instance_cache=True)
    other.start_transaction()
    other.pipe("f", NEW)
    assert len(names(fs)) == 1
    del other
    gc.collect()
    assert names(fs) == []


def test_file_objects_are_images_of_their_own(disk: Path, blank: bytes) -> None:
    """Also with one name; nobody keeps them, or their filesystems."""
    with open(disk, "r+b") as first:
        a = fsspec.filesystem("octavo", fo=first)
        disk.unlink()
        disk.write_bytes(blank)
        with open(disk, "r+b") as second:
            b = fsspec.filesystem("octavo", fo=second)
            assert a != b
            a.pipe("a", b"")
            b.pipe("b", b"")
            assert a.ls("", False) == ["a"] and b.ls("", False) == ["b"]
            a.close()
            b.close()
    with octavo.open_image(disk) as volume:
        assert [entry.name for entry in volume.entries()] == ["b"]
    gone = []
    for _ in range(4):
        buffer: Any = io.BytesIO(blank)
        with fsspec.filesystem("octavo", fo=buffer) as fs:
            fs.pipe("f", b"")
        gone.append(weakref.ref(buffer))
    del buffer, fs
    gc.collect()
    assert [ref() for ref in gone[:-1]] == [None] * 3  # the last machine is kept until the next


@pytest.mark.parametrize("url", [False, True])
def test_a_relative_path_is_one_of_now(
    url: bool, tmp_path: Path, blank: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a change of the directory it is another image."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Path("disk.img").write_bytes(blank)
        if url:
            fs = OctavoFileSystem(fo="file://disk.img")
        else:
            fs = OctavoFileSystem("disk.img")
            assert fs is OctavoFileSystem(os.path.abspath("disk.img"))
        with fs:
            fs.pipe(name, b"")
        made.append(fs)
    for fs, name in zip(made, ("one", "two"), strict=True):
        assert fs.ls("", False) == [name]
        fs.close()


def test_a_reader_has_one_file(fs: OctavoFileSystem) -> None:
    """The old one to its end, however it is replaced."""
    for replace in (
        lambda: fs.pipe("f", NEW * 9), lambda: fs.pipe_file("f", b""), lambda: fs.touch("f"),
        lambda: fs.cp("new", "f"),
    ):  # fmt: skip
        fs.pipe({"f": OLD * 9, "new": NEW * 9})
        with fs.open("f") as reader:
            reader.read(3)
            replace()
            assert reader.read() == (OLD * 9)[3:] and fs.cat("f") != OLD * 9
    assert sorted(names(fs)) == ["f", "new"]


def test_a_reader_whose_image_was_closed_knows_its_file(disk: Path) -> None:
    """From one of the same size and times, by where it begins."""
    with OctavoFileSystem(str(disk)) as fs:
        for name, data in (("f", OLD), ("g", OLD[::-1])):
            fs.pipe(name, data)
            fs.touch(name, truncate=False)
        old, new = fs.info("f"), fs.info("g")
        assert abs(old["mtime"] - new["mtime"]) <= 2
        fs.close()
        reader = fs.open("f")
        with fs.image.use(fs.part) as volume:
            before = volume.stat("f")
        with fs.image.use(fs.part, True) as volume:
            volume.rename("g", "f", replace=True)
            volume.set_modified("f", before.modified.timestamp())
            after = volume.stat("f")
        assert after.size == before.size
        with pytest.raises(OSError, match="another file"):
            reader.read()


@pytest.mark.parametrize("behind", [False, True])
def test_an_interrupt_while_a_file_takes_its_place(
    behind: bool, fs: OctavoFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaves the old one or the new one, and nothing beside it; before it is there, or behind."""
    fs.pipe("f", OLD)
    stop = interrupted_once(monkeypatch, behind)
    file = fs.open("f", "wb")
    file.write(NEW)
    stop()
    with pytest.raises(KeyboardInterrupt):
        file.close()
    assert fs.cat("f") == (NEW if behind else OLD) and names(fs) == ["f"]
    fs.pipe("g", b"1")
    assert fs.cat("g") == b"1"


def test_an_interrupt_while_a_file_is_opened(
    fs: OctavoFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comes when it is known, and leaves what was there."""
    fs.pipe("f", OLD)
    whole = Volume.open_beside

    def interrupted(volume: Volume, path: str) -> Any:
        try:
            return whole(volume, path)
        finally:
            interrupt(KeyboardInterrupt())

    monkeypatch.setattr(Volume, "open_beside", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fs.open("f", "wb")
    assert fs.cat("f") == OLD and names(fs) == ["f"]


@pytest.mark.parametrize("behind", [False, True])
def test_an_interrupt_in_a_transaction(
    behind: bool, fs: OctavoFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ends it; what has not taken its place is not there."""
    stop = interrupted_once(monkeypatch, behind)
    with pytest.raises(KeyboardInterrupt), fs.transaction:
        fs.pipe({"a": NEW, "b": NEW, "c": NEW})
        stop()
    assert names(fs) == (["a"] if behind else []) and not fs._intrans
    fs.pipe("d", b"at once")
    assert fs.cat("d") == b"at once"


def interrupted_once(monkeypatch: pytest.MonkeyPatch, behind: bool) -> Callable[[], None]:
    """What has the next renaming interrupted, before or behind it."""
    whole = Volume.rename

    def rename(volume: Volume, *args: Any, **options: Any) -> None:
        monkeypatch.setattr(Volume, "rename", whole)
        if behind:
            whole(volume, *args, **options)
        raise KeyboardInterrupt

    return lambda: monkeypatch.setattr(Volume, "rename", rename)


def test_a_thread_that_writes_while_another_closes(disk: Path) -> None:
    """Neither waits for the other for ever: closing has no lock while it empties a buffer."""
    fs = OctavoFileSystem(str(disk), skip_instance_cache=True)
    file = fs.open("f", "wb")
    write, inside, go = file.raw.write, threading.Event(), threading.Event()

    def slow(data: Any) -> int:
        inside.set()
        go.wait(30)
        return int(write(data))

    file.raw.write = slow
    writer = threading.Thread(target=file.write, args=(bytes(1 << 18),), daemon=True)
    closer = threading.Thread(target=fs.close, daemon=True)
    writer.start()
    assert inside.wait(30)  # with the buffer's lock
    closer.start()
    time.sleep(0.1)  # until it wants that
    go.set()
    for thread in (writer, closer):
        thread.join(20)
        assert not thread.is_alive()
    assert fs.cat("f") == bytes(1 << 18)
    fs.close()
