"""The balance-set manager: once a second it ages all working sets, and trims those that are too
large while memory is short.

    each second        accessed bits are taken away, the policy's time passes, low and high memory
                       are looked at
    memory is short    spaces over their maximum are trimmed to it, the largest excess first
    very short         pages of any space leave, as the policy chooses, until memory is no longer
                       short

Memory is short when available and modified pages are fewer than `plenty`, very short when fewer
than `minimum` are available. Nobody's minimum is touched. When all that pageout can do does not
give a frame that somebody needs, `out_of_memory` acts:

    FAIL            the reference fails with NO_MEMORY
    END_LARGEST     the space with the most private pages in frames and page files ends, and `log`
                    says so; `protected` ones do not

Source: NT's balance set manager (trims at MmPlentyFreePages and MmMinimumFreePages); Linux's OOM
killer for the last step.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from octavo.memory.frames.physical import RESERVE
from octavo.memory.reclaim.sources import Turn
from octavo.printing import keep

if TYPE_CHECKING:
    from octavo.memory.spaces.addressspace import AddressSpace
    from octavo.memory.spaces.virtual import VirtualMemory

PERIOD_SECONDS = 1.0
PLENTY = 800  # pages, on a machine large enough
MOST_PASSES = 64  # of eviction in one go


class OutOfMemory(enum.Enum):
    """What happens when no frame can be had."""

    FAIL = "fail"
    END_LARGEST = "end-largest"


class BalanceSetManager:
    """The kernel thread of `machine`, and its policy for the worst case."""

    def __init__(self, machine: VirtualMemory) -> None:
        self.machine = machine
        total = machine.total
        self.plenty = min(PLENTY, max(2 * RESERVE, total // 8))
        self.minimum = min(self.plenty // 2, RESERVE + total // 32)
        self.out_of_memory = OutOfMemory.FAIL
        self.log: list[str] = []
        self.passes = self.trimmed = self.ended = 0
        machine.pageout.add(Turn.LAST, lambda _: self.last_resort())
        machine.scheduler.serve(self._run, "balance-set-manager")

    async def _run(self) -> None:
        while True:
            await self.machine.scheduler.sleep(PERIOD_SECONDS)
            await self.balance()

    async def balance(self) -> None:
        """One pass."""
        machine, physical = self.machine, self.machine.physical
        self.passes += 1
        machine.pageout.conditions.look(physical.available)
        machine.replacement.harvest()
        machine.replacement.policy.tick()
        if machine.pageout.enabled and physical.available + physical.modified.count < self.plenty:
            for space, excess in sorted(self._excess(), key=lambda pair: -pair[1]):
                excess = min(
                    excess, self._excess_of(space)
                )  # some may have gone while the others were trimmed
                if space in machine.spaces and excess > 0:
                    self.trimmed += await machine.eviction.trim(space, excess)
            if physical.available < self.minimum:
                machine.pageout.trim(self.plenty - physical.available)
            for _ in range(MOST_PASSES):
                if physical.available >= self.minimum or not await machine.eviction.evict(
                    self.plenty - physical.available
                ):
                    break
        machine.pageout.conditions.look(physical.available)

    def _excess(self) -> list[tuple[AddressSpace, int]]:
        """The spaces over their maximum, and by how many pages."""
        return [(s, excess) for s in self.machine.spaces if (excess := self._excess_of(s)) > 0]

    @staticmethod
    def _excess_of(space: AddressSpace) -> int:
        return 0 if space.maximum is None else space.pages.staying - space.maximum

    def last_resort(self) -> bool:
        """Called when no frame can be had; True when it has done something about that."""
        if self.out_of_memory == OutOfMemory.FAIL:
            return False
        candidates = [(self._cost(s), s) for s in self.machine.spaces if not s.protected]
        cost, space = max(candidates, key=lambda pair: pair[0], default=(0, None))
        if space is None or not cost:
            return False
        resident = space.pages.resident
        space.ended = (
            f"out of memory: {space.name} was ended, which had {cost} private pages, "
            f"and {resident} pages in frames, {space.charge} committed"
        )
        keep(self.log, space.ended)
        self.ended += 1
        self.machine.destroy(space)
        return True

    def _cost(self, space: AddressSpace) -> int:
        """Private pages that ending a space would give back."""
        return space.pages.resident - space.pages.shared + space.pages.paged

    def statistics(self) -> dict[str, object]:
        """Passes, pages trimmed from spaces over their maximum, and what was ended for want of
        memory.
        """
        return {
            "passes": self.passes,
            "trimmed": self.trimmed,
            "plenty": self.plenty,
            "minimum": self.minimum,
            "ended": self.ended,
        }
