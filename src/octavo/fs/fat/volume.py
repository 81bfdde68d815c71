"""A mounted FAT volume: names, directories, open files.

    volume section   reserved sectors and the FAT in use; the other FATs are its mirrors
    directory        a section of its own; its parsed form is kept beside it
    file             a section of its own

Everything that changes names or clusters holds the volume's mutex. Nothing is written at once but
the dirty flag: pages go out by flush, lazy writer or pageout. `storage` does clusters and slots,
this file does what users ask for.

Source: Microsoft FAT specification; statuses as NT's FAT driver gives them. Departures: an open
file can be neither removed nor renamed; what is damaged is removed only with `force`, since its
clusters may be another's. The order of writes is in `core`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from octavo.arguments import called
from octavo.fs.base import Problem, Space, check_file_path, not_found
from octavo.fs.fat.entry import (
    ARCHIVE,
    DIRECTORY,
    READ_ONLY,
    SLOT,
    Entry,
    attribute_bits,
    clean_wall,
    new_entry,
)
from octavo.fs.fat.file import MOST_BYTES, FatFile
from octavo.fs.fat.names import clean_name, exact_short, fold, long_slots, make_short
from octavo.fs.fat.node import Directory, Node
from octavo.fs.fat.paths import Paths
from octavo.fs.fat.table import Run
from octavo.memory.pagers.region import Mapping
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import Section
from octavo.printing import counted
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo


class FatVolume(Paths):
    """A volume that `mount` has made; the methods are those of `FileSystemVolume`."""

    async def stat(self, path: str) -> FileInfo:
        """One entry; the root has the name ""."""
        entry = (await self._lookup(path)).entry
        return entry if entry is not None else new_entry("", DIRECTORY, (0, 0, 0))

    async def entries(self, path: str) -> list[FileInfo]:
        """The entries of a directory in the order of the disk, without "." and ".."."""
        async with self.mutex:
            directory = await self._directory_at(path)
            return cast(list["FileInfo"], list(directory.names.values()))

    async def open(
        self,
        path: str,
        write: bool = False,
        create: bool = False,
        exclusive: bool = False,
        truncate: bool = False,
    ) -> FatFile:
        """Opens a file; with `create` makes it if it is not there, with `exclusive` only if it is
        not there.
        """
        async with self.mutex:
            directory, entry, name = await self._resolve(path)
            if entry is None:
                if not create:
                    raise not_found(path)
                entry = await self._create(directory, name, ARCHIVE, path)
            elif exclusive:
                raise StatusError(Status.OBJECT_NAME_COLLISION, f"{path}: exists already")
            if entry.attributes & DIRECTORY:
                raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{path}: is a directory")
            if write:
                self._writable(path)
                if entry.attributes & READ_ONLY:
                    raise StatusError(Status.ACCESS_DENIED, f"{path}: has the read-only attribute")
            node = self._node(directory, entry)
            await self._load(node)
            node.opens += 1
        file = FatFile(self, node, write)
        if truncate and entry.size:
            try:
                await file.truncate(0)
            except StatusError:
                node.opens -= 1
                raise
        return file

    async def create_whole(self, path: str, data: bytes, modified: float | None) -> bool:
        """Makes a file of `data`, last written at `modified` (None: now); False, and nothing done,
        when the path is there already.

        Its entry is written once, with size, cluster and times, where open, write and close would
        write it three times. StatusError as `open` and `FatFile.write`; there is no file then, also
        when memory or the device fails in the middle of the data.
        """
        written = self.stamp(modified)  # a wrong time is refused also for a file that is there
        async with self.mutex:
            directory, entry, name = await self._resolve(path)
            if entry is not None:
                return False
            if len(data) > MOST_BYTES:
                raise StatusError(
                    Status.FILE_TOO_LARGE, f"{path}: a file on FAT has at most {MOST_BYTES} bytes"
                )
            check_file_path(path)
            self._writable(path)
            name = clean_name(name)
            if fold(name) in directory.names:
                return False
            await self._modify()
            entry = new_entry(name, ARCHIVE, self.stamp())
            if modified is not None:
                entry.set_written(*written[:2])
            runs = await self._allocate(-(-len(data) // self.geometry.cluster)) if data else []
            if runs:
                entry.cluster, entry.size = runs[0][0], len(data)
            try:
                await self._insert(directory, entry)
            except StatusError:
                self._let_go(runs)
                raise
            if not data:
                return True
            node = self._node(directory, entry)
            node.mapping = Mapping(RegionMap(self.geometry.cluster))
            self._extend(node, runs)
            node.section = Section(self._section_name(node.path), self.pager, node.mapping, 0)
            try:
                await self.cache.copy_write(node.section, 0, data)
            except StatusError:
                await self._remove(directory, entry, path, force=False)
                raise
            return True

    async def make_directory(self, path: str) -> None:
        """Makes a directory with "." and ".."."""
        async with self.mutex:
            directory, entry, name = await self._resolve(path)
            if entry is not None:
                raise StatusError(Status.OBJECT_NAME_COLLISION, f"{path}: exists already")
            self._writable(path)
            name = clean_name(name)
            await self._modify()
            runs = await self._allocate(1)
            section = None
            try:
                mapping, section = await self._new_directory_section(
                    runs[0][0], directory.node, path
                )
                entry = await self._create(directory, name, DIRECTORY, path, runs[0][0])
            except StatusError:
                if section is not None:
                    await self._forget_section(section)
                self._let_go(runs)
                raise
            node = self._node(directory, entry)
            node.mapping, node.section = mapping, section

    async def remove(self, path: str, force: bool = False) -> None:
        """Removes a file; with `force` a read-only one, and a damaged one, too.

        The clusters of a damaged file may be another's: they stay in use, until a repair finds out
        whose they are.
        """
        async with self.mutex:
            directory, entry = await self._existing(path)
            if entry.attributes & DIRECTORY:
                raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{path}: is a directory")
            await self._remove(directory, entry, path, force)

    async def remove_directory(self, path: str, force: bool = False) -> None:
        """Removes an empty directory; with `force` a read-only one, and one that cannot be read, as
        `remove` does.
        """
        async with self.mutex:
            directory, entry = await self._existing(path)
            if not entry.attributes & DIRECTORY:
                raise StatusError(Status.NOT_A_DIRECTORY, f"{path}: is not a directory")
            self.paths.clear()
            try:
                inner = await self._directory(self._node(directory, entry))
            except StatusError as error:
                if not force or error.status != Status.FILE_CORRUPT_ERROR:
                    raise
            else:
                if inner.names:
                    raise StatusError(
                        Status.DIRECTORY_NOT_EMPTY, f"{path}: the directory is not empty"
                    )
            await self._remove(directory, entry, path, force)

    async def rename(self, old: str, new: str, replace: bool = False) -> None:
        """Renames or moves a file or directory within the volume, whole or not at all.

        An existing target is refused (OBJECT_NAME_COLLISION). With `replace`, a file takes the
        place of a file that is not open: its name then leads to the old contents or to the new
        ones, at any moment, also after a power cut.
        """
        async with self.mutex:
            source, entry = await self._existing(old)
            source.live += 1  # keeps it while the other path is looked up
            try:
                target, existing, name = await self._resolve(new)
                self._may_move(source, entry, target, old, new)
                if existing is entry and source is target:
                    await self._respell(source, entry, name)
                elif existing is None or existing is entry:
                    await self._move(source, entry, target, name)
                elif not replace or (existing.attributes | entry.attributes) & DIRECTORY:
                    raise StatusError(Status.OBJECT_NAME_COLLISION, f"{new}: exists already")
                else:
                    await self._replace(source, entry, target, existing, new)
            finally:
                source.live -= 1

    async def set_attributes(self, path: str, on: str = "", off: str = "") -> None:
        """Sets attributes and clears others: letters out of r, h, s and a, as in `flags`;
        StatusError INVALID_PARAMETER.
        """
        change = attribute_bits(on), attribute_bits(off)
        async with self.mutex:
            (await self._to_change(path)).change_attributes(*change)

    def _may_move(
        self, source: Directory, entry: Entry, target: Directory, old: str, new: str
    ) -> None:
        if not entry.attributes & DIRECTORY:
            check_file_path(new)
        self._writable(old)
        node = entry.node
        if isinstance(node, Node) and node.opens:
            raise StatusError(Status.SHARING_VIOLATION, f"{old}: is open")
        above: Directory | None = target
        while above is not None:
            if above.node.entry is entry:
                raise StatusError(Status.INVALID_PARAMETER, f"{old}: cannot be moved into itself")
            above = above.node.parent

    async def set_modified(self, path: str, wall: float) -> None:
        """Sets when a file or directory was last written (seconds since 1970, brought into FAT's
        years).
        """
        written = self.stamp(clean_wall(wall))[:2]
        async with self.mutex:
            (await self._to_change(path)).set_written(*written)

    async def space(self) -> Space:
        """Size and free space of the cluster area."""
        async with self.mutex:
            free = await self.table.count_free() + sum(count for _, count in self.frees)
        return Space(
            self.geometry.clusters * self.geometry.cluster,
            free * self.geometry.cluster,
            self.geometry.cluster,
        )

    async def check(
        self, progress: Callable[[int, int], None] | None = None, repair: bool = False
    ) -> list[Problem]:
        """What is wrong with the volume. With `repair` it is mended as far as that goes, and
        written; SHARING_VIOLATION while files are open.
        """
        from octavo.fs.fat.check import check_volume

        called(progress, "progress")
        await self.flush()
        async with self.mutex:
            if not repair:
                return await check_volume(self, progress, False)
            self._writable("")
            if opened := sum(node.opens for node in self.nodes):
                raise StatusError(
                    Status.SHARING_VIOLATION,
                    f"{self.name}: cannot be repaired: "
                    f"{counted(opened, 'file is', 'files are')} open",
                )
            await self._forget_nodes()
            problems = await check_volume(self, progress, True)
            await self._forget_nodes()
            if all(problem.mended for problem in problems):
                self.was_dirty, self.flagged = False, self.flagged or self.was_dirty
            await self._write_all()
            return problems

    # -- entries -----------------------------------------------------------------------------------

    async def _to_change(self, path: str) -> Entry:
        """An entry whose attributes or times the caller changes now; the next flush writes it."""
        directory, entry = await self._existing(path)
        self._writable(path)
        await self._modify()
        self.mark_stale(self._node(directory, entry))
        return entry

    async def _create(
        self, directory: Directory, name: str, attributes: int, path: str, cluster: int = 0
    ) -> Entry:
        """Writes a new entry."""
        if not attributes & DIRECTORY:
            check_file_path(path)
        self._writable(path)
        name = clean_name(name)
        if fold(name) in directory.names:
            raise StatusError(Status.OBJECT_NAME_COLLISION, f"{path}: exists already")
        await self._modify()
        entry = new_entry(name, attributes, self.stamp(), cluster=cluster)
        await self._insert(directory, entry)
        return entry

    async def _insert(self, directory: Directory, entry: Entry) -> None:
        """Gives an entry its short name and slots, and writes them."""
        exact = exact_short(entry.name)
        if exact is not None and fold(entry.name) not in directory.shorts:
            entry.set_short(*exact)
            data = entry.pack()
        else:
            short = make_short(entry.name, directory)
            entry.set_short(short, 0)
            data = long_slots(entry.name, short) + entry.pack()
        if directory.leaving & {fold(entry.name), fold(entry.short_name)}:
            await (
                self._write_in_order()
            )  # a name that was moved away from: the medium is not to have it twice
        count = len(data) // SLOT
        section = directory.node.section or await self._load(directory.node)
        first = await self._take_slots(directory, count)
        if first + count == directory.slots.end and (first + count) * SLOT < section.size:
            data += b"\0"  # what lies behind the end of a directory is not always zero
        try:
            await self._put(section, first * SLOT, data)
        except StatusError:
            directory.slots.release(first, count)
            raise
        entry.slot, entry.slots = first, count
        directory.add(entry)

    async def _remove(self, directory: Directory, entry: Entry, path: str, force: bool) -> None:
        self._writable(path)
        if entry.attributes & READ_ONLY and not force:
            raise StatusError(Status.CANNOT_DELETE, f"{path}: has the read-only attribute")
        node = cast(Node | None, entry.node)
        if node is not None and node.opens:
            raise StatusError(Status.SHARING_VIOLATION, f"{path}: is open")
        try:
            runs = await self._clusters_of(entry, path)
        except StatusError as error:
            if not force or error.status != Status.FILE_CORRUPT_ERROR:
                raise
            runs = []
        await self._modify()
        if entry.attributes & DIRECTORY and any(
            waiting.node is node for waiting, _ in self.erasures
        ):
            await (
                self._write_in_order()
            )  # what was moved out of a directory that goes must be found elsewhere before
        async with self.cache.hold(
            await self._load(directory.node), entry.slot * SLOT, entry.slots * SLOT
        ):
            await self._free_slots(directory, entry)
        directory.drop(entry)
        if node is not None:
            node.stale = False
            await self._drop_node(node)
        self._let_go(runs)

    async def _clusters_of(self, entry: Entry, path: str) -> list[Run]:
        """The clusters that a file or directory has to itself; StatusError FILE_CORRUPT_ERROR when
        that is in doubt.
        """
        runs = await self.table.chain(entry.cluster, path) if entry.cluster else []
        held = sum(count for _, count in runs) * self.geometry.cluster
        if held < entry.size:
            why = (
                f"{path}: holds {counted(held, 'byte')} and claims {entry.size}: its clusters "
                "may be another's; run check"
            )
            raise StatusError(Status.FILE_CORRUPT_ERROR, why)
        return runs

    async def _respell(self, directory: Directory, entry: Entry, name: str) -> None:
        """Another case, or the long name in place of the short one: in the same slots where that
        can be, else never both for long.

        The medium must not have two names that fold alike when a third file is to take one of them.
        """
        name = clean_name(name)
        short = exact_short(name)
        spelt = entry.renamed(name)
        long = long_slots(name, entry.raw[:11])
        if fold(name) == fold(entry.name) and len(long) == (entry.slots - 1) * SLOT:
            data = long + entry.pack()
        elif short is not None and short[0] == entry.raw[:11] and entry.slots == 1:
            spelt.set_short(*short)
            data = spelt.pack()
        else:
            await self._move(directory, entry, directory, name)
            await self._make_way()
            return
        await self._modify()
        await self._put(await self._load(directory.node), entry.slot * SLOT, data)
        self.paths.clear()
        directory.drop(entry)
        entry.name, entry.raw = name, spelt.raw
        directory.add(entry)
        if isinstance(entry.node, Node):
            self._name_node(entry.node, directory, entry)

    async def _move(self, source: Directory, entry: Entry, target: Directory, name: str) -> None:
        """Gives an entry another name, or place: the new one is inserted now, the old one erased
        when that is on the medium.
        """
        self.paths.clear()
        name = clean_name(name)
        await self._modify()
        node = cast(Node | None, entry.node)
        if node is not None and node.stale and self.table.joins:
            await (
                self._write_in_order()
            )  # the new entry is not to claim what is not joined to its chain
        moved = entry.renamed(name)
        if source is target or not moved.is_directory:
            await self._insert(target, moved)
        else:
            inner = await self._load(self._node(source, entry))
            async with self.cache.hold(inner, 0, 2 * SLOT):
                await self._insert(target, moved)
                self._point_up(inner, target)
            node = cast(Node, entry.node)
        self._leave(source, entry)
        if node is not None:
            self._carry(node, source, moved, target)

    async def _replace(
        self, source: Directory, entry: Entry, target: Directory, existing: Entry, new: str
    ) -> None:
        """Lets an existing entry lead to a file's clusters, in one sector; the file's own entry is
        erased afterwards.
        """
        old = cast(Node | None, existing.node)
        if existing.attributes & READ_ONLY:
            raise StatusError(Status.CANNOT_DELETE, f"{new}: has the read-only attribute")
        if old is not None and old.opens:
            raise StatusError(Status.SHARING_VIOLATION, f"{new}: is open")
        runs = await self._clusters_of(existing, new)
        await self._modify()
        node = cast(Node | None, entry.node)
        if node is not None and node.stale and self.table.joins:
            await self._write_in_order()
        moved = entry.renamed(existing.name)
        moved.slot, moved.slots = existing.slot, existing.slots
        moved.raw = existing.raw[:11] + entry.raw[11:12] + existing.raw[12:13] + entry.raw[13:]
        section = await self._load(target.node)
        await self._put(section, (moved.slot + moved.slots - 1) * SLOT, moved.pack())
        if old is not None:
            old.stale = False
            await self._drop_node(old)
        target.drop(existing)
        target.add(moved)
        self._leave(source, entry)
        if node is not None:
            self._carry(node, source, moved, target)
        self._let_go(runs)

    def _leave(self, source: Directory, entry: Entry) -> None:
        """Takes a name that was moved away from out of its directory; its slots are erased in the
        order of writes.
        """
        source.drop(entry)
        source.live += 1
        source.leaving |= {fold(entry.name), fold(entry.short_name)}
        self.erasures[source, fold(entry.name)] = entry

    def _carry(self, node: Node, source: Directory, moved: Entry, target: Directory) -> None:
        """A node goes with its entry."""
        assert node.entry is not None
        node.entry.node, moved.node = None, node
        node.entry, node.parent = moved, target
        source.live -= 1
        target.live += 1
        self._name_node(node, target, moved)

    def _name_node(self, node: Node, directory: Directory, entry: Entry) -> None:
        node.path = f"{directory.node.path}/{entry.name}"
        if node.section is not None:
            node.section.name = self._section_name(node.path)

    def _point_up(self, inner: Section, target: Directory) -> None:
        """Makes ".." of a directory, whose first slots are held, point to its new parent."""
        address = self.cache.try_address(inner, SLOT)
        head = bytes(self.cache.ram.bytes[address : address + SLOT])
        if head[:3] == b".. ":
            cluster = target.node.entry.cluster if target.node.entry is not None else 0
            low, high = (
                (cluster & 0xFFFF).to_bytes(2, "little"),
                (cluster >> 16).to_bytes(2, "little"),
            )
            self.cache.write_held(inner, SLOT + 20, high + head[22:26] + low)
