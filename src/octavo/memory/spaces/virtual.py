"""Virtual memory of one machine: its address spaces, the soft MMU, and the commit limit.

This is where the parts meet: each is given here what it uses, and none of them keeps this class.
Committed pages are charged when they are committed, so that a promise to keep them can be held:
`octavo.memory.spaces.commit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from octavo.arguments import given, invalid, label, whole
from octavo.machine.abi import PAGE_SHIFT
from octavo.machine.mmu import References, SoftMmu
from octavo.machine.pagetables import PageTables
from octavo.machine.paging import PageTableFormat
from octavo.memory.frames.tableframes import TableFrames
from octavo.memory.manager import MemoryManager
from octavo.memory.pagers.defaultpager import DefaultPager
from octavo.memory.pagers.pagefile import PageFiles, PageStore
from octavo.memory.reclaim.balance import BalanceSetManager
from octavo.memory.reclaim.donors import Turn
from octavo.memory.reclaim.eviction import Eviction
from octavo.memory.reclaim.profiles import Profile, make_profile
from octavo.memory.reclaim.replacement import Replacement
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.adviser import Adviser
from octavo.memory.spaces.allocations import Allocations
from octavo.memory.spaces.bulk import Bulk
from octavo.memory.spaces.commit import Commitment
from octavo.memory.spaces.faults import FaultResolver
from octavo.memory.spaces.imageloader import ImageLoader
from octavo.memory.spaces.ledger import Ledger
from octavo.memory.spaces.lifetimes import Lifetimes
from octavo.memory.spaces.locks import Locks
from octavo.memory.spaces.mapping import Mapper
from octavo.memory.spaces.pageins import PageIns
from octavo.memory.spaces.privatepages import PrivatePages
from octavo.memory.spaces.processors import Processors
from octavo.memory.spaces.roster import Roster
from octavo.memory.spaces.sectionobjects import SectionObjects
from octavo.memory.spaces.viewahead import ViewAhead
from octavo.memory.spaces.viewfaults import ViewFaults
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.statistics import VirtualStatistics

CLOSE_SECONDS = 0.001  # how often closing looks whether all has ended


class VirtualMemory:
    """The spaces of a machine with page tables of format `layout`, on `cpus` virtual CPUs."""

    def __init__(
        self,
        memory: MemoryManager,
        layout: PageTableFormat,
        cpus: int = 1,
        profile: Profile | None = None,
    ) -> None:
        profile = profile or make_profile()
        self.memory, self.format = memory, layout
        self.cluster = profile.cluster  # pages that one fault on a view brings in at most
        self.mmu = SoftMmu(memory.ram, layout, cpus)
        self.holder = memory.pfns.new_holder("private memory", wired=False)
        self.table_frames = TableFrames(memory.physical, "address spaces")
        self.files = PageFiles()
        self.roster = Roster()
        self.spaces = self.roster.spaces
        # Frames that pages can be in, whatever the cache has in them now.
        self.total = (
            memory.physical.buddy.free_frames
            + memory.physical.zeroed.count
            + sum(s.used for s in memory.residency.segments.all())
        )
        self._wire_promises()
        self._wire_reclaim(profile)
        self._wire_faults()

    def _wire_promises(self) -> None:
        """What is promised, and to whom."""
        memory, layout, roster = self.memory, self.format, self.roster
        self.commitment = Commitment(
            memory.physical,
            memory.residency.segments,
            self.files,
            layout,
            self.total,
            roster.spaces,
            roster.sections,
        )
        self.sections = SectionObjects(
            memory,
            DefaultPager(self.files, memory.physical, memory.writeback),
            self.commitment,
            roster.sections,
            1 << (layout.virtual_bits - 1 - PAGE_SHIFT),
        )
        self._allocations = Allocations(self.commitment, self.sections)

    def _wire_reclaim(self, profile: Profile) -> None:
        """Who takes pages from spaces, and ends spaces."""
        memory, roster, pageout = self.memory, self.roster, self.memory.pageout
        self.replacement = Replacement(
            profile.policy,
            self.total,
            memory.residency,
            self.mmu,
            self.holder,
            roster.spaces,
            roster.families,
        )
        self.bulk = Bulk(
            memory.residency,
            self.mmu,
            self.replacement,
            pageout.conditions,
            self.table_frames,
            self.holder,
        )
        self.lifetimes = Lifetimes(
            roster, self.commitment, self.sections, self._allocations, self.bulk
        )
        self.eviction = Eviction(
            memory.residency,
            self.files,
            self.replacement,
            pageout.transfers,
            roster.spaces,
            profile.standby,
        )
        self.balance = BalanceSetManager(
            memory.physical,
            memory.scheduler,
            pageout,
            self.replacement,
            self.eviction,
            roster.spaces,
            self.lifetimes.end,
            self.total,
        )
        pageout.add(Turn.SPACES, self.eviction.evict)
        balance = self.balance
        pageout.add(Turn.LAST, lambda _: balance.last_resort())

    def _wire_faults(self) -> None:
        """What spaces do when they are referred to, and asked for something."""
        memory, pageout, allocations = self.memory, self.memory.pageout, self._allocations
        ahead = ViewAhead(memory.residency, memory.faults, memory.scheduler, self.cluster)
        views = ViewFaults(memory.residency, memory.faults, pageout, self.replacement, ahead)
        page_ins = PageIns(self.files, memory.ram, pageout.transfers)
        self._faults = FaultResolver(pageout, allocations, views, page_ins)
        self._locks = Locks(self.commitment, self._faults)
        self._mapper = Mapper(self.sections, allocations, self.commitment)
        self._loader = ImageLoader(self.sections, allocations, self._mapper, self._faults)
        self._adviser = Adviser(memory.physical, ahead, self._faults, self.eviction)
        self._processors = Processors(self.mmu, self.bulk, self._faults)

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
        return self._create(label(name, "the name of a space"), self.replacement.new_number())

    def _create(self, name: str, family: int) -> AddressSpace:
        memory, frames = self.memory, self.table_frames
        tables = PageTables(memory.ram, self.format, frames.take, frames.free)
        pages = PrivatePages(
            memory.residency, tables, self.holder, self.mmu, self.files, self.replacement, family
        )
        space = AddressSpace(
            name,
            pages,
            self._allocations,
            self._faults,
            self._locks,
            self._mapper,
            self._loader,
            self._adviser,
            memory.writeback,
        )
        self.lifetimes.begin(space)
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
        child = self._create(label(name, "the name of a space"), parent.pages.family)
        try:
            self.lifetimes.inherit(parent, child)
        except StatusError:
            self.lifetimes.end(child)
            raise
        return child

    async def run(self, space: AddressSpace, refs: References, cpu: int = 0) -> int:
        """Runs references (`octavo.machine.mmu.reference`) on a CPU, resolving each fault; returns
        how many there were.

        Several threads may share a CPU: it changes spaces when one of them waits.

        StatusError of the first fault that cannot be resolved; those before it have been made.
        INVALID_PARAMETER for a CPU that is not there, and for references that are not a row of
        int64; NOT_SUPPORTED for more of them than the interpreter may have, where Numba is missing.
        """
        given(space, AddressSpace, "a space to run in")
        return await self._processors.run(space, refs, cpu)

    def destroy(self, space: AddressSpace) -> None:
        """Ends a space: its pages, tables and charge go, and whoever uses it hears
        PROCESS_IS_TERMINATING. Once more does nothing.

        StatusError INVALID_PARAMETER for what is no space of this machine.
        """
        if given(space, AddressSpace, "a space to be ended").pages.files is not self.files:
            raise invalid(f"{space.name} is a space of another machine")
        self.lifetimes.end(space)

    def explain(self, pfn: int) -> str:
        """Which pages of which spaces lead to a frame, in words; "" for none. StatusError
        INVALID_PARAMETER for what can be no frame's number.
        """
        whole(pfn, "a frame's number", 0)
        replacement = self.replacement
        if not 0 < pfn < self.memory.pfns.frames or not replacement.policy.has(pfn):
            return ""
        if replacement.is_private(pfn):
            address = replacement.page_of(pfn) << PAGE_SHIFT
            seen = [f"{space.name} at {address:#x}" for space in replacement.sharers(pfn)]
        else:
            section, number = replacement.section_page(pfn)
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
            await self.memory.scheduler.sleep(CLOSE_SECONDS)

    def statistics(self) -> VirtualStatistics:
        """Commit in pages, and for each space what is committed, resident and copied."""
        from octavo.statistics import SpaceStatistics, VirtualStatistics

        spaces = {
            s.name: SpaceStatistics(
                committed=s.charge,
                resident=s.pages.resident,
                copied=s.pages.copied,
                shared=s.pages.of_sections,
                paged=s.pages.paged,
                tables=len(s.tables.tables),
                faults=s.faults,
            )
            for s in self.spaces
        }
        return VirtualStatistics(
            limit=self.limit,
            committed=self.charged,
            spaces=spaces,
            working_sets=sum(s.pages.resident for s in self.spaces),
            working_set_frames=self.replacement.policy.count,  # each shared one once
            mmu=self.mmu.statistics(),
            page_files=self.files.statistics(),
            replacement=self.replacement.statistics(),
            eviction=self.eviction.statistics(),
            balance=self.balance.statistics(),
            conditions=self.memory.pageout.conditions.statistics(),
        )

    def check(self) -> None:
        """Charges add up; every entry leads to a frame of private memory inside a committed span,
        or to the very page of a section that its view shows there; share counts are the entries
        counted.
        """
        assert self.charged == sum(s.charge for s in self.spaces) + self.sections.charge
        self.sections.check()
        ledger = Ledger(self.memory.physical)
        for space in self.spaces:
            ledger.add(space)
        ledger.check_views(self.sections.all)
        self.files.check([*self.sections.slots(), *ledger.paged])
        policy = self.replacement.policy
        ledger.check(self.holder, policy.frames(), self.eviction.writing)
        policy.check()
