"""Faults and forks in bulk, as kernels: what needs no decision of the executive is done where it is met.

`tables` and `mmu` are as in `octavo.machine.mmukernels`, `words` is the PFN database. `fill` is a stock, int64, that the
executive fills before a run and settles after it:

    0 NEXT    used so far of the stock     1 COUNT  frames in it, zeroed     2 RUNS  in the list below      3 HOLDER  of pages
    4 MADE    tables made                  5 PAGES  pages made or shared     6 FRAMES  where the stock begins
    7 TABLES  where the frames of the tables that were made are noted
    8 SOFT    pages of sections mapped     9 SOFT_MOST                      10 SOFT_OUT  where they are noted: frame, key
    16 ...    the standby lists by priority: head, tail, length
    40 ...    runs: first page, end page, bits of an entry (PRESENT included), and for a view SOURCE, OWNER, EXTERNAL (else 0)
    SOURCE    of a view: page of the section at the run's first page, first segment, segments; then for each segment its base
              in `links` (0: it has none), and then for each the entries that were made to it

A demand-zero fault takes a frame from the stock; a missing table takes one too. A soft fault, for reading, maps a section's
page that is active or on a standby list. Everything else stops the run: pages that are held or paged, copy-on-write, first
writes, guard pages, pages that the pager has, an empty stock.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints
from octavo.machine.mmukernels import BITS, ERROR, LEVELS, ROOT, lowest, translate
from octavo.memory.policies.lists import key_of

NEXT, COUNT, RUNS, HOLDER, MADE, PAGES, FRAMES, TABLES, SOFT, SOFT_MOST, SOFT_OUT = range(11)
STANDBY = 16
FIRST_RUN, RUN = 40, 6
PFN_WORDS, PFN_STATE, PFN_FLAGS, PFN_USE, PFN_HOLDER = 8, 3, 4, 6, 7
_STANDBY_STATE, _ACTIVE_STATE = 2, 6
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
        at = FIRST_RUN + middle * RUN
        if page < fill[at]:
            high = middle
        elif page >= fill[at + 1]:
            low = middle + 1
        else:
            return at
    return 0


def demand_zero(tables: Ints, mmu: Ints, words: Ints, fill: Ints, bits: int, page: int) -> int:
    """Makes a page of zeros; 0 when there is something in its entry, or no frame."""
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


def take_standby(words: Ints, fill: Ints, frame: int) -> None:
    """Takes a frame off its standby list (5 is `octavo.memory.lists.PRIORITY`); it is active then."""
    here = frame * PFN_WORDS
    pages = STANDBY + 3 * (words[here + PFN_FLAGS] >> 8 ^ 5)
    after, before = words[here], words[here + 1]
    if before:
        words[before * PFN_WORDS] = after
    else:
        fill[pages] = after
    if after:
        words[after * PFN_WORDS + 1] = before
    else:
        fill[pages + 1] = before
    fill[pages + 2] -= 1
    words[here + PFN_STATE] = _ACTIVE_STATE
    words[here + PFN_FLAGS] = 0


def soft_fault(tables: Ints, mmu: Ints, words: Ints, links: Ints, fill: Ints, run: int, reference: int) -> int:
    """Maps a section's page that is in memory, for reading; 0 when that is not for a kernel to do."""
    page, kind, source = reference >> 12, reference & 3, fill[run + 3]
    number = page - fill[run] + fill[source]
    segment = (number >> 7) - fill[source + 1]
    base = fill[source + 3 + segment]
    if kind == 1 or base == 0 or fill[SOFT] == fill[SOFT_MOST]:
        return 0
    frame = links[base + (number & 127)]
    if frame == 0 or (frame < 0 and words[-frame * PFN_WORDS + PFN_STATE] != _STANDBY_STATE):
        return 0
    at = place_of(tables, mmu[ROOT], mmu[LEVELS], mmu[BITS], page, fill)
    if at < 0 or tables[at] != 0:
        return 0
    if frame < 0:
        frame = -frame
        take_standby(words, fill, frame)
        links[base + (number & 127)] = frame
    words[frame * PFN_WORDS + PFN_USE] += 1
    out = fill[SOFT_OUT] + 2 * fill[SOFT]
    fill[out] = frame
    fill[out + 1] = key_of(fill[run + 4], number, fill[run + 5])
    fill[source + 3 + fill[source + 2] + segment] += 1
    fill[SOFT] += 1
    tables[at] = frame << 12 | fill[run + 2] & ~2
    return 1


def resolve(tables: Ints, mmu: Ints, words: Ints, links: Ints, fill: Ints, reference: int) -> int:
    """Resolves the fault of a reference that found no page; 0 when that is not for a kernel to do."""
    kind = reference & 3
    run = run_of(fill, reference >> 12)
    if run == 0:
        return 0
    bits = fill[run + 2]
    if (kind == 1 and not bits & 2) or (kind == 2 and bits < 0):
        return 0
    if fill[run + 3]:
        return soft_fault(tables, mmu, words, links, fill, run, reference)
    return demand_zero(tables, mmu, words, fill, bits, reference >> 12)


def run_references(tables: Ints, mmu: Ints, words: Ints, links: Ints, fill: Ints, refs: Ints, start: int, end: int) -> int:
    """Runs references [start, end), resolving demand-zero and soft faults; returns the index of the first that needs the executive, else `end`."""
    i = start
    while i < end:
        if translate(tables, mmu, refs[i]) >= 0:
            i += 1
        elif mmu[ERROR] & 1 or not resolve(tables, mmu, words, links, fill, refs[i]):
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
            source, target = lowest(tables, mmu[ROOT], levels, bits, page), -1
            if source < 0:
                page = ((page >> (-source * bits)) + 1) << (-source * bits)
                continue
            left = (1 << bits) - (page & ((1 << bits) - 1))
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


KERNELS = ("take_stock", "place_of", "run_of", "demand_zero", "take_standby", "soft_fault", "resolve", "run_references", "share_pages")
