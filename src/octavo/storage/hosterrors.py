"""What the host's errors are here: a status for each errno, and a sentence."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress

from octavo.status import Status, StatusError

_STATUSES = {
    errno.ENOSPC: Status.DISK_FULL,
    errno.EDQUOT: Status.DISK_FULL,
    errno.EROFS: Status.MEDIA_WRITE_PROTECTED,
    errno.EIO: Status.IO_DEVICE_ERROR,
    errno.ENODEV: Status.NO_SUCH_DEVICE,
    errno.ENXIO: Status.NO_SUCH_DEVICE,
    errno.ESTALE: Status.NO_SUCH_DEVICE,
    errno.ENOTCONN: Status.NO_SUCH_DEVICE,
    errno.EMFILE: Status.INSUFFICIENT_RESOURCES,
    errno.ENFILE: Status.INSUFFICIENT_RESOURCES,
    errno.ENOMEM: Status.NO_MEMORY,
    errno.ENOENT: Status.OBJECT_NAME_NOT_FOUND,
    errno.ENOTDIR: Status.OBJECT_PATH_NOT_FOUND,
    errno.EEXIST: Status.OBJECT_NAME_COLLISION,
    errno.EISDIR: Status.FILE_IS_A_DIRECTORY,
    errno.ENAMETOOLONG: Status.OBJECT_NAME_INVALID,
    errno.EFBIG: Status.FILE_TOO_LARGE,
}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFDIR: "a directory",
}


def host_error(error: OSError, what: str, other: Status = Status.ACCESS_DENIED) -> StatusError:
    """The host's error as a StatusError, with the status `other` where there is no closer one;
    `what` begins the sentence.
    """
    return StatusError(_STATUSES.get(error.errno or 0, other), f"{what}: {error.strerror or error}")


def lock(fd: int, path: str, shared: bool = False) -> None:
    """Locks an image, which is open as `fd`, for its only writer, or for readers.

    StatusError SHARING_VIOLATION when it is in use, by this program or another, or when `path`
    leads to another file by now.
    """
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        replaced = identity(os.fstat(fd)) != identity(os.stat(path))
    except BlockingIOError:
        raise in_use(path) from None
    except OSError as error:
        raise host_error(error, f"{path}: cannot lock the image") from None
    if replaced:
        raise StatusError(
            Status.SHARING_VIOLATION,
            f"{path}: another program has just replaced the image: try again",
        )


def in_use(path: str) -> StatusError:
    """The error of an image that somebody has open."""
    return StatusError(
        Status.SHARING_VIOLATION,
        f"{path}: the image is in use: it is open already, in this program or another",
    )


def make_file(path: str, fill: Callable[[int], None]) -> None:
    """Makes a file that is not there yet; removes it when `fill`, which gets its descriptor, fails.
    OSError.
    """
    fd, made = os.open(path, _NEW, 0o666), None
    try:
        try:
            fill(fd)
        except BaseException:
            made = os.fstat(fd)
            raise
        finally:
            os.close(fd)
    except BaseException:
        with suppress(FileNotFoundError):
            # else somebody else's file has its name by now, which an error of `close` does not tell
            if made is None or os.path.samestat(made, os.lstat(path)):
                os.unlink(path)
        raise


def kind_of(mode: int) -> str:
    """What an `st_mode` is, with its article: "a file", "a FIFO", "a link"."""
    return _KINDS.get(stat.S_IFMT(mode), "a link" if stat.S_ISLNK(mode) else "a file")


def identity(info: os.stat_result) -> tuple[int, int]:
    """What is equal for all names and links of one file, and for all nodes of one block device."""
    return (-1, info.st_rdev) if stat.S_ISBLK(info.st_mode) else (info.st_dev, info.st_ino)


def require_storage(path: str, mode: int | None = None) -> None:
    """StatusError NO_SUCH_DEVICE when a path (or what was opened there, with `mode`) has no bytes
    at places, as files and block devices have.

    Asked before a path is opened: opening a FIFO would wait, or be seen at its other end.
    """
    if mode is None:
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise host_error(error, f"{path}: cannot open the image") from None
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise StatusError(
            Status.NO_SUCH_DEVICE, f"{path}: is {kind_of(mode)}, not a file or a block device"
        )
