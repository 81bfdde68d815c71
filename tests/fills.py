"""Fills: small volumes of every FAT type and cluster size, filled by every way in to the last
cluster and slot and beyond.

    python -m tests.fills --fills 10000 --seed 1        many; a fill that fails prints its seed
    python -m tests.fills --only 123                    the one with that seed, with a traceback

A model has what must be on the volume: what an operation that was refused has left, and everything
else untouched. Volumes are full before they begin but for some clusters, which lie in one piece, in
pairs or scattered; the others are marked bad.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

import octavo
from octavo.cli.main import run as octavo_run
from octavo.files import Volume
from octavo.shell.shell import Shell
from octavo.status import Status, StatusError
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.volume import VolumeTree
from tests.crashes.judge import fsck_lines
from tests.volumes import clusters_of, leave_free, make_volume, shared_memory

KIB, MIB = 1 << 10, 1 << 20
KINDS = [  # (bits, size, cluster)
    (12, 160 * KIB, 512), (12, 360 * KIB, 1024), (12, 2 * MIB, 512), (12, MIB, 2048),
    (12, 4 * MIB, 4096), (12, 3 * MIB, 8192),
    (12, 4 * MIB, 32768), (12, 5 * MIB, 65536), (16, 3 * MIB, 512), (16, 5 * MIB, 1024),
    (16, 20 * MIB, 4096), (16, 140 * MIB, 32768),
    (16, 300 * MIB, 65536), (32, 34 * MIB, 512), (32, 70 * MIB, 1024), (32, 280 * MIB, 4096),
]  # fmt: skip
MTOOLS = {
    **os.environ,
    "MTOOLS_SKIP_CHECK": "1",
}  # its check takes the last cluster's number for none
HOST_TREE = {
    "one.bin": 900,
    "Two with a long name.txt": 5000,
    "sub/three": 1,
    "sub/four of four.dat": 70_000,
    "sub/deep/five": 0,
}


class Fill:
    """One fill: `seed` says what kind of volume, how full, and what is done to it."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = random = Random(seed)
        self.image = folder / "fill.img"
        self.host = folder / "host"
        self.bits, size, self.cluster = random.choice(KINDS)
        mapped = make_volume(self.image, size, self.bits, self.cluster)
        clusters = clusters_of(mapped)
        leave_free(mapped, _some(random, min(clusters - 2, random.randrange(3, 150)), clusters))
        mapped.release()
        self.memory = random.choice(("1M", "2M", "8M"))
        self.model: dict[str, bytes | None] = {}
        self.names = 0
        self.counts: Counter[str] = Counter()
        self.boot()

    def boot(self) -> None:
        """Mounts the image."""
        self.system = octavo.boot(self.memory, [self.image])
        self.volume: Volume = next(iter(self.system.volumes.values()))

    def run(self) -> None:
        """Fills, deletes, fills again; takes the last cluster; compares everything."""
        ways = self.random.sample(WAYS, self.random.randrange(1, 5))
        self.attempt("mkdir", lambda: self.volume.mkdir("d"), 1) and self.model.update({"d": None})
        for _ in range(self.random.randrange(1, 4)):
            self.fill(ways)
            assert self.volume.check() == []
            self.delete()
        self.fill(ways)
        self.take_the_last_cluster()
        self.judge()

    def fill(self, ways: list[Callable[[Fill], None]]) -> None:
        """Puts things on the volume until it has refused some."""
        self.counts["refused"], most = 0, 3 if self.cluster < 8192 else 5
        for _ in range(120):
            self.random.choice(ways)(self)
            if self.counts["refused"] >= most:
                break

    def delete(self) -> None:
        """Removes some files and empty directories."""
        for path in self.random.sample(
            sorted(self.model), len(self.model) * self.random.randrange(1, 4) // 4
        ):
            if self.model[path] is not None:
                self.volume.remove(path)
            elif path != "d" and not any(other.startswith(path + "/") for other in self.model):
                self.volume.rmdir(path)
            else:
                continue
            del self.model[path]

    # -- ways in -----------------------------------------------------------------------------------

    def attempt(self, what: str, action: Callable[[], object], clusters: int) -> bool:
        """False when there is no room, which is true only if `clusters` and a directory's growth
        are more than there are.
        """
        free = self.volume.space().free // self.cluster
        try:
            action()
        except StatusError as error:
            assert error.status == Status.DISK_FULL, error
            self.counts["refused"] += 1
            full = "slots and they are used up" in error.text or "limit of 2 MiB" in error.text
            assert full or free < clusters + 2, (
                f"{what}: {clusters} clusters refused, {free} are free: {error}"
            )
            return False
        self.counts[what] += 1
        return True

    def fresh(self, longest: bool = False) -> str:
        """A path that is not there: short, middling or of 21 slots."""
        self.names += 1
        length = 255 if longest else self.random.choice((0, 0, 30, 255))
        name = f"n{self.names} ".ljust(length, "x") if length else f"N{self.names}"
        above = self.random.choice(
            ["", *(p for p, content in self.model.items() if content is None and p.count("/") < 3)]
        )
        return f"{above}/{name}" if above else name

    def data(self) -> bytes:
        """Contents of a few bytes or a few clusters."""
        return self.random.randbytes(
            self.random.choice(
                (
                    0,
                    1,
                    self.cluster,
                    self.random.randrange(4 * self.cluster),
                    self.random.randrange(20 * self.cluster),
                )
            )
        )

    def needs(self, size: int) -> int:
        """Clusters for so many bytes."""
        return -(-size // self.cluster)

    def files(self) -> list[str]:
        """The files."""
        return [path for path, content in self.model.items() if content is not None]

    def write(self) -> None:
        """A new file as a whole."""
        path, data = self.fresh(), self.data()
        if self.attempt(
            "write", lambda: self.volume.write_bytes(path, data), self.needs(len(data))
        ):
            self.model[path] = data

    def replace(self) -> None:
        """Another content for a file."""
        if not self.files():
            return self.write()
        path, data = self.random.choice(self.files()), self.data()
        old = self.model[path]
        if not self.attempt(
            "replace", lambda: self.volume.write_bytes(path, data), self.needs(len(data))
        ):
            data = self.volume.read_bytes(path)
            assert data in (old, b""), f"{path}: {len(data)} bytes after a replacement without room"
        self.model[path] = data
        return None

    def pour(self) -> None:
        """A file piece by piece, new or at its end."""
        path = (
            self.random.choice(self.files())
            if self.files() and self.random.random() < 0.5
            else self.fresh()
        )
        there = self.model.get(path) or b""
        piece = self.random.randrange(1, 2 * self.cluster)
        if path not in self.model and not self.attempt(
            "pour", lambda: self.volume.open(path, "xb").close(), 0
        ):
            return
        with self.volume.open(path, "ab") as file:
            for _ in range(self.random.randrange(1, 12)):
                data = self.random.randbytes(piece)
                if not self.attempt(
                    "append",
                    lambda data=data: file.write(data),  # type: ignore[misc]
                    self.needs(len(there) + piece) - self.needs(len(there)),
                ):
                    break
                there += data
        self.model[path] = there

    def lengthen(self) -> None:
        """A file made longer by zeros."""
        if not self.files():
            return self.write()
        path = self.random.choice(self.files())
        old = self.model[path] or b""
        size = len(old) + self.random.randrange(10 * self.cluster)
        with self.volume.open(path, "r+b") as file:
            if self.attempt(
                "truncate", lambda: file.truncate(size), self.needs(size) - self.needs(len(old))
            ):
                self.model[path] = old.ljust(size, b"\0")
        return None

    def mkdir(self) -> None:
        """A directory."""
        path = self.fresh()
        if self.attempt("mkdir", lambda: self.volume.mkdir(path), 1):
            self.model[path] = None

    def long_names(self) -> None:
        """Empty files whose names take 21 slots each."""
        for _ in range(10):
            path = self.fresh(longest=True)
            if self.attempt("long name", lambda path=path: self.volume.write_bytes(path, b""), 0):  # type: ignore[misc]
                self.model[path] = b""

    def rename(self) -> None:
        """A file or directory gets a longer name, perhaps elsewhere."""
        paths = [path for path in self.model if path != "d"]
        if not paths:
            return self.write()
        old, new = self.random.choice(paths), self.fresh(longest=self.random.random() < 0.7)
        if new.startswith(old + "/"):
            return None
        if self.attempt("rename", lambda: self.volume.rename(old, new), 0):
            for path in [p for p in self.model if p == old or p.startswith(old + "/")]:
                self.model[new + path[len(old) :]] = self.model.pop(path)
        return None

    def tree_in(self) -> None:
        """A tree from the host, through Python."""
        target = self.fresh()
        try:
            plan = plan_copy(
                [(HostTree(), str(self.host))], VolumeTree(self.volume, "C:"), target, True
            )
            errors = plan.problems + run_copy(plan)
        except StatusError as error:
            assert error.status == Status.DISK_FULL, error
            errors = [error]
        self.take(target, host_tree(), bool(errors))

    def command(self) -> None:
        """A tree from the host, by `octavo cp`."""
        target = self.fresh()
        self.system.close()
        with contextlib.redirect_stderr(io.StringIO()):
            code = octavo_run(["cp", "-r", str(self.host), f"{self.image}:/{target}"])
        self.boot()
        self.take(target, host_tree(), bool(code))

    def shell(self) -> None:
        """A file or tree copied within the volume by the shell."""
        if not self.model:
            return self.write()
        source, target = self.random.choice(sorted(self.model)), self.fresh()
        if target.startswith(source + "/"):
            return None
        here = source.replace("/", "\\")
        status = Shell(self.system, lambda line: None).execute(f'copy "{here}" "{target}"')
        tree = {
            path[len(source) + 1 :]: content
            for path, content in self.model.items()
            if path == source or path.startswith(source + "/")
        }
        self.take(target, tree, bool(status))
        return None

    def take(self, target: str, tree: dict[str, bytes | None], refused: bool) -> None:
        """Notes what came of a copied tree; each file is there whole or not at all, all of them if
        nothing was refused.
        """
        self.counts["refused" if refused else "copied"] += 1
        missing = []
        for relative, content in tree.items():
            path = f"{target}/{relative}" if relative else target
            if self.volume.exists(path):
                self.model[path] = content
            else:
                missing.append(path)
        assert bool(missing) == refused, f"refused: {refused}, not there: {missing}"

    # -- the end -----------------------------------------------------------------------------------

    def take_the_last_cluster(self) -> None:
        """A file grows by a cluster at a time until there is none; then not by one byte more."""
        if not self.files():
            return
        path = self.random.choice(self.files())
        there = self.model[path] or b""
        with self.volume.open(path, "ab") as file:
            while True:
                data = self.random.randbytes(
                    self.needs(len(there)) * self.cluster - len(there) or self.cluster
                )
                free = self.volume.space().free
                try:
                    file.write(data)
                except StatusError as error:
                    assert error.status == Status.DISK_FULL and free == 0, (
                        f"{free} bytes are free: {error}"
                    )
                    break
                there += data
        self.model[path] = there

    def judge(self) -> None:
        """Clean by check and by fsck.fat, the free clusters as they and mtools count them, and
        every byte as the model has it.
        """
        free = self.volume.space().free
        assert self.volume.check() == []
        self.system.close()
        assert fsck_lines(self.image) == []
        said = subprocess.run(
            ["fsck.fat", "-n", self.image], capture_output=True, text=True, check=True
        ).stdout.split()
        used, clusters = map(int, said[-2].split("/"))
        assert (clusters - used) * self.cluster == free, (
            f"{free} bytes free, {clusters - used} clusters by fsck.fat"
        )
        listed = subprocess.run(
            ["mdir", "-i", self.image, "::"],
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            env=MTOOLS,
        ).stdout
        assert int("".join(c for c in listed.splitlines()[-2] if c.isdigit())) == free
        with octavo.open_image(self.image, read_only=True) as volume:
            found = {
                f"{above}/{e.name}".lstrip("/"): e
                for above, entries in volume.walk()
                for e in entries
            }
            assert found.keys() == self.model.keys(), found.keys() ^ self.model.keys()
            for path, content in self.model.items():
                assert found[path].is_directory == (content is None)
                assert content is None or volume.read_bytes(path) == content, (
                    f"{path} has other contents"
                )


WAYS: list[Callable[[Fill], None]] = [
    Fill.write, Fill.replace, Fill.pour, Fill.lengthen, Fill.mkdir, Fill.long_names, Fill.rename,
    Fill.tree_in, Fill.command, Fill.shell,
]  # fmt: skip


def _some(random: Random, count: int, clusters: int) -> set[int]:
    """Numbers of so many clusters: in one piece, every other one, or anywhere."""
    how = random.randrange(3)
    if how == 2:
        return set(random.sample(range(2, clusters + 2), count))
    step = how + 1
    first = random.choice((2, max(2, clusters + 2 - step * count)))
    return set(list(range(first, clusters + 2, step))[:count])


def host_tree() -> dict[str, bytes | None]:
    """The tree that is copied in, with its directories."""
    files: dict[str, bytes | None] = {
        path: bytes([len(path)]) * size for path, size in HOST_TREE.items()
    }
    return {"": None, "sub": None, "sub/deep": None, **files}


def make_host_tree(folder: Path) -> None:
    """Puts the tree beside the image."""
    for path, content in host_tree().items():
        if content is None:
            (folder / "host" / path).mkdir(parents=True)
    for path, content in host_tree().items():
        if content is not None:
            (folder / "host" / path).write_bytes(content)


def fill(seed: int, folder: Path) -> Fill:
    """One fill, judged; AssertionError or StatusError when something is wrong."""
    made = Fill(seed, folder)
    try:
        made.run()
    except BaseException:
        made.system.abandon()
        raise
    return made


def main() -> int:
    """Fills, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fills")
    parser.add_argument("--fills", type=int, default=10_000)
    parser.add_argument(
        "--seed", type=int, default=1, help="the fills' own seeds are drawn from it"
    )
    parser.add_argument("--only", type=int, help="the one fill with this seed of its own")
    options = parser.parse_args()
    done, bad, begun = Counter[str](), Counter[str](), time.monotonic()
    with shared_memory() as folder:
        make_host_tree(folder)
        if options.only is not None:
            fill(options.only, folder)
            return 0
        seeds = Random(options.seed).sample(range(1 << 40), options.fills)
        for number, seed in enumerate(seeds):
            if number % 20 == 0:
                print(
                    f"\r{number} fills, {sum(bad.values())} bad ",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
            kind = f"FAT{Random(seed).choice(KINDS)[0]}"
            done[kind] += 1
            try:
                fill(seed, folder)
            except (AssertionError, StatusError) as error:
                bad[kind] += 1
                where = traceback.extract_tb(error.__traceback__)[-1].name
                print(
                    f"\rseed {seed} ({kind}): {where}: {str(error)[:200]}\n  python -m "
                    f"tests.fills --only {seed}"
                )
    print(file=sys.stderr)
    table = Table(
        "type",
        "fills",
        "damaged or wrong",
        title=f"Filled volumes, seed {options.seed}, {time.monotonic() - begun:.0f} s",
    )
    for kind in sorted(done):
        table.add_row(kind, str(done[kind]), str(bad[kind]))
    Console(width=100).print(table)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
