"""Faults and forks in bulk, as kernels: what needs no decision of the executive is done where it is met.

`tables` and `mmu` are as in `octavo.machine.mmukernels`, `words` is the PFN database. `fill` is a stock, int64, that the
executive fills before a run and settles after it:

    0 NEXT    used so far of the stock     1 COUNT  frames in it, zeroed     2 RUNS  in the list below      3 HOLDER  of pages
    4 MADE    tables made                  5 PAGES  pages made or shared     6 FRAMES  where the stock begins
    7 TABLES  where the frames of the tables that were made are noted
    8 ...     runs: first page, end page, bits of an entry (PRESENT included)

A demand-zero fault takes a frame from the stock; a missing table takes one too. Everything else stops the run: pages that are
held or paged, copy-on-write, guard pages, an empty stock.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints
from octavo.machine.mmukernels import BITS, ERROR, LEVELS, ROOT, translate

NEXT, COUNT, RUNS, HOLDER, MADE, PAGES, FRAMES, TABLES = range(8)
FIRST_RUN = 8
PFN_WORDS, PFN_USE, PFN_HOLDER = 8, 6, 7
_FRAMES = (1 << 52) - 4096


def take_stock(fill: Ints) -> int:
    """A frame from the stock; 0 when it is empty."""
    at = fill[NEXT]
    if at == fill[COUNT]:
        return 0
    fill[NEXT] = at + 1
    return fill[fill[FRAMES] + at]


def place_of(tables: Ints, root: int, levels: int, bits: int, page: int, fill: Ints) -> int:
    """The index of a page's lowest-level entry, with tables from the stock where there are none; -1 when it is empty."""
    table, level = root, levels - 1
    while level > 0:
        at = (table << bits) + (page >> (level * bits) & ((1 << bits) - 1))
        entry = tables[at]
        if not entry & 1:
            frame = take_stock(fill)
            if frame == 0:
                return -1
            fill[fill[TABLES] + fill[MADE]] = frame
            fill[MADE] += 1
            entry = frame << 12 | (1 if levels == 3 and level == 2 else 7)
            tables[at] = entry
        table = (entry & _FRAMES) >> 12
        if bits == 10:
            table &= 0xFFFFF
        level -= 1
    return (table << bits) + (page & ((1 << bits) - 1))


def run_of(fill: Ints, page: int) -> int:
    """Where the run of a page begins in `fill`; 0 for none."""
    low, high = 0, fill[RUNS]
    while low < high:
        middle = (low + high) >> 1
        at = FIRST_RUN + middle * 3
        if page < fill[at]:
            high = middle
        elif page >= fill[at + 1]:
            low = middle + 1
        else:
            return at
    return 0


def demand_zero(tables: Ints, mmu: Ints, words: Ints, fill: Ints, reference: int) -> int:
    """Makes the page of a reference that found none; 0 when that is not for a kernel to do."""
    page, kind = reference >> 12, reference & 3
    run = run_of(fill, page)
    if run == 0:
        return 0
    bits = fill[run + 2]
    if (kind == 1 and not bits & 2) or (kind == 2 and bits < 0):
        return 0
    at = place_of(tables, mmu[ROOT], mmu[LEVELS], mmu[BITS], page, fill)
    if at < 0 or tables[at] != 0:
        return 0
    frame = take_stock(fill)
    if frame == 0:
        return 0
    words[frame * PFN_WORDS + PFN_HOLDER] = fill[HOLDER]
    words[frame * PFN_WORDS + PFN_USE] = 1
    words[frame * PFN_WORDS] = page & 0x7FFFFFFF
    words[frame * PFN_WORDS + 1] = page >> 31
    tables[at] = frame << 12 | bits
    fill[PAGES] += 1
    return 1


def run_references(tables: Ints, mmu: Ints, words: Ints, fill: Ints, refs: Ints, start: int, end: int) -> int:
    """Runs references [start, end), resolving demand-zero faults; returns the index of the first that needs the executive, else `end`."""
    i = start
    while i < end:
        if translate(tables, mmu, refs[i]) >= 0:
            i += 1
        elif mmu[ERROR] & 1 or not demand_zero(tables, mmu, words, fill, refs[i]):
            return i
    return end


def share_pages(tables: Ints, mmu: Ints, child: int, words: Ints, fill: Ints, first: int, end: int) -> int:
    """Makes present pages [first, end) of the space in `mmu` pages of the space with root `child` too, copy-on-write in both.

    Returns the page at which it stopped: `end`, or one that is held or paged, or for which the stock has no table.
    """
    levels, bits = mmu[LEVELS], mmu[BITS]
    page = first
    source, target, left = 0, 0, 0
    while page < end:
        if left == 0:  # another lowest-level table
            table, level = mmu[ROOT], levels - 1
            left = (1 << bits) - (page & ((1 << bits) - 1))
            while level > 0:
                entry = tables[(table << bits) + (page >> (level * bits) & ((1 << bits) - 1))]
                if not entry & 1:
                    break
                table = (entry & _FRAMES) >> 12
                if bits == 10:
                    table &= 0xFFFFF
                level -= 1
            if level > 0:
                page += left
                left = 0
                continue
            source, target = (table << bits) + (page & ((1 << bits) - 1)), -1
        entry = tables[source]
        if entry != 0:
            if not entry & 1:
                return page
            if target < 0:
                target = place_of(tables, child, levels, bits, page, fill)
                if target < 0:
                    return page
            if entry & 2:
                entry = (entry & ~2) | 512  # not writable, copied on write
                tables[source] = entry
            tables[target] = entry
            frame = (entry & _FRAMES) >> 12
            if bits == 10:
                frame &= 0xFFFFF
            words[frame * PFN_WORDS + PFN_USE] += 1
            fill[PAGES] += 1
        page += 1
        source += 1
        left -= 1
        if target >= 0:
            target += 1
    return end


KERNELS = ("take_stock", "place_of", "run_of", "demand_zero", "run_references", "share_pages")
