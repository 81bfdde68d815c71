"""Second chance: FIFO, but a page that was used goes to the tail once more instead (its mark is
lost by that).
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import BASE, NODE, REF, enter, leave, list_head, move


@kernel
def insert(s: Ints, node: int, key: int) -> None:
    """At the tail, not marked."""
    enter(s, 0, node, key)


@kernel
def touch(s: Ints, node: int) -> None:
    """Marks it."""
    s[BASE + node * NODE + REF] = 1


@kernel
def victim(s: Ints) -> int:
    """The first one without a mark."""
    node = list_head(s, 0)
    while s[BASE + node * NODE + REF]:
        s[BASE + node * NODE + REF] = 0
        move(s, 0, node)
        node = list_head(s, 0)
    leave(s, node)
    return node
