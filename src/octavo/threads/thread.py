"""Kernel threads as the scheduler has them: a coroutine, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from octavo.threads.wait import Event, Runner, Waiters


class Thread:
    """One kernel thread; `finished` is signalled when it has returned or raised."""

    __slots__ = ("scheduler", "coroutine", "name", "daemon", "finished", "result", "error")

    def __init__(
        self,
        scheduler: Runner,
        coroutine: Coroutine[Waiters, None, Any] | Later,
        name: str,
        daemon: bool,
    ) -> None:
        self.scheduler = scheduler
        self.coroutine = coroutine
        self.name = name
        self.daemon = daemon
        self.finished = Event()
        self.result: Any = None
        self.error: BaseException | None = None

    async def join(self) -> Any:
        """Waits for the end; returns what the thread returned or raises what it raised."""
        await self.finished.wait()
        if self.error is not None:
            raise self.error
        return self.result


class Later:
    """Stands for a thread's coroutine before it begins: Python warns of one that never does."""

    thread: Thread

    def __init__(self, function: Callable[[], Coroutine[Waiters, None, None]]) -> None:
        self.function = function

    def send(self, value: None) -> Waiters:
        """The thread's first step, by the coroutine that it has from now on."""
        self.thread.coroutine = self.function()
        return self.thread.coroutine.send(value)

    def close(self) -> None:
        """There is nothing to close."""


class Relay:
    """Stands among the waiters of an event, as a thread would, and passes the wake-up on."""

    def __init__(self) -> None:
        self.scheduler = self
        self.woken = Event()

    def make_ready(self, thread: object) -> None:
        """Passes it on."""
        self.woken.signal()
