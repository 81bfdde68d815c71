"""Files in a FAT32 image: Octavo against mtools, pyfatfs, dissect.fat, FATtools and fatfs-ng, each
through its natural interface.

    make bench        or        .venv/bin/python -m benchmarks.files [--rounds 3] [--quick] [--json]

A process for mtools, library calls for the others; opening and closing the image is part of every
row but the random reads. The peers take turns within a row, so that a slow minute of the machine
hits all of them; a rate is the median of the rounds (of one round for who needs more than SLOW
seconds). Read the ratios: absolute rates mean little on a shared machine.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy  # noqa: F401 -- a walk decodes by it where it is loaded

import octavo
from benchmarks.images import BIG_MIB, CREATED, READS, Bench, make, tool
from octavo.system import IMAGE_MEMORY
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.tree import Tree
from octavo.transfer.volume import VolumeTree

SLOW = 8.0  # seconds

MTOOLS, PYFATFS, DISSECT, FATTOOLS, FATFS, OCTAVO = (
    "mtools",
    "pyfatfs",
    "dissect.fat",
    "FATtools",
    "fatfs-ng",
    "Octavo",
)
PEERS = [OCTAVO, MTOOLS, PYFATFS, DISSECT, FATTOOLS, FATFS]
ONE_BY_ONE = 535  # files of the tree that are written by a call each
PARTIAL = (
    "list",
    "tree out",
)  # rows in which FATtools does part of the work: it does not see long names
Action = Callable[[], float | None]  # returns seconds when it timed itself


# -- listing ---------------------------------------------------------------------------------------


def list_rows(b: Bench) -> dict[str, Action]:
    """Names, sizes and types of everything."""

    def ours() -> None:
        with octavo.open_image(b.image, read_only=True) as volume:
            assert sum(len(entries) for _, entries in volume.walk()) == b.entries

    def pyfatfs() -> None:
        from pyfatfs.PyFatFS import PyFatFS

        with PyFatFS(str(b.image), read_only=True) as fs:
            assert sum(1 for _ in fs.walk.files("/")) == b.files + 1

    def dissect() -> None:
        with open(b.image, "rb") as file:
            assert sum(1 for _ in dissect_files(file)) == b.files + 1

    def fattools() -> None:
        b.done[FATTOOLS] = sum(len(files) for _, _, files in fattools_root(b.image, "rb").walk())

    return {
        OCTAVO: ours,
        MTOOLS: lambda: tool("mdir", "-/", "-b", "-i", b.image, "::"),
        PYFATFS: pyfatfs,
        DISSECT: dissect,
        FATTOOLS: fattools,
    }


@contextmanager
def fatfs_volume(image: Path) -> Iterator[Any]:
    """fatfs-ng's volume on an image file: its own disks are in memory."""
    import fatfs
    from fatfs.diskio import Disk

    fd = os.open(image, os.O_RDWR)

    class FileDisk(Disk):  # type: ignore[misc]  # it has no types
        ioctl_get_sector_count = lambda _: os.fstat(fd).st_size // 512  # noqa: E731
        ioctl_get_sector_size = lambda _: 512  # noqa: E731
        ioctl_get_block_size = lambda _: 1  # noqa: E731
        ioctl_sync = lambda _: None  # noqa: E731
        read = lambda _, sector, count: os.pread(fd, count * 512, sector * 512)  # noqa: E731
        write = lambda _, sector, count, data: os.pwrite(fd, data, sector * 512)  # noqa: E731

    try:
        volume = fatfs.Partition(FileDisk())
        volume.mount()
        yield volume
        volume.unmount()
        os.fsync(fd)  # once, as Octavo does
    finally:
        os.close(fd)


def dissect_files(file: Any) -> Iterator[tuple[str, Any]]:
    """(path, entry) of every file, by way of entries, which is the fast way."""
    from dissect.fat import FATFS

    pending = [("", FATFS(file).root)]
    while pending:
        path, directory = pending.pop()
        for entry in directory.iterdir():
            if entry.name in (".", ".."):
                continue
            if entry.is_directory():
                pending.append((f"{path}/{entry.name}", entry))
            else:
                yield f"{path}/{entry.name}", entry


def fattools_root(image: Path, mode: str) -> Any:
    """FATtools' root directory."""
    from FATtools import Volume

    return Volume.vopen(str(image), mode, "volume")


# -- trees -----------------------------------------------------------------------------------------


def copy(source: Tree, path: str, target: Tree, to: str) -> None:
    """What `octavo cp -r` does, all of it."""
    assert run_copy(plan_copy([(source, path)], target, to, True)) == []


