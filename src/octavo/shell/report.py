"""Reports for people on what the memory manager and the cache have done and what they hold."""

from __future__ import annotations

from typing import Any, cast

from octavo.memory.pfn import State
from octavo.system import System

Table = dict[str, Any]

_MEANING = {
    State.ZEROED: "free and zero",
    State.FREE: "free",
    State.STANDBY: "clean, in no view, ready to be reused",
    State.MODIFIED: "dirty, in no view, to be written",
    State.BAD: "not usable",
    State.ACTIVE: "in views, tables, kernel",
    State.TRANSITION: "in I/O",
    State.ABSENT: "holes, firmware",
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
    data = cast(Table, system.memory.statistics())
    faults, writeback, pageout = data["faults"], data["writeback"], data["pageout"]
    lines = [
        f"Memory: {data['in_use']} of {data['limit']} frames in use ({data['in_use'] * 4} of {data['limit'] * 4} KiB)",
        *frames_by_state(system),
        f"Faults: {faults['hard']} hard, {faults['soft']} soft, {faults['collided']} collided, {faults['new']} new pages",
        f"Page-ins: {faults['pages_in']} pages in {faults['hard']} requests; clusters of",
        *_clusters(faults["page_ins"]),
        f"Page-outs: {writeback['written']} pages in {writeback['returns']} batches, {writeback['dirty']} dirty now, {writeback['failed']} failed",
        f"Pageout: {pageout['trimmed']} pages trimmed from views, {pageout['repurposed']} standby pages reused, {pageout['stalls']} stalls",
        "Free blocks by order: " + " ".join(str(n) for n in data["buddy"]["blocks"]),
    ]
    return lines


def _clusters(sizes: dict[int, int]) -> list[str]:
    """Page-ins by powers of two."""
    groups: dict[int, int] = {}
    for size, count in sizes.items():
        key = 1 << (size - 1).bit_length()
        groups[key] = groups.get(key, 0) + count
    names = {key: f"{key // 2 + 1}-{key} pages" if key > 2 else "1 page" if key == 1 else "2 pages" for key in groups}
    return [f"  {names[key]:>12}: {groups[key]}" for key in sorted(groups)] or ["  none"]


def cache_report(system: System) -> list[str]:
    """Views, hits, read-ahead, throttling, and each volume's device."""
    data = system.cache.statistics()
    looked = data["hits"] + data["misses"]
    rate = f"{data['hits'] * 100 / looked:.1f} %" if looked else "no reads"
    ahead = data["read_ahead_pages"]
    used = f"{data['read_ahead_hits'] * 100 / ahead:.1f} % of them used" if ahead else "none used"
    lines = [
        f"Cache: {data['views']} of {system.cache.views.most} views mapped; {looked} reads by view, hit rate {rate}",
        f"Read-ahead: {ahead} pages fetched ahead, {data['read_ahead_hits']} hits ({used})",
        f"Dirty: {system.memory.writeback.dirty} pages, limit {system.cache.writers.most_dirty}; writers throttled {data['throttled']} times",
    ]
    for letter, volume in system.volumes.items():
        device = cast(Table, volume.statistics()["device"])
        lines.append(
            f"Device of {letter} {device['reads']} reads ({device['read_bytes'] >> 10} KiB), {device['writes']} writes "
            f"({device['write_bytes'] >> 10} KiB), {device['flushes']} flushes, {device['errors']} errors, {device['waits']} waits"
        )
    return lines
