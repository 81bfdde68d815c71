"""Completions from several sources: descriptors, host calls, timers, devices of one's own; what is
added, removed, or fails while it is waited for.
"""

from __future__ import annotations

import fcntl
import gc
import os
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from math import inf

import pytest

from octavo.machine.clock import RealClock, VirtualClock
from octavo.status import Status, StatusError
from octavo.threads.scheduler import GLANCE, Scheduler
from octavo.threads.sources import MOST_SOURCES, SELECTABLE, Descriptor, Source
from octavo.threads.wait import Event
from octavo.threads.workers import Completion, Workers
from tests.machines import within_seconds


@pytest.fixture(params=["eventfd", "pipe"])
def scheduler(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scheduler]:
    """In real time, on hosts with and without an eventfd; nothing stays open."""
    if request.param == "pipe":
        monkeypatch.delattr(os, "eventfd")
    before = descriptors()
    made = Scheduler(RealClock())
    with within_seconds(60):
        yield made
    made.close()
    assert descriptors() <= before


def descriptors() -> int:
    """Open descriptors of this process, without those of machines that other tests have dropped."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def pair(scheduler: Scheduler, name: str = "ours") -> tuple[socket.socket, Descriptor]:
    """The other end of a socket, and this one as a source."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    source = Descriptor(ours, name)
    scheduler.add(source)
    return theirs, source


async def receive(source: Descriptor) -> bytes:
    """What was sent to a source."""
    await source.readable()
    return os.read(source.fd, 100)


def refused(call: Callable[[], object]) -> StatusError:
    """The error of a call."""
    with pytest.raises(StatusError) as caught:
        call()
    return caught.value


def test_a_descriptor_that_becomes_readable(scheduler: Scheduler) -> None:
    """What was there before, and what comes while the loop sleeps, which costs no processor; then
    the end of the other side.
    """
    theirs, source = pair(scheduler)
    theirs.send(b"before")
    assert scheduler.run(receive(source)) == b"before"

    async def later() -> None:
        await scheduler.call(lambda: time.sleep(0.3))
        theirs.send(b"later")

    scheduler.spawn(later(), "sender")
    began = time.thread_time()
    assert scheduler.run(receive(source)) == b"later"
    assert time.thread_time() - began < 0.1
    theirs.close()
    assert scheduler.run(receive(source)) == b""


def test_many_completions_at_once(scheduler: Scheduler) -> None:
    """Each descriptor that there can be is readable, and host calls end meanwhile: everybody gets
    his own; one source more is refused, and is the caller's to close.
    """
    pairs = [pair(scheduler, str(i)) for i in range(MOST_SOURCES - 1)]  # timers are one
    ends = socket.socketpair()
    error = refused(lambda: scheduler.add(Descriptor(ends[0], "one more")))
    assert error.status == Status.INSUFFICIENT_RESOURCES and "256 sources" in error.text
    for end in ends:
        end.close()
    heard: list[int] = []

    async def hear(i: int, source: Descriptor) -> None:
        assert await receive(source) == b"%d" % i
        heard.append(i)

    async def main() -> None:
        threads = [scheduler.spawn(hear(i, s), f"hears {i}") for i, (_, s) in enumerate(pairs)]
        calls = [scheduler.spawn(scheduler.call(lambda i=i: i), "call") for i in range(300)]  # type: ignore[misc]
        await scheduler.call(lambda: [other.send(b"%d" % i) for i, (other, _) in enumerate(pairs)])
        for thread in threads:
            await thread.join()
        assert [await call.join() for call in calls] == list(range(300))

    scheduler.run(main())
    assert sorted(heard) == list(range(len(pairs)))
    scheduler.remove(pairs[0][1])
    theirs, source = pair(scheduler, "in its place")
    theirs.send(b"x")
    assert scheduler.run(receive(source)) == b"x"
    for other, _ in [*pairs, (theirs, source)]:
        other.close()


def test_a_call_that_ends_while_descriptors_are_waited_for(scheduler: Scheduler) -> None:
    """However the end of a call and the beginning of the sleep lie: a ring that is lost would be
    waited for without an end.
    """
    theirs, source = pair(scheduler)
    listener = scheduler.spawn(receive(source), "listener", daemon=True)
    choose = random.Random(1)
    for i in range(3000):
        pause = choose.choice((0, 0, 1e-6, 1e-5, 1e-4))

        def call(pause: float = pause, i: int = i) -> int:
            if pause:
                time.sleep(pause)
            return i

        assert scheduler.run(scheduler.call(call)) == i
    assert not listener.finished.signalled and source.pending
    theirs.send(b"at last")
    assert scheduler.run(listener.join()) == b"at last"
    theirs.close()


