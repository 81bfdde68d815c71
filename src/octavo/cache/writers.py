"""The cache's writers: what becomes of dirty pages that nobody flushes.

    lazy writer     each second: by age, what has been dirty for MOST_AGE of them; by amount, an
                    eighth of what is dirty, those of the longest dirty sections first
    write-behind    from half of a limit on, writes while others go on
    throttle        who writes beyond a limit writes some pages himself first

Each pager is written by a thread of its own, so that a slow one holds up nobody else. The limits:

    of the cache    `most_dirty` pages, a quarter of memory
    of a pager      what it takes in PACE_SECONDS, as it did of late, LAZY_LEAST pages at least:
                    memory is not filled by what a slow device will take minutes for
    of a section    its `most_dirty`

Errors stay with the sections that they happened to, for their next flush.

Source: NT's lazy writer (eighth of the dirty pages, each second), CcCanIWrite and
CcSetDirtyPageThreshold; the bandwidth of each device in Linux's write-back. Departures: a throttled
writer does work instead of waiting in a queue.
"""

from __future__ import annotations

from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import UNBOUNDED, Pager, Section
from octavo.memory.pages.writeback import Pick
from octavo.threads.wait import Event, marks, preemption_point

LAZY_SECONDS = 1.0
LAZY_FRACTION = 8
LAZY_LEAST = 64  # pages
MOST_AGE = 10  # times that the lazy writer comes
PACE_SECONDS = 4.0
PATIENCE_SECONDS = 1.0  # that a writer waits for one transfer before he looks again


class Writers:
    """The kernel threads that write, and the limits that they keep. Below `calm` dirty pages nobody
    needs to be asked.
    """

    def __init__(self, memory: MemoryManager) -> None:
        self.memory = memory
        self.writeback = memory.writeback
        self.scheduler = memory.scheduler
        self.most_dirty = max(LAZY_LEAST, memory.physical.available // 4)
        self.calm = self.most_dirty >> 1
        self.throttled = 0
        self._at_work: set[Pager] = set()
        self._pressure = Event()
        self.scheduler.serve(self._lazy_writer, "lazy-writer")
        self.scheduler.serve(self._write_behind, "write-behind")

    def limit(self, pager: Pager) -> int:
        """Pages of a pager that may be dirty or in flight."""
        pace = self.writeback.pace.get(pager)
        if pace is None:
            return self.most_dirty
        return min(self.most_dirty, max(LAZY_LEAST, int(pace * PACE_SECONDS)))

    def limit_section(self, section: Section, pages: int | None) -> None:
        """No more than `pages` of a section are to be dirty, but for the last write; None: as many
        as there may be.
        """
        section.most_dirty = UNBOUNDED if pages is None else pages

    def holds_up(self, section: Section, length: int) -> bool:
        """Whether a writer of `length` bytes would have to write something first."""
        pages = length + 4095 >> 12
        writeback, limit = self.writeback, self.limit(section.pager)
        over = (
            writeback.dirty + pages > self.most_dirty
            or writeback.load[section.pager] + pages > limit
            or section.dirty + pages > section.most_dirty
        )
        if over or writeback.dirty > self.calm:
            self._pressure.signal()
        return over

    async def admit(self, section: Section) -> None:
        """Called before more pages of a section are dirtied when half of a limit is passed; beyond
        the limit it writes.
        """
        self._pressure.signal()
        writeback, pager = self.writeback, section.pager
        limit = self.limit(pager)
        if section.dirty > section.most_dirty:
            self.throttled += 1
            await self._write(pager, writeback.picks(section, section.dirty))
        if writeback.load[pager] > limit:
            self.throttled += 1
            await self._go_below(pager, limit)
        elif writeback.dirty > self.most_dirty:
            self.throttled += 1
            await writeback.write(
                writeback.oldest(max(LAZY_LEAST, self.most_dirty >> 2)), asked=False
            )

    async def _go_below(self, pager: Pager, limit: int) -> None:
        """Writes pages of a pager, or waits for those that are in flight, until it has less to take
        than its limit; gives up where it takes none.
        """
        writeback, transfers = self.writeback, self.memory.transfers
        while writeback.load[pager] > limit:
            if marks.on:
                await preemption_point()
            transfers.ended.clear()
            picks = writeback.oldest(max(LAZY_LEAST, limit >> 2), pager)
            if picks:
                if not await self._write(pager, picks):
                    break
            elif not await self.scheduler.wait(transfers.ended, PATIENCE_SECONDS):
                break

    async def _write(self, pager: Pager, picks: list[Pick]) -> int:
        """Writes pages of a pager; returns how many are clean. What it takes is known then."""
        clean, _ = await self.writeback.write(picks, asked=False)
        limits = [self.limit(known) for known in list(self.writeback.pace)]
        self.calm = min([self.most_dirty, *limits]) >> 1
        return clean

    async def _lazy_writer(self) -> None:
        while True:
            await self.scheduler.sleep(LAZY_SECONDS)
            writeback = self.writeback
            writeback.ticks += 1
            for pager in list(writeback.load):
                share = max(LAZY_LEAST, writeback.load[pager] // LAZY_FRACTION)
                picks = writeback.aged(pager, writeback.ticks - MOST_AGE)
                old = {(id(p.segment), p.first) for p in picks}
                more = writeback.oldest(share, pager)
                self._start(pager, picks + [p for p in more if (id(p.segment), p.first) not in old])

    def _start(self, pager: Pager, picks: list[Pick]) -> None:
        """Has pages of a pager written, unless some are by another such thread."""
        if picks and pager not in self._at_work:
            self._at_work.add(pager)
            self.scheduler.start(self._work(pager, picks), "lazy-writer of a pager")

    async def _work(self, pager: Pager, picks: list[Pick]) -> None:
        try:
            await self._write(pager, picks)
        finally:
            self._at_work.discard(pager)

    async def _write_behind(self) -> None:
        while True:
            await self._pressure.wait()
            self._pressure.clear()
            for pager in list(self.writeback.load):
                if pager not in self._at_work:
                    self._at_work.add(pager)
                    self.scheduler.start(self._go_down(pager), "write-behind of a pager")

    async def _go_down(self, pager: Pager) -> None:
        """Writes pages of a pager until it has a quarter of its limit to take."""
        writeback = self.writeback
        try:
            while writeback.load[pager] > self.limit(pager) >> 2:
                known = pager in writeback.pace  # of who is not known yet, little is written first
                share = max(LAZY_LEAST, self.limit(pager) >> 2) if known else LAZY_LEAST
                if not await self._write(pager, writeback.oldest(share, pager)):
                    break
        finally:
            self._at_work.discard(pager)
