"""A picture of physical memory: one pixel a frame, its colour the frame's state.

Rows are a power of two wide, so that blocks of the buddy allocator are rectangles. Where the machine has more frames than
MOST_PIXELS, a pixel shows the first of the frames that share it.

The PNG is written here: indexed colour, one zlib stream (W3C PNG, third edition).
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from octavo.memory.pfn import STATE, PfnDatabase, State

MOST_PIXELS = 1 << 22
COLOURS = {
    State.ZEROED: (0xD9, 0xF0, 0xD3),
    State.FREE: (0x7F, 0xBF, 0x7B),
    State.STANDBY: (0x92, 0xC5, 0xDE),
    State.MODIFIED: (0xF4, 0xA5, 0x82),
    State.BAD: (0x00, 0x00, 0x00),
    State.ACTIVE: (0x21, 0x66, 0xAC),
    State.TRANSITION: (0xE7, 0xD4, 0x2A),
    State.ABSENT: (0xE8, 0xE8, 0xE8),
    State.POOLED: (0x1B, 0x78, 0x37),
}


def picture(pfns: PfnDatabase) -> tuple[npt.NDArray[np.uint8], int]:
    """The states as an array of shape (height, width), uint8, and the number of frames that share a pixel."""
    states = pfns.table[:, STATE]
    share = 1
    while -(-pfns.frames // share) > MOST_PIXELS:
        share *= 2
    pixels = states[::share].astype(np.uint8)
    width = 64
    while width * width < len(pixels):
        width *= 2
    out = np.full((-(-len(pixels) // width), width), int(State.ABSENT), np.uint8)
    out.reshape(-1)[: len(pixels)] = pixels
    return out, share


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of states, shape (height, width)."""
    height, width = pixels.shape
    palette = b"".join(bytes(COLOURS.get(State(i), (255, 0, 255)) if i in list(State) else (255, 0, 255)) for i in range(max(State) + 1))
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter, 0
    rows[:, 1:] = pixels
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)), (b"PLTE", palette), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts)