@pytest.mark.parametrize("seconds", [0.0002, 0.0205])
def test_times_are_kept_beside_descriptors(scheduler: Scheduler, seconds: float) -> None:
    """Not a whole millisecond late at best, never early, and slept through. Where a descriptor has
    a number that `select` cannot take, at most some milliseconds.
    """
    theirs, source = pair(scheduler)
    scheduler.spawn(receive(source), "listener", daemon=True)
    looks, collect = 0, scheduler.sources.collect

    def looked(seconds: float = inf) -> bool:
        nonlocal looks
        looks += 1
        return collect(seconds)

    def lateness() -> float:
        late = []
        for _ in range(30):
            began = scheduler.clock.now()
            scheduler.run(scheduler.sleep(seconds))
            late.append(scheduler.clock.now() - began - seconds)
        return min(late)

    scheduler.sources.collect = looked  # type: ignore[method-assign]  # to count
    assert 0 <= lateness() < 0.0007 and looks <= 90
    high = fcntl.fcntl(source.fd, fcntl.F_DUPFD_CLOEXEC, SELECTABLE)
    low, source.fd = source.fd, high
    assert 0 <= lateness() < 0.003 and looks <= 180
    source.fd = low
    os.close(high)
    theirs.send(b"x")
    scheduler.run(scheduler.wait(source.event, 1 << 31))  # more milliseconds than an int has
    theirs.close()


def test_waiting_for_a_descriptor_no_longer_than(scheduler: Scheduler) -> None:
    """As for any event; who gave up is waited for no more, and is no reason to sleep."""
    theirs, source = pair(scheduler)
    assert not scheduler.run(scheduler.wait(source.event, 0.01)) and not source.pending
    with pytest.raises(RuntimeError, match="deadlock"):
        scheduler.run(Event().wait())
    theirs.send(b"x")
    assert scheduler.run(scheduler.wait(source.event, 10)) and not source.pending
    theirs.close()


def test_a_source_that_is_removed_while_waited_for(scheduler: Scheduler) -> None:
    """Who waits is told, and who comes later; its descriptor is closed; the others go on."""
    theirs, source = pair(scheduler)
    other, stays = pair(scheduler)
    told: list[StatusError] = []

    async def listen() -> None:
        with pytest.raises(StatusError, match="ours: was removed") as caught:
            await source.readable()
        told.append(caught.value)

    async def main() -> None:
        threads = [scheduler.spawn(listen(), f"listener {i}") for i in range(2)]
        await scheduler.call(lambda: None)
        assert source.pending == 2
        scheduler.remove(source)
        scheduler.remove(source)  # is no error
        for thread in threads:
            await thread.join()
        await listen()

    scheduler.run(main())
    assert [error.status for error in told] == [Status.FILE_CLOSED] * 3
    assert theirs.recv(10) == b"" and source.file.fileno() == -1
    other.send(b"x")
    assert scheduler.run(receive(stays)) == b"x"
    assert scheduler.run(scheduler.call(lambda: 7)) == 7
    theirs.close()
    other.close()


