"""The normalised memory map: sorted, page-aligned, disjoint, whatever the firmware said and in
whatever order.

Rules: where ranges overlap the higher kind wins; RAM shrinks to whole pages, all others grow to
whole pages; neighbours of one kind are joined; what lies at or beyond the architecture's physical
limit is clipped.

FIRMWARE_KEEPS are the frames that belong to the firmware whatever its map says, and where it says
nothing: frame 0 (interrupt vectors, BIOS data), and the video memory and ROMs from 640 KiB to 1
MiB.

Source: GNU Mach's biosmem (higher type wins, available ranges are narrowed).
"""

from __future__ import annotations

from collections.abc import Iterable

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.firmware import FirmwareRange, MemoryKind

FIRMWARE_KEEPS = (
    FirmwareRange(0, PAGE_SIZE, MemoryKind.RESERVED),
    FirmwareRange(0xA0000, 0x100000, MemoryKind.RESERVED),
)


def _edges(ranges: Iterable[FirmwareRange], limit: int) -> dict[int, list[int]]:
    """The kinds that begin at an address, and, negative, those that end there; in whole pages."""
    edges: dict[int, list[int]] = {}
    for item in ranges:
        if item.kind.ram:
            start, end = -(-item.start // PAGE_SIZE) * PAGE_SIZE, item.end // PAGE_SIZE * PAGE_SIZE
        else:
            start, end = item.start // PAGE_SIZE * PAGE_SIZE, -(-item.end // PAGE_SIZE) * PAGE_SIZE
        end = min(end, limit)
        if start < end:
            edges.setdefault(start, []).append(item.kind)
            edges.setdefault(end, []).append(-item.kind)
    return edges


def normalise(ranges: Iterable[FirmwareRange], limit: int) -> list[FirmwareRange]:
    """The map of addresses below `limit` (bytes), as disjoint ascending ranges."""
    events = _edges(ranges, limit)
    depth = [0] * (max(MemoryKind) + 1)
    out: list[FirmwareRange] = []
    place, kind = 0, 0
    for address in sorted(events):
        if kind and address > place:
            joins = bool(out) and out[-1].end == place and out[-1].kind == kind
            start = out.pop().start if joins else place
            out.append(FirmwareRange(start, address, MemoryKind(kind)))
        for change in events[address]:
            depth[abs(change)] += 1 if change > 0 else -1
        place = address
        kind = max((k for k in MemoryKind if depth[k]), default=0)
    return out
