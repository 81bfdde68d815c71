r"""A text that is edited by lines, of any size, in bounded memory.

    pieces   | bytes 0-4k of the file, 90 lines | "new line\n" | bytes 5k-8k, 31 lines | ...

Lines that nobody has changed stay in the file, which is open as long as they are needed; in memory
are the places of them, and what is new: at most MOST_NEW bytes and MOST_PIECES pieces, then it must
be saved. Saving writes a file that takes the old one's place, which stays as it is when that fails.

Of a text that was changed, a last line without an end gets one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from octavo.files import ABSENT, File, Volume
from octavo.fs.base import not_found, split_path
from octavo.printing import counted
from octavo.shell.texts import chunks, lines
from octavo.status import Status, StatusError
from octavo.threads.interrupts import interruption_point, uninterrupted
from octavo.transfer.tree import CHUNK
from octavo.transfer.volume import VolumeTree

MOST_NEW = 1 << 20  # bytes
MOST_PIECES = 2000  # which each change goes through


@dataclass(frozen=True, slots=True)
class _Piece:
    """Bytes of the file from `start` to `end`, and `tail` behind them; so many lines."""

    start: int
    end: int
    lines: int
    tail: bytes = b""


class Document:
    """The text of the file at `path`, which may be a new one. Lines are numbered from 1.

    StatusError where there can be no such file; where it cannot be read or written; and
    INVALID_PARAMETER for a line that is not there.
    """

    def __init__(self, volume: Volume, path: str, wall: float) -> None:
        self._volume = volume
        self._path = path
        self._wall = wall
        self._file: File | None = None
        self._end = b""  # of a new line, as the first line has it
        self._pieces: list[_Piece] = []
        self.changed = False
        self._open()

    def _open(self) -> None:
        try:
            self._file = self._volume.open(self._path)
        except StatusError as error:
            if error.status not in ABSENT:
                raise
            if not self._volume.is_dir("/".join(split_path(self._path)[:-1])):
                raise not_found(self._path, parent=True) from None
            return
        self._pieces = list(self._whole(self._file))

    def _whole(self, file: File) -> Iterator[_Piece]:
        """The pieces of a file that nobody has changed."""
        count, at, behind = 0, 0, 0  # `behind` the last line that has an end
        before = b""
        for data in chunks(file):
            if not self._end and (found := data.find(b"\n")) >= 0:
                last = data[found - 1 : found] if found else before
                self._end = b"\r\n" if last == b"\r" else b"\n"
            before = data[-1:]
            count += data.count(b"\n")
            behind = at + data.rindex(b"\n") + 1 if b"\n" in data else behind
            at += len(data)
        if behind:
            yield _Piece(0, behind, count)
        if behind < at:
            yield _Piece(behind, at, 1, self._end or b"\r\n")

    def close(self) -> None:
        """Ends it; what was not saved is gone."""
        if self._file is not None:
            self._file.close()

    # -- looking -----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return sum(piece.lines for piece in self._pieces)

    def numbered(self, first: int) -> Iterator[tuple[int, bytes]]:
        """Lines from one on with their numbers and ends; very long ones in pieces, each with the
        number.
        """
        for line in lines(self._bytes(first)):
            yield first, line
            first += line.endswith(b"\n")

    def _bytes(self, first: int) -> Iterator[bytes]:
        """The bytes from a line on."""
        at = 1
        for piece in self._pieces:
            if first < at + piece.lines:
                skipped = max(0, first - at)
                yield from self._read(piece, self._place(piece, skipped), piece.end)
                if piece.tail:
                    yield piece.tail
            at += piece.lines

    def _read(self, piece: _Piece, start: int, end: int) -> Iterator[bytes]:
        return iter(()) if self._file is None else chunks(self._file, start, end)

    def _place(self, piece: _Piece, count: int) -> int:
        """Where the bytes behind so many lines of a piece begin in the file."""
        at = piece.start
        for data in self._read(piece, at, piece.end) if count else ():
            here = data.count(b"\n")
            if count > here:
                count, at = count - here, at + len(data)
                continue
            place = -1
            for _ in range(count):
                place = data.index(b"\n", place + 1)
            return at + place + 1
        return at

    # -- changing ----------------------------------------------------------------------------------

    def insert(self, number: int, text: str) -> None:
        """Puts a line before another; before the one behind the last, at the end."""
        self._check(number, len(self) + 1)
        self._admit(text)
        self._pieces.insert(self._split(number), self._new(text))
        self.changed = True

    def put(self, number: int, text: str) -> None:
        """Puts a line into the place of another, or at the end."""
        if number == len(self) + 1:
            self.insert(number, text)
            return
        self._check(number, len(self))
        self._admit(text)
        first, last = self._split(number), self._split(number + 1)
        self._pieces[first:last] = [self._new(text)]
        self.changed = True

    def delete(self, first: int, last: int) -> None:
        """Takes lines away."""
        self._check(first, len(self))
        self._check(last, len(self))
        self._admit("")
        begin, end = self._split(first), self._split(last + 1)
        del self._pieces[begin:end]
        self.changed = True

    def _new(self, text: str) -> _Piece:
        return _Piece(0, 0, 1, text.encode("utf-8", "surrogatepass") + (self._end or b"\r\n"))

    def _check(self, number: int, last: int) -> None:
        if not 1 <= number <= last:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"there is no line {number}: there are {counted(len(self), 'line')}",
            )

    def _admit(self, text: str) -> None:
        """StatusError INSUFFICIENT_RESOURCES when there are too many changes that only memory
        has.
        """
        new = sum(len(piece.tail) for piece in self._pieces) + len(text) * 3
        if new > MOST_NEW or len(self._pieces) > MOST_PIECES:
            raise StatusError(
                Status.INSUFFICIENT_RESOURCES, "too much has been changed at once: save it first"
            )

    def _split(self, number: int) -> int:
        """The piece that begins with a line; one in which it lies is parted."""
        at = 1
        for i, piece in enumerate(self._pieces):
            if at == number:
                return i
            if number < at + piece.lines:
                place = self._place(piece, number - at)
                before = replace(piece, end=place, lines=number - at, tail=b"")
                self._pieces[i : i + 1] = [
                    before, replace(piece, start=place, lines=piece.lines - before.lines)
                ]  # fmt: skip
                return i + 1
            at += piece.lines
        return len(self._pieces)

    # -- saving ------------------------------------------------------------------------------------

    def save(self) -> None:
        """Makes the file what the text is; one that nobody has changed stays. An interrupt leaves
        it as it was.
        """
        if self._file is not None and not self.changed:
            return
        tree = VolumeTree(self._volume, "")
        size = sum(piece.end - piece.start + len(piece.tail) for piece in self._pieces)
        with uninterrupted():
            there = tree.find(self._path)
            try:
                tree.write(self._path, size, self._contents(), self._wall, there)
            except BaseException:
                self._reopen()
                raise
            self._open()
            self.changed = False

    def _contents(self) -> Iterator[bytes]:
        """All of it, in chunks as a copy has them; then the file is closed, so that another may
        take its place.
        """
        waiting = bytearray()
        for data in self._bytes(1):
            interruption_point()
            waiting += data
            if len(waiting) >= CHUNK:
                yield bytes(waiting)
                waiting.clear()
        self.close()
        if waiting:
            yield bytes(waiting)

    def _reopen(self) -> None:
        """Goes on with the file as it was."""
        if self._file is not None and self._file.closed:
            self._file = self._volume.open(self._path)
