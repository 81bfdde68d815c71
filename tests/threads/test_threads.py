"""Kernel threads: order, waiting, worker calls, virtual time."""

from __future__ import annotations

import gc
import sys
import threading
import time
from pathlib import Path

import pytest

import octavo
from octavo.machine.clock import RealClock, VirtualClock
from octavo.threads.scheduler import VIRTUAL_CALL_SECONDS, Scheduler
from octavo.threads.wait import Event, Mutex, Queue, Semaphore


def real() -> Scheduler:
    """A scheduler in real time."""
    return Scheduler(RealClock())


def test_a_path_that_meets_no_wait_is_no_thread() -> None:
    """Rule 5: no context switch."""
    scheduler = real()
    mutex = Mutex()

    async def work() -> int:
        async with mutex:
            return 7

    assert scheduler.run(work()) == 7
    assert scheduler.statistics().switches == 0


def test_a_call_that_blocks_goes_to_a_worker() -> None:
    """Another host thread makes it; the caller gets the result or the exception."""
    scheduler = real()
    assert scheduler.run(scheduler.call(threading.get_ident)) != threading.get_ident()

    def fail() -> None:
        raise ValueError("from the worker")

    with pytest.raises(ValueError, match="from the worker"):
        scheduler.run(scheduler.call(fail))
    scheduler.close()


def test_calls_overlap() -> None:
    """Two blocking calls take the time of one."""
    scheduler = real()

    async def both() -> None:
        threads = [
            scheduler.spawn(scheduler.call(lambda: time.sleep(0.2)), "sleeper") for _ in range(2)
        ]
        for thread in threads:
            await thread.join()

    start = time.monotonic()
    scheduler.run(both())
    assert time.monotonic() - start < 0.39
    scheduler.close()


@pytest.mark.parametrize("virtual", [False, True])
def test_mutex_is_handed_over_in_order(virtual: bool) -> None:
    """First come, first served, and never two at once."""
    scheduler = Scheduler(VirtualClock(), 3) if virtual else real()
    mutex, order, inside = Mutex(), list[int](), 0

    async def work(i: int) -> None:
        nonlocal inside
        await scheduler.sleep(0.001 * i)
        async with mutex:
            inside += 1
            assert inside == 1
            await scheduler.sleep(0.005)
            order.append(i)
            inside -= 1

    async def main() -> None:
        for thread in [scheduler.spawn(work(i), f"t{i}") for i in range(5)]:
            await thread.join()

    scheduler.run(main())
    assert order == [0, 1, 2, 3, 4]
    assert mutex.contended == 4 and not mutex.locked


def test_semaphore_and_queue() -> None:
    """A bounded queue keeps the writer back, and keeps the order."""
    scheduler = Scheduler(VirtualClock(), 1)
    queue: Queue[int] = Queue(3)
    most = 0

    async def produce() -> None:
        nonlocal most
        for i in range(20):
            await queue.put(i)
            most = max(most, len(queue))

    async def consume() -> list[int]:
        out = []
        for _ in range(20):
            await scheduler.sleep(0.01)
            out.append(await queue.get())
        return out

    async def main() -> list[int]:
        scheduler.spawn(produce(), "producer")
        result: list[int] = await scheduler.spawn(consume(), "consumer").join()
        return result

    assert scheduler.run(main()) == list(range(20))
    assert most <= 3
    semaphore = Semaphore(1)
    scheduler.run(semaphore.acquire())
    assert semaphore.count == 0
    semaphore.release()
    assert semaphore.count == 1


def test_event_stays_signalled_until_cleared() -> None:
    """A notification event."""
    scheduler = Scheduler(VirtualClock())
    event = Event()
    event.signal()
    scheduler.run(event.wait())
    event.clear()
    with pytest.raises(RuntimeError, match="deadlock"):
        scheduler.run(event.wait())


def test_virtual_time_jumps() -> None:
    """An hour passes at once, and exactly."""
    scheduler = Scheduler(VirtualClock())
    start = time.monotonic()
    scheduler.run(scheduler.sleep(3600))
    assert scheduler.clock.now() == 3600
    assert time.monotonic() - start < 1


def interleave(seed: int) -> tuple[str, list[int]]:
    """Ten threads that meet; the hash of the trace and the order in which they finished."""
    scheduler = Scheduler(VirtualClock(), seed)
    order: list[int] = []

    async def work(i: int) -> None:
        for _ in range(3):
            await scheduler.call(lambda: None)
        order.append(i)

    async def main() -> None:
        for thread in [scheduler.spawn(work(i), f"t{i}") for i in range(10)]:
            await thread.join()

    scheduler.run(main())
    return scheduler.trace_hash(), order


