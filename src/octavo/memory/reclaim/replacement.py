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

from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octavo.machine import mmukernels
from octavo.machine.abi import ACCESSED, FRAME_MASK, PAGE_SHIFT, PRESENT
from octavo.machine.kernels import compile_kernels
from octavo.machine.mmukernels import BITS, LEVELS
from octavo.memory.pages.section import Section
from octavo.memory.reclaim import harvestkernels
from octavo.memory.reclaim.policies import lists
from octavo.memory.reclaim.policies.lists import key_of
from octavo.memory.reclaim.policies.policy import Policy

if TYPE_CHECKING:
    from octavo.memory.spaces.addressspace import AddressSpace
    from octavo.memory.spaces.virtual import VirtualMemory

COMPILE_FROM = 4096  # pages in frames
SMALL = 64  # once the kernels are compiled
EXTERNAL = 1


class Replacement:
    """Policy `name` over the pages of the spaces of `machine`."""

    def __init__(self, machine: VirtualMemory, name: str) -> None:
        self.machine = machine
        self.pfns = machine.physical.pfns
        self.policy = Policy(name, machine.physical.pfns.frames - 1, max(machine.total, 1))
        self.families: dict[int, list[AddressSpace]] = {}
        self._numbers = count(1)
        self.harvests = 0
        self._is_compiled = False

    def new_number(self) -> int:
        """A number for a family of spaces or a section."""
        return next(self._numbers)

    def section_number(self, section: Section) -> int:
        """A section's number; it gets one when it is first asked for."""
        if not section.number:
            section.number = self.new_number()
        return section.number

    def naming(self, section: Section) -> tuple[int, int]:
        """What the keys of a section's pages are made with: its number, and EXTERNAL or 0."""
        return self.section_number(section), EXTERNAL if section.pager.traits.lazy else 0

    # -- pages come and go ------------------------------------------------------------------------

    def miss(self, family: int, page: int) -> None:
        """A private page is about to be brought in; before a frame is taken for it."""
        self.policy.miss(key_of(family, page, 0))

    def miss_shared(self, section: Section, page: int) -> None:
        """A section's page is about to be brought in."""
        owner, external = self.naming(section)
        self.policy.miss(key_of(owner, page, external))

    def private(self, frame: int, family: int, page: int) -> None:
        """A private page is in a frame now."""
        pfns = self.pfns
        pfns.next[frame], pfns.prev[frame], pfns.pte[frame] = page & 0x7FFFFFFF, page >> 31, family
        self.policy.insert(frame, key_of(family, page, 0))

    def again(self, frame: int) -> None:
        """A private page stays after all: `private` once more."""
        self.private(frame, self.pfns.pte[frame], self.page_of(frame))

    def shared(self, frame: int) -> None:
        """A section's page has its first entry."""
        section, page = self.section_page(frame)
        owner, external = self.naming(section)
        self.policy.insert(frame, key_of(owner, page, external))

    def gone(self, frame: int) -> None:
        """No entry leads to a frame any more."""
        if self.policy.has(frame):
            self.policy.remove(frame)

    def private_many(self, frames: npt.NDArray[np.int64], family: int) -> None:
        """As `private`, for pages whose numbers a kernel has put into their PFN entries."""
        self._compiled.enter_many(
            self.policy.state, self.machine.physical.pfns.flat, frames, len(frames), family
        )

    def shared_many(self, pairs: npt.NDArray[np.int64]) -> None:
        """As `shared`, for pairs of frame and key, one after the other."""
        self._compiled.enter_keys(
            self.policy.state, self.machine.physical.pfns.flat, pairs, len(pairs) // 2
        )

    def page_of(self, frame: int) -> int:
        """The page number of a private page."""
        return self.pfns.next[frame] | self.pfns.prev[frame] << 31

    def section_page(self, frame: int) -> tuple[Section, int]:
        """Which page of which section is in a frame."""
        return self.machine.residency.segments.page_of(frame)

    def sharers(self, frame: int) -> list[AddressSpace]:
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
        machine, found = self.machine, 0
        bulk = self.policy.count >= (SMALL if self._is_compiled else COMPILE_FROM)
        state = machine.mmu.states[0]
        for space in machine.spaces:
            for vad in space.vads.all:
                if bulk:
                    form = int(state[LEVELS]), int(state[BITS])
                    found += int(
                        self._compiled.harvest(
                            machine.mmu.tables,
                            self.policy.state,
                            space.tables.root,
                            *form,
                            vad.start,
                            vad.end,
                        )
                    )
                else:
                    found += self._harvest(space, vad.start << PAGE_SHIFT, vad.end << PAGE_SHIFT)
        if found:
            machine.mmu.invalidate_all()
        return found

    def _harvest(self, space: AddressSpace, start: int, end: int) -> int:
        found = 0
        for address, entry in list(space.tables.entries(start, end)):
            if entry & (PRESENT | ACCESSED) == PRESENT | ACCESSED:
                space.tables.put(address, entry & ~ACCESSED)
                frame = (entry & FRAME_MASK) >> PAGE_SHIFT
                if self.policy.has(frame):
                    self.policy.look(frame)
                found += 1
        return found

    def statistics(self) -> dict[str, object]:
        """The policy's lists, and how often accessed bits were looked at."""
        return {**self.policy.statistics(), "harvests": self.harvests}
