"""FIFO: the page that came first leaves first. What all others are measured by."""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import enter, leave, list_head


@kernel
def insert(s: Ints, node: int, key: int) -> None:
    """At the tail."""
    enter(s, 0, node, key)


@kernel
def touch(s: Ints, node: int) -> None:
    """Makes no difference."""


@kernel
def victim(s: Ints) -> int:
    """The head."""
    node = list_head(s, 0)
    leave(s, node)
    return node
