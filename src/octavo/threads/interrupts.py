"""Ctrl-C in a program that uses Octavo: it comes when no kernel thread is halfway.

Python raises KeyboardInterrupt wherever the main host thread is. In a kernel thread that is between
two steps of a change, which would then be in memory by half, and the thread's mutexes would stay
taken. So while there are systems, and where Python's own handler is in place, ours is: it raises at
once unless the main thread is in a scheduler's `run` or `pump`, and else at the end of that. A
second one comes also where all kernel threads wait, for a device or for something that may never
come, unless that is in an `uninterrupted` block; what they do goes on in the next `run` then. Other
host threads go on in any case.

A program with a handler of its own keeps it, and should call `Scheduler.interrupt`.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType


class Terminated(KeyboardInterrupt):
    """The program is asked to end, by the signal `number`; Ctrl-C only asks what it does now to
    end.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Interrupts:
    """What is known of an interrupt that had to wait."""

    def __init__(self) -> None:
        self.blocks = 0  # `uninterrupted` ones that the main host thread is in
        self.put_off: KeyboardInterrupt | None = None
        self.insisted = False  # it was asked for once more
        self.runs: set[CodeType] = set()  # of the functions that drive kernel threads
        self.systems = 0


interrupts = Interrupts()


def runs_in(*functions: Callable[..., object]) -> None:
    """Methods that drive kernel threads; their `self` says by `is_running` whether it does."""
    interrupts.runs.update(f.__code__ for f in functions)


def interrupt(error: KeyboardInterrupt) -> None:
    """For handlers of signals: raises `error` now, or when the kernel thread that runs has ended;
    see above.
    """
    if not (interrupts.blocks or _in_a_run(sys._getframe(1))):
        raise error
    interrupts.insisted = interrupts.put_off is not None
    if not isinstance(interrupts.put_off, Terminated):
        interrupts.put_off = error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A `with` block in which an interrupt waits for `interruption_point`, or for the end of the
    block. In other host threads than the main one nothing has to wait.
    """
    main = _in_main()
    interrupts.blocks += main
    try:
        yield
    finally:
        interrupts.blocks -= main
        let_in()


@contextmanager
def interruptible() -> Iterator[None]:
    """A `with` block inside an uninterrupted one in which an interrupt comes at once."""
    interruption_point()
    before, main = interrupts.blocks, _in_main()
    if main:
        interrupts.blocks = 0
    try:
        yield
    finally:
        if main:
            interrupts.blocks = before


def interruption_point() -> None:
    """Raises the KeyboardInterrupt that was put off, if there is one, in the main host thread."""
    error = interrupts.put_off
    if error is not None and _in_main():
        interrupts.put_off, interrupts.insisted = None, False
        raise error


def is_put_off() -> bool:
    """Whether an interrupt waits for this host thread."""
    return interrupts.put_off is not None and _in_main()


def let_in() -> None:
    """An interruption point, where nothing is under way."""
    if interrupts.put_off and not (interrupts.blocks or _in_a_run(sys._getframe(1))):
        interruption_point()


def _in_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _in_a_run(frame: FrameType | None) -> bool:
    """Whether a scheduler is running in a frame or those that called it."""
    while frame is not None:
        if frame.f_code in interrupts.runs and frame.f_locals["self"].is_running:
            return True
        frame = frame.f_back
    return False


def take() -> None:
    """One more system."""
    interrupts.systems += 1
    if _in_main() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_signal)


def give_back() -> None:
    """One less; with the last one, if it ends in the main thread, Python's handler is back."""
    assert interrupts.systems > 0
    interrupts.systems -= 1
    if not interrupts.systems and _in_main() and signal.getsignal(signal.SIGINT) is _on_signal:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _on_signal(number: int, frame: FrameType | None) -> None:
    interrupt(KeyboardInterrupt())
