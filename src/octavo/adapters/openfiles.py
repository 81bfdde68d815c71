"""Open files of the fsspec filesystem: Python's buffers over a raw file in a volume.

    rb         reads; when the image was let go of meanwhile, it is opened again, if it is the same
    r+b        changes what is there, in place
    ab         adds to what is there, in place
    wb, xb     makes a new file under its name; one that replaces another, or waits for the end of
               a transaction, is written beside it as OCTAVOn.TMP, and renamed when it is closed

A file that is open for writing ends by `close`, or by `discard`: then the volume has what it had
when the file was opened (but what was written over in place stays). A `with` block that an
exception leaves discards, and so does the end of a file whose last write failed: `close` says so,
as it does when somebody else has discarded the file.

Departure: `fsspec.open` closes its files without a word of the exception that ends its block, so
these are finished, as half as they are.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, cast
from weakref import ReferenceType, ref

from octavo.adapters.oserrors import as_os_errors, os_error
from octavo.files import ABSENT, File, Volume
from octavo.status import Status, StatusError
from octavo.threads.interrupts import uninterrupted

if TYPE_CHECKING:
    from octavo.adapters.mounted import Mounted
    from octavo.adapters.sources import Part

BUFFER = 64 << 10  # bytes


class RawFile(io.RawIOBase):
    """The file at `path`, by one of the modes above, with "+" for both. All errors are OSErrors.

    Without `autocommit` a new file takes its place by `commit`, after `close`.
    """

    def __init__(self, image: Mounted, part: Part, path: str, mode: str, autocommit: bool) -> None:
        self.image = image
        self.part = part
        self.name = path
        self.mode = mode
        self.autocommit = autocommit
        self.beside = ""  # where the new file is until it takes its place
        self.ended = True  # closed, and where it belongs; or not opened yet
        self.given_up = ""  # why it was discarded, when who writes it did not say so
        self._made = False  # under its own name, by this file
        self._failed = False
        with as_os_errors(), image.use(part, self.writable()) as volume:
            self._file = self._open(volume)
            self._generation = image.generation
            self._seen = () if self.writable() else _seen(volume, path)
        self._old_size, self.ended = self._file.size, False
        if mode[0] == "a":
            self.seek(0, io.SEEK_END)

    def _open(self, volume: Volume) -> File:
        kind, plus = self.mode[0], "+" in self.mode
        there = kind == "r" or volume.exists(self.name)
        if kind == "x" and there:
            raise StatusError(Status.OBJECT_NAME_COLLISION, f"{self.name}: exists already")
        if kind in "wx" and (there or not self.autocommit):
            file = _open_beside(volume, self.name, len(self.image.unfinished))
            self.beside = file.name.strip("/")
            if plus:
                file.close()
                file = volume.open(self.beside, "r+b")
            return file
        self._made = not there
        opened: File = volume.open(self.name, self.mode if there else self.mode.replace("w", "x"))
        return opened

    @contextmanager
    def _held(self, write: bool = False) -> Iterator[tuple[Volume, File]]:
        """A `with` block in which this thread alone has the volume, and the file in it."""
        with as_os_errors():
            if self.writable() and self._generation != self.image.generation:
                text = "its image was closed, or opened by another process: what it had is lost"
                raise StatusError(Status.FILE_CLOSED, f"{self.name}: {text}")
            with self.image.use(self.part, write) as volume:
                if self._generation != self.image.generation:
                    self._open_again(volume)
                yield volume, self._file

    def _open_again(self, volume: Volume) -> None:
        if _seen(volume, self.name) != self._seen:
            text = "is another file than before its image was let go of: open it again"
            raise StatusError(Status.FILE_CLOSED, f"{self.name}: {text}")
        position = self._file.tell()
        self._file = volume.open(self.name)
        self._file.seek(position)
        self._generation = self.image.generation

    def readable(self) -> bool:
        """True when opened for reading."""
        return self.mode[0] == "r" or "+" in self.mode

    def writable(self) -> bool:
        """True when opened for writing."""
        return self.mode[0] != "r" or "+" in self.mode

    def seekable(self) -> bool:
        """True."""
        return True

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        with self._held() as (_, file):
            return file.size

    def readinto(self, buffer: Any, /) -> int:
        """Fills a buffer; returns the number of bytes."""
        with self._held() as (_, file):
            return file.readinto(buffer)

    def readall(self) -> bytes:
        """All that is left, at once."""
        with self._held() as (_, file):
            return file.readall()

    def write(self, data: Any, /) -> int:
        """Writes all of `data`; returns its length."""
        self._failed = True
        with self._held(True) as (_, file):
            done = file.write(data)
        self._failed = False
        return done

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Moves the position."""
        with self._held() as (_, file):
            return file.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        with self._held() as (_, file):
            return file.tell()

    def truncate(self, size: int | None = None, /) -> int:
        """Makes the file `size` bytes long (to the position, if not given)."""
        with self._held(True) as (_, file):
            return file.truncate(size)

    @uninterrupted()
    def close(self) -> None:
        """Ends the file: with `autocommit` it takes its place, and is on the medium."""
        if self.closed or self.ended:
            super().close()
            return
        try:
            if not self.writable():
                self._close_reader()
            elif self._failed:
                self.given_up = "its last write failed"
                self.discard()
            else:
                self._close_writer()
        finally:
            super().close()

    def _close_reader(self) -> None:
        self.ended = True
        if self._generation == self.image.generation:
            with self._held() as (_, file):
                file.close()

    def _close_writer(self) -> None:
        with self.image.settled():
            try:
                with self._held(True) as (_, file):
                    file.close()
                if self.autocommit:
                    self.commit()
            except BaseException:  # Ctrl-C, too: nothing half is to stay
                self.discard()
                raise

    @uninterrupted()
    def commit(self) -> None:
        """Puts a closed file into its place. OSError, and what was there before stays."""
        self.check_kept()
        if self.ended:
            return
        with as_os_errors(), self.image.settled():
            try:
                if self.beside:
                    with self._held(True) as (volume, _):
                        volume.rename(self.beside, self.name, replace=self.mode[0] == "w")
                self.ended = True
            except BaseException:
                self.discard()
                raise

    def check_kept(self) -> None:
        """OSError for a file that was discarded, when who writes it did not say so."""
        if self.given_up:
            text = f"{self.name}: {self.given_up}: what was there before it is there"
            raise os_error(StatusError(Status.FILE_CLOSED, text))

    @uninterrupted()
    def discard(self) -> None:
        """Ends the file, and leaves what was there before it."""
        if self.ended:
            return
        self._failed = True
        try:
            with as_os_errors(), self.image.settled(), self._held(True) as (volume, file):
                self._take_back(volume, file)
                self.ended = True
        except Exception:
            self.ended = True  # but not for Ctrl-C, after which whoever drops it tries again
            raise
        finally:
            super().close()

    def _take_back(self, volume: Volume, file: File) -> None:
        if not file.closed and self.mode[0] == "a" and not self._made:
            file.truncate(self._old_size)
        file.close()
        if self.beside or self._made:
            try:
                volume.remove(self.beside or self.name)
            except StatusError as error:
                if error.status not in ABSENT:  # Ctrl-C came behind the renaming
                    raise


