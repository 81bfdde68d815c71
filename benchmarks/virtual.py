"""Virtual memory: references through the soft MMU.

    make bench        or        .venv/bin/python -m benchmarks.virtual [--rounds 7] [--json]

Each row is one call for millions of references that are all resident; the loop without the walk sums the references. A figure
is the best of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable

import numpy as np

from octavo.machine import mmukernels
from octavo.machine.mmu import SoftMmu
from octavo.machine.pagetables import USER, WRITE, PageTables
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
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
    """References, a third of them writes: in sequence, at random over all pages, or 9 of 10 to a tenth of them."""
    choose = np.random.default_rng(1)
    if kind == "sequential":
        address = np.arange(REFERENCES, dtype=np.int64) * 64 % (pages << 12)
    elif kind == "random":
        address = choose.integers(0, pages << 12, REFERENCES, dtype=np.int64)
    else:
        hot = choose.random(REFERENCES) < 0.9
        address = np.where(hot, choose.integers(0, pages * 410, REFERENCES), choose.integers(0, pages << 12, REFERENCES)).astype(np.int64)
    return (address & -4) | (choose.random(REFERENCES) < 1 / 3)


def rates(arch: str, rounds: int) -> dict[str, tuple[float, float]]:
    """For each kind of trace: million references a second, and the part that walked."""
    stock = iter(range(PAGES, PAGES + 400))
    ram = Ram(PAGES + 400)
    tables = PageTables(ram, FORMATS[arch], lambda low: next(stock))
    for i in range(PAGES):  # scattered frames, so that no large page serves
        tables.map_pages(i << 12, i * 4097 % PAGES, 1, USER | WRITE, large=False)
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


def main() -> None:
    """Runs everything and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    refs = trace("random", PAGES)
    bare = REFERENCES / best(lambda: int(refs.sum()), arguments.rounds) / 1e6
    table = {arch: rates(arch, arguments.rounds) for arch in FORMATS}
    if arguments.json:
        print(json.dumps({"million_a_second": table, "without_the_walk": bare}, indent=2))
        return
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; octavo {VERSION}")
    print(f"command: python -m benchmarks.virtual --rounds {arguments.rounds}; best of the rounds\n")
    print(f"{REFERENCES} references to {PAGES >> 8} MiB in pages of 4 KiB, a third of them writes, TLB of 1024; target {TARGET:.0f} million a second")
    print(f"{'':<10}" + "".join(f"{kind:>28}" for kind in table["i386"]))
    for arch, row in table.items():
        print(f"{arch:<10}" + "".join(f"{rate:>12.0f} M/s {100 * walked:>5.1f} % walk" for rate, walked in row.values()))
    print(f"\nThe sum of the same references, without any walk: {bare:.0f} M/s")


if __name__ == "__main__":
    main()
