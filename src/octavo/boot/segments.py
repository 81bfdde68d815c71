"""Segments: stretches of physical memory that differ in who can reach them.

             DMA       DIRECTMAP    DMA32      HIGHMEM
    i386     < 16 MiB  < 872 MiB               < 4 GiB
    pae      < 16 MiB  < 872 MiB    < 4 GiB    < 2^36
    x86-64   < 16 MiB  < 1536 MiB   < 4 GiB    < 2^52
    la57     as x86-64

Source: GNU Mach's vm_param.h bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octavo.machine.paging import PageTableFormat
from octavo.machine.ram import PAGE_SHIFT

MIB = 1 << 20
_BOUNDS = {
    "i386": (("DMA", 16 * MIB), ("DIRECTMAP", 872 * MIB)),
    "pae": (("DMA", 16 * MIB), ("DIRECTMAP", 872 * MIB), ("DMA32", 4096 * MIB)),
    "x86-64": (("DMA", 16 * MIB), ("DIRECTMAP", 1536 * MIB), ("DMA32", 4096 * MIB)),
    "la57": (("DMA", 16 * MIB), ("DIRECTMAP", 1536 * MIB), ("DMA32", 4096 * MIB)),
}


@dataclass(frozen=True)
class Segment:
    """Frames [first, end) of one kind of reach, `usable` of them usable memory."""

    name: str
    first: int
    end: int
    usable: int


def segments_of(arch: PageTableFormat, runs: Sequence[tuple[int, int]]) -> list[Segment]:
    """The segments that usable runs (first frame, count) fall into, empty ones left out."""
    bounds = [*_BOUNDS[arch.name], ("HIGHMEM", arch.physical_limit)]
    out = []
    start = 0
    for name, limit in bounds:
        end = limit >> PAGE_SHIFT
        parts = [(max(f, start), min(f + c, end)) for f, c in runs if f < end and f + c > start]
        if parts:
            out.append(Segment(name, min(a for a, _ in parts), max(b for _, b in parts), sum(b - a for a, b in parts)))
        start = end
    return out