def _seen(volume: Volume, path: str) -> tuple[object, ...]:
    """What tells a file from one that has taken its place."""
    info = volume.stat(path)
    return info.size, info.modified, info.created, info.number


def _open_beside(volume: Volume, path: str, others: int) -> File:
    """A new file in the directory of a path, whether there is something at the path or not; so many
    others may have names of this kind.
    """
    try:
        return volume.open_beside(path)
    except StatusError as error:
        if error.status not in ABSENT:
            raise
    above = path.rpartition("/")[0]
    for n in count(others):
        try:
            return volume.open(f"{above}/OCTAVO{n}.TMP".lstrip("/"), "xb")
        except StatusError as error:
            if error.status != Status.OBJECT_NAME_COLLISION:
                raise
    raise AssertionError("names never end")


class Buffered:
    """What the buffers below have in common, as fsspec wants it of files."""

    closed: bool
    owner: object = None
    text: ReferenceType[Text] | None = None  # that writes into it
    _raw: RawFile

    @property
    def path(self) -> str:
        """The file's path on its volume."""
        return self._raw.name

    @property
    def size(self) -> int:
        """The file's length in bytes, without what is in the buffer."""
        return self._raw.size

    @property
    def beside(self) -> str:
        """Where the new file is until it takes its place; "" when it has."""
        return "" if self._raw.ended else self._raw.beside

    @property
    def ended(self) -> bool:
        """Whether the file is where it belongs, or was discarded."""
        return self._raw.ended

    @property
    def waits(self) -> bool:
        """Whether the end of a transaction puts it into its place."""
        return self._raw.writable() and not self._raw.autocommit

    def close(self) -> None:
        """Ends the file. OSError also when it had to be discarded, or somebody else did that."""
        cast(Any, super()).close()
        self._raw.check_kept()

    def commit(self) -> None:
        """Puts a file of a transaction into its place."""
        self._close_text()
        self._raw.commit()

    def discard(self) -> None:
        """Ends the file without what is in the buffer; what was there before stays."""
        self._raw.discard()

    def finish(self, discard: bool) -> None:
        """Ends the file for who has no hold of it: its filesystem's end, or the collector."""
        if self._raw.ended:
            return
        if discard or self.closed:
            self._raw.given_up = "its filesystem was closed"
            self.discard()
        else:
            self._close_text()

    def _close_text(self) -> None:
        """Closes the file with what is still in the text above it."""
        text = self.text and self.text()
        (text or self).close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._raw.writable():
            self.discard()
        else:
            self.close()

    def __del__(self) -> None:
        raw = getattr(self, "_raw", None)
        if raw is not None and not raw.ended:
            raw.image.drop(self)


