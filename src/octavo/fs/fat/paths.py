"""Paths on a mounted FAT volume: from a path to a directory, an entry and a name.

Directories that were found lately are kept by their paths (`Storage.paths`). A path that ends in a
slash, "." or ".." is a directory's: StatusError NOT_A_DIRECTORY where a file is there, or is to be
made.
"""

from __future__ import annotations

from typing import cast

from octavo.fs.base import check_file_path, check_path, not_found, split_path
from octavo.fs.fat.entry import DIRECTORY, Entry
from octavo.fs.fat.node import Directory, Node
from octavo.fs.fat.storage import Storage
from octavo.status import Status, StatusError


class Paths(Storage):
    """The part of a `FatVolume` that follows paths."""

    async def _resolve(self, path: str) -> tuple[Directory, Entry | None, str]:
        """The directory that a path's last name is in, its entry if there is one, and the name."""
        if len(self.nodes) > self.most_nodes:
            await self._trim_nodes()
        check_path(path)
        head, _, name = path.rpartition("/")
        known = self.paths.get(head)
        if known is not None and name not in ("", ".", "..") and "\\" not in name:
            return known, known.find(name), name
        names = split_path(path)
        if not names:
            raise StatusError(
                Status.ACCESS_DENIED,
                f"{path or '/'}: the root directory cannot be opened as a file, made, "
                "moved or removed",
            )
        above, _, last = head.rpartition("/")
        if [last, name] == names[-2:] and above in self.paths:
            directory = await self._step(self.paths[above], last, path)
        else:
            directory = self.root.directory or await self._directory(self.root)
            for part in names[:-1]:
                directory = await self._step(directory, part, path)
        entry = directory.find(names[-1])
        if name == names[-1]:
            self.paths[head] = directory
        elif entry is not None and not entry.attributes & DIRECTORY:
            check_file_path(path)
        return directory, entry, names[-1]

    async def _existing(self, path: str) -> tuple[Directory, Entry]:
        """As `_resolve`, of what must be there."""
        directory, entry, _ = await self._resolve(path)
        if entry is None:
            raise not_found(path)
        return directory, entry

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
        directory, entry = await self._existing(path)
        return await self._step(directory, entry.name, path)

    async def _lookup(self, path: str) -> Node:
        if not split_path(path):
            return self.root
        async with self.mutex:
            directory, entry = await self._existing(path)
        return Node(entry, directory, path) if entry.node is None else cast(Node, entry.node)
