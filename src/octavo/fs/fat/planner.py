"""Which edits make, change, move and remove files on a FAT volume, and what waits for its phase.

Source: Microsoft FAT specification; statuses as NT's FAT driver gives them.
"""

from __future__ import annotations

import struct

from octavo.fs.base import DirectoryFullError
from octavo.fs.fat.books import FatChange, Run
from octavo.fs.fat.bpb import (
    DIRTY_FLAG,
    FSINFO_LEAD,
    FSINFO_MIDDLE,
    MOST_BYTES,
    MOST_DIRECTORY_BYTES,
)
from octavo.fs.fat.directory import FatDirectory
from octavo.fs.fat.entry import (
    ARCHIVE,
    DIRECTORY,
    FREE_SLOT,
    READ_ONLY,
    SLOT,
    Entry,
    attribute_bits,
    clean_wall,
    new_entry,
    plain_entry,
    to_dos,
)
from octavo.fs.fat.format import FatFormat
from octavo.fs.fat.labels import clean_label, plan_label, plan_serial
from octavo.fs.fat.names import (
    CODE_PAGE,
    clean_name,
    exact_short,
    fold,
    long_slots,
    make_short,
    shown_label,
)
from octavo.fs.vfs.edits import PAGE_MASK, Change, Edit, Phase
from octavo.fs.vfs.node import Directory, Node
from octavo.memory.pagers.region import Mapping
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import Section
from octavo.printing import counted
from octavo.status import Status, StatusError

MOST_CLUSTERS = 32768  # that one change gives a file
ERASED = bytes((FREE_SLOT,))


