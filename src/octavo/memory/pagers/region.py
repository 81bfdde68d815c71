"""The pager of everything that lies on a device: a section whose bytes are at the places that its
region map names.

File systems and raw volumes use it; a section's token is its `Mapping`. Reads go straight from the
device into frames, writes straight from frames to the device. The region map is in memory before a
page is, so that writing a page out needs neither a page nor a lock (rule 7).

A hole of the map reads as zeros, without the device; nothing can be written there: whoever writes
into a hole gives it a place first.

A mapping can have mirrors: what is written to its place p at or beyond `mirror_from` is written to
p + d for each d in `mirrors` as well (the copies of a FAT).

What is written is on the medium after a `barrier`. One that failed may have lost any of it, and
nobody knows what: from then on every barrier fails with the same error (as after a failed fsync on
Linux the pages count as clean, and are not there).

A pager with a `bar` touches its device no more: pages stay as they are, dirty ones dirty. The
volume sets it while another medium is in the drive, and when it is unmounted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.frames import Frames, Runs
from octavo.memory.pagers.medium import FLUSH, Medium, Op, Request, merge
from octavo.memory.pagers.regionmap import HOLE, RegionMap
from octavo.memory.pages.section import ORDINARY, DirtyRun, Section
from octavo.status import Status, StatusError
from octavo.threads.wait import Mutex, marks, preemption_point

MOST_BYTES = 4 << 20  # of one write to the device
MOST_RUNS = 1024


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
        self.bar: Callable[[], StatusError] | None = None  # why the device is not to be touched
        self._flushing = Mutex("flush of a device")

    async def barrier(self) -> None:
        """Returns when all that was written is on stable storage."""
        async with (
            self._flushing
        ):  # a second caller waits for a flush that is under way: it may have what he wrote
            if self.bar is not None and self.unsettled:
                raise self.bar()
            if self.lost is None and self.unsettled:
                self.unsettled = False  # what is written from here on is not covered
                self.loose.clear()
                try:
                    await self.device.submit((FLUSH,))
                except StatusError as error:
                    text = (
                        f"{error.text}: what was written since the last flush may be lost: "
                        "unmount with discard, then check"
                    )
                    self.lost = StatusError(error.status, text)
        if self.lost is not None:
            raise self.lost

    async def write(self, place: int, frames: Frames) -> None:
        """Writes frames at a place of the device that no section shows yet."""
        if self.bar is not None:
            raise self.bar()
        try:
            await self.device.submit([Request(Op.WRITE, place, frames)])
        finally:
            self.unsettled = True

    async def data_request(self, section: Section, page: int, frames: Frames, need: range) -> None:
        """Reads from the device; zeros in holes, and where the region map ends."""
        if marks.on:
            await preemption_point()
        if self.bar is not None:
            raise self.bar()
        mapping, offset = section.token, page << PAGE_SHIFT
        assert isinstance(mapping, Mapping)
        regions = mapping.regions
        there = regions.total - offset
        if there < frames.length:
            frames = _zero_tail(frames, max(0, there))
            if there <= 0:
                return
        pieces = regions.locate(offset, frames.length)
        if len(pieces) == 1:
            requests = [Request(Op.READ, pieces[0][0], frames)]
        else:
            requests = _carve(Op.READ, pieces, frames)
        if regions.holes and not (requests := _zero_holes(requests)):
            return
        try:
            await self.device.submit(requests)
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
        if self.bar is not None:
            raise self.bar()
        requests = [request for run in runs for request in self._requests(run)]
        try:
            await self.device.submit(merge(requests, MOST_BYTES, MOST_RUNS))
        finally:  # not before: a barrier that began meanwhile does not cover what ends now
            self.unsettled = True
            self.loose.update(run.section for run in runs)

    def _requests(self, run: DirtyRun) -> list[Request]:
        mapping = run.section.token
        assert isinstance(mapping, Mapping)
        pieces = mapping.regions.locate(run.page << PAGE_SHIFT, run.frames.length)
        assert not mapping.regions.holes or all(place != HOLE for place, _ in pieces)
        requests = _carve(Op.WRITE, pieces, run.frames)
        if mapping.mirrors:
            requests += [
                Request(Op.WRITE, place + d, frames)
                for _, place, frames in requests
                if place >= mapping.mirror_from
                for d in mapping.mirrors
            ]
        return requests


def _named(run: DirtyRun, error: StatusError) -> StatusError:
    return StatusError(error.status, f"{run.section.name}: {error.text}")


def _carve(op: Op, pieces: list[tuple[int, int]], frames: Frames) -> list[Request]:
    """Deals the frames out to the (place, length) pieces, in order; what is left over belongs
    nowhere.
    """
    if len(pieces) == 1 and pieces[0][1] == frames.length:
        return [Request(op, pieces[0][0], frames)]
    out: list[Request] = []
    rest = iter(frames.runs)
    address = size = 0
    for place, length in pieces:
        runs: Runs = []
        left = length
        while left:
            if not size:
                address, size = next(rest)
            taken = min(size, left)
            runs.append((address, taken))
            address, size, left = address + taken, size - taken, left - taken
        out.append(Request(op, place, Frames(frames.ram, runs, length)))
    return out


def _zero_holes(requests: list[Request]) -> list[Request]:
    """Fills what is in holes with zeros; returns what the device has."""
    for _, place, frames in requests:
        if place == HOLE:
            frames.clear()
    return [request for request in requests if request.place != HOLE]


def _zero_tail(frames: Frames, start: int) -> Frames:
    """Fills what lies behind byte `start` with zeros; returns the frames up to there."""
    frames.part(start, frames.length - start).clear()
    return frames.part(0, start)


def whole_device(device: Medium) -> Mapping:
    """The mapping of a section that is the device itself."""
    regions = RegionMap(PAGE_SIZE if device.size % PAGE_SIZE == 0 else 512)
    if device.size:
        regions.append(0, device.size // regions.unit)
    else:
        raise StatusError(Status.UNRECOGNIZED_VOLUME, f"{device.name}: is empty")
    return Mapping(regions)
