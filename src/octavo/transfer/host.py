"""The host's files as one side of a copy.

A new file is made under its own name, with O_EXCL, and removed when it cannot be finished. A file
that replaces another is written beside it, as .octavo-PID-N, and renamed into its place when all of
it is there: until then the old one is as it was. A link to a file is followed, as cp does, and what
it leads to is replaced; the new file has the old one's permissions, and its owner where that is
allowed. An image that somebody has open (`octavo.storage.image` locks it) is not replaced, nor is
its device written to. Devices, and our own standard output, are written to and never removed.
Nothing else that is no file is written to or read: a FIFO would wait for ever.

Departure from cp: other hard links of a file that is replaced keep the old contents.
"""

from __future__ import annotations

import math
import os
import stat
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count

from octavo.files import Report
from octavo.fs.vfs.packing import Job, Window
from octavo.status import Status, StatusError
from octavo.storage.hosterrors import host_error, identity, kind_of, lock, make_file
from octavo.threads.interrupts import interruptible, is_put_off
from octavo.transfer.holes import has_holes, write_with_holes
from octavo.transfer.tree import CHUNK, Excluded, Item, Step

_NO_WAIT = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OUTPUTS = (1, 2)  # standard output and error


class HostTree:
    """The host's files; those in `mounted`, by `identity`, are the copy's own images, which are
    neither copied nor replaced.
    """

    store = "host"
    largest = sys.maxsize
    latest = math.inf
    mounted: Container[object] = ()

    def __init__(self, mounted: Container[object] = ()) -> None:
        self.mounted = mounted

    def shown(self, path: str) -> str:
        """The path itself."""
        return path

    def join(self, path: str, name: str) -> str:
        """A path below a path."""
        return os.path.join(path, name) if name else path

    def before(self, path: str) -> str:
        """What stands before the names in a directory."""
        return os.path.join(path, "")

    def split(self, path: str) -> tuple[str, str]:
        """The directory and the name; no name for ".", ".." and "/"."""
        directory, name = os.path.split(path.rstrip("/"))
        return (path, "") if name in ("", ".", "..") else (directory or ".", name)

    def parts(self, path: str) -> list[str]:
        """The names that lead to a path, links resolved."""
        return [part for part in os.path.realpath(path).split("/") if part]

    def is_dir(self, path: str) -> bool:
        """True for a directory, and for a link to one."""
        return os.path.isdir(path)

    def stat(self, path: str) -> Item:
        """The file or directory at a path, or at the end of a link; StatusError for anything
        else.
        """
        try:
            info = os.stat(path)
        except OSError as error:
            raise host_error(error, path) from None
        if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
            raise StatusError(
                Status.ACCESS_DENIED,
                f"{path}: is {kind_of(info.st_mode)}: only files and directories are copied",
            )
        self._refuse_mounted(path, info)
        return Item(os.path.basename(path), stat.S_ISDIR(info.st_mode), info.st_size, info.st_mtime)

    def _refuse_mounted(self, path: str, info: os.stat_result) -> None:
        if identity(info) in self.mounted:
            raise StatusError(
                Status.SHARING_VIOLATION,
                f"{path}: is an image that this copy reads or writes: it cannot be copied "
                "or replaced meanwhile",
            )

    def find(self, path: str) -> Item | None:
        """What stands at a path; a link is no directory."""
        try:
            info = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise host_error(error, path) from None
        return Item(os.path.basename(path), stat.S_ISDIR(info.st_mode), info.st_size, info.st_mtime)

    def walk(
        self, path: str, report: Report, excluded: Excluded | None = None
    ) -> Iterator[tuple[str, list[Item]]]:
        """A directory and all below it; links to directories and special files are reported and
        left out.
        """
        pending = [("", path)]
        while pending:
            relative, here = pending.pop()
            try:
                items = self._children(here, relative, report, excluded)
            except OSError as error:
                report(host_error(error, here))
                continue
            yield relative, items
            prefix = relative + "/" if relative else ""
            pending += [
                (prefix + i.name, os.path.join(here, i.name))
                for i in reversed(items)
                if i.directory and not i.skip
            ]

    def _children(
        self, path: str, relative: str, report: Report, excluded: Excluded | None
    ) -> list[Item]:
        items = []
        below = relative + "/" if relative else ""
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda e: e.name)
        for entry in entries:
            try:
                directory = entry.is_dir(follow_symlinks=False)
                if excluded and excluded(below + entry.name, Item(entry.name, directory, 0, 0.0)):
                    continue
                if directory or entry.is_file():
                    info = entry.stat()
                    if self.mounted:
                        self._refuse_mounted(entry.path, info)
                    items.append(Item(entry.name, directory, info.st_size, info.st_mtime))
                    continue
                kind = kind_of(entry.stat(follow_symlinks=False).st_mode)
            except (OSError, StatusError) as error:
                report(host_error(error, entry.path) if isinstance(error, OSError) else error)
                continue
            kind = "a link to a directory, or to nothing" if kind == "a link" else kind
            report(StatusError(Status.ACCESS_DENIED, f"{entry.path}: is {kind}: skipped"))
        return items

    def fit(self, name: str) -> str:
        """The name, if it is one: an image may have names that lead out of a directory."""
        try:
            bad = name in ("", ".", "..") or "/" in name or b"\0" in os.fsencode(name)
        except UnicodeEncodeError:
            why = (
                f"{name!a} cannot be a name on the host: its locale writes names in "
                f"{sys.getfilesystemencoding()}, which has not all of these characters"
            )
            raise StatusError(Status.OBJECT_NAME_INVALID, why) from None
        if bad:
            raise StatusError(Status.OBJECT_NAME_INVALID, f"{name!a} cannot be a name on the host")
        return name

    def fit_all(self, names: Sequence[str]) -> list[str] | None:
        """The names, if there is nothing about them."""
        try:
            text = os.fsencode("".join(names))
        except UnicodeEncodeError:
            return None
        plain = b"/" not in text and b"\0" not in text and not {"", ".", ".."} & set(names)
        return list(names) if plain and len(set(names)) == len(names) else None

    def key(self, name: str) -> str:
        """The name: the host tells case apart. Where it does not, O_EXCL does."""
        return name

    def names(self, path: str) -> dict[str, Item | str]:
        """What a directory has; links are no directories."""
        try:
            with os.scandir(path) as found:
                return {
                    e.name: Item(e.name, e.is_dir(follow_symlinks=False), 0, 0.0) for e in found
                }
        except OSError as error:
            raise host_error(error, path) from None

    def admit(self, steps: Sequence[Step]) -> None:
        """StatusError SHARING_VIOLATION when a step would replace an image of this copy.

        How much a host's file system has room for is not known before.
        """
        for step in steps:
            if step.replaces and not step.item.directory:
                with suppress(OSError):  # a link to nothing, say: writing tells
                    self._refuse_mounted(step.to, os.stat(step.to))

    def read(self, path: str, size: int) -> Iterable[bytes]:
        """The contents, in chunks; a file of `size` bytes that fits one takes one call."""
        try:
            fd = os.open(path, os.O_RDONLY | _NO_WAIT)
            try:
                data = os.read(
                    fd, min(size, CHUNK) + 1
                )  # the one byte more shows that it has grown
                if data:
                    yield data
                if len(data) != size:
                    while data := os.read(fd, CHUNK):
                        yield data
            finally:
                os.close(fd)
        except OSError as error:
            raise host_error(error, path) from None

    def write(
        self,
        path: str,
        size: int,
        chunks: Iterable[bytes],
        modified: float | None,
        replaces: Item | None,
    ) -> None:
        """Makes a file of chunks, or puts one into the place of what is there, last changed at
        `modified` (None: now).

        StatusError SHARING_VIOLATION when that is an image in use.
        """
        try:
            if replaces is None:
                _create(path, chunks, modified)
            else:
                _replace(path, chunks, modified)
        except OSError as error:
            raise host_error(error, path) from None

    def mkdir(self, path: str) -> None:
        """Makes a directory."""
        try:
            os.mkdir(path)
        except OSError as error:
            raise host_error(error, path) from None

    def set_modified(self, path: str, modified: float) -> None:
        """Sets when a directory was last changed."""
        try:
            os.utime(path, (modified, modified))
        except OSError as error:
            raise host_error(error, path) from None

    def attributes(self, path: str) -> tuple[str, str]:
        """The attributes that a file has of those that the host knows, and those that it has not:
        read-only, where its owner may not write.
        """
        try:
            return ("", "r") if os.stat(path).st_mode & stat.S_IWUSR else ("r", "")
        except OSError as error:
            raise host_error(error, path) from None

    def set_attributes(self, path: str, on: str, off: str) -> None:
        """Makes a file read-only for all, or writable for its owner."""
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
            if "r" in on:
                os.chmod(path, mode & ~0o222)
            elif "r" in off and not mode & stat.S_IWUSR:
                os.chmod(path, mode | stat.S_IWUSR)
        except OSError as error:
            raise host_error(error, path) from None


