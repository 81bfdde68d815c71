"""Volumes and files for ordinary Python code: the coroutines of the file systems, driven to their
end by each call.

    with system.volumes["C:"].open("docs/a.txt") as file:
        data = file.read()

`open` takes Python's modes: "rb" (the default), "wb", "ab", "xb", with "+" for both, and "r", "w",
"a", "x" for text. A path has "/" or "\\\\", begins at the root, and is found whatever its case. All
errors are `StatusError`. One host thread at a time may use a system's volumes and files.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, Literal, cast, overload

from octavo.arguments import called, invalid, named, octets, room, shown, whole
from octavo.fs.base import Problem, Space, check_path, split_path
from octavo.fs.replace import open_beside, read_whole, write_whole
from octavo.fs.walk import Walk
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo, FileSystemVolume, OpenFile


ABSENT = (
    Status.OBJECT_NAME_NOT_FOUND,
    Status.OBJECT_PATH_NOT_FOUND,
    Status.NOT_A_DIRECTORY,
)  # what there is nothing at a path ends in
LARGEST = (1 << 63) - 1  # place in a file, or bytes of it, as hosts have it
Report = Callable[[StatusError], None]  # called with what could not be done, while the rest goes on


class File(io.RawIOBase):
    """An open file as Python's io has it: `read`, `write`, `seek`, `truncate`, `flush`, and all of
    `io.RawIOBase`.

    `read(n)` returns n bytes unless the file ends; `flush` returns when the data is on stable
    storage.
    """

    def __init__(
        self, file: OpenFile, scheduler: Scheduler, readable: bool, writable: bool, append: bool
    ) -> None:
        self.core = file  # for `system.virtual.sections.create(file=...)`
        self._run = scheduler.run
        self._readable = readable
        self._writable = writable
        self._append = append
        self._position = 0
        self.name = file.path

    def _check_open(self) -> None:
        if self.closed:
            raise StatusError(Status.FILE_CLOSED, f"{self.name}: the file is closed")

    def _not_opened(self, what: str) -> io.UnsupportedOperation:
        """The error of a file that is not open for something. StatusError FILE_CLOSED when it is
        for nothing any more.
        """
        self._check_open()
        return io.UnsupportedOperation(f"not opened for {what}")

    def readable(self) -> bool:
        """True when opened for reading. StatusError FILE_CLOSED, as all but `close` and `closed` of
        a closed file.
        """
        self._check_open()
        return self._readable

    def writable(self) -> bool:
        """True when opened for writing."""
        self._check_open()
        return self._writable

    def seekable(self) -> bool:
        """True."""
        self._check_open()
        return True

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        return self.core.size

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes from the position on; all that is left without a size."""
        if not self._readable:
            raise self._not_opened("reading")
        if type(size) is not int or size < 0:
            self._most(size)  # refuses what is neither None nor below 0
            size = max(0, self.core.size - self._position)
        data = self._run(self.core.read(self._position, size))
        self._position += len(data)
        return data

    def try_read(self, size: int) -> bytes | None:
        """As `read`, without waiting: None, and the position stays, when the device would have to
        be waited for. It is read now, so that a later call has it; what that has failed with, the
        next call raises.
        """
        if not self._readable:
            raise self._not_opened("reading")
        data = self.core.try_read(self._position, whole(size, f"{self.name}: the bytes", 0))
        self._position += len(data or b"")
        return data

    def try_write(self, data: Any) -> bool:
        """As `write`, without waiting, all or nothing: False, and the position stays, when it would
        have to wait, as it does for the first change of a volume and beyond the file's end.
        """
        if not self._writable:
            raise self._not_opened("writing")
        data = octets(data, "what is written to a file")
        done = not self._append and self.core.try_write(self._position, data)
        self._position += len(data) * done
        return done

    def advise(self, advice: int) -> None:
        """Says how the file will be read from now on (`octavo.vm.Advice`): NORMAL is learnt from
        reads; RANDOM, SEQUENTIAL and REVERSE are believed; WILLNEED has it fetched while you do
        something else; DONTNEED lets go of it, but for what is still to be written.
        """
        self._check_open()
        self._run(self.core.advise(advice))

    def readall(self) -> bytes:
        """All that is left."""
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        """Fills a buffer; returns the number of bytes."""
        if not self._readable:
            raise self._not_opened("reading")
        count = self._run(
            self.core.read_into(self._position, room(buffer, "a buffer to read into"))
        )
        self._position += count
        return count

    def readline(self, size: int | None = -1, /) -> bytes:
        """Up to the end of a line, or `size` bytes."""
        return super().readline(self._most(size))

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """The lines that are left; those up to `hint` bytes, and the one in which that is."""
        return super().readlines(self._most(hint))

    def _most(self, size: int | None) -> int:
        """A size as Python's io takes it: -1 for none."""
        return (
            -1
            if size is None
            else min(max(whole(size, f"{self.name}: the bytes to read"), -1), LARGEST)
        )

    def write(self, data: Any, /) -> int:
        """Writes all of `data` at the position (at the end for "a" modes); returns its length."""
        if not self._writable:
            raise self._not_opened("writing")
        if not isinstance(data, bytes):
            data = octets(data, "what is written to a file")
        if self._append:
            self._position = self.core.size
        self._run(self.core.write(self._position, data))
        self._position += len(data)
        return len(data)

    def writelines(self, lines: Iterable[Any], /) -> None:
        """Writes one after the other."""
        if not isinstance(lines, Iterable):
            raise invalid(f"{self.name}: {shown(lines)} are no lines: give a list of bytes")
        super().writelines(lines)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Moves the position by `offset` bytes from the start (`whence` 0), from where it is (1) or
        from the end (2); returns it.
        """
        self._check_open()
        if type(offset) is not int or type(whence) is not int or not 0 <= whence <= 2:
            raise invalid(
                f"{self.name}: cannot seek by {shown(offset)} from {shown(whence)}: whole "
                "numbers are needed, the second from 0 to 2"
            )
        place = offset + (0 if not whence else self._position if whence == 1 else self.core.size)
        if not 0 <= place <= LARGEST:
            raise invalid(f"{self.name}: cannot seek to {shown(place)}")
        self._position = place
        return self._position

    def tell(self) -> int:
        """The position."""
        self._check_open()
        return self._position

    def truncate(self, size: int | None = None, /) -> int:
        """Makes the file `size` bytes long (to the position, if not given)."""
        if not self._writable:
            raise self._not_opened("writing")
        size = self._position if size is None else size
        self._run(self.core.truncate(size))
        return size

    def reserve(self, size: int) -> None:
        """Takes room for `size` bytes, in one run of clusters where there is one; the file's length
        stays, and what is not used is free again when it is closed.
        """
        self._check_open()
        self._run(self.core.reserve(size))

    def flush(self) -> None:
        """Returns when the file and all that leads to it are on stable storage."""
        self._check_open()
        if self._writable:
            self._run(self.core.flush())

    def set_modified(self, wall: float) -> None:
        """Sets the time of last writing, in seconds since 1970."""
        self._run(self.core.set_modified(wall))

    def close(self) -> None:
        """Ends the use of the file; raises the error of a write that failed behind its back.

        With a system that was ended, files have ended, too: that wrote them.
        """
        if not self.closed:
            try:
                if not self.core.close_now():
                    self._run(self.core.close())
            except StatusError as error:
                if error.status != Status.FILE_CLOSED:
                    raise
            finally:
                self._readable = self._writable = (
                    False  # IOBase.close flushes, and there is nothing left to
                )
                super().close()


BinaryMode = Literal["rb", "wb", "ab", "xb", "r+b", "w+b", "a+b", "x+b", "rb+", "wb+", "ab+", "xb+"]
_MODES = {
    "r": (False, False, False),
    "w": (True, False, True),
    "a": (True, False, False),
    "x": (True, True, False),
}


@lru_cache(64)
def _kind(mode: str) -> str:
    """The one of r, w, a and x that is in a mode."""
    letters = set(mode)
    kind = "".join(letters - set("bt+"))
    if kind not in _MODES or len(letters) < len(mode) or {"b", "t"} <= letters:
        raise invalid(
            f"{shown(mode)} is not a mode of open: it takes one of r, w, a and x, with "
            "b or t, and +"
        )
    return kind


class Volume:
    """A mounted volume. `kind` is such as "FAT16"."""

    def __init__(self, volume: FileSystemVolume, scheduler: Scheduler, letter: str) -> None:
        self.core = volume
        self.scheduler = scheduler
        self.letter = letter
        self._run: Callable[[Any], Any] = scheduler.run

    @property
    def kind(self) -> str:
        """FAT12, FAT16, FAT32, ext2 or ext3."""
        return self.core.kind

    @property
    def label(self) -> str:
        """The volume's label, "" for none."""
        return self.core.label

    @property
    def serial(self) -> int:
        """The volume's serial number, of 32 bits; 0 for none."""
        return self.core.serial

    @property
    def read_only(self) -> bool:
        """True when nothing can be changed."""
        return self.core.read_only

    @overload
    def open(self, path: str, mode: BinaryMode = "rb") -> File: ...
    @overload
    def open(self, path: str, mode: str, encoding: str = "utf-8") -> Any: ...
    def open(self, path: str, mode: str = "rb", encoding: str = "utf-8") -> File | IO[Any]:
        """Opens a file as Python's `open` does; binary files are unbuffered (the cache is the
        buffer).
        """
        kind = _kind(mode if type(mode) is str else named(mode, "the mode of open"))
        if "b" not in mode:
            _check_encoding(encoding)
        create, exclusive, truncate = _MODES[kind]
        write = create or "+" in mode
        core = self._run(self.core.open(path, write, create, exclusive, truncate))
        file = File(core, self.scheduler, kind == "r" or "+" in mode, write, kind == "a")
        if "b" in mode:
            return file
        return io.TextIOWrapper(_buffered(file, write), encoding, newline=None)

    def read_bytes(self, path: str) -> bytes:
        """The contents of a file."""
        data: bytes = self._run(read_whole(self.core, path))
        return data

    def write_bytes(self, path: str, data: bytes, modified: float | None = None) -> None:
        """Makes `data` the contents of a file, which is made if need be, and sets its time of last
        writing (seconds since 1970).

        A file that is there keeps its old contents when that fails: the new ones are written beside
        it, unless there is no room for both, or it is open; then they are written over the old
        ones, which are put back when that fails.
        """
        self._run(write_whole(self.core, path, _bytes(path, data), modified))

    def create_bytes(self, path: str, data: bytes, modified: float | None = None) -> None:
        """As `write_bytes`, of a file that is not there: else StatusError OBJECT_NAME_COLLISION."""
        if not self._run(self.core.create_whole(path, _bytes(path, data), modified)):
            raise StatusError(Status.OBJECT_NAME_COLLISION, f"{path}: exists already")

    def open_beside(self, path: str) -> File:
        """A new file with a name of its own in the directory of a path, open for writing: to take
        the place of what is at the path.
        """
        return File(self._run(open_beside(self.core, path)), self.scheduler, False, True, False)

    def set_modified(self, path: str, modified: float) -> None:
        """Sets when a file or directory was last written, in seconds since 1970."""
        self._run(self.core.set_modified(path, modified))

    def stat(self, path: str) -> FileInfo:
        """What the directory says of a path."""
        return cast("FileInfo", self._run(self.core.stat(path)))

    def exists(self, path: str) -> bool:
        """True when the path is there."""
        try:
            self.stat(path)
        except StatusError as error:
            if error.status in (*ABSENT, Status.REPARSE_POINT_NOT_RESOLVED):  # links in a circle
                return False
            raise
        return True

    def is_dir(self, path: str) -> bool:
        """True when the path is a directory that is there."""
        return self.exists(path) and self.stat(path).is_directory

    def entries(self, path: str = "") -> list[FileInfo]:
        """The entries of a directory, in the order of the disk."""
        return cast(list["FileInfo"], self._run(self.core.entries(path)))

    def walk(
        self, path: str = "", on_error: Report | None = None
    ) -> Iterator[tuple[str, list[FileInfo]]]:
        """(path, entries) of a directory and of all below it, parents first. Paths have no leading
        "/".

        As with os.walk, directories that the caller takes out of the list are not entered. One that
        damage has put into two places is entered once. What cannot be read is passed to `on_error`,
        and the rest goes on; without that, it is raised.
        """
        called(on_error, "on_error")
        check_path(path)
        start = path.strip("/\\")
        walk = Walk(self.core, start, self.stat(start), on_error)
        while (found := walk.known() or self._run(walk.next())) is not None:
            yield found
            walk.enter(found[1])

    def mkdir(self, path: str, parents: bool = False) -> None:
        """Makes a directory; with `parents`, those above it too, and none of them needs to be
        new.
        """
        if not parents:
            self._run(self.core.make_directory(path))
            return
        parts = split_path(path)
        for i in range(1, len(parts) + 1):
            if not self.is_dir("/".join(parts[:i])):
                self._run(self.core.make_directory("/".join(parts[:i])))

    def remove(self, path: str, force: bool = False) -> None:
        """Removes a file; with `force` a read-only or damaged one, too."""
        self._run(self.core.remove(path, force))

    def rmdir(self, path: str, force: bool = False) -> None:
        """Removes an empty directory; with `force` a read-only or unreadable one, too."""
        self._run(self.core.remove_directory(path, force))

    def rmtree(self, path: str, on_error: Report | None = None, force: bool = False) -> None:
        """Removes a directory and all below it; `force` as `remove` and `rmdir`.

        What cannot be removed is passed to `on_error`, and the rest goes on; without that, it is
        raised.
        """
        check_path(path)
        called(on_error, "on_error")
        kept: set[str] = set()  # directories in which something is left

        def attempt(path: str, action: Callable[[str, bool], None]) -> None:
            try:
                action(path, force)
            except StatusError as error:
                if on_error is None:
                    raise
                on_error(error)
                kept.add(path.rpartition("/")[0])

        walked = dict(self.walk(path, _nobody if force else on_error))
        for here, entries in reversed(walked.items()):
            for entry in entries:
                inner = f"{here}/{entry.name}" if here else entry.name
                if not entry.is_directory:
                    attempt(inner, self.remove)
                elif inner in kept or (inner not in walked and not force):
                    kept.add(here)  # why was said already
                else:
                    attempt(inner, self.rmdir)
        top = path.strip("/\\")
        if top and top not in kept:
            attempt(top, self.rmdir)

    def rename(self, old: str, new: str, replace: bool = False) -> None:
        """Renames or moves within the volume; an existing target is refused, or with `replace`
        replaced when both are files.
        """
        self._run(self.core.rename(old, new, replace))

    def set_attributes(self, path: str, on: str = "", off: str = "") -> None:
        """Sets and clears attributes, as `flags` of a listing shows them: "r" read-only, "h"
        hidden, "s" system, "a" archive.
        """
        self._run(self.core.set_attributes(path, on, off))

    def set_label(self, label: str) -> None:
        """Gives the volume another label, "" for none: in both places that it is in."""
        self._run(self.core.set_label(label))

    def set_serial(self, serial: int) -> None:
        """Gives the volume another serial number, of 32 bits."""
        self._run(self.core.set_serial(serial))

    def space(self) -> Space:
        """Bytes in all, free bytes, and the allocation unit."""
        return cast("Space", self._run(self.core.space()))

    def flush(self) -> None:
        """Returns when everything is on stable storage."""
        self._run(self.core.flush())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Has everything on the medium, and refuses all paths in the `with` block: another program
        may look at the image, or change files in it.
        """
        holder = self._run(self.core.lock())
        try:
            yield
        finally:
            if self.core.locked:  # it may be unmounted by now
                self._run(self.core.unlock(holder))

    def check(
        self, progress: Callable[[int, int], None] | None = None, repair: bool = False
    ) -> list[Problem]:
        """What is wrong with the volume; an empty list when nothing is. With `repair`, what can be
        mended is, and on the medium.
        """
        return cast(list[Problem], self._run(self.core.check(progress, repair)))

    def statistics(self) -> dict[str, object]:
        """What the file system and its device have done."""
        from octavo.statistics import of

        return of(self.core.statistics())


def _bytes(path: str, data: Any) -> bytes:
    """The bytes of what a caller gives as contents. StatusError INVALID_PARAMETER for what has
    none, and for what is no path.
    """
    check_path(path)
    return (
        data if isinstance(data, bytes) else bytes(octets(data, f"{path}: the contents of a file"))
    )


def _check_encoding(encoding: str) -> None:
    """StatusError INVALID_PARAMETER for what Python cannot encode texts in: said before a file is
    made.
    """
    try:
        "".encode(named(encoding, "the encoding of a text"))
    except (LookupError, ValueError):  # ValueError: a NUL in it
        raise invalid(f"{shown(encoding)} is no encoding of texts, such as utf-8") from None


def _buffered(file: File, write: bool) -> Any:
    if file.readable() and write:
        return io.BufferedRandom(file)
    return io.BufferedWriter(file) if write else io.BufferedReader(file)


def _nobody(error: StatusError) -> None:
    """For errors that come again, where they can be told better."""
