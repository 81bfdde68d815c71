"""Rows of int32 numbers, made by one sum of long integers.

    rising(7, 3)    7, 8, 9
    negated(7, 3)   -7, -8, -9
    same(7, 3)      7, 7, 7
    rises(words, 7) whether they are 7, 8, 9 ...

Tables of frames are filled and compared by such rows: frames in a row are pages in a row. A row of
128 numbers takes 1 us, as long as NumPy takes for it, and one of 8 takes a fifth of that; and what
lists and copies files then needs no NumPy, whose import takes longer than all the rest of a
start (docs/decisions/0020).

How: `ones[n]` is the integer whose n digits, to the base of 2^32, are all 1. first * ones[n] has n
digits `first`; adding the integer with the digits 0, 1, 2 ... makes them rise. No digit carries
while numbers stay in int32.
"""

from __future__ import annotations

MOST = 128  # numbers that are made in one sum; longer rows are made of several
_DIGIT = 1 << 32
_ONES, _RISE, _FALL = [0], [0], [0]  # for rows of 0 to MOST numbers
for _n in range(MOST):
    _place = _DIGIT**_n
    _ONES.append(_ONES[-1] + _place)
    _RISE.append(_RISE[-1] + _n * _place)
    _FALL.append(_FALL[-1] + (_DIGIT - _n) * _place)


def rising(first: int, count: int) -> memoryview:
    """The numbers from `first` (0 or more) on, each one higher, below 2^31."""
    return memoryview(_rising(first, count)).cast("i")


def rises(words: memoryview, first: int) -> bool:
    """Whether these int32 are the numbers from `first` on."""
    return words.tobytes() == _rising(first, len(words))


def _rising(first: int, count: int) -> bytes:
    if count <= MOST:
        return (_RISE[count] + first * _ONES[count]).to_bytes(count << 2, "little")
    return b"".join(_rising(first + at, min(MOST, count - at)) for at in range(0, count, MOST))


def negated(first: int, count: int) -> memoryview:
    """The numbers from -`first` (less than 0) on, each one lower, not below -2^31."""
    return memoryview(_negated(first, count)).cast("i")


def _negated(first: int, count: int) -> bytes:
    if count <= MOST:
        return (_FALL[count] - first * _ONES[count]).to_bytes(count << 2, "little")
    return b"".join(_negated(first + at, min(MOST, count - at)) for at in range(0, count, MOST))


def same(value: int, count: int) -> memoryview:
    """The same number again and again."""
    return memoryview(value.to_bytes(4, "little", signed=True) * count).cast("i")