def read_files(paths: Sequence[str], jobs: Sequence[Job], window: Window) -> list[int]:
    """Reads many files into a stage, see `octavo.fs.vfs.packing.Fill`: those that cannot be read,
    or have not as many bytes as they had, have failed, and all that are left after an interrupt.
    """
    failed = []
    for number, offset, at, wanted, room in jobs:
        if is_put_off():
            failed.append(number)
            continue
        try:
            fd = os.open(paths[number], os.O_RDONLY | _NO_WAIT)
            try:
                if os.preadv(fd, window(at, room), offset) != wanted:
                    failed.append(number)
            finally:
                os.close(fd)
        except OSError:
            failed.append(number)
    return failed


def write_new(path: str, pieces: Sequence[memoryview], modified: float) -> None:
    """Makes a file of bytes that lie anywhere in memory. StatusError."""

    def fill(fd: int) -> None:
        if len(pieces) == 1 and not has_holes(pieces[0]):
            _write_all(fd, pieces)
        else:
            write_with_holes(fd, map(bytes, pieces))
        os.utime(fd, (modified, modified))

    try:
        make_file(path, fill)
    except OSError as error:
        raise host_error(error, path) from None


def write_file(path: str, data: bytes) -> None:
    """Makes `data` the contents of a file of the host, or writes it to a device, as a copy does.
    StatusError.
    """
    tree = HostTree()
    tree.write(path, len(data), [data], None, tree.find(path))


