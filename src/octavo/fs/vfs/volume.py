"""A mounted volume: names, directories and open files of any format.

Everything that looks at names or changes anything holds the volume's mutex; reading a file that is
open does not. Nothing is written at once but the dirty flag: pages go out by flush, lazy writer or
pageout. Each operation plans a change with the format and has it applied (`edits`, `order`); what
is kept in memory follows when that has succeeded.

Source: statuses as NT's file systems give them. Departures: an open file cannot be renamed; one
that is removed has no name from then on, as in POSIX, where NT keeps it until the last close; what
is damaged is removed only with `force`, since its extents may be another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, cast

from octavo.fs.base import check_file_path, not_found, split_path
from octavo.fs.vfs.file import OpenedFile
from octavo.fs.vfs.node import Directory, E, Node
from octavo.fs.vfs.whole import WholeVolume
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo, Glance
    from octavo.fs.vfs.names import Names
    from octavo.fs.vfs.packing import Batch, Fill, Give


class Volume(WholeVolume[E]):
    """The names of a volume, and its files; the methods are those of `FileSystemVolume`."""

    # -- reading -----------------------------------------------------------------------------------

    async def stat(self, path: str) -> FileInfo:
        """One entry, that at the end of a symbolic link; the root has the name ""."""
        nodes = self.nodes
        if nodes.links is None and nodes.store.bar is None and type(path) is str:
            known = nodes.known.find(path)  # no lock: what is known was true until now
            if known is not None and known.entry is not None:
                return known.entry
        if path in ("", "/") or not split_path(path):
            self.nodes.check_usable()
            return self.nodes.root.entry
        async with self.mutex:
            directory, entry = await self.nodes.existing(path)
            target = await self.nodes.target(directory, entry, path)
            if target is None:
                return entry
            found = copy(target.entry)
            found.name = entry.name  # by which it was asked for
            return found

    async def entries(self, path: str) -> list[FileInfo]:
        """The entries of a directory in the order of the disk, without "." and ".."."""
        async with self.mutex:
            directory = await self.nodes.directory_at(path)
            return cast("list[FileInfo]", list(directory.names.values()))

    @property
    def changes(self) -> int:
        """How often names, or what they say, were changed since the volume was mounted."""
        return self.writer.changes if self.writer is not None else 0

    async def glance(self, directories: Sequence[FileInfo]) -> dict[int, Glance]:
        """What directories that nobody has opened say, and those below them, some of them, by their
        numbers; they were listed when the volume had the `changes` that it has now.
        """
        opened = cast("Sequence[E]", directories)
        async with self.mutex:
            return await self.format.glance([e.number for e in opened if e.node is None])

    async def open(
        self,
        path: str,
        write: bool = False,
        create: bool = False,
        exclusive: bool = False,
        truncate: bool = False,
    ) -> OpenedFile[E]:
        """Opens a file; with `create` makes it if it is not there, with `exclusive` only if it is
        not there.
        """
        async with self.mutex:
            directory, entry, name = await self.nodes.resolve(path, create)
            if entry is None:
                if not create:
                    raise not_found(path)
                entry = await self._make_file(directory, name, path)
                if write:
                    return self._opened(self.nodes.node(directory, entry), write)
            elif exclusive:
                raise StatusError(Status.OBJECT_NAME_COLLISION, f"{path}: exists already")
            target = await self.nodes.target(directory, entry, path)
            if target is not None:
                entry = target.entry
            if entry.is_directory:
                raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{path}: is a directory")
            if write and (self.names or self.writing(path)).planner.protected(entry):
                raise StatusError(Status.ACCESS_DENIED, f"{path}: has the read-only attribute")
            node = self.nodes.node(directory, entry)
            await self.nodes.load(node)
            file = self._opened(node, write)
        if truncate and entry.size:
            try:
                await file.truncate(0)
            except StatusError:
                node.opens -= 1
                raise
        return file

    def _opened(self, node: Node[E], write: bool) -> OpenedFile[E]:
        node.opens += 1
        return OpenedFile(self.store, node, self.room, write)

    # -- making ------------------------------------------------------------------------------------

    async def create_whole(self, path: str, data: bytes, modified: float | None) -> bool:
        """Makes a file of `data`, last written at `modified` (None: now); False, and nothing done,
        when the path is there already.

        Its entry is written once, with size, extents and times, where open, write and close would
        write it three times. StatusError as `open` and `OpenedFile.write`; there is no file then,
        also when memory or the device fails in the middle of the data.
        """
        names = self.names
        if names is not None and modified is not None:
            modified = names.planner.clean_time(modified)  # also for a file that is there
        async with self.mutex:
            directory, entry, name = await self.nodes.resolve(path, passing=True)
            if entry is not None:
                return False
            names = self.names or self.writing(path)
            planner = names.planner
            if len(data) > planner.most_bytes:
                raise names.room.too_large(path)
            check_file_path(path)
            clean = planner.clean_name(name)
            if clean != name and directory.find(clean) is not None:
                return False
            entry = planner.new_entry(clean, False, modified, len(data))
            await names.make(directory, entry, data)
            return True

    async def make_many(self, batch: Batch, fill: Fill) -> None:
        """Makes what it can of many new files and directories together; `batch.there` says what
        that was (`octavo.fs.vfs.batch`). StatusError of memory and the device, and VolumeFullError
        when not all of it has room: then nothing is made.
        """
        from octavo.fs.vfs.batch import make_batch

        async with self.mutex:
            names = self.writing("")
            assert self.packer is not None, "what can be changed has a packer"
            await make_batch(self.nodes, names, self.packer(), batch, fill)

    async def read_many(self, files: Sequence[tuple[int, int]], changes: int, give: Give) -> None:
        """Gives what can be read together of files, (number, size) each as they were listed when
        the volume had so many `changes` (`octavo.fs.vfs.gather`).
        """
        from octavo.fs.vfs.gather import read_batch

        async with self.mutex:
            if self.store.bar is not None:
                raise self.store.bar()
            extents = self.format.extents()
            if extents is not None and changes == self.changes:
                await read_batch(self.nodes, extents, self.format.pager, files, give)

    async def make_directory(self, path: str) -> None:
        """Makes a directory, with what the format has in one that is empty."""
        async with self.mutex:
            directory, entry, name = await self.nodes.resolve(path, passing=True)
            if entry is not None:
                raise StatusError(Status.OBJECT_NAME_COLLISION, f"{path}: exists already")
            await self._create(directory, name, path, is_directory=True)

    async def _make_file(self, directory: Directory[E], name: str, path: str) -> E:
        """Makes an empty file, at once where that can be."""
        names = self.names or self.writing(path)
        entry = names.try_make(directory, name) if path.endswith(name) else None
        if entry is None:
            check_file_path(path)
            entry = await self._create(directory, name, path, is_directory=False)
        return entry

    async def _create(self, directory: Directory[E], name: str, path: str, is_directory: bool) -> E:
        """Makes an empty file or directory."""
        names = self.names or self.writing(path)
        clean = names.planner.clean_name(name)
        if clean != name and directory.find(clean) is not None:
            raise StatusError(Status.OBJECT_NAME_COLLISION, f"{path}: exists already")
        entry = names.planner.new_entry(clean, is_directory, None, 0)
        await names.make(directory, entry, b"")
        return entry

    # -- removing ----------------------------------------------------------------------------------

    async def remove(self, path: str, force: bool = False) -> None:
        """Removes a file; with `force` a read-only one, and a damaged one, too. Its name is gone at
        once; who has it open can read and write it on, until the last of them closes it.

        The extents of a damaged file may be another's: they stay in use, until a repair finds out
        whose they are.
        """
        async with self.mutex:
            directory, entry, _ = await self.nodes.resolve(path, passing=True)
            if entry is None:
                raise not_found(path)
            if entry.is_directory:
                raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{path}: is a directory")
            await self._remove(directory, entry, path, force)

    async def remove_directory(self, path: str, force: bool = False) -> None:
        """Removes an empty directory; with `force` a read-only one, and one that cannot be read, as
        `remove` does.
        """
        async with self.mutex:
            directory, entry = await self.nodes.existing(path)
            if not entry.is_directory:
                raise StatusError(Status.NOT_A_DIRECTORY, f"{path}: is not a directory")
            try:
                inner = await self.nodes.directory(self.nodes.node(directory, entry))
            except StatusError as error:
                if not force or error.status != Status.FILE_CORRUPT_ERROR:
                    raise
            else:
                if inner.names:
                    raise StatusError(
                        Status.DIRECTORY_NOT_EMPTY, f"{path}: the directory is not empty"
                    )
            await self._remove(directory, entry, path, force)

    async def _remove(self, directory: Directory[E], entry: E, path: str, force: bool) -> None:
        names = self.names or self.writing(path)
        planner = names.planner
        if not force and planner.protected(entry):
            raise self._cannot_delete(path)
        try:
            held = await planner.held(entry, path)
        except StatusError as error:
            if not force or error.status != Status.FILE_CORRUPT_ERROR:
                raise
            held = []
        await names.erase(directory, entry, held)

    def _cannot_delete(self, path: str) -> StatusError:
        return StatusError(Status.CANNOT_DELETE, f"{path}: has the read-only attribute")

    async def is_open(self, path: str) -> bool:
        """Whether somebody has the file at a path open."""
        async with self.mutex:
            _, entry, _ = await self.nodes.resolve(path)
            node: Node[E] | None = None if entry is None else entry.node
            return node is not None and node.opens > 0

    # -- renaming ----------------------------------------------------------------------------------

    async def rename(self, old: str, new: str, replace: bool = False) -> None:
        """Renames or moves a file or directory within the volume, whole or not at all.

        An existing target is refused (OBJECT_NAME_COLLISION). With `replace`, a file takes the
        place of a file: its name then leads to the old contents or to the new ones, at any moment,
        also after a power cut. Who has the old file open keeps it, as `remove` says.
        """
        async with self.mutex:
            source, entry = await self.nodes.existing(old)
            source.live += 1  # keeps it while the other path is looked up
            try:
                target, existing, name = await self.nodes.resolve(new)
                names = self._may_move(entry, target, old, new)
                if existing is entry and source is target:
                    await names.respell(source, entry, name)
                elif existing is None or existing is entry:
                    await names.move(source, entry, target, name)
                elif not replace or existing.is_directory or entry.is_directory:
                    raise StatusError(Status.OBJECT_NAME_COLLISION, f"{new}: exists already")
                else:
                    held = await self._to_replace(names, existing, new)
                    await names.replace(source, entry, target, existing, held)
            finally:
                source.live -= 1

    def _may_move(self, entry: E, target: Directory[E], old: str, new: str) -> Names[E]:
        if not entry.is_directory:
            check_file_path(new)
        names = self.writing(old)
        node: Node[E] | None = entry.node
        if node is not None and node.opens:
            raise StatusError(Status.SHARING_VIOLATION, f"{old}: is open")
        above: Directory[E] | None = target
        while above is not None:
            if above.node.entry is entry:
                raise StatusError(Status.INVALID_PARAMETER, f"{old}: cannot be moved into itself")
            above = above.node.parent
        return names

    async def _to_replace(self, names: Names[E], existing: E, path: str) -> list[tuple[int, int]]:
        """The extents of a file that another one may replace."""
        if names.planner.protected(existing):
            raise self._cannot_delete(path)
        return await names.planner.held(existing, path)

    # -- attributes --------------------------------------------------------------------------------

    async def set_attributes(self, path: str, on: str = "", off: str = "") -> None:
        """Sets attributes and clears others: letters out of r, h, s and a, as in `flags`;
        StatusError INVALID_PARAMETER.
        """
        planner = self.writing(path).planner
        bits = planner.attributes(on), planner.attributes(off)
        async with self.mutex:
            planner.set_attributes(await self._to_change(path), *bits)

    async def set_modified(self, path: str, wall: float) -> None:
        """Sets when a file or directory was last written (seconds since 1970, brought into the
        years that the format has).
        """
        planner = self.writing(path).planner
        wall = planner.clean_time(wall)
        async with self.mutex:
            planner.set_written(await self._to_change(path), wall)

    async def _to_change(self, path: str) -> E:
        """An entry whose attributes or times the caller changes now; the next flush writes it."""
        directory, entry = await self.nodes.existing(path)
        writer = self.writing(path).writer
        await writer.begin()
        writer.mark_stale(self.nodes.node(directory, entry))
        return entry
