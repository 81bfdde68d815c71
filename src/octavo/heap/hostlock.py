"""The kernel's own memory for several host threads: one lock, which every call takes.

    @locked     a method that holds its object's `lock` while it runs

Pools, stacks and special allocations of one machine change the same things (system PTEs, page
tables, frames), so they have one lock, that of their `KernelSpace`, and there is no order to keep;
`SystemPtes`, which may stand alone, have their own, inside of which nothing else is taken. A call
may call others: the lock counts its owner's calls.

It is a lock of the host's, no spin lock in a word as frames and slabs have: what it guards is
executive code, which runs under the interpreter's own lock and takes microseconds. Who spins there
keeps the owner from going on.

The executive holds it while its threads run, and lets go of it while all of them wait
(`Scheduler.share`): a call that another host thread makes comes between two of the executive's
steps, as one of a kernel thread would, and may take frames. What it must not do is wait.

Source: NT's pools have a spin lock each, ExectOS's a single one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

from octavo.threads.workers import HostLock

P = ParamSpec("P")
R = TypeVar("R")


class Locked(Protocol):
    """Who has such a lock."""

    @property
    def lock(self) -> HostLock: ...


S = TypeVar("S", bound=Locked)


def make_lock() -> HostLock:
    """A lock whose owner may take it again."""
    return RLock()


def locked(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """The method, holding the lock of its object."""

    @wraps(method)
    def call(self: S, *arguments: P.args, **named: P.kwargs) -> R:
        with self.lock:
            return method(self, *arguments, **named)

    return cast(Callable[Concatenate[S, P], R], call)
