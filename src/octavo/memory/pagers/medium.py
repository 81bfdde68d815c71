"""What a pager asks of the place where bytes are kept: `octavo.storage.device` has devices that are
one.

An extent is a byte offset and the buffers, whole frames or parts of them, that lie there one after
the other. Nothing is copied: the medium reads into the frames and writes from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Extent = tuple[int, list[memoryview]]  # (byte offset on the medium, buffers)


class Medium(Protocol):
    """`size` bytes that are read and written in extents; each call raises StatusError as a
    whole.
    """

    name: str
    size: int

    async def read(self, extents: Sequence[Extent]) -> None:
        """Fills the buffers."""

    async def write(self, extents: Sequence[Extent]) -> None:
        """Writes the buffers."""

    async def flush(self) -> None:
        """Returns when all that was written is on stable storage."""


def merge(extents: list[Extent], most_bytes: int, most_buffers: int) -> list[Extent]:
    """Sorts extents by offset and joins those that touch, up to `most_bytes` and `most_buffers` in
    one.
    """
    out: list[Extent] = []
    end = size = -1
    for offset, buffers in sorted(extents, key=lambda e: e[0]):
        length = sum(map(len, buffers))
        if (
            offset == end
            and size + length <= most_bytes
            and len(out[-1][1]) + len(buffers) <= most_buffers
        ):
            out[-1][1].extend(buffers)
            size += length
        else:
            out.append((offset, list(buffers)))
            size = length
        end = offset + length
    return out
