"""Faults and forks in bulk, as kernels: what needs no decision of the executive is done where it is
met.

`tables` and `mmu` are as in `octavo.machine.mmukernels`, `words` is the PFN database. `fill` is a
stock, int64, that the executive fills before a run and settles after it:

    0 USED    of the stock                 1 COUNT  frames in it, zeroed
    2 RUNS    in the list below            3 OWNER  of pages
    4 MADE    tables made                  5 PAGES  pages made or shared
    6 FRAMES  where the stock begins
    7 TABLES  where the frames of the tables that were made are noted
    8 SOFT    pages of sections mapped     9 SOFT_MOST
    10 SOFT_OUT  where they are noted: frame, key
    16 ...    the standby lists by priority: head, tail, length
    40 ...    runs: first page, end page, bits of an entry (PRESENT included), and for a view
              SOURCE, OWNER, EXTERNAL (else 0)
    SOURCE    of a view: page of the section at the run's first page, first segment, segments; then
              for each segment its base in `links` (0: it has none), and then for each the entries
              that were made to it

A demand-zero fault takes a frame from the stock; a missing table takes one too. A soft fault, for
reading, maps a section's page that is active or on a standby list. Everything else stops the run:
pages that are held or paged, copy-on-write, first writes, guard pages, pages that the pager has, an
empty stock.
"""

from __future__ import annotations

from octavo.machine.abi import (
    COPIED,
    FLAGS,
    HOLDER,
    IS_ACTIVE,
    IS_STANDBY,
    NEXT,
    PAGE_SHIFT,
    PRESENT,
    PREV,
    PRIORITY,
    PRIORITY_SHIFT,
    SEGMENT_PAGES,
    SEGMENT_SHIFT,
    STATE,
    TABLE,
    USE,
    WORDS,
    WRITABLE,
)
from octavo.machine.kernels import Ints, kernel
from octavo.machine.mmukernels import (
    BITS,
    ERROR,
    EXECUTE,
    FAULT_PRESENT,
    LEVELS,
    ROOT,
    WRITE,
    frame_in,
    is_bare,
    lowest,
    translate,
)
from octavo.memory.reclaim.policies.lists import key_of

USED, COUNT, RUNS, OWNER, MADE, PAGES, FRAMES, TABLES, SOFT, SOFT_MOST, SOFT_OUT = range(11)
STANDBY, LIST, HEAD, TAIL, LENGTH = 16, 3, 0, 1, 2
FIRST_RUN, RUN, RUN_FIRST, RUN_END, RUN_BITS, RUN_SOURCE, RUN_OWNER, RUN_EXTERNAL = (
    40,
    6,
    0,
    1,
    2,
    3,
    4,
    5,
)
SOURCE_PAGE, SOURCE_SEGMENT, SOURCE_SEGMENTS, SOURCE_BASES = range(4)
_KIND = 3  # of a reference


@kernel
def take_stock(fill: Ints) -> int:
    """A frame from the stock; 0 when it is empty."""
    at = fill[USED]
    if at == fill[COUNT]:
        return 0
    fill[USED] = at + 1
    return fill[fill[FRAMES] + at]


@kernel
def place_of(tables: Ints, root: int, levels: int, bits: int, page: int, fill: Ints) -> int:
    """The index of a page's lowest-level entry, with tables from the stock where there are none; -1
    when it is empty.
    """
    table, level = root, levels - 1
    while level > 0:
        at = (table << bits) + (page >> (level * bits) & ((1 << bits) - 1))
        entry = tables[at]
        if not entry & PRESENT:
            frame = take_stock(fill)
            if frame == 0:
                return -1
            fill[fill[TABLES] + fill[MADE]] = frame
            fill[MADE] += 1
            entry = frame << PAGE_SHIFT | (PRESENT if is_bare(levels, level) else TABLE)
            tables[at] = entry
        table = frame_in(entry, bits)
        level -= 1
    return (table << bits) + (page & ((1 << bits) - 1))


@kernel
def run_of(fill: Ints, page: int) -> int:
    """Where the run of a page begins in `fill`; 0 for none."""
    low, high = 0, fill[RUNS]
    while low < high:
        middle = (low + high) >> 1
        at = FIRST_RUN + middle * RUN
        if page < fill[at + RUN_FIRST]:
            high = middle
        elif page >= fill[at + RUN_END]:
            low = middle + 1
        else:
            return at
    return 0


@kernel
def demand_zero(tables: Ints, mmu: Ints, words: Ints, fill: Ints, bits: int, page: int) -> int:
    """Makes a page of zeros; 0 when there is something in its entry, or no frame."""
    at = place_of(tables, mmu[ROOT], mmu[LEVELS], mmu[BITS], page, fill)
    if at < 0 or tables[at] != 0:
        return 0
    frame = take_stock(fill)
    if frame == 0:
        return 0
    words[frame * WORDS + HOLDER] = fill[OWNER]
    words[frame * WORDS + USE] = 1
    words[frame * WORDS + NEXT] = page & 0x7FFFFFFF
    words[frame * WORDS + PREV] = page >> 31
    tables[at] = frame << PAGE_SHIFT | bits
    fill[PAGES] += 1
    return 1


