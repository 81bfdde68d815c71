"""Files in a FAT32 image: Octavo against mtools, pyfatfs, dissect.fat, FATtools and fatfs-ng, each
as `benchmarks/peers.py` has it.

    make bench        or        .venv/bin/python -m benchmarks.files [--rounds 3] [--quick] [--json]

The peers take turns within a row, so that a slow minute of the machine hits all of them; a rate is
the median of the rounds (of one round for who needs more than SLOW seconds). Read the ratios:
absolute rates mean little on a shared machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import octavo
from benchmarks.images import BIG_MIB, Bench, make
from benchmarks.peers import FATTOOLS, MTOOLS, OCTAVO, PEERS, PYFATFS, Action, Row, rows
from octavo.system import IMAGE_MEMORY

SLOW = 8.0  # seconds
# rows in which FATtools does part of the work: it does not see long names
PARTIAL = ("list", "tree out")


def once(action: Action, before: Callable[[], None]) -> float:
    """Seconds of an action, by its own clock if it has one."""
    before()
    gc.collect()
    gc.freeze()  # what the other peers have left on the heap is not this one's to collect
    try:
        start = time.perf_counter()
        own = action()
        return own if own is not None else time.perf_counter() - start
    finally:
        gc.unfreeze()


def measure(b: Bench, row: Row, rounds: int, skip: set[str]) -> dict[str, float]:
    """The median rate of each peer, in units a second; a peer that fails has none."""
    times: dict[str, list[float]] = {}
    b.done.clear()
    b.expected = None
    for _ in range(rounds):
        for name, action in row.actions.items():
            if name in skip or (times.get(name) and times[name][0] > SLOW) or times.get(name) == []:
                continue
            try:
                own = once(action, row.before)
                if b.expected is not None:
                    b.done[name] = sum(len(files) for _, _, files in os.walk(b.out))
                    assert b.done[name] == b.expected or name == FATTOOLS, (
                        f"{name} wrote {b.done[name]} of {b.expected} files"
                    )
            except Exception as error:  # noqa: BLE001 -- a peer that cannot do it is a result
                print(f"  {name}: {type(error).__name__}: {error}", file=sys.stderr)
                times[name] = []
                continue
            times.setdefault(name, []).append(own)
    return {
        name: b.done.get(name, row.units) / statistics.median(values)
        for name, values in times.items()
        if values
    }


def starts(b: Bench, rounds: int) -> tuple[float, float]:
    """Milliseconds: `octavo ls` of the image, and Python with NumPy; medians."""

    env = {
        k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"
    }  # installed programs have their bytecode

    def once(*command: str) -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)
        return time.perf_counter() - start

    ls = [sys.executable, "-c", "from octavo.cli.main import main; main()", "ls", f"{b.image}:"]
    pairs = [
        (once(*ls), once(sys.executable, "-c", "import numpy")) for _ in range(rounds * 3 + 1)
    ][1:]
    return statistics.median(p[0] for p in pairs) * 1e3, statistics.median(
        p[1] for p in pairs
    ) * 1e3


def main() -> None:
    """Runs all rows and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="without pyfatfs, which takes minutes")
    parser.add_argument("--only", metavar="ROW", help="rows whose names begin so")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    skip = {PYFATFS} if arguments.quick else set()
    folder = Path(tempfile.mkdtemp(prefix="octavo-bench-"))
    try:
        results, (ls, bare), files = run_all(folder, arguments.rounds, skip, arguments.only or "")
    finally:
        shutil.rmtree(folder)
    if arguments.json:
        print(json.dumps({"rows": results, "ls_ms": ls, "numpy_ms": bare}, indent=2))
        return
    print(
        f"\n{platform.platform()}, {os.cpu_count()} CPUs, Python "
        f"{platform.python_version()}; octavo {octavo.__version__}, {peer_versions()}"
    )
    print(
        f"{files} files of Python's library, {BIG_MIB} MiB file, FAT32 image of 1 GiB, "
        f"memory limit {IMAGE_MEMORY}; median of {arguments.rounds} rounds"
    )
    print(
        "command: python -m benchmarks.files --rounds "
        f"{arguments.rounds}{' --quick' if arguments.quick else ''}\n"
    )
    print(
        f"{'':<18}{'unit':<10}"
        + "".join(f"{p:>13}" for p in PEERS)
        + "   Octavo / mtools   Octavo / best Python peer"
    )
    for name, unit, rates in results:
        ours = rates[OCTAVO]
        python = [
            rates[p] for p in PEERS[2:] if p in rates and (p != FATTOOLS or name not in PARTIAL)
        ]
        cells = "".join(f"{rates[p]:>13,.0f}" if p in rates else f"{'-':>13}" for p in PEERS)
        mtools = f"{ours / rates[MTOOLS]:.2f}" if MTOOLS in rates else "-"
        fastest = f"{ours / max(python):.2f}" if python else "-"
        print(f"{name:<18}{unit:<10}{cells}{mtools:>18}{fastest:>28}")
    print(
        f"\nFATtools does not see long names: in {' and '.join(PARTIAL)} it did part of "
        "the work, its rate is of that part, and it is not compared."
    )
    print(
        f"start: octavo ls {ls:.0f} ms, python -c 'import numpy' {bare:.0f} ms, difference "
        f"{ls - bare:.0f} ms"
    )


def peer_versions() -> str:
    """The peers and their versions."""
    mtools = (
        subprocess.run(["mtools", "--version"], capture_output=True, text=True, check=True)
        .stdout.split()[3]
        .rstrip(",")
    )
    return f"mtools {mtools}, " + ", ".join(f"{p} {version(p)}" for p in PEERS[2:])


def run_all(
    folder: Path, rounds: int, skip: set[str], only: str
) -> tuple[list[tuple[str, str, dict[str, float]]], tuple[float, float], int]:
    """All rows as (name, unit, rates), the start times, and the number of files."""
    b = make(folder)
    results = []
    for row in rows(b):
        if not row.name.startswith(only):
            continue
        print(f"{row.name} ...", file=sys.stderr, flush=True)
        results.append((row.name, row.unit, measure(b, row, rounds, skip)))
    return results, starts(b, rounds), b.files


if __name__ == "__main__":
    main()
