"""What an address space has: its allocations and tables, the pages behind them, what is promised to
it, and what it is asked to keep.

This is what faults, views, the commit limit and reclaim look at (reclaim as a `WorkingSet`, see
`octavo.memory.reclaim.workingset`); NT's calls on it are `AddressSpace`'s. Nothing in here waits,
charges, or frees a frame.
"""

from __future__ import annotations

from octavo.arguments import numbers, shown
from octavo.machine.abi import PAGE_SHIFT
from octavo.machine.pagetables import PageTables
from octavo.memory.spaces.privatepages import PrivatePages
from octavo.memory.spaces.vad import Vad, Vads
from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.threads.wait import Event

LOWEST = 16  # first page that may be allocated
GRANULARITY = 16  # pages
MOST_ZERO_BITS = 21


class Space:
    """A space whose pages are `pages`."""

    def __init__(self, name: str, pages: PrivatePages) -> None:
        self.name = name
        self.pages = pages
        self.tables: PageTables = pages.tables
        bits = self.tables.format.virtual_bits
        highest = (1 << 31 if bits == 32 else 1 << (bits - 1)) - (GRANULARITY << PAGE_SHIFT)
        self.vads = Vads(LOWEST, highest >> PAGE_SHIFT)
        self.charge = 0  # pages that are charged for it
        self.locked: dict[int, int] = {}  # pages, and how
        self.stacks: set[Vad] = set()
        self.faults = 0
        # addresses of pages that are being read from a page file
        self.coming: dict[int, Event] = {}
        self.minimum = 0  # pages that it keeps in frames whatever others want
        self.maximum: int | None = None  # pages beyond which it is trimmed first
        self.protected = False  # it is not ended for want of memory
        self.ended = ""  # why it was, if it was
        # of a pager: it may use the frames in reserve, without which pageout could not finish
        self.privileged = False

    def check_alive(self) -> None:
        """StatusError PROCESS_IS_TERMINATING for a space that has ended: its tables are somebody
        else's frames.
        """
        if self.ended:
            raise StatusError(Status.PROCESS_IS_TERMINATING, self.ended)

    # -- addresses --------------------------------------------------------------------------------

    def below(self, zero_bits: int, status: Status) -> int:
        """The page below which addresses have so many high bits of 32 zero (0: where user space
        ends).

        StatusError `status` for what is no such number, INVALID_PARAMETER for what is no number.
        """
        numbers(zero_bits=zero_bits)
        if not 0 <= zero_bits <= MOST_ZERO_BITS:
            raise StatusError(
                status,
                "the number of an address's high bits that are zero cannot be "
                f"{shown(zero_bits)}: it is from 0 to {MOST_ZERO_BITS}",
            )
        high = self.vads.high
        return min(high, 1 << 32 - zero_bits >> PAGE_SHIFT) if zero_bits else high

    def gap(self, pages: int, top_down: bool, below: int) -> int:
        """The first page of so many that are free, in a row that ends at or below page `below`.
        StatusError NO_MEMORY when there are none.
        """
        page = self.vads.gap(pages, GRANULARITY, top_down, below)
        if page >= 0:
            return page
        low = self.vads.low << PAGE_SHIFT
        if below <= self.vads.low:
            raise StatusError(
                Status.NO_MEMORY,
                f"{self.name} has no addresses with so many zero bits: the lowest is {low:#x}",
            )
        raise StatusError(
            Status.NO_MEMORY,
            f"{self.name} has no {counted(pages, 'page')} of free addresses in a row "
            f"between {low:#x} and {below << PAGE_SHIFT:#x}",
        )

    def whole(self, first: int, end: int, status: Status) -> Vad:
        """The allocation that has all of pages [first, end). StatusError `status`: none has."""
        vad = self.vads.find(first)
        if vad is None or end > vad.end:
            raise StatusError(
                status,
                f"pages {first:#x} to {end - 1:#x} do not lie in one allocation of {self.name}",
            )
        return vad

    def ranges(self) -> list[tuple[int, int]]:
        """See `octavo.memory.reclaim.workingset.WorkingSet`."""
        return [(vad.start, vad.end) for vad in self.vads.all]

    def commit_reserved(self, first: int, end: int) -> None:
        """See `octavo.memory.spaces.view.Viewer`."""
        vad = self.vads.find(first)
        if vad is None or first >= end:
            return
        assert end <= vad.end, "pages of a view lie in one allocation"
        for a, b, protect in vad.parts(first, end):
            if protect is None:
                vad.set(a, b, vad.protect)

    # -- pages ------------------------------------------------------------------------------------

    def undo_write(self, address: int, marked: int) -> None:
        """See `octavo.memory.reclaim.workingset.WorkingSet`."""
        page = address >> PAGE_SHIFT
        vad = self.vads.find(page)
        protect = vad.span_at(page)[2] if vad is not None else None
        assert vad is not None and protect is not None
        self.pages.remake(address, marked, vad.effective(page, protect))

    def forget_locks(self, first: int, end: int) -> None:
        """Pages [first, end) are gone, and so is what kept them. StatusError INVALID_PARAMETER for
        what are no numbers.
        """
        numbers(first=first, end=end)
        pages = range(first, end)
        looked_at = pages if end - first < len(self.locked) else self.locked
        for page in [p for p in looked_at if p in pages and p in self.locked]:
            del self.locked[page]
