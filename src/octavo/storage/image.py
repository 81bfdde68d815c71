"""Driver for raw disk images: a host file (or block device) as a disk.

Reads are tried without waiting first: what the host has in its page cache is copied straight into
the frames, and the path goes on without a suspension. Only what the host must fetch, and every
write, goes to a worker thread.

With `direct` the host's page cache is passed by (O_DIRECT): each read is a request to the host's
disk. Then offsets and lengths must be multiples of its sectors, mostly 512 bytes or 4 KiB; frames
always are in memory.

An image that is opened for writing is locked (flock) against a second writer; readers share it with
readers.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Callable, Sequence
from functools import partial

from octavo.arguments import given, invalid, shown, whole
from octavo.memory.pagers.medium import Request
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device
from octavo.storage.hosterrors import host_error, lock, require_storage
from octavo.threads.scheduler import Scheduler

MOST_BUFFERS = 1024  # IOV_MAX
LARGE = 1 << 20  # bytes of a write that the host need not keep back, to join it with others
FLOPPY_SIZES = frozenset(k * 1024 for k in (160, 180, 320, 360, 720, 1200, 1440, 1680, 1722, 2880))
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class ImageDisk(Device):
    """The image at `path`; StatusError where it cannot be opened or another writer has it,
    INVALID_PARAMETER for what is no path.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        scheduler: Scheduler,
        read_only: bool = False,
        direct: bool = False,
    ) -> None:
        self.path = _named(path)
        self.scheduler = given(scheduler, Scheduler, "a scheduler")
        self._fd = _open(self.path, read_only, direct)
        self._end = weakref.finalize(
            self, os.close, self._fd
        )  # a disk that is dropped keeps no lock
        size = os.lseek(self._fd, 0, os.SEEK_END)
        super().__init__(self.path, size // SECTOR * SECTOR, read_only, size in FLOPPY_SIZES)
        self._users = 1
        self._writes_out = hasattr(os, "posix_fadvise") and not direct
        self._nowait = _NOWAIT if not (scheduler.clock.virtual or direct) else 0
        self._direct, self._busy = direct, 0  # requests that a worker has

    def resize(self, size: int) -> None:
        """Gives a file so many bytes; those that are new are zeros. StatusError INVALID_PARAMETER,
        or that of the host, and it is as it was.
        """
        whole(size, f"{self.name}: the size of an image", 0, (1 << 63) - 1)
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            raise host_error(error, f"{self.name}: cannot be made {size} bytes long") from None
        self.size = size // SECTOR * SECTOR

    def eject(self) -> None:
        """Takes the image out of the drive: nothing is served until `insert`. StatusError
        DEVICE_BUSY while it is read or written.
        """
        if self._busy:
            raise StatusError(Status.DEVICE_BUSY, f"{self.name}: is being read or written")
        if not self.absent:
            self.absent = True
            self._end()
            self._fd = -1
            self._changed()

    def insert(self, path: str | os.PathLike[str], read_only: bool = False) -> None:
        """Puts an image into the drive, in the place of what is there: volumes on it must be
        verified. StatusError DEVICE_BUSY as `eject`, or as for a new disk: then nothing has
        changed. An image that is in the drive is ejected before it is put in again.
        """
        name = _named(path)
        fd = _open(name, read_only, self._direct)
        try:
            self.eject()
        except StatusError:
            os.close(fd)
            raise
        self._fd, self._end = fd, weakref.finalize(self, os.close, fd)
        self.name = self.path = name
        self.size = os.lseek(fd, 0, os.SEEK_END) // SECTOR * SECTOR
        self.read_only, self.absent = read_only, False
        self._changed()

    def _changed(self) -> None:
        for tell in self.watchers:
            tell()

    def reserve(self) -> None:
        """Has the host give a file room for all its bytes now, where it can, so that no write finds
        the host full later.

        StatusError DISK_FULL when it has not so much, and nothing is changed.
        """
        info, host = os.fstat(self._fd), os.fstatvfs(self._fd)
        if not stat.S_ISREG(info.st_mode):
            return
        missing, room = self.size - info.st_blocks * 512, host.f_bavail * host.f_frsize
        if missing > room:  # asked before: an allocation that fails may keep what it got
            text = (
                f"{self.name}: needs {missing >> 10} KiB more of the host's disk, which has "
                f"{room >> 10}: make it smaller"
            )
            raise StatusError(Status.DISK_FULL, text)
        try:
            os.posix_fallocate(self._fd, 0, self.size)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise host_error(error, f"{self.name}: the host cannot give it room") from None

    async def _read(self, requests: Sequence[Request]) -> None:
        for _, place, frames in requests:
            buffers = frames.buffers()
            if self._nowait:
                place, buffers = self._read_now(place, buffers)
                if not buffers:
                    continue
            self.counts.waits += 1
            await self._blocking("read", partial(_all, os.preadv, self._fd, buffers, place))

    def _read_now(self, offset: int, buffers: list[memoryview]) -> tuple[int, list[memoryview]]:
        """Reads what the host has at hand; returns what is left to read, and where."""
        try:
            done = os.preadv(self._fd, buffers[:MOST_BUFFERS], offset, self._nowait)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                self._nowait = 0
            return offset, buffers  # EAGAIN, or an error that the blocking read will meet again
        if len(buffers) == 1 and done == len(buffers[0]):
            return offset, []
        return offset + done, _skip(buffers, done)

    async def _write(self, requests: Sequence[Request]) -> None:
        def work() -> None:
            for _, place, frames in requests:
                _all(os.pwritev, self._fd, frames.buffers(), place)
                if frames.length >= LARGE and self._writes_out:
                    # the host begins to write now, and has less to do at the flush
                    os.posix_fadvise(self._fd, place, frames.length, os.POSIX_FADV_DONTNEED)

        await self._blocking("write", work)

    async def _flush(self) -> None:
        if not self.read_only:
            await self._blocking("flush", lambda: os.fsync(self._fd))

    async def _blocking(self, verb: str, work: Callable[[], None]) -> None:
        self._busy += 1
        try:
            await self.scheduler.call(work, f"{verb} {os.path.basename(self.path)}")
        except OSError as error:
            raise host_error(
                error, f"{self.name}: the host cannot {verb} the image", Status.IO_DEVICE_ERROR
            ) from None
        finally:
            self._busy -= 1

    def is_at(self, path: str) -> bool:
        """Whether this is the file that a path leads to."""
        try:
            return not self.closed and os.path.samestat(os.fstat(self._fd), os.stat(path))
        except (OSError, ValueError):  # opening it says what is missing
            return False

    def share(self) -> None:
        """One more user, who closes it, too."""
        assert not self.closed and self._users > 0
        self._users += 1

    def close(self) -> None:
        """Closes the image and gives up the lock, when the last of its users does."""
        self._users -= 1
        if self._users > 0:
            return
        super().close()
        self._end()
        self._fd = -1


def _named(path: object) -> str:
    """What may be a path of the host. StatusError INVALID_PARAMETER when it cannot be one."""
    if isinstance(path, str | os.PathLike) and (text := str(os.fspath(path))) and "\0" not in text:
        return text
    raise invalid(f"{shown(path)} is no path of an image")


def _open(path: str, read_only: bool, direct: bool) -> int:
    require_storage(path)
    try:
        flags = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (os.O_DIRECT if direct else 0)
        fd = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | flags)
    except OSError as error:
        raise host_error(error, f"{path}: cannot open the image") from None
    try:
        require_storage(path, os.fstat(fd).st_mode)
        lock(fd, path, read_only)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _skip(buffers: list[memoryview], count: int) -> list[memoryview]:
    """The buffers without their first `count` bytes."""
    for i, buffer in enumerate(buffers):
        if count < len(buffer):
            return [buffer[count:], *buffers[i + 1 :]] if count else buffers[i:]
        count -= len(buffer)
    return []


def _all(
    call: Callable[[int, list[memoryview], int], int],
    fd: int,
    buffers: list[memoryview],
    offset: int,
) -> None:
    """Repeats preadv or pwritev until all buffers are done."""
    while buffers:
        done = call(fd, buffers[:MOST_BUFFERS], offset)
        if not done:
            raise OSError(errno.EIO, "the image has become shorter")
        offset += done
        buffers = _skip(buffers, done)
