"""Ctrl-C in a program that uses Octavo: it comes when no kernel thread is halfway.

Python raises KeyboardInterrupt wherever the main thread is. In a kernel thread that is between two
steps of a change, which would then be in memory by half, and the thread's mutexes would stay taken.
So while there are systems, and where Python's own handler is in place, ours is: it raises at once
unless the main thread is in a scheduler's `run` or `pump`, and else at the end of that. A second
one comes also where all kernel threads wait, for a device or for something that may never come.

A program with a handler of its own keeps it, and should call `Scheduler.interrupt`.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

from octavo.threads.scheduler import Scheduler

_systems = 0


def take() -> None:
    """One more system."""
    global _systems
    _systems += 1
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        signal.signal(signal.SIGINT, _interrupt)


def give_back() -> None:
    """One less; with the last one, if it ends in the main thread, Python's handler is back."""
    global _systems
    assert _systems > 0
    _systems -= 1
    if (
        not _systems
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is _interrupt
    ):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    Scheduler.interrupt(KeyboardInterrupt())
