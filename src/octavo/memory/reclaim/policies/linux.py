"""Linux-like: inactive and active lists for file pages (0, 1) and anonymous ones (2, 3), and the
refault distance.

A page begins inactive; its second use makes it active. An evicted page leaves a shadow (ghost, list
4) with the number of evictions and activations so far. When it comes back, the difference is how
many more pages would have kept it: if that is no more than are active, it is active at once. Active
pages become inactive again while there are fewer inactive ones.

Source: mm/workingset.c and mm/vmscan.c as documented in Linux's admin guide and workingset
comments. Departures: file pages go first while they are more than an eighth of all, in place of a
scan balance; no generations, no per-node lists.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import (
    BASE,
    CAPACITY,
    CLOCK,
    COUNT,
    KEY,
    NODE,
    REF,
    enter,
    forget,
    ghost_of,
    leave,
    list_count,
    list_head,
    list_of,
    move,
    remember,
)

GHOSTS_PER_PAGE = 1


@kernel
def insert(s: Ints, node: int, key: int) -> None:
    """Inactive, or active after a short refault distance."""
    group = 2 - 2 * (key & 1)
    ghost = ghost_of(s, key)
    active = 0
    if ghost:
        if s[CLOCK] - s[BASE + ghost * NODE + REF] <= list_count(s, 1) + list_count(s, 3):
            active = 1
            s[CLOCK] += 1
        forget(s, ghost)
    enter(s, group + active, node, key)


@kernel
def touch(s: Ints, node: int) -> None:
    """The first use of an inactive page marks it, the second makes it active."""
    here = BASE + node * NODE
    if s[here + REF] and not list_of(s, node) & 1:
        s[here + REF] = 0
        s[CLOCK] += 1
        move(s, list_of(s, node) + 1, node)
    else:
        s[here + REF] = 1


@kernel
def victim(s: Ints) -> int:
    """The oldest inactive page that was not used since it was last looked at."""
    while True:
        group = 0
        if (list_count(s, 0) + list_count(s, 1)) * 8 <= s[COUNT] and list_count(s, 2) + list_count(
            s, 3
        ) > 0:
            group = 2
        while list_count(s, group) < list_count(s, group + 1):
            node = list_head(s, group + 1)
            s[BASE + node * NODE + REF] = 0
            move(s, group, node)
        node = list_head(s, group)
        if s[BASE + node * NODE + REF] == 0:
            s[CLOCK] += 1
            remember(s, 4, s[BASE + node * NODE + KEY], s[CLOCK], s[CAPACITY])
            leave(s, node)
            return node
        s[BASE + node * NODE + REF] = 0
        move(s, group, node)
