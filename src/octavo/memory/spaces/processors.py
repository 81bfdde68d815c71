"""Virtual CPUs that run references: what kernels cannot resolve is resolved here, one by one."""

from __future__ import annotations

import numpy as np

from octavo.arguments import invalid, whole
from octavo.machine.kernels import need_compiler
from octavo.machine.mmu import PageFault, References, SoftMmu
from octavo.machine.mmukernels import EXECUTE, FAULT_FETCH, FAULT_WRITE, READ, WRITE
from octavo.memory.spaces.bulk import Bulk
from octavo.memory.spaces.faults import FaultResolver
from octavo.memory.spaces.space import Space


class Processors:
    """The CPUs of `mmu`."""

    def __init__(self, mmu: SoftMmu, bulk: Bulk, faults: FaultResolver) -> None:
        self.mmu, self.bulk, self.faults = mmu, bulk, faults

    async def run(self, space: Space, refs: References, cpu: int) -> int:
        """See `VirtualMemory.run`."""
        _check(refs)
        whole(cpu, "the CPU to run on", 0, len(self.mmu.states) - 1)
        need_compiler(len(refs), "a run")
        at = faults = 0
        while True:
            space.check_alive()
            # while a fault waited, another thread may have run here
            self.mmu.switch(cpu, space.tables.root)
            before = self.bulk.filled
            stop = self.bulk.run(space, cpu, refs, at)
            faults += self.bulk.filled - before
            if stop is None:
                return faults
            await self.faults.touch(space, stop.address & (1 << 64) - 1, _kind(stop))
            at = stop.index
            faults += 1


def _kind(stop: PageFault) -> int:
    """The kind of reference that a processor has stopped at."""
    if stop.error & FAULT_FETCH:
        return EXECUTE
    return WRITE if stop.error & FAULT_WRITE else READ


def _check(refs: object) -> None:
    """StatusError INVALID_PARAMETER for what are no references."""
    if not isinstance(refs, np.ndarray) or refs.dtype != np.int64 or refs.ndim != 1:
        raise invalid(
            "references are a NumPy array of int64 in one dimension: see "
            "octavo.machine.mmu.reference"
        )
