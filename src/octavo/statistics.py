"""What the parts of a system say of themselves: one class for each part's `statistics()`.

All are snapshots: numbers as they were at the call, counts since the part was made. `of` gives them
as nested dictionaries, as `System.statistics`, `Volume.statistics` and `boot --json` show them; the
names here are their keys. Pages and frames are of 4 KiB.

A start that shows no statistics does not need these classes, which take as long to make as all else
in their parts; so they stand here, and are imported by the methods that fill them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


def of(snapshot: Any) -> dict[str, Any]:
    """A snapshot as nested dictionaries."""
    return asdict(snapshot)


# -- machine and threads ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MmuStatistics:
    """Of the software MMU: for each CPU its TLB's hits and its walks; shoot-downs in all."""

    hits: list[int]
    walks: list[int]
    shootdowns: int


@dataclass(frozen=True, slots=True)
class SchedulerStatistics:
    """Context switches so far; now: ready threads, timers, calls of the host under way."""

    switches: int
    ready: int
    timers: int
    calls: int


# -- memory ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Free frames of a segment below which something happens."""

    min: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class SegmentStatistics:
    """Of a stretch of frames: how many are free; for each order the free blocks, what part of the
    free frames blocks of that order can be had from (0 to 1), and the fragmentation index.
    """

    free_frames: int
    frames: int
    blocks: list[int]
    usable: list[float]
    fragmentation: list[float]
    watermarks: Watermarks


@dataclass(frozen=True, slots=True)
class FreeFramesStatistics:
    """Free frames, free blocks by order, and each segment by its name."""

    free_frames: int
    blocks: list[int]
    segments: dict[str, SegmentStatistics]


@dataclass(frozen=True, slots=True)
class CpuPagesStatistics:
    """Of the pools of the processors: frames in each; the most that one has, and how many go at
    once; how often each took the lock.
    """

    pooled: list[int]
    size: int
    transfer: int
    refills: list[int]


@dataclass(frozen=True, slots=True)
class FaultStatistics:
    """Faults by kind; page-ins by their pages, and the pages of all of them."""

    hard: int
    soft: int
    collided: int
    new: int
    page_ins: dict[int, int]
    pages_in: int


@dataclass(frozen=True, slots=True)
class WriteBackStatistics:
    """Pages that are dirty and that are being written; pages written and failed; data_returns."""

    dirty: int
    in_flight: int
    written: int
    failed: int
    returns: int


@dataclass(frozen=True, slots=True)
class PageoutStatistics:
    """Pages trimmed from views; times that a thread had to wait; standby pages whose frames were
    given to others.
    """

    trimmed: int
    stalls: int
    repurposed: int


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """Of the memory manager, in frames: its limit, what is in use, the fewest that were ever
    available, frames by state; and what its parts have done.
    """

    limit: int
    in_use: int
    physical_lowest: int
    states: dict[str, int]
    buddy: FreeFramesStatistics
    faults: FaultStatistics
    writeback: WriteBackStatistics
    pageout: PageoutStatistics


# -- address spaces --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpaceStatistics:
    """Of an address space, in pages: committed, in frames, copied so far, in frames of sections, in
    page files; its page tables, and its faults so far.
    """

    committed: int
    resident: int
    copied: int
    shared: int
    paged: int
    tables: int
    faults: int


@dataclass(frozen=True, slots=True)
class PageFilesStatistics:
    """Slots of a page in all and free; pages written and read; requests, those that failed, and
    times that a file has grown.
    """

    slots: int
    free: int
    written: int
    read: int
    requests: int
    errors: int
    grown: int


@dataclass(frozen=True, slots=True)
class PolicyStatistics:
    """Name of a replacement policy, pages that it chooses from, lengths of its lists."""

    policy: str
    pages: int
    lists: list[int]


@dataclass(frozen=True, slots=True)
class ReplacementStatistics(PolicyStatistics):
    """And how often accessed bits were taken away."""

    harvests: int


@dataclass(frozen=True, slots=True)
class EvictionStatistics:
    """Pages taken out of the tables; of them, dropped as zeros, and written and freed; victims that
    stayed because they were touched meanwhile, or held.
    """

    unmapped: int
    dropped: int
    evicted: int
    kept: int
    spared: int


@dataclass(frozen=True, slots=True)
class BalanceStatistics:
    """Of the balance-set manager: its passes; pages trimmed from spaces; frames from which on
    memory is plenty, and below which it is scarce; spaces ended for want of memory.
    """

    passes: int
    trimmed: int
    plenty: int
    minimum: int
    ended: int


