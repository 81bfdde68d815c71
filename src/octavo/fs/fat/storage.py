"""Clusters, sections, nodes and parsed directories of a FAT volume.

A volume's nodes are bounded: beyond `most_nodes`, those that nobody has open are written and
dropped, oldest first.
"""

from __future__ import annotations

from typing import cast

from octavo.fs.fat.bpb import ENTRY_BYTES
from octavo.fs.fat.core import Core
from octavo.fs.fat.entry import DIRECTORY, SLOT, Entry, find_label, new_entry, parse_directory
from octavo.fs.fat.names import shown_label
from octavo.fs.fat.node import Directory, Node
from octavo.fs.fat.table import Run
from octavo.memory.pagers.region import Mapping
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError

MOST_DIRECTORY_BYTES = 65536 * ENTRY_BYTES


class Storage(Core):
    """Clusters, sections and nodes of one volume on `device`."""

    # -- nodes -------------------------------------------------------------------------------------

    def _node(self, directory: Directory, entry: Entry) -> Node:
        """The node of an entry."""
        node = cast(Node | None, entry.node)
        if node is None:
            node = Node(entry, directory, f"{directory.node.path}/{entry.name}")
            entry.node = node
            directory.live += 1
            self.nodes[node] = None
        return node

    async def _load(self, node: Node) -> Section:
        """Gives a node its region map and section; StatusError FILE_CORRUPT_ERROR when chain and
        entry do not agree.
        """
        if node.section is not None:
            return node.section
        g, entry = self.geometry, node.entry
        what = self._section_name(node.path)
        fixed = entry is None and g.root_size > 0  # the root directory of FAT12 and FAT16
        if g.doubt and (g.unreachable or not fixed):
            raise StatusError(
                Status.FILE_CORRUPT_ERROR, f"{what}: nobody can say where it is: {g.doubt}"
            )
        if fixed:
            regions = RegionMap(512)
            regions.append(g.root_offset, -(-g.root_size // 512))
        else:
            regions = RegionMap(g.cluster)
            first = g.root_cluster if entry is None else entry.cluster
            if first:
                for start, count in await self.table.chain(first, what):
                    regions.append(g.place(start), count)
        if entry is None or entry.attributes & DIRECTORY:
            self._check_size(regions, what)
            size = g.root_size if fixed else regions.total
        else:
            size = entry.size
            if size > regions.total:
                raise StatusError(
                    Status.FILE_CORRUPT_ERROR,
                    f"{what}: claims {size} bytes, and its cluster chain holds {regions.total}",
                )
        node.mapping = Mapping(regions)
        node.section = Section(what, self.pager, node.mapping, size)
        if entry is None or entry.attributes & DIRECTORY:
            node.section.leads = self.lead
        return node.section

    def _check_size(self, regions: RegionMap, what: str) -> None:
        if not regions.total:
            raise StatusError(Status.FILE_CORRUPT_ERROR, f"{what}: the directory has no cluster")
        if regions.total > max(MOST_DIRECTORY_BYTES, self.geometry.cluster):
            raise StatusError(
                Status.FILE_CORRUPT_ERROR,
                f"{what}: the directory is larger than FAT's limit of 2 MiB",
            )

    def _refuse_loop(self, node: Node) -> None:
        """Before a directory is entered: it may be one of those that led to it."""
        above = node.parent
        while node.entry is not None and above is not None:
            cluster = (
                above.node.entry.cluster
                if above.node.entry is not None
                else self.geometry.root_cluster
            )
            if cluster == node.entry.cluster:
                why = f"{self._section_name(node.path)}: the directory contains itself"
                raise StatusError(Status.FILE_CORRUPT_ERROR, why)
            above = above.node.parent

    async def _directory(self, node: Node) -> Directory:
        """The parsed form of a directory."""
        if node.directory is None:
            section = await self._load(node)
            self._refuse_loop(node)
            data = (
                await self.cache.copy_read(section, 0, section.size, None)
                if section.size <= 65536
                else await self._long(section)
            )
            node.directory = Directory(
                node, parse_directory(data, self.geometry.bits == 32, self.codepage)
            )
        return node.directory

    async def _long(self, section: Section) -> bytes:
        """The bytes of a large directory up to the piece in which it ends."""
        parts: list[bytes] = []
        for offset in range(0, section.size, 65536):
            parts.append(await self.cache.copy_read(section, offset, 65536))
            if parts[-1][-SLOT] == 0:
                break
        return b"".join(parts)

    async def read_label(self) -> None:
        """Takes the label from the root directory, in whatever slot it is.

        The boot sector's stays where there is none, or the root directory cannot be read.
        """
        try:
            section = await self._load(self.root)
            for offset in range(0, section.size, 65536):
                label, ends = find_label(await self.cache.copy_read(section, offset, 65536))
                if label:
                    self.label = shown_label(label, self.codepage)
                if label or ends:
                    return
        except StatusError:
            return

    async def _trim_nodes(self) -> None:
        """Drops the older nodes that nobody needs, after writing what they have. Only between
        operations, when nobody holds one.
        """
        self.paths.clear()
        nodes = [
            n for n, _ in zip(self.nodes, range(len(self.nodes) // 2), strict=False) if not n.opens
        ]
        if self.erasures or any(n.stale for n in nodes):  # an erasure keeps its directory
            await self._make_way()
        writeback = self.cache.memory.writeback
        picks = [
            p
            for n in nodes
            if n.section is not None and n.section.dirty
            for p in writeback.picks(n.section)
        ]
        await writeback.write(picks, asked=False)
        for node in nodes:
            busy = node.section is not None and (
                node.section.dirty or writeback.errors.peek(node.section)
            )
            if not (node.opens or busy or (node.directory is not None and node.directory.live)):
                await self._drop_node(node)

    async def _drop_node(self, node: Node) -> None:
        """Forgets a node and its pages, written or not."""
        if node.section is not None:
            await self._forget_section(node.section)
        self.stale.pop(node, None)
        if node.entry is not None and node.parent is not None and node.entry.node is node:
            node.entry.node = None
            node.parent.live -= 1
            del self.nodes[node]

    # -- clusters ----------------------------------------------------------------------------------

    def _cluster_at(self, place: int) -> int:
        return (place - self.geometry.data_offset) // self.geometry.cluster + 2

    async def grow(self, node: Node, size: int) -> None:
        """Gives a node clusters for `size` bytes."""
        regions = node.regions
        count = -(-(size - regions.total) // self.geometry.cluster)
        if count <= 0:
            return
        await self._modify()
        after = self._cluster_at(regions.last_place()) if regions.total else 0
        if after in self.table.cuts:
            await self._write_in_order()
        self._extend(node, await self._allocate(count, after))

    async def _allocate(self, count: int, after: int = 0) -> list[Run]:
        """As `FatTable.allocate`; clusters that wait to be freed are freed when they are needed."""
        try:
            return await self.table.allocate(count, after)
        except StatusError as error:
            if error.status != Status.DISK_FULL or not self.frees or not await self._make_way():
                raise
        return await self.table.allocate(count, after)

    def _extend(self, node: Node, runs: list[Run]) -> None:
        entry = node.entry
        if not node.regions.total and entry is not None:
            entry.cluster = runs[0][0]
            self.mark_stale(node)
        for start, count in runs:
            node.regions.append(self.geometry.place(start), count)

    async def shrink(self, node: Node, size: int) -> None:
        """Frees a file's clusters beyond `size` bytes; its pages there must be gone already."""
        regions, g = node.regions, self.geometry
        keep = -(-size // g.cluster)
        if keep * g.cluster >= regions.total:
            return
        await self._modify()
        tail: list[Run] = []
        at = 0
        for place, count in regions.units():
            skip = min(max(keep - at, 0), count)
            if skip < count:
                tail.append((self._cluster_at(place) + skip, count - skip))
            at += count
        if keep:
            last = regions.locate((keep - 1) * g.cluster, g.cluster)[0][0]
            self.table.end_at(self._cluster_at(last))
        elif node.entry is not None:
            node.entry.cluster = 0
            self.mark_stale(node)
        regions.truncate(keep)
        self._let_go(tail)

    def _let_go(self, runs: list[Run]) -> None:
        """Has clusters freed as soon as no entry on the medium points to them."""
        self.table.forget(runs)
        self.frees += runs

    async def _grow_directory(self, node: Node) -> None:
        """Adds a zeroed cluster to a directory; StatusError DISK_FULL for the fixed root of FAT12
        and FAT16.
        """
        section = await self._load(node)
        if node.entry is None and self.geometry.root_size:
            raise StatusError(
                Status.DISK_FULL,
                f"{self.name}: the root directory of {self.kind} has room for "
                f"{self.geometry.root_size // SLOT} slots and they are used up; use a subdirectory",
            )
        if section.size + self.geometry.cluster > MOST_DIRECTORY_BYTES:
            raise StatusError(
                Status.DISK_FULL, f"{section.name}: the directory has reached FAT's limit of 2 MiB"
            )
        await self._modify()
        runs = await self._allocate(1)
        try:
            async with self.cache.memory.zeros(self.geometry.cluster) as zeros:
                await self.pager.write(self.geometry.place(runs[0][0]), zeros)
            await self.table.link(self._cluster_at(node.regions.last_place()), runs)
        except StatusError:
            self._let_go(runs)
            raise
        self._extend(node, runs)
        section.size += self.geometry.cluster

    async def _take_slots(self, directory: Directory, count: int) -> int:
        """Index of `count` free slots in a row; StatusError DISK_FULL when there is no room for
        them.
        """
        node = directory.node
        first = directory.slots.take(count, node.regions.total // SLOT)
        if (
            first < 0
            and any(waiting is directory for waiting, _ in self.erasures)
            and await self._make_way()
        ):
            first = directory.slots.take(count, node.regions.total // SLOT)
        while first < 0:
            await self._grow_directory(node)
            first = directory.slots.take(count, node.regions.total // SLOT)
        return first

    async def _put(self, section: Section, at: int, data: bytes) -> None:
        """Writes slots into a directory's pages, all of them or none."""
        if not self.cache.try_write(section, at, data):
            async with self.cache.hold(section, at, len(data)):
                self.cache.write_held(section, at, data)

    async def _new_directory_section(
        self, cluster: int, parent: Node, path: str
    ) -> tuple[Mapping, Section]:
        """The section of a new directory in `cluster`, with "." and ".." in its pages."""
        above = parent.entry.cluster if parent.entry is not None else 0
        data = b""
        for short, target in ((b".          ", cluster), (b"..         ", above)):
            data += new_entry("", DIRECTORY, self.stamp(), short, target).pack()
        mapping = Mapping(RegionMap(self.geometry.cluster))
        mapping.regions.append(self.geometry.place(cluster), 1)
        section = Section(self._section_name(path), self.pager, mapping, 0)
        self.fresh[section] = None
        try:
            await self.cache.copy_write(section, 0, data.ljust(self.geometry.cluster, b"\0"))
        except StatusError:
            await self._forget_section(section)
            raise
        return mapping, section

    async def _forget_section(self, section: Section) -> None:
        await self.cache.drop(section)
        self.fresh.pop(section, None)

    async def unmount(self, discard: bool = False) -> None:
        """As `flush`, and lets go of every page; with `discard`, unwritten data and open files are
        given up instead.

        StatusError SHARING_VIOLATION while files are open.
        """
        opened = sum(node.opens for node in self.nodes)
        if opened and not discard:
            raise StatusError(
                Status.SHARING_VIOLATION,
                f"{self.name}: cannot be unmounted: {opened} files are open",
            )
        if not discard:
            await self.flush()
        async with self.mutex:
            await self._forget_nodes()
            await self.cache.drop(self.section)

    async def _forget_nodes(self) -> None:
        """Lets go of all that is known of files and directories, and of their pages."""
        self.paths.clear()
        for node in [*self.nodes, self.root]:
            node.directory = None
            await self._drop_node(node)
        self.root = Node(None, None, "")
