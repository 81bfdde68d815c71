"""Sections and the pager protocol: the only way in which data comes into memory and goes out again
(rule 2).

A section (Mach: memory object) is `size` bytes of something that a pager keeps: a file, a
directory, the FAT of a volume. Its pages are found through prototype PTEs, 128 of them in a
segment, which is 512 KiB of the section and what one view of the cache shows.

    Section --segments--> Segment k --base--> link[base .. base + 128)    one int32 a page:
                        0     absent: the pager has it
                        +pfn  active: the cache shows its segment, or an address space maps it
                        -pfn  in transition: on the standby or modified list, or in I/O

Segments come with the first page or view and go with the last one. The USE word of a frame's PFN
entry counts the page-table entries that lead to it; the section knows its views in address spaces
(`Mapped`), so each of these entries can be found.

The pager gets frames, by their numbers: `data_request` fills them, `data_return` writes from them,
and neither copies. Both work in clusters. Neither may touch the section it serves (that would be a
page fault inside paging I/O).

Source: Mach's external memory management (data_request, data_return; Young et al. 1987) and NT's
prototype PTEs. Departures: a call and its return stand for request and supply; returns come in
batches over many sections of one pager, so that it can write neighbours on the device in one go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, PRIORITY, SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.machine.frames import Frames
from octavo.status import Status, StatusError
from octavo.threads.wait import Event, Waiters

VIEW_SHIFT = PAGE_SHIFT + SEGMENT_SHIFT
VIEW_SIZE = 1 << VIEW_SHIFT  # bytes: 512 KiB


@dataclass(frozen=True, slots=True)
class DirtyRun:
    """Consecutive dirty pages of a section, `page` on; `frames` are their bytes."""

    section: Section
    page: int
    frames: Frames


class NoRoomError(StatusError):
    """A pager has no room for all pages of a run: bit i of `kept` is set for page i of the run if
    it was kept, none perhaps.
    """

    def __init__(self, status: Status, text: str, kept: int) -> None:
        super().__init__(status, text)
        self.kept = kept


class Gate(Protocol):
    """Who may prohibit accesses to a section's pages."""

    def prohibits(self, page: int, write: bool) -> bool:
        """True when a page may not be read, or written, now."""

    async def admit(self, page: int, write: bool) -> None:
        """Waits until an access is not prohibited; it may be again as soon as something else is
        waited for. Raises StatusError.
        """


@dataclass(frozen=True, slots=True)
class PagerTraits:
    """How a pager wants all of its sections treated (Mach: the attributes of a memory object).

    The lazy writer leaves sections alone whose pager is not `lazy`: nobody gains by their pages
    being in the page file early. For address spaces: at most `cluster` pages a request; no more
    than `quota` modified pages (0: no limit); copies are made at the first reference where `eager`;
    the `gate`, if there, says whether a page may be entered into page tables.
    """

    lazy: bool = True
    cluster: int = SEGMENT_PAGES
    quota: int = 0
    eager: bool = False
    gate: Gate | None = None


ORDINARY = PagerTraits()


class Pager(Protocol):
    """Who keeps the data of sections that are not in memory."""

    @property
    def traits(self) -> PagerTraits:
        """How its sections are to be treated, from now on."""

    def data_request(
        self, section: Section, page: int, frames: Frames, need: range
    ) -> Coroutine[Waiters, None, int | None]:
        """Fills the frames, which are whole, with the section's bytes from `page` on; zeros beyond
        what it has.

        Pages `need` (indexes from 0) are those that somebody waits for; the others may be left out.
        Returns None when all are filled, else a mask of those that are. Raises StatusError.
        """

    async def data_return(self, runs: Sequence[DirtyRun]) -> list[StatusError | None]:
        """Keeps the runs; for each, None or the error for which it could not (`NoRoomError`: not
        all of it). Never raises.
        """


class Mapped(Protocol):
    """A view of a section in an address space, as its section sees it. Pages are the section's."""

    def forget(self, first: int, end: int) -> None:
        """Takes the section's pages [first, end) out of the page tables; private copies of them
        stay.
        """

    def must_keep(self, number: int) -> bool:
        """True when page `number` may not be taken out of the page tables: it is locked, or its
        space has no more than its minimum.
        """

    def where(self, number: int) -> str:
        """Space and address at which page `number` is in the page tables, in words; "" when it is
        not.
        """

    def clean(self, first: int, end: int) -> None:
        """Makes the section's pages [first, end) read-only in the page tables: the next write is to
        be noticed.
        """


@dataclass(slots=True, eq=False)
class Read:
    """A page-in under way: indexes [first, end) of a segment. `event` exists once a second thread
    waits for it.
    """

    first: int
    end: int
    event: Event | None = None


