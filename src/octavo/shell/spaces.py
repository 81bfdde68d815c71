"""Reports on address spaces and sections, as vmmap, smaps and vmstat have them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from octavo.machine.abi import ACCESSED, DIRTY, PAGE_SHIFT, PAGE_SIZE, PRESENT
from octavo.memory.pagers.pagefile import is_paged
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.spans import Span
from octavo.memory.spaces.vad import Vad
from octavo.printing import counted
from octavo.system import System

if TYPE_CHECKING:
    from octavo.memory.spaces.view import SectionObject
    from octavo.statistics import SpaceStatistics, VirtualStatistics

NO_SPACES = (
    "No address space has been made: they are by the command vm, or by "
    "system.virtual.create in Python."
)


def spaces_report(system: System) -> list[str]:
    """Each space: its working set, and its allocations with where their pages are."""
    if not system.virtual_made:
        return [NO_SPACES]
    virtual = system.virtual
    data = virtual.statistics()
    lines = _totals(data)
    for space in virtual.spaces:
        lines.append(_space_line(space, data.spaces[space.name]))
        lines.append(
            f"  {'addresses':<33}{'protection':<20}{'pages':>7}{'frames':>8}"
            f"{'shared':>8}{'dirty':>7}{'used':>6}{'paged':>7}  what"
        )
        lines += [_span_line(space, vad, span) for vad in space.vads.all for span in vad.spans]
    return lines


def _totals(data: VirtualStatistics) -> list[str]:
    files = data.page_files
    return [
        f"Commit: {data.committed} of {counted(data.limit, 'page')}; page files: "
        f"{files.slots - files.free} of {counted(files.slots, 'page')} used, "
        f"{files.written} written, {files.read} read in {counted(files.requests, 'request')}",
        f"Working sets: {counted(data.working_sets, 'page')}, shared ones counted in "
        f"each space; {counted(data.working_set_frames, 'frame')}",
    ]


def _space_line(space: AddressSpace, data: SpaceStatistics) -> str:
    most = "-" if space.maximum is None else space.maximum
    return (
        f"{space.name}: {counted(data.committed, 'page')} committed, "
        f"{data.resident} in frames ({data.shared} of sections), {data.paged} in page files; "
        f"minimum {space.minimum}, maximum {most}, {len(space.locked)} locked; "
        f"{counted(data.tables, 'page table')}, {counted(data.faults, 'fault')}, "
        f"{data.copied} copied"
    )


def _span_line(space: AddressSpace, vad: Vad, span: Span) -> str:
    """One span: its pages in frames, of sections, modified (or not all zeros), used since accessed
    bits were last taken away, in page files.
    """
    first, end, protect = span
    entries = [entry for _, entry in space.tables.entries(first << PAGE_SHIFT, end << PAGE_SHIFT)]
    paged = sum(is_paged(entry) for entry in entries)
    present = [entry for entry in entries if entry & PRESENT]
    shared, dirty, used = (
        sum(map(space.pages.is_of_section, present)),
        sum(e & DIRTY > 0 for e in present),
        sum(e & ACCESSED > 0 for e in present),
    )
    what = protect.name or f"{int(protect):#x}" if protect is not None else "reserved"
    where = f"{first << PAGE_SHIFT:#014x}-{(end << PAGE_SHIFT) - 1:#014x}"
    return (
        f"  {where:<33}{what:<20}{end - first:>7}{len(entries) - paged:>8}"
        f"{shared:>8}{dirty:>7}{used:>6}{paged:>7}  {describe(space, vad)}"
    )


def describe(space: AddressSpace, vad: Vad) -> str:
    """What an allocation is."""
    if vad.view is None:
        kind = (
            "zeros of an image"
            if vad.image
            else "stack"
            if vad in space.stacks
            else "private, write watch"
            if vad.written is not None
            else "private"
        )
        return kind + (f", {vad.advice.name.lower()}" if vad.advice else "")
    view, parts = vad.view, []
    if view.first:
        parts.append(f"from page {view.first}")
    if vad.image:
        parts.append("image")
    if view.advice:
        parts.append(view.advice.name.lower())
    return ", ".join([view.object.name, *parts])


def sections_report(system: System) -> list[str]:
    """Section objects: what they show, how much of it is in memory."""
    if not system.virtual_made:
        return [NO_SPACES]
    found = list(system.virtual.sections.all)
    if not found:
        return ["No section has been made for address spaces."]
    lines = [
        f"{'section':<28}{'kind':<11}{'protection':<20}{'KiB':>10}"
        f"{'views':>7}{'pages in':>10}{'dirty':>7}{'slots':>7}"
    ]
    for made in found:
        slots = len(system.virtual.sections.pager.slots(made.section)) if made.paged else 0
        lines.append(_section_line(made, slots))
        if made.memory_object is not None:
            counts = asdict(made.memory_object.statistics()).items()
            lines.append("  " + ", ".join(f"{name} {count}" for name, count in counts))
    return lines


def _section_line(made: SectionObject, slots: int) -> str:
    kind = (
        "device"
        if made.frame
        else "external"
        if made.memory_object
        else "page file"
        if made.paged
        else "file"
    )
    protect = made.protect.name or f"{int(made.protect):#x}"
    return (
        f"{made.name[-27:]:<28}{kind:<11}{protect:<20}{made.size >> 10:>10}"
        f"{len(made.views):>7}{made.section.resident():>10}{made.section.dirty:>7}{slots:>7}"
    )


def paging_report(system: System) -> list[str]:
    """Page lists by priority, the replacement policy's lists, working-set manager, events."""
    physical, conditions = system.memory.physical, system.memory.pageout.conditions
    conditions.look(physical.available)
    state = (
        "low"
        if conditions.low_memory.signalled
        else "high"
        if conditions.high_memory.signalled
        else "between low and high"
    )
    lines = [
        f"Available: {counted(physical.available, 'frame')}, memory is {state} (low below "
        f"{conditions.low}, high from {conditions.high})",
        f"Lists: {physical.buddy.free_frames} free, {physical.zeroed.count} zeroed, "
        f"{physical.modified.count} modified; standby by priority 0 to 7: "
        + " ".join(map(str, physical.standby.by_priority())),
    ]
    if not system.virtual_made:
        return [*lines, NO_SPACES]
    virtual = system.virtual
    return [*lines, *_replacement(virtual.statistics()), *virtual.balance.log]


