"""Drawings of physical and virtual memory as SVG: two columns of stretches, low addresses at the bottom.

Sizes go from 4 KiB to 128 PiB, so heights grow with the logarithm of a stretch's size; gaps are drawn as thin, hatched bands.
"""

from __future__ import annotations

from html import escape
from math import log2

from octavo.boot.layout import Region
from octavo.boot.plan import BootPlan
from octavo.machine.firmware import MemoryKind
from octavo.machine.ram import PAGE_SHIFT, PAGE_SIZE

_KINDS = {
    MemoryKind.USABLE: "#7fbf7b",
    MemoryKind.TEMPORARY: "#b8e0b2",
    MemoryKind.ACPI: "#fdd49e",
    MemoryKind.NVS: "#fdbb84",
    MemoryKind.RUNTIME: "#e7d4e8",
    MemoryKind.IO: "#c2a5cf",
    MemoryKind.RESERVED: "#cccccc",
    MemoryKind.UNUSABLE: "#666666",
}
_REGIONS = ["#92c5de", "#d1e5f0", "#fddbc7", "#f4a582", "#b8e186", "#e6f5d0", "#de77ae", "#fde0ef", "#80cdc1", "#c7eae5", "#dfc27d", "#f6e8c3"]
_LEFT, _WIDTH, _GAP, _TOP, _LEAST, _STEP, _HOLE = 150, 230, 560, 70, 17, 2.2, 9
MOST_STRETCHES = 400

Stretch = tuple[int, int, str, str]  # start, end, label, colour


def draw_maps(name: str, plan: BootPlan, layout: list[Region]) -> str:
    """The drawing for a boot plan and a layout, as SVG text."""
    physical = [(r.start, r.end, r.kind.name.lower(), _KINDS[r.kind]) for r in plan.ranges]
    virtual = [(r.start, r.end, r.name, _REGIONS[i % len(_REGIONS)]) for i, r in enumerate(layout)]
    parts: list[str] = []
    height = 0.0
    for column, (title, stretches) in enumerate((("Physical memory", physical), ("Virtual addresses", virtual))):
        body, used = _column(_LEFT + column * _GAP, title, _bounded(stretches))
        parts += body
        height = max(height, used)
    parts += _segments(plan, _LEFT)
    width = _LEFT + _GAP + _WIDTH + 130
    title = f"{name}, {plan.arch.name}: {plan.managed >> 8} MiB managed, PFN database of {plan.database[1] * PAGE_SIZE >> 10} KiB"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height + 30:.0f}" font-family="sans-serif" font-size="11">'
        '<defs><pattern id="hole" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect width="6" height="6" fill="#fff"/><rect width="2" height="6" fill="#ddd"/></pattern></defs>'
        f'<rect width="100%" height="100%" fill="#fff"/><text x="20" y="26" font-size="15" font-weight="bold">{escape(title)}</text>'
    )
    return head + "".join(parts) + "</svg>\n"


def _bounded(stretches: list[Stretch]) -> list[Stretch]:
    """At most MOST_STRETCHES: the smallest are left out of a map that has more."""
    if len(stretches) <= MOST_STRETCHES:
        return stretches
    keep = sorted(stretches, key=lambda s: s[0] - s[1])[:MOST_STRETCHES]
    return sorted(keep)


def _column(x: int, title: str, stretches: list[Stretch]) -> tuple[list[str], float]:
    """One column, highest address on top; returns its elements and the height it took."""
    parts = [f'<text x="{x}" y="52" font-size="13" font-weight="bold">{title}</text>']
    y = float(_TOP)
    above = None
    for start, end, label, colour in reversed(stretches):
        if above is not None and end < above:
            parts.append(f'<rect x="{x}" y="{y:.1f}" width="{_WIDTH}" height="{_HOLE}" fill="url(#hole)"/>')
            y += _HOLE
        height = _LEAST + _STEP * max(0.0, log2((end - start) / PAGE_SIZE))
        parts.append(f'<rect x="{x}" y="{y:.1f}" width="{_WIDTH}" height="{height:.1f}" fill="{colour}" stroke="#555" stroke-width="0.5"/>')
        middle = y + height / 2 + 4
        parts.append(f'<text x="{x + 8}" y="{middle:.1f}">{escape(label)}</text>')
        parts.append(f'<text x="{x + _WIDTH - 8}" y="{middle:.1f}" text-anchor="end" fill="#333">{_size(end - start)}</text>')
        parts.append(f'<text x="{x - 6}" y="{y + height - 2:.1f}" text-anchor="end" font-family="monospace" font-size="10" fill="#333">{start:#x}</text>')
        y += height
        above = start
    return parts, y


def _segments(plan: BootPlan, x: int) -> list[str]:
    """The legend of segments beside the physical column."""
    parts = []
    for i, s in enumerate(plan.segments):
        y = _TOP + 14 + i * 30
        parts.append(f'<text x="{x + _WIDTH + 14}" y="{y}" font-weight="bold">{s.name}</text>')
        span = f"{s.first << PAGE_SHIFT:#x} - {(s.end << PAGE_SHIFT) - 1:#x}"
        parts.append(f'<text x="{x + _WIDTH + 14}" y="{y + 13}" font-size="10" fill="#333">{span}, {_size(s.usable << PAGE_SHIFT)} usable</text>')
    return parts


def _size(count: int) -> str:
    from octavo.cli.map import human

    return human(count)
