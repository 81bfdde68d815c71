"""Blocks of a pool: pages that are chains of blocks, each with a header, from one end to the other.

Sizes are in units of 16 bytes (32-bit formats: 8). A header, one unit, lies before the caller's
bytes, which are aligned to a unit:

    u16  units of the block before it, 0 for the first    u16  units of this block    u32  tag
    (16-byte units)  u32  bytes asked for
                     u32  check: CRC-32 of the 12 bytes before, begun with the address

A block is allocated when bit 15 of its size is set. Free blocks stand on a list for each size, the
last freed first, and the list of the exact size is looked at before larger ones; freed blocks merge
with free neighbours, and a page that is one free block goes back. Small blocks pass through a
lookaside list of the CPU first, up to LOOKASIDE_UNITS and LOOKASIDE_DEPTH, without merging. Every
header that a call needs is read before the first is written, so that a call that finds one
overwritten has changed nothing.

Source: NT's pool (headers, tags, lookaside), ExectOS's alloc.cc. Departures: the exact size is
found first, where the original looked one list too high; a check word guards each 16-byte header.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from octavo.heap.poolpages import PoolPages
from octavo.machine.abi import PAGE_SIZE

LOOKASIDE_UNITS = 32
LOOKASIDE_DEPTH = 32
_FREE, _KEPT = b"Free", b"Look"
_USED = 0x8000
_HEADER = struct.Struct("<HH4s")
_WIDE = struct.Struct("<HH4sI")
_CHECK = struct.Struct("<I")


class PoolError(AssertionError):
    """A caller's mistake with pool memory."""


class Header(NamedTuple):
    """What lies before a block; sizes in units, `size` in bytes (0 in 8-byte headers, which have no
    room for it).
    """

    before: int
    units: int
    used: bool
    tag: bytes
    size: int