def _replacement(data: VirtualStatistics) -> list[str]:
    policy, gone, balance = data.replacement, data.eviction, data.balance
    return [
        f"Replacement: {policy.policy} over {counted(policy.pages, 'page')}, on its "
        f"lists {policy.lists}; accessed bits taken {counted(policy.harvests, 'time')}",
        f"Eviction: {counted(gone.unmapped, 'page')} unmapped, {gone.dropped} dropped as zeros, "
        f"{gone.evicted} written to page files; {gone.kept} touched meanwhile, {gone.spared} held",
        f"Balance-set manager: {counted(balance.passes, 'pass', 'passes')}, "
        f"{counted(balance.trimmed, 'page')} trimmed; "
        f"spaces ended for want of memory: {balance.ended}",
    ]


def explain_address(system: System, space: AddressSpace, address: int) -> list[str]:
    """Why an address is as it is: its allocation, its page, its frame."""
    page = address >> PAGE_SHIFT
    if page >= space.vads.high:
        return [
            f"{address:#x}: lies above user space, which ends at {space.vads.high << PAGE_SHIFT:#x}"
        ]
    vad = space.vads.find(page)
    if vad is None:
        return [f"{address:#x}: nothing is allocated there in {space.name}"]
    protect = vad.span_at(page)[2]
    lines = [
        f"{address:#x}: in {describe(space, vad)}, allocated "
        f"{vad.start << PAGE_SHIFT:#x}-{(vad.end << PAGE_SHIFT) - 1:#x}, "
        + ("reserved" if protect is None else protect.name or f"{int(protect):#x}")
    ]
    if vad.view is not None:
        number = vad.view.page_at(page)
        lines.append(
            f"  page {number} of {vad.view.object.name}, byte "
            f"{number * PAGE_SIZE + address % PAGE_SIZE}"
        )
    return [*lines, *_explain_entry(system, space, page, protect is not None)]


def _explain_entry(system: System, space: AddressSpace, page: int, committed: bool) -> list[str]:
    entry = space.tables.get(page << PAGE_SHIFT)
    if not entry:
        why = "never touched, or taken out again" if committed else "it would be refused"
        return [f"  no page-table entry: {why}"]
    if is_paged(entry):
        file, slot = space.pages.files.place(entry)
        return [f"  in page file {space.pages.files.stores[file].name}, page {slot}"]
    names = ((PRESENT, "present"), (2, "writable"), (ACCESSED, "accessed"), (DIRTY, "dirty"))
    bits = [name for bit, name in names if entry & bit]
    return [
        f"  entry {entry:#x}: {', '.join(bits) or 'held, no access now'}",
        "  " + system.explain(space.pages.frame_of(entry)),
    ]
