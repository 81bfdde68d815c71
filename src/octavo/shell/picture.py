"""A picture of physical memory: a cell for each frame, its colour what the frame is, and who has
it.

    title: which frames, how many a cell, how much a row
    address +----------------+
            | cells          |  DMA
    address |      +---------+        a line between zones, stepped where it falls within a row
            +------+         |  DIRECTMAP
            +----------------+
    legend: colour, name, frames

Rows are a power of two wide, so that blocks of the buddy allocator are rectangles. Cells are
squares of as many pixels as make the grid GRID wide, up to MOST_ZOOM; a zone's line lies on the
upper edge of its cells. Where the machine has more frames than MOST_CELLS, a cell shows the first
of the frames that share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo.boot.zones import Zone
from octavo.machine.abi import HOLDER, PAGE_SHIFT, PTE, STATE, State
from octavo.memory.frames.pfn import ENTRY_BYTES, PfnDatabase
from octavo.shell.raster import LETTER, LINE, Colour, Raster

MOST_CELLS = 1 << 22
GRID = 1024
MOST_ZOOM = 16
_PAPER, _INK, _KINDS = 0, 1, 2  # palette indices; the kinds' begin at the last
_MARGIN, _ROW = 12, 16
_LEFT, _RIGHT = 11 * LETTER + _MARGIN, 12 * LETTER
_COLUMN = 31 * LETTER + _ROW  # of the legend

STATES = {
    State.ZEROED: ("zeroed", (0xD9, 0xF0, 0xD3)),
    State.FREE: ("free", (0x7F, 0xBF, 0x7B)),
    State.POOLED: ("free, in a processor's pool", (0x1B, 0x78, 0x37)),
    State.STANDBY: ("standby", (0x92, 0xC5, 0xDE)),
    State.MODIFIED: ("modified", (0xF4, 0xA5, 0x82)),
    State.TRANSITION: ("in I/O", (0xE7, 0xD4, 0x2A)),
    State.BAD: ("bad", (0x60, 0x00, 0x00)),
    State.ABSENT: ("absent", (0xE8, 0xE8, 0xE8)),
}
OWNERS = {  # of active frames; holders by what their names begin with
    "": ("other", (0x80, 0x80, 0x80)),
    "files and sections": ("files and sections", (0x21, 0x66, 0xAC)),
    "private memory": ("private memory", (0x76, 0x2A, 0x83)),
    "page tables": ("page tables", (0xE0, 0x82, 0x14)),
    "slab": ("slab caches", (0xC5, 0x1B, 0x7D)),
    "nonpaged pool": ("nonpaged pool", (0x01, 0x66, 0x5E)),
    "paged pool": ("paged pool", (0x35, 0x97, 0x8F)),
    "kernel stacks": ("kernel stacks", (0x8C, 0x51, 0x0A)),
    "PFN database": ("PFN database", (0xB2, 0x18, 0x2B)),
    "devices": ("devices and RAM disks", (0x4D, 0x4D, 0x4D)),
    "prototype": ("prototype PTEs", (0xB3, 0xA0, 0x2A)),
}
LEGEND: list[tuple[str, Colour]] = [*STATES.values(), *OWNERS.values()]
PALETTE: list[Colour] = [(0xFF, 0xFF, 0xFF), (0x00, 0x00, 0x00), *(colour for _, colour in LEGEND)]


def kinds(pfns: PfnDatabase) -> npt.NDArray[np.uint8]:
    """What each frame is, as an index into LEGEND: its state, or for an active one its owner."""
    of_state = np.full(max(State) + 1, len(STATES), np.uint8)
    of_state[list(STATES)] = range(len(STATES))
    owners = {name: len(STATES) + i for i, name in enumerate(OWNERS)}
    of_holder = np.array(
        [
            next((i for name, i in owners.items() if name and holder.startswith(name)), owners[""])
            for holder in pfns.holders
        ],
        np.uint8,
    )
    table = pfns.table
    owner = of_holder[table[:, HOLDER]]
    owner[(table[:, HOLDER] == 0) & (table[:, PTE] != 0)] = owners["files and sections"]
    owner[pfns.first : pfns.first - (-pfns.frames * ENTRY_BYTES >> PAGE_SHIFT)] = owners[
        "PFN database"
    ]
    return np.where(table[:, STATE] == State.ACTIVE, owner, of_state[table[:, STATE]])


@dataclass
class Grid:
    """Cells of `share` frames each, `width` in a row; a cell is a square of `zoom` pixels, the
    first at (left, top).
    """

    frames: int
    share: int
    width: int
    zoom: int
    left: int = _LEFT
    top: int = _MARGIN + LINE + _ROW

    @property
    def rows(self) -> int:
        """Rows of cells."""
        return -(-self.frames // (self.share * self.width))

    def cell(self, pfn: int) -> tuple[int, int]:
        """The upper left pixel of a frame's cell."""
        row, column = divmod(pfn // self.share, self.width)
        return self.left + column * self.zoom, self.top + row * self.zoom


def grid_of(frames: int) -> Grid:
    """The grid for so many frames."""
    share = 1
    while -(-frames // share) > MOST_CELLS:
        share *= 2
    width = 64
    while width * width * share < frames:
        width *= 2
    return Grid(frames, share, width, max(1, min(GRID // width, MOST_ZOOM)))


def picture(pfns: PfnDatabase, zones: Sequence[Zone]) -> tuple[Raster, Grid]:
    """The picture of a machine's frames, and where its cells are."""
    grid = grid_of(pfns.frames)
    found = kinds(pfns)
    counts = np.bincount(found, minlength=len(LEGEND)).tolist()
    shown = [i for i, count in enumerate(counts) if count]
    bottom = grid.top + grid.rows * grid.zoom
    across = max(1, (grid.width * grid.zoom + _RIGHT) // _COLUMN)
    raster = Raster(
        grid.left + grid.width * grid.zoom + _RIGHT,
        bottom + _MARGIN + -(-len(shown) // across) * _ROW + _MARGIN,
    )
    drawn = _pixels(grid, found)
    raster.pixels[grid.top : bottom, grid.left : grid.left + drawn.shape[1]] = drawn
    _title(raster, grid)
    _axis(raster, grid)
    _zones(raster, grid, zones)
    _legend(raster, {i: counts[i] for i in shown}, across, bottom + _MARGIN)
    return raster, grid


def _pixels(grid: Grid, found: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The cells of frames that are these kinds, in pixels."""
    cells = np.full(grid.rows * grid.width, _PAPER, np.uint8)
    cells[: -(-grid.frames // grid.share)] = found[:: grid.share] + _KINDS
    return cells.reshape(grid.rows, grid.width).repeat(grid.zoom, 0).repeat(grid.zoom, 1)


def _size(count: int) -> str:
    """Bytes, short: 640 KIB, 1.5 MIB."""
    for power, name in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << power:
            return f"{count / (1 << power):.2f}".rstrip("0").rstrip(".") + f" {name}"
    return str(count)


def _title(raster: Raster, grid: Grid) -> None:
    each = "1 frame" if grid.share == 1 else f"the first of {grid.share} frames"
    row = _size(grid.width * grid.share << PAGE_SHIFT)
    text = (
        f"{grid.frames} frames of 4 KiB; a cell is {each}, a row {row}; colours: state, of "
        "active frames the owner"
    )
    raster.text(_MARGIN, _MARGIN, text.replace(";", ","), _INK)


def _axis(raster: Raster, grid: Grid) -> None:
    """The address at which every so many rows begin."""
    step = 1
    while step * grid.zoom < LINE + 4:
        step *= 2
    while grid.rows / step > 32:
        step *= 2
    for row in range(0, grid.rows, step):
        y = min(grid.top + row * grid.zoom, raster.pixels.shape[0] - LINE)
        text = _size(row * grid.width * grid.share << PAGE_SHIFT)
        raster.text(grid.left - 8 - LETTER * len(text), y, text, _INK)
        raster.fill(grid.left - 6, y, 4, 1, _INK)


def _legend(raster: Raster, counts: dict[int, int], across: int, top: int) -> None:
    """The kinds that there are, `across` in a row, and how many frames are of each."""
    for at, (i, count) in enumerate(counts.items()):
        x, y = _MARGIN + at % across * _COLUMN, top + at // across * _ROW
        raster.fill(x, y, LINE, LINE, i + _KINDS)
        raster.text(x + _ROW, y, f"{LEGEND[i][0]} {count}"[: _COLUMN // LETTER - 3], _INK)


def _zones(raster: Raster, grid: Grid, zones: Sequence[Zone]) -> None:
    """A stepped line where a zone begins, and its name at the right of its first whole row."""
    free = grid.top
    end = grid.left + grid.width * grid.zoom
    for i, zone in enumerate(zones):
        x, y = grid.cell(zone.first if i else 0)
        if i:
            line = max(1, grid.zoom // 4)
            raster.fill(x, y, end - x, line, _INK)
            if x > grid.left:
                raster.fill(grid.left, y + grid.zoom, x - grid.left, line, _INK)
                raster.fill(x, y, line, grid.zoom, _INK)
        y = max(y, free)
        if y + LINE <= raster.pixels.shape[0]:
            raster.text(end + 8, y, zone.name, _INK)
            raster.fill(end + 2, y, 4, 1, _INK)
        free = y + LINE + 4
