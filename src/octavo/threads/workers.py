"""Host threads for calls that block: the scheduler hands a call over and gets a completion back.

A worker runs nothing of Octavo but the one call it was given (a `preadv`, a `pwritev`, an `fsync`).
Workers are started when first needed, at most `WORKERS`, and are daemons: they hold up no exit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol

WORKERS = 4

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
    """A pool that runs completions and queues them for the scheduler's thread."""

    def __init__(self) -> None:
        self.outstanding = 0
        self._jobs: SimpleQueue[Completion | None] = SimpleQueue()
        self._finished: SimpleQueue[Completion] = SimpleQueue()
        self._threads = 0

    def submit(self, completion: Completion) -> None:
        """Starts a call on some worker."""
        self.outstanding += 1
        if self._threads < min(WORKERS, self.outstanding):
            self._threads += 1
            threading.Thread(
                target=self._serve, name=f"octavo-worker-{self._threads}", daemon=True
            ).start()
        self._jobs.put(completion)

    def _serve(self) -> None:
        while (completion := self._jobs.get()) is not None:
            completion.run()
            self._finished.put(completion)

    def collect(self, timeout: float | None) -> bool:
        """Delivers finished calls, waiting up to `timeout` seconds (None: no limit) for the first;
        True when there was any.
        """
        if timeout == 0 and self._finished.empty():
            return False  # the usual case of a look in passing, without an exception
        try:
            completion = self._finished.get(timeout != 0, timeout)
        except Empty:
            return False
        while True:
            self.outstanding -= 1
            completion.done(completion)
            try:
                completion = self._finished.get_nowait()
            except Empty:
                return True

    def stop(self) -> None:
        """Ends the host threads once they have finished what they have."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0