def _create(path: str, chunks: Iterable[bytes], modified: float | None) -> None:
    """Makes a file that is not there yet, and removes it when that fails."""

    def fill(fd: int) -> None:
        write_with_holes(fd, chunks)
        if modified is not None:
            os.utime(fd, (modified, modified))

    make_file(path, fill)


def _write_all(fd: int, chunks: Iterable[bytes | memoryview]) -> None:
    for data in chunks:
        done = os.write(fd, data)
        while done < len(data):
            done += os.write(fd, memoryview(data)[done:])


def _replace(path: str, chunks: Iterable[bytes], modified: float | None) -> None:
    """Puts a file into the place of another, or writes to a device."""
    there = _behind(path)
    output = next((fd for fd in _OUTPUTS if _is_open_as(there, fd)), -1)
    if output >= 0:
        with interruptible():
            _write_all(output, chunks)
    elif stat.S_ISREG(there.st_mode):
        _write_beside(path, there, chunks, modified)
    elif stat.S_ISCHR(there.st_mode) or stat.S_ISBLK(there.st_mode):
        _write_through(path, chunks)
    else:
        raise StatusError(
            Status.ACCESS_DENIED,
            f"{path}: is {kind_of(there.st_mode)}: only files and devices are written to",
        )


def _behind(path: str) -> os.stat_result:
    """What stands at a path, at a link's end too. StatusError for a link to nothing."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        raise StatusError(
            Status.ACCESS_DENIED, f"{path}: is a link to nothing: remove it first"
        ) from None


def _is_open_as(there: os.stat_result, fd: int) -> bool:
    """True when a file is what a descriptor of ours leads to, as /dev/stdout is.

    Its reader, or what it has already, is ours to keep.
    """
    try:
        return os.path.samestat(there, os.fstat(fd))
    except OSError:
        return False


def _write_beside(
    path: str, there: os.stat_result, chunks: Iterable[bytes], modified: float | None
) -> None:
    """Writes a new file in the directory of a file, and gives it its name.

    The old file is locked meanwhile: what somebody writes into an image would go with it.
    """
    real = os.path.realpath(path)
    old = os.open(real, os.O_WRONLY | _NO_WAIT)
    try:
        lock(old, path)
        _put_beside(real, there, chunks, modified)
    finally:
        os.close(old)


def _put_beside(
    real: str, there: os.stat_result, chunks: Iterable[bytes], modified: float | None
) -> None:
    for number in count():
        beside = os.path.join(os.path.dirname(real), f".octavo-{os.getpid()}-{number}")
        try:
            _create(beside, chunks, modified)
            break
        except FileExistsError:
            continue
    try:
        if (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
            _give_away(beside, there)
        os.chmod(beside, stat.S_IMODE(there.st_mode))
        os.replace(beside, real)
    except BaseException:
        os.unlink(beside)
        raise


def _give_away(path: str, there: os.stat_result) -> None:
    with suppress(PermissionError):  # only root may: the file is ours, then, as any new one
        os.chown(path, there.st_uid, there.st_gid)


def _write_through(path: str, chunks: Iterable[bytes]) -> None:
    """Writes to a device.

    It may take its time, so it may be interrupted at any moment: nothing has to be cleaned up.
    """
    fd = os.open(path, os.O_WRONLY | _NO_WAIT)
    try:
        if stat.S_ISBLK(os.fstat(fd).st_mode):
            lock(fd, path)
        os.set_blocking(fd, True)
        with interruptible():
            _write_all(fd, chunks)
    finally:
        os.close(fd)
