"""The kernel's address space: ExectOS's cases, and disjoint, canonical and monotone at every
size.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.boot.layout import Region, compute_layout, find_region, minimum_pages, region_sizes
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.paging import FORMATS, PageTableFormat
from octavo.status import StatusError

ARCHES = list(FORMATS.values())
# Frames: what the format's entries reach, or on x86-64 what 5.5 TiB of PFN database describe (2^49
# bytes of memory and the pools).
LIMITS = {"i386": 1 << 20, "pae": 1 << 24, "x86-64": 1 << 37, "la57": 1 << 40}


def canonical(arch: PageTableFormat, address: int) -> bool:
    """By the processor's rule."""
    if arch.virtual_bits == 32:
        return address < 1 << 32
    top = address >> (arch.virtual_bits - 1)
    return top in (0, (1 << (65 - arch.virtual_bits)) - 1)


def check_layout(arch: PageTableFormat, regions: list[Region]) -> None:
    """Page-aligned, disjoint, canonical, all there."""
    assert all(r.start % PAGE_SIZE == 0 == r.end % PAGE_SIZE and r.start < r.end for r in regions)
    assert all(a.end <= b.start for a, b in pairwise(regions)), regions
    assert all(canonical(arch, r.start) and canonical(arch, r.end - 1) for r in regions)
    names = {r.name for r in regions}
    assert {
        "user",
        "loader",
        "PFN database",
        "nonpaged pool",
        "paged pool",
        "system PTEs",
        "session",
        "system cache",
        "hyperspace",
        "page tables",
        "hardware",
    } <= names


def sizes_of(arch: str, pages: int) -> tuple[int, int, int, int]:
    """(nonpaged, its maximum, paged, system PTEs)."""
    s = region_sizes(FORMATS[arch], pages, pages + 96)
    return s.nonpaged, s.nonpaged + s.expansion, s.paged, s.system_ptes


