"""FAT tables for tests: each of their plans is applied at once."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import octavo
from octavo.files import Volume
from octavo.fs.fat.books import Run
from octavo.fs.fat.entry import Entry
from octavo.fs.vfs.edits import Phase
from octavo.fs.vfs.node import Node
from octavo.fs.vfs.order import Writer
from octavo.fs.vfs.volume import Volume as MountedVolume
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice
from tests.conftest import make_image
from tests.volumes import planner_of

SIZES = {12: 160 * 1024, 16: 4 << 20, 32: 34 << 20}


def clusters(runs: list[tuple[int, int]]) -> list[int]:
    """Runs, cluster by cluster."""
    return [cluster for first, count in runs for cluster in range(first, first + count)]


class Table:
    """The table of a volume that is about to be changed, with each of its plans applied at once."""

    def __init__(self, volume: Volume) -> None:
        self.planner = planner_of(volume)
        self.table, self.books = self.planner.table, self.planner.books
        self.core = cast(MountedVolume[Entry], volume.core)
        assert self.core.writer is not None
        self.writer: Writer[Entry] = self.core.writer
        volume.scheduler.run(self.writer.begin())

    async def allocate(self, count: int, after: int = 0) -> list[Run]:
        """A new chain, or more of one."""
        with self.planner.change() as change:
            await self.table.allocate(change, count, after)
            await self.writer.apply(change)
        return list(change.taken)

    async def grow(self, node: Node[Entry], size: int) -> None:
        """Extents for so many bytes."""
        assert self.core.room is not None
        await self.core.room.grow(node, size)

    async def put(self, phase: Phase) -> None:
        """What waits for a phase."""
        while (change := await self.planner.due(phase)) is not None:
            with change:
                await self.writer.apply(change)

    async def free(self, clusters: list[int]) -> None:
        """Gives clusters back, at once."""
        self.books.give_back([(cluster, 1) for cluster in clusters])
        await self.put(Phase.FREE)

    async def chain(self, first: int) -> list[int]:
        """The clusters of a chain."""
        return clusters(await self.table.chain(first, "x"))


def large_fat(folder: Path) -> tuple[octavo.System, FaultyDevice, Table, Volume]:
    """A volume that is about to be changed, whose FAT is larger than memory, on a device that can
    fail.
    """
    image = make_image(folder / "disk.img", 300 << 20, 32, 512)
    system = octavo.boot("1M")
    device = FaultyDevice(ImageDisk(image, system.scheduler))
    volume = system.attach_device(device)
    return system, device, Table(volume), volume
