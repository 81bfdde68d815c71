"""What verify mode lays around the objects of a slab cache, and what it finds there.

    | guard | object, 0xdeadbeef while free, | guard |            | tag: given |      |
    | 0xbb  | 0xbaddcafe when given          | 0xbb  | 0xfeedface | or free    | link |

Each guard has at least 16 bytes, the one behind with the red zone 0xfeedface. The tag and the link
of the free list lie behind both, where the write of one byte too many, or of sixteen, does not come
to. An object that a constructor has set up keeps its bytes while it is free; a CRC-32 of them
stands for the pattern.

What is wrong is said by the name of the cache, what happened, and who allocated or freed the object
last.

Source: GNU Mach's kern/slab.c (patterns, tags). Departures: errors are exceptions, not a panic; a
guard before each object.
"""

from __future__ import annotations

import struct
import zlib

from octavo.machine.ram import Ram

GUARD = 16
BYTE = b"\xbb"
FREED, UNSET, _REDZONE = (struct.pack("<I", word) for word in (0xDEADBEEF, 0xBADDCAFE, 0xFEEDFACE))
GIVEN_TAG, FREE_TAG = b"\xed\x0c\x11\xa1", b"\x0f\xee\x11\xa1"
_LINK = 4


class SlabError(AssertionError):
    """A caller's mistake with an object: freed twice, written past its end or after it was freed,
    or never allocated.
    """


class Guards:
    """The guards of the cache called `name`, whose objects have `size` bytes, and are a
    constructor's if `constructed`.
    """

    def __init__(self, ram: Ram, name: str, size: int, align: int, constructed: bool) -> None:
        self.ram, self.name, self.size, self.constructed = ram, name, size, constructed
        self.before = max(GUARD, align)
        behind = GUARD + -size % 4  # ends with the red zone
        self.buffer = -(-(self.before + size + behind + len(GIVEN_TAG) + _LINK) // align) * align
        self.behind = self.buffer - self.before - size - len(GIVEN_TAG) - _LINK
        self.callers: dict[int, str] = {}  # who last allocated or freed an object
        self._sums: dict[int, int] = {}  # of free objects that are a constructor's

    def lay(self, address: int, tag: bytes) -> None:
        """Writes the guards of an object that is given or free now and, where no constructor owns
        them, a pattern into its bytes.
        """
        data, end = self.ram.bytes, address + self.size
        if not self.constructed:
            data[address:end] = self._pattern(FREED if tag == FREE_TAG else UNSET)
        elif tag == FREE_TAG:
            self._sums[address] = zlib.crc32(data[address:end])
        data[address - self.before : address] = BYTE * self.before
        data[end : end + self.behind + len(tag)] = self._guard() + tag

    def _pattern(self, word: bytes) -> bytes:
        return (word * (self.size // 4 + 1))[: self.size]

    def _guard(self) -> bytes:
        """What lies between the object and its tag."""
        return BYTE * (self.behind - len(_REDZONE)) + _REDZONE

    def inspect(self, address: int, tag: bytes, freeing: bool = False) -> None:
        """SlabError when what lies around an object, or in one that is free, is not what was laid
        there.
        """
        data, end = self.ram.bytes, address + self.size
        if (at := _differs(data[end : end + self.behind], self._guard())) >= 0:
            raise self._error(address, f"was written past its end, {at} bytes behind it")
        if (at := _differs(data[address - self.before : address][::-1], BYTE * self.before)) >= 0:
            raise self._error(
                address, f"was written before its beginning, {at + 1} bytes before it"
            )
        found = bytes(data[end + self.behind : end + self.behind + len(tag)])
        if found != tag:
            raise self._error(
                address,
                "is freed twice"
                if freeing and found == FREE_TAG
                else f"has a damaged tag {found.hex()}",
            )
        if tag == FREE_TAG:
            self._inspect_free(address)

    def _inspect_free(self, address: int) -> None:
        found = self.ram.bytes[address : address + self.size]
        if self.constructed:
            if self._sums.get(address) != zlib.crc32(found):
                raise self._error(address, "was written after it was freed")
        elif (at := _differs(found, self._pattern(FREED))) >= 0:
            raise self._error(address, f"was written at byte {at} after it was freed")

    def _error(self, address: int, what: str) -> SlabError:
        last = self.callers.get(address, "it was never allocated")
        return SlabError(f"cache {self.name}: the object at {address:#x} {what}; {last}")


def _differs(found: memoryview, expected: bytes) -> int:
    """Where two runs of bytes of one length begin to differ; -1 where they do not."""
    if bytes(found) == expected:  # as bytes they are compared at the speed of memcmp
        return -1
    return next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
