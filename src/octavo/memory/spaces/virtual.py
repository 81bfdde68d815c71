"""Virtual memory of one machine: its address spaces, the soft MMU, and the commit limit.

Committed pages are charged when they are committed, so that a promise to keep them can be held: what is charged never
passes the limit: the frames there are, less a reserve, and the slots of the page files.

Source: NT's commit accounting.
"""

from __future__ import annotations

from octavo.machine.mmu import References, SoftMmu
from octavo.machine.mmukernels import EXECUTE, READ, WRITE
from octavo.machine.paging import PageTableFormat
from octavo.memory.manager import MemoryManager
from octavo.memory.pfn import HOLDER, USE
from octavo.memory.physical import RESERVE
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.bulk import Bulk
from octavo.memory.spaces.eviction import Eviction
from octavo.memory.spaces.pagefile import PageFiles, PageStore
from octavo.memory.spaces.privatepages import PrivatePages, is_paged
from octavo.memory.spaces.vad import Vad
from octavo.memory.tableframes import TableFrames
from octavo.status import Status, StatusError

BULK_PAGES = 256  # from here on a kernel shares pages in a fork


class VirtualMemory:
    """The spaces of a machine with page tables of format `layout`, on `cpus` virtual CPUs."""

    def __init__(self, memory: MemoryManager, layout: PageTableFormat, cpus: int = 1) -> None:
        self.physical, self.pageout = memory.physical, memory.pageout
        self.format = layout
        self.mmu = SoftMmu(memory.ram, layout, cpus)
        self.holder = memory.pfns.new_holder("private memory")
        self.table_frames = TableFrames(self.physical, "address spaces")
        self.spaces: list[AddressSpace] = []
        self.limit = max(self.physical.available - self.physical.available // 16 - 2 * RESERVE, 0)  # pages; a sixteenth is for page tables
        self.charged = 0
        self.files = PageFiles()
        self.eviction = Eviction(self)
        self.bulk = Bulk(self)
        self.bulk_pages = BULK_PAGES
        if self.pageout.enabled:
            self.pageout.evictors.append(self.eviction.evict)

    def add_page_file(self, store: PageStore) -> None:
        """Puts a device to use as a page file, which raises the commit limit. StatusError INVALID_PARAMETER."""
        self.limit += self.files.add(store)

    def charge(self, pages: int, who: str) -> None:
        """Charges pages, or gives charge back where they are negative. StatusError COMMITMENT_LIMIT with the figures."""
        if pages > 0 and self.charged + pages > self.limit:
            raise StatusError(Status.COMMITMENT_LIMIT, f"{who} asks for {pages} pages, and {self.charged} of the limit of {self.limit} are committed")
        self.charged += pages

    def create(self, name: str) -> AddressSpace:
        """An empty space. StatusError INSUFFICIENT_RESOURCES without a frame for its root table."""
        space = AddressSpace(self, name)
        self.spaces.append(space)
        return space

    def fork(self, parent: AddressSpace, name: str) -> AddressSpace:
        """A space with all that `parent` has at the same addresses; pages are copied when one side writes them.

        StatusError COMMITMENT_LIMIT or INSUFFICIENT_RESOURCES: there is no new space then.
        """
        child = self.create(name)
        try:
            for vad in parent.vads.all:
                self._inherit(parent, child, vad)
        except StatusError:
            self.destroy(child)
            raise
        return child

    def _inherit(self, parent: AddressSpace, child: AddressSpace, vad: Vad) -> None:
        pages = vad.committed(vad.start, vad.end)
        self.charge(pages, child.name)
        child.charge += pages
        copy = Vad(vad.start, vad.end, vad.protect, list(vad.runs))
        child.vads.add(copy)
        if vad in parent.stacks:
            child.stacks.add(copy)
        for first, end, protect in vad.runs:
            if protect is not None:
                if end - first >= self.bulk_pages:
                    self.bulk.share(parent, child, first, end, protect)
                else:
                    parent.pages.share_with(child.pages, first << 12, end << 12, protect)

    async def run(self, space: AddressSpace, refs: References, cpu: int = 0) -> int:
        """Runs references (`octavo.machine.mmu.reference`) on a CPU, resolving each fault; returns how many there were.

        StatusError of the first fault that cannot be resolved; those before it have been made.
        """
        self.mmu.load(cpu, space.tables.root)
        at = faults = 0
        while True:
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
        """Ends a space: its pages, tables and charge go."""
        for vad in space.vads.all:
            space.pages.drop(vad.start << 12, vad.end << 12)
            space.vads.remove(vad)
        self.charged -= space.charge
        space.charge = 0
        for frame in space.tables.tables:
            self.table_frames.free(frame)
        space.tables.tables.clear()
        self.spaces.remove(space)

    def statistics(self) -> dict[str, object]:
        """Commit in pages, and for each space what is committed, resident and copied."""
        spaces = {
            s.name: {"committed": s.charge, "resident": s.pages.resident, "copied": s.pages.copied, "tables": len(s.tables.tables), "faults": s.faults}
            for s in self.spaces
        }
        return {"limit": self.limit, "committed": self.charged, "spaces": spaces, "mmu": self.mmu.statistics(), "page_files": self.files.statistics()}

    def check(self) -> None:
        """Charges add up; every entry leads to a frame of private memory inside a committed run; share counts are the entries counted."""
        assert self.charged == sum(s.charge for s in self.spaces) <= self.limit
        uses: dict[int, int] = {}
        paged: list[int] = []
        for space in self.spaces:
            space.vads.check()
            assert space.charge == sum(v.committed(v.start, v.end) for v in space.vads.all)
            count = 0
            for vad in space.vads.all:
                for first, end, protect in vad.runs:
                    for address, entry in space.tables.entries(first << 12, end << 12):
                        assert protect is not None, f"{space.name}: {address:#x} has a page and is not committed"
                        if is_paged(entry):
                            paged.append(entry)
                            continue
                        frame = PrivatePages.frame_of(entry)
                        uses[frame] = uses.get(frame, 0) + 1
                        count += 1
            assert count == space.pages.resident, f"{space.name}: {count} pages are there and {space.pages.resident} are counted"
        self.files.check(paged)
        table = self.physical.pfns.table
        held = table[:, HOLDER] == self.holder
        assert {int(f): int(table[f, USE]) for f in held.nonzero()[0]} == uses
