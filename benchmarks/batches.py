"""What one small file costs in a copied tree: host calls, Python calls and bytes moved, in a batch
and one by one.

    .venv/bin/python -m benchmarks.batches [--write]

A tree of FILES files of SIZE bytes goes into an empty FAT32 image, or out of one, and one of twice
as many; the difference is what FILES more files cost, whatever a copy costs by itself. Host calls
are those of `os`, Python calls entries into functions of Octavo's (a coroutine that goes on among
them), and bytes moved those that host calls move, and those that are copied into frames or out of
them. None of this depends on the machine: docs/batches.md has the table, and a test holds it to the
code.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import octavo
from benchmarks.pages import put_table
from octavo.cache.manager import CacheManager
from octavo.cli.main import run as command
from octavo.fs.vfs.stage import Stage
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.tree import Tree
from octavo.transfer.volume import VolumeTree

HOME = os.path.dirname(octavo.__file__) + os.sep
FILES = 200
SIZE = 3000
MEMORY = "64M"
BYTES = ("read", "preadv", "write", "pwrite", "pwritev")
HOST = (*BYTES, "open", "close", "lseek", "ftruncate", "stat", "fstat", "utime", "fsync")


class OneByOne(VolumeTree):
    """A volume that nothing is copied to in batches."""


class OutOneByOne(HostTree):
    """The host, to which nothing is copied in batches."""


@contextmanager
def counting(counts: Counter[str]) -> Iterator[None]:
    """Counts the calls of the block, and the bytes that they move."""

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            counts["python"] += frame.f_code.co_filename.startswith(HOME)
        elif event == "c_call" and getattr(argument, "__qualname__", "") == "DirEntry.stat":
            counts["host"] += 1

    with ExitStack() as patches:
        for name in HOST:
            patches.enter_context(patch.object(os, name, counted(counts, getattr(os, name))))
        for owner, name, size in MOVES:
            patches.enter_context(
                patch.object(owner, name, weighed(counts, getattr(owner, name), size))
            )
        sys.setprofile(note)
        try:
            yield
        finally:
            sys.setprofile(None)


def counted(counts: Counter[str], call: Callable[..., Any]) -> Callable[..., Any]:
    """A host call that is counted, in whatever thread, with the bytes that it moves."""

    def wrapper(*arguments: Any, **named: Any) -> Any:
        result = call(*arguments, **named)
        counts["host"] += 1
        if call.__name__ in BYTES:
            counts["moved"] += result if isinstance(result, int) else len(result)
        return result

    return wrapper


def weighed(
    counts: Counter[str], call: Callable[..., Any], size: Callable[..., int]
) -> Callable[..., Any]:
    """A function that copies in memory."""

    def wrapper(*arguments: Any) -> Any:
        counts["moved"] += size(*arguments[1:])
        return call(*arguments)

    return wrapper


MOVES: list[tuple[type, str, Callable[..., int]]] = [
    (
        CacheManager,
        "copy_read",
        lambda section, offset, length, *rest: max(0, min(length, section.size - offset)),
    ),
    (CacheManager, "copy_write", lambda section, offset, data: len(data)),
    (CacheManager, "put", lambda edits: sum(len(data) for _, _, data in edits)),
    (Stage, "put", lambda start, data: len(data)),
    (Stage, "clear", lambda start, end: end - start),
]


def fill(folder: Path, files: int) -> Path:
    """A tree of so many files."""
    tree = folder / f"tree{files}"
    tree.mkdir(exist_ok=True)
    for i in range(files):
        (tree / f"file{i:04}.txt").write_bytes(bytes(SIZE))
    return tree


def blank(folder: Path) -> Path:
    """An empty image."""
    image = folder / "image"
    image.unlink(missing_ok=True)
    assert command(["mkfs", "-s", "64M", "--type", "fat32", str(image)]) == 0
    return image


def copy(source: Tree, path: Path | str, target: Tree, to: Path | str) -> None:
    """All of it."""
    assert run_copy(plan_copy([(source, str(path))], target, str(to), True)) == []


def cost_in(folder: Path, files: int, kind: type[VolumeTree]) -> Counter[str]:
    """The counts of one copy of so many files into an image, flushed."""
    tree, counts = fill(folder, files), Counter[str]()
    with octavo.boot(MEMORY, disks=[blank(folder)], seed=1) as system, counting(counts):
        volume = system.volumes["C:"]
        copy(HostTree(), tree, kind(volume, ""), "")
        volume.flush()
    return counts


def cost_out(folder: Path, files: int, kind: type[HostTree]) -> Counter[str]:
    """The counts of one copy of so many files out of an image."""
    tree, image, counts = fill(folder, files), blank(folder), Counter[str]()
    with octavo.open_image(image) as volume:
        copy(HostTree(), tree, VolumeTree(volume, ""), "")
    out = Path(tempfile.mkdtemp(dir=folder))
    with octavo.boot(MEMORY, disks=[image], seed=1) as system, counting(counts):
        copy(VolumeTree(system.volumes["C:"], ""), tree.name, kind(), out)
    return counts


def table(folder: Path) -> str:
    """What one more file costs, as docs/batches.md has it."""
    lines = [f"| a file of {SIZE} bytes | host calls | Python calls | bytes moved |"]
    lines.append("|---|---|---|---|")
    rows: list[tuple[str, Callable[[int], Counter[str]]]] = [
        ("in, one by one", lambda files: cost_in(folder, files, OneByOne)),
        ("in, in a batch", lambda files: cost_in(folder, files, VolumeTree)),
        ("out, one by one", lambda files: cost_out(folder, files, OutOneByOne)),
        ("out, in a batch", lambda files: cost_out(folder, files, HostTree)),
    ]
    for name, cost in rows:
        cost(FILES)  # what is made at the first use is there then
        few, many = cost(FILES), cost(2 * FILES)
        each = {key: (many[key] - few[key]) / FILES for key in many}
        figures = f"{each['host']:.1f} | {each['python']:.0f} | {each['moved']:,.0f}"
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="puts the table into its page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        found = table(Path(folder))
    print(found)
    if options.write:
        put_table("batches.md", found)


if __name__ == "__main__":
    main()
