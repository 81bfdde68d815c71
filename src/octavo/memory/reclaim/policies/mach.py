"""Mach: active and inactive queues, each for external pages (0, 2) and internal ones (1, 3); a use
on the inactive queue is a second chance.

The active queues are FIFO. While more than a third of all pages is active, their oldest become
inactive and lose their mark. External inactive pages leave first: internal ones, which must be
written to a page file, only when there are none.

Source: GNU Mach's vm/vm_page.c. Departure: one set of queues, not one a zone (there: segment).
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import (
    BASE,
    COUNT,
    KEY,
    NODE,
    REF,
    enter,
    leave,
    list_count,
    list_head,
    move,
)


@kernel
def insert(s: Ints, node: int, key: int) -> None:
    """Active."""
    enter(s, 1 - (key & 1), node, key)


@kernel
def touch(s: Ints, node: int) -> None:
    """Marks it."""
    s[BASE + node * NODE + REF] = 1


@kernel
def refill(s: Ints) -> None:
    """Makes the oldest active pages inactive until a third of all is active; external ones first
    while they are more.
    """
    while (list_count(s, 0) + list_count(s, 1)) * 3 > s[COUNT]:
        which = 0 if list_count(s, 0) >= list_count(s, 1) else 1
        node = list_head(s, which)
        s[BASE + node * NODE + REF] = 0
        move(s, which + 2, node)


@kernel
def victim(s: Ints) -> int:
    """The first inactive page without a mark, external before internal; marked ones become active
    again.
    """
    while True:
        refill(s)
        which = 2 if list_count(s, 2) else 3
        node = list_head(s, which)
        if node == 0:  # so few that none is inactive
            node = list_head(s, 0)
            if node == 0:
                node = list_head(s, 1)
            s[BASE + node * NODE + REF] = 0
        if s[BASE + node * NODE + REF] == 0:
            leave(s, node)
            return node
        s[BASE + node * NODE + REF] = 0
        move(s, 1 - (s[BASE + node * NODE + KEY] & 1), node)
