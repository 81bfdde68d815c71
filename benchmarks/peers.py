"""What Octavo and its peers do in each row of `benchmarks/files.py`, each through its natural
interface: a process for mtools, library calls for the others. Opening and closing the image is part
of every row but the random reads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy  # noqa: F401 -- a walk decodes by it where it is loaded

import octavo
from benchmarks.images import BIG_MIB, CREATED, READS, Bench, tool
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.tree import Tree
from octavo.transfer.volume import VolumeTree

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
        def ioctl_get_sector_count(self) -> int:
            return os.fstat(fd).st_size // 512

        def ioctl_get_sector_size(self) -> int:
            return 512

        def ioctl_get_block_size(self) -> int:
            return 1

        def read(self, sector: int, count: int) -> bytes:
            return os.pread(fd, count * 512, sector * 512)

        def write(self, sector: int, count: int, data: bytes) -> None:
            os.pwrite(fd, data, sector * 512)

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


# -- all of them -----------------------------------------------------------------------------------


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