@kernel
def take_standby(words: Ints, fill: Ints, frame: int) -> None:
    """Takes a frame off its standby list; it is active then."""
    here = frame * WORDS
    pages = STANDBY + LIST * (words[here + FLAGS] >> PRIORITY_SHIFT ^ PRIORITY)
    after, before = words[here + NEXT], words[here + PREV]
    if before:
        words[before * WORDS + NEXT] = after
    else:
        fill[pages + HEAD] = after
    if after:
        words[after * WORDS + PREV] = before
    else:
        fill[pages + TAIL] = before
    fill[pages + LENGTH] -= 1
    words[here + STATE] = IS_ACTIVE
    words[here + FLAGS] = 0


@kernel
def soft_fault(
    tables: Ints, mmu: Ints, words: Ints, links: Ints, fill: Ints, run: int, reference: int
) -> int:
    """Maps a section's page that is in memory, for reading; 0 when no kernel may do that."""
    page, kind, source = reference >> PAGE_SHIFT, reference & _KIND, fill[run + RUN_SOURCE]
    number = page - fill[run + RUN_FIRST] + fill[source + SOURCE_PAGE]
    segment = (number >> SEGMENT_SHIFT) - fill[source + SOURCE_SEGMENT]
    base = fill[source + SOURCE_BASES + segment]
    if kind == WRITE or base == 0 or fill[SOFT] == fill[SOFT_MOST]:
        return 0
    link = base + (number & (SEGMENT_PAGES - 1))
    frame = links[link]
    if frame == 0 or (frame < 0 and words[-frame * WORDS + STATE] != IS_STANDBY):
        return 0
    at = place_of(tables, mmu[ROOT], mmu[LEVELS], mmu[BITS], page, fill)
    if at < 0 or tables[at] != 0:
        return 0
    if frame < 0:
        frame = -frame
        take_standby(words, fill, frame)
        links[link] = frame
    words[frame * WORDS + USE] += 1
    out = fill[SOFT_OUT] + 2 * fill[SOFT]
    fill[out] = frame
    fill[out + 1] = key_of(fill[run + RUN_OWNER], number, fill[run + RUN_EXTERNAL])
    fill[source + SOURCE_BASES + fill[source + SOURCE_SEGMENTS] + segment] += 1
    fill[SOFT] += 1
    tables[at] = frame << PAGE_SHIFT | fill[run + RUN_BITS] & ~WRITABLE
    return 1


@kernel
def resolve(tables: Ints, mmu: Ints, words: Ints, links: Ints, fill: Ints, reference: int) -> int:
    """Resolves the fault of a reference that found no page; 0 when no kernel may do that."""
    kind = reference & _KIND
    run = run_of(fill, reference >> PAGE_SHIFT)
    if run == 0:
        return 0
    bits = fill[run + RUN_BITS]
    if (kind == WRITE and not bits & WRITABLE) or (kind == EXECUTE and bits < 0):
        return 0
    if fill[run + RUN_SOURCE]:
        return soft_fault(tables, mmu, words, links, fill, run, reference)
    return demand_zero(tables, mmu, words, fill, bits, reference >> PAGE_SHIFT)


@kernel
def run_references(
    tables: Ints, mmu: Ints, words: Ints, links: Ints, fill: Ints, refs: Ints, start: int, end: int
) -> int:
    """Runs references [start, end), resolving demand-zero and soft faults; returns the index of the
    first that needs the executive, else `end`.
    """
    i = start
    while i < end:
        if translate(tables, mmu, refs[i]) >= 0:
            i += 1
        elif mmu[ERROR] & FAULT_PRESENT or not resolve(tables, mmu, words, links, fill, refs[i]):
            return i
    return end


@kernel
def share_pages(
    tables: Ints, mmu: Ints, child: int, words: Ints, fill: Ints, first: int, end: int
) -> int:
    """Makes present pages [first, end) of the space in `mmu` pages of the space with root `child`
    too, copy-on-write in both.

    Returns the page at which it stopped: `end`, or one that is held or paged, or for which the
    stock has no table.
    """
    levels, bits = mmu[LEVELS], mmu[BITS]
    page = first
    source, target, left = 0, 0, 0
    while page < end:
        if left == 0:  # another lowest-level table
            source, target = lowest(tables, mmu[ROOT], levels, bits, page), -1
            if source < 0:
                page = ((page >> (-source * bits)) + 1) << (-source * bits)
                continue
            left = (1 << bits) - (page & ((1 << bits) - 1))
        entry = tables[source]
        if entry != 0:
            if not entry & PRESENT:
                return page
            if target < 0:
                target = place_of(tables, child, levels, bits, page, fill)
                if target < 0:
                    return page
            if entry & WRITABLE:
                entry = (entry & ~WRITABLE) | COPIED
                tables[source] = entry
            tables[target] = entry
            words[frame_in(entry, bits) * WORDS + USE] += 1
            fill[PAGES] += 1
        page += 1
        source += 1
        left -= 1
        if target >= 0:
            target += 1
    return end
