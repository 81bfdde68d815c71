"""Host threads for calls that block: the scheduler hands a call over and gets a completion back.

A worker runs nothing of Octavo but the one call it was given (a `preadv`, a `pwritev`, an `fsync`).
Workers are started when first needed, at most `WORKERS`, and are daemons: they hold up no exit.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from math import inf
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from octavo.status import StatusError

WORKERS = 4
RINGS = 64  # bytes of rings that are read at once
_ONE = (1).to_bytes(8, sys.byteorder)  # what an eventfd takes

Call = Callable[[], Any]


class HostLock(Protocol):
    """A lock of the host's whose owner may take it again, as `threading.RLock()` makes."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...

    def release(self) -> None: ...

    def __enter__(self) -> bool: ...

    def __exit__(self, *_: Any) -> None: ...


class Completion:
    """The outcome of one call: `result`, or the exception in `error`."""

    __slots__ = ("call", "done", "result", "error")

    def __init__(self, call: Call, done: Callable[[Completion], None]) -> None:
        self.call = call
        self.done = done
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Makes the call, in whatever thread this is."""
        try:
            self.result = self.call()
        except BaseException as error:  # noqa: BLE001 -- raised again in the thread that asked
            self.error = error

    def finish(self) -> None:
        """Makes the call here and now, and delivers it."""
        self.run()
        self.done(self)


class Workers:
    """A pool that runs completions and queues them for the scheduler's thread: the one source of
    completions (`octavo.threads.sources`) that can be waited for without a descriptor.

    `fd` is there once somebody has armed it. A worker writes to it only while the loop sleeps on
    it, or is about to: whoever of the two comes later sees what the other has done, `_asleep` or
    the completion in `_finished`.
    """

    name = "host calls"
    due = inf

    def __init__(self) -> None:
        self.fd = -1
        self.pending = 0  # calls under way
        self._bell = -1  # where a worker writes: the same, or the other end of a pipe
        self._jobs: SimpleQueue[Completion | None] = SimpleQueue()
        self._finished: SimpleQueue[Completion] = SimpleQueue()
        self._threads = 0
        self._asleep = self._rung = False
        self._ringing = threading.Lock()  # nobody writes to a descriptor that is closed meanwhile

    def submit(self, completion: Completion) -> None:
        """Starts a call on some worker."""
        self.pending += 1
        if self._threads < min(WORKERS, self.pending):
            self._threads += 1
            threading.Thread(
                target=self._serve, name=f"octavo-worker-{self._threads}", daemon=True
            ).start()
        self._jobs.put(completion)

    def _serve(self) -> None:
        while (completion := self._jobs.get()) is not None:
            completion.run()
            self._finished.put(completion)
            if self._asleep:
                self._ring()

    def _ring(self) -> None:
        with self._ringing:
            if self._asleep:
                self._rung = True
                os.write(self._bell, _ONE)

    def wait(self, seconds: float) -> None:
        """Waits up to `seconds` for a finished call, and delivers those that there are: for a loop
        that waits for nothing else.
        """
        try:
            completion = self._finished.get(seconds > 0, None if seconds == inf else seconds)
        except Empty:
            return
        while True:
            self.pending -= 1
            completion.done(completion)
            if self._finished.empty():  # the scheduler's thread is the only one that takes
                return
            completion = self._finished.get_nowait()

    def arm(self) -> bool:
        """From now on a worker that has finished writes to `fd`."""
        if self.fd < 0:
            self.fd, self._bell = _bell()
        self._asleep = True
        return self._finished.empty()

    def collect(self) -> None:
        """Delivers finished calls."""
        self._asleep = False
        if self._rung:
            self._rung = False
            try:
                os.read(self.fd, RINGS)
            except BlockingIOError:  # set just before the ring, which is heard the next time
                self._rung = True
        if not self._finished.empty():
            self.wait(0)

    def close(self, error: StatusError) -> None:
        """Ends the host threads once they have finished what they have; nobody hears of it."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0
        with self._ringing:
            self._asleep = False
            for fd in {self.fd, self._bell} - {-1}:
                os.close(fd)
            self.fd = self._bell = -1


def _bell() -> tuple[int, int]:
    """A descriptor to read from and one to write to that wakes who polls the first."""
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return fd, fd
    reader, writer = os.pipe()  # more rings than a pipe holds wait for the loop, which reads them
    os.set_blocking(reader, False)
    return reader, writer
