"""Single frames for virtual CPUs: the pools of `octavo.memory.frames.pagepools` with their ledger.

`take` and `free` run in the interpreter. Compiled kernels may use the same arrays meanwhile, one
host thread a CPU; after that `settle` brings the PFN database's counts up to date, before anything
else looks at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from octavo.machine.abi import STATE, State
from octavo.memory.frames import pagepools
from octavo.memory.frames.buddy import Buddy
from octavo.memory.frames.pagepools import (
    COUNT,
    MOST_POOLED,
    POOL_WORDS,
    REFILLS,
    SIZE,
    SLOTS,
    TAKEN,
    TRANSFER,
)

if TYPE_CHECKING:
    from octavo.statistics import CpuPagesStatistics


class CpuPages:
    """Pools of `cpus` virtual CPUs in front of one zone."""

    def __init__(self, zone: Buddy, cpus: int) -> None:
        self.zone = zone
        self.cpus = cpus
        self.array = np.zeros(cpus * POOL_WORDS, np.int32)
        self.state = memoryview(self.array.data)
        size = min(max(zone.frames // 1024, 1), MOST_POOLED)
        for cpu in range(cpus):
            self.state[cpu * POOL_WORDS + SIZE] = size
            self.state[cpu * POOL_WORDS + TRANSFER] = (size + 1) // 2

    def take(self, cpu: int, privileged: bool = False) -> int:
        """One frame in state ACTIVE; 0 when there is none above the watermark."""
        frame = pagepools.take_page(
            self.zone.pfns.words, self.zone.state, self.state, cpu, privileged
        )
        self.settle()
        return frame

    def free(self, cpu: int, frame: int) -> None:
        """Gives a frame in state ACTIVE back."""
        assert self.zone.pfns.state_of(frame) == State.ACTIVE, (
            f"frame {frame:#x} is freed and nobody has it"
        )
        pagepools.free_page(self.zone.pfns.words, self.zone.state, self.state, cpu, frame)
        self.settle()

    def empty(self) -> None:
        """Moves all pooled frames back to the buddy allocator, as when memory is short."""
        for cpu in range(self.cpus):
            base = cpu * POOL_WORDS
            pagepools.drain(
                self.zone.pfns.words,
                self.zone.state,
                self.state,
                base,
                self.state[base + COUNT],
            )
        self.settle()

    def settle(self) -> None:
        """Brings the counts of free, pooled and active frames up to date from the pools' own."""
        counts = self.zone.pfns.counts
        pooled = taken = 0
        for base in range(0, self.cpus * POOL_WORDS, POOL_WORDS):
            pooled += self.state[base + COUNT]
            taken += self.state[base + TAKEN]
            self.state[base + TAKEN] = 0
        counts[State.FREE] -= taken + pooled - counts[State.POOLED]
        counts[State.ACTIVE] += taken
        counts[State.POOLED] = pooled

    def statistics(self) -> CpuPagesStatistics:
        """Frames in each pool, their capacity, and how often the lock was taken."""
        from octavo.statistics import CpuPagesStatistics

        bases = range(0, self.cpus * POOL_WORDS, POOL_WORDS)
        return CpuPagesStatistics(
            pooled=[self.state[base + COUNT] for base in bases],
            size=self.state[SIZE],
            transfer=self.state[TRANSFER],
            refills=[self.state[base + REFILLS] for base in bases],
        )

    def check(self) -> None:
        """Every pooled frame is in one pool, once, and in the state that says so."""
        seen: list[int] = []
        for base in range(0, self.cpus * POOL_WORDS, POOL_WORDS):
            assert self.state[base + COUNT] <= self.state[base + SIZE]
            seen += self.state[base + SLOTS : base + SLOTS + self.state[base + COUNT]].tolist()
        assert len(seen) == len(set(seen)), "a frame is pooled twice"
        found = np.flatnonzero(self.zone.pfns.table[:, STATE] == State.POOLED).tolist()
        assert sorted(seen) == found, "pools and PFN database disagree"
