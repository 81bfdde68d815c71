"""Threads on one FAT volume, on virtual CPUs that pre-empt each other at marked points: each in a
directory of its own against a model, all in one shared file and one shared directory; writers,
flushes and memory pressure come between. Then fsck.fat and another mount judge the image.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import octavo
from octavo.fs.vfs.volume import Volume as MountedVolume
from octavo.status import Status, StatusError
from tests.conftest import fsck, make_image
from tests.preempted import preempted, schedules

MIB = 1 << 20
KINDS = ((1440 * 1024, 12, 0), (16 * MIB, 16, 512), (40 * MIB, 32, 512))
WORKERS = 4
STEPS = 25
RECORD = 700  # bytes of the shared file that one worker has
TIMES = 1_000_000_000  # seconds since 1970: the first time that a file is given


class Worker:
    """One thread: what it has made, and the times that its files were given."""

    def __init__(self, volume: MountedVolume[Any], number: int, seed: int) -> None:
        self.volume, self.number, self.random = volume, number, Random(seed * 100 + number)
        self.home = f"w{number}"
        self.files: dict[str, bytes] = {}
        self.times: dict[str, int] = {}
        self.count = 0

    def fresh(self) -> str:
        """A path that is not there."""
        self.count += 1
        long = " with a long name" if self.random.random() < 0.3 else ""
        return f"{self.home}/f{self.count}{long}"

    def data(self) -> bytes:
        """Some bytes."""
        return self.random.randbytes(self.random.choice((0, 10, 600, 5000, 20_000)))

    async def run(self) -> None:
        """All its steps."""
        await self.volume.make_directory(self.home)
        steps: list[Callable[[], Awaitable[None]]] = [
            self.create, self.create, self.change, self.change, self.cut, self.move, self.remove,
            self.read, self.record, self.look, self.flush, self.replace,
        ]  # fmt: skip
        for _ in range(STEPS):
            step = self.random.choice(steps)
            if self.files or step in (self.create, self.record, self.look, self.flush):
                try:
                    await step()
                except StatusError as error:  # another looks at it: nothing was done
                    assert error.status == Status.SHARING_VIOLATION, error

    def chosen(self) -> str:
        """Any of its files."""
        return self.random.choice(sorted(self.files))

    async def create(self) -> None:
        """A file, at once or piece by piece."""
        path, data = self.fresh(), self.data()
        if self.random.random() < 0.5:
            assert await self.volume.create_whole(path, data, None)
            self.files[path] = data
            return
        file = await self.volume.open(path, write=True, create=True, exclusive=True)
        for at in range(0, len(data), 3000):
            await file.write(at, data[at : at + 3000])
        await self.timed(path, file.set_modified)
        await file.close()
        self.files[path] = data

    async def timed(self, path: str, set_modified: Callable[[float], Awaitable[None]]) -> None:
        """Gives a file a time of its own."""
        self.times[path] = TIMES + 2 * (self.number * 10_000 + self.random.randrange(5000))
        await set_modified(self.times[path])

    async def change(self) -> None:
        """Bytes somewhere, also beyond the end."""
        path = self.chosen()
        old, data = self.files[path], self.data()
        at = self.random.randrange(len(old) + 2000)
        file = await self.volume.open(path, write=True)
        await file.write(at, data)
        if data:
            old = old.ljust(at, b"\0")
            self.files[path] = old[:at] + data + old[at + len(data) :]
        await self.timed(path, file.set_modified)
        await file.close()

    async def cut(self) -> None:
        """Another size, while a reader is at work on the file."""
        path = self.chosen()
        size = self.random.randrange(2 * len(self.files[path]) + 1)
        file = await self.volume.open(path, write=True)
        reader = self.volume.cache.memory.scheduler.spawn(file.read(0, 1 << 20), "reader")
        await file.truncate(size)
        old = self.files[path]
        self.files[path] = old[:size].ljust(size, b"\0")
        seen = await reader.join()
        assert seen[: min(size, len(old))] == old[: min(len(seen), size)]
        assert min(len(old), size) <= len(seen) <= max(len(old), size)  # it grows by pieces
        await self.timed(path, file.set_modified)
        await file.close()

    async def move(self) -> None:
        """Another name, in its directory or in the shared one."""
        path, new = self.chosen(), self.fresh()
        if self.random.random() < 0.3:
            new = f"shared/{self.number} {self.count}"
        await self.volume.rename(path, new)
        self.files[new] = self.files.pop(path)
        if path in self.times:
            self.times[new] = self.times.pop(path)

    async def replace(self) -> None:
        """Rename over another of its files."""
        path, new = self.chosen(), self.chosen()
        if path != new:
            await self.volume.rename(path, new, replace=True)
            self.files[new] = self.files.pop(path)
            self.times.pop(new, None)
            if path in self.times:
                self.times[new] = self.times.pop(path)

    async def remove(self) -> None:
        """One of its files goes."""
        path = self.chosen()
        await self.volume.remove(path)
        del self.files[path]
        self.times.pop(path, None)

    async def read(self) -> None:
        """All of a file is as it was written."""
        path = self.chosen()
        file = await self.volume.open(path)
        assert await file.read(0, 1 << 20) == self.files[path], path
        await file.close()

    async def record(self) -> None:
        """Its part of the file that all write."""
        file = await self.volume.open("shared/all", write=True)
        await file.write(self.number * RECORD, bytes([65 + self.number]) * RECORD)
        await file.close()

    async def look(self) -> None:
        """Other directories are listed, and other workers' files read, which may go meanwhile."""
        for entry in await self.volume.entries("shared"):
            try:
                file = await self.volume.open(f"shared/{entry.name}")
                await file.read(0, 5000)
                await file.close()
            except StatusError as error:
                assert error.status in (
                    Status.OBJECT_NAME_NOT_FOUND, Status.OBJECT_PATH_NOT_FOUND,
                ), error  # fmt: skip

    async def flush(self) -> None:
        """The volume, by one of several at a time."""
        await self.volume.flush()