@dataclass(slots=True, eq=False)
class Segment:
    """128 pages of a section. Masks have bit i for page i."""

    section: Section
    index: int
    base: int  # of its prototype PTEs in Ram.link
    used: int = 0  # PTEs that are not 0
    mapped: bool = False  # the cache shows it: its resident pages are active
    shares: int = 0  # page-table entries that lead to its pages
    pins: int = 0  # threads that work on its pages: it stays mapped
    holds: int = (
        0  # threads that bring pages in for address spaces: it stays, and may be unmapped meanwhile
    )
    locked: int = 0  # pages that stay active for who has locked them
    dirty: int = 0
    writing: int = 0
    since: int = 0  # the tick of `WriteBack` in which the first of its dirty pages became so
    prefetched: int = 0  # brought in by read-ahead and not yet asked for
    referenced: bool = False  # used since the cache's hand last passed
    reads: list[Read] = field(default_factory=list)

    @property
    def limit(self) -> int:
        """The index after the last page of it that the section has."""
        return min(SEGMENT_PAGES, self.section.pages - (self.index << SEGMENT_SHIFT))

    def pinned(self) -> Segment:
        """For the time of a `with`: a thread works on its pages, and it stays mapped."""
        return self

    def __enter__(self) -> None:
        self.pins += 1

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        assert self.pins > 0, "a pin ended that nobody had"
        self.pins -= 1


class Pins(list[Segment]):
    """Pins on several segments, which end together with a `with`."""

    __slots__ = ()

    def pin(self, segment: Segment) -> None:
        """One more."""
        segment.pins += 1
        self.append(segment)

    def __enter__(self) -> Pins:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for segment in self:
            assert segment.pins > 0, "a pin ended that nobody had"
            segment.pins -= 1
        self.clear()


UNBOUNDED = 1 << 62  # bytes: more than any section has


class Section:
    """`size` bytes kept by a pager, which says in its traits how they are treated. `token` is the
    pager's own: what the section is to it.

    The pager keeps the first `valid` bytes of them: what follows is zeros, and not asked of it.
    Whoever writes there, or lets others map the section for writing, raises it first, and is alone
    with that: others wait for `raising` (`octavo.cache.valid`). Where its pager has places for more
    than `size`, `allocation` says for how many bytes (`octavo.cache.sizes`). Writers are held up
    while more than `most_dirty` of its pages are dirty.

    Standby pages of sections with a lower `priority` (0 to 7) are reused first. `leads`, if there,
    is awaited before any of its pages is written: it brings to the medium what those pages point
    to, and raises StatusError when they may not be written now (DEVICE_BUSY: try again later).
    `precious` pages count as modified as soon as they are there, until somebody writes them or the
    pager has them back.
    """

    __slots__ = (
        "name",
        "pager",
        "token",
        "size",
        "valid",
        "raising",
        "allocation",
        "most_dirty",
        "segments",
        "dirty",
        "writes",
        "idle",
        "views",
        "leads",
        "priority",
        "number",
        "precious",
    )

    def __init__(self, name: str, pager: Pager, token: object, size: int) -> None:
        self.name = name
        self.pager = pager
        self.token = token
        self.size = size
        self.valid = UNBOUNDED
        self.raising: Event | None = None  # while somebody raises or lowers `valid`
        self.allocation = 0
        self.most_dirty = UNBOUNDED
        self.segments: dict[int, Segment] = {}
        self.dirty = 0  # pages
        self.writes = 0  # data_returns under way
        self.idle = Event()  # signalled when `writes` comes back to 0
        self.views: list[Mapped] = []
        self.leads: Callable[[], Awaitable[None]] | None = None
        self.precious: set[int] = set()
        self.number = 0  # to the replacement policy, see `octavo.memory.reclaim.replacement`
        self.priority = PRIORITY

    @property
    def pages(self) -> int:
        """Pages that its size comes to."""
        return self.size + PAGE_SIZE - 1 >> PAGE_SHIFT

    def is_locked(self, first: int, end: int = 1 << 52) -> bool:
        """Whether one of the pages [first, end) is locked."""
        for segment in self.segments.values():
            if mask := segment.locked:
                base = segment.index << SEGMENT_SHIFT
                low, high = max(first - base, 0), min(end - base, SEGMENT_PAGES)
                if low < high and mask & (1 << high) - (1 << low):
                    return True
        return False

    def resident(self) -> int:
        """Pages in memory."""
        return sum(segment.used for segment in self.segments.values())


def mask_runs(mask: int) -> list[tuple[int, int]]:
    """The runs of set bits as (first, end), ascending."""
    out = []
    while mask:
        first = (mask & -mask).bit_length() - 1
        rest = ~(mask >> first)
        end = first + (rest & -rest).bit_length() - 1
        out.append((first, end))
        mask &= -1 << end
    return out
