"""The order in which mutexes are taken, recorded while tests pre-empt threads; a circle is told
with both stacks.

    thread has A, asks for B      A before B, and the places where it did so
    later: has B, asks for A      LockOrderError, even if nobody waits this time

Mutexes count by name: two volumes' mutexes are one class, and taking one while the other is held is
a circle of one.

Source: Linux's lockdep and FreeBSD's WITNESS, which keep classes and the first place of each pair.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from octavo.threads.thread import Thread
    from octavo.threads.wait import Mutex

Place = tuple[str, ...]  # innermost first
DEPTH = 12


class LockOrderError(AssertionError):
    """Two threads that take mutexes so may wait for each other for ever."""


class LockOrder:
    """Which mutexes were taken under which. `thread` is the one that runs."""

    def __init__(self) -> None:
        self.thread: Thread | None = None
        self.held: dict[Mutex, tuple[Thread | None, Place]] = {}
        self.pairs: dict[tuple[str, str], tuple[Place, Place]] = {}  # (first, second) -> where

    def wants(self, mutex: Mutex) -> None:
        """The thread that runs is about to take a mutex. LockOrderError where that closes a
        circle.
        """
        for other, (owner, place) in self.held.items():
            if owner is self.thread and (other.name, mutex.name) not in self.pairs:
                here = _place()
                self._refuse_circle(other.name, mutex.name, place, here)
                self.pairs[other.name, mutex.name] = place, here

    def has(self, mutex: Mutex) -> None:
        """The thread that runs has taken it."""
        self.held[mutex] = self.thread, _place()

    def gives(self, mutex: Mutex) -> None:
        """It is given back, or handed over."""
        self.held.pop(mutex, None)

    def _refuse_circle(self, first: str, second: str, held: Place, taken: Place) -> None:
        back = [second]  # every class that was ever taken under the second one
        for name in back:
            if name == first:
                raise LockOrderError(self._circle(first, second, held, taken))
            back += [b for a, b in self.pairs if a == name and b not in back]

    def _circle(self, first: str, second: str, held: Place, taken: Place) -> str:
        """The sentence, with both stacks."""
        text = f"{second} is taken while {first} is held{_shown(held)}\ntaken{_shown(taken)}"
        for (a, b), (before, after) in self.pairs.items():
            if a == second or b == first:
                text += (
                    f"\nbut {b} was taken while {a} was held{_shown(before)}\ntaken{_shown(after)}"
                )
        return text


def _shown(place: Place) -> str:
    return ":\n    " + "\n    ".join(place)


def _place() -> Place:
    """Where the thread that runs is: functions and lines, innermost first."""
    out: list[str] = []
    frame = sys._getframe(2)
    while frame is not None and len(out) < DEPTH:
        code = frame.f_code
        if "octavo/threads/" not in code.co_filename:
            out.append(f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})")
        frame = frame.f_back  # type: ignore[assignment]  # None at the outermost
    return tuple(out)
