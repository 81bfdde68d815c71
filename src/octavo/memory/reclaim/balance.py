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
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from octavo.memory.frames.physical import RESERVE, PhysicalMemory
from octavo.memory.reclaim.eviction import Eviction
from octavo.memory.reclaim.pageout import Pageout
from octavo.memory.reclaim.replacement import Replacement
from octavo.memory.reclaim.workingset import WorkingSet
from octavo.printing import keep
from octavo.threads.scheduler import Scheduler
from octavo.threads.wait import marks, preemption_point

if TYPE_CHECKING:
    from octavo.statistics import BalanceStatistics

PERIOD_SECONDS = 1.0
PLENTY = 800  # pages, on a machine large enough
MOST_PASSES = 64  # of eviction in one go


class OutOfMemory(enum.Enum):
    """What happens when no frame can be had."""

    FAIL = "fail"
    END_LARGEST = "end-largest"


S = TypeVar("S", bound=WorkingSet)


class BalanceSetManager(Generic[S]):
    """The kernel thread that balances `spaces`, a list that its owner changes as they come and go,
    over `total` frames; and the policy for the worst case, in which it calls `end` with a space.
    """

    def __init__(
        self,
        physical: PhysicalMemory,
        scheduler: Scheduler,
        pageout: Pageout,
        replacement: Replacement,
        eviction: Eviction,
        spaces: Sequence[S],
        end: Callable[[S], None],
        total: int,
    ) -> None:
        self.physical, self.scheduler, self.pageout = physical, scheduler, pageout
        self.replacement, self.eviction, self.spaces, self.end = replacement, eviction, spaces, end
        self.plenty = min(PLENTY, max(2 * RESERVE, total // 8))
        self.minimum = min(self.plenty // 2, RESERVE + total // 32)
        self.out_of_memory = OutOfMemory.FAIL
        self.log: list[str] = []
        self.passes = self.trimmed = self.ended = 0
        scheduler.serve(self._run, "balance-set-manager")

    async def _run(self) -> None:
        while True:
            await self.scheduler.sleep(PERIOD_SECONDS)
            await self.balance()

    async def balance(self) -> None:
        """One pass."""
        physical = self.physical
        self.passes += 1
        self.pageout.conditions.look(physical.available)
        self.replacement.harvest()
        self.replacement.policy.tick()
        if self.pageout.enabled and physical.available + physical.modified.count < self.plenty:
            await self._trim_excess()
            if physical.available < self.minimum:
                self.pageout.trim(self.plenty - physical.available)
            for _ in range(MOST_PASSES):
                if physical.available >= self.minimum or not await self.eviction.evict(
                    self.plenty - physical.available
                ):
                    break
        self.pageout.conditions.look(physical.available)

    async def _trim_excess(self) -> None:
        """Trims spaces to their maximum."""
        for space, excess in sorted(self._excess(), key=lambda pair: -pair[1]):
            if marks.on:
                await preemption_point()
            # some may have gone while the others were trimmed
            excess = min(excess, self._excess_of(space))
            if space in self.spaces and excess > 0:
                self.trimmed += await self.eviction.trim(space, excess)

    def _excess(self) -> list[tuple[S, int]]:
        """The spaces over their maximum, and by how many pages."""
        return [(s, excess) for s in self.spaces if (excess := self._excess_of(s)) > 0]

    @staticmethod
    def _excess_of(space: WorkingSet) -> int:
        return 0 if space.maximum is None else space.pages.staying - space.maximum

    def last_resort(self) -> bool:
        """Called when no frame can be had; True when it has done something about that."""
        if self.out_of_memory == OutOfMemory.FAIL:
            return False
        candidates = [(self._cost(s), s) for s in self.spaces if not s.protected]
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
        self.end(space)
        return True

    @staticmethod
    def _cost(space: WorkingSet) -> int:
        """Private pages that ending a space would give back."""
        return space.pages.resident - space.pages.of_sections + space.pages.paged

    def statistics(self) -> BalanceStatistics:
        """Passes, pages trimmed from spaces over their maximum, and what was ended for want of
        memory.
        """
        from octavo.statistics import BalanceStatistics

        return BalanceStatistics(
            passes=self.passes,
            trimmed=self.trimmed,
            plenty=self.plenty,
            minimum=self.minimum,
            ended=self.ended,
        )
