"""Accessed bits of page tables, brought to a replacement policy; and pages that a kernel has made.
Compiled with the policy's kernels.

`tables` is RAM as entries of the format, `s` the policy's array
(`octavo.memory.reclaim.policies.lists`), `words` the PFN database.
"""

from __future__ import annotations

from octavo.machine.abi import ACCESSED, NEXT, PRESENT, PREV, PTE, WORDS
from octavo.machine.kernels import Ints, kernel
from octavo.machine.mmukernels import frame_in, lowest
from octavo.memory.reclaim.policies.lists import (
    BASE,
    FRESH,
    NODE,
    SLOTS,
    insert,
    key_of,
    list_of,
    touch,
)

_IN_USE = PRESENT | ACCESSED


@kernel
def look(s: Ints, frame: int) -> None:
    """An accessed bit was found set: the fault that brought the page did it the first time, from
    then on it was used again.
    """
    if frame <= s[SLOTS]:
        here = BASE + frame * NODE
        if list_of(s, frame) >= 0:
            if s[here + FRESH]:
                s[here + FRESH] = 0
            else:
                touch(s, frame)


@kernel
def harvest(tables: Ints, s: Ints, root: int, levels: int, bits: int, first: int, end: int) -> int:
    """Takes the accessed bits of pages [first, end) away and tells the policy; returns how many
    were set. What has no table costs nothing.
    """
    page, found, at, left = first, 0, 0, 0
    while page < end:
        if left == 0:
            at = lowest(tables, root, levels, bits, page)
            if at < 0:
                page = ((page >> (-at * bits)) + 1) << (-at * bits)
                continue
            left = (1 << bits) - (page & ((1 << bits) - 1))
        entry = tables[at]
        if entry & _IN_USE == _IN_USE:
            tables[at] = entry & ~ACCESSED
            look(s, frame_in(entry, bits))
            found += 1
        page += 1
        at += 1
        left -= 1
    return found


@kernel
def enter_many(s: Ints, words: Ints, frames: Ints, count: int, owner: int) -> None:
    """Tells the policy of private pages that have come into frames; their PFN entries say which
    (`octavo.memory.reclaim.replacement`).
    """
    for i in range(count):
        frame = frames[i]
        page = words[frame * WORDS + NEXT] | words[frame * WORDS + PREV] << 31
        words[frame * WORDS + PTE] = owner
        insert(s, frame, key_of(owner, page, 0))


@kernel
def enter_keys(s: Ints, words: Ints, pairs: Ints, count: int) -> None:
    """Tells the policy of sections' pages that have their first entry now: pairs of frame and key,
    in which a frame may stand twice.
    """
    for i in range(count):
        frame = pairs[2 * i]
        if list_of(s, frame) < 0:
            insert(s, frame, pairs[2 * i + 1])
