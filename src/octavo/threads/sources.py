"""Where completions come from, and the one place in which the scheduler waits for them.

    Timers       what is due at a time
    Workers      host calls that have ended (octavo.threads.workers)
    Descriptor   a socket, pipe or eventfd that can be read
    any other    a driver's ring, a virtual device: whatever is a `Source`

A source is a descriptor that says when there is something to collect, a time at which there is
something in any case, or both. In real time the loop polls the descriptors of those sources that
somebody waits for, until the first time comes. In virtual time there are no descriptors: the clock
goes to the first time, and sources whose time has come are collected in the order in which they
were added, so that one seed gives one trace.

A source that raises StatusError or OSError in `collect`, or whose descriptor is gone, is removed;
who waits for it is told.

Departure: `poll` and `select`, not `epoll`. There are few descriptors, what is waited for changes
with every wait, and a poll says of one that was closed behind our back that it is (an epoll says
nothing). A poll counts milliseconds: what is left below them is waited for by `select`.
"""

from __future__ import annotations

import contextlib
import heapq
import select
from collections.abc import Callable
from math import inf
from typing import Protocol

from octavo.machine.clock import Clock
from octavo.status import Status, StatusError
from octavo.threads.wait import Event
from octavo.threads.workers import Workers

MOST_SOURCES = 256
FINE_SECONDS = 0.002  # below this a wait is of microseconds, not of milliseconds
MOST_SECONDS = 1e6  # of one poll: its milliseconds are an int of C; the loop comes again
SELECTABLE = 1024  # descriptors from here on cannot be in a select


class Source(Protocol):
    """Something that completions come from.

    fd        readable when there is something to collect; -1: there is no descriptor
    due       when there is something to collect in any case, in the clock's seconds; inf: never
    pending   true when somebody waits: only then may the loop sleep on `fd`
    """

    @property
    def name(self) -> str: ...
    @property
    def fd(self) -> int: ...

    @property
    def due(self) -> float: ...

    @property
    def pending(self) -> int: ...

    def arm(self) -> bool:
        """The loop looks at `fd` and may sleep: from now on `fd` tells what comes. False when
        something has come already.
        """

    def collect(self) -> None:
        """Delivers what has come; never waits. StatusError and OSError end the source."""

    def close(self, error: StatusError) -> None:
        """Gives back what it has of the host, so that `fd` is -1 and `due` inf; who waits for it
        gets `error`, later ones too.
        """


class Timers:
    """Actions at times; those of one time in the order in which they were set."""

    name = "timers"
    fd = -1
    pending = 0

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.due = inf
        self._sequence = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Calls `action` at a time."""
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, action))
        self.due = self._heap[0][0]

    def arm(self) -> bool:
        """A time tells by itself."""
        return True

    def collect(self) -> None:
        """Calls what is due."""
        heap, now = self._heap, self.clock.now()
        while heap and heap[0][0] <= now:
            action = heapq.heappop(heap)[2]
            self.due = heap[0][0] if heap else inf
            action()

    def close(self, error: StatusError) -> None:
        """Nothing is due any more."""
        self._heap.clear()
        self.due = inf

    def __len__(self) -> int:
        return len(self._heap)


class File(Protocol):
    """A socket, or a file without a buffer."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Descriptor:
    """A descriptor of the host that kernel threads wait for. `file` is closed with the source.

    It is looked at only while somebody waits: `event` is signalled when there is something to read,
    or the other end is closed, and says so until it is cleared. StatusError INVALID_PARAMETER for a
    file that is closed.
    """

    due = inf

    def __init__(self, file: File, name: str) -> None:
        self.name = name
        self.file = file
        self.fd = file.fileno()
        if self.fd < 0:
            raise StatusError(Status.INVALID_PARAMETER, f"{name}: is closed already")
        self.event = Event()
        self.error: StatusError | None = None

    @property
    def pending(self) -> int:
        """Threads that wait."""
        return 0 if self.event.signalled else len(self.event.waiters)

    async def readable(self) -> None:
        """Waits until there is something to read. StatusError when the source has ended."""
        if self.error is None:
            self.event.clear()
            await self.event.wait()
        if self.error is not None:
            raise self.error

    def arm(self) -> bool:
        """The host's descriptor needs no preparation."""
        return True

    def collect(self) -> None:
        """There is something to read."""
        self.event.signal()

    def close(self, error: StatusError) -> None:
        """Closes the file and wakes who waits."""
        if self.error is None:
            self.error, self.fd = error, -1
            with contextlib.suppress(OSError):  # somebody else has closed it
                self.file.close()
            self.event.signal()


