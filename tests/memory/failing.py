"""Frames whose taking fails at will, and where the kernel's allocators are."""

from __future__ import annotations

from collections.abc import Callable

from octavo.machine.abi import State
from octavo.memory.frames.buddy import Run
from octavo.memory.frames.physical import PhysicalMemory

PLACES = {
    "nonpaged pool": (0xFFFFFA8000000000, 8),
    "paged pool": (0xFFFFF8A000000000, 64),
    "system PTEs": (0xFFFFF88000000000, 200),
}


EXPANSION = {"nonpaged expansion": (0xFFFFFA8000008000, 64)}


class Failing:
    """Makes the k-th taking of frames fail: `left` calls from now, never while it is negative."""

    def __init__(self, physical: PhysicalMemory) -> None:
        self.left = -1
        self.inside = False
        for name in ("try_take", "try_take_zeroed"):
            setattr(physical, name, self.wrap(getattr(physical, name)))

    def wrap(self, real: Callable[..., list[Run] | None]) -> Callable[..., list[Run] | None]:
        """The same method; what it calls itself is not counted."""

        def take(count: int, state: State, privileged: bool = False) -> list[Run] | None:
            if self.inside:
                return real(count, state, privileged)
            self.left -= 1
            if self.left == 0:
                return None
            self.inside = True
            try:
                return real(count, state, privileged)
            finally:
                self.inside = False

        return take
