"""Eviction: pages leave address spaces, and their frames, as the replacement policy chooses.

    a section's page     taken out of all page tables; then it is on the standby or the modified
                         list, like any other
    private, zeros       dropped: it is demand-zero again
    private              written to a page file, in batches of BATCH pages in one stretch where the
                         page file has one

    present --victim--> held, WRITING --written--> paged, frame free
                           '--touched meanwhile--> present again;
                                                   without anybody who left, the slot is freed

All spaces that a fork let share a page lose it together. Locked pages stay, and those of spaces at
their minimum. Writing needs no frame, and a failed write leaves the page as it was.

Source: Mach's clustered page-out; NT's working sets. Departure: private pages have no standby list:
one that was written is freed at once, since it was chosen because frames are wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octavo.machine.abi import ACCESSED, DIRTY, PAGE_SHIFT, PRESENT, State
from octavo.machine.frames import Frames
from octavo.memory.pagers.pagefile import PageFiles, is_paged
from octavo.memory.pages.residency import Residency
from octavo.memory.pages.transfers import Transfers
from octavo.memory.reclaim.replacement import Replacement
from octavo.memory.reclaim.workingset import WorkingSet
from octavo.status import StatusError
from octavo.threads.wait import marks, preemption_point

if TYPE_CHECKING:
    from octavo.statistics import EvictionStatistics
BATCH = 32


@dataclass(slots=True)
class Victim:
    """A private page on its way out: the spaces that have it, and their entries while it is
    written.
    """

    frame: int
    address: int
    sharers: list[tuple[WorkingSet, int]]


class Eviction:
    """Evicts pages of `spaces`, a list that its owner changes as they come and go, to `files`;
    `standby` is False where clean pages are free at once (Mach).
    """

    def __init__(
        self,
        residency: Residency,
        files: PageFiles,
        replacement: Replacement,
        transfers: Transfers,
        spaces: Sequence[WorkingSet],
        standby: bool = True,
    ) -> None:
        self.residency, self.physical = residency, residency.physical
        self.files, self.replacement, self.transfers = files, replacement, transfers
        self.spaces, self.standby = spaces, standby
        self.batch = BATCH
        self.writing: set[int] = set()  # frames of pages on their way out
        self.dropped = self.evicted = self.kept = self.unmapped = self.spared = 0

    async def evict(self, needed: int) -> int:
        """Lets at least `needed` pages leave, if they can; returns how many have left."""
        if marks.on:
            await preemption_point()
        self.replacement.harvest()
        policy = self.replacement.policy
        wanted = max(needed, self.batch)
        left, victims, spared = 0, list[Victim](), list[int]()
        for _ in range(policy.count):
            frame = policy.victim()
            if self._must_stay(frame):
                spared.append(frame)
                continue
            left += self._take(frame, victims)
            if left + len(victims) >= wanted:
                break
        self.spared += len(spared)
        for frame in spared:
            self.replacement.enter_again(frame)
        return left + await self._write(victims)

    async def trim(self, space: WorkingSet, pages: int) -> int:
        """Lets `pages` pages of one space leave, those not used for longest first as far as
        accessed bits say; returns how many have.
        """
        policy, candidates = self.replacement.policy, list[tuple[int, int, int]]()
        for first, end in space.ranges():
            for _, entry in space.tables.entries(first << PAGE_SHIFT, end << PAGE_SHIFT):
                frame = space.pages.frame_of(entry)
                if not is_paged(entry) and policy.has(frame):
                    age = policy.list_of(frame) if policy.name == "ageing" else 0
                    candidates.append((entry & ACCESSED, -age, frame))
        return await self._send([frame for _, _, frame in sorted(candidates)], pages)

    async def let_go(self, space: WorkingSet, first: int, end: int) -> int:
        """Lets pages [first, end) of one space leave now, but for those that must stay; returns how
        many have.
        """
        entries = space.tables.entries(first << PAGE_SHIFT, end << PAGE_SHIFT)
        return await self._send(
            [space.pages.frame_of(entry) for _, entry in entries if not is_paged(entry)],
            end - first,
        )

    async def _send(self, frames: list[int], most: int) -> int:
        """Lets pages in the first `most` of these frames leave that may; returns how many have."""
        left, victims, policy = 0, list[Victim](), self.replacement.policy
        for frame in frames:
            if left + len(victims) >= most:
                break
            if policy.has(frame) and not self._must_stay(frame):
                policy.remove(frame)
                left += self._take(frame, victims)
        return left + await self._write(victims)

    # -- one frame --------------------------------------------------------------------------------

    def _must_stay(self, frame: int) -> bool:
        """True for a page that is locked somewhere, or in a space that has no more than its
        minimum; or came into a frame that is being written.
        """
        if frame in self.writing:
            return True
        if self.replacement.is_private(frame):
            page = self.replacement.page_of(frame)
            return any(
                page in s.locked or s.pages.staying <= s.minimum
                for s in self.replacement.sharers(frame)
            )
        section, number = self.replacement.section_page(frame)
        return any(view.must_keep(number) for view in section.views)

    def _take(self, frame: int, victims: list[Victim]) -> int:
        """Takes a page out of its spaces, or makes a victim of it; returns 1 when it has left."""
        if not self.replacement.is_private(frame):
            return self._unmap(frame)
        address = self.replacement.page_of(frame) << PAGE_SHIFT
        sharers = [(space, space.tables.get(address)) for space in self.replacement.sharers(frame)]
        if all(entry & PRESENT and not entry & DIRTY for _, entry in sharers):
            for space, entry in sharers:
                space.pages.forget_zeros(address, entry)
            self.dropped += 1
            return 1
        victims.append(
            Victim(
                frame,
                address,
                [(space, space.pages.begin_write(address, entry)) for space, entry in sharers],
            )
        )
        return 0

    def _unmap(self, frame: int) -> int:
        section, number = self.replacement.section_page(frame)
        pfns, (segment, _) = self.physical.pfns, self.residency.segments.of(frame)
        for view in section.views:
            view.forget(number, number + 1)
        if segment.mapped:
            return 0  # the cache shows it still
        self.unmapped += 1
        if (
            not self.standby
            and pfns.pte[frame]
            and self.physical.pfns.state_of(frame) == State.STANDBY
        ):
            self.physical.drop_standby(frame)
        return 1

    # -- writing ----------------------------------------------------------------------------------

    async def _write(self, victims: list[Victim]) -> int:
        """Writes victims to the page files; returns how many frames are free by that."""
        files, ram = self.files, self.physical.ram
        if not victims:
            return 0
        runs = files.take(len(victims))
        room = sum(size for _, _, size in runs)
        for victim in victims[room:]:
            self._restore(victim)
        del victims[room:]
        frames = {victim.frame for victim in victims}
        self.writing |= frames
        slots = [files.entry(file, first + i) for file, first, size in runs for i in range(size)]
        try:
            with self.transfers.page_out():
                if victims:
                    await files.write(runs, Frames.of(ram, [victim.frame for victim in victims]))
        except StatusError:
            for victim, slot in zip(victims, slots, strict=True):
                self._restore(victim)
                files.use(slot, -1)
            return 0
        finally:
            self.writing -= frames
        return sum(self._finish(victim, slot) for victim, slot in zip(victims, slots, strict=True))

    def _live(self, victim: Victim) -> list[tuple[WorkingSet, int]]:
        """Those for whom the page is on its way out still."""
        return [
            (s, marked)
            for s, marked in victim.sharers
            if s in self.spaces and s.tables.get(victim.address) == marked
        ]

    def _finish(self, victim: Victim, slot: int) -> int:
        live = self._live(victim)
        for space, marked in live:
            self.files.use(slot, 1)
            space.pages.end_write(victim.address, marked, slot)
        self.files.use(slot, -1)
        if self._is_there(victim):
            self.replacement.enter_again(victim.frame)
            self.kept += 1
            return 0
        self.evicted += 1
        return 1

    def _restore(self, victim: Victim) -> None:
        """Undoes `begin_write` for a page that could not be written."""
        for space, marked in self._live(victim):
            space.undo_write(victim.address, marked)
        if self._is_there(victim):
            self.replacement.enter_again(victim.frame)

    def _is_there(self, victim: Victim) -> bool:
        """True when the frame still has this very page, which the policy does not know."""
        policy, replacement = self.replacement.policy, self.replacement
        if (
            not self.replacement.is_private(victim.frame)
            or policy.has(victim.frame)
            or replacement.page_of(victim.frame) << PAGE_SHIFT != victim.address
        ):
            return False
        return bool(replacement.sharers(victim.frame))

    def statistics(self) -> EvictionStatistics:
        """Pages taken out of the tables, dropped as zeros, written and freed; victims that stayed:
        touched meanwhile, or held.
        """
        from octavo.statistics import EvictionStatistics

        return EvictionStatistics(
            unmapped=self.unmapped,
            dropped=self.dropped,
            evicted=self.evicted,
            kept=self.kept,
            spared=self.spared,
        )
