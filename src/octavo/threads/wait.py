"""What a kernel thread can wait on: events, mutexes, semaphores, queues.

All of them are built on `park`: the coroutine yields the list of waiters that it wants to stand in,
the scheduler puts its thread there, and whoever signals takes it out again. Nothing here is safe to
call from another host thread.

A wait that is satisfied already never suspends (rule 5): `await mutex.lock()` on a free mutex costs
a function call. But for tests: a scheduler with virtual CPUs (`octavo.threads.preemption`)
pre-empts threads at marked points, which are here and wherever else the executive has

    if marks.on:
        await preemption_point()

Such a point stands where another processor may come between: nothing that was looked at before it
holds behind it. Out of that mode it costs one test of a flag.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class Runner(Protocol):
    """Who runs threads: a scheduler."""

    def make_ready(self, thread: Any) -> None:
        """The thread goes on as soon as its turn comes."""


class Parked(Protocol):
    """What stands among waiters: a thread, or what passes a wake-up on."""

    @property
    def scheduler(self) -> Runner: ...


class Order(Protocol):
    """Who records in which order mutexes are taken."""

    def wants(self, mutex: Mutex) -> None: ...
    def has(self, mutex: Mutex) -> None: ...
    def gives(self, mutex: Mutex) -> None: ...


class Points(Protocol):
    """Who decides at marked points; `waiters` is where a thread stands that was pre-empted."""

    waiters: Any

    @property
    def order(self) -> Order: ...

    def preempts(self) -> bool:
        """Whether the running thread is pre-empted now."""


Waiters = deque[Parked]


class park:  # noqa: N801 -- reads as a verb: `await park(waiters)`
    """Suspends the running thread in `waiters` until somebody wakes it."""

    __slots__ = ("waiters",)

    def __init__(self, waiters: Waiters) -> None:
        self.waiters = waiters

    def __await__(self) -> Generator[Waiters, None, None]:
        yield self.waiters


class Marks:
    """Whether the thread that runs is pre-empted at marked points, and by what."""

    __slots__ = ("on", "preemption")

    def __init__(self) -> None:
        self.on = False  # only while a thread of a scheduler with virtual CPUs makes a step
        self.preemption: Points | None = None


marks = Marks()


async def preemption_point() -> None:
    """A marked point: lets other virtual CPUs go on, if it is drawn so. Only where `marks.on`."""
    assert marks.preemption is not None
    if marks.preemption.preempts():
        await park(marks.preemption.waiters)


def wake_one(waiters: Waiters) -> bool:
    """Makes the first waiter ready; False when there was none."""
    if not waiters:
        return False
    thread = waiters.popleft()
    thread.scheduler.make_ready(thread)
    return True


def wake_all(waiters: Waiters) -> None:
    """Makes every waiter ready, in the order in which they came."""
    while wake_one(waiters):
        pass


class Event:
    """Stays signalled until cleared (NT: a notification event)."""

    __slots__ = ("signalled", "waiters")

    def __init__(self) -> None:
        self.signalled = False
        self.waiters: Waiters = deque()

    def signal(self) -> None:
        """Wakes all who wait, and lets later waiters through."""
        self.signalled = True
        wake_all(self.waiters)

    def clear(self) -> None:
        """Later waiters wait again."""
        self.signalled = False

    async def wait(self) -> None:
        """Returns when the event is signalled."""
        if marks.on:
            await preemption_point()
        while not self.signalled:
            await park(self.waiters)


class Mutex:
    """One owner at a time, handed over in order of arrival. Not recursive. `name` says of what: the
    order in which mutexes are taken is one of names, see docs/locking.md.
    """

    __slots__ = ("name", "locked", "waiters", "contended")

    def __init__(self, name: str = "mutex") -> None:
        self.name = name
        self.locked = False
        self.waiters: Waiters = deque()
        self.contended = 0

    async def lock(self) -> None:
        """Returns as the owner."""
        if marks.preemption is not None:
            await preemption_point()
            marks.preemption.order.wants(self)
        if self.locked:
            self.contended += 1
            await park(self.waiters)  # `unlock` hands the mutex over: it stays locked
        self.locked = True
        if marks.preemption is not None:
            marks.preemption.order.has(self)

    def unlock(self) -> None:
        """Hands the mutex to the first waiter, or frees it."""
        assert self.locked
        if marks.preemption is not None:
            marks.preemption.order.gives(self)
        if not wake_one(self.waiters):
            self.locked = False

    async def __aenter__(self) -> None:
        if self.locked or marks.on:
            await self.lock()
        else:
            self.locked = True

    async def __aexit__(self, *_: object) -> None:
        if self.waiters or marks.on:
            self.unlock()
        else:
            assert self.locked
            self.locked = False
        if marks.on:
            await preemption_point()


class Semaphore:
    """A count that `acquire` takes from and `release` adds to."""

    __slots__ = ("count", "waiters")

    def __init__(self, count: int) -> None:
        self.count = count
        self.waiters: Waiters = deque()

    async def acquire(self) -> None:
        """Takes one; waits while there is none."""
        if marks.on:
            await preemption_point()
        if self.count > 0:
            self.count -= 1
        else:
            await park(self.waiters)  # `release` hands its unit over

    def release(self) -> None:
        """Gives one to the first waiter, or adds it to the count."""
        if not wake_one(self.waiters):
            self.count += 1


class Queue(Generic[T]):
    """A queue of at most `bound` items; `put` waits while it is full, `get` while it is empty."""

    __slots__ = ("items", "_free", "_used")

    def __init__(self, bound: int) -> None:
        assert bound > 0
        self.items: deque[T] = deque()
        self._free = Semaphore(bound)
        self._used = Semaphore(0)

    async def put(self, item: T) -> None:
        """Adds an item at the tail."""
        await self._free.acquire()
        self.items.append(item)
        self._used.release()

    def try_put(self, item: T) -> bool:
        """Adds an item at the tail; False, and nothing done, when the queue is full."""
        if self._free.count <= 0:
            return False
        self._free.count -= 1
        self.items.append(item)
        self._used.release()
        return True

    async def get(self) -> T:
        """Takes the item at the head."""
        await self._used.acquire()
        item = self.items.popleft()
        self._free.release()
        return item

    def __len__(self) -> int:
        return len(self.items)
