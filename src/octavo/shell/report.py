"""Reports for people on what the memory manager and the cache have done and what they hold."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from octavo.arguments import given
from octavo.machine.abi import State
from octavo.printing import counted
from octavo.system import System
from octavo.version import VERSION

if TYPE_CHECKING:
    from octavo.statistics import (
        DeviceStatistics,
        PoolStatistics,
        VirtualStatistics,
        WriteBackStatistics,
    )

_MORE = (
    "More: memory buddy, memory slab, memory pool, memory spaces, memory sections, "
    "memory paging, memory stat, memory PFN, memory picture FILE.png"
)
# looking takes no frames
_NO_KERNEL = (
    "The kernel's own memory has not been made: it is at its first use, by system.kernel in Python."
)
_MEANING = {
    State.ZEROED: "free and zero",
    State.FREE: "free",
    State.STANDBY: "clean, in no view, ready to be reused",
    State.MODIFIED: "dirty, in no view, to be written",
    State.BAD: "not usable",
    State.ACTIVE: "in views, tables, kernel",
    State.TRANSITION: "in I/O",
    State.ABSENT: "holes, firmware",
    State.POOLED: "free, in a processor's pool",
}


def frames_by_state(system: System) -> list[str]:
    """Frames in each state, as a bar chart."""
    counts = system.memory.pfns.counts
    most = max(counts[s] for s in _MEANING) or 1
    lines = ["Frames by state:"]
    for state, meaning in _MEANING.items():
        bar = "#" * (counts[state] * 30 // most)
        lines.append(f"  {state.name.lower():<11}{counts[state]:>8}  {bar:<31}{meaning}")
    return lines


def memory_report(system: System) -> list[str]:
    """Limit, states, faults, clusters, write-back, pageout, free blocks."""
    data = given(system, System, "a system").memory.statistics()
    faults, pageout = data.faults, data.pageout
    return [
        f"Memory: {data.in_use} of {counted(data.limit, 'frame')} in use "
        f"({data.in_use * 4} of {data.limit * 4} KiB)",
        *frames_by_state(system),
        f"Faults: {faults.hard} hard, {faults.soft} soft, {faults.collided} "
        f"collided, {counted(faults.new, 'new page')}",
        f"Page-ins: {counted(faults.pages_in, 'page')} in "
        f"{counted(faults.hard, 'request')}; clusters of",
        *_clusters(faults.page_ins),
        _page_outs(data.writeback),
        f"Pageout: {counted(pageout.trimmed, 'page')} trimmed from views, "
        f"{counted(pageout.repurposed, 'standby page')} reused, {counted(pageout.stalls, 'stall')}",
        "Free blocks by order: " + " ".join(map(str, data.buddy.blocks)),
        _MORE,
    ]


def _page_outs(data: WriteBackStatistics) -> str:
    return (
        f"Page-outs: {counted(data.written, 'page')} in "
        f"{counted(data.returns, 'batch', 'batches')}, {data.dirty} dirty now, {data.failed} failed"
    )


def buddy_report(system: System) -> list[str]:
    """Free blocks of each zone by order, as /proc/buddyinfo has them, and how fragmented
    it is.
    """
    zones = system.memory.physical.buddy.zones
    lines = [
        f"{'Zone':<11}{'frames':>9}{'free':>9}{'min':>6}{'low':>6}{'high':>6}  free "
        "blocks of order" + "".join(f"{k:>6}" for k in range(zones[0].max_order + 1))
    ]
    for z in zones:
        data = z.statistics()
        marks = data.watermarks
        lines.append(
            f"{z.name:<11}{data.frames:>9}{data.free_frames:>9}"
            f"{marks.min:>6}{marks.low:>6}{marks.high:>6}"
            + " " * 22
            + "".join(f"{n:>6}" for n in data.blocks)
        )
        parts = "".join(f"{100 * part:>6.0f}" for part in data.usable)
        lines.append(f"{'':<11}{'usable for an order, %':<58}" + parts)
    return lines


def slab_report(system: System) -> list[str]:
    """Slab caches, as slabinfo has them."""
    if not system.kernel_made:
        return [_NO_KERNEL]
    lines = system.kernel.caches.slabinfo()
    return (
        lines
        if len(lines) > 3
        else ["No slab cache has been made (system.kernel.caches.create in Python)."]
    )


def pool_report(system: System) -> list[str]:
    """Pools by tag, system PTEs and stacks."""
    if not system.kernel_made:
        return [_NO_KERNEL]
    kernel = system.kernel
    ptes, stacks = kernel.ptes.statistics(), kernel.stacks.statistics()
    return [
        *_pool(kernel.nonpaged.name, kernel.nonpaged.statistics()),
        *_pool(kernel.paged.name, kernel.paged.statistics()),
        f"System PTEs: {ptes.free} of {ptes.count} free in "
        f"{counted(ptes.clusters, 'cluster')}, {counted(ptes.failures, 'request')} failed",
        f"Stacks: {stacks.live} in use, {stacks.cached} cached, "
        f"{counted(stacks.frames, 'frame')}; grown {counted(stacks.grown, 'time')}, "
        f"{counted(stacks.overflows, 'overflow')}",
    ]


def _pool(name: str, data: PoolStatistics) -> list[str]:
    lines = [
        f"{name}: {counted(data.initial, 'page')}, {data.expanded} more of "
        f"{data.most - data.initial}; {counted(data.bytes, 'byte')} in {data.allocations}"
    ]
    for tag, counts in data.tags.items():
        held = counts.allocations - counts.frees
        lines.append(
            f"  {tag:<5}{counts.allocations:>9} allocated{counts.frees:>9} "
            f"freed{held:>9} held{counted(counts.bytes, 'byte', width=11)}, {counts.peak} at most"
        )
    return lines


def stat_report(system: System) -> list[str]:
    """One name and number a line, as /proc/vmstat has them."""
    data = system.memory.statistics()
    standby = system.memory.physical.standby.by_priority()
    rows = [
        *((f"nr_{name}", count) for name, count in data.states.items()),
        ("pgfault", data.faults.hard + data.faults.soft + data.faults.new),
        ("pgmajfault", data.faults.hard),
        ("pgpgin", data.faults.pages_in),
        ("pgpgout", data.writeback.written),
        ("nr_dirty", data.writeback.dirty),
        ("pgsteal", data.pageout.repurposed),
        ("pgscan", data.pageout.trimmed),
        ("allocstall", data.pageout.stalls),
        *((f"nr_standby_{i}", count) for i, count in enumerate(standby)),
        *(_space_rows(system.virtual.statistics()) if system.virtual_made else []),
    ]
    return [f"{name} {value}" for name, value in rows]


def _space_rows(data: VirtualStatistics) -> list[tuple[str, int]]:
    return [
        ("nr_committed", data.committed),
        ("nr_commit_limit", data.limit),
        ("nr_working_set_frames", data.working_set_frames),
        ("pswpin", data.page_files.read),
        ("pswpout", data.page_files.written),
        ("pgunmap", data.eviction.unmapped),
        ("pgdropzero", data.eviction.dropped),
        ("oom_kill", data.balance.ended),
        ("tlb_shootdown", data.mmu.shootdowns),
    ]


def _clusters(sizes: dict[int, int]) -> list[str]:
    """Page-ins by powers of two."""
    groups: dict[int, int] = {}
    for size, count in sizes.items():
        key = 1 << (size - 1).bit_length()
        groups[key] = groups.get(key, 0) + count
    names = {
        key: f"{key // 2 + 1}-{key} pages" if key > 2 else "1 page" if key == 1 else "2 pages"
        for key in groups
    }
    return [f"  {names[key]:>12}: {groups[key]}" for key in sorted(groups)] or ["  none"]


def cache_report(system: System) -> list[str]:
    """Views, hits, read-ahead, throttling, and each volume's device."""
    cache = given(system, System, "a system").cache
    data = cache.statistics()
    looked, ahead, used = data.hits + data.misses, data.read_ahead_pages, data.read_ahead_hits
    rate = f"{data.hits * 100 / looked:.1f} %" if looked else "no reads"
    share = f"{used * 100 / ahead:.1f} % of them used" if ahead else "none used"
    return [
        f"Cache: {data.views} of {counted(cache.views.most, 'view')} mapped; "
        f"{counted(looked, 'read')} by view, hit rate {rate}",
        f"Views use {data.address_space >> 10} of {data.most_address_space >> 10} KiB; "
        f"{counted(data.locked_pages, 'page')} kept by {counted(data.blocks, 'block')} and "
        f"{counted(data.lists, 'list')}",
        f"Read-ahead: {counted(ahead, 'page')} fetched ahead, {counted(used, 'hit')} ({share})",
        f"Dirty: {counted(system.memory.writeback.dirty, 'page')}, limit "
        f"{cache.writers.most_dirty}; writers throttled {counted(data.throttled, 'time')}",
        *(
            _device(letter, volume.core.statistics().device)
            for letter, volume in system.volumes.items()
        ),
    ]


