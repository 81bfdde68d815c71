"""Files as commands read them: in chunks, as lines, as text for people.

What is read is what is there when reading begins: a file that grows meanwhile, by its own output
above all, has an end. No line takes more than MOST_BYTES of memory: a longer one, as a file that
is no text may have, comes in pieces of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from octavo.files import File

CHUNK = 1 << 16
MOST_BYTES = 1 << 16  # of a line


def chunks(file: File, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The bytes of a file from `start` to `end`, or to where it ends now."""
    file.seek(start)
    left = (file.size if end is None else min(end, file.size)) - start
    while left > 0 and (data := file.read(min(CHUNK, left))):
        left -= len(data)
        yield data


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in pieces of a file, with their ends."""
    tail = b""
    for data in pieces:
        *whole, tail = (tail + data).split(b"\n")
        for line in whole:
            yield from _cut(line + b"\n", len(line) + 1)
        keep = len(tail) % MOST_BYTES
        yield from _cut(tail, len(tail) - keep)
        tail = tail[len(tail) - keep :]
    if tail:
        yield tail


def _cut(line: bytes, end: int) -> Iterator[bytes]:
    """A line up to `end`, in pieces."""
    for at in range(0, end, MOST_BYTES):
        yield line[at : min(at + MOST_BYTES, end)]


def text(line: bytes) -> str:
    """A line without its end, as text; what is no UTF-8 is shown as U+FFFD."""
    return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace")
