"""What a FAT volume is, and how it gets to the device: geometry, the FAT's section, stale entries, dirty flag, FSInfo, flush.

A flush writes, in this order: entries that have changed into their directories' pages, all dirty pages in one batch, then
FSInfo and the cleared dirty flag. The flag is set on the device before the first change after that.
"""

from __future__ import annotations

import struct
from collections import OrderedDict

from octavo.cache.manager import CacheManager
from octavo.cache.regions import RegionMap
from octavo.fs.fat.bpb import DIRTY_FLAG, Geometry
from octavo.fs.fat.entry import SLOT, to_dos
from octavo.fs.fat.node import Directory, Node
from octavo.fs.fat.table import FatTable
from octavo.io.device import Device
from octavo.io.regionpager import Mapping, RegionPager
from octavo.memory.section import Section
from octavo.status import Status, StatusError
from octavo.threads.wait import Mutex

FSINFO_LEAD, FSINFO_MIDDLE = 0x41615252, 0x61417272
UNKNOWN = 0xFFFFFFFF


class Core:
    """One volume on `device`; `nodes` are its nodes that have an entry, oldest first."""

    def __init__(self, device: Device, geometry: Geometry, cache: CacheManager, read_only: bool) -> None:
        self.device = device
        self.name = device.name
        self.geometry = geometry
        self.kind = geometry.name
        self.label = geometry.label
        self.serial = geometry.serial
        self.cache = cache
        self.clock = cache.memory.scheduler.clock
        self.read_only = read_only
        self.mutex = Mutex()
        self.pager = RegionPager(device)
        self.section = self._volume_section()
        self.table = FatTable(cache, self.section, geometry.fat_offset if geometry.mirrored else self._reserved, geometry)
        self.root = Node(None, None, "")
        self.nodes: OrderedDict[Node, None] = OrderedDict()  # of entries, oldest first
        self.most_nodes = min(8192, max(128, cache.memory.limit // 4))
        self.stale: dict[Node, None] = {}
        self.paths: dict[str, Directory] = {}  # directories by the text of the paths that led to them
        self.modified = False  # something was changed since the last complete flush
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
        regions.append(g.fat_offset, g.fat_size // 512, merge=False)  # apart: only this part has mirrors
        mirrors = tuple(g.fat_size * i for i in range(1, g.fats)) if g.mirrored else ()
        return Section(f"{self.name} (FAT)", self.pager, Mapping(regions, mirrors, g.fat_offset), self._reserved + g.fat_size)

    def _section_name(self, path: str) -> str:
        return f"{self.name}:{path or '/'}"

    # -- changing and writing -------------------------------------------------------------------------------------

    def stamp(self, wall: float | None = None) -> tuple[int, int, int]:
        """A time (now, if not given) as an entry has it."""
        if wall is not None:
            return to_dos(self.clock.local(wall))
        second = int(self.clock.wall())
        if second != self._stamp[0]:
            self._stamp = (second, to_dos(self.clock.local(second)))
        return self._stamp[1]

    def _writable(self, path: str) -> None:
        if self.read_only:
            why = "the image is shorter than its volume" if self.geometry.truncated else "opened for reading only"
            raise StatusError(Status.MEDIA_WRITE_PROTECTED, f"{self.name}: cannot change {path or '/'}: the volume is read-only ({why})")

    def mark_stale(self, node: Node) -> None:
        """Notes that a node's entry has changed."""
        node.stale = True
        self.stale[node] = None

    async def _modify(self) -> None:
        """Called before each change: sets the volume's dirty flag on the device before the first one."""
        if self.modified:
            return
        if not self.was_dirty:
            await self._set_dirty_flag(True)
            await self.cache.flush(self.section)
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
        if not self.cache.try_write(section, at, data):
            await self.cache.copy_write(section, at, data)
        node.stale = False
        self.stale.pop(node, None)

    async def _write_entries(self) -> None:
        for node in list(self.stale):
            if node.stale:
                await self.write_entry(node)

    async def _write_fsinfo(self) -> None:
        g, table = self.geometry, self.table
        if not g.fsinfo_offset:
            return
        address = await self.cache.address(self.section, g.fsinfo_offset)
        data = self.cache.ram.bytes[address : address + 512]
        if struct.unpack_from("<I", data)[0] != FSINFO_LEAD or struct.unpack_from("<I", data, 484)[0] != FSINFO_MIDDLE:
            return
        free = await table.count_free()
        address = await self.cache.address(self.section, g.fsinfo_offset)
        struct.pack_into("<II", self.cache.ram.bytes, address + 488, free, min(table.cursor, table.limit - 1))
        self.cache.mark(self.section, g.fsinfo_offset)

    async def _write_pages(self) -> None:
        """Writes every dirty page of the volume; raises the first error, or one that a background write has left."""
        writeback = self.cache.memory.writeback
        error: StatusError | None = None
        while error is None:
            sections = [s for s in writeback.sections if s.pager is self.pager]
            picks = [p for s in sections for p in writeback.picks(s)]
            if picks:
                _, error = await writeback.write(picks)
            elif busy := next((s for s in writeback.in_flight_sections if s.pager is self.pager), None):
                await writeback.wait_idle(busy)
            else:
                break
        for section in [s for s in writeback.errors if s.pager is self.pager]:
            error = error or writeback.errors[section]
            del writeback.errors[section]
        if error is not None:
            raise error

    async def flush(self) -> None:
        """Writes all that is dirty, then FSInfo and the clean flag, and has the device put it on stable storage."""
        async with self.mutex:
            await self._write_all()
            await self.device.flush()

    async def _write_all(self) -> None:
        await self._write_entries()
        await self._write_pages()
        if self.modified:
            await self._write_fsinfo()
            if not self.was_dirty:
                await self._set_dirty_flag(False)
            self.modified = False
            try:
                await self._write_pages()
            except StatusError:
                self.modified = True
                raise

    async def settle(self) -> None:
        """Writes all that is dirty, as the last thing before the machine is turned off; files may be open still."""
        async with self.mutex:
            await self._write_all()

    def statistics(self) -> dict[str, object]:
        """Nodes, contention for the mutex, and what the device did."""
        return {"nodes": len(self.nodes), "contended": self.mutex.contended, "device": self.device.statistics()}
