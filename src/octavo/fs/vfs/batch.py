"""Many new files and directories made together: a batch, of which each tree is there whole or not
at all.

    1  extents     of everything, one behind the other, in one change: all chains as one array
    2  data        host files into a stage, and from there to the device, a stage after the other
    3  directories what new ones say, as whole blocks, through the same stage
    4  tops        the entries in directories that were there before: ordinary changes of names

Until 4 nothing names any of it. Data, chains and new directories are in the phase FRESH, the tops'
entries in NAME (`octavo.fs.vfs.order`): a power cut leaves what was there before, the dirty flag,
and perhaps extents that nobody has, which `check` finds and frees. What a batch took and has no
name at its end, whatever that was, waits to be freed like the extents of a file that was removed.

Nothing is told of files that cannot be in a batch, or fail in it: they are not `there`, and whoever
asked makes them one by one, which tells. An error of the device or of memory ends the batch.

Source: docs/decisions/0021.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Generic

from octavo.fs.vfs.node import E
from octavo.fs.vfs.packing import DIRECTORY_SIZE, TOP, Batch, Fill, Job
from octavo.fs.vfs.stage import Stage, staged
from octavo.memory.pagers.regionmap import RegionMap
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.vfs.format import Layout, Packer
    from octavo.fs.vfs.names import Names
    from octavo.fs.vfs.nodes import Nodes

# What is wrong with one of a batch, and not with the device or memory.
OF_ONE = frozenset(
    {
        Status.DISK_FULL,
        Status.OBJECT_NAME_COLLISION,
        Status.OBJECT_NAME_NOT_FOUND,
        Status.OBJECT_PATH_NOT_FOUND,
    }
)


async def make_batch(
    nodes: Nodes[E], names: Names[E], packer: Packer[E], batch: Batch, fill: Fill
) -> None:
    """Makes what it can of a batch, with what `fill` has for its files; called under the volume's
    mutex. VolumeFullError and StatusError NO_MEMORY when there is no room for all of it: nothing is
    made then.
    """
    batch.there = [False] * len(batch.names)
    if not names.writer.begun():
        await names.writer.begin()
    await _Making(nodes, names, packer, batch, fill).run()


class _Making(Generic[E]):
    """A batch that is being made. By the numbers of the batch: `out` is what will not be in it,
    `good` what is on the device; `first` is the number of the first unit of each, `start` where
    that is in all extents, in units.
    """

    def __init__(
        self, nodes: Nodes[E], names: Names[E], packer: Packer[E], batch: Batch, fill: Fill
    ) -> None:
        self.nodes, self.names, self.batch, self.fill = nodes, names, batch, fill
        self.writer, self.planner = names.writer, names.planner
        self.packer, self.unit = packer, packer.unit
        count = len(batch.names)
        self.out, self.good = [False] * count, [False] * count
        self.first, self.start, self.units = [0] * count, [0] * count, [0] * count
        self.parents: dict[int, int] = {}  # of tops that are directories: numbers as `Packer` has
        self.places, self.numbers = RegionMap(self.unit), RegionMap(1)

    async def run(self) -> None:
        """All of it, and what is left over goes back."""
        directories, layout = await self._look()
        files = [i for i, s in enumerate(self.batch.sizes) if s != DIRECTORY_SIZE]
        files = [i for i in files if not self.out[i]]
        if not files and not directories:
            return
        await self._take([*directories, *files])
        try:
            async with staged(
                self.nodes.cache, self.planner.pager, self.unit, self.places.total + 1
            ) as stage:
                await self._copy(stage, files)
                await self._describe(stage, directories, layout)
            await self._name()
        finally:
            await self._give_back([*directories, *files])

    # -- room --------------------------------------------------------------------------------------

    async def _look(self) -> tuple[list[int], Layout]:
        """The directories that can be in the batch, and what they will say; all below others is
        out.
        """
        batch, out = self.batch, self.out
        inside = batch.inside()
        for number in inside:
            if batch.above[number] == TOP:
                out[number] = not await self._try_place(number)
        directories = [number for number in inside if not self._is_out(number)]
        layout = self.packer.lay(batch, directories, [inside[i] for i in directories])
        for number, size in zip(directories, layout.sizes, strict=True):
            self.units[number], out[number] = size // self.unit, not size
        for number in layout.clashes:
            out[number] = True
        for number in range(len(out)):
            self._is_out(number)
        if any(out[number] for number in directories):
            directories = [number for number in directories if not out[number]]
            layout = self.packer.lay(batch, directories, [inside[i] for i in directories])
        return directories, layout

    def _is_out(self, number: int) -> bool:
        """Whether one is out, as all that is below one that is."""
        above = self.batch.above[number]
        self.out[number] = self.out[number] or (above != TOP and self.out[above])
        return self.out[number]

    async def _try_place(self, number: int) -> bool:
        """Finds the directory that a new one will be in; False where that cannot be."""
        try:
            directory, there, _ = await self.nodes.resolve(self.batch.names[number])
        except StatusError as error:
            if error.status not in OF_ONE:
                raise
            return False
        self.parents[number] = self.packer.number(directory.node)
        return there is None

    async def _take(self, order: list[int]) -> None:
        """Extents for all of it, chained."""
        sizes, units, unit = self.batch.sizes, self.units, self.unit
        for number in order:
            if sizes[number] != DIRECTORY_SIZE:
                units[number] = -(-sizes[number] // unit)
        counts = [units[number] for number in order]
        with self.planner.change() as change:
            firsts, runs = await self.packer.chain(change, counts)
            await self.writer.apply(change)
        for number, first, start in zip(order, firsts, accumulate(counts, initial=0), strict=False):
            self.first[number], self.start[number] = first, start
        for place, count in change.extents:
            self.places.append(place, count)
        for first, count in runs:
            self.numbers.append(first, count)

    # -- data --------------------------------------------------------------------------------------

    async def _copy(self, stage: Stage, files: list[int]) -> None:
        """The bytes of all files, from the host to the device."""
        unit, good = self.unit, self.good
        for number in files:
            good[number] = True
        for base, used, jobs in self._loads(files, stage.room):
            for number in self.fill(jobs, stage.window):
                good[number] = False
            for number, _, at, size, _ in jobs:
                if not good[number]:  # whatever is there now may be anybody's
                    stage.clear(at, -(-(at + size) // unit) * unit)
                elif size % unit:
                    stage.clear(at + size, at + size + -size % unit)
            await stage.send(self.places.locate(base, used))

    def _loads(self, files: list[int], room: int) -> Iterator[tuple[int, int, list[Job]]]:
        """What goes into the stage together: the offset of the first byte in all extents, the bytes
        of it that are used, and the jobs.
        """
        sizes, unit = self.batch.sizes, self.unit
        base, at, jobs = self.start[files[0]] * unit if files else 0, 0, list[Job]()
        for number in files:
            left = sizes[number]
            if at and left >= room - at:
                yield base, at, jobs
                base, at, jobs = base + at, 0, []
            while left >= room:  # a file that is larger than the stage
                yield base, room, [(number, sizes[number] - left, 0, room, room)]
                base, left = base + room, left - room
            if not left and sizes[number]:  # that it has ended is seen now, not with all others'
                yield base, 0, [(number, sizes[number], 0, 0, 1)]
                continue
            jobs.append((number, sizes[number] - left, at, left, left + 1))
            at += -(-left // unit) * unit
        if jobs:
            yield base, at, jobs

    async def _describe(self, stage: Stage, directories: list[int], layout: Layout) -> None:
        """What the new directories say, as far as their files are there."""
        above, base, at = self.batch.above, 0, 0
        for number in directories:
            self.good[number] = True
        parents = [
            self.parents[number] if above[number] == TOP else self.first[above[number]]
            for number in directories
        ]
        for block in layout.pack(self.first, parents, self.good):
            done = 0
            while done < len(block):
                if at == stage.room:
                    await stage.send(self.places.locate(base, at))
                    base, at = base + at, 0
                piece = block[done : done + stage.room - at]
                stage.put(at, piece)
                at, done = at + len(piece), done + len(piece)
        await stage.send(self.places.locate(base, at))

    # -- names -------------------------------------------------------------------------------------

    async def _name(self) -> None:
        """Gives the tops their entries."""
        for number, above in enumerate(self.batch.above):
            if above == TOP and self.good[number]:
                self.batch.there[number] = await self._try_top(number)

    async def _try_top(self, number: int) -> bool:
        """One of them; False where there is no place for it."""
        batch, planner = self.batch, self.planner
        path, size, modified = batch.names[number], batch.sizes[number], batch.times[number]
        try:
            directory, there, name = await self.nodes.resolve(path)
            if there is not None:
                return False
            entry = planner.new_entry(name, size == DIRECTORY_SIZE, modified, max(size, 0))
            self.packer.begins(entry, self.first[number])
            await self.names.make(directory, entry, None)
        except StatusError as error:
            if error.status not in OF_ONE:
                raise
            return False
        return True

    async def _give_back(self, order: list[int]) -> None:
        """What has no name waits to be free. What is in a top is there with it, also when one of
        those behind it has failed.
        """
        there = self.batch.there
        for number, above in enumerate(self.batch.above):
            if above != TOP:
                there[number] = self.good[number] and there[above]
        lost = [number for number in order if not there[number]]
        if not lost:
            return
        held = [
            extent
            for number in lost
            for extent in self.numbers.locate(self.start[number], self.units[number])
        ]
        with self.planner.change() as change:
            self.planner.give_back(change, held)
            await self.writer.apply(change)