class Reader(Buffered, io.BufferedReader):
    """A file that is open for reading."""

    def __init__(self, raw: RawFile) -> None:
        self._raw = raw
        super().__init__(raw, BUFFER)


class Writer(Buffered, io.BufferedWriter):
    """A file that is open for writing."""

    def __init__(self, raw: RawFile) -> None:
        self._raw = raw
        super().__init__(raw, BUFFER)


class Random(Buffered, io.BufferedRandom):
    """A file that is open for both."""

    def __init__(self, raw: RawFile) -> None:
        self._raw = raw
        super().__init__(raw, BUFFER)


class Text(io.TextIOWrapper):
    """Text of a buffer, whose `with` block ends as that of its buffer."""

    def __init__(self, buffer: Any, **options: Any) -> None:
        super().__init__(buffer, **options)
        if isinstance(buffer, Buffered):
            buffer.text = ref(self)

    def close(self) -> None:
        """Ends the file. OSError also when it had to be discarded, or somebody else did that."""
        super().close()
        if isinstance(self.buffer, Buffered):
            self.buffer.close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and isinstance(self.buffer, Writer | Random):
            self.buffer.discard()
        else:
            self.close()


def open_file(
    image: Mounted, part: Part, path: str, mode: str, autocommit: bool, owner: object
) -> Reader | Writer | Random:
    """Opens a file by a binary mode for `owner`, its filesystem. OSError, ValueError for what is no
    mode.
    """
    kind = set(mode) - set("b+")
    if len(set(mode)) < len(mode) or len(kind) != 1 or not kind <= set("rwax"):
        raise ValueError(f"{mode!r} is no binary mode of open")
    plus = "+" if "+" in mode else ""
    mode = f"{kind.pop()}{plus}b"
    if mode == "rb":
        return Reader(RawFile(image, part, path, mode, autocommit))
    file: Writer | Random | None = None
    try:
        with as_os_errors(), uninterrupted(), image.use(part, True):  # so nobody closes the image
            raw = RawFile(image, part, path, mode, autocommit)
            file = Random(raw) if plus else Writer(raw)
            file.owner = owner
            image.unfinished.add(file)
        return file
    except KeyboardInterrupt:
        if file is not None:
            file.discard()
        raise
