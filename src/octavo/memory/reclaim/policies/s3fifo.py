"""S3-FIFO: a small FIFO (0) that most pages leave at once, a main one (1) for those used again,
ghosts of the small one (2).

Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023: small is a tenth,
two uses promote, marks count to 3.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import (
    BASE,
    CAPACITY,
    KEY,
    NODE,
    REF,
    enter,
    forget,
    ghost_of,
    leave,
    list_count,
    list_head,
    move,
    remember,
)

GHOSTS_PER_PAGE = 1


@kernel
def insert(s: Ints, node: int, key: int) -> None:
    """Into the small FIFO, or into the main one if it is remembered."""
    ghost = ghost_of(s, key)
    if ghost:
        forget(s, ghost)
        enter(s, 1, node, key)
    else:
        enter(s, 0, node, key)


@kernel
def touch(s: Ints, node: int) -> None:
    """Counts up to 3."""
    here = BASE + node * NODE + REF
    s[here] = min(3, s[here] + 1)


@kernel
def victim(s: Ints) -> int:
    """From the small FIFO while it has its tenth: used twice, a page goes on to the main one.
    There, uses are counted down.
    """
    while True:
        if list_count(s, 0) and (
            list_count(s, 0) >= max(1, s[CAPACITY] // 10) or list_count(s, 1) == 0
        ):
            node = list_head(s, 0)
            if s[BASE + node * NODE + REF] < 2:
                remember(s, 2, s[BASE + node * NODE + KEY], 0, s[CAPACITY] - s[CAPACITY] // 10)
                leave(s, node)
                return node
            s[BASE + node * NODE + REF] = 0
            move(s, 1, node)
        else:
            node = list_head(s, 1)
            if s[BASE + node * NODE + REF] == 0:
                leave(s, node)
                return node
            s[BASE + node * NODE + REF] -= 1
            move(s, 1, node)