class Ring(Descriptor):
    """A queue with a doorbell that rings only while the loop is asleep, and which breaks when it is
    told to; `arms` and `looks` count.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.items: list[object] = []
        self.asleep = False
        self.arms = self.looks = 0
        reader, self.bell = socket.socketpair()
        super().__init__(reader, "ring")
        scheduler.add(self)

    def put(self, item: object) -> None:
        """What another process does."""
        self.items.append(item)
        if self.asleep:
            self.bell.send(b"!")

    def arm(self) -> bool:
        self.arms += 1
        self.asleep = True
        return not self.items

    def collect(self) -> None:
        self.looks += 1
        self.asleep = False
        if self.items and isinstance(self.items[0], Exception):
            raise self.items.pop(0)  # type: ignore[misc]  # it is one
        super().collect()


def test_a_ring_rings_only_while_the_loop_sleeps(scheduler: Scheduler) -> None:
    """What was put there before is found without a bell."""
    ring = Ring(scheduler)
    ring.put(1)
    scheduler.run(ring.readable())
    assert (ring.arms, ring.looks, ring.items.pop()) == (1, 1, 1)

    def other_process() -> None:
        time.sleep(0.1)
        ring.put(2)

    scheduler.spawn(scheduler.call(other_process), "other process")
    scheduler.run(ring.readable())
    assert ring.items.pop() == 2 and ring.arms <= 3
    ring.bell.close()


@pytest.mark.parametrize(
    "error",
    [OSError(5, "Input/output error"), StatusError(Status.IO_TIMEOUT, "ring: is silent"), None],
)
def test_a_source_that_fails_tells_who_waits(scheduler: Scheduler, error: Exception | None) -> None:
    """By an error of its own, one of the host, or a descriptor that somebody closed; it is no
    source any more. What is wrong in the program comes out of `run`.
    """
    ring = Ring(scheduler)
    if error is None:
        ring.file.close()
    else:
        ring.put(error)
    told = {OSError: Status.IO_DEVICE_ERROR, StatusError: Status.IO_TIMEOUT}
    status = told.get(type(error), Status.FILE_CLOSED)
    for _ in range(2):
        with pytest.raises(StatusError, match="^ring: ") as caught:
            scheduler.run(ring.readable())
        assert caught.value.status == status
    scheduler.add(ring)  # it is not there any more
    scheduler.remove(ring)
    ring.bell.close()
    wrong = Ring(scheduler)
    wrong.put(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        scheduler.run(wrong.readable())
    wrong.bell.close()


def test_a_busy_loop_looks_at_descriptors_and_timers(scheduler: Scheduler) -> None:
    """Threads that are always ready keep nobody from hearing."""
    theirs, source = pair(scheduler)
    heard: list[str] = []

    async def busy() -> int:
        steps = 0
        while len(heard) < 2:
            await scheduler.spawn(Event.wait(SIGNALLED), "step").join()
            steps += 1
        return steps

    async def hear() -> None:
        await source.readable()
        heard.append("descriptor")

    async def wake() -> None:
        await scheduler.sleep(0.001)
        heard.append("timer")

    scheduler.spawn(hear(), "hears")
    scheduler.spawn(wake(), "wakes")
    theirs.send(b"x")
    assert scheduler.run(busy()) > GLANCE // 4
    theirs.close()


SIGNALLED = Event()
SIGNALLED.signal()


class Stopped:
    """A worker that is held between its wish to ring and the ring."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write = os.write
        self.there, self.go = threading.Event(), threading.Event()

        def slowly(fd: int, data: bytes) -> int:
            self.there.set()
            self.go.wait(60)
            return write(fd, data)

        monkeypatch.setattr(os, "write", slowly)
        self.ended: list[Completion] = []
        self.workers = Workers()
        assert self.workers.arm()
        self.workers.submit(Completion(lambda: 7, self.ended.append))
        assert self.there.wait(60)


def test_a_ring_that_comes_after_its_call_was_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is heard the next time: no loop is woken for ever by one that nobody has read."""
    stopped = Stopped(monkeypatch)
    workers = stopped.workers
    workers.collect()
    assert [c.result for c in stopped.ended] == [7] and not workers.pending
    stopped.go.set()
    poll = select.poll()
    poll.register(workers.fd, select.POLLIN)
    assert poll.poll(60_000)
    workers.arm()
    workers.collect()
    assert not poll.poll(0)
    workers.close(StatusError(Status.FILE_CLOSED, "the end"))


def test_no_worker_rings_what_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end waits for a ring that is under way: its number may be another file's a moment
    later.
    """
    stopped = Stopped(monkeypatch)
    bell = stopped.workers.fd
    error = StatusError(Status.FILE_CLOSED, "the end")
    end = threading.Thread(target=stopped.workers.close, args=(error,))
    end.start()
    end.join(0.2)
    assert end.is_alive() and os.fstat(bell)
    stopped.go.set()
    end.join(60)
    assert not end.is_alive() and stopped.workers.fd == -1


def test_the_end_of_a_scheduler_ends_its_sources() -> None:
    """Also while they are waited for, and while calls are under way; nothing can be added then."""
    before = descriptors()
    scheduler = Scheduler(RealClock())
    theirs, source = pair(scheduler)
    scheduler.spawn(receive(source), "listener", daemon=True)
    scheduler.start(scheduler.call(lambda: time.sleep(0.2)), "call")
    scheduler.pump(0.01)
    assert source.pending and scheduler.workers.pending and scheduler.workers.fd >= 0
    scheduler.close()
    assert source.error is not None and source.error.status == Status.FILE_CLOSED
    assert theirs.recv(10) == b"" and scheduler.workers.fd == -1
    theirs.close()
    taken = os.open("/dev/null", os.O_RDONLY)  # the number of the bell perhaps: nobody writes to it
    time.sleep(0.3)
    os.close(taken)
    assert descriptors() <= before
    ours, theirs = socket.socketpair()
    with pytest.raises(StatusError) as caught:
        scheduler.add(Descriptor(ours, "late"))
    assert caught.value.status == Status.FILE_CLOSED
    ours.close()
    with pytest.raises(StatusError, match="late: is closed already"):
        Descriptor(ours, "late")
    theirs.close()


