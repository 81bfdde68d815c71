"""Physical memory: the allocators against the same algorithms in C, the PFN database of 1 TiB
against memset, and what they cost.

    make bench  or  .venv/bin/python -m benchmarks.physical [--rounds 7] [--json] [--small]

The C side (`physical.c`, gcc -O2) works over the same arrays; after every row both have the same
checksum and the same arrays, so both did the same work. They take turns; a figure is the best of
the rounds. Read the ratios: absolute times mean little on a shared machine.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import physical_kernels
from octavo.heap import slabkernels
from octavo.heap.slab import SlabCaches
from octavo.machine.abi import State
from octavo.machine.kernels import compile_kernels
from octavo.machine.ram import Ram
from octavo.memory.frames import buddykernels, pagepools
from octavo.memory.frames.buddy import Buddy
from octavo.memory.frames.cpupages import CpuPages
from octavo.memory.frames.freeframes import FreeFrames
from octavo.memory.frames.pfn import ENTRY_BYTES, PfnDatabase
from octavo.memory.frames.physical import PhysicalMemory
from octavo.version import VERSION

FRAMES = 1 << 18  # 1 GiB
TIB_FRAMES = 1 << 28
LINUX_PAGE = 64  # bytes of struct page; GNU Mach's vm_page has 72 on x86-64, ExectOS's entry 48
TARGET_RATIO, TARGET_NS = 0.5, 30.0


class Row(NamedTuple):
    """One comparison: operations in a call, and the same call for both sides, which returns a
    checksum.
    """

    name: str
    operations: int
    ours: Callable[[Any], int]
    theirs: Callable[[Any], int]


class Side:
    """One side's arrays: a PFN database, one zone with all frames free, one CPU's pool, one slab
    cache in RAM.
    """

    def __init__(self, link: Any) -> None:
        self.pfns = PfnDatabase(Ram(FRAMES, paper=True), FRAMES, 0)
        self.zone = Buddy(self.pfns)
        self.zone.add(1, FRAMES - 1)
        self.pools = CpuPages(self.zone, 1)
        self.link = link
        self.cache = np.zeros(slabkernels.MAGAZINES + slabkernels.MAGAZINE_WORDS, np.int32)
        k = slabkernels
        self.cache[[k.SIZE, k.PER, k.COLOURS, k.STEP, k.HOLDER, k.LINK_AT]] = [64, 64, 1, 64, 1, 60]
        self.cache[[k.MAGAZINES + k.CAPACITY, k.MAGAZINES + k.TRANSFER]] = [128, 64]
        self.held = np.zeros(4096, np.int32)
        self.first, self.orders = np.zeros(30_000, np.int32), np.zeros(30_000, np.int32)

    def arrays(self) -> list[Any]:
        """Everything that must be the same on both sides."""
        return [
            self.pfns.flat,
            self.zone.array,
            self.pools.array,
            self.cache,
            self.held,
            self.first,
            self.orders,
        ]


def build(folder: Path) -> Any:
    """physical.c as a library."""
    library = folder / "physical.so"
    subprocess.run(
        [
            "gcc",
            "-O2",
            "-shared",
            "-fPIC",
            "-o",
            str(library),
            str(Path(__file__).with_suffix(".c")),
        ],
        check=True,
    )
    loaded = ctypes.CDLL(str(library))
    for name in ("page_pairs", "page_batches", "mixed", "object_pairs", "object_batches"):
        getattr(loaded, name).restype = ctypes.c_int64
    return loaded


def pointers(*arrays: Any) -> list[Any]:
    """Arrays as C sees them."""
    return [a.ctypes.data_as(ctypes.c_void_p) for a in arrays]


def rows(k: Any, c: Any) -> list[Row]:
    """The comparisons."""
    n = ctypes.c_int64

    def base(s: Side) -> list[Any]:
        return [s.pfns.flat, s.zone.array]

    return [
        Row(
            "order 0, pairs", 4_000_000,
            lambda s: k.page_pairs(*base(s), s.pools.array, 2_000_000),
            lambda s: c.page_pairs(*pointers(*base(s), s.pools.array), n(2_000_000)),
        ),
        Row(
            "order 0, 4096 at once", 2_048_000,
            lambda s: k.page_batches(*base(s), s.pools.array, s.held, 250),
            lambda s: c.page_batches(*pointers(*base(s), s.pools.array, s.held), n(4096), n(250)),
        ),
        Row(
            "orders 0 to 6, random", 2_000_000,
            lambda s: k.mixed(*base(s), s.first, s.orders, 2_000_000, 7),
            lambda s: c.mixed(
                *pointers(*base(s), s.first, s.orders), n(len(s.first)), n(2_000_000), n(7)
            ),
        ),
        Row(
            "slab, 64 bytes, pairs", 4_000_000,
            lambda s: k.object_pairs(*base(s), s.link, s.cache, 2_000_000),
            lambda s: c.object_pairs(*pointers(*base(s), s.link, s.cache), n(2_000_000)),
        ),
        Row(
            "slab, 4096 at once", 2_048_000,
            lambda s: k.object_batches(*base(s), s.link, s.cache, s.held, 250),
            lambda s: c.object_batches(
                *pointers(*base(s), s.link, s.cache, s.held), n(4096), n(250)
            ),
        ),
    ]  # fmt: skip


def compare(k: Any, c: Any, rounds: int) -> list[tuple[str, float, float]]:
    """(row, our ns an operation, C's), the best of the rounds; both sides end with equal arrays."""
    link = Ram(FRAMES).array.view(np.int32)
    one, two = Side(link), Side(link.copy())
    out = []
    for row in rows(k, c):
        best = [float("inf"), float("inf")]
        for _ in range(rounds + 1):  # the first is not counted: code is loaded, memory touched
            sums = []
            for i, (run, side) in enumerate(((row.ours, one), (row.theirs, two))):
                start = time.perf_counter()
                sums.append(run(side))
                took = (time.perf_counter() - start) / row.operations * 1e9
                best[i] = min(best[i], took) if _ else best[i]
            assert sums[0] == sums[1], f"{row.name}: the two sides did not do the same"
        assert all(np.array_equal(a, b) for a, b in zip(one.arrays(), two.arrays(), strict=True)), (
            row.name
        )
        out.append((row.name, best[0], best[1]))
    return out


def database(frames: int) -> tuple[float, float]:
    """Seconds to describe `frames` frames and put them on free lists, and for memset of as many
    bytes: memory touched before, for both.
    """
    array = np.empty(frames * 8, np.int32)
    array.fill(0)
    start = time.perf_counter()
    array.fill(0)
    memset = time.perf_counter() - start
    del array
    start = time.perf_counter()
    pfns = PfnDatabase(Ram(frames, paper=True), frames, 0)
    memory = FreeFrames(
        pfns,
        [
            ("DMA", 0, 4096),
            ("DIRECTMAP", 4096, 393216),
            ("DMA32", 393216, 1 << 20),
            ("HIGHMEM", 1 << 20, frames),
        ],
    )
    memory.add(1, frames - 1)
    took = time.perf_counter() - start
    assert memory.free_frames == frames - 1
    return took, memset


def day(k: Any) -> list[str]:
    """Fragmentation after 20 million steps at 90 % use, by order."""
    side = Side(np.zeros(1, np.int32))
    slots = 170_000
    first, orders = np.zeros(slots, np.int32), np.zeros(slots, np.int32)
    failures = k.churn(side.pfns.flat, side.zone.array, first, orders, 20_000_000, FRAMES // 10, 3)
    side.pfns.table[:, 3] = State.ACTIVE
    free = side.zone.free_frames
    blocks = side.zone.blocks
    usable = [
        100 * sum(n << j for j, n in enumerate(blocks) if j >= order) / free for order in range(11)
    ]
    return [
        f"{free} of {FRAMES} frames free in blocks of order "
        + ", ".join(f"{i}: {n}" for i, n in enumerate(blocks)),
        "usable for an order, % of the free memory: "
        + " ".join(f"{i}: {u:.0f}" for i, u in enumerate(usable)),
        f"requests above order 0 that failed: {failures}",
    ]


def slab_overhead(k: Any, objects: int) -> str:
    """Memory that `objects` objects of 64 bytes take, beside themselves."""
    frames = (objects >> 6) * 11 // 10 + 4096
    ram = Ram(frames)
    pfns = PfnDatabase(Ram(frames, paper=True), frames, 0)
    physical = PhysicalMemory(ram, pfns)
    physical.buddy.add(1, frames - 1)
    cache = SlabCaches(physical).create("thing", 64)
    taken = k.take_objects(
        pfns.flat,
        physical.buddy.zones[0].array,
        physical.links,
        cache.array,
        np.zeros(objects, np.int32),
    )
    assert taken == objects
    slabs = int(cache.state[slabkernels.SLABS])
    own, entries = (slabs << 12) / objects, slabs * ENTRY_BYTES / objects
    overhead = (own + entries) / 0.64 - 100
    return (
        f"{objects} objects of 64 bytes: {own:.2f} bytes each in slabs, {entries:.2f} in PFN "
        f"entries: {overhead:.1f} % overhead"
    )


def main() -> None:
    """Runs everything and prints tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--small",
        action="store_true",
        help="a PFN database of 64 GiB and a million objects: needs less than 2 GiB",
    )
    arguments = parser.parse_args()
    k = compile_kernels(buddykernels, pagepools, slabkernels, physical_kernels)
    with tempfile.TemporaryDirectory() as folder:
        results = compare(k, build(Path(folder)), arguments.rounds)
    frames = 1 << 24 if arguments.small else TIB_FRAMES
    took, memset = database(frames)
    if arguments.json:
        print(
            json.dumps(
                {
                    "rows": results,
                    "database": {"frames": frames, "seconds": took, "memset": memset},
                },
                indent=2,
            )
        )
        return
    gcc = subprocess.run(
        ["gcc", "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]
    print(
        f"{platform.platform()}, {os.cpu_count()} CPUs, Python "
        f"{platform.python_version()}, {gcc} -O2; octavo {VERSION}"
    )
    print(
        "command: python -m benchmarks.physical --rounds "
        f"{arguments.rounds}{' --small' if arguments.small else ''}; best of the rounds\n"
    )
    print(
        f"{'1 GiB of frames':<26}{'Octavo ns/op':>14}{'C ns/op':>10}{'C / Octavo':>12}   "
        f"targets: at least {TARGET_RATIO}, at most {TARGET_NS:.0f} ns"
    )
    for name, ours, theirs in results:
        print(f"{name:<26}{ours:>14.2f}{theirs:>10.2f}{theirs / ours:>12.2f}")
    size = f"{frames >> 18} GiB ({frames} frames, {frames * ENTRY_BYTES >> 20} MiB)"
    print(
        f"\nPFN database of {size}: {took:.2f} s, memset of its bytes {memset:.2f} s: "
        f"{took / memset:.1f} x (target 4)"
    )
    print(f"bytes a frame: {ENTRY_BYTES} (Linux and GNU Mach: {LINUX_PAGE} and more)")
    print(slab_overhead(k, 1_000_000 if arguments.small else 10_000_000))
    print("a day's churn:\n  " + "\n  ".join(day(k)))


if __name__ == "__main__":
    main()
