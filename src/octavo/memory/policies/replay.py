"""Replay: a trace of pages over a policy, as a kernel.

`index` finds resident pages by key: open addressing as in `octavo.memory.policies.lists`, two words a place (key + 1, node).
"""

from __future__ import annotations

from octavo.machine.kernels import Ints
from octavo.memory.policies.fifo import insert, touch, victim  # stand for the policy's own, see `Policy`
from octavo.memory.policies.lists import BASE, CAPACITY, COUNT, KEY, NODE, miss


def home_of(key: int, bits: int) -> int:
    """Where in the index the search for a key begins."""
    return ((key ^ key >> 31) & 0x7FFFFFFF) * 2654435761 % 4294967296 >> (32 - bits)


def find_key(index: Ints, bits: int, key: int) -> int:
    """The place of a key, or of the free place where it would go."""
    mask = (1 << bits) - 1
    at = home_of(key, bits)
    while index[at * 2] != 0 and index[at * 2] != key + 1:
        at = (at + 1) & mask
    return at


def drop_key(index: Ints, bits: int, at: int) -> None:
    """Frees a place; what stands behind it moves up."""
    mask = (1 << bits) - 1
    hole = at
    at = (at + 1) & mask
    while index[at * 2] != 0:
        if (at - home_of(index[at * 2] - 1, bits)) & mask >= (at - hole) & mask:
            index[hole * 2] = index[at * 2]
            index[hole * 2 + 1] = index[at * 2 + 1]
            hole = at
        at = (at + 1) & mask
    index[hole * 2] = 0


def replay(s: Ints, index: Ints, bits: int, keys: Ints, start: int, end: int, victims: Ints) -> int:
    """Runs references [start, end) by key; returns the misses, and notes in `victims` the key that each miss has evicted, -1 for none."""
    misses = 0
    for i in range(start, end):
        key = keys[i]
        at = find_key(index, bits, key)
        if index[at * 2] != 0:
            touch(s, index[at * 2 + 1])
            continue
        miss(s, key)
        node = s[COUNT] + 1
        gone = -1
        if s[COUNT] >= s[CAPACITY]:
            node = victim(s)
            gone = s[BASE + node * NODE + KEY]
            drop_key(index, bits, find_key(index, bits, gone))
            at = find_key(index, bits, key)
        if misses < len(victims):
            victims[misses] = gone
        misses += 1
        insert(s, node, key)
        index[at * 2] = key + 1
        index[at * 2 + 1] = node
    return misses


KERNELS = ("home_of", "find_key", "drop_key", "replay")
