"""Kernel threads and the scheduler that runs them, in real or in virtual time.

A kernel thread is a coroutine. `run` drives one from ordinary code: it is sent to its end at once,
and only if it waits does it become a thread that the loop schedules beside the others (rule 5: a
path that meets no I/O costs one `send`).

Real time: ready threads run in order; blocking host calls go to `Workers`; when nothing is ready,
the loop sleeps until one of its sources has a completion (`octavo.threads.sources`: workers,
timers, descriptors, and what is added). Virtual time: no host threads, no descriptors. A call takes
a modelled latency and is made when its time comes; ready threads run in an order drawn from the
seed; the clock jumps to the next time at which a source has something. Every step goes into a hash:
one seed, one hash (rule 6). With `cpus`, for tests, threads are pre-empted at marked points as well
(`octavo.threads.preemption`).

Kernel threads that serve for ever (writers) are daemons: they keep no run alive, and they run only
while somebody is in `run` or `pump`. One host thread owns a scheduler.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from math import inf
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar

from octavo.arguments import LONGEST_SECONDS
from octavo.machine.clock import Clock, VirtualClock
from octavo.status import Status, StatusError
from octavo.threads.interrupts import interrupt, interruption_point, interrupts, let_in, runs_in
from octavo.threads.sources import Source, Sources
from octavo.threads.thread import Later, Relay, Thread
from octavo.threads.wait import Event, Waiters, marks, park, preemption_point
from octavo.threads.workers import Completion, HostLock

if TYPE_CHECKING:
    import hashlib
    import random

    from octavo.statistics import SchedulerStatistics
    from octavo.threads.preemption import Preemption

T = TypeVar("T")

VIRTUAL_CALL_SECONDS = 100e-6  # a blocking host call in virtual time takes up to twice this
IDLE_JUMPS = 100_000  # of virtual time while the awaited thread makes no step
TRACE_LENGTH = 4096
IDLE_SECONDS = 0.25  # after which a loop that sleeps looks whether somebody insists on an interrupt
GLANCE = 64  # steps after which a busy loop looks at timers and descriptors


class Scheduler:
    """Runs kernel threads on the calling host thread; `seed` fixes all order in virtual time, where
    `cpus` virtual CPUs pre-empt each other at marked points (0: nobody is pre-empted).

    An interrupt (Ctrl-C) comes to the main host thread, and must not end a kernel thread halfway:
    while that thread is in a scheduler's `run`, `interrupt` puts it off to the end of `run`. Other
    host threads go on.
    """

    interrupt = staticmethod(interrupt)

    def __init__(self, clock: Clock, seed: int = 0, cpus: int = 0) -> None:
        self.clock = clock
        self.random = _generator(seed) if clock.virtual else None
        self.ready: deque[Thread] = deque()
        self.sources = Sources(clock)
        self.timers, self.workers = self.sources.timers, self.sources.workers
        self.trace: deque[str] = deque(maxlen=TRACE_LENGTH)
        self.switches = 0
        self._running = False
        self.closed = False
        self.lock: HostLock | None = None  # held while threads run: see `share`
        self._held, self._special = False, bool(cpus)  # it is now; `run` goes the long way
        self._hash = _hash() if clock.virtual else None
        self.preemption = self._preemption(cpus) if cpus else None

    def _preemption(self, cpus: int) -> Preemption:
        from octavo.threads.preemption import Preemption  # by tests only

        return Preemption(self.ready, self.random, cpus, self._jump)

    # -- for kernel code --------------------------------------------------------------------------

    def spawn(
        self, coroutine: Coroutine[Waiters, None, T], name: str, daemon: bool = False
    ) -> Thread:
        """Starts a kernel thread; its first step is taken when the scheduler comes to it.

        StatusError INVALID_PARAMETER for what is no coroutine, FILE_CLOSED after `close`.
        """
        _check_coroutine(coroutine)
        if self.closed:
            raise self._refusal(coroutine)
        thread = Thread(self, coroutine, name, daemon)
        self.ready.append(thread)
        return thread

    def serve(self, function: Callable[[], Coroutine[Waiters, None, None]], name: str) -> Thread:
        """Starts a daemon. `function` makes its coroutine only when its first step comes: a machine
        that is dropped before leaves none behind.

        StatusError INVALID_PARAMETER for what cannot be called, FILE_CLOSED after `close`.
        """
        self.check_open()
        if not callable(function):
            raise StatusError(Status.INVALID_PARAMETER, "a daemon is made by a function")
        later: Any = Later(function)
        later.thread = thread = Thread(self, later, name, True)
        self.ready.append(thread)
        return thread

    def start(self, coroutine: Coroutine[Waiters, None, None], name: str) -> None:
        """Takes a coroutine to its first wait at once, and makes a kernel thread of it only if it
        has one. It must not raise there.

        StatusError INVALID_PARAMETER for what is no coroutine.
        """
        _check_coroutine(coroutine)
        if self.preemption is not None:
            self._step(Thread(self, coroutine, name, False))
            return
        try:
            waiters = coroutine.send(None)
        except StopIteration:
            return
        waiters.append(Thread(self, coroutine, name, False))

    def make_ready(self, thread: Thread) -> None:
        """Lets a parked thread run again."""
        self.ready.append(thread)

    async def sleep(self, seconds: float) -> None:
        """Returns `seconds` later. StatusError INVALID_PARAMETER for what is no time."""
        event = Event()
        self.timers.at(self._deadline(seconds), event.signal)
        await event.wait()

    async def wait(self, event: Event, seconds: float) -> bool:
        """Waits for an event, but no longer than `seconds`; True when it was signalled. StatusError
        INVALID_PARAMETER for what is no event or time.
        """
        if not isinstance(event, Event):
            raise StatusError(Status.INVALID_PARAMETER, "a thread can wait for an event only")
        if marks.on:
            await preemption_point()
        if event.signalled:
            return True
        deadline = self._deadline(seconds)
        relay: Any = Relay()
        event.waiters.append(relay)
        self.timers.at(deadline, relay.woken.signal)
        await relay.woken.wait()
        if relay in event.waiters:
            event.waiters.remove(relay)
        return event.signalled

    async def call(self, function: Callable[[], T], label: str = "call") -> T:
        """Makes a host call that may block: on a worker in real time, after a drawn latency in
        virtual time.
        """
        waiters: Waiters = deque()

        def done(completion: Completion) -> None:
            while waiters:
                self.make_ready(waiters.popleft())  # type: ignore[arg-type]  # only threads are here

        completion = Completion(function, done)
        if self.random is not None:
            self.note(label)
            latency = VIRTUAL_CALL_SECONDS * (1 + self.random.random())
            self.timers.at(self.clock.now() + latency, completion.finish)
        else:
            self.workers.submit(completion)
        await park(waiters)
        if completion.error is not None:
            raise completion.error
        result: T = completion.result
        return result

    def add(self, source: Source) -> None:
        """Takes completions from a source from now on.

        StatusError FILE_CLOSED after `close`, INVALID_PARAMETER, INSUFFICIENT_RESOURCES (see
        `Sources.add`).
        """
        self.check_open()
        self.sources.add(source)

    def remove(self, source: Source) -> None:
        """Ends a source; who waits for it gets StatusError FILE_CLOSED."""
        self.sources.remove(
            source, StatusError(Status.FILE_CLOSED, f"{source.name}: was removed while waited for")
        )

    def note(self, what: str) -> None:
        """Puts an event into the trace; only in virtual time, where it means something."""
        if self._hash is not None:
            line = f"{self.clock.now():.9f} {what}"
            self.trace.append(line)
            self._hash.update(line.encode())

    def share(self, lock: HostLock) -> None:
        """From the next `run` on holds a lock while threads run, but not while all of them wait."""
        assert self.lock is None, "a scheduler shares what it has with one lock"
        self.lock, self._special = lock, True

    # -- for ordinary code ------------------------------------------------------------------------

    def run(self, coroutine: Coroutine[Waiters, None, T], name: str = "main") -> T:
        """Drives a coroutine to its end and returns its result; other ready threads get their turn.

        StatusError INVALID_PARAMETER for what is no coroutine, FILE_CLOSED after `close`.
        """
        if type(coroutine) is not CoroutineType:
            _check_coroutine(coroutine)
        if self._running:
            raise self._refusal(coroutine)
        if self._special:
            return self.run_specially(coroutine, name)
        self._enter()
        try:
            try:
                waiters = coroutine.send(None)
            except StopIteration as stop:
                result: T = stop.value
                if self.workers.pending:
                    self.workers.collect()
                if self.ready:
                    self._drain()
                return result
            thread = Thread(self, coroutine, name, False)
            waiters.append(thread)
            self._loop(thread)
        finally:
            self._leave()
        if thread.error is not None:
            raise thread.error
        result = thread.result
        return result

    def run_specially(self, coroutine: Coroutine[Waiters, None, T], name: str) -> T:
        """As `run`, on virtual CPUs, or holding the lock that others share."""
        with self._holding():
            if self.preemption is None:
                self._special = False
                try:
                    return self.run(coroutine, name)
                finally:
                    self._special = True
            self._enter()
            try:
                thread = self.spawn(coroutine, name)
                self.preemption.begin()
                self._loop(thread)
            finally:
                self._leave()
        if thread.error is not None:
            raise thread.error
        result: T = thread.result
        return result

    @contextmanager
    def _holding(self) -> Iterator[None]:
        """A `with` block in which the lock is held that others share, if there is one."""
        with self.lock or nullcontext():
            self._held = self.lock is not None
            try:
                yield
            finally:
                self._held = False

    def pump(self, timeout: float = 0) -> None:
        """Runs what is ready and due, waiting up to `timeout` seconds for something to come due
        (real time only). StatusError INVALID_PARAMETER for what is no time.
        """
        if self._running:
            return
        self._deadline(timeout)
        with self._holding():
            self._enter()
            try:
                self._drain()
                if not self.clock.virtual:
                    self._collect(0 if self.ready else max(timeout, 0))
                self._drain()
            finally:
                self._leave()

    def trace_hash(self) -> str:
        """The hash of every event so far; "" in real time."""
        return self._hash.hexdigest() if self._hash is not None else ""

    def statistics(self) -> SchedulerStatistics:
        """Context switches, ready threads, timers and host calls in flight."""
        from octavo.statistics import SchedulerStatistics

        return SchedulerStatistics(
            switches=self.switches,
            ready=len(self.ready),
            timers=len(self.timers),
            calls=self.workers.pending,
        )

    def close(self) -> None:
        """Drops all threads, for good; what they were doing ends where they wait. All sources are
        closed.
        """
        self.closed = self._running = True
        self.sources.close(_ended())
        while self.ready:
            self.ready.popleft().coroutine.close()

    def check_open(self) -> None:
        """StatusError FILE_CLOSED after `close`."""
        if self.closed:
            raise _ended()

    def _refusal(self, coroutine: Coroutine[Waiters, None, Any]) -> AssertionError:
        """Why a coroutine is not run."""
        coroutine.close()
        self.check_open()
        return AssertionError("run() was called from inside a kernel thread: await instead")

    def _enter(self) -> None:
        self._running = True

    @property
    def is_running(self) -> bool:
        """True in `run` and `pump`."""
        return self._running and not self.closed

    def _leave(self) -> None:
        self._running = False
        if interrupts.put_off:  # looked at last: what came before was put off
            let_in()

    # -- the loop ---------------------------------------------------------------------------------

    def _deadline(self, seconds: float) -> float:
        """The time in so many seconds."""
        if (
            isinstance(seconds, int | float)
            and not isinstance(seconds, bool)
            and seconds < LONGEST_SECONDS
        ):  # which NaN is not
            return self.clock.now() + max(seconds, 0)
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"a time to wait is a number of seconds below {LONGEST_SECONDS}",
        )

    def _step(self, thread: Thread) -> None:
        self.switches += 1
        if self.clock.virtual:
            self.note(thread.name)
        try:
            if self.preemption is None:
                waiters = thread.coroutine.send(None)
            else:
                waiters = self.preemption.step(thread)
        except StopIteration as stop:
            thread.result = stop.value
        except Exception as error:
            if thread.daemon:
                raise  # nobody joins a daemon: its failure is the system's
            thread.error = error
        else:
            waiters.append(thread)
            return
        thread.finished.signal()

    def _next(self) -> Thread:
        if self.preemption is not None:
            return self.preemption.next()
        if self.random is not None and len(self.ready) > 1:
            self.ready.rotate(-self.random.randrange(len(self.ready)))
        return self.ready.popleft()

    def _drain(self) -> None:
        """One turn for each thread that is ready now."""
        for _ in range(len(self.ready)):
            self._step(self._next())

    def _loop(self, until: Thread) -> None:
        idle = steps = 0
        finished = until.finished
        while not finished.signalled:
            if self.ready:
                thread = self._next()
                if thread is until:
                    idle = 0
                self._step(thread)
                steps += 1
                if not self.clock.virtual:
                    if self.workers.pending:
                        self.workers.collect()
                    if not steps % GLANCE:
                        self.sources.collect(0)
                continue
            idle += self.clock.virtual
            if interrupts.insisted and not interrupts.blocks:
                interruption_point()
            if not self._idle() or idle > IDLE_JUMPS:
                until.coroutine.close()
                raise RuntimeError(
                    f"deadlock: thread {until.name!r} waits for something that nobody will signal"
                )

    def _idle(self) -> bool:
        """Waits until a source has something; False when none can."""
        return self._jump() if self.clock.virtual else self._collect(inf, IDLE_SECONDS)

    def _collect(self, seconds: float, most: float = inf) -> bool:
        """As `Sources.collect`; what threads change may be others' meanwhile."""
        lock = self.lock if self._held else None
        if lock is not None:
            lock.release()
        try:
            return self.sources.collect(seconds, most)
        finally:
            if lock is not None:
                lock.acquire()

    def _jump(self) -> bool:
        """Virtual time goes on to the first time at which a source has something; False when there
        is none.
        """
        assert isinstance(self.clock, VirtualClock)
        due = self.sources.due
        if due == inf:
            return False
        self.clock.advance(max(due, self.clock.now()))
        self.sources.deliver({})
        return True


runs_in(Scheduler.run, Scheduler.pump, Scheduler.run_specially)


def _ended() -> StatusError:
    """What is said of everything that belonged to a scheduler that was closed."""
    return StatusError(
        Status.FILE_CLOSED,
        "the system was ended, as leaving its `with` block does: open the image, or boot, "
        "once more",
    )


def _check_coroutine(value: object) -> None:
    """StatusError INVALID_PARAMETER for what no kernel thread can run."""
    if not isinstance(value, Coroutine):
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"a kernel thread runs a coroutine, and {type(value).__name__} is none",
        )


def _generator(seed: int) -> random.Random:
    """Imported only in virtual time: it costs every start of the command line otherwise."""
    import random

    return random.Random(seed)


def _hash() -> hashlib.blake2b:
    import hashlib

    return hashlib.blake2b(digest_size=16)
