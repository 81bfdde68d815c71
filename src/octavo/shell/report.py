"""Reports for people on what the memory manager and the cache have done and what they hold."""

from __future__ import annotations

from typing import Any, cast

from octavo.arguments import given
from octavo.machine.abi import State
from octavo.printing import counted
from octavo.system import System

Table = dict[str, Any]

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
    data = cast(Table, given(system, System, "a system").memory.statistics())
    faults, writeback, pageout = data["faults"], data["writeback"], data["pageout"]
    lines = [
        f"Memory: {data['in_use']} of {counted(data['limit'], 'frame')} in use "
        f"({data['in_use'] * 4} of {data['limit'] * 4} KiB)",
        *frames_by_state(system),
        f"Faults: {faults['hard']} hard, {faults['soft']} soft, {faults['collided']} "
        f"collided, {counted(faults['new'], 'new page')}",
        f"Page-ins: {counted(faults['pages_in'], 'page')} in "
        f"{counted(faults['hard'], 'request')}; clusters of",
        *_clusters(faults["page_ins"]),
        f"Page-outs: {counted(writeback['written'], 'page')} in "
        f"{counted(writeback['returns'], 'batch', 'batches')}, {writeback['dirty']} dirty now, "
        f"{writeback['failed']} failed",
        f"Pageout: {counted(pageout['trimmed'], 'page')} trimmed from views, "
        f"{counted(pageout['repurposed'], 'standby page')} reused, "
        f"{counted(pageout['stalls'], 'stall')}",
        "Free blocks by order: " + " ".join(str(n) for n in data["buddy"]["blocks"]),
        "More: memory buddy, memory slab, memory pool, memory spaces, memory sections, "
        "memory paging, memory stat, memory PFN, memory picture FILE.png",
    ]
    return lines


def buddy_report(system: System) -> list[str]:
    """Free blocks of each segment by order, as /proc/buddyinfo has them, and how fragmented
    it is.
    """
    segments = system.memory.physical.buddy.segments
    orders = range(segments[0].max_order + 1)
    lines = [
        f"{'Segment':<11}{'frames':>9}{'free':>9}{'min':>6}{'low':>6}{'high':>6}  free "
        "blocks of order" + "".join(f"{k:>6}" for k in orders)
    ]
    for s in segments:
        data = cast(Table, s.statistics())
        marks = data["watermarks"]
        head = (
            f"{s.name:<11}{data['frames']:>9}{data['free_frames']:>9}"
            f"{marks['min']:>6}{marks['low']:>6}{marks['high']:>6}"
        )
        lines.append(head + " " * 22 + "".join(f"{n:>6}" for n in data["blocks"]))
        lines.append(
            f"{'':<11}{'usable for an order, %':<58}"
            + "".join(f"{100 * part:>6.0f}" for part in data["usable"])
        )
    return lines


def slab_report(system: System) -> list[str]:
    """Slab caches, as slabinfo has them."""
    if system.statistics()["kernel"] is None:
        return [_NO_KERNEL]
    lines = system.kernel.caches.slabinfo()
    return (
        lines
        if len(lines) > 3
        else ["No slab cache has been made (system.kernel.caches.create in Python)."]
    )


