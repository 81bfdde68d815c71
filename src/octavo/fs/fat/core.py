"""What a FAT volume is, and how it gets to the device: geometry, the FAT's section, stale entries,
and the order of writes.

Whoever is pointed to is on the medium before who points, and nothing is given away before nobody
points to it there:

    flag        the dirty flag is set                                    before the first change
    1           data, new chains in the FAT, directories that are new
    2           chains of the medium are joined to what was appended
    3           directories: entries point to 1 and 2, and sizes fit
    4           names that were moved away from are erased
    5           chains are cut
    6           clusters are freed, FSInfo
    flag        the dirty flag is cleared

`flush` writes all of this with a barrier (a device flush) between two lines; lines without work
cost none. The lazy writer and pageout write lines 1 and 3 only, by `lead`. What waits for lines 2
and 4 to 6 is kept in memory: `FatTable.joins`, `erasures`, `frees` and `FatTable.cuts`,
MOST_WAITING of them at most.

Source: soft updates (Ganger and Patt 1994), as far as FAT needs them. docs/decisions/0015.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import TYPE_CHECKING

from octavo.cache.manager import CacheManager
from octavo.fs.fat.bpb import DIRTY_FLAG, Geometry
from octavo.fs.fat.entry import FREE_SLOT, SLOT, Entry, clean_wall, to_dos
from octavo.fs.fat.names import CODE_PAGE, fold, shown_label
from octavo.fs.fat.node import Directory, Node
from octavo.fs.fat.table import FatTable, Run
from octavo.memory.pagers.region import Mapping, RegionPager
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.storage.device import Device
from octavo.threads.wait import Mutex

if TYPE_CHECKING:
    from octavo.statistics import VolumeStatistics

FSINFO_LEAD, FSINFO_MIDDLE = 0x41615252, 0x61417272
UNKNOWN = 0xFFFFFFFF
MOST_WAITING = 4096
MOST_TRIES = 4  # of a writer in the background, while others change the FAT


class Core:
    """One volume on `device`; `nodes` are its nodes that have an entry, oldest first."""

    def __init__(
        self,
        device: Device,
        geometry: Geometry,
        cache: CacheManager,
        read_only: bool,
        codepage: str = CODE_PAGE,
    ) -> None:
        self.device = device
        self.name = device.name
        self.geometry = geometry
        self.kind = geometry.name
        self.label = shown_label(geometry.label, codepage)
        self.codepage = codepage  # of short names
        self.serial = geometry.serial
        self.cache = cache
        self.clock = cache.memory.scheduler.clock
        self.read_only = read_only
        self.mutex = Mutex("volume")
        self.pager = RegionPager(device)
        self.section = self._volume_section()
        self.table = FatTable(
            cache,
            self.section,
            geometry.fat_offset if geometry.mirrored else self._reserved,
            geometry,
        )
        self.root = Node(None, None, "")
        self.nodes: OrderedDict[Node, None] = OrderedDict()  # of entries, oldest first
        self.most_nodes = min(8192, max(128, cache.memory.limit // 4))
        self.stale: dict[Node, None] = {}
        self.paths: dict[
            str, Directory
        ] = {}  # directories by the text of the paths that led to them
        self.fresh: dict[Section, None] = {}  # of directories that no entry on the medium names yet
        self.erasures: dict[
            tuple[Directory, str], Entry
        ] = {}  # old names of what was moved, in directories that are kept for it
        self.frees: list[
            Run
        ] = []  # clusters of files that entries on the medium may still point to
        self.modified = (
            False  # something was changed since the last complete flush: the flag is on the medium
        )
        self.flagged = False  # the flag may be on the medium
        self._flushing = False
        self.was_dirty = False  # the volume had the dirty flag when it was mounted
        self._stamp = (-1, (0, 0, 0))

    @property
    def _reserved(self) -> int:
        """Bytes of the volume section in front of the FAT."""
        g = self.geometry
        return g.root_offset - g.fats * g.fat_size

    def _volume_section(self) -> Section:
        g = self.geometry
        regions = RegionMap(512)
        regions.append(0, self._reserved // 512)
        regions.append(
            g.fat_offset, g.fat_size // 512, merge=False
        )  # apart: only this part has mirrors
        mirrors = tuple(g.fat_size * i for i in range(1, g.fats)) if g.mirrored else ()
        return Section(
            f"{self.name} (FAT)",
            self.pager,
            Mapping(regions, mirrors, g.fat_offset),
            self._reserved + g.fat_size,
        )

    def _section_name(self, path: str) -> str:
        return f"{self.name}:{path or '/'}"

    # -- changing and writing ----------------------------------------------------------------------

    def stamp(self, wall: float | None = None) -> tuple[int, int, int]:
        """A time (now, if not given) as an entry has it; StatusError INVALID_PARAMETER when it is
        no number.
        """
        if wall is not None:
            return to_dos(self.clock.local(clean_wall(wall)))
        second = int(self.clock.wall())
        if second != self._stamp[0]:
            self._stamp = (second, to_dos(self.clock.local(second)))
        return self._stamp[1]

    def _writable(self, path: str) -> None:
        if self.read_only:
            why = self.geometry.misfit or "opened for reading only"
            raise StatusError(
                Status.MEDIA_WRITE_PROTECTED,
                f"{self.name}: cannot change {path or '/'}: the volume is read-only ({why})",
            )

    def mark_stale(self, node: Node) -> None:
        """Notes that a node's entry has changed."""
        node.stale = True
        self.stale[node] = None

    async def _modify(self) -> None:
        """Called before each change: has the dirty flag on the medium before the first one, and
        keeps short what waits.
        """
        if self.modified:
            if (
                len(self.frees) + len(self.erasures) + len(self.table.joins) + len(self.table.cuts)
                > MOST_WAITING
            ):
                await self._make_way()
            return
        if not self.was_dirty:
            self.flagged = True
            await self._set_dirty_flag(True)
            await self.cache.flush(self.section)
            await self.pager.barrier()
        self.modified = True

    async def _set_dirty_flag(self, dirty: bool) -> None:
        at = self.geometry.flags_offset
        address = await self.cache.address(self.section, at)
        flags = self.cache.ram.bytes[address]
        self.cache.ram.bytes[address] = flags | DIRTY_FLAG if dirty else flags & ~DIRTY_FLAG
        self.cache.mark(self.section, at)

    async def write_entry(self, node: Node) -> None:
        """Puts a changed entry into its directory's page."""
        entry, parent = node.entry, node.parent
        assert entry is not None and parent is not None
        section = parent.node.section
        assert section is not None, "a directory with nodes is loaded"
        at, data = (entry.slot + entry.slots - 1) * SLOT, entry.pack()
        node.stale = False  # before anything waits: who closes the file meanwhile marks it again
        self.stale.pop(node, None)
        if not self.cache.try_write(section, at, data):
            try:
                await self.cache.copy_write(section, at, data)
            except StatusError:
                self.mark_stale(node)
                raise

    async def _write_entries(self) -> StatusError | None:
        """Puts all changed entries into their pages, as far as it goes; returns the first error."""
        assert not self.table.joins, "an entry would claim what its chain does not have"
        first = None
        for node in list(self.stale):
            try:
                await self.write_entry(node)
            except StatusError as error:
                first = first or error
        return first

    async def _write_fsinfo(self) -> None:
        g, table = self.geometry, self.table
        if not g.fsinfo_offset:
            return
        address = await self.cache.address(self.section, g.fsinfo_offset)
        data = self.cache.ram.bytes[address : address + 512]
        if (
            struct.unpack_from("<I", data)[0] != FSINFO_LEAD
            or struct.unpack_from("<I", data, 484)[0] != FSINFO_MIDDLE
        ):
            return
        free = await table.count_free()
        address = await self.cache.address(self.section, g.fsinfo_offset)
        struct.pack_into(
            "<II", self.cache.ram.bytes, address + 488, free, min(table.cursor, table.limit - 1)
        )
        self.cache.mark(self.section, g.fsinfo_offset)

    def _dirty(self, directories: bool) -> list[Section]:
        """The volume's sections with dirty pages, those of directories that entries name only if
        asked for.
        """
        return [
            s
            for s in self.cache.memory.writeback.sections
            if s.pager is self.pager and (directories or s.leads is None)
        ]

    async def _write_pages(self, directories: bool = True) -> StatusError | None:
        """Writes every dirty page (without those of directories, if not asked for), whatever
        happens to others of them.

        Returns the first error, or one that a write in the background has left.
        """
        writeback = self.cache.memory.writeback
        first: StatusError | None = None
        failed: set[Section] = set()
        while True:
            sections = [s for s in self._dirty(directories) if s not in failed]
            if picks := [p for s in sections for p in writeback.picks(s)]:
                _, error = await writeback.write(picks)
                if error is not None:
                    first = first or error
                    failed.update(s for s in sections if s.dirty)
            elif busy := next(
                (s for s in writeback.in_flight_sections if s.pager is self.pager), None
            ):
                await writeback.wait_idle(busy)
            else:
                break
        told = writeback.errors.take_all(self.pager)
        return first or told

    async def lead(self) -> None:
        """What entries point to is on the medium (lines 1); StatusError when it cannot be,
        DEVICE_BUSY while others go on changing it.
        """
        writeback = self.cache.memory.writeback
        for _ in range(MOST_TRIES):
            pointed = [self.section, *self.fresh]
            sections = (
                pointed if self._flushing else self._dirty(directories=False)
            )  # a flush has written the data already
            await writeback.write([p for s in sections for p in writeback.picks(s)], asked=False)
            for section in pointed:
                await writeback.wait_idle(section)
            await self.pager.barrier()
            # Others may have changed them, and even written them, since the barrier.
            if not any(s.dirty or s.writes or s in self.pager.loose for s in pointed):
                break
            for section in pointed:
                if error := writeback.errors.peek(section):
                    raise error
        else:
            raise StatusError(
                Status.DEVICE_BUSY,
                f"{self.name}: directories cannot be written while files are being made",
            )
        for section in self.fresh:  # from now on they may be named
            section.leads = self.lead
        self.fresh.clear()
        self.table.tails.clear()

    async def _write_in_order(self) -> None:
        """Brings all changes to the medium but the clean flag; raises the first error after all was
        tried that may be tried.
        """
        self._flushing = True
        try:
            await self.table.undo()
            error = await self._write_pages(directories=False)
            self._expect_clean(error, [self.section, *self.fresh])
            if self.table.joins:
                await self.pager.barrier()
                await self.table.join()
                self._expect_clean(await self._write_pages(directories=False), [self.section])
            error = error or await self._write_entries()
            error = await self._write_pages() or error
            self._expect_clean(error, [s for s in self._dirty(True) if s.leads is not None])
            if error is not None:
                raise error
            if self.erasures:
                await self._erase_moved()
                self._expect_clean(
                    await self._write_pages(), self._dirty(True)
                )  # `lead` has a barrier before them
            await self._give_back()
        finally:
            self._flushing = False

    async def _make_way(self) -> bool:
        """As `_write_in_order`, for an operation that gains by it and can go on without; the next
        flush tells what failed.
        """
        try:
            await self._write_in_order()
        except StatusError as error:
            self.cache.memory.writeback.errors.note(self.section, error)
            return False
        return True

    def _expect_clean(self, error: StatusError | None, sections: list[Section]) -> None:
        """Raises the error that left one of these sections dirty: what follows on the medium must
        not come before it.
        """
        if error is not None and any(section.dirty for section in sections):
            raise error

    async def _erase_moved(self) -> None:
        for (directory, key), entry in list(self.erasures.items()):
            await self._free_slots(directory, entry)
            del self.erasures[directory, key]
            directory.live -= 1
            directory.leaving -= {key, fold(entry.short_name)}

    async def _free_slots(self, directory: Directory, entry: Entry) -> None:
        """Marks the slots of an entry as free."""
        section, cache = directory.node.section, self.cache
        assert section is not None, "a directory with names is loaded"
        for at in range(entry.slot * SLOT, (entry.slot + entry.slots) * SLOT, SLOT):
            address = cache.try_address(section, at)
            if address < 0:
                address = await cache.address(section, at)
            cache.ram.bytes[address] = FREE_SLOT
            cache.mark(section, at)
        directory.slots.release(entry.slot, entry.slots)

    async def _give_back(self) -> None:
        """Cuts chains and frees clusters that no entry on the medium points to any more."""
        if self.frees or self.table.cuts:
            await self.pager.barrier()
            if self.table.cuts:
                await self.table.cut()
                self._expect_clean(await self._write_pages(), self._dirty(True))
                await self.pager.barrier()
            await self.table.free(self.frees)
        if self.modified:
            await self._write_fsinfo()
        if error := await self._write_pages():
            raise error

    async def flush(self) -> None:
        """Writes all that is dirty, then the clean flag; returns when all of it is on stable
        storage.
        """
        async with self.mutex:
            await self._write_all()

    async def _write_all(self) -> None:
        await self._write_in_order()
        await self.pager.barrier()
        self.modified = (
            False  # the next change sets the flag again, whatever becomes of the following write
        )
        if self.flagged:
            await self._set_dirty_flag(False)
            if error := await self._write_pages():
                raise error
            await self.pager.barrier()
            self.flagged = False

    def statistics(self) -> VolumeStatistics:
        """Nodes, contention for the mutex, and what the device did."""
        from octavo.statistics import VolumeStatistics

        return VolumeStatistics(
            nodes=len(self.nodes),
            contended=self.mutex.contended,
            device=self.device.statistics(),
        )
