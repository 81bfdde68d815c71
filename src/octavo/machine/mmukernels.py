"""The soft MMU's algorithm, as kernels: references go through a TLB and the hardware's page tables,
and stop at the first fault.

`tables` is RAM as entries of the format (int64, or int32 for i386). `mmu` is one CPU's state,
int64:

    0 ROOT    frame of the root table     1 LEVELS
    2 BITS    of an index; a table has 2^BITS entries
    3 WIDTH   of an address               4 USER   1 for user mode
    5 WP      supervisor writes respect read-only pages
    6 SLOTS   of the TLB                  7 HITS   8 WALKS
    9 ERROR  10 ADDRESS  of the last fault
    16 ...    the TLB, direct-mapped by page number: pairs of page number and what is known of it

A reference is an address with its kind in the two low bits: READ, WRITE or EXECUTE. What the TLB
knows of a page:

    frame << 12 | GLOBAL (256) | DIRTY (64) | NO_EXECUTE (8) | USER (4) | WRITE (2)

As in hardware, a page whose entry was changed in RAM is seen as before until its TLB slot is
flushed or taken by another page. The walk sets the accessed bit in every entry on its way and the
dirty bit in the last one on a write; PAE's root entries have neither. Both are set by
compare-and-swap, as the processor does, so that an entry which the executive takes away meanwhile
is not written back. The error code is the processor's: PRESENT 1, WRITE 2, USER 4, RESERVED 8
(never), FETCH 16.

Source: Intel SDM volume 3, sections 4.6 to 4.10. Departures: no global or separate instruction TLB,
no paging-structure caches.
"""

from __future__ import annotations

from octavo.machine.abi import (
    ACCESSED,
    DIRTY,
    FRAME_MASK,
    GLOBAL,
    LARGE,
    NARROW_BITS,
    NARROW_FRAMES,
    PAGE_SHIFT,
    PRESENT,
    WRITABLE,
)
from octavo.machine.abi import USER as FOR_USERS
from octavo.machine.kernels import Ints, compare_swap, kernel

ROOT, LEVELS, BITS, WIDTH, USER, WP, SLOTS, HITS, WALKS, ERROR, ADDRESS = range(11)
TLB = 16
READ, WRITE, EXECUTE = range(3)
EMPTY = -(1 << 60)  # no page number
AGAIN = -1
KNOWN_WRITE, KNOWN_USER, KNOWN_NX, KNOWN_DIRTY, KNOWN_GLOBAL = WRITABLE, FOR_USERS, 8, DIRTY, GLOBAL
_KNOWN_WRITTEN = KNOWN_WRITE | KNOWN_DIRTY
_RIGHTS = WRITABLE | FOR_USERS
_WORD = 0xFFC  # the part of a reference that is its place in the page
_KIND = 3
FAULT_PRESENT, FAULT_WRITE, FAULT_USER, FAULT_FETCH = 1, 2, 4, 16
_WIDTH_32 = 32


@kernel
def frame_in(entry: int, bits: int) -> int:
    """The frame that an entry leads to, in tables whose indexes have so many bits."""
    frame = (entry & FRAME_MASK) >> PAGE_SHIFT
    if bits == NARROW_BITS:
        frame &= NARROW_FRAMES
    return frame


@kernel
def is_bare(levels: int, level: int) -> bool:
    """True for PAE's root: its entries have neither rights nor accessed bits."""
    return levels == 3 and level == 2


@kernel
def fault(mmu: Ints, address: int, kind: int, present: int) -> int:
    """Notes a fault; returns 0."""
    error = present
    if mmu[USER]:
        error |= FAULT_USER
    if kind == WRITE:
        error |= FAULT_WRITE
    if kind == EXECUTE:
        error |= FAULT_FETCH
    mmu[ERROR] = error
    mmu[ADDRESS] = address
    return 0


