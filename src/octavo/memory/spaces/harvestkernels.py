"""Accessed bits of page tables, brought to a replacement policy; and pages that a kernel has made. Compiled with the policy's kernels.

`tables` is RAM as entries of the format, `s` the policy's array (`octavo.memory.policies.lists`), `words` the PFN database.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints
from octavo.machine.mmukernels import lowest
from octavo.memory.policies.fifo import insert, touch  # stand for the policy's own, see `Policy`
from octavo.memory.policies.lists import BASE, FRESH, NODE, SLOTS, key_of, list_of

_FRAMES = (1 << 52) - 4096
_PRESENT_ACCESSED = 33
_ACCESSED = 32


def look(s: Ints, frame: int) -> None:
    """An accessed bit was found set: the fault that brought the page did it the first time, from then on it was used again."""
    if frame <= s[SLOTS]:
        here = BASE + frame * NODE
        if list_of(s, frame) >= 0:
            if s[here + FRESH]:
                s[here + FRESH] = 0
            else:
                touch(s, frame)


def harvest(tables: Ints, s: Ints, root: int, levels: int, bits: int, first: int, end: int) -> int:
    """Takes the accessed bits of pages [first, end) away and tells the policy; returns how many were set. What has no table costs nothing."""
    page, found, at, left = first, 0, 0, 0
    while page < end:
        if left == 0:
            at = lowest(tables, root, levels, bits, page)
            if at < 0:
                page = ((page >> (-at * bits)) + 1) << (-at * bits)
                continue
            left = (1 << bits) - (page & ((1 << bits) - 1))
        entry = tables[at]
        if entry & _PRESENT_ACCESSED == _PRESENT_ACCESSED:
            tables[at] = entry & ~_ACCESSED
            frame = (entry & _FRAMES) >> 12
            if bits == 10:
                frame &= 0xFFFFF
            look(s, frame)
            found += 1
        page += 1
        at += 1
        left -= 1
    return found


def enter_many(s: Ints, words: Ints, frames: Ints, count: int, owner: int) -> None:
    """Tells the policy of private pages that have come into frames; their PFN entries say which (`octavo.memory.spaces.replacement`)."""
    for i in range(count):
        frame = frames[i]
        page = words[frame * 8] | words[frame * 8 + 1] << 31
        words[frame * 8 + 2] = owner
        insert(s, frame, key_of(owner, page, 0))


def enter_keys(s: Ints, words: Ints, pairs: Ints, count: int) -> None:
    """Tells the policy of sections' pages that have their first entry now: pairs of frame and key, in which a frame may stand twice."""
    for i in range(count):
        frame = pairs[2 * i]
        if list_of(s, frame) < 0:
            insert(s, frame, pairs[2 * i + 1])


KERNELS = ("look", "harvest", "enter_many", "enter_keys")
