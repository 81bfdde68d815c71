"""Pre-emption at marked points, by seed: a mode of the scheduler for tests.

The executive runs on one host thread, and its threads give way only where they wait. In this mode
they are interleaved as on a machine of 1 to 8 processors: what a thread does between two marked
points (`octavo.threads.wait`) is one step, and at each point any other may come between.

    ready   | running on CPU 0 | ... | on CPU n - 1 | waiting for a CPU ...
                 next step: any of these, drawn

A thread that comes to a point stays on its CPU; now and then its time is up, and it waits for a CPU
behind others; now and then the clock jumps to the next timer, so that transfers end, and writers
wake, while others are at work. One seed and number of CPUs, one trace.

It ends: after MOST_PREEMPTIONS points of one `run` no thread is pre-empted any more.

The order in which mutexes are taken is recorded meanwhile (`octavo.threads.lockorder`).

Only one scheduler of a process may be in this mode while it runs, on one host thread.

Source: PCT and other randomised schedulers (Burckhardt et al. 2010), and CHESS, which pre-empt at
synchronisation points. Departure: uniform draws, no priorities: threads here are few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from octavo.arguments import invalid, whole
from octavo.threads.lockorder import LockOrder
from octavo.threads.wait import Waiters, marks

if TYPE_CHECKING:
    from random import Random

    from octavo.threads.thread import Thread

MOST_VIRTUAL_CPUS = 8
MOST_PREEMPTIONS = 1 << 18  # of one `run`
SLICE = 4  # points that a thread passes on its CPU, on average, before it waits for one
INSPECTED = 16  # points of which `inspect` sees one, on average
TIMER = 32  # points between two jumps of the clock, on average


class Preemption:
    """Chooses which of the `ready` threads makes its next step, on `cpus` CPUs. `jump` lets the
    next timer come. StatusError INVALID_PARAMETER in real time (no `random`), and unless 1 to
    MOST_VIRTUAL_CPUS CPUs are asked for.
    """

    def __init__(
        self, ready: deque[Thread], random: Random | None, cpus: int, jump: Callable[[], bool]
    ) -> None:
        if random is None:
            raise invalid("virtual CPUs pre-empt each other in virtual time only")
        self.ready, self.random, self._jump = ready, random, jump
        self.cpus = whole(cpus, "the number of virtual CPUs", 1, MOST_VIRTUAL_CPUS)
        self.order = LockOrder()
        self.points = self.jumps = 0
        self.left = MOST_PREEMPTIONS  # points at which a thread may still be pre-empted
        self.inspect: Callable[[], None] | None = None  # called at some of the points
        self.waiters: Any = self  # where a thread stands that was pre-empted: see `append`
        self._cpu = 0  # of the thread that runs

    def begin(self) -> None:
        """A `run` begins."""
        self.left = MOST_PREEMPTIONS

    def next(self) -> Thread:
        """Takes one of the running threads out of `ready`, to make a step."""
        self._cpu = self.random.randrange(min(self.cpus, len(self.ready)))
        thread = self.ready[self._cpu]
        del self.ready[self._cpu]
        return thread

    def step(self, thread: Thread) -> Waiters:
        """Lets a thread go on to its next marked point, or wait; raises what it raises."""
        before = marks.on, marks.preemption, self.order.thread
        marks.on, marks.preemption, self.order.thread = True, self, thread
        try:
            return thread.coroutine.send(None)
        finally:
            marks.on, marks.preemption, self.order.thread = before

    def preempts(self) -> bool:
        """Whether the thread that runs is pre-empted here; time may pass."""
        if self.left <= 0:
            return False
        self.left -= 1
        self.points += 1
        if not self.random.randrange(TIMER):
            self.jumps += self._jump()
        if self.inspect is not None and not self.random.randrange(INSPECTED):
            self.inspect()
        return bool(self.ready)

    def append(self, thread: Thread) -> None:
        """Puts a thread that was pre-empted back on its CPU, or behind others that wait for one."""
        at = min(self._cpu, len(self.ready))
        if not self.random.randrange(SLICE):
            at = self.random.randint(at, len(self.ready))
        self.ready.insert(at, thread)
