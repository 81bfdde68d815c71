"""Virtual memory: references through the soft MMU, faults, forks.

    make bench  or  .venv/bin/python -m benchmarks.virtual [--rounds 7] [--small] [--json]

Each row is one call for millions of references that are all resident; the loop without the walk
sums the references. A figure is the best of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable

import numpy as np

from benchmarks import faults
from octavo.machine import mmukernels
from octavo.machine.abi import PAGE_SIZE, USER, WRITABLE
from octavo.machine.mmu import SoftMmu
from octavo.machine.pagetables import PageTables
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
from octavo.memory.frames.pfn import ENTRY_BYTES
from octavo.memory.reclaim.policies.lists import NODE
from octavo.version import VERSION

REFERENCES = 4_000_000
PAGES = 16_384  # 64 MiB
TARGET = 30.0  # million a second


def best(run: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest run, after one that is not counted."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def trace(kind: str, pages: int) -> np.ndarray:
    """References, a third of them writes: in sequence, at random over all pages, or 9 of 10 to a
    tenth of them.
    """
    choose = np.random.default_rng(1)
    if kind == "sequential":
        address = np.arange(REFERENCES, dtype=np.int64) * 64 % (pages << 12)
    elif kind == "random":
        address = choose.integers(0, pages << 12, REFERENCES, dtype=np.int64)
    else:
        hot = choose.random(REFERENCES) < 0.9
        address = np.where(
            hot,
            choose.integers(0, pages * 410, REFERENCES),
            choose.integers(0, pages << 12, REFERENCES),
        ).astype(np.int64)
    return (address & -4) | (choose.random(REFERENCES) < 1 / 3)


def rates(arch: str, rounds: int) -> dict[str, tuple[float, float]]:
    """For each kind of trace: million references a second, and the part that walked."""
    stock = iter(range(PAGES, PAGES + 400))
    ram = Ram(PAGES + 400)
    tables = PageTables(ram, FORMATS[arch], lambda low: next(stock))
    for i in range(PAGES):  # scattered frames, so that no large page serves
        tables.map_pages(i << 12, i * 4097 % PAGES, 1, USER | WRITABLE, large=False)
    mmu = SoftMmu(ram, FORMATS[arch])
    mmu.load(0, tables.root)
    out = {}
    for kind in ("sequential", "9 of 10 to a tenth", "random"):
        refs = trace(kind, PAGES)
        before = int(mmu.states[0][mmukernels.WALKS])
        took = best(lambda refs=refs: mmu.run(0, refs), rounds)  # type: ignore[misc]  # bound now
        assert mmu.run(0, refs) is None
        walked = (int(mmu.states[0][mmukernels.WALKS]) - before) / (rounds + 2) / REFERENCES
        out[kind] = (REFERENCES / took / 1e6, walked)
    return out


def demand_zero(rounds: int) -> float:
    """Microseconds for each of 32,768 demand-zero faults."""
    return min([faults.demand_zero(False, 32_768) for _ in range(rounds + 1)][1:]) / 32_768 * 1e6


def fork(rounds: int, pages: int) -> tuple[float, float]:
    """Milliseconds to fork a space with so many pages in frames, and to copy its page tables with
    NumPy.
    """
    machine = faults.forkable(pages)
    forks = [machine.fork() for _ in range(rounds + 1)]
    tables = [machine.memory.ram.frame(f) for f in machine.space.tables.tables]
    copies = [np.empty(PAGE_SIZE, np.uint8) for _ in tables]

    def copy() -> None:
        for target, table in zip(copies, tables, strict=True):
            target[:] = table

    return min(forks[1:]) * 1e3, best(copy, rounds) * 1e3


def hard_fault(rounds: int) -> float:
    """Microseconds outside the device for each fault on a page in a page file."""
    paged, times = faults.Paged(2000), []
    for _ in range(rounds):
        paged.evict()
        times.append(paged.read())
    return min(times) * 1e6


def view_faults(rounds: int) -> tuple[float, float, float]:
    """Microseconds for a soft fault by a kernel and by the executive, and for a hard fault of 16
    pages on a view outside the device.
    """
    viewed = faults.Viewed(PAGES)
    times = [
        (viewed.hard() * faults.CLUSTER, viewed.soft(False), viewed.soft(True))
        for _ in range(rounds + 1)
    ][1:]
    hard, kernel, executive = (min(column) / PAGES * 1e6 for column in zip(*times, strict=True))
    return kernel, executive, hard


def main() -> None:
    """Runs everything and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="the rates of references only")
    parser.add_argument("--small", action="store_true", help="a fork of 128 MiB instead of 1 GiB")
    arguments = parser.parse_args()
    refs = trace("random", PAGES)
    bare = REFERENCES / best(lambda: int(refs.sum()), arguments.rounds) / 1e6
    table = {arch: rates(arch, arguments.rounds) for arch in FORMATS}
    if arguments.json:
        print(json.dumps({"million_a_second": table, "without_the_walk": bare}, indent=2))
        return
    print(
        f"{platform.platform()}, {os.cpu_count()} CPUs, Python "
        f"{platform.python_version()}; octavo {VERSION}"
    )
    print(
        f"command: python -m benchmarks.virtual --rounds {arguments.rounds}; best of the rounds\n"
    )
    print(
        f"{REFERENCES} references to {PAGES >> 8} MiB in pages of 4 KiB, a third of them "
        f"writes, TLB of 1024; target {TARGET:.0f} million a second"
    )
    print(f"{'':<10}" + "".join(f"{kind:>28}" for kind in table["i386"]))
    for arch, row in table.items():
        print(
            f"{arch:<10}"
            + "".join(
                f"{rate:>12.0f} M/s {100 * walked:>5.1f} % walk" for rate, walked in row.values()
            )
        )
    print(
        f"\nDemand-zero faults by references: {demand_zero(arguments.rounds):.2f} us each "
        "(target 1)"
    )
    pages = 262_144 if not arguments.small else 32_768
    forked, copied = fork(arguments.rounds, pages)
    print(
        f"Fork of {pages >> 8} MiB in frames: {forked:.1f} ms; copying its page tables "
        f"with NumPy: {copied:.2f} ms; {forked / copied:.1f} x"
    )
    print(
        "Hard fault from a page file, up to 16 pages each, outside the device: "
        f"{hard_fault(arguments.rounds):.0f} us (target 60)"
    )
    kernel, executive, hard = view_faults(min(arguments.rounds, 4))
    print(
        f"Soft fault on a view: {kernel:.2f} us by a kernel (target 1), {executive:.1f} us "
        "by the executive"
    )
    print(f"Hard fault on a view, 16 pages each, outside the device: {hard:.0f} us (target 60)")
    entry, prototype, node = FORMATS["x86-64"].entry_size, 4, NODE * 8
    print(f"\nBytes for each mapped page, beside its frame{'':<8}Octavo{'':<6}Linux{'':<7}NT")
    print(
        "page-table entry, each time it is "
        f"mapped{'':<12}{entry:>6}{8:>11}{8:>9}\nprototype, in sections and "
        f"files{'':<20}{prototype:>6}{8:>11}{8:>9}"
    )
    print(
        "frame's entry (PFN entry, struct "
        f"page){'':<14}{ENTRY_BYTES:>6}{64:>11}{48:>9}\nreplacement "
        f"policy{'':<34}{node:>6}   in struct page, in PFN entry and WSLE (8)"
    )
    print(f"\nThe sum of the same references, without any walk: {bare:.0f} M/s")


if __name__ == "__main__":
    main()
