"""Drawings of physical and virtual memory as SVG: two columns of stretches, low addresses at the
bottom.

    title
    Physical memory                      Virtual addresses
    address  +--------------+ ]          address  +--------------+
             | kind    size | ] zone              | region  size |
    address  +--------------+ ]          address  +--------------+
    scale, legend

Sizes go from 4 KiB to 128 PiB, so heights grow with the logarithm of a stretch's size: _LEAST for 4
KiB, _STEP more for each doubling; the drawing says so and shows samples. Gaps are thin, hatched
bands of one height. A bracket beside the physical column is a zone: stretches are cut where a
zone begins or ends, so that it reaches exactly as far as its frames.

A kind, and a region, has one colour on every architecture.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise
from math import log2

from octavo.boot.layout import Region
from octavo.boot.plan import BootPlan
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.firmware import MemoryKind

_KINDS = {
    MemoryKind.USABLE: "#7fbf7b",
    MemoryKind.TEMPORARY: "#b8e0b2",
    MemoryKind.ACPI: "#fdd49e",
    MemoryKind.NVS: "#fdbb84",
    MemoryKind.RUNTIME: "#e7d4e8",
    MemoryKind.IO: "#c2a5cf",
    MemoryKind.RESERVED: "#cccccc",
    MemoryKind.UNUSABLE: "#8c8c8c",
}
REGION_COLOURS = {
    "user": "#92c5de",
    "reserved": "#cccccc",
    "page tables": "#fddbc7",
    "hyperspace": "#f4a582",
    "shared page": "#ffffb3",
    "working set": "#e6f5d0",
    "loader": "#de77ae",
    "system PTEs": "#fde0ef",
    "paged pool": "#80cdc1",
    "nonpaged pool": "#35978f",
    "nonpaged expansion": "#c7eae5",
    "session": "#b8e186",
    "system cache": "#dfc27d",
    "PFN database": "#f6e8c3",
    "hardware": "#c2a5cf",
}
_LEFT, _WIDTH, _GAP, _TOP, _LEAST, _STEP, _HOLE = 150, 230, 560, 70, 17, 2.2, 9
_LABEL = 30  # height of a zone's two lines
MOST_STRETCHES = 400
_MOST_NAME = 50  # characters of the map's name
_SAMPLES = (12, 20, 30, 40)  # powers of two
_SCALE = (
    f"Scale: heights grow with the logarithm of the size: {_LEAST} for 4 KiB, {_STEP} more for "
    "each doubling. Hatched bands are gaps, all of one height."
)
_BRACKETS = (
    "Brackets are zones: memory that differs in who can reach it. Addresses are those of a "
    "stretch's first byte."
)

Stretch = tuple[int, int, str, str]  # start, end, label, colour
Place = tuple[int, int, float, float]  # start, end, top, bottom


def human(count: int) -> str:
    """Bytes in the largest unit that has at least one."""
    for unit, name in ((50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << unit:
            number = count / (1 << unit)
            return f"{number:.0f} {name}" if number == int(number) else f"{number:.1f} {name}"
    return f"{count} B"


def draw_maps(name: str, plan: BootPlan, layout: list[Region]) -> str:
    """The drawing for a boot plan and a layout, as SVG text."""
    virtual = [(r.start, r.end, r.name, REGION_COLOURS[r.name]) for r in layout]
    left, places, low = _column(_LEFT, "Physical memory", _physical(plan))
    right, _, deep = _column(_LEFT + _GAP, "Virtual addresses", virtual)
    zones, lowest = _zones(plan, places)
    legend, bottom = _legend(plan, max(low, deep, lowest) + 30)
    shown = "".join(c if c.isprintable() else "?" for c in name)[-_MOST_NAME:]
    title = (
        f"{shown}, {plan.arch.name}: {human(plan.managed << PAGE_SHIFT)} managed, PFN "
        f"database of {human(plan.database[1] * PAGE_SIZE)}"
    )
    parts = [_text(20, 26, title, 15, "bold"), *left, *zones, *right, *legend]
    return f"{_head(bottom)}{''.join(parts)}</svg>\n"


def _head(height: float) -> str:
    """The beginning of a drawing: its size, the hatching of gaps, its ground."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _GAP + _WIDTH + 130}" '
        f'height="{height:.0f}" font-family="sans-serif" font-size="11">'
        '<defs><pattern id="hole" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)">'
        '<rect width="6" height="6" fill="#fff"/><rect width="2" height="6" '
        'fill="#ddd"/></pattern></defs>'
        '<rect width="100%" height="100%" fill="#fff"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    size: int = 11,
    weight: str = "",
    anchor: str = "",
    font: str = "",
) -> str:
    style = "".join(
        f' {key}="{value}"'
        for key, value in (("font-weight", weight), ("text-anchor", anchor), ("font-family", font))
        if value
    )
    return f'<text x="{x:.0f}" y="{y:.1f}" font-size="{size}"{style}>{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{x:.0f}" y="{y:.1f}" width="{width:.0f}" height="{height:.1f}" '
        f'fill="{fill}" stroke="#555" stroke-width="0.5"/>'
    )


def _height(size: int) -> float:
    return _LEAST + _STEP * max(0.0, log2(size / PAGE_SIZE))


