"""Pageout: keeps frames available, so that the memory limit is hard whatever is read or written.

    mapped views --trim--> standby list ------------------> anybody who needs a frame
                 \\-trim--> modified list --page writer---^

`relieve` is for a thread that cannot go on without frames. It asks those who can let go of pages,
in the order of `octavo.memory.reclaim.donors`: whoever has such pages says so with `add`. When
none of them can help, or no transfer ends for MOST_QUIET_SECONDS, the allocation fails: pageout
never waits for what cannot come (rule 7). The page writer is a kernel thread that writes modified
pages ahead of need. The zero-page thread keeps some frames zeroed.

Writing needs no frame: pages are written from where they are, and pagers know where to before a
page gets dirty.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from octavo.memory.frames.physical import RESERVE
from octavo.memory.pages.residency import Residency
from octavo.memory.pages.section import Pager, Segment
from octavo.memory.pages.transfers import Transfers
from octavo.memory.pages.writeback import Pick, WriteBack
from octavo.memory.reclaim.conditions import MemoryConditions
from octavo.memory.reclaim.donors import Donor, Donors, Need, Turn
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler
from octavo.threads.wait import Event, marks, preemption_point

if TYPE_CHECKING:
    from octavo.statistics import PageoutStatistics

# pages to trim at least, once trimming is needed; more with more memory: trimmed pages are not lost
TRIM_PAGES = 64
MOST_TRIM_PAGES = 512
WRITE_PAGES = 256  # modified pages to write in one go
ZERO_PAGES = 64
MOST_FUTILE = 64  # transfers of others that ended without a frame for a thread that waits
MOST_QUIET_SECONDS = 60.0  # that a thread waits for transfers of others of which none ends
PATIENCE_SECONDS = (
    0.1  # how long a thread that needs frames waits for writes before it looks elsewhere
)


class Pageout:
    """Balances the frames of one machine. Turned off with `enabled`, memory only fills up."""

    def __init__(
        self,
        residency: Residency,
        writeback: WriteBack,
        transfers: Transfers,
        scheduler: Scheduler,
        enabled: bool,
    ) -> None:
        self.residency, self.writeback, self.transfers = residency, writeback, transfers
        self.physical = physical = residency.physical
        self.scheduler = scheduler
        self.enabled = enabled
        self.donors = Donors()
        self.donors.add(Donor(Turn.MODIFIED, self._write_for))
        self.donors.add(Donor(Turn.UNDER_WAY, self._wait_for))
        self.conditions = MemoryConditions(physical.available)
        self.trimmed = 0
        self.stalls = 0
        self._work = Event()
        self._zero = Event()
        total = physical.available
        self.low = max(
            RESERVE * 2, total // 8
        )  # available frames below which views are trimmed ahead of need
        self.trim_pages = min(max(TRIM_PAGES, total // 16), MOST_TRIM_PAGES)
        self.modified_limit = max(TRIM_PAGES, total // 8)
        self.zeroed_target = min(ZERO_PAGES, total // 16)
        physical.standby_usable = enabled
        if enabled:
            scheduler.serve(self._page_writer, "page-writer")
            scheduler.serve(self._zero_pages, "zero-page")

    def add(self, turn: Turn, ask: Callable[[int], int | Awaitable[int]]) -> None:
        """Somebody can let go of pages from now on: asked for a number, he says how many he has let
        go of, at once if his turn is a cheap one.
        """
        self.donors.add(Donor(turn, lambda need: ask(need.pages)))

    async def relieve(self, needed: int) -> None:
        """Returns when `needed` ordinary frames are available; StatusError NO_MEMORY when they
        cannot be had.
        """
        need = Need(needed)
        while not self._has(needed):
            if marks.on:
                await preemption_point()
            if not self.enabled:
                raise StatusError(
                    Status.NO_MEMORY,
                    "out of memory: every frame is in use and pageout is turned off",
                )
            self.conditions.look(self.physical.available)
            self.transfers.ended.clear()
            if self.trim(max(needed, self.trim_pages)):
                continue
            self.stalls += 1
            if not await self.donors.ask(need, self._has):
                raise self._exhausted(need)

    def _has(self, needed: int) -> bool:
        return self.physical.available - RESERVE >= needed

    def _exhausted(self, need: Need) -> StatusError:
        failure = self.transfers.failure
        errors = [*need.failed.values(), *([failure] if failure else [])]
        because = "".join(f": {error.text}" for error in errors[:1])
        return StatusError(
            Status.NO_MEMORY,
            f"out of memory: {self.physical.modified.count} modified pages cannot be "
            f"written{because}",
        )

    async def _write_for(self, need: Need) -> int:
        """Modified pages are written, each pager's by a thread; patience ends before a slow one."""
        if not self._write_modified(need.failed):
            return 0
        return int(await self.scheduler.wait(self.transfers.ended, PATIENCE_SECONDS))

    async def _wait_for(self, need: Need) -> int:
        """Waits for the transfers of others, but not without an end, for others clear the event,
        too: when all that ends are failures, it is futile.
        """
        if (
            not self.transfers.count
            or need.futile >= MOST_FUTILE
            or need.quiet >= MOST_QUIET_SECONDS
        ):
            return 0
        ended = await self.scheduler.wait(self.transfers.ended, PATIENCE_SECONDS)
        need.futile += ended
        need.quiet = 0.0 if ended else need.quiet + PATIENCE_SECONDS
        return 1

    def _write_modified(self, failed: dict[Pager, StatusError]) -> bool:
        """Starts to write modified pages, a thread for each pager, so that nobody waits for a slow
        one but its own pages.

        Pagers that have failed are left out and noted; False when nothing was started.
        """
        groups: dict[Pager, list[Pick]] = {}
        for pick in self._modified(WRITE_PAGES, failed):
            groups.setdefault(pick.segment.section.pager, []).append(pick)
        for pager, picks in groups.items():
            self.scheduler.start(self._write_group(pager, picks, failed), "modified page writer")
        return bool(groups)

    async def _write_group(
        self, pager: Pager, picks: list[Pick], failed: dict[Pager, StatusError]
    ) -> None:
        clean, error = await self.writeback.write(picks, asked=False)
        if error is not None and not clean:
            failed[pager] = error

    def trim(self, pages: int) -> int:
        """Asks the cheap donors for pages until enough are no longer active; returns how many."""
        moved = self.donors.trim(pages)
        self.trimmed += moved
        if self.physical.modified.count > self.modified_limit:
            self._work.signal()
        return moved

    def poke(self) -> None:
        """Called now and then by those who use frames up: keeps frames available, and wakes the
        kernel threads that have work.
        """
        available = self.physical.available
        self.conditions.look(available)
        if self.enabled and available < self.low:
            self.trim(self.low)
        if self.physical.modified.count > self.modified_limit:
            self._work.signal()
        if (
            self.physical.zeroed.count < self.zeroed_target // 2
            and self.physical.buddy.free_frames > self.low
        ):
            self._zero.signal()

    def _modified(self, limit: int, failed: dict[Pager, StatusError]) -> list[Pick]:
        """The oldest modified pages, each with its dirty neighbours in the section: a contiguous
        cluster. Pagers that have failed are left out.
        """
        pfns = self.physical.pfns
        picks: list[Pick] = []
        taken: dict[Segment, int] = {}
        pfn = self.physical.modified.head
        while pfn and limit > 0:
            segment, i = self.residency.segments.of(pfn)
            left = segment.dirty & ~segment.writing & ~taken.get(segment, 0)
            if left >> i & 1 and segment.section.pager not in failed:
                first, end = i - _ones_below(left, i), i + _ones_from(left, i)
                picks.append(Pick(segment, first, end))
                taken[segment] = taken.get(segment, 0) | (1 << end) - (1 << first)
                limit -= end - first
            pfn = pfns.next[pfn]
        # Those that must be led cost a barrier.
        return [pick for pick in picks if pick.segment.section.leads is None] or picks

    async def _page_writer(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            failed: dict[Pager, StatusError] = {}
            while self.physical.modified.count > self.modified_limit // 2:
                if marks.on:
                    await preemption_point()
                self.transfers.ended.clear()
                if not self._write_modified(failed):
                    break
                await self.scheduler.wait(self.transfers.ended, PATIENCE_SECONDS)

    async def _zero_pages(self) -> None:
        while True:
            await self._zero.wait()
            self._zero.clear()
            self.physical.zero_some(self.zeroed_target - self.physical.zeroed.count)

    def statistics(self) -> PageoutStatistics:
        """Pages trimmed, and times that a thread had to wait for pageout."""
        from octavo.statistics import PageoutStatistics

        return PageoutStatistics(
            trimmed=self.trimmed,
            stalls=self.stalls,
            repurposed=self.physical.repurposed,
        )


def _ones_from(mask: int, i: int) -> int:
    rest = ~(mask >> i)
    return (rest & -rest).bit_length() - 1


def _ones_below(mask: int, i: int) -> int:
    """Set bits in a row right below bit i."""
    holes = ~mask & ((1 << i) - 1)
    return i - holes.bit_length()