class PoolBlocks:
    """The blocks of the pool called `name`; `beside` says for an error which allocations lie before
    and behind an address.
    """

    def __init__(
        self, name: str, pages: PoolPages, unit: int, cpus: int, beside: Callable[[int], str]
    ) -> None:
        self.name, self.pages, self.unit, self._beside = name, pages, unit, beside
        self.space = pages.space
        self.page_units = PAGE_SIZE // unit
        self.free_lists: list[dict[int, None]] = [{} for _ in range(self.page_units + 1)]
        self.lookaside: list[list[list[int]]] = [
            [[] for _ in range(LOOKASIDE_UNITS + 1)] for _ in range(cpus)
        ]
        self.block_pages: set[int] = set()
        self.lookaside_hits = 0

    # -- headers ----------------------------------------------------------------------------------

    def _write(self, block: int, head: Header) -> None:
        units = head.units | _USED if head.used else head.units
        if self.unit == 16:
            raw = _WIDE.pack(head.before, units, head.tag, head.size)
            raw += _CHECK.pack(zlib.crc32(raw, block & 0xFFFFFFFF))
        else:
            raw = _HEADER.pack(head.before, units, head.tag)
        physical = self.space.touch(block)
        self.space.physical.ram.bytes[physical : physical + self.unit] = raw

    def _read(self, block: int) -> Header:
        """PoolError where it cannot be a header."""
        physical = self.space.touch(block)
        raw = bytes(self.space.physical.ram.bytes[physical : physical + self.unit])
        before, units, tag = _HEADER.unpack_from(raw)
        used, units, size = units >= _USED, units & ~_USED, 0
        if self.unit == 16:
            size, check = struct.unpack_from("<II", raw, 8)
            if check != zlib.crc32(raw[:12], block & 0xFFFFFFFF):
                raise self._damaged(block)
        at = block % PAGE_SIZE // self.unit
        if not 0 < units <= self.page_units - at or before > at or (before > 0) != (at > 0):
            raise self._damaged(block)
        if not used and (tag != _FREE or block not in self.free_lists[units]):
            raise self._damaged(block)
        return Header(before, units, used, tag, size)

    def _damaged(self, block: int) -> PoolError:
        return PoolError(
            f"{self.name}: the pool header at {block:#x} was overwritten; {self._beside(block)}"
        )

    def _behind(self, block: int, units: int) -> tuple[int, Header] | None:
        """The block behind one of so many units, None at the end of its page."""
        behind = block + units * self.unit
        if behind % PAGE_SIZE == 0:
            return None
        head = self._read(behind)
        if head.before != units:
            raise self._damaged(behind)
        return behind, head

    def _add(self, block: int, before: int, units: int, behind: tuple[int, Header] | None) -> None:
        """Makes a free block, and tells the one behind it."""
        self._write(block, Header(before, units, False, _FREE, 0))
        self.free_lists[units][block] = None
        if behind is not None:
            self._write(behind[0], behind[1]._replace(before=units))

    # -- allocation and freeing -------------------------------------------------------------------

    def allocate(self, units: int, tag: bytes, size: int, cpu: int) -> int:
        """A block of `units` for `size` bytes, or 0. PoolError where a header that is needed was
        overwritten.
        """
        kept = self.lookaside[cpu][units] if units <= LOOKASIDE_UNITS else None
        if kept:
            block = kept[-1]
            before, _, used, mark, _ = self._read(block)
            if not used or mark != _KEPT:
                raise self._damaged(block)
            kept.pop()
            self.lookaside_hits += 1
        else:
            block, before = self._cut(units)
        if block:
            self._write(block, Header(before, units, True, tag, size if self.unit == 16 else 0))
        return block

    def _cut(self, units: int) -> tuple[int, int]:
        """Takes `units` off a free block, which is the smallest that has them: (block, units before
        it), or (0, 0).
        """
        have = next((n for n in range(units, self.page_units + 1) if self.free_lists[n]), 0)
        block = next(reversed(self.free_lists[have])) if have else self._new_page()
        if not block:
            return 0, 0
        head = self._read(block)
        if head.used or head.units != (have or self.page_units):
            raise self._damaged(block)
        rest = head.units - units
        behind = self._behind(block, head.units)
        del self.free_lists[head.units][block]
        if rest:
            self._add(block + units * self.unit, units, rest, behind)
        return block, head.before

    def _new_page(self) -> int:
        page = self.pages.allocate(1)
        if page:
            self.block_pages.add(page)
            self._add(page, 0, self.page_units, None)
        return page

    def free(self, block: int, tag: bytes, size: int, cpu: int) -> None:
        """Gives back a block that was allocated with that tag and size.

        PoolError where its header, or the one behind it, was overwritten.
        """
        head = self._read(block)
        if not head.used or head.tag != tag or (self.unit == 16 and head.size != size):
            raise self._damaged(block)
        behind = self._behind(block, head.units)
        if head.units <= LOOKASIDE_UNITS and len(self.lookaside[cpu][head.units]) < LOOKASIDE_DEPTH:
            self._write(block, Header(head.before, head.units, True, _KEPT, 0))
            self.lookaside[cpu][head.units].append(block)
        else:
            self._merge(block, head, behind)

    def _merge(self, block: int, head: Header, behind: tuple[int, Header] | None) -> None:
        """Frees a block: joins it with free neighbours, gives back a page that is wholly free."""
        before, units = head.before, head.units
        front = block - before * self.unit
        ahead = self._read(front) if before else None
        if ahead is not None and ahead.units != before:
            raise self._damaged(front)
        joined = behind if behind is not None and not behind[1].used else None
        beyond = self._behind(*_place(joined)) if joined else behind
        if joined:
            del self.free_lists[joined[1].units][joined[0]]
            units += joined[1].units
        if ahead is not None and not ahead.used:
            del self.free_lists[ahead.units][front]
            block, before, units = front, ahead.before, units + ahead.units
        if units == self.page_units:
            self.block_pages.discard(block)
            self.pages.free(block, 1)
        else:
            self._add(block, before, units, beyond)

    def trim(self) -> None:
        """Empties the lookaside lists."""
        for lists in self.lookaside:
            for stack in lists:
                while stack:
                    head = self._read(stack[-1])
                    behind = self._behind(stack[-1], head.units)
                    self._merge(stack[-1], head, behind)
                    stack.pop()

    def check(self, live: dict[int, tuple[bytes, int]]) -> None:
        """Pages are chains of blocks from end to end, without two free neighbours.

        Headers agree with the lists and with `live`, which has the tag and the size of each block
        that is allocated.
        """
        kept = [block for lists in self.lookaside for stack in lists for block in stack]
        expected = {**live, **dict.fromkeys(kept, (_KEPT, 0))}
        assert len(expected) == len(live) + len(kept), (
            f"{self.name}: a block is on a lookaside list twice, or allocated"
        )
        free: dict[int, int] = {}
        for page in self.block_pages:
            block, before, last_free = page, 0, False
            while block < page + PAGE_SIZE:
                head = self._read(block)
                known = expected.pop(block, None)
                tag, size = known or (_FREE, 0)
                if head[:1] + head[2:] != (
                    before,
                    known is not None,
                    tag,
                    size if self.unit == 16 else 0,
                ):
                    raise self._damaged(block)
                assert head.used or not last_free, (
                    f"{self.name}: free blocks at {block:#x} are not merged"
                )
                if not head.used:
                    free[block] = head.units
                before, last_free, block = head.units, not head.used, block + head.units * self.unit
        assert not expected, f"{self.name}: {len(expected)} blocks are in no page's chain"
        listed = {b: n for n, blocks in enumerate(self.free_lists) for b in blocks}
        assert free == listed, f"{self.name}: lists and chains of free blocks disagree"


def _place(block: tuple[int, Header]) -> tuple[int, int]:
    return block[0], block[1].units