async def press(volume: MountedVolume[Any], random: Random) -> None:
    """Memory is short now and then."""
    scheduler, pageout = volume.cache.memory.scheduler, volume.cache.memory.pageout
    for _ in range(15):
        await scheduler.sleep(random.random() * 0.01)
        pageout.trim(random.randrange(200))
        if random.random() < 0.5:
            await volume.cache.memory.writeback.write(
                volume.cache.memory.writeback.oldest(random.randrange(1, 20)), asked=False
            )


async def work(volume: MountedVolume[Any], seed: int) -> list[Worker]:
    """All threads to their ends; returns the workers."""
    await volume.make_directory("shared")
    await volume.create_whole("shared/all", bytes(RECORD * WORKERS), None)
    workers = [Worker(volume, number, seed) for number in range(WORKERS)]
    spawn = volume.cache.memory.scheduler.spawn
    threads = [spawn(worker.run(), worker.home) for worker in workers]
    threads.append(spawn(press(volume, Random(seed)), "pressure"))
    for thread in threads:
        await thread.join()
    return workers


def judge(volume: octavo.Volume, workers: list[Worker]) -> None:
    """Every file is there, with its bytes and its time, and no other."""
    expected = {path: data for worker in workers for path, data in worker.files.items()}
    found = {
        f"{here}/{entry.name}": entry
        for here, entries in volume.walk()
        for entry in entries
        if here and not entry.is_directory
    }
    shared = found.pop("shared/all")
    assert shared.size == RECORD * WORKERS
    assert set(found) == set(expected)
    for path, data in expected.items():
        assert volume.read_bytes(path) == data, path
    for worker in workers:
        for path, wall in worker.times.items():
            assert found[path].modified.timestamp() == wall, path


def rounds(kind: tuple[int, int, int], folder: Path, seed: int, cpus: int) -> str:
    """One run; returns the hash of its trace."""
    size, bits, cluster = kind
    image = make_image(folder / "disk.img", size, bits, cluster)
    with preempted(cpus), octavo.boot(memory="1M", disks=[image], seed=seed) as system:
        volume = next(iter(system.volumes.values()))
        assert system.scheduler.preemption is not None
        system.scheduler.preemption.inspect = system.memory.check
        assert isinstance(volume.core, MountedVolume)
        workers = system.scheduler.run(work(volume.core, seed))
        judge(volume, workers)
        assert volume.check() == []
        system.check()
        mark = system.scheduler.trace_hash()
    fsck(image)
    with octavo.boot(memory="2M", disks=[image]) as system:
        judge(next(iter(system.volumes.values())), workers)
    return mark


@pytest.mark.dosfstools
@pytest.mark.parametrize(("seed", "cpus"), schedules())
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"FAT{kind[1]}")
def test_threads_on_a_volume(
    kind: tuple[int, int, int], seed: int, cpus: int, tmp_path: Path
) -> None:
    """Whatever comes between, each finds what it has written, and so do others' tools."""
    rounds(kind, tmp_path, seed, cpus)
