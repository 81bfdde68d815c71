"""CLOCK: a hand goes round over the frames by number, takes marks away, and stops at a frame
without one (Corbato 1968).

Unlike second chance it keeps no order: a frame stays where it is, whichever page comes into it.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import BASE, HAND, NODE, REF, SLOTS, enter, leave, list_of


@kernel
def insert(s: Ints, node: int, key: int) -> None:
    """Not marked."""
    enter(s, 0, node, key)


@kernel
def touch(s: Ints, node: int) -> None:
    """Marks it."""
    s[BASE + node * NODE + REF] = 1


@kernel
def victim(s: Ints) -> int:
    """The next frame in use without a mark."""
    node = s[HAND]
    while True:
        node = node + 1 if node < s[SLOTS] else 1
        here = BASE + node * NODE
        if list_of(s, node) == 0:
            if s[here + REF] == 0:
                s[HAND] = node
                leave(s, node)
                return node
            s[here + REF] = 0