def test_one_seed_one_trace() -> None:
    """Rule 6; and another seed gives another order."""
    assert interleave(5) == interleave(5)
    assert interleave(5)[1] != interleave(6)[1]
    assert sorted(interleave(6)[1]) == list(range(10))


def test_a_daemon_that_never_began_is_no_loss(recwarn: pytest.WarningsRecorder) -> None:
    """A scheduler that is dropped before it has run says nothing; a daemon that has its turn begins
    then.
    """
    begun = []

    async def serve() -> None:
        begun.append(1)

    scheduler = Scheduler(VirtualClock(), 1)
    scheduler.serve(serve, "daemon")
    assert not begun
    scheduler.pump()
    assert begun == [1]
    scheduler.serve(serve, "daemon")
    del scheduler
    gc.collect()
    assert begun == [1] and not recwarn.list


def test_what_is_started_is_a_thread_only_if_it_waits() -> None:
    """It goes to its first wait at once, and on from there when the scheduler comes to it."""
    scheduler, event, steps = Scheduler(VirtualClock(), 1), Event(), list[str]()

    async def work(waits: bool) -> None:
        steps.append("began")
        if waits:
            await event.wait()
            steps.append("went on")

    scheduler.start(work(False), "never waits")
    scheduler.start(work(True), "waits")
    assert steps == ["began", "began"] and not scheduler.ready and scheduler.switches == 0
    event.signal()
    assert len(scheduler.ready) == 1
    scheduler.pump()
    assert steps[2:] == ["went on"]


def test_a_host_call_in_virtual_time_takes_its_latency() -> None:
    """From once to twice the seconds that are set, by the seed; what it raises comes out."""
    scheduler = Scheduler(VirtualClock(), 1)
    taken = []
    for i in range(40):
        before = scheduler.clock.now()
        assert scheduler.run(scheduler.call(lambda i=i: i, "call")) == i  # type: ignore[misc]
        taken.append(scheduler.clock.now() - before)
    assert (
        VIRTUAL_CALL_SECONDS <= min(taken) < 1.1 * VIRTUAL_CALL_SECONDS
        and 1.9 * VIRTUAL_CALL_SECONDS < max(taken) <= 2 * VIRTUAL_CALL_SECONDS
    )
    with pytest.raises(ZeroDivisionError):
        scheduler.run(scheduler.call(lambda: 1 // 0, "call"))


def test_machines_that_are_dropped_leave_nothing_that_cannot_end(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their daemons wait when they are dropped, and the collector may come to any part of them
    first.
    """
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    for i in range(12):
        with octavo.open_image(image) as volume:
            volume.write_bytes("a", b"x")
            if i % 2:
                assert volume.check() == []
        if i % 3 == 0:
            gc.collect()
    gc.collect()
    assert not lost


def test_a_daemon_that_fails_is_not_lost() -> None:
    """Nobody joins a daemon: its error comes out of run."""
    scheduler = Scheduler(VirtualClock())

    async def fail() -> None:
        raise ValueError("daemon")

    scheduler.spawn(fail(), "daemon", daemon=True)
    with pytest.raises(ValueError, match="daemon"):
        scheduler.run(scheduler.sleep(1))


@pytest.mark.parametrize("virtual", [True, False])
def test_waiting_no_longer_than(virtual: bool) -> None:
    """An event that comes in time, one that does not, one that is there; who gave up is not woken,
    and stands in nobody's way.
    """
    scheduler = Scheduler(VirtualClock() if virtual else RealClock())
    late, soon = Event(), Event()
    heard: list[tuple[str, bool]] = []

    async def waiter(name: str, event: Event, seconds: float) -> None:
        heard.append((name, await scheduler.wait(event, seconds)))

    async def main() -> None:
        threads = [
            scheduler.spawn(waiter(name, event, 0.03), name)
            for name, event in (("late", late), ("soon", soon))
        ]
        await scheduler.sleep(0.005)
        soon.signal()
        for thread in threads:
            await thread.join()
        assert not late.waiters and await scheduler.wait(soon, 0)
        late.signal()
        await scheduler.sleep(0.001)

    scheduler.run(main())
    assert heard == [("soon", True), ("late", False)]
    scheduler.close()


def test_a_full_queue_refuses() -> None:
    """try_put never waits; what was refused is not in it."""
    scheduler, queue = Scheduler(VirtualClock()), Queue[int](2)
    assert [queue.try_put(i) for i in range(3)] == [True, True, False]
    assert scheduler.run(queue.get()) == 0 and queue.try_put(3)
    assert [scheduler.run(queue.get()) for _ in range(2)] == [1, 3]
