"""SIEVE: FIFO with marks; a hand goes from the oldest to the newest, takes marks away and evicts
where there is none, in place.

Source: Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import (
    BASE,
    HAND,
    NEXT,
    NODE,
    REF,
    enter,
    leave,
    list_head,
)


@kernel
def insert(s: Ints, node: int, key: int) -> None:
    """The newest, not marked."""
    enter(s, 0, node, key)


@kernel
def touch(s: Ints, node: int) -> None:
    """Marks it, where it is."""
    s[BASE + node * NODE + REF] = 1


@kernel
def victim(s: Ints) -> int:
    """The next one from the hand on without a mark; the hand stays behind it."""
    node = s[HAND]
    if node == 0:
        node = list_head(s, 0)
    while s[BASE + node * NODE + REF]:
        s[BASE + node * NODE + REF] = 0
        node = s[BASE + node * NODE + NEXT]
        if node == 0:
            node = list_head(s, 0)
    s[HAND] = s[BASE + node * NODE + NEXT]
    leave(s, node)
    return node


@kernel
def remove(s: Ints, node: int) -> None:
    """The hand does not stay on a frame that has gone."""
    if s[HAND] == node:
        s[HAND] = s[BASE + node * NODE + NEXT]
    leave(s, node)
