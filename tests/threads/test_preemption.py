"""Pre-emption at marked points: one trace for one seed, an end, and the order of mutexes."""

from __future__ import annotations

from typing import Any

import pytest

from octavo.machine.clock import RealClock, VirtualClock
from octavo.status import Status
from octavo.threads import preemption
from octavo.threads.lockorder import LockOrderError
from octavo.threads.scheduler import Scheduler
from octavo.threads.wait import Event, Mutex, marks, preemption_point
from tests.machines import fails


def counted(seed: int, cpus: int) -> tuple[int, Scheduler]:
    """What three threads make of a count that each reads before a marked point and writes behind
    it.
    """
    scheduler, count = Scheduler(VirtualClock(), seed, cpus), 0

    async def work() -> None:
        nonlocal count
        for _ in range(20):
            old = count
            if marks.on:
                await preemption_point()
            count = old + 1

    async def all_of_them() -> None:
        for thread in [scheduler.spawn(work(), f"t{i}") for i in range(3)]:
            await thread.join()

    scheduler.run(all_of_them())
    assert not marks.on and marks.preemption is None
    return count, scheduler


@pytest.mark.parametrize("cpus", [0, 1, 2, 3, 8])
def test_what_is_no_step_is_seen(cpus: int) -> None:
    """Somebody comes between on any number of CPUs, and nobody does out of the mode."""
    assert (counted(1, cpus)[0] < 60) == bool(cpus)


@pytest.mark.parametrize("cpus", [1, 2, 8])
def test_one_seed_one_trace(cpus: int) -> None:
    """Again the same, and another with another seed or number of CPUs."""
    trace = counted(3, cpus)[1].trace_hash()
    assert counted(3, cpus)[1].trace_hash() == trace
    assert counted(4, cpus)[1].trace_hash() != trace
    assert counted(3, 3 - cpus if cpus < 3 else 2)[1].trace_hash() != trace


def test_cpus_that_cannot_be() -> None:
    """1 to 8, in virtual time."""
    fails(Status.INVALID_PARAMETER, Scheduler, VirtualClock(), 1, 9)
    fails(Status.INVALID_PARAMETER, Scheduler, VirtualClock(), 1, -1)
    fails(Status.INVALID_PARAMETER, Scheduler, RealClock(), 1, 2)


def test_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many points of one run nobody is pre-empted; the next run begins anew."""
    monkeypatch.setattr(preemption, "MOST_PREEMPTIONS", 30)
    _, scheduler = counted(1, 2)
    assert scheduler.preemption is not None and scheduler.preemption.points == 30

    async def look() -> None:
        if marks.on:
            await preemption_point()

    scheduler.run(look())
    assert scheduler.preemption.points == 31


def test_time_passes_while_threads_are_at_work() -> None:
    """A timer may come before a thread that never waits has ended, with one CPU, too."""
    scheduler, seen = Scheduler(VirtualClock(), 5, 1), list[str]()

    async def sleeper() -> None:
        await scheduler.sleep(1)
        seen.append("slept")

    async def main() -> None:
        thread = scheduler.spawn(sleeper(), "sleeper")
        for _ in range(2000):
            if marks.on:
                await preemption_point()
        seen.append("worked")
        await thread.join()

    scheduler.run(main())
    assert seen == ["slept", "worked"]


def test_waits_hold() -> None:
    """Mutex, event and time-out keep their promises whoever comes between."""
    for seed in range(20):
        scheduler = Scheduler(VirtualClock(), seed, 1 + seed % 8)
        mutex, event, inside, passed = Mutex("one"), Event(), 0, list[int]()

        async def work(
            number: int,
            scheduler: Scheduler = scheduler,
            mutex: Mutex = mutex,
            event: Event = event,
            passed: list[int] = passed,
        ) -> None:
            nonlocal inside
            if number == 0:
                event.signal()
            assert await scheduler.wait(event, 1000)
            for _ in range(5):
                async with mutex:
                    inside += 1
                    if marks.on:
                        await preemption_point()
                    assert inside == 1
                    inside -= 1
            passed.append(number)

        async def main(scheduler: Scheduler = scheduler, work: Any = work) -> None:
            for thread in [scheduler.spawn(work(i), f"t{i}") for i in range(5)]:
                await thread.join()

        scheduler.run(main())
        assert sorted(passed) == [0, 1, 2, 3, 4]


def taking(names: str) -> None:
    """Threads that each take two mutexes, after each other so that none ever waits."""
    scheduler = Scheduler(VirtualClock(), 1, 2)
    mutexes = {name: Mutex(name[0]) for name in names.split()}

    async def first_then(first: str, second: str) -> None:
        async with mutexes[first], mutexes[second]:
            pass

    for first, second in zip(list(mutexes)[::2], list(mutexes)[1::2], strict=True):
        scheduler.run(first_then(first, second))


def test_a_circle_of_mutexes_is_told() -> None:
    """With both stacks, also over a third one, and of one class; a tree of them is none."""
    taking("a b a2 b2 b3 c a4 c4")
    with pytest.raises(LockOrderError, match=r"(?s)a is taken while b .*first_then.*but b was "):
        taking("a b b2 a2")
    with pytest.raises(LockOrderError, match="a is taken while c is held"):
        taking("a b b2 c c2 a2")
    with pytest.raises(LockOrderError, match="a is taken while a is held"):
        taking("a a2")
