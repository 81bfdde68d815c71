"""2Q: new pages pass through a short FIFO (0); those that come back soon after they left it are
kept by LRU (1). Ghosts: 2.

Source: Johnson and Shasha, VLDB 1994, the full version, with their settings: the FIFO a quarter of
the pages, ghosts for half of them.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import (
    BASE,
    CAPACITY,
    KEY,
    NODE,
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
    """Into the FIFO, or into the LRU list if it is remembered."""
    ghost = ghost_of(s, key)
    if ghost:
        forget(s, ghost)
        enter(s, 1, node, key)
    else:
        enter(s, 0, node, key)


@kernel
def touch(s: Ints, node: int) -> None:
    """Counts in the LRU list only."""
    if list_of(s, node) == 1:
        move(s, 1, node)


@kernel
def victim(s: Ints) -> int:
    """From the FIFO while it is longer than its share, else the least recently used."""
    if list_count(s, 0) > s[CAPACITY] >> 2 or list_count(s, 1) == 0:
        node = list_head(s, 0)
        remember(s, 2, s[BASE + node * NODE + KEY], 0, s[CAPACITY] >> 1)
    else:
        node = list_head(s, 1)
    leave(s, node)
    return node