class Sources:
    """The sources of one scheduler."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.timers, self.workers = Timers(clock), Workers()
        self._all: list[Source] = [self.timers]

    def add(self, source: Source) -> None:
        """StatusError INVALID_PARAMETER for a descriptor in virtual time, or what is there already;
        INSUFFICIENT_RESOURCES when there are MOST_SOURCES.
        """
        if source in self._all:
            raise StatusError(Status.INVALID_PARAMETER, f"{source.name}: is a source already")
        if self.clock.virtual and source.fd >= 0:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{source.name}: virtual time has no descriptors: boot without a seed",
            )
        if len(self._all) == MOST_SOURCES:
            raise StatusError(
                Status.INSUFFICIENT_RESOURCES,
                f"{source.name}: there are {MOST_SOURCES} sources of completions already",
            )
        self._all.append(source)

    def remove(self, source: Source, error: StatusError) -> None:
        """Ends a source, whoever waits for it gets `error`; nothing happens to one that is not
        there.
        """
        if source in self._all:
            self._all.remove(source)
            source.close(error)

    def close(self, error: StatusError) -> None:
        """Ends all of them."""
        self.workers.close(error)
        while self._all:
            self._all.pop().close(error)

    @property
    def due(self) -> float:
        """The first time at which one of them has something."""
        return min(source.due for source in self._all)

    def collect(self, seconds: float = inf, most: float = inf) -> bool:
        """Waits for the first that has something, in real time and no longer than `seconds`, and
        delivers all that has come. False, and nothing done, when nothing can come before its end.
        It may come back with nothing after `most` seconds.
        """
        waited, due = [], inf
        for source in self._all:
            if source.due < due:
                due = source.due
            if source.pending and source.fd >= 0:
                waited.append(source)
        if due < inf:
            seconds = min(seconds, max(due - self.clock.now(), 0))
        if waited:
            self.deliver(self._poll(waited, min(seconds, most)))
        elif self.workers.pending or seconds < inf:
            self.workers.wait(min(seconds, most))
            if due < inf and due <= self.clock.now():
                self.deliver({})
        else:
            return False
        return True

    def _poll(self, waited: list[Source], seconds: float) -> dict[int, int]:
        """Waits for descriptors, the workers' among them; returns what happened to which."""
        if self.workers.pending:
            waited.append(self.workers)
        come = [source for source in waited if not source.arm()]
        poll, fds = select.poll(), [source.fd for source in waited]
        for fd in fds:
            poll.register(fd, select.POLLIN)
        if come:
            seconds = 0
        elif 0 < seconds < FINE_SECONDS:
            seconds = _wait_finely(fds, seconds)
        found = poll.poll(None if seconds == inf else int(min(seconds, MOST_SECONDS) * 1000))
        self.workers.collect()
        return dict(found) | {source.fd: select.POLLIN for source in come}

    def deliver(self, events: dict[int, int]) -> None:
        """Collects from sources whose time has come, and from those whose descriptors have
        `events`.
        """
        now = self.clock.now()
        for source in tuple(self._all):
            if source.fd not in events and source.due > now:
                continue
            try:
                if events.get(source.fd, 0) & select.POLLNVAL:
                    text = f"{source.name}: its descriptor was closed"
                    raise StatusError(Status.FILE_CLOSED, text)
                source.collect()
            except StatusError as error:
                self.remove(source, error)
            except OSError as error:
                text = f"{source.name}: has failed: {error.strerror or error}"
                self.remove(source, StatusError(Status.IO_DEVICE_ERROR, text))


def _wait_finely(fds: list[int], seconds: float) -> float:
    """Waits in microseconds until something can be read; returns the seconds that a poll is still
    to wait, which are whole milliseconds where `select` cannot do it.
    """
    if max(fds) >= SELECTABLE:
        return 0.001
    with contextlib.suppress(OSError):  # one is closed: the poll says which
        select.select(fds, (), (), seconds)
    return 0
