"""Virtual memory of one machine: its address spaces, the soft MMU, and the commit limit.

Committed pages are charged when they are committed, so that a promise to keep them can be held:
`octavo.memory.spaces.commit`.
"""

from __future__ import annotations

import numpy as np

from octavo.arguments import given, invalid, label, whole
from octavo.machine.abi import HOLDER, SEGMENT_PAGES, SEGMENT_SHIFT, USE
from octavo.machine.mmu import References, SoftMmu
from octavo.machine.mmukernels import EXECUTE, READ, WRITE
from octavo.machine.paging import PageTableFormat
from octavo.memory.frames.tableframes import TableFrames
from octavo.memory.manager import MemoryManager
from octavo.memory.pagers.pagefile import PageFiles, PageStore
from octavo.memory.reclaim.balance import BalanceSetManager
from octavo.memory.reclaim.eviction import Eviction
from octavo.memory.reclaim.profiles import Profile, make_profile
from octavo.memory.reclaim.replacement import Replacement
from octavo.memory.reclaim.sources import Turn
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.bulk import Bulk
from octavo.memory.spaces.commit import Commitment
from octavo.memory.spaces.privatepages import PrivatePages, is_leaving, is_paged
from octavo.memory.spaces.sections import Sections
from octavo.memory.spaces.vad import Vad
from octavo.memory.spaces.view import Inherit, View
from octavo.status import Status, StatusError

CLOSE_SECONDS = 0.001  # how often closing looks whether all has ended
BULK_PAGES = 256  # from here on a kernel shares pages in a fork