@dataclass(frozen=True, slots=True)
class ConditionsStatistics:
    """Available pages below which memory is low, and from which on it is high; whether it is now;
    how often one of the two has changed.
    """

    low: int
    high: int
    is_low: bool
    is_high: bool
    changes: int


@dataclass(frozen=True, slots=True)
class VirtualStatistics:
    """Of all address spaces, in pages: the limit of commitment and what is committed; each space by
    its name; pages in frames, once for each space and once for each frame; and their parts.
    """

    limit: int
    committed: int
    spaces: dict[str, SpaceStatistics]
    working_sets: int
    working_set_frames: int
    mmu: MmuStatistics
    page_files: PageFilesStatistics
    replacement: ReplacementStatistics
    eviction: EvictionStatistics
    balance: BalanceStatistics
    conditions: ConditionsStatistics


@dataclass(frozen=True, slots=True)
class MemoryObjectStatistics:
    """Of an object that an external pager keeps: requests for pages, and messages to the pager in
    all; pages supplied, of them unasked ones; supplies and answers that were ignored; timeouts;
    pages returned; messages that the pager refused.
    """

    requests: int
    messages: int
    supplied: int
    unasked: int
    ignored: int
    timeouts: int
    returned: int
    refused: int


# -- the kernel's own memory -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SystemPtesStatistics:
    """System PTEs in all and free, the clusters of free ones, the largest of them, and requests
    that failed.
    """

    count: int
    free: int
    clusters: int
    largest: int
    failures: int


@dataclass(frozen=True, slots=True)
class StacksStatistics:
    """Stacks in use and cached, the frames of both; stacks made, taken from the cache, grown; and
    overflows.
    """

    live: int
    cached: int
    frames: int
    made: int
    reused: int
    grown: int
    overflows: int


@dataclass(frozen=True, slots=True)
class PoolPagesStatistics:
    """Pages of a pool: those that it begins with, backed beyond them, at most; allocated and
    free.
    """

    initial: int
    expanded: int
    most: int
    allocated: int
    free: int


@dataclass(frozen=True, slots=True)
class TagStatistics:
    """Allocations and frees of a tag; its bytes, as asked for, now and at most."""

    allocations: int
    frees: int
    bytes: int
    peak: int


@dataclass(frozen=True, slots=True)
class PoolStatistics(PoolPagesStatistics):
    """And allocations now, their bytes as asked for, blocks had from a lookaside list, and each
    tag.
    """

    allocations: int
    bytes: int
    lookaside_hits: int
    tags: dict[str, TagStatistics]


@dataclass(frozen=True, slots=True)
class SlabStatistics:
    """Of a slab cache: bytes of an object, of its buffer and of a slab; objects a slab, colours;
    slabs, those that are empty; objects in use and that there is room for; bytes in all, and of
    empty slabs.
    """

    object_size: int
    buffer_size: int
    slab_size: int
    objects_per_slab: int
    colours: int
    slabs: int
    empty_slabs: int
    objects: int
    capacity: int
    memory: int
    reclaimable: int


@dataclass(frozen=True, slots=True)
class KernelStatistics:
    """Of the kernel's own memory: its page tables, its faults, its parts, and each slab cache by
    its name.
    """

    page_tables: int
    faults: int
    system_ptes: SystemPtesStatistics
    stacks: StacksStatistics
    nonpaged: PoolStatistics
    paged: PoolStatistics
    caches: dict[str, SlabStatistics]


# -- files -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Views mapped, the bytes of address space that they use, and the most that they may; pages
    that are locked, control blocks and lists of frames that keep them; reads by view that found
    their pages and that did not; pages read ahead, and of them those that were used; writes that
    were throttled.
    """

    views: int
    address_space: int
    most_address_space: int
    locked_pages: int
    blocks: int
    lists: int
    hits: int
    misses: int
    read_ahead_pages: int
    read_ahead_hits: int
    throttled: int


@dataclass(frozen=True, slots=True)
class DeviceStatistics:
    """Of a device: requests and bytes; flushes; requests that waited for the host, and that
    failed.
    """

    reads: int
    read_bytes: int
    writes: int
    write_bytes: int
    flushes: int
    waits: int
    errors: int


@dataclass(frozen=True, slots=True)
class NameStatistics:
    """Of the names that a volume knows: look-ups that asked its format nothing, those that did, and
    the names known now, those that lead to nothing among them.
    """

    hits: int
    misses: int
    entries: int


@dataclass(frozen=True, slots=True)
class VolumeStatistics:
    """Of a volume: files and directories in use now, its names, times that a thread waited for its
    mutex, and its device.
    """

    nodes: int
    names: NameStatistics
    contended: int
    device: DeviceStatistics
