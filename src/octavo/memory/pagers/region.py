"""The pager of everything that lies on a device: a section whose bytes are at the places that its
region map names.

File systems and raw volumes use it; a section's token is its `Mapping`. Reads go straight from the
device into frames, writes straight from frames to the device. The region map is in memory before a
page is, so that writing a page out needs neither a page nor a lock (rule 7).

A mapping can have mirrors: what is written to its place p at or beyond `mirror_from` is written to
p + d for each d in `mirrors` as well (the copies of a FAT).

What is written is on the medium after a `barrier`. One that failed may have lost any of it, and
nobody knows what: from then on every barrier fails with the same error (as after a failed fsync on
Linux the pages count as clean, and are not there).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.memory.pagers.medium import Extent, Medium, merge
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import ORDINARY, DirtyRun, Section
from octavo.status import Status, StatusError
from octavo.threads.wait import Mutex, marks, preemption_point

MOST_BYTES = 4 << 20  # of one write to the device
MOST_BUFFERS = 1024


@dataclass(slots=True, eq=False)
class Mapping:
    """Where a section's bytes are, and which of them are kept in several places."""

    regions: RegionMap
    mirrors: tuple[int, ...] = ()
    mirror_from: int = 0


class RegionPager:
    """Serves all sections whose data is on `device`."""

    traits = ORDINARY

    def __init__(self, device: Medium) -> None:
        self.device = device
        self.unsettled = False  # something was written since the last barrier
        self.loose: set[Section] = set()  # whose pages were
        self.lost: StatusError | None = None  # why a barrier failed
        self._flushing = Mutex("flush of a device")

    async def barrier(self) -> None:
        """Returns when all that was written is on stable storage."""
        async with (
            self._flushing
        ):  # a second caller waits for a flush that is under way: it may have what he wrote
            if self.lost is None and self.unsettled:
                self.unsettled = False  # what is written from here on is not covered
                self.loose.clear()
                try:
                    await self.device.flush()
                except StatusError as error:
                    text = (
                        f"{error.text}: what was written since the last flush may be lost: "
                        "unmount with discard, then check"
                    )
                    self.lost = StatusError(error.status, text)
        if self.lost is not None:
            raise self.lost

    async def zero(self, place: int, length: int) -> None:
        """Writes zeros at a place of the device that no section shows yet."""
        try:
            await self.device.write([(place, [memoryview(bytes(length))])])
        finally:
            self.unsettled = True

    async def data_request(
        self, section: Section, page: int, buffers: list[memoryview], need: range
    ) -> None:
        """Reads from the device; zeros where the region map ends."""
        if marks.on:
            await preemption_point()
        regions = _mapping(section).regions
        length = sum(map(len, buffers)) if len(buffers) > 1 else len(buffers[0])
        pieces = regions.locate(page << PAGE_SHIFT, length)
        there = min(length, regions.total - (page << PAGE_SHIFT))
        if there < length:
            buffers = _zero_tail(buffers, max(0, there))
            if there <= 0:
                return
        extents = [(pieces[0][0], buffers)] if len(pieces) == 1 else _carve(pieces, buffers)
        try:
            await self.device.read(extents)
        except StatusError as error:
            raise StatusError(error.status, f"{section.name}: {error.text}") from None

    async def data_return(self, runs: Sequence[DirtyRun]) -> list[StatusError | None]:
        """Writes all runs in one request, neighbours joined; when that fails, one by one, to know
        which ones cannot be written.
        """
        if not runs:
            return []
        try:
            await self._write(runs)
        except StatusError as error:
            if len(runs) == 1:
                return [_named(runs[0], error)]
        else:
            return [None] * len(runs)
        out: list[StatusError | None] = []
        for run in runs:
            try:
                await self._write([run])
            except StatusError as error:
                out.append(_named(run, error))
            else:
                out.append(None)
        return out

    async def _write(self, runs: Sequence[DirtyRun]) -> None:
        extents = [extent for run in runs for extent in self._extents(run)]
        try:
            await self.device.write(merge(extents, MOST_BYTES, MOST_BUFFERS))
        finally:  # not before: a barrier that began meanwhile does not cover what ends now
            self.unsettled = True
            self.loose.update(run.section for run in runs)

    def _extents(self, run: DirtyRun) -> list[Extent]:
        mapping = _mapping(run.section)
        length = sum(map(len, run.buffers))
        pieces = mapping.regions.locate(run.page << PAGE_SHIFT, length)
        extents = _carve(pieces, run.buffers)
        if mapping.mirrors:
            extents += [
                (place + d, b)
                for place, b in extents
                if place >= mapping.mirror_from
                for d in mapping.mirrors
            ]
        return extents


def _mapping(section: Section) -> Mapping:
    assert isinstance(section.token, Mapping)
    return section.token


def _named(run: DirtyRun, error: StatusError) -> StatusError:
    return StatusError(error.status, f"{run.section.name}: {error.text}")


def _carve(pieces: list[tuple[int, int]], buffers: list[memoryview]) -> list[Extent]:
    """Deals the buffers out to the (place, length) pieces, in order."""
    if len(pieces) == 1 and pieces[0][1] == sum(map(len, buffers)):
        return [(pieces[0][0], buffers)]
    out: list[Extent] = []
    rest = iter(buffers)
    buffer = memoryview(b"")
    for place, length in pieces:
        taken = []
        while length:
            if not buffer:
                buffer = next(rest)
            part = buffer[:length]
            taken.append(part)
            buffer = buffer[len(part) :]
            length -= len(part)
        out.append((place, taken))
    return out


def _zero_tail(buffers: list[memoryview], start: int) -> list[memoryview]:
    """Fills what lies behind byte `start` with zeros; returns the buffers up to there."""
    out = []
    for buffer in buffers:
        if start >= len(buffer):
            out.append(buffer)
            start -= len(buffer)
            continue
        if start:
            out.append(buffer[:start])
        buffer[start:] = bytes(len(buffer) - start)
        start = 0
    return out


def whole_device(device: Medium) -> Mapping:
    """The mapping of a section that is the device itself."""
    regions = RegionMap(PAGE_SIZE if device.size % PAGE_SIZE == 0 else 512)
    if device.size:
        regions.append(0, device.size // regions.unit)
    else:
        raise StatusError(Status.UNRECOGNIZED_VOLUME, f"{device.name}: is empty")
    return Mapping(regions)
