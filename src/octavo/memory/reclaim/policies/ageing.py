"""Ageing, as NT's working sets have it: four ages (lists 0 to 3); a use makes a page young, each
tick makes all older; the oldest leave.

Source: ReactOS's wslist (age 0 when accessed, one more at each pass, trimmed from 3 on). Departure:
when frames are wanted at once and nothing is of age 3, the oldest there are leave.
"""

from __future__ import annotations

from octavo.machine.kernels import Ints, kernel
from octavo.memory.reclaim.policies.lists import enter, leave, list_head, move


@kernel
def insert(s: Ints, node: int, key: int) -> None:
    """Young."""
    enter(s, 0, node, key)


@kernel
def touch(s: Ints, node: int) -> None:
    """Young again."""
    move(s, 0, node)


@kernel
def tick(s: Ints) -> None:
    """All are one older, up to 3."""
    age = 2
    while age >= 0:
        node = list_head(s, age)
        while node:
            move(s, age + 1, node)
            node = list_head(s, age)
        age -= 1


@kernel
def victim(s: Ints) -> int:
    """The first of the oldest."""
    age = 3
    while list_head(s, age) == 0:
        age -= 1
    node = list_head(s, age)
    leave(s, node)
    return node