class FatPlanner:
    """Plans the changes of a FAT volume that can be read. The order in which they reach the medium
    is in `octavo.fs.vfs.order`.
    """

    family = "FAT"
    most_bytes = MOST_BYTES
    clean_name = staticmethod(clean_name)
    clean_time = staticmethod(clean_wall)
    attributes = staticmethod(attribute_bits)

    def __init__(self, format: FatFormat) -> None:
        self._format = format
        self.name, self.kind, self.geometry = format.name, format.kind, format.geometry
        self.pager, self.section, self.sections = format.pager, format.section, format.sections
        self.table, self.books, self.cache = format.table, format.table.books, format.cache
        self._clock = format.cache.memory.scheduler.clock
        self._stamp = (-1, (0, 0, 0))

    @property
    def unclean(self) -> bool:
        """The volume has had the dirty flag since it was mounted."""
        return self._format.unclean

    @unclean.setter
    def unclean(self, value: bool) -> None:
        """After a repair: it need not have the flag any longer."""
        self._format.unclean = value

    # -- entries -----------------------------------------------------------------------------------

    def change(self) -> FatChange:
        """An empty change."""
        return FatChange(self.books)

    def stamp(self, wall: float | None = None) -> tuple[int, int, int]:
        """A time (now, if not given; else a clean one) as an entry has it."""
        if wall is not None:
            return to_dos(self._clock.local(wall))
        second = int(self._clock.wall())
        if second != self._stamp[0]:
            self._stamp = (second, to_dos(self._clock.local(second)))
        return self._stamp[1]

    def new_entry(self, name: str, directory: bool, wall: float | None, size: int) -> Entry:
        """An entry made now, written at `wall`; a file's has the archive attribute."""
        entry = new_entry(name, DIRECTORY if directory else ARCHIVE, self.stamp())
        if wall is not None:
            entry.set_written(*self.stamp(wall)[:2])
        entry.size = size
        return entry

    def renamed(self, entry: Entry, name: str) -> Entry:
        """A copy with another name."""
        return entry.renamed(name)

    def protected(self, entry: Entry) -> bool:
        """Whether it has the read-only attribute."""
        return entry.attributes & READ_ONLY != 0

    def set_attributes(self, entry: Entry, on: int, off: int) -> None:
        """Sets attributes and clears others."""
        entry.change_attributes(on, off)

    def set_written(self, entry: Entry, wall: float | None) -> None:
        """Sets when it was last written."""
        entry.set_written(*self.stamp(wall)[:2])

    def set_changed(self, entry: Entry, wall: float | None) -> None:
        """The time, and the archive attribute."""
        entry.set_written(*self.stamp(wall)[:2])
        entry.attributes |= ARCHIVE

    def set_size(self, entry: Entry, size: int) -> None:
        """Sets a file's size."""
        entry.size = size

    # -- names -------------------------------------------------------------------------------------

    def place(self, change: Change, directory: Directory[Entry], entry: Entry) -> bool:
        """Gives an entry its short name and free slots in a row; False when there are none, or the
        medium has one of its names.
        """
        assert isinstance(change, FatChange) and isinstance(directory, FatDirectory)
        exact, shorts = exact_short(entry.name), directory.shorts
        if exact is not None and not (shorts and fold(entry.name) in shorts):
            entry.set_short(*exact)
            change.long = b""
        else:
            short = make_short(entry.name, directory)
            entry.set_short(short, 0)
            change.long = long_slots(entry.name, short)
        if directory.leaving and directory.leaving & directory.keys(entry):
            return False
        count = len(change.long) // SLOT + 1
        first = directory.slots.take(count, directory.node.regions.total // SLOT)
        if first < 0:
            return False
        change.slots = [*change.slots, (directory.slots, first, count)]
        entry.slot, entry.slots = first, count
        return True

    def plain_file(self, directory: Directory[Entry], name: str) -> tuple[Entry, Edit] | None:
        """One whose name takes one slot, in front of the last of a page."""
        assert isinstance(directory, FatDirectory)
        exact, section = exact_short(name), _loaded(directory)
        if exact is None or directory.leaving:
            return None
        shorts, slots = directory.shorts, directory.slots
        if shorts and name.upper() in shorts:
            return None
        first = slots.take(1, section.size // SLOT)
        if first < 0:
            return None
        entry = plain_entry(name, ARCHIVE, self.stamp(), *exact)
        entry.slot, entry.slots = first, 1
        at, data = first * SLOT, entry.raw
        if first + 1 == slots.end and at + SLOT < section.size:
            if not at + SLOT & PAGE_MASK:
                slots.release(first, 1)
                return None
            data += b"\0"
        return entry, (section, at, data)

    def unplace(self, directory: Directory[Entry], entry: Entry) -> None:
        """Its slot."""
        assert isinstance(directory, FatDirectory)
        directory.slots.release(entry.slot, entry.slots)

    def insert(self, change: Change, directory: Directory[Entry], entry: Entry) -> None:
        """Its slots; behind the last of a directory comes an end, since what lies there is not
        always zero.
        """
        assert isinstance(change, FatChange) and isinstance(directory, FatDirectory)
        section, data = _loaded(directory), change.long + entry.pack()
        end = entry.slot + entry.slots
        if end == directory.slots.end and end * SLOT < section.size:
            data += b"\0"
        change.edit(section, entry.slot * SLOT, data)

    def erase(self, change: Change, directory: Directory[Entry], entry: Entry) -> None:
        """Marks its slots as free."""
        assert isinstance(change, FatChange) and isinstance(directory, FatDirectory)
        section = _loaded(directory)
        for slot in range(entry.slot, entry.slot + entry.slots):
            change.edits.append((section, slot * SLOT, ERASED))
        change.gone = [*change.gone, (directory.slots, entry.slot, entry.slots)]

    def describe(self, change: Change, node: Node[Entry]) -> None:
        """The slot of its short name says what the entry says."""
        assert node.parent is not None
        _describe(change, node.parent, node.entry)

    def respell(
        self, change: Change, directory: Directory[Entry], entry: Entry, name: str
    ) -> Entry | None:
        """In the same slots: another case, in a long name of the same length or in the two bits."""
        short = exact_short(name)
        spelt = entry.renamed(name)
        spelt.slot, spelt.slots = entry.slot, entry.slots
        long = long_slots(name, entry.raw[:11])
        if fold(name) == fold(entry.name) and len(long) == (entry.slots - 1) * SLOT:
            data = long + entry.pack()
        elif short is not None and short[0] == entry.raw[:11] and entry.slots == 1:
            spelt.set_short(*short)
            data = spelt.pack()
        else:
            return None
        change.edit(_loaded(directory), entry.slot * SLOT, data)
        return spelt

    def supplant(
        self, change: Change, directory: Directory[Entry], old: Entry, entry: Entry
    ) -> Entry:
        """The old names with what the entry has else."""
        moved = entry.renamed(old.name)
        moved.slot, moved.slots = old.slot, old.slots
        moved.raw = old.raw[:11] + entry.raw[11:12] + old.raw[12:13] + entry.raw[13:]
        _describe(change, directory, moved)
        return moved

    async def point_up(self, change: Change, inner: Section, target: Node[Entry]) -> None:
        """ ".." leads to another cluster, where there is one."""
        head = await self.cache.copy_read(inner, SLOT, SLOT)
        if head[:3] == b".. ":
            cluster = above(target).to_bytes(4, "little")
            change.edit(inner, SLOT + 20, cluster[2:] + head[22:26] + cluster[:2])

    def blank_directory(self, entry: Entry, parent: Node[Entry]) -> bytes:
        """A cluster with "." and ".."."""
        data = b""
        for short, target in ((b".", entry.cluster), (b"..", above(parent))):
            data += new_entry("", DIRECTORY, self.stamp(), short.ljust(11), target).pack()
        return data.ljust(self.geometry.cluster, b"\0")

    # -- the volume's own name ---------------------------------------------------------------------

    def clean_label(self, label: str) -> str:
        """A label as it is shown."""
        return shown_label(clean_label(label), CODE_PAGE)

    async def relabel(self, change: Change, root: Directory[Entry], label: str) -> bool:
        """In the root directory and in the boot sectors."""
        assert isinstance(change, FatChange) and isinstance(root, FatDirectory)
        return await plan_label(self._format, change, root, clean_label(label), self.stamp())

    async def renumber(self, change: Change, serial: int) -> None:
        """In the boot sectors."""
        assert isinstance(change, FatChange)
        await plan_serial(self._format, change, serial)

    # -- clusters ----------------------------------------------------------------------------------

    def _cluster_at(self, place: int) -> int:
        return (place - self.geometry.data_offset) // self.geometry.cluster + 2

    def _last_cluster(self, node: Node[Entry]) -> int:
        regions = node.regions
        return self._cluster_at(regions.last_place()) if regions.total else 0

    def check_growth(self, node: Node[Entry]) -> None:
        """StatusError DISK_FULL for the fixed root of FAT12 and FAT16, and at 2 MiB."""
        g = self.geometry
        if node.parent is None and g.root_size:
            raise DirectoryFullError(
                Status.DISK_FULL,
                f"{self.name}: the root directory of {self.kind} has room for "
                f"{g.root_size // SLOT} slots and they are used up; use a subdirectory",
            )
        if node.regions.total + g.cluster > MOST_DIRECTORY_BYTES:
            assert node.section is not None
            raise DirectoryFullError(
                Status.DISK_FULL,
                f"{node.section.name}: the directory has reached FAT's limit of 2 MiB",
            )

    async def expect(self, size: int) -> None:
        """Room for a file of `size` bytes, and for a directory's next cluster."""
        await self._expect(1 + -(-size // self.geometry.cluster))

    async def _expect(self, count: int) -> None:
        await self.table.census.check_room(count, sum(count for _, count in self.books.frees))

    def joined(self, node: Node[Entry]) -> bool:
        """False while its last cluster waits to be the last on the medium."""
        return not self.books.cuts or self._last_cluster(node) not in self.books.cuts

    async def extend(
        self, change: Change, entry: Entry, node: Node[Entry] | None, size: int
    ) -> None:
        """At most MOST_CLUSTERS at once for what has a node."""
        assert isinstance(change, FatChange)
        cluster, after = self.geometry.cluster, 0
        if node is not None:
            after = self._last_cluster(node)
            size -= node.regions.total
        count = -(-size // cluster)
        if node is not None and count > MOST_CLUSTERS:
            await self._expect(count)
            count = MOST_CLUSTERS
        await self.table.allocate(change, count, after)
        if not after:
            entry.cluster, change.starts = change.taken[0][0], entry
        place = self.geometry.place
        change.extents = [(place(first), n) for first, n in change.taken]

    def map(self, change: Change) -> Mapping:
        """Where what has the extents of a change is."""
        regions = RegionMap(self.geometry.cluster)
        for place, count in change.extents:
            regions.append(place, count)
        return Mapping(regions)

    def shorten(self, change: Change, node: Node[Entry], units: int) -> None:
        """The clusters behind are given back, the chain is cut in its phase."""
        assert isinstance(change, FatChange)
        regions, at, tail = node.regions, 0, []
        for place, count in regions.units():
            skip = min(max(units - at, 0), count)
            if skip < count:
                tail.append((self._cluster_at(place) + skip, count - skip))
            at += count
        change.given = tail
        if units:
            last = regions.locate((units - 1) * regions.unit, regions.unit)[0][0]
            change.end = self._cluster_at(last)
        else:
            node.entry.cluster = 0

    async def held(self, entry: Entry, path: str) -> list[Run]:
        """The clusters that a file or directory has to itself; StatusError FILE_CORRUPT_ERROR when
        that is in doubt.
        """
        runs = await self.table.chain(entry.cluster, path) if entry.cluster else []
        held = 0
        for _, count in runs:
            held += count * self.geometry.cluster
        if held < entry.size:
            why = (
                f"{path}: holds {counted(held, 'byte')} and claims {entry.size}: its clusters "
                "may be another's; run check"
            )
            raise StatusError(Status.FILE_CORRUPT_ERROR, why)
        return runs

    def give_back(self, change: Change, held: list[Run]) -> None:
        """Clusters that nothing in the change points to."""
        assert isinstance(change, FatChange)
        change.given = held

    # -- the order of writes -----------------------------------------------------------------------

    def free_bytes(self) -> int:
        """What is free, and what waits for it."""
        if self.books.free_count < 0:
            return -1
        free = self.books.free_count + sum(count for _, count in self.books.frees)
        return free * self.geometry.cluster

    def waiting(self, phase: Phase | None = None) -> int:
        """How much waits for a phase, or for any."""
        books = self.books
        if phase is None:
            return len(books.joins) + len(books.cuts) + len(books.frees)
        return books.waits(phase)

    async def due(self, phase: Phase) -> FatChange | None:
        """The next joins, cuts or frees."""
        if not self.waiting(phase):
            return None
        change = self.change()
        if phase == Phase.JOIN:
            await self.table.next_joins(change)
        elif phase == Phase.CUT:
            await self.table.next_cuts(change)
        else:
            await self.table.next_frees(change)
        return change

    def settled(self) -> None:
        """The ends of all chains are on the medium."""
        self.books.tails.clear()

    async def flag(self, change: Change, dirty: bool) -> None:
        """The bit in the boot sector; before it is set, what that says is believed."""
        if dirty:
            await self.table.census.believe()
        at = self.geometry.flags_offset
        flags = self.cache.ram.bytes[await self.cache.address(self.section, at)]
        flags = flags | DIRTY_FLAG if dirty else flags & ~DIRTY_FLAG
        change.edit(self.section, at, bytes((flags,)))

    async def summarize(self, change: Change) -> None:
        """FSInfo, where it has its signatures: free clusters, and where to look for some."""
        g, table = self.geometry, self.table
        if not g.fsinfo_offset:
            return
        data = await self.cache.copy_read(self.section, g.fsinfo_offset, 512)
        if (
            struct.unpack_from("<I", data)[0] != FSINFO_LEAD
            or struct.unpack_from("<I", data, 484)[0] != FSINFO_MIDDLE
        ):
            return
        free = await table.census.count_free()
        numbers = struct.pack("<II", free, min(table.search.cursor, table.limit - 1))
        change.edit(self.section, g.fsinfo_offset + 488, numbers)


def _loaded(directory: Directory[Entry]) -> Section:
    section = directory.node.section
    assert section is not None, "a directory with names is loaded"
    return section


def _describe(change: Change, directory: Directory[Entry], entry: Entry) -> None:
    change.edit(_loaded(directory), (entry.slot + entry.slots - 1) * SLOT, entry.pack())


def above(parent: Node[Entry]) -> int:
    """The cluster that ".." of a directory in `parent` names: 0 for the root."""
    return parent.entry.cluster if parent.parent is not None else 0
