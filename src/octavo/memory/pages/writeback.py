"""Dirty pages: marking them, writing them in batches through their pagers, and dropping them.

    clean --mark--> dirty --begin--> writing --end, ok--> clean
                      ^                 |---mark again---> dirty (and written once more later)
                      '----end, error---'

A failed write leaves its pages dirty (rule 9). Who asked for the write gets the error; where nobody
did (lazy writer, page writer) the section keeps it for the next flush.

Order on the medium: a section's `leads` is awaited first, and nothing may wait between its end and
the beginning of the write: what goes out is what the pages say then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from octavo.machine.abi import SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.machine.frames import whole
from octavo.memory.pages.residency import Residency
from octavo.memory.pages.section import DirtyRun, NoRoomError, Pager, Section, Segment, mask_runs
from octavo.memory.pages.transfers import Transfers
from octavo.memory.pages.writeerrors import WriteErrors
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler
from octavo.threads.wait import Event, marks, preemption_point

if TYPE_CHECKING:
    from octavo.statistics import WriteBackStatistics

BATCH_PAGES = 1024  # pages that one data_return carries at most
PACE_PAGES = 16  # less than that in one data_return tells how long a request takes, not the pace
PIN_SECONDS = 100e-6  # how often a purge looks whether a view is free again


@dataclass(slots=True)
class Pick:
    """Pages [first, end) of a segment that are to be written."""

    segment: Segment
    first: int
    end: int


class WriteBack:
    """All dirty pages of the system: it counts them, and `residency` knows which they are. Each
    write is one of `transfers`.
    """

    def __init__(self, residency: Residency, scheduler: Scheduler, transfers: Transfers) -> None:
        self.residency = residency
        self.scheduler = scheduler
        self.transfers = transfers
        self.sections: dict[Section, None] = {}  # with dirty pages, the longest dirty first
        self.errors = WriteErrors()  # of writes that nobody waited for
        self.in_flight_sections: dict[Section, None] = {}
        self.dirty = 0  # pages
        self.load: Counter[Pager] = Counter()  # pages that are dirty or in flight, by their pager
        self.pace: MutableMapping[Pager, float] = WeakKeyDictionary()  # pages a second, of late
        self.ticks = 0  # counted by who writes what has been dirty for long
        self.in_flight = 0  # pages
        self.written = 0
        self.failed = 0
        self.returns = 0

    def mark(self, segment: Segment, mask: int, written: bool = True) -> None:
        """Marks resident pages of a segment as modified; not `written`, because their pager wants
        them back.
        """
        if written and segment.section.precious:
            first = segment.index << SEGMENT_SHIFT
            segment.section.precious.difference_update(
                page for a, b in mask_runs(mask) for page in range(first + a, first + b)
            )
        new = mask & ~segment.dirty
        if not new:
            return
        if not segment.dirty:
            segment.since = self.ticks
        count = self.residency.modify(segment, new)
        section = segment.section
        self.load[section.pager] += count
        if not section.dirty:
            self.sections[section] = None
        section.dirty += count
        self.dirty += count

    def _unmark(self, section: Section, count: int) -> None:
        """So many pages of a section are no longer dirty."""
        section.dirty -= count
        self.dirty -= count
        assert section.dirty >= 0, "more pages are clean than were dirty"
        if not section.dirty:
            del self.sections[section]

    def _unload(self, pager: Pager, count: int) -> None:
        """So many pages of a pager are neither dirty nor in flight any more."""
        self.load[pager] -= count
        assert self.load[pager] >= 0, "a pager has got more pages than it had to get"
        if not self.load[pager]:
            del self.load[pager]

    # -- writing ----------------------------------------------------------------------------------

    def picks(self, section: Section, limit: int = 1 << 30) -> list[Pick]:
        """Dirty pages of a section that nobody is writing, ascending, at most about `limit` of
        them.
        """
        out = []
        for index in sorted(section.segments) if len(section.segments) > 1 else section.segments:
            segment = section.segments[index]
            for first, end in mask_runs(segment.dirty & ~segment.writing):
                out.append(Pick(segment, first, end))
                limit -= end - first
            if limit <= 0:
                break
        return out

    def oldest(self, limit: int, pager: Pager | None = None) -> list[Pick]:
        """About `limit` dirty pages, of one pager if so said, of the sections that have been dirty
        for longest; those that must be led come last.
        """
        out: list[Pick] = []
        for section in sorted(self.sections, key=lambda s: s.leads is not None):
            if pager is not None and section.pager is not pager:
                continue
            picks = self.picks(section, limit) if section.pager.traits.lazy else []
            out += picks
            limit -= sum(p.end - p.first for p in picks)
            if limit <= 0:
                break
        return out

    def aged(self, pager: Pager, tick: int) -> list[Pick]:
        """The dirty pages of a pager in segments that have been dirty since a tick, or longer."""
        sections = [s for s in self.sections if s.pager is pager and pager.traits.lazy]
        return [
            pick
            for section in sorted(sections, key=lambda s: s.leads is not None)
            for pick in self.picks(section)
            if pick.segment.since <= tick
        ]

    async def write(
        self, picks: Iterable[Pick], asked: bool = True
    ) -> tuple[int, StatusError | None]:
        """Writes picked pages in batches; returns the pages that are clean now and the first error.

        Not `asked`, that is for the system's own writers, errors stay with their sections for the
        next flush.
        """
        groups: dict[Pager, list[Pick]] = {}
        for pick in picks:
            groups.setdefault(pick.segment.section.pager, []).append(pick)
        clean, first_error = 0, None
        for pager, group in groups.items():
            for batch in _batches(group):
                if marks.on:
                    await preemption_point()
                errors = await self._write_batch(pager, batch)
                for pick, error in zip(batch, errors, strict=True):
                    clean += _kept(pick, error).bit_count()
                    first_error = first_error or error
                    if error is not None and not asked:
                        self._note(pick.segment.section, error)
        return clean, first_error

    def _note(self, section: Section, error: StatusError) -> None:
        """Keeps an error that nobody waited for, unless the pages are safe where they are, or are
        only to be tried again.
        """
        if not isinstance(error, NoRoomError) and error.status != Status.DEVICE_BUSY:
            self.errors.note(section, error)

    async def _write_batch(self, pager: Pager, batch: list[Pick]) -> list[StatusError | None]:
        """Writes picks of one pager; returns the error of each, or None."""
        held = await self._lead(batch)
        live = [p for p in batch if p.segment.section not in held and _is_live(p)]
        runs = [self._begin(p) for p in live]
        began = self.scheduler.clock.now()
        with self.transfers.under_way():
            told = await pager.data_return(runs)
        self.returns += 1
        self._note_pace(pager, sum(p.end - p.first for p in live), began)
        errors: dict[int, StatusError | None] = {}
        for pick, error in zip(live, told, strict=True):
            errors[id(pick)], kept = error, _kept(pick, error)
            self._end(pick, kept)
            self.written += kept.bit_count()
            self.failed += pick.end - pick.first - kept.bit_count()
        return [held.get(pick.segment.section) or errors.get(id(pick)) for pick in batch]

    def _note_pace(self, pager: Pager, pages: int, began: float) -> None:
        """A pager has taken so many pages since `began`: what it did before counts as much."""
        seconds = self.scheduler.clock.now() - began
        if pages >= PACE_PAGES and seconds > 0:
            pace = pages / seconds
            self.pace[pager] = (self.pace.get(pager, pace) + pace) / 2

    async def _lead(self, batch: list[Pick]) -> dict[Section, StatusError]:
        """Has what the batch's pages point to written; returns the sections that may not be
        written, and why.
        """
        led = {pick.segment.section: pick.segment.section.leads for pick in batch}
        failed: dict[Callable[[], Awaitable[None]] | None, StatusError] = {}
        for leads in {leads for leads in led.values() if leads is not None}:
            try:
                await leads()
            except StatusError as error:
                failed[leads] = error
        return {section: failed[leads] for section, leads in led.items() if leads in failed}

    def _begin(self, pick: Pick) -> DirtyRun:
        segment, section = pick.segment, pick.segment.section
        runs, count = (
            self.residency.begin_write(segment, pick.first, pick.end),
            pick.end - pick.first,
        )
        self._unmark(section, count)
        page = (segment.index << SEGMENT_SHIFT) + pick.first
        for view in section.views:
            view.clean(page, page + count)
        section.writes += 1
        self.in_flight_sections[section] = None
        self.in_flight += count
        return DirtyRun(section, page, whole(self.residency.physical.ram, runs, count))

    def _end(self, pick: Pick, kept: int) -> None:
        lost = _mask(pick) & ~kept
        if lost:
            self.mark(pick.segment, lost)
        self.residency.end_write(pick.segment, pick.first, pick.end)
        self.in_flight -= pick.end - pick.first
        section = pick.segment.section
        self._unload(section.pager, pick.end - pick.first)
        section.writes -= 1
        assert self.in_flight >= 0 and section.writes >= 0
        if not section.writes:
            del self.in_flight_sections[section]
            section.idle.signal()

    async def flush(self, section: Section, first: int = 0, end: int = 1 << 52) -> None:
        """Writes every page of [first, end) of the section that was dirty at the call; raises what
        failed, now or since the last flush.
        """
        error = None
        while section.dirty or section.writes:
            if marks.on:
                await preemption_point()
            picks = self.picks(section)
            if first or end < section.pages:
                picks = [part for pick in picks if (part := _clip(pick, first, end)) is not None]
            if picks:
                _, error = await self.write(picks)
                if error is not None:
                    break
            elif section.writes:
                await self.wait_idle(section)
            else:
                break
        told = self.errors.take(section)
        if (error := error or told) is not None:
            raise error

    async def wait_idle(self, section: Section) -> None:
        """Waits until no page of the section is being written."""
        while section.writes:
            section.idle.clear()
            await section.idle.wait()

    # -- dropping ---------------------------------------------------------------------------------

    async def purge(
        self, section: Section, first_page: int, end_page: int = 1 << 52, dirty: bool = True
    ) -> None:
        """Drops the pages [first_page, end_page), those too that are `dirty` if so said, after the
        I/O on them has ended and nobody works on their views. Pages that are locked stay.
        """
        while True:
            if marks.on:
                await preemption_point()
            await self.wait_idle(section)
            segments = section.segments.values()
            reads = [r for s in segments for r in s.reads]
            if reads:
                if reads[0].event is None:
                    reads[0].event = Event()
                await reads[0].event.wait()
            elif any(
                s.pins or s.holds for s in segments if s.index + 1 << SEGMENT_SHIFT > first_page
            ):
                await self.scheduler.sleep(PIN_SECONDS)
            else:
                break
        for view in section.views:
            view.forget(first_page, end_page)
        for segment in list(section.segments.values()):
            first = max(0, first_page - (segment.index << SEGMENT_SHIFT))
            end = min(SEGMENT_PAGES, end_page - (segment.index << SEGMENT_SHIFT))
            if first < end:
                mask = (1 << end) - (1 << first) & ~(0 if dirty else segment.dirty)
                self.drop(segment, mask & ~segment.locked)

    def drop(self, segment: Segment, mask: int) -> None:
        """Frees the frames of pages that are in no page table, not locked and not in I/O, dirty or
        not.
        """
        if gone := self.residency.drop(segment, mask):
            self._unmark(segment.section, gone)
            self._unload(segment.section.pager, gone)

    def statistics(self) -> WriteBackStatistics:
        """Pages dirty, in flight, written and failed; data_returns made."""
        from octavo.statistics import WriteBackStatistics

        return WriteBackStatistics(
            dirty=self.dirty,
            in_flight=self.in_flight,
            written=self.written,
            failed=self.failed,
            returns=self.returns,
        )

    def check(self) -> None:
        """Masks, section counts and the total of dirty pages agree."""
        total, load = 0, Counter[Pager]()
        for section in {s.section for s in self.residency.segments.all()}:
            dirty = sum(s.dirty.bit_count() for s in section.segments.values())
            assert dirty == section.dirty, (
                f"{section.name}: {dirty} dirty pages, {section.dirty} counted"
            )
            assert bool(dirty) == (section in self.sections)
            total += dirty
            writing = sum(s.writing.bit_count() for s in section.segments.values())
            if dirty or writing:
                load[section.pager] += dirty + writing
        assert total == self.dirty
        assert load == self.load, "pages that pagers have to get are miscounted"


def _mask(pick: Pick) -> int:
    return (1 << pick.end) - (1 << pick.first)


def _is_live(pick: Pick) -> bool:
    """True while all of a pick is dirty and nobody writes it: a page may have been written or
    dropped since it was picked.
    """
    mask = _mask(pick)
    return pick.segment.dirty & ~pick.segment.writing & mask == mask


def _kept(pick: Pick, error: StatusError | None) -> int:
    """The pages of a pick that its pager has kept, as a mask."""
    if error is None:
        return _mask(pick)
    return error.kept << pick.first if isinstance(error, NoRoomError) else 0


def _clip(pick: Pick, first: int, end: int) -> Pick | None:
    """The part of a pick that lies in pages [first, end) of its section."""
    base = pick.segment.index << SEGMENT_SHIFT
    low, high = max(pick.first, first - base), min(pick.end, end - base)
    return Pick(pick.segment, low, high) if low < high else None


def _batches(picks: list[Pick]) -> Iterator[list[Pick]]:
    """Cuts picks into lists of about BATCH_PAGES pages."""
    batch: list[Pick] = []
    size = 0
    for pick in picks:
        batch.append(pick)
        size += pick.end - pick.first
        if size >= BATCH_PAGES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
