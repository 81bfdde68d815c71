"""The soft MMU's algorithm, as kernels: references go through a TLB and the hardware's page tables, and stop at the first fault.

`tables` is RAM as entries of the format (int64, or int32 for i386). `mmu` is one CPU's state, int64:

    0 ROOT    frame of the root table     1 LEVELS    2 BITS  of an index; a table has 2^BITS entries    3 WIDTH  of an address
    4 USER    1 for user mode             5 WP  supervisor writes respect read-only pages               6 SLOTS  of the TLB
    7 HITS    8 WALKS                     9 ERROR     10 ADDRESS  of the last fault
    16 ...    the TLB, direct-mapped by page number: pairs of page number and what is known of it

A reference is an address with its kind in the two low bits: READ, WRITE or EXECUTE. What the TLB knows of a page:

    frame << 12 | GLOBAL (256) | DIRTY (64) | NO_EXECUTE (8) | USER (4) | WRITE (2)

As in hardware, a page whose entry was changed in RAM is seen as before until its TLB slot is flushed or taken by another page.
The walk sets the accessed bit in every entry on its way and the dirty bit in the last one on a write; PAE's root entries have
neither. Both are set by compare-and-swap, as the processor does, so that an entry which the executive takes away meanwhile is not
written back. The error code is the processor's: PRESENT 1, WRITE 2, USER 4, RESERVED 8 (never), FETCH 16.

Source: Intel SDM volume 3, sections 4.6 to 4.10. Departures: no global or separate instruction TLB, no paging-structure caches.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, compare_swap

ROOT, LEVELS, BITS, WIDTH, USER, WP, SLOTS, HITS, WALKS, ERROR, ADDRESS = range(11)
TLB = 16
READ, WRITE, EXECUTE = range(3)
EMPTY = -(1 << 60)  # no page number
AGAIN = -1
KNOWN_WRITE, KNOWN_USER, KNOWN_NX, KNOWN_DIRTY, KNOWN_GLOBAL = 2, 4, 8, 64, 256
_FRAMES = (1 << 52) - 4096
_ACCESSED, _DIRTY, _LARGE = 32, 64, 128


def fault(mmu: Ints, address: int, kind: int, present: int) -> int:
    """Notes a fault; returns 0."""
    error = present | mmu[USER] << 2
    if kind == 1:
        error |= 2
    if kind == 2:
        error |= 16
    mmu[ERROR] = error
    mmu[ADDRESS] = address
    return 0


def walk(tables: Ints, mmu: Ints, address: int, kind: int) -> int:
    """What the TLB shall know of an address's page, after setting accessed and dirty bits; 0 for a fault, AGAIN when an entry changed meanwhile."""
    bits, levels = mmu[BITS], mmu[LEVELS]
    top = address >> (mmu[WIDTH] - 1)
    if (mmu[WIDTH] == 32 and top > 1) or top < -1 or (mmu[WIDTH] > 32 and top > 0) or (mmu[WIDTH] == 32 and top < 0):
        return fault(mmu, address, kind, 0)
    table, rights, nx, at, entry, level = mmu[ROOT], 6, 0, 0, 0, levels
    while level > 0:
        level -= 1
        at = (table << bits) + (address >> (12 + level * bits) & ((1 << bits) - 1))
        entry = tables[at]
        if not entry & 1:
            return fault(mmu, address, kind, 0)
        bare = levels == 3 and level == 2  # PAE's root
        if not bare:
            rights &= entry
            if bits == 9 and entry < 0:
                nx = 8
            if level and entry & _LARGE:
                break
            if level and not entry & _ACCESSED and not compare_swap(tables, at, entry, entry | _ACCESSED):
                return AGAIN
        table = (entry & _FRAMES) >> 12
        if bits == 10:
            table &= 0xFFFFF
    user = mmu[USER]
    if (user and not rights & 4) or (kind == 1 and not rights & 2 and (user or mmu[WP])) or (kind == 2 and nx):
        return fault(mmu, address, kind, 1)
    changed = entry | _ACCESSED
    if kind == 1:
        changed |= _DIRTY
    if changed != entry and not compare_swap(tables, at, entry, changed):
        return AGAIN
    frame = (entry & _FRAMES) >> 12
    if bits == 10:
        frame &= 0xFFFFF
    if level:
        pages = 1 << (level * bits)
        frame = (frame & -pages) | (address >> 12 & (pages - 1))
    return frame << 12 | changed & (_DIRTY | 256) | nx | rights


def lowest(tables: Ints, root: int, levels: int, bits: int, page: int) -> int:
    """The index of a page's lowest-level entry; where a table is missing, -(its level) for the first that is."""
    table, level = root, levels - 1
    while level > 0:
        entry = tables[(table << bits) + (page >> (level * bits) & ((1 << bits) - 1))]
        if not entry & 1:
            return -level
        table = (entry & _FRAMES) >> 12
        if bits == 10:
            table &= 0xFFFFF
        level -= 1
    return (table << bits) + (page & ((1 << bits) - 1))


def translate(tables: Ints, mmu: Ints, reference: int) -> int:
    """The physical address of a reference; -1 for a fault, which ERROR and ADDRESS tell."""
    kind, page = reference & 3, reference >> 12
    slot = TLB + (page & (mmu[SLOTS] - 1)) * 2
    if mmu[slot] == page:
        known = mmu[slot + 1]
        allowed = known & 4 or not mmu[USER]
        if (kind == 0 and allowed) or (kind == 1 and allowed and known & 66 == 66) or (kind == 2 and allowed and not known & 8):
            mmu[HITS] += 1
            return known & _FRAMES | reference & 0xFFC
    mmu[WALKS] += 1
    known = AGAIN
    while known == AGAIN:
        known = walk(tables, mmu, reference & -4, kind)
    if known == 0:
        return -1
    mmu[slot] = page
    mmu[slot + 1] = known
    return known & _FRAMES | reference & 0xFFC


def references(tables: Ints, mmu: Ints, refs: Ints, start: int, end: int) -> int:
    """Runs references [start, end); returns the index of the first that faults, else `end`."""
    for i in range(start, end):
        if translate(tables, mmu, refs[i]) < 0:
            return i
    return end


def forget_page(mmu: Ints, page: int) -> None:
    """Flushes one page from the TLB."""
    slot = TLB + (page & (mmu[SLOTS] - 1)) * 2
    if mmu[slot] == page:
        mmu[slot] = EMPTY


def forget_all(mmu: Ints, global_too: int) -> None:
    """Flushes the TLB; global pages stay unless `global_too`."""
    for slot in range(TLB, TLB + mmu[SLOTS] * 2, 2):
        if global_too or not mmu[slot + 1] & 256:
            mmu[slot] = EMPTY


KERNELS = ("fault", "walk", "lowest", "translate", "references", "forget_page", "forget_all")
