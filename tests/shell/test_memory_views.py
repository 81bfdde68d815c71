"""What the shell shows of memory: `memory` and its words, and the picture of all frames."""

from __future__ import annotations

import struct
import zlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.boot.zones import Zone
from octavo.machine.abi import State
from octavo.machine.ram import Ram
from octavo.memory.frames.pfn import PfnDatabase
from octavo.shell.picture import LEGEND, PALETTE, STATES, grid_of, picture
from octavo.shell.raster import letters
from octavo.shell.shell import Shell
from tests.boxes import overlap


def test_memory_views_in_the_shell(tmp_path: Path) -> None:
    """buddy, slab, pool, stat, a frame, a picture; and what makes no sense."""
    with octavo.boot(memory="16M") as system:
        system.attach_ram_disk()
        out: list[str] = []
        shell = Shell(system, out.append)
        free = system.memory.physical.available
        for view in ("slab", "pool", "spaces"):
            shell.execute(f"memory {view}")
        assert len(out) == 3 and system.memory.physical.available == free  # looking takes nothing
        cache = system.kernel.caches.create("inode", 152)
        address = cache.allocate()
        system.kernel.nonpaged.allocate(1000, "File")
        stack = system.kernel.stacks.allocate(16384)

        def say(line: str) -> str:
            out.clear()
            shell.execute(line)
            return "\n".join(out)

        assert "DMA " in say("memory buddy") and "usable for an order" in say("memory buddy")
        assert "inode" in say("memory slab")
        assert "File" in say("memory pool") and "Stacks: 1 in use" in say("memory pool")
        assert f"nr_free {system.memory.pfns.counts[State.FREE]}" in say("memory stat")
        assert "held by slab inode" in say(f"memory {address >> 12:#x}")
        assert (
            "held by kernel stacks; firmware range 0x" in say(f"memory {stack.frames[0]}")
            and "usable, zone D" in out[0]
        )
        path = tmp_path / "frames.png"
        assert "1 frame a cell, 128 cells a row" in say(f'memory picture "{path}"')
        look_at_picture(system, path)
        assert "neither a frame number" in say("memory nonsense") and shell.status == 2
        assert "takes nothing after it" in say("memory buddy all")
        assert (
            "/no/such/x.png: No such file or directory" in say("memory picture /no/such/x.png")
            and shell.status == 1
        )
        system.kernel.stacks.free(stack)
        cache.free(address)
        system.check()


def pixels_of(path: Path) -> np.ndarray:
    """The pixels of a PNG with an indexed palette and unfiltered rows; its chunks' checksums are
    looked at.
    """
    data, at, body = path.read_bytes(), 8, b""
    width = height = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        part = data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + part)
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", part)
        elif kind == b"PLTE":
            assert part == bytes(v for colour in PALETTE for v in colour)
        elif kind == b"IDAT":
            body += part
        at += 12 + size
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


def shows(pixels: np.ndarray, text: str) -> bool:
    """True when a text stands somewhere in a picture, in ink on paper."""
    shape = letters(text).astype(np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, shape.shape)
    likely = windows[..., 0, 0] == shape[0, 0]
    for y, x in ((2, 2), (4, 0), (8, 4), (4, 8), (0, 10)):
        likely &= windows[..., y, x] == shape[y, x]
    return any((windows[y, x] == shape).all() for y, x in zip(*np.nonzero(likely), strict=True))


def look_at_picture(system: octavo.System, path: Path) -> None:
    """Every frame's cell has the colour of its state and owner, by `explain`; addresses, zones
    and the legend are there.
    """
    pfns = system.memory.pfns
    grid, pixels = grid_of(pfns.frames), pixels_of(path)
    found = [
        pixels[y + grid.zoom // 2 + 1, x + grid.zoom // 2 + 1] - 2
        for x, y in (grid.cell(pfn) for pfn in range(pfns.frames))
    ]
    for pfn, index in enumerate(found):
        name, text = LEGEND[index][0], system.memory.explain(pfn)
        if pfns.state_of(pfn) != State.ACTIVE:
            assert name == STATES[pfns.state_of(pfn)][0], text
        elif name == "files and sections":
            assert ", page " in text
        elif name == "other":
            assert text.endswith("active")
        else:
            assert name.removesuffix(" caches") in text
    for index in set(found):
        assert shows(pixels, f"{LEGEND[index][0]} {found.count(index)}"), LEGEND[index]
    assert {"slab caches", "kernel stacks", "nonpaged pool", "PFN database", "free", "absent"} <= {
        LEGEND[i][0] for i in found
    }
    for text in ("DMA", "DIRECTMAP", "a cell is 1 frame, a row 512 KiB", "8 MiB"):
        assert shows(pixels, text), text
    x, y = grid.cell(system.plan.zones[1].first)
    assert (pixels[y, x : grid.left + grid.width * grid.zoom] == 1).all() and not (
        pixels[y - 1, x:] == 1
    ).all()


@pytest.mark.parametrize("frames", [1, 63, 64, 4097, 70000, (1 << 22) + 1, 5 << 22])
def test_pictures_of_any_size(frames: int) -> None:
    """Texts lie inside the picture, not over each other and not over the cells; a zone may begin
    anywhere.
    """
    pfns = PfnDatabase(Ram(frames, paper=True), frames, 0)
    zones = [
        Zone(name, first, frames, 1)
        for name, first in (("DMA", 1), ("DIRECTMAP", 4096), ("DMA32", 5001), ("HIGHMEM", 70001))
        if first < frames
    ]
    raster, grid = picture(pfns, zones)
    height, width = raster.pixels.shape
    bottom, right = grid.top + grid.rows * grid.zoom, grid.left + grid.width * grid.zoom
    assert grid.rows * grid.width * grid.share >= frames and right - grid.left >= min(1024, 64 * 16)
    boxes = raster.texts
    assert len(boxes) >= 3 + len(zones)
    for x, y, w, h in boxes:
        assert x >= 0 and x + w <= width and y >= 0 and y + h <= height
        assert x + w <= grid.left or x >= right or y + h <= grid.top or y >= bottom
    assert not any(overlap(a, b) for a, b in combinations(boxes, 2))
