"""The pages that address spaces have, as the replacement policy sees them: which have come, which
were used, which shall leave.

A page is known to the policy while page-table entries lead to its frame; its key is who has it (a
family of spaces that forks made, or a section) and its number there, external for files. PFN entry
of a private page: NEXT and PREV hold its page number (31 low bits, the rest), PTE its family, so
that all entries that lead to it can be found: after a fork it is at the same address in each space
of the family that has it.

`harvest` takes the accessed bits of all page tables away and tells the policy; it is done before
victims are chosen, and by the balance-set manager.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octavo.machine import mmukernels
from octavo.machine.abi import ACCESSED, FRAME_MASK, PAGE_SHIFT, PRESENT
from octavo.machine.kernels import compile_kernels
from octavo.machine.mmu import SoftMmu
from octavo.machine.mmukernels import BITS, LEVELS
from octavo.memory.pages.residency import Residency
from octavo.memory.pages.section import Section
from octavo.memory.reclaim import harvestkernels
from octavo.memory.reclaim.policies import lists
from octavo.memory.reclaim.policies.lists import key_of
from octavo.memory.reclaim.policies.policy import Policy
from octavo.memory.reclaim.workingset import WorkingSet

if TYPE_CHECKING:
    from octavo.statistics import ReplacementStatistics

COMPILE_FROM = 4096  # pages in frames
SMALL = 64  # once the kernels are compiled
EXTERNAL = 1


class Replacement:
    """Policy `name` over the pages of `spaces`, of which at most `most` are in frames; `families`
    by number are spaces that may share private pages, whose frames are held by `holder`. Who owns
    the two lists changes them as spaces come and go.
    """

    def __init__(
        self,
        name: str,
        most: int,
        residency: Residency,
        mmu: SoftMmu,
        holder: int,
        spaces: Sequence[WorkingSet],
        families: Mapping[int, Sequence[WorkingSet]],
    ) -> None:
        self.residency, self.mmu, self.holder = residency, mmu, holder
        self.spaces, self.families = spaces, families
        self.pfns = residency.physical.pfns
        self.policy = Policy(name, self.pfns.frames - 1, max(most, 1))
        self._numbers = count(1)
        self.harvests = 0
        self._is_compiled = False

    def new_number(self) -> int:
        """A number for a family of spaces or a section."""
        return next(self._numbers)

    def naming(self, section: Section) -> tuple[int, int]:
        """What the keys of a section's pages are made with: its number, which it gets when it is
        first asked for, and EXTERNAL or 0.
        """
        if not section.number:
            section.number = self.new_number()
        return section.number, EXTERNAL if section.pager.traits.lazy else 0

    def key(self, section: Section, page: int) -> int:
        """By what the policy knows a section's page."""
        owner, external = self.naming(section)
        return key_of(owner, page, external)

    # -- pages come and go ------------------------------------------------------------------------

    def miss(self, key: int) -> None:
        """A page is about to be brought in; before a frame is taken for it."""
        self.policy.miss(key)

    def miss_private(self, family: int, page: int) -> None:
        """A private page is about to be brought in."""
        self.policy.miss(key_of(family, page, 0))

    def enter(self, frame: int, key: int) -> None:
        """A section's page has its first entry."""
        self.policy.insert(frame, key)

    def enter_private(self, frame: int, family: int, page: int) -> None:
        """A private page is in a frame now."""
        pfns = self.pfns
        pfns.next[frame], pfns.prev[frame], pfns.pte[frame] = page & 0x7FFFFFFF, page >> 31, family
        self.policy.insert(frame, key_of(family, page, 0))

    def enter_again(self, frame: int) -> None:
        """A page stays after all, which the policy has given up as a victim."""
        if self.is_private(frame):
            self.enter_private(frame, self.pfns.pte[frame], self.page_of(frame))
        else:
            self.enter(frame, self.key(*self.section_page(frame)))

    def gone(self, frame: int) -> None:
        """No entry leads to a frame any more."""
        if self.policy.has(frame):
            self.policy.remove(frame)

    def enter_private_many(self, frames: npt.NDArray[np.int64], family: int) -> None:
        """As `enter_private`, for pages whose numbers a kernel has put into their PFN entries."""
        self._compiled.enter_many(self.policy.state, self.pfns.flat, frames, len(frames), family)

    def enter_many(self, pairs: npt.NDArray[np.int64]) -> None:
        """As `enter`, for pairs of frame and key, one after the other."""
        self._compiled.enter_keys(self.policy.state, self.pfns.flat, pairs, len(pairs) // 2)

    def is_private(self, frame: int) -> bool:
        """True for the frame of a private page."""
        return self.pfns.holder[frame] == self.holder

    def page_of(self, frame: int) -> int:
        """The page number of a private page."""
        return self.pfns.next[frame] | self.pfns.prev[frame] << 31

    def section_page(self, frame: int) -> tuple[Section, int]:
        """Which page of which section is in a frame."""
        return self.residency.segments.page_of(frame)

    def sharers(self, frame: int) -> list[WorkingSet]:
        """The spaces that have a private page."""
        address = self.page_of(frame) << PAGE_SHIFT
        family = self.families[self.pfns.pte[frame]]
        return [
            s for s in family if (entry := s.tables.get(address)) and s.pages.leads_to(entry, frame)
        ]

    # -- accessed bits ----------------------------------------------------------------------------

    @property
    def _compiled(self) -> SimpleNamespace:
        self._is_compiled = True
        return compile_kernels(lists, self.policy.module, mmukernels, harvestkernels)

    def harvest(self) -> int:
        """Takes all accessed bits away and tells the policy; returns how many there were."""
        self.harvests += 1
        take = (
            self._harvest_compiled
            if self.policy.count >= (SMALL if self._is_compiled else COMPILE_FROM)
            else self._harvest
        )
        found = sum(take(space, *pages) for space in self.spaces for pages in space.ranges())
        if found:
            self.mmu.invalidate_all()
        return found

    def _harvest_compiled(self, space: WorkingSet, first: int, end: int) -> int:
        state = self.mmu.states[0]
        return int(
            self._compiled.harvest(
                self.mmu.tables,
                self.policy.state,
                space.tables.root,
                int(state[LEVELS]),
                int(state[BITS]),
                first,
                end,
            )
        )

    def _harvest(self, space: WorkingSet, first: int, end: int) -> int:
        found = 0
        entries = list(space.tables.entries(first << PAGE_SHIFT, end << PAGE_SHIFT))
        for address, entry in entries:
            if entry & (PRESENT | ACCESSED) == PRESENT | ACCESSED:
                space.tables.put(address, entry & ~ACCESSED)
                frame = (entry & FRAME_MASK) >> PAGE_SHIFT
                if self.policy.has(frame):
                    self.policy.look(frame)
                found += 1
        return found

    def statistics(self) -> ReplacementStatistics:
        """The policy's lists, and how often accessed bits were looked at."""
        from octavo.statistics import ReplacementStatistics, of

        return ReplacementStatistics(**of(self.policy.statistics()), harvests=self.harvests)
