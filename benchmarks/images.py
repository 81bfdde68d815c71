"""Images and trees that `benchmarks/peers.py` and `benchmarks/rows.py` work on.

mtools and dosfstools make them.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

FILES = 2300
BIG_MIB = 256
READS = 20_000
CREATED = 1000


class Bench:
    """The image, the tree, and where things go, in a folder that `make` has filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.image = folder / "disk.img"
        self.blank = folder / "blank.img"
        self.out = folder / "out"
        self.fresh = folder / "fresh.img"
        self.empties = folder / "empties"
        walked = list(os.walk(self.tree))
        self.files = sum(len(files) for _, _, files in walked)
        self.entries = self.files + len(walked) + 1  # with the tree itself and the large file
        self.expected: int | None = None  # files that a row has to leave in `out`
        self.done: dict[str, int] = {}  # what a peer did where that is not all
        self.offsets = [random.Random(2).randrange(BIG_MIB << 8) * 4096 for _ in range(READS)]

    def renew(self) -> None:
        """Before a row that writes: a fresh copy of the blank image, written to the host's disk."""
        self.fresh.unlink(missing_ok=True)
        tool("cp", "--sparse=always", self.blank, self.fresh)
        os.sync()

    def cold(self) -> None:
        """Drops the image from the host's cache."""
        with open(self.image, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def warm(self) -> None:
        """Brings the image into the host's cache."""
        with open(self.image, "rb") as file:
            while file.read(1 << 24):
                pass

    def clear(self) -> None:
        """Before a row that copies out: an empty folder, and the image in the host's cache. The
        folder is a new one: what is made just after much was removed takes ext4 many times as long.
        """
        self.out = Path(tempfile.mkdtemp(prefix="out", dir=self.folder))
        self.expected = self.files
        os.sync()
        self.warm()

    def fill(self) -> None:
        """Before a row that deletes: `renew`, and CREATED empty files in a directory, by mtools."""
        self.renew()
        tool("mmd", "-i", self.fresh, "::many")
        tool("mcopy", "-Q", "-i", self.fresh, *sorted(self.empties.iterdir()), "::many")


def make(folder: Path) -> Bench:
    """Fills an empty folder: a tree, an image of it and a large file, a blank one, empty files."""
    make_tree(folder / "tree")
    b = Bench(folder)
    for image in (b.image, b.blank):
        with open(image, "wb") as file:
            file.truncate(1 << 30)
        tool("mkfs.fat", "-F", "32", image)
    tool("mcopy", "-s", "-Q", "-i", b.image, b.tree, "::")
    (folder / "big.bin").write_bytes(random.Random(1).randbytes(1 << 20) * BIG_MIB)
    tool("mcopy", "-i", b.image, folder / "big.bin", "::")
    (folder / "big.bin").unlink()
    b.empties.mkdir()
    for i in range(CREATED):
        (b.empties / f"file{i:04}.dat").touch()
    return b


def tool(*command: str | Path) -> None:
    """Runs a command, its output thrown away."""
    env = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
    no = subprocess.DEVNULL
    subprocess.run([str(c) for c in command], check=True, stdin=no, stdout=no, stderr=no, env=env)


def make_tree(root: Path) -> None:
    """The first FILES files of Python's standard library, tests included, each of at most 1 MiB."""
    library = Path(sysconfig.get_path("stdlib"))
    count = 0
    for folder, folders, files in os.walk(library):
        folders[:] = sorted(f for f in folders if f not in ("__pycache__", "site-packages"))
        for name in sorted(files):
            source = Path(folder) / name
            plain = not source.is_symlink() and name.isascii()
            if count == FILES or not plain or source.stat().st_size > 1 << 20:
                continue
            target = root / source.relative_to(library)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            count += 1
