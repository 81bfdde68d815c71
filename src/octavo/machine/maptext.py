"""Files that hold maps, as people keep them: packed, in other encodings, with colours, and of any
size.

    file -> unpack (gzip, bzip2, xz) -> head, blocks -> text (UTF-8 or UTF-16)
         -> pieces of whole lines -> messages -> clean lines

Nothing here holds more than a head of MOST_HEAD bytes and one block, so that a log of many GiB is
read in a few MiB. Binary files are told from text by their head: text has hardly any control
characters, NUL bytes aside (crashed file systems leave runs of them in logs).
"""

from __future__ import annotations

import bz2
import codecs
import io
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol

from octavo.machine.firmware import Remarks
from octavo.status import Status, StatusError

MOST_HEAD = (
    4 << 20
)  # bytes: larger than a binary table of 4096 ranges, and the most that JSON may have
MOST_UNPACKED = 8 << 30  # bytes: a log that is larger is a bomb
MOST_LINE = 1 << 20  # characters
_BLOCK = 256 << 10  # bytes
_FOREIGN = {
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!\x1a\x07": "a rar archive; unpack it first",
    b"\x5d\0\0": "packed by lzma; unpack it first",
    b"\x1f\x9d": "packed by compress; unpack it first",
    b"\x04\x22\x4d\x18": "packed by lz4; unpack it first",
    b"LZIP": "packed by lzip; unpack it first",
    b"\x89LZO": "packed by lzop; unpack it first",
    b"LPKSHHRH": "a journal in systemd's own form; write it as text with 'journalctl -k -b --file'",
    b"%PDF-": "a PDF; save the log in it as text",
    b"\x89PNG": "a picture; give the log as text",
    b"\xff\xd8\xff": "a picture; give the log as text",
    b"GIF8": "a picture; give the log as text",
    b"\x7fELF": "a program or a kernel; give the log that it prints while it starts",
}
_CONTROLS = bytes(sorted({*range(1, 32)} - {*b"\b\t\n\v\f\r\x1a\x1b"}))
_KEY = r'"MESSAGE"\s*:\s*'
_BYTES = _KEY + r"\[([\s0-9,]*)\]"
_CUT = _KEY + r"\[[\s0-9,]*\Z"
_COLOUR = (
    r"(?:\x1b|\^\[|\\u001b|\\x1b|\\033|#033|\u241b)\[[0-9;?]*[A-Za-z]|(?:\ufffd|\?)?\[[0-9;]+m"
)


class _Unpacker(Protocol):
    """What bz2 and lzma have in common, for one packed stream."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Gzip:
    """The same for gzip."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(31)  # with gzip's header and checksum

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


_UNPACKERS: dict[bytes, Callable[[], _Unpacker]] = {
    b"\x1f\x8b": _Gzip,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
}


class _Unpacked(io.RawIOBase):
    """What the packed streams in a file have, one after the other; zeros behind a stream pad it."""

    def __init__(self, path: str, file: IO[bytes], magic: bytes) -> None:
        self._path = path
        self._file = file
        self._magic = magic
        self._stream = _UNPACKERS[magic]()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpacks into a buffer. StatusError INVALID_PARAMETER when something else stands behind a
        stream; EOFError.
        """
        data = b""
        while not data:
            if self._stream.eof:
                packed = self._next()
                if not packed:
                    return 0
            else:
                packed = self._file.read(_BLOCK) if self._stream.needs_input else b""
            ended = self._stream.needs_input and not packed
            data = self._stream.decompress(packed, len(buffer))
            if ended and not data and not self._stream.eof:
                raise EOFError
        buffer[: len(data)] = data
        return len(data)

    def _next(self) -> bytes:
        """The first bytes of the next stream, for which there is an unpacker then; empty at the
        end.
        """
        packed = self._stream.unused_data.lstrip(b"\0")
        while not packed and (block := self._file.read(_BLOCK)):
            packed = block.lstrip(b"\0")
        if packed:
            packed += self._file.read(len(self._magic))
            if not packed.startswith(self._magic):
                raise StatusError(
                    Status.INVALID_PARAMETER,
                    f"{self._path}: what stands behind the packed data is not packed as it "
                    "is; unpack the file first",
                )
            self._stream = _UNPACKERS[self._magic]()
        return packed


@contextmanager
def open_unpacked(path: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked when it is packed. StatusError INVALID_PARAMETER for packed
    data that is damaged, or of a kind that is not read.
    """
    with open(path, "rb") as file:
        magic = _look(path, file)
        if not magic:
            yield file
            return
        reader = io.BufferedReader(_Unpacked(path, file, magic), _BLOCK)
        with _damage_told(path), reader as unpacked:
            if _look(path, unpacked):
                raise StatusError(
                    Status.INVALID_PARAMETER,
                    f"{path}: what is packed in it is packed again; unpack it once first",
                )
            yield unpacked


