"""Files of the host with holes: blocks of zeros are not written, and take no room there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

BLOCK = 4096  # bytes, as file systems of hosts mostly have
_ZEROS = bytes(BLOCK)


def has_holes(data: memoryview) -> bool:
    """Whether the beginning of a file has a block of zeros."""
    places = range(0, len(data) - BLOCK + 1, BLOCK)
    return any(data[at : at + BLOCK] == _ZEROS for at in places)


def write_with_holes(fd: int, chunks: Iterable[bytes]) -> None:
    """Writes chunks one after the other to a new file, from where it is on; blocks of zeros
    become holes. OSError.
    """
    place = os.lseek(fd, 0, os.SEEK_CUR)
    for data in chunks:
        end = 0
        for start, end in _filled(data):
            _write(fd, memoryview(data)[start:end], place + start)
        place += len(data)
        if end < len(data):
            os.ftruncate(fd, place)


def _filled(data: bytes) -> Iterator[tuple[int, int]]:
    """(first, end) of the bytes to be written."""
    if _ZEROS not in data:
        yield 0, len(data)
        return
    start = 0
    for at in range(0, len(data) - BLOCK + 1, BLOCK):
        if data.startswith(_ZEROS, at):
            if start < at:
                yield start, at
            start = at + BLOCK
    if start < len(data):
        yield start, len(data)


def _write(fd: int, data: memoryview, place: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], place + done)
