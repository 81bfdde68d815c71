"""Virtual memory: references through the soft MMU, faults, forks.

    make bench        or        .venv/bin/python -m benchmarks.virtual [--rounds 7] [--small] [--json]

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
from typing import Any

import numpy as np

from octavo.machine import mmukernels
from octavo.machine.abi import PAGE_SIZE, USER, WRITABLE
from octavo.machine.clock import RealClock
from octavo.machine.mmu import SoftMmu, reference
from octavo.machine.mmukernels import WRITE as WRITE_KIND
from octavo.machine.pagetables import PageTables
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
from octavo.memory.manager import MemoryManager
from octavo.memory.pfn import ENTRY_BYTES
from octavo.memory.policies.lists import NODE
from octavo.memory.section import Section
from octavo.memory.spaces.addressspace import Allocate
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.virtual import VirtualMemory
from octavo.threads.scheduler import Scheduler
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


class Machine:
    """A machine of so many frames, and one space with `pages` committed."""

    def __init__(self, frames: int, pages: int) -> None:
        database = -(-(frames + 4096) * 32 // PAGE_SIZE)
        self.scheduler = Scheduler(RealClock(), 0)
        self.memory = MemoryManager(Ram(frames + database + 1), frames + database + 1, [(1, frames)], (frames + 1, database), self.scheduler)
        self.virtual = VirtualMemory(self.memory, FORMATS["x86-64"])
        self.space = self.virtual.create("init")
        self.base, _ = self.space.allocate(0, pages * PAGE_SIZE, Allocate.COMMIT)

    def touch(self, pages: int) -> float:
        """Seconds for one write to each page, by references."""
        refs = np.array([reference(self.base + i * PAGE_SIZE, WRITE_KIND) for i in range(pages)], np.int64)
        start = time.perf_counter()
        faults = self.scheduler.run(self.virtual.run(self.space, refs))
        assert faults == pages
        return time.perf_counter() - start

    def close(self) -> None:
        """Ends it."""
        self.virtual.destroy(self.space)
        self.scheduler.close()


def demand_zero(rounds: int) -> float:
    """Microseconds for each of 32,768 demand-zero faults: page tables, PFN entries and zeroing included, memory of the host touched before."""
    best_of = float("inf")
    for i in range(rounds + 1):
        machine = Machine(40_000, 32_768)
        machine.memory.ram.array[PAGE_SIZE : 40_001 * PAGE_SIZE] = 0  # not the PFN database behind them
        took = machine.touch(32_768)
        machine.close()
        best_of = min(best_of, took) if i else best_of
    return best_of / 32_768 * 1e6


def fork(rounds: int, pages: int) -> tuple[float, float]:
    """Milliseconds to fork a space with so many pages in frames, and to copy its page tables with NumPy."""
    machine = Machine(pages + pages // 8 + 8192, pages)
    machine.virtual.commitment.slots = 1 << 40  # this is about time
    machine.touch(pages)
    forks = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        child = machine.virtual.fork(machine.space, "child")
        forks.append(time.perf_counter() - start)
        machine.virtual.destroy(child)
    tables = [machine.memory.ram.frame(f) for f in machine.space.tables.tables]
    copies = [np.empty(PAGE_SIZE, np.uint8) for _ in tables]

    def copy() -> None:
        for target, table in zip(copies, tables, strict=True):
            target[:] = table

    return min(forks[1:]) * 1e3, best(copy, rounds) * 1e3


def hard_fault(rounds: int) -> float:
    """Microseconds outside the device for each fault on a page in a page file, most of which bring 16 pages: the store is a copy in memory."""
    pages = 2000
    machine = Machine(4000, pages)

    class Store:
        name, size = "copy", pages * PAGE_SIZE
        data = bytearray(pages * PAGE_SIZE)
        inside = 0.0

        async def read(self, extents: Any) -> None:
            start = time.perf_counter()
            for offset, buffers in extents:
                for i, buffer in enumerate(buffers):
                    buffer[:] = self.data[offset + i * PAGE_SIZE : offset + (i + 1) * PAGE_SIZE]
            self.inside += time.perf_counter() - start

        async def write(self, extents: Any) -> None:
            for offset, buffers in extents:
                self.data[offset : offset + len(buffers) * PAGE_SIZE] = b"".join(buffers)

    store = Store()
    machine.virtual.add_page_file(store)
    machine.touch(pages)
    order = np.random.default_rng(1).permutation(pages)
    best_of = float("inf")
    for _ in range(rounds):
        while machine.scheduler.run(machine.virtual.eviction.evict(256)):
            pass
        store.inside, took, faults = 0.0, 0.0, 0
        for page in order:
            before = machine.space.faults
            start = time.perf_counter()
            machine.scheduler.run(machine.space.touch(machine.base + int(page) * PAGE_SIZE))
            if machine.space.faults > before:  # not one that came with another
                took += time.perf_counter() - start
                faults += 1
        best_of = min(best_of, (took - store.inside) / faults)
    machine.close()
    return best_of * 1e6


class CopyPager:
    """Keeps a section's pages in a bytearray, without waiting; `inside` is the time spent here."""

    def __init__(self, pages: int) -> None:
        self.data = bytearray(os.urandom(1 << 12)) * pages
        self.inside = 0.0

    async def data_request(self, section: Any, page: int, buffers: list[memoryview], need: range) -> None:
        """Copies."""
        start = time.perf_counter()
        at = page * PAGE_SIZE
        for buffer in buffers:
            buffer[:] = self.data[at : at + len(buffer)]
            at += len(buffer)
        self.inside += time.perf_counter() - start

    async def data_return(self, runs: Any) -> list[Any]:
        """Nothing is written here."""
        return [None] * len(runs)


