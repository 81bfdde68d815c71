"""An open file on FAT: bytes at offsets, through the cache.

Reading needs no lock; writing, growing and shrinking hold the volume's mutex, so that no write goes
beyond an end that another thread has just set. A file has no holes on FAT: what lies between the
old end and a write beyond it is filled with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from octavo.arguments import invalid, octets, room, shown, whole
from octavo.cache.readahead import ReadAhead
from octavo.fs.fat.entry import ARCHIVE, clean_wall
from octavo.fs.fat.node import Node
from octavo.memory.pages.section import VIEW_SIZE, Section
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.fat.storage import Storage

MOST_BYTES = (1 << 32) - 1
ZEROS = bytes(VIEW_SIZE)


class FatFile:
    """A file opened for reading, and for writing with `write`. Methods raise FILE_CLOSED after
    `close`.
    """

    __slots__ = (
        "path",
        "_volume",
        "_node",
        "_section",
        "_write",
        "_history",
        "_changed",
        "_modified",
    )

    def __init__(self, volume: Storage, node: Node, write: bool) -> None:
        assert node.section is not None
        self.path = node.path
        self._volume = volume
        self._node = node
        self._section: Section | None = node.section
        self._write = write
        self._history = ReadAhead()
        self._changed = False
        self._modified: float | None = None

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

    def duplicate(self) -> FatFile:
        """The same file, opened once more."""
        self._open()
        self._node.opens += 1
        return FatFile(self._volume, self._node, self._write)

    async def prepare_mapping(self) -> None:
        """Says that the file will be changed through views: the volume is marked as in use, the
        file gets the time when it is closed.
        """
        self._for_writing()
        async with self._volume.mutex:
            await self._volume._modify()
        self._changed = True

    def _open(self) -> Section:
        if self._section is None:
            raise StatusError(Status.FILE_CLOSED, f"{self.path}: the file is closed")
        return self._section

    def _for_writing(self) -> Section:
        section = self._open()
        if not self._write:
            raise StatusError(Status.ACCESS_DENIED, f"{self.path}: is opened for reading only")
        if self._volume.device.closed:
            raise StatusError(
                Status.FILE_CLOSED, f"{self.path}: its volume was unmounted, and the file given up"
            )
        return section

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
        return await self._volume.cache.copy_read(section, offset, length, self._history)

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
        return await self._volume.cache.copy_read_into(self._open(), offset, buffer, self._history)

    async def write(self, offset: int, data: bytes | memoryview) -> None:
        """Writes all of `data` at `offset`; StatusError DISK_FULL, FILE_TOO_LARGE or
        INVALID_PARAMETER before anything is changed.
        """
        section = self._for_writing()
        if not isinstance(data, bytes | memoryview):
            data = octets(data, f"{self.path}: what is written")
        if type(offset) is not int or offset < 0:
            raise self._no_bytes(offset, len(data))
        if not len(data):
            return
        end = offset + len(data)
        if end > MOST_BYTES:
            raise StatusError(
                Status.FILE_TOO_LARGE, f"{self.path}: a file on FAT has at most {MOST_BYTES} bytes"
            )
        volume = self._volume
        async with volume.mutex:
            section = self._for_writing()  # it may have been closed meanwhile, or cut
            await volume._modify()
            if end <= section.size:
                self._changed = True
                await volume.cache.copy_write(section, offset, data)
                return
            await volume.grow(self._node, end)
            try:
                await self._fill(section, offset)
                await volume.cache.copy_write(section, offset, data)
            finally:
                self._changed = True
                self._note_size(section.size)

    async def _fill(self, section: Section, end: int) -> None:
        """Zeros from the file's end to `end`."""
        while section.size < end:
            await self._volume.cache.copy_write(section, section.size, ZEROS[: end - section.size])

    def _note_size(self, size: int) -> None:
        entry = self._node.entry
        assert entry is not None
        entry.size = size
        self._volume.mark_stale(self._node)

    async def truncate(self, size: int) -> None:
        """Makes the file `size` bytes long; what is added is zero."""
        await self._resize(size, shrink=True)

    async def grow(self, size: int) -> None:
        """Makes the file at least `size` bytes long; what is added is zero, and a longer file stays
        as it is.
        """
        await self._resize(size, shrink=False)

    async def _resize(self, size: int, shrink: bool) -> None:
        self._for_writing()
        whole(size, f"{self.path}: the size", 0)
        if size > MOST_BYTES:
            raise StatusError(
                Status.FILE_TOO_LARGE, f"{self.path}: a file on FAT has at most {MOST_BYTES} bytes"
            )
        volume = self._volume
        async with volume.mutex:
            section = (
                self._for_writing()
            )  # it may have been closed, and have another size, while another thread was at work
            await volume._modify()
            old = section.size
            if size >= old:
                await volume.grow(self._node, size)
                try:
                    await self._fill(section, size)
                except StatusError:
                    size = old
                    raise
                finally:
                    await self._cut(section, size)
            elif shrink:
                await self._cut(section, size)

    async def _cut(self, section: Section, size: int) -> None:
        """Makes the file end at `size`, which is not beyond the section's end."""
        await self._volume.cache.purge(section, size)
        self._note_size(size)
        await self._volume.shrink(self._node, size)
        self._changed = True

    async def set_modified(self, wall: float) -> None:
        """Sets the time of last writing (seconds since 1970, brought into FAT's years); it holds
        when the file is closed.

        StatusError INVALID_PARAMETER when it is no number.
        """
        self._for_writing()
        self._modified = clean_wall(wall)
        self._changed = True

    async def flush(self) -> None:
        """Writes the file's data and everything that leads to it, and waits for stable storage."""
        self._open()
        self._settle()
        await self._volume.flush()

    def _settle(self) -> None:
        """Puts times and attributes into the entry after changes."""
        if not self._changed:
            return
        entry = self._node.entry
        assert entry is not None
        entry.set_written(*self._volume.stamp(self._modified)[:2])
        entry.attributes |= ARCHIVE
        self._volume.mark_stale(self._node)
        self._changed = False

    async def close(self) -> None:
        """Ends the use of the file. Its data goes out later; an error of a write that nobody waited
        for is raised here, once.
        """
        if self._section is None:
            return
        section, node, volume = self._section, self._node, self._volume
        changed = self._changed
        self._settle()
        self._section = None
        try:
            if changed or node.stale:
                await self._give_back(section)
        finally:
            node.opens -= 1  # only now may another thread remove the file
        error = volume.cache.memory.writeback.errors.take(section)
        if error is not None:
            raise error

    async def _give_back(self, section: Section) -> None:
        """Gives back clusters that a failed write left behind the end."""
        node, volume = self._node, self._volume
        if section.size + volume.geometry.cluster > node.regions.total or node.opens > 1:
            return
        async with volume.mutex:
            if node.opens == 1:  # still
                await volume.shrink(node, section.size)
