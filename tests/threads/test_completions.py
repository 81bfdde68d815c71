"""Completions from several sources: descriptors, host calls, timers, devices of one's own; what is
added, removed, or fails while it is waited for."""

from __future__ import annotations

import fcntl
import os
import random
import select
import socket
import threading
import time
from math import inf

import pytest

from octavo.status import Status, StatusError
from octavo.threads.scheduler import GLANCE, Scheduler
from octavo.threads.sources import MOST_SOURCES, SELECTABLE, Descriptor
from octavo.threads.wait import Event
from octavo.threads.workers import Completion, Workers
from tests.threads.conftest import pair, receive, refused


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

    def looked(seconds: float = inf, most: float = inf) -> bool:
        nonlocal looks
        looks += 1
        return collect(seconds, most)

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
