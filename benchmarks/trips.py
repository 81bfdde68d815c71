"""Trips of a page through the rooms: which files a read, a write, a fault and a page-out come
through, and how many calls each costs.

    .venv/bin/python -m benchmarks.trips [--files] [--json] [--write]

A call is an entry into a function of Octavo's, a coroutine that goes on among them. Compiled
kernels, and what Python makes of comprehensions and generator expressions, are not counted, since
versions differ. Calls do not depend on the machine: docs/architecture.md has the table, and a test
holds it to the code.
Each trip was made once before on another page, so that what is made at the first use is there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import octavo
from benchmarks.faults import CLUSTER, Machine, Paged, Viewed
from benchmarks.pages import put_table
from octavo.cli.main import run as command
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmukernels import WRITE

HOME = os.path.dirname(octavo.__file__) + os.sep
COMPILED = "harvestkernels"  # some versions of Python tell of calls of compiled functions
PAGES = 64  # of views and spaces
FILE_PAGES = 1024
EVICTED = 32


@dataclass
class Trip:
    """What was called between the first and the last call: entries by function, in order."""

    name: str
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)

    def files(self) -> Counter[str]:
        """Calls by file below the package, in the order in which the trip came to them."""
        found: Counter[str] = Counter()
        for (file, _), count in self.calls.items():
            found[file] += count
        return found

    def rooms(self) -> Counter[str]:
        """Calls by room, which is a folder, or a file that is in none."""
        found: Counter[str] = Counter()
        for file, count in self.files().items():
            found[os.path.dirname(file) or file] += count
        return found


_calls: Counter[tuple[str, str]] = Counter()  # of what is counted now


@contextmanager
def counting() -> Iterator[None]:
    """Counts the calls of Octavo's functions inside of the block."""

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        file, name = code.co_filename, code.co_name
        if event == "call" and file.startswith(HOME) and name[0] != "<" and COMPILED not in file:
            _calls[file[len(HOME) :], name] += 1

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def follow(name: str, once: Callable[[int], object], before: int, counted: int) -> Trip:
    """The trip that `once` makes with `counted`, after one with `before`."""
    once(before)
    _calls.clear()
    once(counted)
    return Trip(name, _calls.copy())


def of_files(folder: Path) -> list[Trip]:
    """Reads and writes of a file in a FAT volume, and its names."""
    image = str(folder / "trips.img")
    assert command(["mkfs", "-s", "16M", image]) == 0
    with octavo.open_image(image) as volume:
        volume.write_bytes("a", bytes(FILE_PAGES * PAGE_SIZE))
    with (
        octavo.boot(disks=[image], seed=1) as system,
        system.volumes["C:"].open("a", "r+b") as file,
    ):
        return of_file(file) + of_names(system.volumes["C:"])


def of_names(volume: octavo.Volume) -> list[Trip]:
    """Look-ups of names that are known, and files that are made."""

    def stat(_: int) -> None:
        with counting():
            volume.stat("a")

    def nothing(_: int) -> None:
        with counting():
            volume.exists("nothing")

    def make(number: int) -> None:
        with counting():
            volume.open(f"empty{number}", "wb").close()

    def write(number: int) -> None:
        with counting():
            volume.write_bytes(f"small{number}", b"small")

    return [
        follow("stat of a known name", stat, 0, 1),
        follow("look-up of what is known not to be there", nothing, 0, 1),
        follow("empty file made and closed", make, 0, 1),
        follow("small file written whole", write, 0, 1),
    ]


def of_file(file: octavo.File) -> list[Trip]:
    """Reads and writes of a file of FILE_PAGES pages of which none is in memory."""
    page = bytes(PAGE_SIZE)

    def read(number: int) -> None:
        file.seek(number * PAGE_SIZE)
        with counting():
            file.read(PAGE_SIZE)

    def write(number: int) -> None:
        file.seek(number * PAGE_SIZE)
        with counting():
            file.write(page)

    def flush(number: int) -> None:
        file.seek(number * PAGE_SIZE)
        file.write(page)
        with counting():
            file.flush()

    return [
        follow("read 4 KiB at random, cold", read, 0, FILE_PAGES // 2),
        follow("read 4 KiB, warm", read, 0, 0),
        follow("write 4 KiB over a page in memory", write, 0, 0),
        follow("write 4 KiB behind the end", write, FILE_PAGES, FILE_PAGES + 1),
        follow("flush of one page", flush, 0, 1),
    ]


def of_views() -> list[Trip]:
    """Faults on a view of a file."""
    viewed = Viewed(PAGES)

    def touch(page: int) -> None:
        with counting():
            viewed.run(viewed.space.touch(viewed.base + page * PAGE_SIZE))

    hard = follow(f"hard fault on a mapped file, {CLUSTER} pages", touch, 0, CLUSTER)
    viewed.hard()  # leaves all pages on the standby list
    return [hard, follow("soft fault on a mapped file", touch, 0, 1)]


def of_private_pages() -> list[Trip]:
    """Faults on private pages, and their way to a page file."""
    machine = Machine(8 * PAGES, PAGES)

    def touch(page: int) -> None:
        with counting():
            machine.scheduler.run(machine.space.touch(machine.base + page * PAGE_SIZE, WRITE))

    paged = Paged(8 * PAGES)

    def evict(pages: int) -> None:
        with counting():
            left = paged.machine.scheduler.run(paged.machine.virtual.eviction.evict(pages))
        assert left == pages, left

    return [
        follow("demand-zero fault", touch, 0, 1),
        follow(f"page-out of {EVICTED} private pages", evict, EVICTED, EVICTED),
    ]


def trips(folder: Path) -> list[Trip]:
    """All of them; the image is made in a folder."""
    return of_files(folder) + of_views() + of_private_pages()


def table(found: list[Trip]) -> str:
    """One row a trip, as docs/architecture.md has it."""
    lines = ["| trip | calls | functions | files | rooms, and the calls in each |"]
    lines.append("|---|---|---|---|---|")
    for trip in found:
        rooms = ", ".join(f"{room} {count}" for room, count in trip.rooms().items())
        figures = f"{trip.calls.total()} | {len(trip.calls)} | {len(trip.files())}"
        lines.append(f"| {trip.name} | {figures} | {rooms} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table, or each file of each trip."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", action="store_true", help="the files of each trip, in order")
    parser.add_argument("--json", action="store_true", help="the calls of each function")
    parser.add_argument("--write", action="store_true", help="puts the table into its page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        found = trips(Path(folder))
    if options.json:
        print(json.dumps({t.name: {":".join(k): n for k, n in t.calls.items()} for t in found}))
        return
    print(table(found))
    if options.write:
        put_table("architecture.md", table(found))
    if options.files:
        for trip in found:
            print(f"\n{trip.name}")
            for file, count in trip.files().items():
                print(f"  {file:44}{count:5}")


if __name__ == "__main__":
    main()
