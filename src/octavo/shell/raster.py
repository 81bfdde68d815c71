"""Small pictures with small letters: an array of palette indices, rectangles, text, and a PNG of
it.

Letters are 3 x 5 dots, capitals only, drawn DOT pixels a dot; what has no letter is a question
mark. A PNG has indexed colours and one zlib stream (W3C PNG, third edition).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

DOT = 2
LETTER = 4 * DOT  # pixels from one letter to the next
LINE = 5 * DOT  # pixels of a line's height
Colour = tuple[int, int, int]

_LETTERS = {  # five rows of three dots, each row an octal digit
    "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644",
    "G": "34553", "H": "55755", "I": "72227", "J": "11152", "K": "55655", "L": "44447",
    "M": "57755", "N": "65555", "O": "25552", "P": "65644", "Q": "25563", "R": "65655",
    "S": "34216", "T": "72222", "U": "55557", "V": "55522", "W": "55775", "X": "55255",
    "Y": "55222", "Z": "71247",
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711",
    "5": "74717", "6": "74757", "7": "71122", "8": "75757", "9": "75717",
    " ": "00000", "-": "00700", ".": "00002", ",": "00024",
    ":": "02020", "%": "51245", "/": "11244", "(": "12221", ")": "42224",
    "'": "22000", "+": "02720", "=": "07070", "?": "71202",
}  # fmt: skip


class Raster:
    """A picture of `height` x `width` pixels, all of palette index 0 at first. `texts` are the
    boxes of its texts: x, y, width, height.
    """

    def __init__(self, width: int, height: int) -> None:
        self.pixels: npt.NDArray[np.uint8] = np.zeros((height, width), np.uint8)
        self.texts: list[tuple[int, int, int, int]] = []

    def fill(self, x: int, y: int, width: int, height: int, colour: int) -> None:
        """A rectangle."""
        self.pixels[y : y + height, x : x + width] = colour

    def text(self, x: int, y: int, text: str, colour: int) -> None:
        """A line of text whose upper left corner is at (x, y)."""
        shape = letters(text)
        self.texts.append((x, y, shape.shape[1], LINE))
        self.pixels[y : y + LINE, x : x + shape.shape[1]][shape] = colour

    def png(self, palette: Sequence[Colour]) -> bytes:
        """The picture as a PNG file."""
        height, width = self.pixels.shape
        rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter, 0
        rows[:, 1:] = self.pixels
        header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
        parts = [
            (b"IHDR", header),
            (b"PLTE", bytes(v for colour in palette for v in colour)),
            (b"IDAT", zlib.compress(rows.tobytes(), 6)),
            (b"IEND", b""),
        ]
        chunks = (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in parts
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def letters(text: str) -> npt.NDArray[np.bool_]:
    """The dots of a text, as an array of shape (LINE, LETTER * len(text))."""
    shapes = [_LETTERS.get(c, _LETTERS["?"]) for c in text.upper()]
    dots = np.array(
        [
            [[int(digit) >> bit & 1 for bit in (2, 1, 0)] + [0] for digit in shape]
            for shape in shapes
        ],
        bool,
    ).reshape(-1, 5, 4)
    line = dots.transpose(1, 0, 2).reshape(5, -1)
    return line.repeat(DOT, 0).repeat(DOT, 1)