def test_what_is_a_source_already(scheduler: Scheduler) -> None:
    """Is not added twice."""
    theirs, source = pair(scheduler)
    with pytest.raises(StatusError, match="is a source already") as caught:
        scheduler.add(source)
    assert caught.value.status == Status.INVALID_PARAMETER
    theirs.close()


class VirtualDevice:
    """A device in virtual time that has several requests in hand and ends them in an order of its
    own, by a seed; the `fail_at`-th end breaks it.
    """

    name = "virtual device"
    fd = -1

    def __init__(self, scheduler: Scheduler, seed: int, fail_at: int = 0) -> None:
        self.scheduler = scheduler
        self.random = random.Random(seed)
        self.waiting: list[tuple[float, int, Event]] = []
        self.error: StatusError | None = None
        self.ended: list[int] = []
        self.fail_at = fail_at
        scheduler.add(self)

    @property
    def pending(self) -> int:
        return len(self.waiting)

    @property
    def due(self) -> float:
        return min((when for when, _, _ in self.waiting), default=inf)

    def arm(self) -> bool:
        return True

    async def request(self, number: int) -> None:
        """Takes up to 10 ms."""
        if self.error is not None:
            raise self.error
        event = Event()
        when = self.scheduler.clock.now() + self.random.randrange(1, 11) / 1000
        self.waiting.append((when, number, event))
        await event.wait()
        if self.error is not None and number not in self.ended:
            raise self.error

    def collect(self) -> None:
        for item in sorted(i for i in self.waiting if i[0] <= self.scheduler.clock.now()):
            self.waiting.remove(item)
            self.ended.append(item[1])
            self.scheduler.note(f"request {item[1]}")
            item[2].signal()
            if len(self.ended) == self.fail_at:
                raise OSError(5, "broken")

    def close(self, error: StatusError) -> None:
        self.error = error
        for _, _, event in self.waiting:
            event.signal()
        self.waiting.clear()


def drive(seed: int, fail_at: int = 0) -> tuple[str, list[int], list[int]]:
    """Twenty requests to a virtual device beside timers and host calls: the trace, the order, and
    the requests that failed.
    """
    scheduler = Scheduler(VirtualClock(), seed)
    device: Source = VirtualDevice(scheduler, seed, fail_at)
    assert isinstance(device, VirtualDevice)
    failed: list[int] = []

    async def work(i: int) -> None:
        await scheduler.sleep(i % 3 / 1000)
        try:
            await device.request(i)
        except StatusError as error:
            assert error.status == Status.IO_DEVICE_ERROR and "broken" in error.text
            failed.append(i)
        await scheduler.call(lambda: None)

    async def main() -> None:
        for thread in [scheduler.spawn(work(i), f"t{i}") for i in range(20)]:
            await thread.join()

    scheduler.run(main())
    assert scheduler.clock.now() < 0.02
    scheduler.close()
    return scheduler.trace_hash(), device.ended, failed


@pytest.mark.parametrize("fail_at", [0, 1, 20])
def test_a_virtual_device_in_virtual_time(fail_at: int) -> None:
    """One seed, one trace, one order; each request ends, or fails because the device has."""
    first = drive(5, fail_at)
    assert drive(5, fail_at) == first and drive(6, fail_at)[0] != first[0]
    assert sorted([*first[1], *first[2]]) == list(range(20))
    assert bool(first[2]) == (fail_at == 1)


def test_a_source_that_removes_another() -> None:
    """That one has something at the same time, and nobody collects it any more."""
    scheduler = Scheduler(VirtualClock(), 1)
    first, second = VirtualDevice(scheduler, 1), VirtualDevice(scheduler, 1)
    collect = first.collect

    def and_remove() -> None:
        collect()
        scheduler.remove(second)

    first.collect = and_remove  # type: ignore[method-assign]  # a source that ends another
    scheduler.spawn(first.request(1), "one")
    with pytest.raises(StatusError, match="virtual device: was removed") as caught:
        scheduler.run(second.request(2))
    assert caught.value.status == Status.FILE_CLOSED
    assert first.ended == [1] and not second.ended
    scheduler.close()


def test_virtual_time_has_no_descriptors() -> None:
    """What a peer does when is not part of a seed."""
    scheduler = Scheduler(VirtualClock(), 1)
    ours, theirs = socket.socketpair()
    error = refused(lambda: scheduler.add(Descriptor(ours, "ours")))
    assert error.status == Status.INVALID_PARAMETER and "virtual time" in error.text
    ours.close()
    theirs.close()
