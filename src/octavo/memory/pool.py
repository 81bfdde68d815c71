"""Pools: memory of any size for the kernel, with a tag on every allocation.

A page of a pool is a chain of blocks. Sizes are in units of 16 bytes (32-bit formats: 8). A header, one unit, lies before the
caller's bytes, which are aligned to a unit:

    u16  units of the block before it, 0 for the first    u16  units of this block    u32  tag
    (16-byte units)  u32  check: CRC-32 of the 8 bytes before and of the address    u32  bytes asked for

A block is allocated when bit 15 of its size is set. Free blocks stand on a list for each size, the last freed first, and the
list of the exact size is looked at before larger ones; freed blocks merge with free neighbours, and a page that is one free
block goes back. More than a page less header and one unit gets whole pages. Small blocks pass through a lookaside list of
the CPU first, up to LOOKASIDE_UNITS and LOOKASIDE_DEPTH, without merging.

    tags         who allocates: counts and bytes by tag, `leaks` since a snapshot
    quota        an owner may be charged; beyond its limit allocation fails with QUOTA_EXCEEDED
    special      a tag whose allocations each get pages of their own, their last byte before an unmapped guard page
                 (`special[tag] = "under"`: their first byte behind one), the rest filled with a pattern
    PoolError    names tag, address and what is wrong: freed twice, wrong tag, a header overwritten and by whose block

Source: NT's pool (headers, tags, lookaside, special pool), ExectOS's alloc.cc (limits of 4064 and 4080 bytes). Departures:
the exact size is found first, where the original looked one list too high; a check word guards each 16-byte header.
"""

from __future__ import annotations

import struct
import zlib
from collections import defaultdict
from dataclasses import dataclass, field

from octavo.machine.ram import PAGE_SIZE
from octavo.memory.kernelspace import KernelSpace
from octavo.memory.poolpages import PoolPages
from octavo.memory.specialpool import SpecialPool
from octavo.status import Status, StatusError

MOST_TAGS = 1024
OVERFLOW_TAG = "Ovfl"
DEFAULT_TAG = "None"
LOOKASIDE_UNITS = 32
LOOKASIDE_DEPTH = 32
_USED = 0x8000
_HEADER = struct.Struct("<HH4s")


class PoolError(AssertionError):
    """A caller's mistake with pool memory."""


@dataclass
class TagCounts:
    """What one tag has done; bytes as asked for."""

    allocations: int = 0
    frees: int = 0
    bytes: int = 0
    peak: int = 0


@dataclass(eq=False)
class Quota:
    """An owner's share: `used` of `limit` bytes."""

    name: str
    limit: int
    used: int = 0


@dataclass(eq=False)
class _Live:
    """What the ledger knows of an allocation."""

    size: int
    tag: str
    quota: Quota | None
    pages: int = 0  # of a large one
    special: bool = False