class CopyFile:
    """A file of so many pages that can be mapped."""

    path, writable = "copy", False

    def __init__(self, pages: int) -> None:
        self.pager = CopyPager(pages)
        self.section = Section("copy", self.pager, None, pages * PAGE_SIZE)

    def duplicate(self) -> CopyFile:
        """Itself."""
        return self

    async def prepare_mapping(self) -> None:
        """Nothing to prepare."""

    async def grow(self, size: int) -> None:
        """Is not done."""

    async def close(self) -> None:
        """Nothing to close."""


def view_faults(rounds: int) -> tuple[float, float, float]:
    """Microseconds for a soft fault by a kernel and by the executive, and for a hard fault of 16 pages on a view outside the device."""
    pages = 16_384
    machine = Machine(20_000, 1)
    file = CopyFile(pages)
    made = machine.scheduler.run(machine.virtual.sections.create(0, Protect.READONLY, file=file))
    base, _ = machine.space.map(made, protect=Protect.READONLY)
    machine.scheduler.run(machine.space.advise(base, 1, Advice.SEQUENTIAL))
    refs = np.array([reference(base + i * PAGE_SIZE) for i in range(pages)], np.int64)
    run, space = machine.scheduler.run, machine.space
    kernel, executive, hard = list[float](), list[float](), list[float]()
    faults = machine.memory.faults
    for _ in range(rounds + 1):
        file.pager.inside, before, start = 0.0, faults.hard, time.perf_counter()
        for page in range(0, pages, 16):
            run(space.touch(base + page * PAGE_SIZE))
        hard.append((time.perf_counter() - start - file.pager.inside) / (faults.hard - before) * 1e6)
        assert faults.hard - before == pages // 16
        run(space.advise(base, pages * PAGE_SIZE, Advice.DONTNEED))
        for out, touch in ((kernel, lambda: run(machine.virtual.run(space, refs))), (executive, lambda: [run(space.touch(int(r))) for r in refs])):
            start = time.perf_counter()
            touch()
            out.append((time.perf_counter() - start) / pages * 1e6)
            assert faults.hard - before == pages // 16
            run(space.advise(base, pages * PAGE_SIZE, Advice.DONTNEED))
        run(machine.memory.writeback.purge(made.section, 0))
    machine.virtual.destroy(space)
    return min(kernel[1:]), min(executive[1:]), min(hard[1:])


def main() -> None:
    """Runs everything and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; octavo {VERSION}")
    print(f"command: python -m benchmarks.virtual --rounds {arguments.rounds}; best of the rounds\n")
    print(f"{REFERENCES} references to {PAGES >> 8} MiB in pages of 4 KiB, a third of them writes, TLB of 1024; target {TARGET:.0f} million a second")
    print(f"{'':<10}" + "".join(f"{kind:>28}" for kind in table["i386"]))
    for arch, row in table.items():
        print(f"{arch:<10}" + "".join(f"{rate:>12.0f} M/s {100 * walked:>5.1f} % walk" for rate, walked in row.values()))
    print(f"\nDemand-zero faults by references: {demand_zero(arguments.rounds):.2f} us each (target 1)")
    pages = 262_144 if not arguments.small else 32_768
    forked, copied = fork(arguments.rounds, pages)
    print(f"Fork of {pages >> 8} MiB in frames: {forked:.1f} ms; copying its page tables with NumPy: {copied:.2f} ms; {forked / copied:.1f} x")
    print(f"Hard fault from a page file, up to 16 pages each, outside the device: {hard_fault(arguments.rounds):.0f} us (target 60)")
    kernel, executive, hard = view_faults(min(arguments.rounds, 4))
    print(f"Soft fault on a view: {kernel:.2f} us by a kernel (target 1), {executive:.1f} us by the executive")
    print(f"Hard fault on a view, 16 pages each, outside the device: {hard:.0f} us (target 60)")
    entry, prototype, node = FORMATS["x86-64"].entry_size, 4, NODE * 8
    print(f"\nBytes for each mapped page, beside its frame{'':<8}Octavo{'':<6}Linux{'':<7}NT")
    print(f"page-table entry, each time it is mapped{'':<12}{entry:>6}{8:>11}{8:>9}\nprototype, in sections and files{'':<20}{prototype:>6}{8:>11}{8:>9}")
    print(
        f"frame's entry (PFN entry, struct page){'':<14}{ENTRY_BYTES:>6}{64:>11}{48:>9}\nreplacement policy{'':<34}{node:>6}   in struct page, in PFN entry and WSLE (8)"
    )
    print(f"\nThe sum of the same references, without any walk: {bare:.0f} M/s")


if __name__ == "__main__":
    main()
