"""Zones: stretches of physical memory that differ in who can reach them. GNU Mach calls them
segments, X15 and Linux zones.

             DMA       DIRECTMAP    DMA32      HIGHMEM
    i386     < 16 MiB  < 872 MiB               < 4 GiB
    pae      < 16 MiB  < 872 MiB    < 4 GiB    < 2^36
    x86-64   < 16 MiB  < 1536 MiB   < 4 GiB    < 2^52
    la57     as x86-64

A use that reaches a zone reaches all below it, and takes the highest first, so that the scarce
low ones last:

    use      who                                        falls back along
    any      user pages, file cache                     HIGHMEM, DMA32, DIRECTMAP, DMA
    dma32    devices with 32 address bits               DMA32, DIRECTMAP, DMA
    kernel   what the kernel must see all the time      DIRECTMAP, DMA
    dma      devices with 24 address bits (ISA)         DMA

`reach` shows what that means: a kernel that takes all its memory by the use `kernel` stops at
DIRECTMAP's end (872 MiB on i386), however much the machine has. GNU Mach did before it had HIGHMEM.

Source: GNU Mach's vm_param.h bounds and vm_page fallback (its PAE comment has DIRECTMAP fall back
to DMA32; that is above it and not reachable, and its code does as here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octavo.machine.abi import PAGE_SHIFT
from octavo.machine.paging import PageTableFormat

MIB = 1 << 20
_BOUNDS = {
    "i386": (("DMA", 16 * MIB), ("DIRECTMAP", 872 * MIB)),
    "pae": (("DMA", 16 * MIB), ("DIRECTMAP", 872 * MIB), ("DMA32", 4096 * MIB)),
    "x86-64": (("DMA", 16 * MIB), ("DIRECTMAP", 1536 * MIB), ("DMA32", 4096 * MIB)),
    "la57": (("DMA", 16 * MIB), ("DIRECTMAP", 1536 * MIB), ("DMA32", 4096 * MIB)),
}
FALLBACK = {
    "any": ("HIGHMEM", "DMA32", "DIRECTMAP", "DMA"),
    "dma32": ("DMA32", "DIRECTMAP", "DMA"),
    "kernel": ("DIRECTMAP", "DMA"),
    "dma": ("DMA",),
}


@dataclass(frozen=True)
class Zone:
    """Frames [first, end) of one kind of reach, `usable` of them usable memory."""

    name: str
    first: int
    end: int
    usable: int


def zones_of(arch: PageTableFormat, runs: Sequence[tuple[int, int]]) -> list[Zone]:
    """The zones that usable runs (first frame, count) fall into, lowest first, empty ones left
    out.
    """
    bounds = [*_BOUNDS[arch.name], ("HIGHMEM", arch.physical_limit)]
    out = []
    start = 0
    for name, limit in bounds:
        end = limit >> PAGE_SHIFT
        parts = [(max(f, start), min(f + c, end)) for f, c in runs if f < end and f + c > start]
        if parts:
            out.append(
                Zone(
                    name,
                    min(a for a, _ in parts),
                    max(b for _, b in parts),
                    sum(b - a for a, b in parts),
                )
            )
        start = end
    return out


def reach(zones: Sequence[Zone]) -> dict[str, int]:
    """Frames that each use can have."""
    usable = {z.name: z.usable for z in zones}
    return {use: sum(usable.get(name, 0) for name in names) for use, names in FALLBACK.items()}
