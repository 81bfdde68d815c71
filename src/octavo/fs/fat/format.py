"""FAT as a format: where files are, and what directories say.

    volume section   reserved sectors and the FAT in use; the other FATs are its mirrors
    directory        a section of its own; its parsed form is kept beside it
    file             a section of its own

Source: Microsoft FAT specification; statuses as NT's FAT driver gives them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from octavo.cache.manager import CacheManager
from octavo.fs.base import Space
from octavo.fs.fat.bpb import (
    Geometry,
)
from octavo.fs.fat.directory import FatDirectory
from octavo.fs.fat.entry import (
    DIRECTORY,
    SLOT,
    Entry,
    Parsed,
    find_label,
    new_entry,
    parse_directory,
)
from octavo.fs.fat.names import (
    shown_label,
)
from octavo.fs.fat.table import FatTable
from octavo.fs.vfs.node import Node
from octavo.memory.pagers.region import Mapping, RegionPager
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.storage.device import Device

if TYPE_CHECKING:
    from octavo.fs.fat.chains import FatExtents
    from octavo.fs.fat.glance import Glances
    from octavo.fs.protocol import Glance


class FatFormat:
    """The FAT volume on `device`, whose short names are in `codepage`; `unclean`: its dirty flag is
    set.
    """

    links = None  # FAT has none

    def __init__(
        self,
        device: Device,
        geometry: Geometry,
        cache: CacheManager,
        codepage: str,
        unclean: bool,
    ) -> None:
        self.device = device
        self.name = device.name
        self.geometry = geometry
        self.kind = geometry.name
        self.label = shown_label(geometry.label, codepage)
        self.codepage = codepage
        self.serial = geometry.serial
        self.refusal = geometry.misfit
        self.kept: list[RegionMap] = []
        self.ahead: set[int] = set()
        self.unclean = unclean
        self.cache = cache
        self.pager = RegionPager(device)
        self.section = self._volume_section()
        self.sections = [self.section]
        offset = geometry.fat_offset if geometry.mirrored else self._reserved
        summary = 0 if unclean else geometry.fsinfo_offset
        self.table = FatTable(cache, self.section, offset, geometry, summary)
        self.books = self.table.books
        self._glances: Glances | None = None

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

    # -- reading -----------------------------------------------------------------------------------

    def root(self) -> Entry:
        """The root directory, which has no entry on the medium."""
        return new_entry("", DIRECTORY, (0, 0, 0), cluster=self.geometry.root_cluster)

    async def locate(self, node: Node[Entry], what: str) -> tuple[Mapping, int]:
        """StatusError FILE_CORRUPT_ERROR when chain and entry do not agree."""
        g, entry = self.geometry, node.entry
        fixed = node.parent is None and g.root_size > 0  # the root directory of FAT12 and FAT16
        if g.doubt and (g.unreachable or not fixed):
            raise StatusError(
                Status.FILE_CORRUPT_ERROR, f"{what}: nobody can say where it is: {g.doubt}"
            )
        if fixed:
            regions = RegionMap(512)
            regions.append(g.root_offset, -(-g.root_size // 512))
            self._check_directory(regions, what)
            return Mapping(regions), g.root_size
        regions = RegionMap(g.cluster)
        if entry.cluster:
            for start, count in await self.table.chain(entry.cluster, what):
                regions.append(g.place(start), count)
        if entry.is_directory:
            self._check_directory(regions, what)
            return Mapping(regions), regions.total
        if entry.size > regions.total:
            raise StatusError(
                Status.FILE_CORRUPT_ERROR,
                f"{what}: claims {entry.size} bytes, and its cluster chain holds {regions.total}",
            )
        return Mapping(regions), entry.size

    def _check_directory(self, regions: RegionMap, what: str) -> None:
        if not regions.total:
            raise StatusError(Status.FILE_CORRUPT_ERROR, f"{what}: the directory has no cluster")
        if regions.total > self.geometry.most_directory:
            raise StatusError(
                Status.FILE_CORRUPT_ERROR,
                f"{what}: the directory is larger than FAT's limit of 2 MiB",
            )

    async def parse(self, node: Node[Entry], section: Section) -> FatDirectory:
        """The entries of a directory, and its free slots."""
        return FatDirectory(node, await self.parsed(section))

    async def parsed(self, section: Section) -> Parsed:
        """What the bytes of a directory say."""
        data = (
            await self.cache.copy_read(section, 0, section.size, None)
            if section.size <= 65536
            else await self._long(section)
        )
        return parse_directory(data, self.geometry.bits == 32, self.codepage)

    async def _long(self, section: Section) -> bytes:
        """The bytes of a large directory up to the piece in which it ends."""
        parts: list[bytes] = []
        for offset in range(0, section.size, 65536):
            parts.append(await self.cache.copy_read(section, offset, 65536))
            if parts[-1][-SLOT] == 0:
                break
        return b"".join(parts)

    async def glance(self, numbers: list[int]) -> dict[int, Glance]:
        """Those with nothing unusual about their chains."""
        from octavo.fs.fat.glance import Glances  # by who walks trees only

        if self._glances is None:
            self._glances = Glances(
                self.cache, self.pager, self.geometry, self.table, self.codepage, self.name
            )
        return await self._glances.look(numbers) if not self.geometry.doubt else {}

    def extents(self) -> FatExtents | None:
        """By first clusters."""
        from octavo.fs.fat.chains import FatExtents  # where many files are read

        return FatExtents(self.table, self.geometry) if not self.geometry.doubt else None

    async def read_label(self, root: Section) -> None:
        """Takes the label from the root directory, in whatever slot it is; the boot sector's stays
        where there is none.
        """
        for offset in range(0, root.size, 65536):
            label, ends = find_label(await self.cache.copy_read(root, offset, 65536))
            if label:
                self.label = shown_label(label, self.codepage)
            if label or ends:
                return

    @property
    def layout(self) -> object:
        """The geometry, without what may be changed."""
        return replace(self.geometry, serial=0, label=b"")

    def forget(self) -> None:
        """The free clusters are counted anew."""
        self.table.forget()

    async def space(self) -> Space:
        """Size and free space of the cluster area."""
        g = self.geometry
        free = await self.table.census.count_free() + sum(count for _, count in self.books.frees)
        return Space(g.clusters * g.cluster, free * g.cluster, g.cluster)
