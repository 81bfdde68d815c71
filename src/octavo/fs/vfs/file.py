"""An open file: bytes at offsets, through the cache.

Reading needs no lock.
"""

from __future__ import annotations

from typing import Generic

from octavo.arguments import invalid, room, shown
from octavo.cache.readahead import ReadAhead
from octavo.fs.vfs.node import E, Node
from octavo.fs.vfs.store import Store
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError


class OpenedFile(Generic[E]):
    """A file opened for reading, and for writing with `write`. Methods raise FILE_CLOSED after
    `close`.
    """

    __slots__ = ("path", "_store", "_node", "_section", "_write", "_history")

    def __init__(self, store: Store[E], node: Node[E], write: bool) -> None:
        assert node.section is not None
        self.path = node.path
        self._store = store
        self._node = node
        self._section: Section | None = node.section
        self._write = write
        self._history = ReadAhead()

    @property
    def size(self) -> int:
        """Bytes."""
        return self._open().size

    @property
    def writable(self) -> bool:
        """True when it was opened for writing."""
        return self._write

    @property
    def section(self) -> Section:
        """The file's bytes, for mapping them: what the cache reads and writes through, too."""
        return self._open()

    def duplicate(self) -> OpenedFile[E]:
        """The same file, opened once more."""
        self._open()
        self._node.opens += 1
        return OpenedFile(self._store, self._node, self._write)

    def _open(self) -> Section:
        if self._section is None:
            raise StatusError(Status.FILE_CLOSED, f"{self.path}: the file is closed")
        return self._section

    def _no_bytes(self, offset: object, length: object) -> StatusError:
        return invalid(
            f"{self.path}: there are no {shown(length)} bytes from {shown(offset)} on: "
            "whole numbers from 0 on are needed"
        )

    async def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset` on; fewer only at the end. StatusError
        INVALID_PARAMETER.
        """
        section = self._section or self._open()
        if type(offset) is not int or type(length) is not int or offset < 0 or length < 0:
            raise self._no_bytes(offset, length)
        return await self._store.cache.copy_read(section, offset, length, self._history)

    async def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fills `buffer`, of bytes, from `offset` on; returns the number of bytes. StatusError
        INVALID_PARAMETER.
        """
        if (
            type(offset) is not int
            or offset < 0
            or not isinstance(buffer, memoryview)
            or buffer.readonly
        ):
            raise self._no_bytes(offset, len(room(buffer, f"{self.path}: where bytes are read to")))
        return await self._store.cache.copy_read_into(self._open(), offset, buffer, self._history)

    async def prepare_mapping(self) -> None:
        """Says that the file will be changed through views."""
        self._for_writing()

    def _for_writing(self) -> None:
        self._open()
        raise StatusError(Status.ACCESS_DENIED, f"{self.path}: is opened for reading only")

    async def write(self, offset: int, data: bytes | memoryview) -> None:
        """Writes all of `data` at `offset`."""
        self._for_writing()

    async def truncate(self, size: int) -> None:
        """Makes the file `size` bytes long."""
        self._for_writing()

    async def grow(self, size: int) -> None:
        """Makes the file at least `size` bytes long."""
        self._for_writing()

    async def set_modified(self, wall: float) -> None:
        """Sets the time of last writing."""
        self._for_writing()

    async def flush(self) -> None:
        """Writes the file's data, and waits for stable storage."""
        self._open()

    async def close(self) -> None:
        """Ends the use of the file."""
        if self._section is None:
            return
        self._section = None
        self._node.opens -= 1
