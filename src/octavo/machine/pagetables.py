"""Page tables in RAM, in the hardware's format: built, edited and walked.

    entry, i386            31 ......... 12  11 .. 9  8  7   6  5  4    3    2   1   0
                           frame            soft     G  PS  D  A  PCD  PWT  US  RW  P
    entry, the others      63  62 .. 52  51 ........ 12  and below as above
                           NX  soft      frame

    PS  in a table above the lowest: a large page (4 MiB on i386, 2 MiB elsewhere, 1 GiB too in the
        long modes)
    PAE's four root entries have P, PWT, PCD and a frame only; its root is 32 bytes at the start of
    a frame below 4 GiB

The tables see themselves through one slot of the root (PAE: four entries of the last directory), so
that the entry of address v is at `entry_address(v)` in virtual memory: the self-map.

Table frames come from `allocate` and go back by `release`; this module zeroes them. `map_pages`
works out all the tables it needs and takes them before it writes an entry: when memory runs out,
nothing has changed.

Source: Intel SDM volume 3, chapter 4; the self-map slots are ExectOS's (0x300; PAE 0xC0000000;
0x1ED). Departures: 4 MiB pages hold frames below 4 GiB only (no PSE-36).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from octavo.machine.abi import (
    FRAME_MASK,
    LARGE,
    NO_EXECUTE,
    PAGE_SHIFT,
    PAGE_SIZE,
    PRESENT,
    USER,
    WRITABLE,
)
from octavo.machine.paging import PageTableFormat
from octavo.machine.ram import Ram
from octavo.status import Status, StatusError

SELF_SLOT = {"i386": 0x300, "pae": 0, "x86-64": 0x1ED, "la57": 0x1ED}
PAE_SELF = 0xC0000000


@dataclass(frozen=True)
class Translation:
    """What a walk found: the physical address, the entry, and the size of its page in bytes."""

    physical: int
    entry: int
    page: int


class PageTables:
    """One address space's tables in `ram`. `allocate` gives a frame or 0 (below 4 GiB when it is
    called with True).
    """

    def __init__(
        self,
        ram: Ram,
        layout: PageTableFormat,
        allocate: Callable[[bool], int],
        release: Callable[[int], None] | None = None,
    ) -> None:
        self.ram = ram
        self.format = layout
        self.allocate = allocate
        self.release = release
        self.words = ram.bytes.cast("Q" if layout.entry_size == 8 else "I")
        self._shift = 3 if layout.entry_size == 8 else 2
        self._per = PAGE_SHIFT - self._shift  # a table has 2^_per entries
        self.tables: list[int] = []  # frames of tables, the root first
        self.root = self._new_table(layout.name in ("i386", "pae"))
        if self.root == 0:
            raise StatusError(
                Status.INSUFFICIENT_RESOURCES, "no frame is left for the root page table"
            )
        self._near, self._near_at = -1, 0  # what the lowest table that was walked to last maps, and
        # where it begins in `words`: an address is looked at several times in a row
        self._learn(layout)

    def _learn(self, layout: PageTableFormat) -> None:
        """What walks need of the format, in the form in which they need it."""
        self._levels = len(layout.index_bits)
        shifts = [PAGE_SHIFT + sum(layout.index_bits[i + 1 :]) for i in range(self._levels)]
        self._steps = [
            (shift, (1 << bits) - 1) for shift, bits in zip(shifts, layout.index_bits, strict=True)
        ]
        self._canonical = layout.virtual_bits if layout.virtual_bits > 32 else 0
        self._reach, self._last = shifts[-2], self._steps[-1][1]

    def _new_table(self, low: bool) -> int:
        frame = self.allocate(low)
        if frame:
            self.ram.frame(frame)[:] = bytes(PAGE_SIZE)
            self.tables.append(frame)
        return frame

    def fit(self, flags: int) -> int:
        """Entry bits as far as the format has them: 32-bit entries have no NO_EXECUTE."""
        return flags & ~NO_EXECUTE if self._shift == 2 else flags

    # -- the self-map -----------------------------------------------------------------------------

    def map_self(self) -> None:
        """Shows the tables in their own address space. StatusError INSUFFICIENT_RESOURCES."""
        if self.format.name == "pae":
            directories = [self._descend((i << 30), 1) for i in range(4)]
            for i, frame in enumerate(directories):
                self.words[(directories[3] << (PAGE_SHIFT - 3)) + i] = (
                    frame << PAGE_SHIFT | PRESENT | WRITABLE
                )
        else:
            slot = SELF_SLOT[self.format.name]
            entry = self.root << PAGE_SHIFT | PRESENT | WRITABLE
            self.words[(self.root << self._per) + slot] = entry | (
                NO_EXECUTE if self._shift == 3 else 0
            )

    def entry_address(self, address: int) -> int:
        """The virtual address at which the lowest-level entry of `address` is seen through the
        self-map.
        """
        if self.format.name in ("i386", "pae"):
            return PAE_SELF + (address >> PAGE_SHIFT << self._shift)
        bits = self.format.virtual_bits
        base = SELF_SLOT[self.format.name] << (bits - 9)
        return self._extend(base | (address & ((1 << bits) - 1)) >> PAGE_SHIFT << 3)

    def _extend(self, address: int) -> int:
        """The canonical form: the top translated bit repeated to bit 63."""
        bits = self._canonical
        return (
            address
            if not bits or not address >> (bits - 1) & 1
            else address | (1 << 64) - (1 << bits)
        )

    # -- walking ----------------------------------------------------------------------------------

    def page_sizes(self) -> list[int]:
        """Sizes of pages in bytes that the format has, largest first."""
        return {"i386": [4 << 20, PAGE_SIZE], "pae": [2 << 20, PAGE_SIZE]}.get(
            self.format.name, [1 << 30, 2 << 20, PAGE_SIZE]
        )

    def _slots(self, address: int) -> Iterator[tuple[int, int, int]]:
        """(index into the words, entry, level above the lowest) of each level, for as long as
        tables are there.
        """
        table = self.root
        for depth, index in enumerate(self.format.indices(address)):
            at = (table << self._per) + index
            entry = self.words[at]
            level = self._levels - 1 - depth
            yield at, entry, level
            if not entry & PRESENT or (level and not self._leads_on(entry, depth)):
                return
            table = (entry & FRAME_MASK) >> PAGE_SHIFT

    def translate(self, address: int) -> Translation | None:
        """Where a virtual address leads; None when it is not mapped or not canonical."""
        if not self.canonical(address):
            return None
        entry = level = 0
        for _, entry, level in self._slots(address):  # noqa: B007 -- the last one counts
            pass
        if not entry & PRESENT:
            return None
        size = 1 << (PAGE_SHIFT + sum(self.format.index_bits[self._levels - level :]))
        base = entry & FRAME_MASK & -size
        return Translation(base | address & (size - 1), entry, size)

    def canonical(self, address: int) -> bool:
        """True for an address that the processor accepts."""
        if not self._canonical:
            return 0 <= address < 1 << 32
        return (
            0 <= address < 1 << 64
            and self._extend(address & ((1 << self._canonical) - 1)) == address
        )

    # -- editing ----------------------------------------------------------------------------------

    def map_pages(
        self, address: int, frame: int, count: int, flags: int, large: bool = True
    ) -> None:
        """Maps `count` pages from `address` on to frames from `frame` on, with large pages where
        both are aligned.

        `flags` are entry bits beside PRESENT and LARGE. StatusError CONFLICTING_ADDRESSES where
        something is mapped already, INVALID_PARAMETER for what the format cannot express,
        INSUFFICIENT_RESOURCES without frames for tables: nothing is changed then.
        """
        pages = list(self._cut(address, frame, count, large))
        self._refuse(pages, frame + count)
        before = len(self.tables)
        undo: list[int] = []
        try:
            places = [self._descend(va, level, undo) for va, _, level in pages]
        except StatusError:
            self._take_back(undo, before)
            raise
        flags = self.fit(flags)
        for (va, target, level), table in zip(pages, places, strict=True):
            index = self.format.indices(va)[self._levels - 1 - level]
            self.words[(table << self._per) + index] = (
                target << PAGE_SHIFT | flags | PRESENT | (LARGE if level else 0)
            )

    def _cut(
        self, address: int, frame: int, count: int, large: bool
    ) -> Iterator[tuple[int, int, int]]:
        """(virtual address, frame, level) of each page of the largest size that fits."""
        sizes = self.page_sizes() if large else [PAGE_SIZE]
        while count:
            for size in sizes:
                pages = size >> PAGE_SHIFT
                if count >= pages and not address & (size - 1) and not frame & (pages - 1):
                    break
            level = 0
            while 1 << (PAGE_SHIFT + sum(self.format.index_bits[self._levels - level :])) < size:
                level += 1
            yield address, frame, level
            address, frame, count = address + size, frame + pages, count - pages

    def _refuse(self, pages: list[tuple[int, int, int]], end: int) -> None:
        if end > self.format.physical_limit >> PAGE_SHIFT:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"frame {end - 1:#x} lies beyond the {self.format.physical_bits} physical "
                f"bits of {self.format.name}",
            )
        for va, _, level in pages:
            if va & PAGE_SIZE - 1 or not self.canonical(va):
                raise StatusError(
                    Status.INVALID_PARAMETER, f"{va:#x} is no page address of {self.format.name}"
                )
            for _, entry, at in self._slots(va):
                if entry & PRESENT and (at <= level or (entry & LARGE and at < self._levels - 1)):
                    raise StatusError(Status.CONFLICTING_ADDRESSES, f"{va:#x} is mapped already")

    def _descend(self, address: int, level: int, undo: list[int] | None = None) -> int:
        """The frame of the table at `level` for an address, made if need be; `undo` learns which
        entries were written.
        """
        table = self.root
        for depth, index in enumerate(self.format.indices(address)[: self._levels - 1 - level]):
            at = (table << self._per) + index
            entry = self.words[at]
            if not entry & PRESENT:
                table = self._new_table(self.format.name == "i386")
                if not table:
                    raise StatusError(
                        Status.INSUFFICIENT_RESOURCES, "no frame is left for a page table"
                    )
                root = self.format.name == "pae" and depth == 0
                self.words[at] = (
                    table << PAGE_SHIFT
                    | PRESENT
                    | (0 if root else WRITABLE | (USER if address < self._user_end() else 0))
                )
                if undo is not None:
                    undo.append(at)
            else:
                table = (entry & FRAME_MASK) >> PAGE_SHIFT
        return table

    def _user_end(self) -> int:
        return 1 << 31 if not self._canonical else 1 << (self._canonical - 1)

    def _take_back(self, written: list[int], keep: int) -> None:
        """Clears the entries that were written, and gives back the tables made after the first
        `keep`, to which they led.
        """
        for at in written:
            self.words[at] = 0
        while len(self.tables) > keep:
            frame = self.tables.pop()
            if self.release is not None:
                self.release(frame)

    def release_all(self) -> None:
        """Gives all tables back, the root as well: nothing may be looked at in here any more."""
        for frame in self.tables:
            if self.release is not None:
                self.release(frame)
        self.tables.clear()
        self._near = -1

    # -- single entries of the lowest level -------------------------------------------------------

    def place(self, address: int) -> int:
        """Index of the lowest-level entry of an address in `words`; -1 where there is no table, or
        a large page.
        """
        if address >> self._reach == self._near:
            return self._near_at + (address >> PAGE_SHIFT & self._last)
        words, table, per = self.words, self.root, self._per
        for shift, mask in self._steps[:-1]:
            entry = words[(table << per) + (address >> shift & mask)]
            if not entry & PRESENT or (entry & LARGE and (shift < 30 or self._levels > 3)):
                return -1
            table = (entry & FRAME_MASK) >> PAGE_SHIFT
        self._near, self._near_at = address >> self._reach, table << per
        return self._near_at + (address >> PAGE_SHIFT & self._last)

    def get(self, address: int) -> int:
        """The lowest-level entry of an address, whatever is in it; 0 where there is no table."""
        at = self.place(address)
        return self.words[at] if at >= 0 else 0

    def put(self, address: int, entry: int) -> None:
        """Writes the lowest-level entry of an address, making tables if need be. StatusError
        INSUFFICIENT_RESOURCES, and nothing has changed.
        """
        at = self.place(address)
        if at >= 0:
            self.words[at] = entry
            return
        before, undo = len(self.tables), list[int]()
        try:
            table = self._descend(address, 0, undo)
        except StatusError:
            self._take_back(undo, before)
            raise
        self.words[(table << self._per) + self.format.indices(address)[-1]] = entry

    def entries(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """(address, entry) of the lowest-level entries in [start, end) of the user half that are
        not 0; what has no table costs nothing.
        """
        first, last = start >> PAGE_SHIFT, end - 1 >> PAGE_SHIFT
        if first >> self.format.index_bits[-1] != last >> self.format.index_bits[-1]:
            yield from self._entries(self.root, 0, 0, start, end)
        elif start < end and (at := self.place(start)) >= 0:  # inside one table, as most are
            for i, entry in enumerate(self.words[at : at + last - first + 1].tolist()):
                if entry:
                    yield first + i << PAGE_SHIFT, entry

    def _within(
        self, table: int, depth: int, base: int, start: int, end: int
    ) -> Iterator[tuple[int, int, int]]:
        """(index into the words, address, entry) of a table's entries for [start, end) that are not
        0; the table begins at `base`.
        """
        shift, mask = self._steps[depth]
        first = (max(start, base) - base) >> shift
        last = (min(end, base + (mask + 1 << shift)) - 1 - base) >> shift
        at = (table << self._per) + first
        for i, entry in enumerate(self.words[at : at + last - first + 1].tolist()):
            if entry:
                yield at + i, base + (first + i << shift), entry

    def _entries(
        self, table: int, depth: int, base: int, start: int, end: int
    ) -> Iterator[tuple[int, int]]:
        for _, address, entry in self._within(table, depth, base, start, end):
            if depth == self._levels - 1:
                yield address, entry
            elif self._leads_on(entry, depth):
                yield from self._entries(
                    (entry & FRAME_MASK) >> PAGE_SHIFT, depth + 1, address, start, end
                )

    def _leads_on(self, entry: int, depth: int) -> bool:
        """True for an entry of an upper table that leads to another table."""
        return bool(entry & PRESENT) and (
            not entry & LARGE or (depth == 0 and self.format.name == "pae")
        )

    def prune(self, start: int, end: int) -> None:
        """Gives back the tables of [start, end) in the user half in which nothing is left."""
        self._prune(self.root, 0, 0, start, end)

    def _prune(self, table: int, depth: int, base: int, start: int, end: int) -> None:
        if depth == self._levels - 1:
            return
        for at, address, entry in list(self._within(table, depth, base, start, end)):
            if not self._leads_on(entry, depth):
                continue
            frame = (entry & FRAME_MASK) >> PAGE_SHIFT
            self._prune(frame, depth + 1, address, start, end)
            if not any(self.words[frame << self._per : frame + 1 << self._per].tolist()):
                self.words[at] = 0
                self._near = -1
                self.tables.remove(frame)
                if self.release is not None:
                    self.release(frame)

    def unmap_pages(self, address: int, count: int) -> list[int]:
        """Removes `count` 4 KiB entries; returns the frames they had. StatusError NOT_MAPPED_VIEW
        where there is none or a large one.
        """
        places = []
        for va in range(address, address + count * PAGE_SIZE, PAGE_SIZE):
            found = list(self._slots(va))[-1]
            if not found[1] & PRESENT or found[2]:
                raise StatusError(Status.NOT_MAPPED_VIEW, f"{va:#x} has no page of 4 KiB")
            places.append(found)
        for at, _, _ in places:
            self.words[at] = 0
        return [(entry & FRAME_MASK) >> PAGE_SHIFT for _, entry, _ in places]

    def leaves(self) -> Iterator[tuple[int, int, int, int]]:
        """(virtual address, frame, pages, flags) of every mapping, ascending; the self-map is not
        gone into.
        """
        yield from self._leaves(self.root, 0, 0)

    def _leaves(self, table: int, depth: int, prefix: int) -> Iterator[tuple[int, int, int, int]]:
        level = self._levels - 1 - depth
        shift = PAGE_SHIFT + sum(self.format.index_bits[depth + 1 :])
        start = table << self._per
        entries = self.words[start : start + (1 << self.format.index_bits[depth])]
        for index, entry in enumerate(entries):
            address = prefix | index << shift
            frame = (entry & FRAME_MASK) >> PAGE_SHIFT
            if not entry & PRESENT or self._is_self(frame, depth, address):
                continue
            if level and self._leads_on(entry, depth):
                yield from self._leaves(frame, depth + 1, address)
            else:
                pages = 1 << (shift - PAGE_SHIFT)
                yield self._extend(address), frame & -pages, pages, entry & ~FRAME_MASK

    def _is_self(self, frame: int, depth: int, address: int) -> bool:
        """True for an entry through which the tables see themselves."""
        if self.format.name == "pae":
            return depth == 1 and PAE_SELF <= address < PAE_SELF + (8 << 20)
        return depth == 0 and frame == self.root