@dataclass(eq=False)
class Pool:
    """A pool over `pages`; `unit` is 16 or 8 bytes."""

    name: str
    pages: PoolPages
    unit: int = 16
    cpus: int = 1
    specials: SpecialPool | None = None
    special: dict[str, str] = field(default_factory=dict)  # tag -> "over" or "under"

    def __post_init__(self) -> None:
        self.space: KernelSpace = self.pages.space
        self.page_units = PAGE_SIZE // self.unit
        self.largest = PAGE_SIZE - 2 * self.unit
        self.free_lists: list[dict[int, None]] = [{} for _ in range(self.page_units + 1)]
        self.lookaside: list[list[list[int]]] = [[[] for _ in range(LOOKASIDE_UNITS + 1)] for _ in range(self.cpus)]
        self.live: dict[int, _Live] = {}
        self.tags: dict[str, TagCounts] = {}
        self.block_pages: set[int] = set()
        self.lookaside_hits = 0

    # -- headers --------------------------------------------------------------------------------------------------

    def _bytes(self, address: int, size: int) -> memoryview:
        """Bytes that lie in one page."""
        physical = self.space.touch(address)
        return self.space.physical.ram.bytes[physical : physical + size]

    def _write_header(self, block: int, before: int, units: int, used: bool, tag: bytes = b"Free", size: int = 0) -> None:
        head = _HEADER.pack(before, units | (_USED if used else 0), tag)
        if self.unit == 16:
            head += struct.pack("<II", zlib.crc32(head + block.to_bytes(8, "little")), size)
        self._bytes(block, self.unit)[:] = head

    def _read_header(self, block: int) -> tuple[int, int, bool, str]:
        """(units before, units, used, tag); PoolError where it cannot be a header."""
        raw = bytes(self._bytes(block, self.unit))
        before, units, tag = _HEADER.unpack(raw[:8])
        used, units = bool(units & _USED), units & ~_USED
        at = (block % PAGE_SIZE) // self.unit
        fits = 0 < units <= self.page_units - at and before <= at and (before > 0) == (at > 0)
        if not fits or (self.unit == 16 and struct.unpack("<I", raw[8:12])[0] != zlib.crc32(raw[:8] + block.to_bytes(8, "little"))):
            raise PoolError(f"{self.name}: the pool header at {block:#x} was overwritten; {self._blame(block)}")
        return before, units, used, tag.decode("ascii", "replace").rstrip("\0")

    def _blame(self, block: int) -> str:
        """Whose bytes end right before a block."""
        start = block // PAGE_SIZE * PAGE_SIZE
        inside = [a for a in self.live if start <= a < block]
        if not inside:
            return "no allocation lies before it in its page"
        owner = self.live[max(inside)]
        return f"before it lies the allocation {owner.tag} of {owner.size} bytes at {max(inside):#x}"

    # -- allocation -----------------------------------------------------------------------------------------------

    def allocate(self, size: int, tag: str = DEFAULT_TAG, quota: Quota | None = None, cpu: int = 0) -> int:
        """The address of `size` bytes (0 counts as 1), aligned to a unit; more than `largest` to a page. What they hold is not defined.

        StatusError NO_MEMORY, QUOTA_EXCEEDED, or INVALID_PARAMETER for a tag that is not 1 to 4 ASCII characters.
        """
        size = max(size, 1)
        if not 1 <= len(tag) <= 4 or not tag.isascii():
            raise StatusError(Status.INVALID_PARAMETER, f"{self.name}: {tag!r} is no pool tag: one to four ASCII characters")
        if quota is not None and quota.used + size > quota.limit:
            raise StatusError(Status.QUOTA_EXCEEDED, f"{self.name}: {quota.name} has {quota.used} of {quota.limit} bytes and asks for {size} more ({tag})")
        entry = _Live(size, tag, quota)
        if tag in self.special and self.specials is not None and size <= PAGE_SIZE:
            address = self.specials.allocate(size, self.special[tag] == "under")
            entry.special = True
        elif size > self.largest:
            entry.pages = -(-size // PAGE_SIZE)
            address = self.pages.allocate(entry.pages)
        else:
            address = self._allocate_block(-(-size // self.unit) + 1, tag, size, cpu)
        if not address:
            raise StatusError(Status.NO_MEMORY, f"{self.name}: out of memory: {size} bytes for {tag}")
        self.live[address] = entry
        self._charge(entry, 1)
        return address

    def _charge(self, entry: _Live, sign: int) -> None:
        if entry.tag not in self.tags and len(self.tags) >= MOST_TAGS:
            entry.tag = OVERFLOW_TAG
        counts = self.tags.setdefault(entry.tag, TagCounts())
        counts.bytes += sign * entry.size
        if sign > 0:
            counts.allocations += 1
            counts.peak = max(counts.peak, counts.bytes)
        else:
            counts.frees += 1
        if entry.quota is not None:
            entry.quota.used += sign * entry.size

    def _allocate_block(self, units: int, tag: str, size: int, cpu: int) -> int:
        """The caller's address in a block of `units`, or 0."""
        if units <= LOOKASIDE_UNITS and self.lookaside[cpu][units]:
            block = self.lookaside[cpu][units].pop()
            before, units, _, _ = self._read_header(block)
            self.lookaside_hits += 1
        else:
            have = next((n for n in range(units, self.page_units + 1) if self.free_lists[n]), 0)
            block = next(reversed(self.free_lists[have])) if have else self._new_page()
            if not block:
                return 0
            before, have, used, _ = self._read_header(block)
            if used or block not in self.free_lists[have]:
                raise PoolError(f"{self.name}: the pool header at {block:#x} was overwritten; {self._blame(block)}")
            del self.free_lists[have][block]
            if have > units:
                self._write_free(block + units * self.unit, units, have - units)
            else:
                units = have
        self._write_header(block, before, units, True, tag.encode().ljust(4, b"\0"), size)
        return block + self.unit

    def _write_free(self, block: int, before: int, units: int) -> None:
        """Makes a free block, and tells the one behind it."""
        self._write_header(block, before, units, False)
        self.free_lists[units][block] = None
        behind = block + units * self.unit
        if behind % PAGE_SIZE:
            _, size, used, _ = self._read_header(behind)
            raw = bytes(self._bytes(behind, self.unit))
            asked = struct.unpack("<I", raw[12:16])[0] if self.unit == 16 else 0
            self._write_header(behind, units, size, used, raw[4:8], asked)

    def _new_page(self) -> int:
        page = self.pages.allocate(1)
        if page:
            self.block_pages.add(page)
            self._write_free(page, 0, self.page_units)
        return page

    # -- freeing --------------------------------------------------------------------------------------------------

    def free(self, address: int, tag: str = "", cpu: int = 0) -> None:
        """Gives an allocation back; with `tag`, only if it is of that tag. PoolError for what is not right with it."""
        entry = self.live.get(address)
        if entry is None:
            raise PoolError(f"{self.name}: {address:#x} is freed and is not allocated: freed twice, or never this pool's")
        if tag and tag != entry.tag and entry.tag != OVERFLOW_TAG:
            raise PoolError(f"{self.name}: {address:#x} is freed as {tag} and was allocated as {entry.tag}")
        if entry.special and self.specials is not None:
            wrong = self.specials.free(address, entry.size)
            if wrong:
                raise PoolError(f"{self.name}: the allocation {entry.tag} of {entry.size} bytes at {address:#x} was {wrong}")
        elif entry.pages:
            self.pages.free(address, entry.pages)
        else:
            self._free_block(address - self.unit, entry, cpu)
        del self.live[address]
        self._charge(entry, -1)

    def _free_block(self, block: int, entry: _Live, cpu: int) -> None:
        before, units, used, tag = self._read_header(block)
        if not used or (tag != entry.tag and entry.tag != OVERFLOW_TAG):
            raise PoolError(f"{self.name}: the pool header at {block:#x} was overwritten; {self._blame(block)}")
        behind = block + units * self.unit
        if behind % PAGE_SIZE:
            seen = self._read_header(behind)
            if seen[0] != units:
                raise PoolError(f"{self.name}: the pool header at {behind:#x} was overwritten; {self._blame(behind)}")
        if units <= LOOKASIDE_UNITS and len(self.lookaside[cpu][units]) < LOOKASIDE_DEPTH:
            self._write_header(block, before, units, True, b"Look")
            self.lookaside[cpu][units].append(block)
            return
        self._merge(block, before, units)

    def _merge(self, block: int, before: int, units: int) -> None:
        """Frees a block: joins it with free neighbours, and gives a page that is wholly free back."""
        behind = block + units * self.unit
        if behind % PAGE_SIZE:
            _, size, used, _ = self._read_header(behind)
            if not used:
                del self.free_lists[size][behind]
                units += size
        if before:
            front = block - before * self.unit
            earlier, size, used, _ = self._read_header(front)
            if not used:
                del self.free_lists[size][front]
                block, before, units = front, earlier, units + size
        if units == self.page_units:
            self.block_pages.discard(block)
            self.pages.free(block, 1)
        else:
            self._write_free(block, before, units)

    def trim(self) -> None:
        """Empties the lookaside lists."""
        for lists in self.lookaside:
            for stack in lists:
                while stack:
                    block = stack.pop()
                    before, units, _, _ = self._read_header(block)
                    self._merge(block, before, units)

    # -- reports --------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, int]:
        """Bytes by tag now, to be handed to `leaks` later."""
        return {tag: counts.bytes for tag, counts in self.tags.items()}

    def leaks(self, since: dict[str, int] | None = None) -> list[tuple[str, int, int]]:
        """(tag, allocations, bytes) of what was allocated and not freed, or of tags that have more than at the snapshot; most bytes first."""
        since = since or {}
        held: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for entry in self.live.values():
            held[entry.tag][0] += 1
            held[entry.tag][1] += entry.size
        rows = [(tag, count, size) for tag, (count, size) in held.items() if size > since.get(tag, 0)]
        return sorted(rows, key=lambda row: -row[2])

    def statistics(self) -> dict[str, object]:
        """Pages, allocations and bytes."""
        return {
            **self.pages.statistics(),
            "allocations": len(self.live),
            "bytes": sum(e.size for e in self.live.values()),
            "lookaside_hits": self.lookaside_hits,
            "tags": {tag: vars(counts) for tag, counts in sorted(self.tags.items())},
        }

    def check(self) -> None:
        """Every page is a chain of blocks from end to end; no two free neighbours; lists, lookaside and ledger agree with headers."""
        kept = {block for lists in self.lookaside for stack in lists for block in stack}
        used_blocks, free_blocks = set(), {}
        for page in self.block_pages:
            block, expected, last_free = page, 0, False
            while block < page + PAGE_SIZE:
                before, units, used, _ = self._read_header(block)
                assert before == expected, f"block {block:#x} does not follow the one before it"
                assert used or not last_free, f"free blocks at {block:#x} are not merged"
                (used_blocks.add(block) if used else free_blocks.update({block: units}))
                expected, last_free, block = units, not used, block + units * self.unit
        small = {a - self.unit for a, e in self.live.items() if not e.pages and not e.special}
        assert used_blocks == small | kept and not small & kept
        assert free_blocks == {b: n for n, blocks in enumerate(self.free_lists) for b in blocks}
        assert all(self.tags[t].bytes == sum(e.size for e in self.live.values() if e.tag == t) for t in self.tags)
        self.pages.check()
