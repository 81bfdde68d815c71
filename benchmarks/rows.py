"""The rows of `benchmarks/compare.py`: what is measured of a tree, each by a fresh interpreter.

    PYTHONPATH=TREE/src .venv/bin/python -m benchmarks.older benchmarks.rows ROW FOLDER

prints {"seconds": for one of the row's unit, "octavo": the file of the package that was measured}.
FOLDER is what `benchmarks.images.make` has filled, for rows that work on images. A row is a
function that sets up and returns what takes the time; that is called once without being counted,
since it compiles kernels and loads modules, and then until LEAST seconds have gone; the fastest
counts, since what else the machine does only adds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import octavo
from benchmarks import faults, files, paging, peers, physical, physical_kernels
from benchmarks.images import Bench
from octavo.heap import slabkernels
from octavo.machine.kernels import compile_kernels
from octavo.machine.mapsources import load_firmware_map
from octavo.machine.ram import Ram
from octavo.memory.frames import buddykernels, pagepools
from octavo.transfer.host import HostTree
from octavo.transfer.volume import VolumeTree

LEAST = 0.3
COPIED = 64 << 20  # bytes
ZEROED = 8192  # pages
PAGED = 4096
LOG_LINES = 40_000  # 3 MiB: a tree may read no more than 4 MiB

Once = Callable[[], float]  # seconds for one of the row's unit


class Row(NamedTuple):
    """A row: the unit of its figure, how it is set up in a folder, and if it needs images."""

    unit: str
    setup: Callable[[Path], Once]
    images: bool = False


def start(folder: Path) -> Once:
    """`octavo ls` of an image, from start to end."""
    return lambda: files.starts(Bench(folder), 1)[0] / 1e3


def image(name: str, folder: Path) -> Once:
    """A row of `benchmarks/peers.py`, by each file or MB."""
    row = next(row for row in peers.rows(Bench(folder)) if row.name == name)
    return lambda: files.once(row.actions[peers.OCTAVO], row.before) / row.units


def unsynced(setup: Callable[[Path], Once], folder: Path) -> Once:
    """A row without the host's fsync: what it costs apart from that its writes are on the medium
    in order, which trees before decision 15 did not see to.
    """
    os.fsync = lambda fd: None
    return setup(folder)


def copy_in(folder: Path) -> Once:
    """A file of COPIED bytes into a blank image."""
    bench, source = Bench(folder), folder / "copied"
    source.write_bytes(bytes(range(256)) * (COPIED >> 8))

    def copy() -> None:
        with octavo.open_image(bench.fresh) as volume:
            peers.copy(HostTree(), str(source), VolumeTree(volume, ""), "")

    return lambda: files.once(copy, bench.renew)


def zero(executive: bool, folder: Path) -> Once:
    """Demand-zero faults."""
    return lambda: faults.demand_zero(executive, ZEROED) / ZEROED


def soft(executive: bool, folder: Path) -> Once:
    """Soft faults on a view whose pages are on the standby list."""
    viewed = faults.Viewed(PAGED)
    viewed.hard()
    return lambda: viewed.soft(executive) / PAGED


def hard_view(folder: Path) -> Once:
    """Hard faults on a view."""
    viewed = faults.Viewed(PAGED)
    return lambda: viewed.hard() / PAGED * faults.CLUSTER


def hard_private(folder: Path) -> Once:
    """Hard faults on private pages in a page file."""
    paged = faults.Paged(PAGED)

    def once() -> float:
        paged.evict()
        return paged.read()

    return once


def evict(folder: Path) -> Once:
    """Private pages that leave for a page file."""
    paged = faults.Paged(PAGED)

    def once() -> float:
        took = paged.evict()
        paged.read()
        return took / PAGED

    return once


def fork(folder: Path) -> Once:
    """A fork of a space with 64 MiB in frames."""
    return faults.forkable(64 << 8).fork


def allocate(name: str, folder: Path) -> Once:
    """A row of `benchmarks/physical.py`."""
    kernels = compile_kernels(buddykernels, pagepools, slabkernels, physical_kernels)
    row = next(row for row in physical.rows(kernels, None) if row.name == name)
    side = physical.Side(Ram(physical.FRAMES).array.view("int32"))

    def once() -> float:
        began = time.perf_counter()
        row.ours(side)
        return (time.perf_counter() - began) / row.operations

    return once


def replay(policy: str, folder: Path) -> Once:
    """The trace of `benchmarks/paging.py` through a policy."""
    keys = paging.trace()
    return lambda: paging.replay(policy, keys)[0] / len(keys)


def boot_log(folder: Path) -> Once:
    """A boot log with a map of six ranges at its beginning and much else behind it."""
    log = folder / "boot.log"
    entry = "[    0.000000] BIOS-e820: [mem {:#018x}-{:#018x}] usable\n"
    other = "[{:12.6f}] pci 0000:{:02x}:00.0: BAR 0 [mem 0xfe000000-0xfe003fff 64bit]\n"
    lines = [entry.format(i << 28, (i + 1 << 28) - 1) for i in range(6)]
    lines += [other.format(i / 1e3, i & 255) for i in range(LOG_LINES)]
    log.write_text("".join(lines))

    def once() -> float:
        began = time.perf_counter()
        assert len(load_firmware_map(str(log))) == 6
        return time.perf_counter() - began

    return once


ROWS = {
    "start": Row("octavo ls", start, True),
    "list": Row("file", partial(image, "list"), True),
    "tree-in": Row("file", partial(image, "tree in"), True),
    "tree-out": Row("file", partial(image, "tree out"), True),
    "read-cold": Row("MB", partial(image, "read, cold"), True),
    "read-warm": Row("MB", partial(image, "read, warm"), True),
    "read-random": Row("read of 4 KiB", partial(image, "random 4K, warm"), True),
    "create": Row("file", partial(image, "create"), True),
    "delete": Row("file", partial(image, "delete"), True),
    "copy-in": Row("64 MiB", copy_in, True),
    "tree-in-nosync": Row("file", partial(unsynced, partial(image, "tree in")), True),
    "create-nosync": Row("file", partial(unsynced, partial(image, "create")), True),
    "delete-nosync": Row("file", partial(unsynced, partial(image, "delete")), True),
    "copy-in-nosync": Row("64 MiB", partial(unsynced, copy_in), True),
    "soft-executive": Row("fault", partial(soft, True)),
    "soft-kernels": Row("fault", partial(soft, False)),
    "zero-executive": Row("fault", partial(zero, True)),
    "zero-kernels": Row("fault", partial(zero, False)),
    "hard-page-file": Row("fault, up to 16 pages", hard_private),
    "hard-view": Row("fault, 16 pages", hard_view),
    "evict": Row("page", evict),
    "fork": Row("fork of 64 MiB", fork),
    "page-pairs": Row("page taken or freed", partial(allocate, "order 0, pairs")),
    "buddy": Row("block taken or freed", partial(allocate, "orders 0 to 6, random")),
    "slab-pairs": Row("object taken or freed", partial(allocate, "slab, 64 bytes, pairs")),
    "replay-clock": Row("reference", partial(replay, "clock")),
    "replay-s3-fifo": Row("reference", partial(replay, "s3-fifo")),
    "boot-log": Row("boot log of 3 MiB", boot_log),
}


def measure(once: Once) -> float:
    """The fastest of what is counted."""
    once()
    times, end = list[float](), time.perf_counter() + LEAST
    while not times or time.perf_counter() < end:
        times.append(once())
    return min(times)


if __name__ == "__main__":
    seconds = measure(ROWS[sys.argv[1]].setup(Path(sys.argv[2])))
    print(json.dumps({"seconds": seconds, "octavo": octavo.__file__}))
