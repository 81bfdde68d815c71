"""One image in many hands: instances, threads, processes, other programs."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

import octavo
from octavo.adapters.fsspec import OctavoFileSystem
from tests.machines import within_seconds
from tests.storage.tables import mbr_disk

FORK = multiprocessing.get_context("fork")


def in_child(call: Callable[[], object], context: Any = FORK) -> object:
    """What a call returns in a process that was forked, or its error's errno."""

    def work() -> None:
        try:
            queue.put(call())
        except OSError as error:
            queue.put(error.errno)

    queue = context.Queue()
    child = context.Process(target=work)
    child.start()
    try:
        return queue.get(timeout=30)
    finally:
        child.join(30)
        assert child.exitcode == 0


def test_threads_share_one_machine(disk: Path) -> None:
    """fsspec makes a filesystem a thread; all of them see what the others wrote."""
    url = f"octavo://::file://{disk}"
    machines = set()

    def work(number: int) -> None:
        fs, _ = fsspec.url_to_fs(url)
        machines.add(fs.image)
        for turn in range(6):
            data = bytes([number, turn]) * 3000
            fs.pipe(f"{number}/{turn}", data)
            with fs.open(f"{number}/same", "wb") as file:
                file.write(data)
            assert fs.cat(f"{number}/{turn}") == data
            assert fs.cat(f"{number}/same") == data
            fs.find("")

    fs = fsspec.filesystem("octavo", fo=str(disk))
    for number in range(4):
        fs.mkdir(str(number))
    with within_seconds(60), ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert machines == {fs.image} and len(fs.find("")) == 4 * 7
    fs.close()
    with octavo.open_image(disk) as volume:
        assert volume.check() == []


def test_one_file_in_several_threads(fs: OctavoFileSystem) -> None:
    """As dask reads blocks of a file: each of its own handle, at the same time."""
    data = os.urandom(600_000)
    fs.pipe("f", data)

    def block(start: int) -> bytes:
        with fs.open("f", "rb") as file:
            file.seek(start)
            return bytes(file.read(50_000))

    with within_seconds(60), ThreadPoolExecutor(6) as pool:
        assert b"".join(pool.map(block, range(0, 600_000, 50_000))) == data


def test_instances_are_cached(disk: Path) -> None:
    """The same arguments are the same filesystem; a pickled one is it, too, in this process."""
    first = fsspec.filesystem("octavo", fo=str(disk))
    assert fsspec.filesystem("octavo", fo=str(disk)) is first
    assert pickle.loads(pickle.dumps(first)) is first
    other = fsspec.filesystem("octavo", fo=str(disk), read_only=True)
    assert other is not first and other.image is first.image
    assert type(first).from_json(first.to_json()) is first
    first.close()


def test_other_options_while_it_is_open(disk: Path) -> None:
    """A sentence that says which; once it is closed they are taken."""
    first = OctavoFileSystem(str(disk), memory="16M")
    with pytest.raises(OSError, match="memory='16M' and codepage=437") as caught:
        OctavoFileSystem(str(disk), memory="8M")
    assert caught.value.errno == errno.EBUSY
    first.close()
    with OctavoFileSystem(str(disk), memory="8M") as fs:
        fs.pipe("f", bytes(1 << 20))
        with fs.image.use(fs.part) as volume:
            core: Any = volume.core
            frames = core.store.cache.memory.pfns.frames
            assert 7 << 20 < frames * 4096 < 10 << 20
    with pytest.raises(OSError, match="is not a size"):
        OctavoFileSystem(str(disk), memory="much")


def test_readers_share_and_a_writer_does_not(disk: Path) -> None:
    """With other programs: many may read; who changes something has the image alone."""
    with OctavoFileSystem(str(disk)) as fs:
        assert fs.ls("") == []
        with octavo.open_image(disk, read_only=True):
            with pytest.raises(OSError, match="in use") as caught:
                fs.pipe("f", b"")
            assert caught.value.errno == errno.EBUSY
            assert fs.ls("") == []  # it goes on to read
        fs.pipe("f", b"mine")
        with pytest.raises(octavo.StatusError, match="in use"):
            octavo.boot(memory="8M", disks=[disk], read_only=True)
    with octavo.open_image(disk) as volume, pytest.raises(OSError, match="in use"):
        OctavoFileSystem(str(disk), skip_instance_cache=True)
    assert not volume.read_only


def test_a_process_that_was_forked(disk: Path) -> None:
    """Opens the image itself, to read beside its parent or once the parent let go; the parent's
    file is not its own, nor is a lock that a thread of the parent's has.
    """
    fs = OctavoFileSystem(str(disk))
    fs.pipe("f", b"parent")
    assert in_child(lambda: fs.cat("f")) == errno.EBUSY  # the parent may be changing it
    writer = fs.open("g", "wb")
    writer.write(b"by the parent")

    def spoil() -> str:
        with pytest.raises(OSError, match="another process"):
            writer.close()
        with pytest.raises(octavo.StatusError, match="the system was ended"):
            writer.raw._file.write(b"by the child")
        return "refused"

    assert in_child(spoil) == "refused"
    writer.close()
    assert fs.cat("g") == b"by the parent"
    fs.close()
    assert fs.ls("", detail=False) == ["f", "g"]  # for reading: others may, too
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        with fs.image.use(fs.part):
            taken.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(60)
    assert in_child(lambda: fs.cat("f")) == b"parent"
    over.set()
    thread.join()
    fs.close()
    assert in_child(lambda: fs.pipe("h", b"child")) is None
    assert fs.cat("h") == b"child"
    fs.close()


def test_a_file_object_is_one_process_s(disk: Path) -> None:
    """Its position would be shared with a process that was forked."""
    with open(disk, "r+b", buffering=0) as file:
        fs = OctavoFileSystem(file)
        fs.pipe("f", b"in place")
        assert in_child(lambda: fs.cat("f")) == errno.EBUSY
        fs.close()
    with octavo.open_image(disk) as volume:
        assert volume.read_bytes("f") == b"in place"


def read_it(fs: OctavoFileSystem, queue: Any) -> None:
    """In a process that shares nothing."""
    queue.put(fs.cat("f"))


def test_a_process_that_gets_it_pickled(disk: Path) -> None:
    """Opens the image where it is."""
    fs = OctavoFileSystem(str(disk))
    fs.pipe("f", b"pickled")
    fs.close()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=read_it, args=(fs, queue))
    child.start()
    assert queue.get(timeout=60) == b"pickled"
    child.join(60)


def test_partitions_that_overlap(tmp_path: Path, blank: bytes) -> None:
    """Are not both open when one of them is changed."""
    data = bytearray(mbr_disk({0: [(6, 2048, 2880), (6, 2560, 2880)]}, 8192))
    data[2048 * 512 : 2048 * 512 + len(blank)] = blank
    data[2560 * 512 : 2560 * 512 + 32 * 512] = blank[: 32 * 512]
    path = tmp_path / "parted.img"
    path.write_bytes(data)
    with OctavoFileSystem(str(path), partition=1) as first:
        second = OctavoFileSystem(str(path), partition=2)  # while both are only read
        assert first.ls("") == second.ls("") == []
        first.pipe("f", b"")
        with pytest.raises(OSError, match="in use") as caught:
            second.ls("")
        assert caught.value.errno == errno.EBUSY and first.cat("f") == b""
    assert second.ls("") == []
    second.close()
