"""A stage: frames that the bytes of many files go through on their way to or from the device.

    host's file --> | a | b  |0| c |0| ...       one behind the other, each from a whole unit on
                    '--- a section of up to MOST_PAGES pages, pinned ---'
                            |  its pages are marked, and written as any others
                            v
                    units of the device, in their order

The section has no place of its own: before each trip it gets the places of the bytes that are in it
now, and nobody else sees it. The same frames serve again and again, and a stage has no memory and
no I/O but those of sections (rule 2).

Its frames begin with what others left in them: whoever fills it fills whole units, before anything
is waited for or marked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from octavo.cache.manager import CacheManager
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_PAGES
from octavo.machine.frames import Frames, Runs, joined
from octavo.machine.ram import Ram
from octavo.machine.ramps import rises
from octavo.memory.pagers.region import Mapping, RegionPager
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import Pins, Section, Segment
from octavo.status import Status, StatusError

MOST_PAGES = 8 * SEGMENT_PAGES  # what one data_return carries
_ZEROS = memoryview(bytes(1 << 16))
SHARE = 8  # of the frames that can be had, a stage takes this part


class Buffers:
    """The bytes of segments whose first pages are active, `size` of them, one behind the other."""

    def __init__(self, ram: Ram, segments: Sequence[Segment]) -> None:
        runs: Runs = []
        for segment in segments:
            frames, first = ram.link[segment.base : segment.base + segment.used], 0
            if len(frames) and rises(frames, first := frames[0]):  # as most are
                runs.append((first << PAGE_SHIFT, len(frames) << PAGE_SHIFT))
            else:
                runs += [(pfn << PAGE_SHIFT, PAGE_SIZE) for pfn in frames]
        self.size = sum([length for _, length in runs])
        self._buffers = Frames(ram, joined(runs), self.size).buffers()
        self._first = self._buffers[0] if runs else memoryview(b"")

    def window(self, start: int, length: int) -> list[memoryview]:
        """Where bytes [start, start + length) are, those beyond the last frame left out."""
        if start + length <= len(self._first):
            return [self._first[start : start + length]]
        out = []
        for buffer in self._buffers:
            if start < len(buffer) and length > 0:
                out.append(buffer[start : start + length])
                length -= len(out[-1])
            start = max(0, start - len(buffer))
        return out


class Stage(Buffers):
    """`room` bytes, whole units of `unit` bytes each; made by `staged`."""

    def __init__(
        self, cache: CacheManager, section: Section, segments: Sequence[Segment], unit: int
    ) -> None:
        super().__init__(cache.ram, segments)
        self.unit, self.room = unit, self.size // unit * unit
        self._memory = cache.memory
        self._section, self._segments = section, segments

    def put(self, start: int, data: bytes | memoryview) -> None:
        """Copies bytes to a place of the stage."""
        at = 0
        for buffer in self.window(start, len(data)):
            buffer[:] = data[at : at + len(buffer)]
            at += len(buffer)

    def clear(self, start: int, end: int) -> None:
        """Zeros in [start, end)."""
        while start < end:
            size = min(end - start, len(_ZEROS))
            if start + size <= len(self._first):
                self._first[start : start + size] = _ZEROS[:size]
            else:
                self.put(start, _ZEROS[:size])
            start += size

    async def send(self, pieces: Sequence[tuple[int, int]]) -> None:
        """Writes the stage's beginning to (place, bytes), one behind the other. StatusError when it
        could not be written: the stage must end then.
        """
        if not pieces:
            return
        regions = RegionMap(self.unit)
        for place, size in pieces:
            regions.append(place, size // self.unit)
        assert isinstance(self._section.token, Mapping) and regions.total <= self.room
        self._section.token.regions = regions
        self._section.size = regions.total
        left = self._section.pages
        for segment in self._segments:
            count = min(segment.used, left)
            self._memory.writeback.mark(segment, (1 << count) - 1)
            left -= count
        await self._memory.writeback.flush(self._section)


@asynccontextmanager
async def staged(
    cache: CacheManager, pager: RegionPager, unit: int, wanted: int
) -> AsyncIterator[Stage]:
    """A stage for up to `wanted` bytes, as large as memory allows. StatusError NO_MEMORY when it
    does not allow a unit.
    """
    section = Section("a stage", pager, Mapping(RegionMap(unit)), 0)
    pages = min(-(-wanted // PAGE_SIZE), MOST_PAGES, cache.memory.physical.available // SHARE)
    if pages << PAGE_SHIFT < unit:
        raise StatusError(Status.NO_MEMORY, "memory is too small for files to be copied together")
    try:
        with Pins() as pins:
            for index in range(-(-pages // SEGMENT_PAGES)):
                pins.pin(await cache.views.get(section, index))
            await cache.memory.faults.new_segments(pins, pages)
            yield Stage(cache, section, pins, unit)
    finally:
        await cache.drop(section)
