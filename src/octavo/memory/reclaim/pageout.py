"""Pageout: keeps frames available, so that the memory limit is hard whatever is read or written.

    mapped views --trim--> standby list ------------------> anybody who needs a frame
                 \\-trim--> modified list --page writer---^

`relieve` is for a thread that cannot go on without frames. It trims, then writes modified pages,
then has private pages put into page files, then waits for I/O that is under way; when none of that
can help, or nothing ends for MOST_QUIET_SECONDS, the allocation fails: pageout never waits for what
cannot come (rule 7). The page writer is a kernel thread that does the same ahead of need. The
zero-page thread keeps some frames zeroed.

Writing needs no frame: pages are written from where they are, and pagers know where to before a
page gets dirty.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from octavo.memory.frames.physical import BASE_MASK, RESERVE, PhysicalMemory
from octavo.memory.pages.section import Pager
from octavo.memory.pages.writeback import Pick, WriteBack
from octavo.memory.reclaim.conditions import MemoryConditions
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler
from octavo.threads.wait import Event

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

Trimmer = Callable[[int], int]  # asked to let go of n pages, returns how many it has let go of
Evictor = Callable[[int], Awaitable[int]]  # as a trimmer, and may wait for a device


class Pageout:
    """Balances the frames of one machine. Turned off with `enabled`, memory only fills up."""

    def __init__(self, physical: PhysicalMemory, scheduler: Scheduler, enabled: bool) -> None:
        self.physical = physical
        self.scheduler = scheduler
        self.enabled = enabled
        self.progress = Event()
        self.writeback = WriteBack(physical, scheduler, self.progress)
        self.trimmers: list[Trimmer] = []
        self.evictors: list[Evictor] = []  # for when trimming does not help any more
        self.resorts: list[
            Callable[[], bool]
        ] = []  # for when nothing helps any more; True: look again
        self.conditions = MemoryConditions(physical.available)
        # transfers of others (evictions, private page-ins) that make pages free, or free to leave,
        # and signal `progress` then
        self.busy = 0
        self.evict_error: StatusError | None = None  # of the last eviction, if it failed
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

    async def relieve(self, needed: int) -> None:
        """Returns when `needed` ordinary frames are available; StatusError NO_MEMORY when they
        cannot be had.
        """
        physical = self.physical
        failed: dict[Pager, StatusError] = {}
        futile, quiet = 0, 0.0
        while physical.available - RESERVE < needed:
            if not self.enabled:
                raise StatusError(
                    Status.NO_MEMORY,
                    "out of memory: every frame is in use and pageout is turned off",
                )
            self.conditions.look(physical.available)
            self.progress.clear()
            if self.trim(max(needed, self.trim_pages)):
                continue
            self.stalls += 1
            if self._write_modified(failed) and await self.scheduler.wait(
                self.progress, PATIENCE_SECONDS
            ):
                continue
            if physical.available - RESERVE >= needed or await self._evict(needed):
                continue
            if (
                (self.writeback.in_flight or self.busy or self._reads())
                and futile < MOST_FUTILE
                and quiet < MOST_QUIET_SECONDS
            ):
                # Others clear the event, too: never wait for it without an end. When all that ends
                # are failures, it is futile.
                ended = await self.scheduler.wait(self.progress, PATIENCE_SECONDS)
                futile, quiet = futile + ended, 0.0 if ended else quiet + PATIENCE_SECONDS
                continue
            if any(resort() for resort in self.resorts):
                continue
            errors = [*failed.values(), *([self.evict_error] if self.evict_error else [])]
            because = "".join(f": {error.text}" for error in errors[:1])
            raise StatusError(
                Status.NO_MEMORY,
                f"out of memory: {physical.modified.count} modified pages cannot be "
                f"written{because}",
            )

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

    async def _evict(self, needed: int) -> int:
        done = 0
        for evictor in self.evictors:
            if done < needed:
                done += await evictor(needed - done)
        return done

    def trim(self, pages: int) -> int:
        """Asks the trimmers for pages until enough are no longer active; returns how many."""
        moved = 0
        for trimmer in self.trimmers:
            moved += trimmer(pages - moved)
            if moved >= pages:
                break
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
        physical = self.physical
        pfns = physical.pfns
        picks: list[Pick] = []
        taken: dict[int, int] = {}
        pfn = physical.modified.head
        while pfn and limit > 0:
            pte = pfns.pte[pfn]
            base = pte & BASE_MASK
            segment = physical.segments[base]
            left = segment.dirty & ~segment.writing & ~taken.get(base, 0)
            i = pte - base
            if left >> i & 1 and segment.section.pager not in failed:
                first = i - _ones_below(left, i)
                end = i + _ones_from(left, i)
                picks.append(Pick(segment, first, end))
                taken[base] = taken.get(base, 0) | (1 << end) - (1 << first)
                limit -= end - first
            pfn = pfns.next[pfn]
        return [
            pick for pick in picks if pick.segment.section.leads is None
        ] or picks  # those that must be led cost a barrier

    def _reads(self) -> bool:
        return any(segment.reads for segment in self.physical.segments.values())

    async def _page_writer(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            failed: dict[Pager, StatusError] = {}
            while self.physical.modified.count > self.modified_limit // 2:
                self.progress.clear()
                if not self._write_modified(failed):
                    break
                await self.scheduler.wait(self.progress, PATIENCE_SECONDS)

    async def _zero_pages(self) -> None:
        while True:
            await self._zero.wait()
            self._zero.clear()
            self.physical.zero_some(self.zeroed_target - self.physical.zeroed.count)

    def statistics(self) -> dict[str, int]:
        """Pages trimmed, and times that a thread had to wait for pageout."""
        return {
            "trimmed": self.trimmed,
            "stalls": self.stalls,
            "repurposed": self.physical.repurposed,
        }


def _ones_from(mask: int, i: int) -> int:
    rest = ~(mask >> i)
    return (rest & -rest).bit_length() - 1


def _ones_below(mask: int, i: int) -> int:
    """Set bits in a row right below bit i."""
    holes = ~mask & ((1 << i) - 1)
    return i - holes.bit_length()
