"""Runs tests on virtual CPUs that pre-empt each other at marked points: by seeds and numbers of
CPUs, a few in `make test` and many in `make preempt`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import octavo.system
import tests.machines
import tests.memory.memories
import tests.stores
from octavo.machine.clock import Clock
from octavo.threads.scheduler import Scheduler

CPUS = (1, 2, 4, 8)
SEEDS = int(os.environ.get("OCTAVO_PREEMPT", "1"))  # for each number of CPUs


def schedules() -> list[tuple[int, int]]:
    """(seed, CPUs) to run a test with."""
    return [(seed * 10 + cpus, cpus) for seed in range(SEEDS) for cpus in CPUS]


class InspectedMachine(tests.machines.Machine):
    """A machine whose frames and segments balance at marked points, too, not only between calls."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]  # whatever a machine takes
        assert self.scheduler.preemption is not None
        self.scheduler.preemption.inspect = self.memory.check


@contextmanager
def preempted(cpus: int) -> Iterator[None]:
    """Systems and machines made in here have so many virtual CPUs that pre-empt each other."""

    def make(clock: Clock, seed: int = 0) -> Scheduler:
        return Scheduler(clock, seed, cpus if clock.virtual else 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(octavo.system, "Scheduler", make)
        patch.setattr(tests.machines, "Scheduler", make)
        patch.setattr(tests.memory.memories, "Scheduler", make)
        patch.setattr(tests.stores, "Machine", InspectedMachine)
        yield
