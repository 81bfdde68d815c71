"""An open file: bytes at offsets, through the cache.

Reading needs no lock; writing, growing and shrinking hold the volume's mutex, so that no write goes
beyond an end that another thread has just set. What lies between the old end and a write beyond it
is filled with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from octavo.arguments import invalid, octets, room, shown, whole
from octavo.cache.readahead import ReadAhead
from octavo.fs.vfs.node import E, Node
from octavo.fs.vfs.store import Store
from octavo.machine.abi import PAGE_SHIFT
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.vfs.room import Room


class OpenedFile(Generic[E]):
    """A file opened for reading, and for writing with `write`. `room` is None on a volume that can
    only be read. Methods raise FILE_CLOSED after `close`.
    """

    __slots__ = (
        "path",
        "_store",
        "_node",
        "_section",
        "_room",
        "_closed",
        "_write",
        "_history",
        "_changed",
        "_modified",
    )

    def __init__(self, store: Store[E], node: Node[E], room: Room[E] | None, write: bool) -> None:
        assert node.section is not None or room is not None
        self.path = node.path
        self._store = store
        self._node = node
        self._section: Section | None = node.section  # of a new file from its first use on
        self._closed = False
        self._room = room
        self._write = write
        self._history = ReadAhead()
        self._changed = False
        self._modified: float | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        size = self._open().size
        if self._store.gone is not None:
            raise self._store.given_up(self.path)
        return size

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
        return OpenedFile(self._store, self._node, self._room, self._write)

    async def prepare_mapping(self) -> None:
        """Says that the file will be changed through views: the volume is marked as in use, the
        file gets the time when it is closed.
        """
        room = self._for_writing()
        async with self._store.mutex:
            await room.writer.begin()
        self._changed = True

    def _open(self) -> Section:
        if self._closed:
            raise StatusError(Status.FILE_CLOSED, f"{self.path}: the file is closed")
        section = self._section
        if section is None:
            assert self._room is not None
            section = self._section = self._room.section(self._node)
        return section

    def _check_usable(self) -> None:
        """StatusError when the volume may not be used now."""
        if self._store.gone is not None:
            raise self._store.given_up(self.path)
        if self._store.bar is not None:
            raise self._store.bar()

    def _for_writing(self) -> Room[E]:
        self._open()
        if not self._write or self._room is None:
            raise StatusError(Status.ACCESS_DENIED, f"{self.path}: is opened for reading only")
        if self._store.bar is not None:
            self._check_usable()
        return self._room

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
        store = self._store
        if store.bar is not None:
            self._check_usable()
        return await store.cache.copy_read(section, offset, length, self._history)

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
        if self._store.bar is not None:
            self._check_usable()
        return await self._store.cache.copy_read_into(self._open(), offset, buffer, self._history)

    def try_read(self, offset: int, length: int) -> bytes | None:
        """As `read`, without waiting: None when that would have to wait, and what it waits for is
        begun. Raises what such a read has failed with since.
        """
        section = self._section or self._open()
        if type(offset) is not int or type(length) is not int or offset < 0 or length < 0:
            raise self._no_bytes(offset, length)
        store = self._store
        if store.bar is not None:
            self._check_usable()
        return store.cache.at_once.read(section, offset, length, self._history)

    def try_write(self, offset: int, data: bytes | memoryview) -> bool:
        """As `write`, without waiting, all or nothing: False when it would have to wait. What goes
        beyond the end always would.
        """
        room = self._for_writing()
        data = octets(data, f"{self.path}: what is written")
        if type(offset) is not int or offset < 0:
            raise self._no_bytes(offset, len(data))
        store, section = self._store, self._open()
        if store.mutex.locked or not room.writer.begun() or offset + len(data) > section.size:
            return False
        done = store.cache.at_once.write(section, offset, data)
        self._changed = self._changed or (done and len(data) > 0)
        return done

    async def advise(self, advice: int) -> None:
        """Says how the file will be read from now on: see `octavo.vm.Advice`. WILLNEED has it
        fetched, as far as memory allows and nobody waits; DONTNEED lets go of what is clean of it.
        StatusError INVALID_PARAMETER.
        """
        from octavo.cache.readahead import BACKWARD, FORWARD, RANDOM, Advised
        from octavo.memory.spaces.advice import Advice

        section, cache = self._open(), self._store.cache
        self._check_usable()
        if not isinstance(advice, Advice):
            advice = Advice(whole(advice, f"{self.path}: advice", 0, max(Advice)))
        if advice == Advice.WILLNEED:
            cache.ahead.start(section, 0, min(section.pages, cache.memory.physical.available // 2))
        elif advice == Advice.DONTNEED:
            await cache.purge_range(section, 0, section.pages << PAGE_SHIFT, dirty=False)
        elif advice == Advice.NORMAL:
            self._history = ReadAhead()
        else:
            ways = {Advice.RANDOM: RANDOM, Advice.SEQUENTIAL: FORWARD, Advice.REVERSE: BACKWARD}
            self._history = Advised(ways[advice])

    async def write(self, offset: int, data: bytes | memoryview) -> None:
        """Writes all of `data` at `offset`; StatusError DISK_FULL, FILE_TOO_LARGE or
        INVALID_PARAMETER before anything is changed.
        """
        room = self._for_writing()
        if not isinstance(data, bytes | memoryview):
            data = octets(data, f"{self.path}: what is written")
        if type(offset) is not int or offset < 0:
            raise self._no_bytes(offset, len(data))
        if not len(data):
            return
        end = offset + len(data)
        store = self._store
        if end > room.planner.most_bytes:
            raise room.too_large(self.path)
        async with store.mutex:
            self._for_writing()  # it may have been closed meanwhile, or cut
            section = self._section
            assert section is not None
            await room.writer.begin()
            if end <= section.size:
                self._changed = True
                await store.cache.copy_write(section, offset, data)
                return
            await room.grow(self._node, end)
            try:
                await self._fill(section, offset)
                await store.cache.copy_write(section, offset, data)
            finally:
                self._changed = True
                self._note_size(room, section.size)

    async def _fill(self, section: Section, end: int) -> None:
        """Zeros from the file's end to `end`."""
        if section.size < end:
            await self._store.cache.zero(section, section.size, end - section.size)

    def _note_size(self, room: Room[E], size: int) -> None:
        room.planner.set_size(self._node.entry, size)
        room.writer.mark_stale(self._node)

    async def truncate(self, size: int) -> None:
        """Makes the file `size` bytes long; what is added is zero."""
        await self._resize(size, shrink=True)

    async def grow(self, size: int) -> None:
        """Makes the file at least `size` bytes long; what is added is zero, and a longer file stays
        as it is.
        """
        await self._resize(size, shrink=False)

    async def reserve(self, size: int) -> None:
        """Takes room for a file of `size` bytes, in one run where there is one; its size stays.
        What is not used is free again at the last close, or when the file is cut.
        """
        room = self._for_writing()
        whole(size, f"{self.path}: the room", 0)
        if size > room.planner.most_bytes:
            raise room.too_large(self.path)
        async with self._store.mutex:
            self._for_writing()
            self._open()
            await room.writer.begin()
            await room.reserve(self._node, size)

    async def _resize(self, size: int, shrink: bool) -> None:
        room = self._for_writing()
        whole(size, f"{self.path}: the size", 0)
        store = self._store
        if size > room.planner.most_bytes:
            raise room.too_large(self.path)
        async with store.mutex:
            # it may have been closed, and have another size, while another thread was at work
            self._for_writing()
            section = self._section
            assert section is not None
            await room.writer.begin()
            old = section.size
            if size >= old:
                await room.grow(self._node, size)
                try:
                    await self._fill(section, size)
                except StatusError:
                    size = old
                    raise
                finally:
                    await self._cut(room, section, size)
            elif shrink:
                await self._cut(room, section, size)

    async def _cut(self, room: Room[E], section: Section, size: int) -> None:
        """Makes the file end at `size`, which is not beyond the section's end."""
        await self._store.cache.purge(section, size)
        self._note_size(room, size)
        await room.shrink(self._node, size)
        self._changed = True

    async def set_modified(self, wall: float) -> None:
        """Sets the time of last writing (seconds since 1970, brought into the years that the format
        has); it holds when the file is closed.

        StatusError INVALID_PARAMETER when it is no number.
        """
        self._modified = self._for_writing().planner.clean_time(wall)
        self._changed = True

    async def flush(self) -> None:
        """Writes the file's data and everything that leads to it, and waits for stable storage."""
        self._open()
        self._check_usable()
        self._settle()
        await self._store.flush()

    def _settle(self) -> None:
        """Puts times and attributes into the entry after changes."""
        room = self._room
        if not self._changed or room is None:
            return
        room.planner.set_changed(self._node.entry, self._modified)
        room.writer.mark_stale(self._node)
        self._changed = False

    async def close(self) -> None:
        """Ends the use of the file. Its data goes out later; an error of a write that nobody waited
        for is raised here, once.
        """
        if self.close_now():
            return
        node, section = self._node, self._node.section
        self._settle()
        self._closed, self._section = True, None
        try:
            if section is not None and self._room is not None:
                await self._give_back(self._room, section)
        finally:
            node.opens -= 1  # only now may another thread give back what a removed file had
        if self._room is not None and node in self._room.writer.gone:
            await self._end(self._room)
        self._tell(section)

    def close_now(self) -> bool:
        """As `close`, unless something was done with the file: then False, and nothing done."""
        if self._closed:
            return True
        node, room = self._node, self._room
        if self._store.gone is None:  # else nothing of it is left to be written
            if self._changed or node.stale:
                return False
            if room is not None and (node in room.writer.gone or node in room.writer.ahead):
                return False
            node.opens -= 1
        self._closed, self._section = True, None
        if self._store.gone is None:
            self._tell(node.section)
        return True

    def _tell(self, section: Section | None) -> None:
        """Raises the error of a write that nobody waited for, once."""
        if section is not None:
            error = self._store.cache.memory.writeback.errors.take(section)
            if error is not None:
                raise error

    async def _end(self, room: Room[E]) -> None:
        """Ends a file that has no name any more, if nobody else has it open."""
        async with self._store.mutex:
            if not self._node.opens and self._node in room.writer.gone:
                await room.bury(self._node)

    async def _give_back(self, room: Room[E], section: Section) -> None:
        """Gives back extents that a failed write left behind the end."""
        node, regions = self._node, self._node.regions
        ahead = node in room.writer.ahead
        if node.opens > 1 or not (ahead or section.size + regions.unit <= regions.total):
            return
        async with self._store.mutex:
            if node.opens == 1:  # still
                await room.fit(node, section.size)
