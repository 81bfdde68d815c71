"""Calls of operations on the names of a FAT volume: Octavo's functions that are entered, a
coroutine that goes on among them.

    .venv/bin/python -m benchmarks.names [--type fat16]

Calls do not depend on the machine. Each operation is made on many files of one directory, and the
calls of one are told.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import octavo
from octavo.cli.main import run

HOME = os.path.dirname(octavo.__file__) + os.sep
FILES = 200
SIZES = {"fat12": "4M", "fat16": "64M", "fat32": "96M"}


@contextmanager
def counted() -> Iterator[list[int]]:
    """Counts the calls into Octavo."""
    calls = [0]

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(HOME):
            calls[0] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def measure(what: str, count: int, action: Callable[[], object]) -> None:
    """Prints the calls of one of `count` operations."""
    with counted() as calls, contextlib.redirect_stdout(io.StringIO()):
        action()
    print(f"{what:32}{calls[0] / count:10.1f}")


def each(action: Callable[..., object], *arguments: Iterable[object]) -> Callable[[], None]:
    """Calls `action` with the first of the arguments, then with the second, and so on."""
    every = list(zip(*arguments, strict=True))

    def act() -> None:
        for given in every:
            action(*given)

    return act


def append(volume: octavo.Volume, path: str, mode: str) -> None:
    """Opens a file, writes some bytes at its end, and closes it."""
    with volume.open(path, mode) as file:
        file.write(b"y" * 700)


def names(volume: octavo.Volume) -> None:
    """The operations, one after the other."""
    volume.mkdir("d")
    files, data = [f"d/f{i}.txt" for i in range(FILES)], [b"x" * 700] * FILES
    long, moved = ([f"d/{name}{i}" for i in range(FILES)] for name in ("a long name ", "r"))
    opened, made = ([f"d/{name}{i}" for i in range(FILES)] for name in "wd")
    volumes, ways = [volume] * FILES, [["wb"] * FILES, ["ab"] * FILES]
    measure("create", FILES, each(volume.create_bytes, files, data))
    measure("create, long names", FILES, each(volume.create_bytes, long, data))
    measure("open, write, close", FILES, each(append, volumes, opened, ways[0]))
    measure("flush of all that", 1, volume.flush)
    measure("list of all that", 1, lambda: volume.entries("d"))
    measure("append", FILES, each(append, volumes, opened, ways[1]))
    measure("attributes", FILES, each(volume.set_attributes, files, ["h"] * FILES))
    measure("rename", FILES, each(volume.rename, files, moved))
    measure("flush of that", 1, volume.flush)
    measure("remove", FILES, each(volume.remove, moved))
    measure("flush of that", 1, volume.flush)
    measure("make directory", FILES, each(volume.mkdir, made))


def trees(image: Path, folder: Path) -> None:
    """A tree of small files, by the command line: in, out, and removed."""
    for i in range(FILES):
        path = folder / "tree" / f"d{i % 5}" / f"file {i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"t" * 600)
    inside = f"{image}:/tree"
    measure("tree in", FILES, lambda: run(["cp", "-r", str(folder / "tree"), f"{image}:/"]))
    measure("tree out", FILES, lambda: run(["cp", "-r", inside, str(folder / "out")]))
    measure("tree removed", FILES, lambda: run(["rm", "-r", inside]))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.names", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--type", choices=SIZES, default="fat16", help="of the volume")
    kind = parser.parse_args().type
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = folder / "disk.img"
        with contextlib.redirect_stdout(io.StringIO()):
            assert run(["mkfs", "--size", SIZES[kind], "--type", kind, str(image)]) == 0
        with octavo.boot(memory="16M", disks=[image], seed=1) as system:
            names(system.volumes["C:"])
        trees(image, folder)


if __name__ == "__main__":
    main()