def pool_report(system: System) -> list[str]:
    """Pools by tag, system PTEs and stacks."""
    if system.statistics()["kernel"] is None:
        return [_NO_KERNEL]
    kernel = system.kernel
    lines = []
    for pool in (kernel.nonpaged, kernel.paged):
        data = cast(Table, pool.statistics())
        lines.append(
            f"{pool.name}: {counted(data['initial'], 'page')}, {data['expanded']} more of "
            f"{data['most'] - data['initial']}; "
            f"{counted(data['bytes'], 'byte')} in {data['allocations']}"
        )
        for tag, counts in data["tags"].items():
            held = counts["allocations"] - counts["frees"]
            lines.append(
                f"  {tag:<5}{counts['allocations']:>9} allocated{counts['frees']:>9} "
                f"freed{held:>9} held{counted(counts['bytes'], 'byte', width=11)}, "
                f"{counts['peak']} at most"
            )
    ptes, stacks = kernel.ptes.statistics(), kernel.stacks.statistics()
    lines.append(
        f"System PTEs: {ptes['free']} of {ptes['count']} free in "
        f"{counted(ptes['clusters'], 'cluster')}, {counted(ptes['failures'], 'request')} failed"
    )
    lines.append(
        f"Stacks: {stacks['live']} in use, {stacks['cached']} cached, "
        f"{counted(stacks['frames'], 'frame')}; grown {counted(stacks['grown'], 'time')}, "
        f"{counted(stacks['overflows'], 'overflow')}"
    )
    return lines


def stat_report(system: System) -> list[str]:
    """One name and number a line, as /proc/vmstat has them."""
    data = cast(Table, system.memory.statistics())
    rows = [(f"nr_{name}", count) for name, count in data["states"].items()]
    faults, writeback, pageout = data["faults"], data["writeback"], data["pageout"]
    rows += [
        ("pgfault", faults["hard"] + faults["soft"] + faults["new"]),
        ("pgmajfault", faults["hard"]),
        ("pgpgin", faults["pages_in"]),
    ]
    rows += [
        ("pgpgout", writeback["written"]),
        ("nr_dirty", writeback["dirty"]),
        ("pgsteal", pageout["repurposed"]),
        ("pgscan", pageout["trimmed"]),
    ]
    rows += [("allocstall", pageout["stalls"])]
    rows += [
        (f"nr_standby_{i}", count)
        for i, count in enumerate(system.memory.physical.standby.by_priority())
    ]
    virtual = cast(Table, system.statistics()["virtual"])
    if virtual is not None:
        gone, files = virtual["eviction"], virtual["page_files"]
        rows += [
            ("nr_committed", virtual["committed"]),
            ("nr_commit_limit", virtual["limit"]),
            ("nr_working_set_frames", virtual["working_set_frames"]),
        ]
        rows += [
            ("pswpin", files["read"]),
            ("pswpout", files["written"]),
            ("pgunmap", gone["unmapped"]),
            ("pgdropzero", gone["dropped"]),
        ]
        rows += [
            ("oom_kill", virtual["balance"]["ended"]),
            ("tlb_shootdown", virtual["mmu"]["shootdowns"]),
        ]
    return [f"{name} {value}" for name, value in rows]


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
    data = given(system, System, "a system").cache.statistics()
    looked = data["hits"] + data["misses"]
    rate = f"{data['hits'] * 100 / looked:.1f} %" if looked else "no reads"
    ahead = data["read_ahead_pages"]
    used = f"{data['read_ahead_hits'] * 100 / ahead:.1f} % of them used" if ahead else "none used"
    lines = [
        f"Cache: {data['views']} of {counted(system.cache.views.most, 'view')} mapped; "
        f"{counted(looked, 'read')} by view, hit rate {rate}",
        f"Read-ahead: {counted(ahead, 'page')} fetched ahead, "
        f"{counted(data['read_ahead_hits'], 'hit')} ({used})",
        f"Dirty: {counted(system.memory.writeback.dirty, 'page')}, limit "
        f"{system.cache.writers.most_dirty}; writers throttled "
        f"{counted(data['throttled'], 'time')}",
    ]
    for letter, volume in system.volumes.items():
        device = cast(Table, volume.statistics()["device"])
        lines.append(
            f"Device of {letter} {counted(device['reads'], 'read')} "
            f"({device['read_bytes'] >> 10} KiB), {counted(device['writes'], 'write')} "
            f"({device['write_bytes'] >> 10} KiB), "
            f"{counted(device['flushes'], 'flush', 'flushes')}, "
            f"{counted(device['errors'], 'error')}, "
            f"{counted(device['waits'], 'wait')}"
        )
    return lines
