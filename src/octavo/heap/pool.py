"""Pools: memory of any size for the kernel, with a tag on every allocation.

Up to a page less two units comes from `octavo.heap.poolblocks`, more gets whole pages. Behind the
bytes that were asked for, as far as the allocation's own memory goes and up to SLACK bytes, lies a
pattern.

    tags         who allocates: counts and bytes by tag, `leaks` since a snapshot
    quota        an owner may be charged; beyond its limit allocation fails with QUOTA_EXCEEDED
    special      a tag whose allocations get pages of their own between guards:
                 `special[tag] = "over"` (its last byte before one) or "under" (its first byte
                 behind one)
    PoolError    names tag, address and what is wrong: freed twice, wrong tag, written past its end,
                 a header overwritten; and which allocations lie beside it

What is wrong is found when an allocation that it touches is freed, and by `check`. Not found, but
in the special pool: writes after the free that hit no header, and those that jump over the pattern
or, from an allocation that fills its pages, hit others that have whole pages. Nor is an address
that is freed again once it was given to somebody else under the same tag.

Source: NT's pool (tags, quota, special pool), ExectOS's alloc.cc (limits of 4064 and 4080 bytes).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from octavo.arguments import MOST_CPUS, hexed, invalid, shown, whole
from octavo.heap.hostlock import locked
from octavo.heap.kernelspace import KernelSpace
from octavo.heap.poolblocks import LOOKASIDE_DEPTH, LOOKASIDE_UNITS, PoolBlocks, PoolError
from octavo.heap.poolpages import PoolPages
from octavo.heap.specialpool import PATTERN, SpecialPool
from octavo.machine.abi import PAGE_SIZE
from octavo.status import Status, StatusError
from octavo.threads.workers import HostLock

if TYPE_CHECKING:
    from octavo.statistics import PoolStatistics

__all__ = [
    "LOOKASIDE_DEPTH",
    "LOOKASIDE_UNITS",
    "MOST_TAGS",
    "Pool",
    "PoolError",
    "Quota",
    "TagCounts",
]

MOST_TAGS = 1024
OVERFLOW_TAG = "Ovfl"
DEFAULT_TAG = "None"
SLACK = 16
_SLACK = bytes([PATTERN]) * SLACK


@dataclass
class TagCounts:
    """What one tag has done; bytes as asked for."""

    allocations: int = 0
    frees: int = 0
    bytes: int = 0
    peak: int = 0


@dataclass(eq=False)
class Quota:
    """An owner's share: `used` of `limit` bytes. StatusError INVALID_PARAMETER for a limit that is
    no number.
    """

    name: str
    limit: int
    used: int = 0

    def __post_init__(self) -> None:
        whole(self.limit, "the limit of a quota")


@dataclass(eq=False, slots=True)
class _Live:
    """What the ledger knows of an allocation."""

    size: int
    tag: str
    quota: Quota | None
    counted: str = ""  # the tag that it is counted under
    pages: int = 0  # of a large one
    special: bool = False
    slack: int = 0  # bytes of pattern behind it


@dataclass(eq=False)
class Pool:
    """A pool over `pages`, with units of 16 or 8 bytes, for 1 to MOST_CPUS CPUs. StatusError
    INVALID_PARAMETER.
    """

    name: str
    pages: PoolPages
    unit: int = 16
    cpus: int = 1
    specials: SpecialPool | None = None
    special: dict[str, str] = field(default_factory=dict)  # tag -> "over" or "under"

    def __post_init__(self) -> None:
        if whole(self.unit, "the unit of a pool") not in (8, 16):
            raise invalid(
                f"{self.name}: a unit of {shown(self.unit)} bytes is not possible: 8 or 16"
            )
        whole(self.cpus, "the number of CPUs", 1, MOST_CPUS)
        self.space: KernelSpace = self.pages.space
        self.lock: HostLock = self.space.lock
        self.largest = PAGE_SIZE - 2 * self.unit
        self.blocks = PoolBlocks(self.name, self.pages, self.unit, self.cpus, self._beside)
        self.live: dict[int, _Live] = {}
        self.tags: dict[str, TagCounts] = {}

    def _beside(self, place: int) -> str:
        """Which allocations end before and begin behind an address, within a page of it: who may
        have written there.
        """
        before = max(
            (a for a, e in self.live.items() if a < place <= a + e.size + PAGE_SIZE), default=0
        )
        behind = min((a for a in self.live if place <= a <= place + PAGE_SIZE), default=0)
        found = [
            f"{where} it lies {self._named(a)}"
            for where, a in (("before", before), ("behind", behind))
            if a
        ]
        return ", ".join(found) or "no allocation lies beside it"

    def _named(self, address: int) -> str:
        entry = self.live[address]
        return f"the allocation {entry.tag} of {entry.size} bytes at {address:#x}"

    # -- allocation -------------------------------------------------------------------------------

    @locked
    def allocate(
        self, size: int, tag: str = DEFAULT_TAG, quota: Quota | None = None, cpu: int = 0
    ) -> int:
        """The address of `size` bytes (0 counts as 1), aligned to a unit; more than `largest` to a
        page.

        What they hold is not defined. StatusError NO_MEMORY, QUOTA_EXCEEDED, or INVALID_PARAMETER,
        also for a tag that is not 1 to 4 printable ASCII characters.
        """
        self._refuse(size, tag, quota, cpu)
        size = size or 1
        if quota is not None and quota.used + size > quota.limit:
            text = (
                f"{self.name}: {quota.name} has {quota.used} of {quota.limit} bytes and asks "
                f"for {shown(size)} more ({tag})"
            )
            raise StatusError(Status.QUOTA_EXCEEDED, text)
        entry = _Live(size, tag, quota)
        if tag in self.special and self.specials is not None:
            address = self.specials.allocate(size, self.special[tag])
            entry.special = True
        elif size > self.largest:
            entry.pages = -(-size // PAGE_SIZE)
            address = self.pages.allocate(entry.pages)
            entry.slack = min(entry.pages * PAGE_SIZE - size, SLACK)
        else:
            units = -(-size // self.unit) + 1
            block = self.blocks.allocate(units, _padded(tag), size, cpu)
            address = block and block + self.unit
            entry.slack = (units - 1) * self.unit - size
        if not address:
            raise StatusError(
                Status.NO_MEMORY, f"{self.name}: out of memory: {shown(size)} bytes for {tag}"
            )
        if entry.slack:
            self._slack(address, entry)[:] = _SLACK[: entry.slack]
        self.live[address] = entry
        self._charge(entry, 1)
        return address

    def _refuse(self, size: int, tag: str, quota: Quota | None, cpu: int) -> None:
        """StatusError INVALID_PARAMETER for arguments of an allocation that cannot be."""
        if type(size) is not int or size < 0:  # asked here, too: a call less for each allocation
            whole(size, "a size in bytes", 0)
        if type(cpu) is not int or not 0 <= cpu < self.cpus:
            whole(cpu, "a CPU", 0, self.cpus - 1)
        if type(tag) is not str or (tag not in self.tags and not _is_tag(tag)):
            raise invalid(
                f"{self.name}: {shown(tag)} is no pool tag: one to four printable ASCII characters"
            )
        if quota is not None and not isinstance(quota, Quota):
            raise invalid(f"{self.name}: {shown(quota)} is no quota")

    def _charge(self, entry: _Live, sign: int) -> None:
        if not entry.counted:
            entry.counted = (
                entry.tag if entry.tag in self.tags or len(self.tags) < MOST_TAGS else OVERFLOW_TAG
            )
        counts = self.tags.setdefault(entry.counted, TagCounts())
        counts.bytes += sign * entry.size
        if sign > 0:
            counts.allocations += 1
            counts.peak = max(counts.peak, counts.bytes)
        else:
            counts.frees += 1
        if entry.quota is not None:
            entry.quota.used += sign * entry.size

    # -- freeing ----------------------------------------------------------------------------------

    @locked
    def free(self, address: int, tag: str = "", cpu: int = 0) -> None:
        """Gives an allocation back; with `tag`, only if it is of that tag.

        PoolError for what is not right with it, and it is kept then.
        StatusError INVALID_PARAMETER for arguments of other types, and for a CPU that is not there.
        """
        if type(cpu) is not int or not 0 <= cpu < self.cpus:
            whole(cpu, "a CPU", 0, self.cpus - 1)
        entry = self.live.get(address) if type(address) is int else None
        if entry is None:
            raise self._stranger(address)
        if tag != "" and tag != entry.tag:
            asked = tag if _is_tag(tag) else shown(tag)
            raise PoolError(
                f"{self.name}: {address:#x} is freed as {asked} and was allocated as {entry.tag}"
            )
        if entry.slack or entry.special:
            self._inspect(address, entry)
        if entry.special and self.specials is not None:
            self.specials.free(address, entry.size)
        elif entry.pages:
            self.pages.free(address, entry.pages)
        else:
            self.blocks.free(address - self.unit, _padded(entry.tag), entry.size, cpu)
        del self.live[address]
        self._charge(entry, -1)

    def _stranger(self, address: int) -> PoolError:
        """What to say of an address that is freed and at which no allocation begins."""
        whole(address, "the address that is freed")
        inside = next(
            (a for a, e in self.live.items() if a < address < a + max(e.size, e.pages * PAGE_SIZE)),
            0,
        )
        holder = self.space.holder_at(address)
        if inside:
            why = f"it lies inside {self._named(inside)}"
        elif holder and holder not in (self.name, "special pool"):
            why = f"its page is held by {holder}"
        else:
            why = "freed twice, or never this pool's"
        return PoolError(f"{self.name}: {hexed(address)} is freed and is not allocated: {why}")

    def _inspect(self, address: int, entry: _Live) -> None:
        """PoolError when what lies around an allocation was overwritten; a block's header is looked
        at by `blocks`.
        """
        wrong = ""
        if entry.special and self.specials is not None:
            wrong = self.specials.inspect(address, entry.size)
        elif entry.slack and self._slack(address, entry) != _SLACK[: entry.slack]:
            wrong = "written past its end"
        if wrong:
            raise PoolError(f"{self.name}: {self._named(address)} was {wrong}")

    def _slack(self, address: int, entry: _Live) -> memoryview:
        """The pattern behind an allocation; it lies in one page."""
        at = self.space.touch(address + entry.size)
        return self.space.physical.ram.bytes[at : at + entry.slack]

    @locked
    def trim(self) -> None:
        """Empties the lookaside lists."""
        self.blocks.trim()

    # -- reports ----------------------------------------------------------------------------------

    @locked
    def snapshot(self) -> dict[str, int]:
        """Bytes by tag now, to be handed to `leaks` later."""
        return {tag: counts.bytes for tag, counts in self.tags.items()}

    @locked
    def leaks(self, since: dict[str, int] | None = None) -> list[tuple[str, int, int]]:
        """(tag, allocations, bytes) of what was allocated and not freed, or of tags that have more
        than at the snapshot; most bytes first.
        """
        since = since or {}
        if not isinstance(since, dict):
            raise invalid(f"{self.name}: {shown(since)} is no snapshot")
        held: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for entry in self.live.values():
            held[entry.counted][0] += 1
            held[entry.counted][1] += entry.size
        rows = [
            (tag, count, size) for tag, (count, size) in held.items() if size > since.get(tag, 0)
        ]
        return sorted(rows, key=lambda row: -row[2])

    @locked
    def statistics(self) -> PoolStatistics:
        """Pages, allocations and bytes."""
        from octavo.statistics import PoolStatistics, TagStatistics, of

        return PoolStatistics(
            **of(self.pages.statistics()),
            allocations=len(self.live),
            bytes=sum(e.size for e in self.live.values()),
            lookaside_hits=self.blocks.lookaside_hits,
            tags={tag: TagStatistics(**vars(counts)) for tag, counts in sorted(self.tags.items())},
        )

    @locked
    def check(self) -> None:
        """Blocks, tags and pages agree with the ledger. PoolError for what was overwritten."""
        small = {a: e for a, e in self.live.items() if not e.pages and not e.special}
        self.blocks.check({a - self.unit: (_padded(e.tag), e.size) for a, e in small.items()})
        for address, entry in self.live.items():
            self._inspect(address, entry)
        for tag, counts in self.tags.items():
            held = sum(e.size for e in self.live.values() if e.counted == tag)
            assert counts.bytes == held, (
                f"{self.name}: {tag} is counted to have {counts.bytes} bytes and has {held}"
            )
        self.pages.check()
        if self.specials is not None:
            self.specials.check()


def _is_tag(tag: object) -> bool:
    """Printable, so that the NUL bytes which fill a header's tag up are never a part of one."""
    return type(tag) is str and 1 <= len(tag) <= 4 and tag.isascii() and tag.isprintable()


def _padded(tag: str) -> bytes:
    return tag.encode().ljust(4, b"\0")