@pytest.mark.parametrize("arch", ARCHES, ids=lambda a: a.name)
def test_every_size_is_disjoint_and_monotone(arch: PageTableFormat) -> None:
    """30: from the minimum to the limit, dense where the formulas bend; no region shrinks as memory
    grows (the expansion counts with what it expands).
    """
    least, limit = minimum_pages(arch), LIMITS[arch.name]
    bends = [4863, 4864, 6143, 6144, 8192, 8193, 65536, 65537, 126975, 126976]
    steps = sorted(
        {
            least,
            limit - 97,
            *bends,
            *(b + d for b in bends for d in (-256, 255, 256)),
            *(least * 103**i // 100**i for i in range(1, 900)),
        }
    )
    before: dict[str, int] = {}
    for pages in (p for p in steps if least <= p <= limit - 97):
        regions = compute_layout(arch, pages, min(pages + 96, limit - 1))
        check_layout(arch, regions)
        sizes = {r.name: r.pages for r in regions}
        sizes["nonpaged maximum"] = sizes["nonpaged pool"] + sizes.pop("nonpaged expansion", 0)
        assert all(sizes.get(name, 0) >= size for name, size in before.items()), pages
        before = sizes


@given(arch=st.sampled_from(ARCHES), data=st.data())
def test_any_size_and_highest_frame(arch: PageTableFormat, data: st.DataObject) -> None:
    """Holes, so that the highest frame is far above the count, and any image."""
    pages = data.draw(st.integers(minimum_pages(arch), LIMITS[arch.name] - 1))
    highest = data.draw(st.integers(pages - 1, LIMITS[arch.name] - 1))
    check_layout(arch, compute_layout(arch, pages, highest, data.draw(st.integers(1, 8192))))


def test_system_ptes() -> None:
    """24 and 25."""
    assert [sizes_of("i386", p)[3] for p in (4863, 4864, 8192, 8193, 65536, 65537)] == [
        7000,
        11000,
        11000,
        22000,
        22000,
        44000,
    ]
    assert [sizes_of("x86-64", p)[3] for p in (6143, 6144)] == [7000, 11000]


def test_the_nonpaged_maximum_does_not_fall() -> None:
    """27: at 126976 pages ExectOS goes from 49356 to 32768."""
    nonpaged, most, _, _ = sizes_of("i386", 126975)
    # what the expansion window of 32,799 pages leaves of the formula's 49356
    assert most == min(49356, nonpaged + 32799) <= sizes_of("i386", 126976)[1]


def test_formulas() -> None:
    """Values worked out by hand from the reference."""
    assert sizes_of("i386", 1100) == (512, 512, 8192, 7000)
    assert sizes_of("pae", 32768) == (512, 256 + 100 * 124, 48128, 22000)
    assert sizes_of("i386", 32768) == (
        512,
        256 + 100 * 124,
        25 * 1024,
        22000,
    )  # twice 12656 pages, in units of 1024
    assert sizes_of("pae", 8192) == (
        512,
        256 + 100 * 28,
        24 * 512,
        11000,
    )  # four times 3056, in units of 512
    assert sizes_of("i386", 65537)[0] == 64 + 8 * 252
    assert sizes_of("x86-64", 2048) == (256, 256, 12288, 7000)
    k = (262144 - 4096) // 256
    assert sizes_of("x86-64", 262144)[:3] == (
        256 + 8 * k,
        256 + 100 * k,
        790 * 512,
    )  # four times 101056, in units of 512


def test_fixed_places() -> None:
    """Windows where the reference has them; LA57 by the architecture, not by ExectOS's slip."""
    short = {r.name: r for r in compute_layout(FORMATS["pae"], 10000, 10096)}
    assert (short["session"].start, short["session"].end) == (0xB9400000, 0xC0000000)
    assert (short["hyperspace"].start, short["page tables"].pages) == (0xC0800000, 2048)
    assert {r.name: r.start for r in compute_layout(FORMATS["i386"], 10000, 10096)}[
        "hyperspace"
    ] == 0xC0400000
    five = {r.name: r for r in compute_layout(FORMATS["la57"], 10000, 10096)}
    assert (
        five["user"].end <= 1 << 56
        and five["reserved"].start == 0xFF00000000000000
        and five["page tables"].end - five["page tables"].start == 1 << 48
    )
    four = {r.name: r for r in compute_layout(FORMATS["x86-64"], 10000, 10096)}
    assert (
        four["PFN database"].start == 0xFFFFFA8000000000
        and four["nonpaged pool"].start == four["PFN database"].end
    )


def test_below_the_minimum_and_above_the_limit() -> None:
    """33: refused with the figures (NT's stop 0x7D)."""
    with pytest.raises(StatusError, match="1099 frames of memory are too few: i386 needs 1100"):
        compute_layout(FORMATS["i386"], 1099, 1200)
    with pytest.raises(
        StatusError,
        match="2047 frames of memory are too few: x86-64 needs 2048 \\(8192 KiB\\); install more "
        "memory",
    ):
        compute_layout(FORMATS["x86-64"], 2047, 3000)
    with pytest.raises(StatusError, match="beyond the 32 physical bits"):
        compute_layout(FORMATS["i386"], 2000, 1 << 20)
    with pytest.raises(StatusError, match="more memory than the layout holds"):
        compute_layout(FORMATS["x86-64"], 1 << 39, (1 << 39) + 5)
    with pytest.raises(StatusError, match="more memory than the layout holds"):
        compute_layout(FORMATS["pae"], 1 << 20, 1 << 21, 300_000)


def test_what_lies_at_an_address() -> None:
    """By address, and between regions."""
    regions = compute_layout(FORMATS["x86-64"], 10000, 10096)
    found = find_region(regions, 0xFFFFF98000000123)
    assert found is not None and found.name == "system cache"
    assert find_region(regions, 1 << 47) is None