def _device(letter: str, data: DeviceStatistics) -> str:
    return (
        f"Device of {letter} {counted(data.reads, 'read')} ({data.read_bytes >> 10} KiB), "
        f"{counted(data.writes, 'write')} ({data.write_bytes >> 10} KiB), "
        f"{counted(data.flushes, 'flush', 'flushes')}, {counted(data.errors, 'error')}, "
        f"{counted(data.waits, 'wait')}"
    )


def system_report(system: System) -> list[str]:
    """The machine: its time, page tables, memory, cache and drives."""
    plan, clock = given(system, System, "a system").plan, system.scheduler.clock
    physical, cache = system.memory.physical, system.cache
    now = datetime(*clock.local(clock.wall())[:6])
    kind = "virtual" if clock.virtual else "real"
    return [
        f"[SYSTEM] Octavo {VERSION}, {now:%d.%m.%Y %H:%M}, {kind} time",
        f"[CPU]    {plan.arch.name} page tables, {len(plan.arch.index_bits)} levels",
        f"[RAM]    {plan.managed * 4} KiB managed of {plan.found * 4} KiB found, "
        f"{physical.available * 4} KiB available",
        f"[CACHE]  {cache.statistics().views} of {counted(cache.views.most, 'view')} of 512 KiB, "
        f"{system.memory.writeback.dirty} of {counted(cache.writers.most_dirty, 'dirty page')}",
        *(
            f"[{letter}]     {volume.kind} {volume.label or '-'}, {volume.space().free >> 10} of "
            f"{volume.space().total >> 10} KiB free, {volume.core.name}"
            for letter, volume in sorted(system.volumes.items())
        ),
    ]