class VirtualMemory:
    """The spaces of a machine with page tables of format `layout`, on `cpus` virtual CPUs."""

    def __init__(
        self,
        memory: MemoryManager,
        layout: PageTableFormat,
        cpus: int = 1,
        profile: Profile | None = None,
    ) -> None:
        self.memory = memory
        self.physical, self.pageout, self.faults = memory.physical, memory.pageout, memory.faults
        self.residency = memory.residency
        self.scheduler = memory.scheduler
        # Frames that pages can be in, whatever the cache has in them now.
        self.total = (
            self.physical.buddy.free_frames
            + self.physical.zeroed.count
            + sum(s.used for s in self.residency.segments.all())
        )
        profile = profile or make_profile()
        self.cluster = profile.cluster  # pages that one fault on a view brings in at most
        self.format = layout
        self.mmu = SoftMmu(memory.ram, layout, cpus)
        self.holder = memory.pfns.new_holder("private memory", wired=False)
        self.table_frames = TableFrames(self.physical, "address spaces")
        self.spaces: list[AddressSpace] = []
        self.files = PageFiles()
        self.sections = Sections(self)
        self.commitment = Commitment(self)
        self.replacement = Replacement(self, profile.policy)
        self.eviction = Eviction(self, self.replacement, profile.standby)
        self.bulk = Bulk(self)
        self.bulk_pages = BULK_PAGES
        self.balance = BalanceSetManager(self)
        self.pageout.add(Turn.SPACES, self.eviction.evict)

    def add_page_file(
        self, store: PageStore, initial: int | None = None, maximum: int | None = None
    ) -> None:
        """Puts a device to use as a page file, which raises the commit limit; sizes in bytes.
        StatusError as `PageFiles.add`.
        """
        self.commitment.slots += self.files.add(store, initial, maximum)

    @property
    def limit(self) -> int:
        """Pages that may be promised."""
        return self.commitment.limit

    @property
    def charged(self) -> int:
        """Pages that are promised."""
        return self.commitment.charged

    def create(self, name: str) -> AddressSpace:
        """An empty space.

        StatusError INSUFFICIENT_RESOURCES without a frame for its root table, OBJECT_NAME_INVALID.
        """
        return self._create(name, self.replacement.new_number())

    def _create(self, name: str, family: int) -> AddressSpace:
        space = AddressSpace(self, label(name, "the name of a space"), family)
        self.spaces.append(space)
        self.replacement.families.setdefault(family, []).append(space)
        return space

    def fork(self, parent: AddressSpace, name: str) -> AddressSpace:
        """A space with all that `parent` has at the same addresses; pages are copied when one side
        writes them. Write watch is not inherited: it is of the region that asked for it.

        StatusError COMMITMENT_LIMIT or INSUFFICIENT_RESOURCES: there is no new space then.
        """
        given(parent, AddressSpace, "a space to be forked").check_alive()
        if parent not in self.spaces:
            raise StatusError(
                Status.INVALID_PARAMETER, f"{parent.name} is a space of another machine"
            )
        child = self._create(name, parent.pages.family)
        try:
            for vad in parent.vads.all:
                self._inherit(parent, child, vad)
            for vad in parent.vads.all:
                self._inherit_image(child, vad)
        except StatusError:
            self.destroy(child)
            raise
        return child

    def _inherit(self, parent: AddressSpace, child: AddressSpace, vad: Vad) -> None:
        if vad.inherit == Inherit.NONE:
            return
        self.commitment.charge(vad.charge, child.name, self.commitment.tables_for(vad.runs))
        child.charge += vad.charge
        copy = Vad(
            vad.start,
            vad.end,
            vad.protect,
            list(vad.runs),
            None,
            vad.inherit,
            vad.copies,
            vad.advice,
        )
        child.vads.add(copy)
        if vad.view is not None:
            copy.view = View(child, copy, vad.view.object, vad.view.first)
            copy.view.advice = vad.view.advice
            child.watch(copy.view)
        if vad in parent.stacks:
            child.stacks.add(copy)
        for first, end, protect in vad.runs:
            if protect is not None:
                if end - first >= self.bulk_pages and vad.view is None:
                    self.bulk.share(parent, child, first, end, protect)
                else:
                    parent.pages.share_with(child.pages, first << 12, end << 12, protect)

    @staticmethod
    def _inherit_image(child: AddressSpace, vad: Vad) -> None:
        """The parts of an image belong together in the child, too; told by the first of them."""
        if vad.image and vad is vad.image[0]:
            parts = [
                copy for part in vad.image if (copy := child.vads.find(part.start)) is not None
            ]
            for copy in parts:
                copy.image = parts

    async def run(self, space: AddressSpace, refs: References, cpu: int = 0) -> int:
        """Runs references (`octavo.machine.mmu.reference`) on a CPU, resolving each fault; returns
        how many there were.

        Several threads may share a CPU: it changes spaces when one of them waits.

        StatusError of the first fault that cannot be resolved; those before it have been made.
        INVALID_PARAMETER for a CPU that is not there, and for references that are not a row of
        int64.
        """
        given(space, AddressSpace, "a space to run in")
        if not isinstance(refs, np.ndarray) or refs.dtype != np.int64 or refs.ndim != 1:
            raise invalid(
                "references are a NumPy array of int64 in one dimension: see "
                "octavo.machine.mmu.reference"
            )
        whole(cpu, "the CPU to run on", 0, len(self.mmu.states) - 1)
        at = faults = 0
        while True:
            space.check_alive()
            self.mmu.switch(
                cpu, space.tables.root
            )  # while a fault waited, another thread may have run here
            before = self.bulk.filled
            stop = self.bulk.run(space, cpu, refs, at)
            faults += self.bulk.filled - before
            if stop is None:
                return faults
            kind = EXECUTE if stop.error & 16 else WRITE if stop.error & 2 else READ
            await space.touch(stop.address & (1 << 64) - 1, kind)
            at = stop.index
            faults += 1

    def destroy(self, space: AddressSpace) -> None:
        """Ends a space: its pages, tables and charge go, and whoever uses it hears
        PROCESS_IS_TERMINATING. Once more does nothing.

        StatusError INVALID_PARAMETER for what is no space of this machine.
        """
        if given(space, AddressSpace, "a space to be ended").machine is not self:
            raise invalid(f"{space.name} is a space of another machine")
        if space not in self.spaces:
            return
        space.ended = space.ended or f"{space.name} has ended"
        for vad in space.vads.all:
            space.remove(vad)
            if vad.view is not None:
                self.sections.release(vad.view.object)
        assert not space.charge
        for frame in space.tables.tables:
            self.table_frames.free(frame)
        space.tables.tables.clear()
        self.spaces.remove(space)
        family = self.replacement.families[space.pages.family]
        family.remove(space)
        if not family:
            del self.replacement.families[space.pages.family]

    def explain(self, pfn: int) -> str:
        """Which pages of which spaces lead to a frame, in words; "" for none. StatusError
        INVALID_PARAMETER for what can be no frame's number.
        """
        whole(pfn, "a frame's number", 0)
        if not 0 < pfn < self.physical.pfns.frames or not self.replacement.policy.has(pfn):
            return ""
        if self.physical.pfns.holder[pfn] == self.holder:
            address = self.replacement.page_of(pfn) << 12
            seen = [f"{space.name} at {address:#x}" for space in self.replacement.sharers(pfn)]
        else:
            section, number = self.replacement.section_page(pfn)
            seen = [place for view in section.views if (place := view.where(number))]
        return "; seen by " + ", ".join(seen)

    async def close(self) -> None:
        """Ends all spaces and sections; returns when mapped files are closed and external pagers
        have their pages back, or have had their time.
        """
        for space in list(self.spaces):
            self.destroy(space)
        for made in list(self.sections.all):
            self.sections.close(made)
        while self.sections.ending:
            await self.scheduler.sleep(CLOSE_SECONDS)

    def statistics(self) -> dict[str, object]:
        """Commit in pages, and for each space what is committed, resident and copied."""
        spaces = {
            s.name: {
                "committed": s.charge,
                "resident": s.pages.resident,
                "copied": s.pages.copied,
                "shared": s.pages.shared,
                "paged": s.pages.paged,
                "tables": len(s.tables.tables),
                "faults": s.faults,
            }
            for s in self.spaces
        }
        return {
            "limit": self.limit,
            "committed": self.charged,
            "spaces": spaces,
            "working_sets": sum(s.pages.resident for s in self.spaces),
            "working_set_frames": self.replacement.policy.count,  # each shared one once
            "mmu": self.mmu.statistics(),
            "page_files": self.files.statistics(),
            "replacement": self.replacement.statistics(),
            "eviction": self.eviction.statistics(),
            "balance": self.balance.statistics(),
            "conditions": self.pageout.conditions.statistics(),
        }

    def check(self) -> None:
        """Charges add up; every entry leads to a frame of private memory inside a committed run;
        share counts are the entries counted.
        """
        assert self.charged == sum(s.charge for s in self.spaces) + self.sections.charge
        self.sections.check()
        uses: dict[int, int] = {}
        shares: dict[int, int] = {}
        paged: list[int] = self.sections.slots()
        for space in self.spaces:
            space.vads.check()
            assert space.charge == sum(v.charge for v in space.vads.all)
            count = away = leaving = 0
            for vad in space.vads.all:
                for first, end, protect in vad.runs:
                    for address, entry in space.tables.entries(first << 12, end << 12):
                        assert protect is not None, (
                            f"{space.name}: {address:#x} has a page and is not committed"
                        )
                        if is_paged(entry):
                            paged.append(entry)
                            away += 1
                            continue
                        count += 1
                        leaving += is_leaving(entry)
                        if space.pages.is_shared(entry):
                            self._check_shared(vad, address >> 12, entry, shares)
                        else:
                            frame = PrivatePages.frame_of(entry)
                            uses[frame] = uses.get(frame, 0) + 1
            assert away == space.pages.paged, (
                f"{space.name}: {away} pages are in page files and {space.pages.paged} are counted"
            )
            assert (count, leaving) == (space.pages.resident, space.pages.leaving), (
                f"{space.name}: {count} pages are there and {space.pages.resident} are counted"
            )
        self.files.check(paged)
        table = self.physical.pfns.table
        held = table[:, HOLDER] == self.holder
        assert {int(f): int(table[f, USE]) for f in held.nonzero()[0]} == uses
        known = self.replacement.policy.frames()
        assert known <= set(uses) | set(shares) and set(shares) <= known, (
            "the policy knows other pages than the spaces have"
        )
        assert set(uses) - known <= self.eviction.writing, "the policy has lost pages"
        self.replacement.policy.check()
        used = (table[:, HOLDER] == 0) & (table[:, USE] != 0)
        assert {int(f): int(table[f, USE]) for f in used.nonzero()[0]} == shares

    def _check_shared(self, vad: Vad, page: int, entry: int, shares: dict[int, int]) -> None:
        """An entry leads to the very page of the section that the view shows there, and is writable
        only while that is modified.
        """
        assert vad.view is not None, f"{page << 12:#x} has a section's page and is in no view"
        frame = PrivatePages.frame_of(entry)
        number, section = vad.view.page_at(page), vad.view.object.section
        if vad.view.object.frame:
            assert frame == vad.view.object.frame + number
            return
        shares[frame] = shares.get(frame, 0) + 1
        segment = section.segments[number >> SEGMENT_SHIFT]
        assert self.physical.ram.link[segment.base + number % SEGMENT_PAGES] == frame, (
            f"{page << 12:#x} shows another page of {section.name}"
        )
        assert not entry & 2 or segment.dirty >> number % SEGMENT_PAGES & 1, (
            f"{page << 12:#x} can be written unnoticed"
        )