@kernel
def walk(tables: Ints, mmu: Ints, address: int, kind: int) -> int:
    """What the TLB shall know of an address's page, after setting accessed and dirty bits; 0 for a
    fault, AGAIN when an entry changed meanwhile.
    """
    bits, levels = mmu[BITS], mmu[LEVELS]
    top = address >> (mmu[WIDTH] - 1)
    low, high = (0, 1) if mmu[WIDTH] == _WIDTH_32 else (-1, 0)  # sign-extended where it is longer
    if top < low or top > high:
        return fault(mmu, address, kind, 0)
    table, rights, nx, at, entry, level = mmu[ROOT], _RIGHTS, 0, 0, 0, levels
    while level > 0:
        level -= 1
        at = (table << bits) + (address >> (PAGE_SHIFT + level * bits) & ((1 << bits) - 1))
        entry = tables[at]
        if not entry & PRESENT:
            return fault(mmu, address, kind, 0)
        if not is_bare(levels, level):
            rights &= entry
            if bits != NARROW_BITS and entry < 0:  # its highest bit is NO_EXECUTE
                nx = KNOWN_NX
            if level and entry & LARGE:
                break
            if (
                level
                and not entry & ACCESSED
                and not compare_swap(tables, at, entry, entry | ACCESSED)
            ):
                return AGAIN
        table = frame_in(entry, bits)
    user = mmu[USER]
    forbidden = user and not rights & FOR_USERS
    if kind == WRITE and not rights & WRITABLE and (user or mmu[WP]):
        forbidden = True
    if forbidden or (kind == EXECUTE and nx):
        return fault(mmu, address, kind, FAULT_PRESENT)
    changed = entry | ACCESSED
    if kind == WRITE:
        changed |= DIRTY
    if changed != entry and not compare_swap(tables, at, entry, changed):
        return AGAIN
    frame = frame_in(entry, bits)
    if level:
        pages = 1 << (level * bits)
        frame = (frame & -pages) | (address >> PAGE_SHIFT & (pages - 1))
    return frame << PAGE_SHIFT | changed & (DIRTY | GLOBAL) | nx | rights


@kernel
def lowest(tables: Ints, root: int, levels: int, bits: int, page: int) -> int:
    """The index of a page's lowest-level entry; where a table is missing, -(its level) for the
    first that is.
    """
    table, level = root, levels - 1
    while level > 0:
        entry = tables[(table << bits) + (page >> (level * bits) & ((1 << bits) - 1))]
        if not entry & PRESENT:
            return -level
        table = frame_in(entry, bits)
        level -= 1
    return (table << bits) + (page & ((1 << bits) - 1))


@kernel
def translate(tables: Ints, mmu: Ints, reference: int) -> int:
    """The physical address of a reference; -1 for a fault, which ERROR and ADDRESS tell."""
    kind, page = reference & _KIND, reference >> PAGE_SHIFT
    slot = TLB + (page & (mmu[SLOTS] - 1)) * 2
    if mmu[slot] == page:
        known = mmu[slot + 1]
        allowed = known & KNOWN_USER or not mmu[USER]
        if kind == WRITE:
            allowed = allowed and known & _KNOWN_WRITTEN == _KNOWN_WRITTEN
        if kind == EXECUTE:
            allowed = allowed and not known & KNOWN_NX
        if allowed:
            mmu[HITS] += 1
            return known & FRAME_MASK | reference & _WORD
    mmu[WALKS] += 1
    known = AGAIN
    while known == AGAIN:
        known = walk(tables, mmu, reference & ~_KIND, kind)
    if known == 0:
        return -1
    mmu[slot] = page
    mmu[slot + 1] = known
    return known & FRAME_MASK | reference & _WORD


@kernel
def references(tables: Ints, mmu: Ints, refs: Ints, start: int, end: int) -> int:
    """Runs references [start, end); returns the index of the first that faults, else `end`."""
    for i in range(start, end):
        if translate(tables, mmu, refs[i]) < 0:
            return i
    return end


@kernel
def forget_page(mmu: Ints, page: int) -> None:
    """Flushes one page from the TLB."""
    slot = TLB + (page & (mmu[SLOTS] - 1)) * 2
    if mmu[slot] == page:
        mmu[slot] = EMPTY


@kernel
def forget_all(mmu: Ints, global_too: int) -> None:
    """Flushes the TLB; global pages stay unless `global_too`."""
    for slot in range(TLB, TLB + mmu[SLOTS] * 2, 2):
        if global_too or not mmu[slot + 1] & KNOWN_GLOBAL:
            mmu[slot] = EMPTY
