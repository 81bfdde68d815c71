"""A mounted FAT volume: names, directories, open files.

    volume section   reserved sectors and the FAT in use; the other FATs are its mirrors
    directory        a section of its own; its parsed form is kept beside it
    file             a section of its own

Everything that changes names or clusters holds the volume's mutex. Nothing is written at once but the dirty flag: pages
go out by flush, lazy writer or pageout. `storage` does clusters and slots, this file does what users ask for.

Source: Microsoft FAT specification; statuses as NT's FAT driver gives them. Departures: an open file can be neither
removed nor renamed; removing a file whose chain is damaged is refused, since its clusters may be another's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from octavo.fs.base import Problem, Space, not_found, split_path
from octavo.fs.fat.entry import ARCHIVE, DIRECTORY, FREE_SLOT, READ_ONLY, SLOT, Entry, new_entry
from octavo.fs.fat.file import FatFile
from octavo.fs.fat.names import clean_name, exact_short, fold, long_slots, make_short
from octavo.fs.fat.node import Directory, Node, slots_in
from octavo.fs.fat.storage import Storage
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo


class FatVolume(Storage):
    """A volume that `mount` has made; the methods are those of `FileSystemVolume`."""

    async def stat(self, path: str) -> FileInfo:
        """One entry; the root has the name ""."""
        entry = (await self._lookup(path)).entry
        return entry if entry is not None else _root_entry()

    async def entries(self, path: str) -> list[FileInfo]:
        """The entries of a directory in the order of the disk, without "." and ".."."""
        async with self.mutex:
            directory = await self._directory_at(path)
            return cast(list["FileInfo"], list(directory.names.values()))

    async def open(self, path: str, write: bool = False, create: bool = False, exclusive: bool = False, truncate: bool = False) -> FatFile:
        """Opens a file; with `create` makes it if it is not there, with `exclusive` only if it is not there."""
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
        """As `octavo.fs.fat.whole.create_whole`."""
        from octavo.fs.fat.whole import create_whole  # it is about this class

        return await create_whole(self, path, data, modified)

    async def make_directory(self, path: str) -> None:
        """Makes a directory with "." and ".."."""
        async with self.mutex:
            directory, entry, name = await self._resolve(path)
            if entry is not None:
                raise StatusError(Status.OBJECT_NAME_COLLISION, f"{path}: exists already")
            self._writable(path)
            name = clean_name(name)
            await self._modify()
            runs = await self.table.allocate(1)
            section = None
            try:
                mapping, section = await self._new_directory_section(runs[0][0], directory.node, path)
                entry = await self._create(directory, name, DIRECTORY, path, runs[0][0])
            except StatusError:
                if section is not None:
                    await self.cache.drop(section)
                await self.table.free(runs)
                raise
            node = self._node(directory, entry)
            node.mapping, node.section = mapping, section

    async def remove(self, path: str) -> None:
        """Removes a file."""
        async with self.mutex:
            directory, entry, _ = await self._resolve(path)
            if entry is None:
                raise not_found(path)
            if entry.attributes & DIRECTORY:
                raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{path}: is a directory")
            await self._remove(directory, entry, path)

    async def remove_directory(self, path: str) -> None:
        """Removes an empty directory."""
        async with self.mutex:
            directory, entry, _ = await self._resolve(path)
            if entry is None:
                raise not_found(path)
            if not entry.attributes & DIRECTORY:
                raise StatusError(Status.NOT_A_DIRECTORY, f"{path}: is not a directory")
            inner = await self._directory(self._node(directory, entry))
            self.paths.clear()
            if inner.names:
                raise StatusError(Status.DIRECTORY_NOT_EMPTY, f"{path}: the directory is not empty")
            await self._remove(directory, entry, path)

    async def rename(self, old: str, new: str) -> None:
        """Renames or moves a file or directory within the volume; an existing target is refused."""
        async with self.mutex:
            source, entry, _ = await self._resolve(old)
            if entry is None:
                raise not_found(old)
            source.live += 1  # keeps it while the other path is looked up
            try:
                target, existing, name = await self._resolve(new)
            finally:
                source.live -= 1
            if existing is not None and existing is not entry:
                raise StatusError(Status.OBJECT_NAME_COLLISION, f"{new}: exists already")
            self._writable(old)
            node = entry.node
            if isinstance(node, Node):
                if node.opens:
                    raise StatusError(Status.SHARING_VIOLATION, f"{old}: is open")
                above: Directory | None = target
                while above is not None:
                    if above.node is node:
                        raise StatusError(Status.INVALID_PARAMETER, f"{old}: cannot be moved into itself")
                    above = above.node.parent
            await self._move(source, entry, target, name)

    async def space(self) -> Space:
        """Size and free space of the cluster area."""
        async with self.mutex:
            free = await self.table.count_free()
        return Space(self.geometry.clusters * self.geometry.cluster, free * self.geometry.cluster, self.geometry.cluster)

    async def check(self, progress: Callable[[int, int], None] | None = None) -> list[Problem]:
        """What is wrong with the volume; changes nothing."""
        from octavo.fs.fat.check import check_volume

        await self.flush()
        async with self.mutex:
            return await check_volume(self, progress)

    # -- paths ----------------------------------------------------------------------------------------------------

    async def _resolve(self, path: str) -> tuple[Directory, Entry | None, str]:
        """The directory that a path's last name is in, its entry if there is one, and the name."""
        if len(self.nodes) > self.most_nodes:
            await self._trim_nodes()
        head, _, name = path.rpartition("/")
        known = self.paths.get(head)
        if known is not None and name not in ("", ".", "..") and "\\" not in name:
            return known, known.find(name), name
        names = split_path(path)
        if not names:
            raise StatusError(Status.ACCESS_DENIED, f"{path or '/'}: the root directory cannot be opened as a file, made, moved or removed")
        directory = self.root.directory or await self._directory(self.root)
        for part in names[:-1]:
            directory = await self._step(directory, part, path)
        if name == names[-1]:
            self.paths[head] = directory
        return directory, directory.find(names[-1]), names[-1]

    async def _step(self, directory: Directory, name: str, path: str) -> Directory:
        entry = directory.find(name)
        if entry is None:
            raise not_found(path, parent=True)
        if not entry.attributes & DIRECTORY:
            raise StatusError(Status.OBJECT_PATH_NOT_FOUND, f"{path}: {name} is not a directory")
        node = self._node(directory, entry)
        return node.directory or await self._directory(node)

    async def _directory_at(self, path: str) -> Directory:
        if path in ("", "/") or not split_path(path):
            return self.root.directory or await self._directory(self.root)
        directory, entry, name = await self._resolve(path)
        if entry is None:
            raise not_found(path)
        return await self._step(directory, name, path)

    async def _lookup(self, path: str) -> Node:
        if not split_path(path):
            return self.root
        async with self.mutex:
            directory, entry, _ = await self._resolve(path)
        if entry is None:
            raise not_found(path)
        return Node(entry, directory, path) if entry.node is None else cast(Node, entry.node)

    # -- entries --------------------------------------------------------------------------------------------------

    async def _create(self, directory: Directory, name: str, attributes: int, path: str, cluster: int = 0) -> Entry:
        """Writes a new entry."""
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
        count = len(data) // SLOT
        section = await self._load(directory.node)
        first = directory.take_slots(count, slots_in(section.size))
        if first < 0:
            await self._grow_directory(directory.node)
            first = directory.take_slots(count, slots_in(section.size))
            if first < 0:
                raise StatusError(Status.DISK_FULL, f"{directory.node.path or '/'}: the directory has no room for another name")
        at_end = first + count == directory.end
        if at_end and (first + count) * SLOT < section.size:
            data += b"\0"  # what lies behind the end of a directory is not always zero
        entry.slot, entry.slots = first, count
        try:
            if not self.cache.try_write(section, first * SLOT, data):
                await self.cache.copy_write(section, first * SLOT, data)
        except StatusError:
            directory.give_back(first, count)
            raise
        directory.add(entry)

    async def _erase(self, directory: Directory, entry: Entry) -> None:
        """Frees the slots of an entry."""
        section = directory.node.section or await self._load(directory.node)
        cache, ram = self.cache, self.cache.ram
        for at in range(entry.slot * SLOT, (entry.slot + entry.slots) * SLOT, SLOT):
            address = cache.try_address(section, at)
            if address < 0:
                address = await cache.address(section, at)
            ram.bytes[address] = FREE_SLOT
            cache.mark(section, at)
        directory.drop(entry)

    async def _remove(self, directory: Directory, entry: Entry, path: str) -> None:
        self._writable(path)
        if entry.attributes & READ_ONLY:
            raise StatusError(Status.CANNOT_DELETE, f"{path}: has the read-only attribute")
        node = cast(Node | None, entry.node)
        if node is not None and node.opens:
            raise StatusError(Status.SHARING_VIOLATION, f"{path}: is open")
        runs = await self.table.chain(entry.cluster, path) if entry.cluster else []
        held = sum(count for _, count in runs) * self.geometry.cluster
        if held < entry.size:
            raise StatusError(Status.FILE_CORRUPT_ERROR, f"{path}: holds {held} bytes and claims {entry.size}: its clusters may be another's; run check")
        await self._modify()
        await self._erase(directory, entry)
        if node is not None:
            node.stale = False
            await self._drop_node(node)
        await self.table.free(runs)

    async def _move(self, source: Directory, entry: Entry, target: Directory, name: str) -> None:
        self.paths.clear()
        name = clean_name(name)
        await self._modify()
        moved = entry.renamed(name)
        node = cast(Node | None, entry.node)
        if source is target and fold(name) == fold(entry.name):
            await self._erase(source, entry)  # only the case changes: the name must be free first
            await self._insert(target, moved)
        else:
            await self._insert(target, moved)
            await self._erase(source, entry)
        if node is not None:
            entry.node, moved.node = None, node
            node.entry, node.parent = moved, target
            node.path = f"{target.node.path}/{name}"
            source.live -= 1
            target.live += 1
            if node.section is not None:
                node.section.name = self._section_name(node.path)
        if source is not target and moved.is_directory:
            await self._point_up(self._node(target, moved), target)


def _root_entry() -> Entry:
    return new_entry("", DIRECTORY, (0, 0, 0))