def _physical(plan: BootPlan) -> list[Stretch]:
    """The firmware's ranges, cut where zones begin and end; RAM in no zone is said not to be
    managed.
    """
    spans = [(z.first << PAGE_SHIFT, z.end << PAGE_SHIFT) for z in plan.zones]
    cuts = sorted({edge for span in spans for edge in span})
    out = []
    for r in plan.ranges:
        edges = [r.start, *(cut for cut in cuts if r.start < cut < r.end), r.end]
        for start, end in pairwise(edges):
            managed = not r.kind.ram or any(a <= start < b for a, b in spans)
            out.append(
                (
                    start,
                    end,
                    r.kind.name.lower() + ("" if managed else ", not managed"),
                    _KINDS[r.kind],
                )
            )
    return out


def _column(x: int, title: str, stretches: list[Stretch]) -> tuple[list[str], list[Place], float]:
    """One column, highest address on top: its elements, where each stretch is, and where the column
    ends.
    """
    stretches, left_out = _largest(stretches)
    parts = [_text(x, 52, title + left_out, 13, "bold")]
    places: list[Place] = []
    y, above = float(_TOP), None
    for stretch in reversed(stretches):
        start, end, _, _ = stretch
        if above is not None and end < above:
            parts.append(
                f'<rect x="{x}" y="{y:.1f}" width="{_WIDTH}" height="{_HOLE}" fill="url(#hole)"/>'
            )
            y += _HOLE
        parts += _box_of(stretch, x, y)
        height = _height(end - start)
        places.append((start, end, y, y + height))
        y, above = y + height, start
    return parts, places, y


def _largest(stretches: list[Stretch]) -> tuple[list[Stretch], str]:
    """As many as a drawing has room for, the largest, and words on those that are left out."""
    left_out = len(stretches) - MOST_STRETCHES
    if left_out <= 0:
        return stretches, ""
    largest = sorted(stretches, key=lambda s: s[0] - s[1])[:MOST_STRETCHES]
    words = f" (the {left_out} smallest of {left_out + MOST_STRETCHES} ranges are not shown)"
    return sorted(largest), words


def _box_of(stretch: Stretch, x: int, y: float) -> list[str]:
    """A stretch whose upper left corner is at (x, y): its box, label, size and address."""
    start, end, label, colour = stretch
    height = _height(end - start)
    middle = y + height / 2 + 4
    return [
        _box(x, y, _WIDTH, height, colour),
        _text(x + 8, middle, label),
        _text(x + _WIDTH - 8, middle, human(end - start), anchor="end"),
        _text(x - 6, y + height - 2, f"{start:#x}", 10, anchor="end", font="monospace"),
    ]


def _zones(plan: BootPlan, places: list[Place]) -> tuple[list[str], float]:
    """A bracket beside the stretches of each zone, and its name beside that, as near as the
    others let it be.
    """
    x = _LEFT + _WIDTH + 8
    parts: list[str] = []
    free = float(_TOP)
    for z in reversed(plan.zones):
        inside = [p for p in places if p[0] < z.end << PAGE_SHIFT and p[1] > z.first << PAGE_SHIFT]
        if not inside:
            continue
        top, bottom = min(p[2] for p in inside) + 1, max(p[3] for p in inside) - 1
        y = max(free, (top + bottom) / 2 - _LABEL / 2)
        free = y + _LABEL
        bracket = (
            f"M{x - 4} {top:.1f}H{x}V{bottom:.1f}H{x - 4}M{x} "
            f"{(top + bottom) / 2:.1f}L{x + 12} {y + _LABEL / 2:.1f}"
        )
        parts.append(f'<path class="zone" d="{bracket}" fill="none" stroke="#333"/>')
        parts.append(_text(x + 16, y + 12, z.name, weight="bold"))
        parts.append(_text(x + 16, y + 25, f"{human(z.usable << PAGE_SHIFT)} usable", 10))
    return parts, free


def _legend(plan: BootPlan, y: float) -> tuple[list[str], float]:
    """What heights, bands, brackets and colours mean; returns its elements and where the drawing
    ends.
    """
    heights, below = _heights(y + 30)
    kinds = _kinds(plan, below)
    return [_text(20, y, _SCALE), _text(20, y + 18, _BRACKETS), *heights, *kinds], below + 36


def _heights(y: float) -> tuple[list[str], float]:
    """Samples of sizes, and where they end."""
    parts = [_text(20, y + 14, "Heights", weight="bold")]
    for i, power in enumerate(_SAMPLES):
        parts += [
            _box(120 + i * 130, y, 40, _height(1 << power), "#eee"),
            _text(168 + i * 130, y + 14, human(1 << power)),
        ]
    return parts, y + _height(1 << _SAMPLES[-1]) + 14


def _kinds(plan: BootPlan, y: float) -> list[str]:
    """The colours of the kinds of memory that a map has."""
    parts = [_text(20, y + 12, "Kinds", weight="bold")]
    for i, kind in enumerate(sorted({r.kind for r in plan.ranges})):
        parts += [
            _box(120 + i * 110, y, 16, 16, _KINDS[kind]),
            _text(142 + i * 110, y + 12, kind.name.lower()),
        ]
    return parts
