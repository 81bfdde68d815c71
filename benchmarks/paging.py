"""Paging: a scan of a mapped file with clusters of several sizes, and replacement policies in
replay.

    make bench  or  .venv/bin/python -m benchmarks.paging [--rounds 3] [--file DIRECTORY] [--json]

The scan reads each page of a 64 MiB file once, in sequence, through a view, on a machine with a
sixteenth of that memory: on modelled disks in virtual time (requests, and the disk's time as a
multiple of pure transfer), and on a file of this machine opened with O_DIRECT (requests, and wall
time as a multiple of os.preadv in requests of 512 KiB into the same kind of buffer).

Replay counts misses of a trace of 4 million references (Zipf, with scans) to 100,000 pages, of
which a tenth fits.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import octavo
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmu import reference
from octavo.memory.reclaim.policies import MODULES
from octavo.memory.reclaim.policies.policy import Policy
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import Protect
from octavo.storage.device import Device
from octavo.storage.image import ImageDisk
from octavo.storage.rawfile import RawFile
from octavo.testing.modelled import FLASH, HARD_DISK, DiskModel, ModelledDisk
from octavo.version import VERSION

PAGES = 16_384  # 64 MiB
CLUSTERS = (1, 4, 16, 64)
REFERENCES = 4_000_000


def scan(path: Path, cluster: int, advice: Advice, model: DiskModel | None) -> tuple[int, float]:
    """(requests, seconds) of reading each page of a mapped file: the disk's time by a model, else
    wall time with O_DIRECT.
    """
    with octavo.boot(
        memory=PAGES * PAGE_SIZE // 16, seed=1 if model else None, cluster=cluster
    ) as system:
        image = ImageDisk(path, system.scheduler, read_only=True, direct=model is None)
        device: Device = ModelledDisk(image, system.scheduler, model) if model else image
        run = system.scheduler.run
        space = system.virtual.create("scan")
        base, _ = space.map(
            run(system.virtual.sections.create(0, Protect.READONLY, file=RawFile(device))),
            protect=Protect.READONLY,
        )
        run(space.advise(base, 1, advice))
        refs = np.array([reference(base + page * PAGE_SIZE) for page in range(PAGES)], np.int64)
        run(system.virtual.run(space, refs[:1]))  # compiles
        start = time.perf_counter()
        run(system.virtual.run(space, refs))
        wall = time.perf_counter() - start
        assert space.pages.resident < PAGES // 16
        return device.counts.reads, device.busy if isinstance(device, ModelledDisk) else wall


def raw_read(path: Path) -> float:
    """Seconds to read the file with O_DIRECT in requests of 512 KiB."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 1 << 19)
    start = time.perf_counter()
    for offset in range(0, PAGES * PAGE_SIZE, 1 << 19):
        os.preadv(fd, [buffer], offset)
    took = time.perf_counter() - start
    os.close(fd)
    return took


def scans(directory: str, rounds: int) -> list[tuple[str, list[tuple[int, float]]]]:
    """For each disk and advice: (requests, multiple of the sequential time) by cluster size; the
    best of the rounds.
    """
    out = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        path = Path(file.name)
        path.write_bytes(os.urandom(PAGES * PAGE_SIZE))
        os.fsync(file.fileno())
        for name, model in (
            ("hard disk, model", HARD_DISK),
            ("flash, model", FLASH),
            ("O_DIRECT", None),
        ):
            pure = (
                PAGES * PAGE_SIZE / model.rate
                if model
                else min(raw_read(path) for _ in range(rounds + 2))
            )
            for advice in (Advice.SEQUENTIAL, Advice.NORMAL):
                row = []
                for cluster in CLUSTERS:
                    results = [
                        scan(path, cluster, advice, model) for _ in range(1 if model else rounds)
                    ]
                    row.append((results[0][0], min(seconds for _, seconds in results) / pure))
                out.append((f"{name}, {advice.name.lower()}", row))
    return out


def trace() -> np.ndarray:
    """References to 100,000 pages: Zipf, with a scan of all pages in each quarter."""
    choose = np.random.default_rng(1)
    keys = np.minimum(choose.zipf(1.1, REFERENCES) - 1, 99_999).astype(np.int64)
    for at in range(0, REFERENCES, REFERENCES // 4):
        keys[at : at + 100_000] = np.arange(100_000)
    return keys


def replay(name: str, keys: np.ndarray) -> tuple[float, float]:
    """A trace replayed by a policy: (seconds, part that missed)."""
    policy = Policy(name, 10_000, 10_000)
    start = time.perf_counter()
    misses, _ = policy.replay(keys)
    return time.perf_counter() - start, misses / len(keys)


def replays(rounds: int) -> dict[str, tuple[float, float]]:
    """For each policy: (million references a second, part that missed)."""
    keys, out = trace(), {}
    for name in MODULES:
        replay(name, keys[:30_000] % 1000)  # compiles
        times = [replay(name, keys) for _ in range(rounds)]
        out[name] = (REFERENCES / min(seconds for seconds, _ in times) / 1e6, times[0][1])
    return out


def main() -> None:
    """Runs everything and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--file", default=".", help="the directory for the file that is opened with O_DIRECT"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows: list[tuple[str, Any]] = list(scans(arguments.file, arguments.rounds))
    rates = replays(arguments.rounds)
    if arguments.json:
        print(json.dumps({"scans": dict(rows), "replay": rates}, indent=2))
        return
    print(
        f"{platform.platform()}, {os.cpu_count()} CPUs, Python "
        f"{platform.python_version()}; octavo {VERSION}"
    )
    print(f"command: python -m benchmarks.paging --rounds {arguments.rounds}\n")
    print(
        "Scan of a mapped file of 64 MiB on 4 MiB: requests, and time as a multiple of "
        "sequential transfer (targets: 16 to 1 at least 10; 1.2 x)"
    )
    print(
        f"{'':<26}"
        + "".join(f"{f'cluster {c}':>20}" for c in CLUSTERS)
        + f"{'requests 1 : 16':>18}"
    )
    for name, row in rows:
        print(
            f"{name:<26}"
            + "".join(f"{requests:>11}{times:>7.2f} x" for requests, times in row)
            + f"{row[0][0] / row[2][0]:>18.1f}"
        )
    print("\nReplay of 4 million references, a tenth of 100,000 pages fits")
    print(f"{'policy':<16}{'million/s':>12}{'misses':>10}")
    for name, (rate, missed) in rates.items():
        print(f"{name:<16}{rate:>12.1f}{missed:>10.2%}")


if __name__ == "__main__":
    main()
