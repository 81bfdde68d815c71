"""Replay: a trace of pages over a policy, as a kernel.

`index` is a table of 2^bits places that finds the nodes of resident pages by key, as the one of
ghosts does.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import (
    BASE,
    CAPACITY,
    COUNT,
    KEY,
    NODE,
    clear_place,
    find_place,
    insert,
    miss,
    touch,
    victim,
)


@kernel
def replay(s: Ints, index: Ints, bits: int, keys: Ints, start: int, end: int, victims: Ints) -> int:
    """Runs references [start, end) by key; returns the misses, and notes in `victims` the key that
    each miss has evicted, -1 for none.
    """
    misses = 0
    for i in range(start, end):
        key = keys[i]
        at = find_place(s, index, 0, bits, key)
        if index[at] != 0:
            touch(s, index[at])
            continue
        miss(s, key)
        node = s[COUNT] + 1
        gone = -1
        if s[COUNT] >= s[CAPACITY]:
            node = victim(s)
            gone = s[BASE + node * NODE + KEY]
            clear_place(s, index, 0, bits, find_place(s, index, 0, bits, gone))
            at = find_place(s, index, 0, bits, key)
        if misses < len(victims):
            victims[misses] = gone
        misses += 1
        insert(s, node, key)
        index[at] = node
    return misses