def in_rows(b: Bench) -> dict[str, Action]:
    """The tree into a blank image."""

    def ours() -> None:
        with octavo.open_image(b.fresh) as volume:
            copy(HostTree(), str(b.tree), VolumeTree(volume, ""), "")

    def pyfatfs() -> None:
        from pyfatfs.PyFatFS import PyFatFS

        with PyFatFS(str(b.fresh)) as fs:
            for folder, _, files in os.walk(b.tree):
                base = (
                    "/tree/" + os.path.relpath(folder, b.tree) if folder != str(b.tree) else "/tree"
                )
                fs.makedir(base)
                for name in files:
                    with (
                        open(os.path.join(folder, name), "rb") as source,
                        fs.openbin(f"{base}/{name}", "wb") as target,
                    ):
                        target.write(source.read())

    def fattools() -> None:
        from FATtools import Volume

        root = fattools_root(b.fresh, "r+b")
        Volume.copy_tree_in(str(b.tree), root)
        Volume.vclose(root)

    return {
        OCTAVO: ours,
        MTOOLS: lambda: tool("mcopy", "-s", "-Q", "-i", b.fresh, b.tree, "::"),
        PYFATFS: pyfatfs,
        FATTOOLS: fattools,
    }


def out_rows(b: Bench) -> dict[str, Action]:
    """The tree out of the image."""

    def ours() -> None:
        with octavo.open_image(b.image, read_only=True) as volume:
            copy(VolumeTree(volume, ""), "tree", HostTree(), str(b.out))

    def mtools() -> None:
        tool("mcopy", "-s", "-Q", "-i", b.image, "::tree", b.out)

    def pyfatfs() -> None:
        from pyfatfs.PyFatFS import PyFatFS

        with PyFatFS(str(b.image), read_only=True) as fs:
            for path in fs.walk.files(
                "/TREE"
            ):  # it knows no case bits, and finds names in one case only
                write(b.out, path, fs.openbin(path).read())

    def dissect() -> None:
        with open(b.image, "rb") as file:
            for path, entry in dissect_files(file):
                if path.lower().startswith("/tree"):  # it gives short names in upper case
                    write(b.out, path, entry.open().read())

    def fattools() -> None:
        from FATtools import Volume

        Volume.copy_tree_out(fattools_root(b.image, "rb").opendir("tree"), str(b.out))

    return {OCTAVO: ours, MTOOLS: mtools, PYFATFS: pyfatfs, DISSECT: dissect, FATTOOLS: fattools}


def write(out: Path, path: str, data: bytes) -> None:
    """One file on the host."""
    target = str(out) + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.write(data)


# -- one large file --------------------------------------------------------------------------------


def drain(file: Any) -> None:
    """Reads a file to its end by MiB."""
    while file.read(1 << 20):
        pass


def sequence_rows(b: Bench) -> dict[str, Action]:
    """The large file from its beginning to its end."""

    def ours() -> None:
        with octavo.open_image(b.image, read_only=True) as volume, volume.open("big.bin") as file:
            drain(file)

    def mtools() -> None:
        tool("mcopy", "-i", b.image, "::big.bin", "-")

    def pyfatfs() -> None:
        from pyfatfs.PyFatFS import PyFatFS

        with PyFatFS(str(b.image), read_only=True) as fs, fs.openbin("/BIG.BIN") as file:
            drain(file)

    def dissect() -> None:
        from dissect.fat import FATFS

        with open(b.image, "rb") as raw:
            drain(FATFS(raw).get("big.bin").open())

    return {
        OCTAVO: ours,
        MTOOLS: mtools,
        PYFATFS: pyfatfs,
        DISSECT: dissect,
        FATTOOLS: lambda: drain(fattools_root(b.image, "rb").open("big.bin")),
    }


