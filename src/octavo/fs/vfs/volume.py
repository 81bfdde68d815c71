"""A mounted volume: names, directories and open files of any format.

Everything that looks at names holds the volume's mutex; reading a file that is open does not.

Source: statuses as NT's file systems give them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NoReturn, cast

from octavo.arguments import called
from octavo.cache.manager import CacheManager
from octavo.fs.base import Problem, Space, not_found, split_path
from octavo.fs.protocol import FileInfo
from octavo.fs.vfs.file import OpenedFile
from octavo.fs.vfs.format import Format
from octavo.fs.vfs.node import E
from octavo.fs.vfs.nodes import Nodes
from octavo.fs.vfs.store import Store
from octavo.status import Status, StatusError
from octavo.storage.device import Device


class Volume(Generic[E]):
    """The volume of a format on `device`; the methods are those of `FileSystemVolume`."""

    def __init__(self, device: Device, format: Format[E], cache: CacheManager) -> None:
        self.device = device
        self.name = device.name
        self.format = format
        self.store = Store(device, format, cache)
        self.mutex = self.store.mutex
        self.nodes = Nodes(self.name, format, cache)
        self.kind, self.label, self.serial = format.kind, format.label, format.serial
        self.refusal = format.refusal
        self.read_only = True

    async def stat(self, path: str) -> FileInfo:
        """One entry; the root has the name ""."""
        if not split_path(path):
            return self.nodes.root.entry
        async with self.mutex:
            return (await self.nodes.existing(path))[1]

    async def entries(self, path: str) -> list[FileInfo]:
        """The entries of a directory in the order of the disk, without "." and ".."."""
        async with self.mutex:
            directory = await self.nodes.directory_at(path)
            return cast(list[FileInfo], list(directory.names.values()))

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
            directory, entry, _ = await self.nodes.resolve(path)
            if entry is None:
                if not create:
                    raise not_found(path)
                self._writable(path)
            elif exclusive:
                raise StatusError(Status.OBJECT_NAME_COLLISION, f"{path}: exists already")
            if entry.is_directory:
                raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{path}: is a directory")
            if write:
                self._writable(path)
            node = self.nodes.node(directory, entry)
            await self.nodes.load(node)
            node.opens += 1
        return OpenedFile(self.store, node, write)

    async def create_whole(self, path: str, data: bytes, modified: float | None) -> bool:
        """Makes a file of `data`; False, and nothing done, when the path is there already."""
        async with self.mutex:
            if (await self.nodes.resolve(path))[1] is not None:
                return False
            self._writable(path)

    async def make_directory(self, path: str) -> None:
        """Makes a directory."""
        await self._refuse(path)

    async def remove(self, path: str, force: bool = False) -> None:
        """Removes a file."""
        await self._refuse(path)

    async def remove_directory(self, path: str, force: bool = False) -> None:
        """Removes an empty directory."""
        await self._refuse(path)

    async def rename(self, old: str, new: str, replace: bool = False) -> None:
        """Renames or moves a file or directory within the volume."""
        await self._refuse(old)

    async def set_attributes(self, path: str, on: str = "", off: str = "") -> None:
        """Sets attributes and clears others."""
        await self._refuse(path)

    async def set_modified(self, path: str, wall: float) -> None:
        """Sets when a file or directory was last written."""
        await self._refuse(path)

    async def _refuse(self, path: str) -> None:
        async with self.mutex:
            await self.nodes.resolve(path)
            self._writable(path)

    def _writable(self, path: str) -> NoReturn:
        why = self.refusal or "opened for reading only"
        raise StatusError(
            Status.MEDIA_WRITE_PROTECTED,
            f"{self.name}: cannot change {path or '/'}: the volume is read-only ({why})",
        )

    async def space(self) -> Space:
        """Size and free space."""
        async with self.mutex:
            return await self.format.space()

    async def flush(self) -> None:
        """Writes all that is dirty: nothing, yet."""

    async def check(
        self, progress: Callable[[int, int], None] | None = None, repair: bool = False
    ) -> list[Problem]:
        """What is wrong with the volume. With `repair` it is mended as far as that goes, and
        written.
        """
        called(progress, "progress")
        async with self.mutex:
            if repair:
                self._writable("")
            return await self.format.check(progress, repair)

    async def unmount(self, discard: bool = False) -> None:
        """Lets go of every page; with `discard`, open files are given up.

        StatusError SHARING_VIOLATION while files are open.
        """
        opened = sum(node.opens for node in self.nodes.used)
        if opened and not discard:
            raise StatusError(
                Status.SHARING_VIOLATION,
                f"{self.name}: cannot be unmounted: {opened} files are open",
            )
        if not discard:
            await self.flush()
        async with self.mutex:
            await self.nodes.forget()
            for section in self.format.sections:
                await self.store.cache.drop(section)

    def statistics(self) -> dict[str, object]:
        """Nodes, contention for the mutex, and what the device did."""
        return {
            "nodes": len(self.nodes.used),
            "contended": self.mutex.contended,
            "device": self.device.statistics(),
        }
