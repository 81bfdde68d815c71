"""Where every region of the kernel's address space lies, computed from the RAM that was found.

P is the number of usable frames, H the highest frame number. Sizes in pages:

                   i386, PAE:                                        x86-64, LA57:
                   m = max(0, (P - 1024) / 256)                      k = max(0, (P - 4096) / 256)
    nonpaged pool  512 up to P = 65536, then 64 + 8 m, <= 128 MiB    256 + 8 k, <= 128 GiB
    its maximum    256 + 100 m up to P = 126975, then no less        256 + 100 k, <= 128 GiB
                   than there and 256 + 50 m, <= 256 MiB
    paged pool     maximum x 4 (PAE), x 2 (i386), 32 to 188 MiB      4 x maximum, 48 MiB to 128 GiB
    system PTEs    7000 below P = 4864 (6144 in the long modes), then 11000, 22000 above 8192,
                   44000 above 65536
    PFN database   32 bytes for each frame up to H

Regions at fixed places are windows; what is computed grows inside its window. On i386 the window of
loader, PFN database and nonpaged pool is 0x80000000 to 0xB9400000; in the long modes each has
terabytes.

All sizes are monotone in P and H: more memory never makes a region smaller (the nonpaged pool with
its expansion).

Source: ExectOS's mmgr (windows and formulas). Departures, where it fails: the nonpaged maximum does
not fall at P = 126976; m and k are never negative; LA57's system half begins at 0xFF00000000000000
and user space ends below 0x0100000000000000, the first address that is not canonical; under LA57
the PFN database has a window of its own, since 2^40 frames take 32 TiB; the nonpaged pool's
expansion is its maximum less its start on every architecture, as far as its window goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from octavo.arguments import given, whole
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.paging import PageTableFormat
from octavo.status import Status, StatusError

ENTRY_BYTES = 32  # of the PFN database
MOST_FRAMES = 1 << 64 - PAGE_SHIFT  # that addresses of 64 bits have
MIB_PAGES = 256
GIB_PAGES = 1 << 18


@dataclass(frozen=True)
class Region:
    """Addresses [start, end)."""

    name: str
    start: int
    end: int

    @property
    def pages(self) -> int:
        """Its size in pages."""
        return (self.end - self.start) >> PAGE_SHIFT


@dataclass(frozen=True)
class Sizes:
    """The computed sizes, in pages."""

    nonpaged: int
    expansion: int
    paged: int
    system_ptes: int
    database: int


_SHORT_WINDOWS = {
    "loader": (0x80000000, 0xB9400000),
    "paged pool": (0xE1000000, 0xECC00000),
    "expansion": (0xF7BE0000, 0xFFBFF000),
}


def minimum_pages(arch: PageTableFormat) -> int:
    """The least usable frames with which the kernel starts."""
    return 1100 if arch.virtual_bits == 32 else 2048


def region_sizes(arch: PageTableFormat, pages: int, highest: int) -> Sizes:
    """The sizes for `pages` usable frames, the highest of them `highest`."""
    database = -(-(highest + 1) * ENTRY_BYTES // PAGE_SIZE)
    short = arch.virtual_bits == 32
    few = 4864 if short else 6144
    steps = ((65536, 44000), (8192, 22000), (few - 1, 11000), (-1, 7000))
    ptes = next(count for above, count in steps if pages > above)
    pools = _short_pools(arch, pages) if short else _long_pools(pages)
    return Sizes(*pools, ptes, database)


def _short_pools(arch: PageTableFormat, pages: int) -> tuple[int, int, int]:
    """Nonpaged pool, its expansion, paged pool: i386 and PAE."""
    m = max(0, (pages - 1024) // 256)
    nonpaged = 512 if pages <= 65536 else min(64 + 8 * m, 128 * MIB_PAGES)
    most = 256 + 100 * m if pages < 126976 else max(256 + 100 * 491, 256 + 50 * m)
    most = max(min(most, 256 * MIB_PAGES), nonpaged)
    times, unit = (4, 512) if arch.name == "pae" else (2, 1024)
    paged = min(max(most * times, 32 * MIB_PAGES), 188 * MIB_PAGES)
    start, end = _SHORT_WINDOWS["expansion"]
    expansion = min(most - nonpaged, end - start >> PAGE_SHIFT)
    return nonpaged, expansion, -(-paged // unit) * unit


def _long_pools(pages: int) -> tuple[int, int, int]:
    """The same in the long modes."""
    k = max(0, (pages - 4096) // 256)
    nonpaged = min(256 + 8 * k, 128 * GIB_PAGES)
    most = min(256 + 100 * k, 128 * GIB_PAGES)
    paged = min(max(48 * MIB_PAGES, 4 * most), 128 * GIB_PAGES)
    return nonpaged, most - nonpaged, -(-paged // 512) * 512


def compute_layout(
    arch: PageTableFormat, pages: int, highest: int, image_pages: int = 512
) -> list[Region]:
    """Every region, ascending, for `pages` usable frames up to number `highest` and a loaded image
    of `image_pages`.

    StatusError INSUFFICIENT_RESOURCES below the minimum, INVALID_PARAMETER for more than the
    architecture can hold, and for what is no architecture or number of pages.
    """
    given(arch, PageTableFormat, "an architecture")
    _check_counts(arch, pages, highest, image_pages)
    sizes = region_sizes(arch, pages, highest)
    regions = _short if arch.virtual_bits == 32 else _long
    return list(regions(arch, sizes, image_pages))


def _check_counts(arch: PageTableFormat, pages: int, highest: int, image_pages: int) -> None:
    """StatusError for numbers of pages that a layout cannot have, or that are no numbers."""
    for count, what in (
        (pages, "the usable frames"),
        (highest, "the highest frame"),
        (image_pages, "the pages of an image"),
    ):
        whole(count, what, 0, MOST_FRAMES)
    least = minimum_pages(arch)
    if pages < least:
        raise StatusError(
            Status.INSUFFICIENT_RESOURCES,
            f"{pages} frames of memory are too few: {arch.name} needs {least} "
            f"({least * PAGE_SIZE >> 10} KiB); install more memory",
        )
    if highest >= arch.physical_limit >> PAGE_SHIFT:
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"frame {highest:#x} lies beyond the {arch.physical_bits} physical bits of {arch.name}",
        )


def _stack(start: int, limit: int, *parts: tuple[str, int]) -> Iterator[Region]:
    """Regions of so many pages one after the other in a window that ends at `limit`."""
    for name, pages in parts:
        end = start + (pages << PAGE_SHIFT)
        if end > limit:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"the {name} of {pages} pages at {start:#x} does not fit below {limit:#x}: "
                "this is more memory than the layout holds",
            )
        if pages:
            yield Region(name, start, end)
        start = end


def _short(arch: PageTableFormat, s: Sizes, image: int) -> Iterator[Region]:
    pae = arch.name == "pae"
    unit = 512 if pae else 1024
    yield Region("user", 0x10000, 0x7FFF0000)
    yield from _stack(
        *_SHORT_WINDOWS["loader"],
        ("loader", -(-image // unit) * unit),
        ("PFN database", s.database),
        ("nonpaged pool", s.nonpaged),
    )
    yield Region("session", 0xB9400000, 0xC0000000)
    tables = 8 << 20 if pae else 4 << 20
    yield Region("page tables", 0xC0000000, 0xC0000000 + tables)
    yield Region("hyperspace", 0xC0000000 + tables, 0xC0400000 + tables)
    yield Region("working set", 0xC0C00000, 0xC1000000)
    yield Region("system cache", 0xC1000000, 0xE1000000)
    yield from _stack(*_SHORT_WINDOWS["paged pool"], ("paged pool", s.paged))
    yield from _stack(0xECC00000, 0xF7BE0000, ("system PTEs", s.system_ptes))
    yield from _stack(*_SHORT_WINDOWS["expansion"], ("nonpaged expansion", s.expansion))
    yield Region("shared page", 0xFFBFF000, 0xFFC00000)
    yield Region("hardware", 0xFFC00000, 1 << 32)


def _long(arch: PageTableFormat, s: Sizes, image: int) -> Iterator[Region]:
    five = arch.name == "la57"
    yield Region("user", 0x10000, 0x00FFFFFFFFFF0000 if five else 0x7FFFFFF0000)
    tables = 0xFFED000000000000 if five else 0xFFFFF68000000000
    yield Region("reserved", 0xFF00000000000000 if five else 0xFFFF800000000000, tables)
    end = tables + (1 << (48 if five else 39))
    yield Region("page tables", tables, end)
    database = (
        ("PFN database", s.database),
        ("nonpaged pool", s.nonpaged),
        ("nonpaged expansion", s.expansion),
    )
    if five:
        yield from _stack(end, 0xFFFFF70000000000, *database)
    yield Region("hyperspace", 0xFFFFF70000000000, 0xFFFFF78000000000)
    yield Region("shared page", 0xFFFFF78000000000, 0xFFFFF78000001000)
    yield Region("working set", 0xFFFFF78000001000, 0xFFFFF80000000000)
    yield from _stack(0xFFFFF80000000000, 0xFFFFF88000000000, ("loader", -(-image // 512) * 512))
    yield from _stack(0xFFFFF88000000000, 0xFFFFF8A000000000, ("system PTEs", s.system_ptes))
    yield from _stack(0xFFFFF8A000000000, 0xFFFFF8C000000000, ("paged pool", s.paged))
    yield Region("session", 0xFFFFF97FBA000000, 0xFFFFF98000000000)
    yield Region("system cache", 0xFFFFF98000000000, 0xFFFFFA8000000000)
    if not five:
        yield from _stack(0xFFFFFA8000000000, 0xFFFFFFFFFFC00000, *database)
    yield Region("hardware", 0xFFFFFFFFFFC00000, 1 << 64)


def find_region(regions: list[Region], address: int) -> Region | None:
    """The region of an address."""
    return next((r for r in regions if r.start <= address < r.end), None)
