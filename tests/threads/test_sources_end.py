"""Sources that end, are there already, or are devices in virtual time."""

from __future__ import annotations

import os
import random
import socket
import time
from math import inf

import pytest

from octavo.machine.clock import RealClock, VirtualClock
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler
from octavo.threads.sources import Descriptor, Source
from octavo.threads.wait import Event
from tests.threads.conftest import descriptors, pair, receive, refused


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