@contextmanager
def _damage_told(path: str) -> Iterator[None]:
    """A `with` block in which damaged packed data is a StatusError."""
    try:
        yield
        return
    except EOFError:
        why = "it ends too early"
    except (zlib.error, lzma.LZMAError) as error:
        why = str(error)
    except OSError as error:
        if error.errno is not None:
            raise
        why = str(error)
    raise StatusError(Status.INVALID_PARAMETER, f"{path}: the packed data is damaged: {why}")


def _look(path: str, file: Any) -> bytes:
    """The magic bytes with which a packed file that is read begins; none for others. StatusError
    INVALID_PARAMETER for what is known, and no map.
    """
    start = file.peek(8)
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise StatusError(Status.INVALID_PARAMETER, f"{path}: this is {what}")
    return next((magic for magic in _UNPACKERS if start.startswith(magic)), b"")


def encoding_of(head: bytes) -> str:
    """The name of a text's encoding by its first bytes: a byte order mark, or zeros in every other
    byte; else UTF-8.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = head[:4096]
    half = len(sample) // 2
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = sample[offset::2].count(0), sample[1 - offset :: 2]
        if half >= 8 and zeros * 10 >= half * 9 and not others.count(0) and not is_binary(others):
            return name
    return "utf-8-sig"


def is_binary(head: bytes) -> bool:
    """True when bytes are no text: NUL bytes alone, or one in twenty of the others is a control
    character.
    """
    rest = head.replace(b"\0", b"")
    return bool(head) and (len(rest) - len(rest.translate(None, _CONTROLS))) * 20 >= len(rest)


def text_blocks(head: bytes, file: IO[bytes], encoding: str, where: str) -> Iterator[str]:
    """The text of a file whose first bytes are `head`, without NUL characters. StatusError
    FILE_TOO_LARGE beyond MOST_UNPACKED.
    """
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    block, size = head, 0
    while block:
        size += len(block)
        if size > MOST_UNPACKED:
            raise StatusError(
                Status.FILE_TOO_LARGE,
                f"{where}: more than {MOST_UNPACKED >> 30} GiB of text; cut the boot's "
                "lines out of it",
            )
        yield decoder.decode(block).replace("\0", "")
        block = file.read(_BLOCK)
    yield decoder.decode(b"", True)


def pieces(blocks: Iterator[str], remarks: Remarks) -> Iterator[tuple[int, str]]:
    """Pieces of whole lines, each with the number of its first line; what a line has beyond
    MOST_LINE is left out, with a remark.
    """
    number, rest, cut = 1, "", False
    for block in blocks:
        if cut:
            _, newline, block = block.partition("\n")
            if not newline:
                continue
            yield number, rest
            number, rest, cut = number + 1, "", False
        whole, newline, rest = (rest + block).rpartition("\n")
        if newline:
            yield number, whole
            number += whole.count("\n") + 1
        if len(rest) > MOST_LINE:
            remarks.add(
                f"the line is longer than {MOST_LINE} characters; what is behind is not read",
                number,
            )
            rest, cut = rest[:MOST_LINE], True
    yield number, rest


def messages(parts: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The pieces, in which each message that journald wrote in JSON as an array of bytes is text;
    numbers of lines stay.

    `journalctl -o json` does so with what has control characters, such as colours; `-o json-pretty`
    has such an array in many lines.
    """
    number, held = 0, ""
    for at, piece in parts:
        number, piece = (number, f"{held}\n{piece}") if held else (at, piece)
        held = ""
        if '"MESSAGE"' in piece:
            piece = re.sub(_BYTES, _as_text, piece)
            if (cut := re.search(_CUT, piece)) and len(piece) - cut.start() <= MOST_LINE:
                piece, held = piece[: cut.start()], piece[cut.start() :]
        yield number, piece
        number += piece.count("\n")
    if held:
        yield number, held


def _as_text(array: re.Match[str]) -> str:
    """The array as a JSON string, its line ends behind; as it is when it is no array of bytes."""
    try:
        data = bytes(map(int, array[1].split(",")))
    except ValueError:
        return array[0]
    return (
        f'"MESSAGE":{json.dumps(data.decode("utf-8", "replace"), ensure_ascii=False)}'
        + "\n" * array[0].count("\n")
    )


def clean(line: str) -> list[str]:
    """The lines that a line has by CR, or by "\\n" in JSON: without colours, the mail encoding of
    "=", and what surrounds them.
    """
    if "[" in line:
        line = re.sub(_COLOUR, "", line)
    return [part.strip() for part in line.replace("=3D", "=").replace("\\n", "\r").split("\r")]