def random_rows(b: Bench) -> dict[str, Action]:
    """4 KiB at READS places, through a file that is open."""

    def reads(file: Any) -> float:
        start = time.perf_counter()
        for offset in b.offsets:
            file.seek(offset)
            assert len(file.read(4096)) == 4096
        return time.perf_counter() - start

    def ours() -> float:
        with octavo.open_image(b.image, read_only=True) as volume, volume.open("big.bin") as file:
            return reads(file)

    def pyfatfs() -> float:
        from pyfatfs.PyFatFS import PyFatFS

        with PyFatFS(str(b.image), read_only=True) as fs, fs.openbin("/BIG.BIN") as file:
            return reads(file) if len(b.offsets) < 1000 else reads_of_some(file)

    def reads_of_some(file: Any) -> float:
        """pyfatfs walks the chain for each read: a hundredth of them tells its rate."""
        start = time.perf_counter()
        for offset in b.offsets[: READS // 100]:
            file.seek(offset)
            file.read(4096)
        return (time.perf_counter() - start) * 100

    def dissect() -> float:
        from dissect.fat import FATFS

        with open(b.image, "rb") as raw:
            return reads(FATFS(raw).get("big.bin").open())

    return {
        OCTAVO: ours,
        PYFATFS: pyfatfs,
        DISSECT: dissect,
        FATTOOLS: lambda: reads(fattools_root(b.image, "rb").open("big.bin")),
    }


# -- many files ------------------------------------------------------------------------------------


def write_rows(b: Bench) -> dict[str, Action]:
    """Files of the tree, all in one directory, by one call each."""
    every = sorted(p for p in b.tree.rglob("*") if p.is_file())[:ONE_BY_ONE]
    files = [(f"many/f{i:04}.dat", path.read_bytes()) for i, path in enumerate(every)]

    def ours() -> None:
        with octavo.open_image(b.fresh) as volume:
            volume.mkdir("many")
            for path, data in files:
                volume.write_bytes(path, data)

    def pyfatfs() -> None:
        from pyfatfs.PyFatFS import PyFatFS

        with PyFatFS(str(b.fresh)) as fs:
            fs.makedir("/many")
            for path, data in files:
                fs.writebytes(f"/{path}", data)

    def fatfs() -> None:
        with fatfs_volume(b.fresh) as volume:
            volume.mkdir("/many")
            for path, data in files:
                with volume.open(f"/{path}", "wb") as file:
                    file.write(data)

    return {OCTAVO: ours, PYFATFS: pyfatfs, FATFS: fatfs}


def create_rows(b: Bench) -> dict[str, Action]:
    """CREATED empty files with 8.3 names in one directory."""

    def ours() -> None:
        with octavo.open_image(b.fresh) as volume:
            volume.mkdir("many")
            for i in range(CREATED):
                volume.open(f"many/file{i:04}.dat", "wb").close()

    def mtools() -> None:
        tool("mmd", "-i", b.fresh, "::many")
        tool("mcopy", "-Q", "-i", b.fresh, *sorted(b.empties.iterdir()), "::many")

    def pyfatfs() -> None:
        from pyfatfs.PyFatFS import PyFatFS

        with PyFatFS(str(b.fresh)) as fs:
            fs.makedir("/many")
            for i in range(CREATED):
                fs.create(f"/many/file{i:04}.dat")

    def fattools() -> None:
        from FATtools import Volume

        root = fattools_root(b.fresh, "r+b")
        many = root.mkdir("many")
        for i in range(CREATED):
            many.create(f"file{i:04}.dat").close()
        Volume.vclose(root)

    def fatfs() -> None:
        with fatfs_volume(b.fresh) as volume:
            volume.mkdir("/many")
            for i in range(CREATED):
                volume.open(f"/many/file{i:04}.dat", "wb").close()

    return {OCTAVO: ours, MTOOLS: mtools, PYFATFS: pyfatfs, FATTOOLS: fattools, FATFS: fatfs}


def delete_rows(b: Bench) -> dict[str, Action]:
    """These files again, made by mtools."""

    def ours() -> None:
        with octavo.open_image(b.fresh) as volume:
            for i in range(CREATED):
                volume.remove(f"many/file{i:04}.dat")

    def pyfatfs() -> None:
        from pyfatfs.PyFatFS import PyFatFS

        with PyFatFS(str(b.fresh)) as fs:
            for i in range(CREATED):
                fs.remove(f"/MANY/FILE{i:04}.DAT")

    def fattools() -> None:
        from FATtools import Volume

        root = fattools_root(b.fresh, "r+b")
        many = root.opendir("many")
        for i in range(CREATED):
            assert many.erase(f"file{i:04}.dat")
        Volume.vclose(root)

    return {
        OCTAVO: ours,
        MTOOLS: lambda: tool(
            "mdel", "-i", b.fresh, *(f"::many/file{i:04}.dat" for i in range(CREATED))
        ),
        PYFATFS: pyfatfs,
        FATTOOLS: fattools,
    }


# -- running ---------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One row: the peers' actions, what has to be done before each, and how many of the unit an
    action does.
    """

    name: str
    unit: str
    actions: dict[str, Action]
    before: Callable[[], None]
    units: float


def rows(b: Bench) -> list[Row]:
    """All rows but the start."""
    return [
        Row("list", "files/s", list_rows(b), b.warm, b.files),
        Row("tree in", "files/s", in_rows(b), b.renew, b.files),
        Row("tree out", "files/s", out_rows(b), b.clear, b.files),
        Row("read, cold", "MB/s", sequence_rows(b), b.cold, BIG_MIB * 1.048576),
        Row("read, warm", "MB/s", sequence_rows(b), b.warm, BIG_MIB * 1.048576),
        Row("random 4K, warm", "reads/s", random_rows(b), b.warm, READS),
        Row("create", "files/s", create_rows(b), b.renew, CREATED),
        Row("write one by one", "files/s", write_rows(b), b.renew, ONE_BY_ONE),
        Row("delete", "files/s", delete_rows(b), b.fill, CREATED),
    ]


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
