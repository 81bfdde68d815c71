"""ARC: pages seen once (T1, list 0) and more than once (T2, 1); ghosts of both (B1, 2; B2, 3) move
the target for T1's length.

Source: Megiddo and Modha, FAST 2003. Departures: the target moves by whole pages; live, pages come
and go in batches, so that list lengths may pass their bounds until the next eviction.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import (
    BASE,
    CAPACITY,
    HAND,
    KEY,
    NODE,
    TARGET,
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

GHOSTS_PER_PAGE = 2


@kernel
def miss(s: Ints, key: int) -> None:
    """A ghost of T1 asks for a longer T1, one of T2 for a shorter one. HAND notes which ghost was
    hit, for the victim and the insert.
    """
    ghost = ghost_of(s, key)
    s[HAND] = 0
    if ghost == 0:
        return
    ones, twos = list_count(s, 2), list_count(s, 3)
    if list_of(s, ghost) == 2:
        s[TARGET] = min(s[CAPACITY], s[TARGET] + max(1, twos // ones))
    else:
        s[TARGET] = max(0, s[TARGET] - max(1, ones // twos))
        s[HAND] = 1


@kernel
def insert(s: Ints, node: int, key: int) -> None:
    """Into T2 if it is remembered, else into T1; the ghost lists keep within the capacity."""
    ghost = ghost_of(s, key)
    if ghost:
        forget(s, ghost)
        enter(s, 1, node, key)
    else:
        enter(s, 0, node, key)
        while list_count(s, 0) + list_count(s, 2) > s[CAPACITY] and list_count(s, 2):
            forget(s, list_head(s, 2))
        while list_count(s, 0) + list_count(s, 1) + list_count(s, 2) + list_count(s, 3) > 2 * s[
            CAPACITY
        ] and list_count(s, 3):
            forget(s, list_head(s, 3))
    s[HAND] = 0


@kernel
def touch(s: Ints, node: int) -> None:
    """Seen again: to the tail of T2."""
    move(s, 1, node)


@kernel
def victim(s: Ints) -> int:
    """T1's oldest while T1 is longer than its target, else T2's."""
    ones = list_count(s, 0)
    if ones and (ones > s[TARGET] or (s[HAND] and ones == s[TARGET]) or list_count(s, 1) == 0):
        node = list_head(s, 0)
        if ones < s[CAPACITY] or s[HAND]:  # for a new page, a full T1 drops its oldest for good
            remember(s, 2, s[BASE + node * NODE + KEY], 0, s[CAPACITY])
    else:
        node = list_head(s, 1)
        # One more than there may be: the ghost that was hit stays there until the page is in.
        remember(s, 3, s[BASE + node * NODE + KEY], 0, s[CAPACITY] + 1)
    leave(s, node)
    return node
