"""LRU: the page that was not used for longest leaves. Live, "used" is what the accessed bits say:
in the order of addresses since they were last looked at.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import enter, leave, list_head, move


@kernel
def insert(s: Ints, node: int, key: int) -> None:
    """At the tail."""
    enter(s, 0, node, key)


@kernel
def touch(s: Ints, node: int) -> None:
    """To the tail."""
    move(s, 0, node)


@kernel
def victim(s: Ints) -> int:
    """The head."""
    node = list_head(s, 0)
    leave(s, node)
    return node
