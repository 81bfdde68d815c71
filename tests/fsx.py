"""fsx's method: one file, and a bytearray that says what must be in it.

    python -m tests.fsx --ops 1000000 --seed 1      many; a case that fails prints its seed
    python -m tests.fsx --only 123                  the one with that seed, with a traceback

Random reads, writes, cuts and extensions of one file by every way in and out at once: two open
files, views in an address space, whole files, the calls of the cache. What one of them wrote
another one must read. Between them the file is flushed, closed, opened, replaced, removed while it
is open, renamed, pushed out of memory and mounted again. Volumes are of every FAT type, of many
cluster sizes, some too small for the file; memory is small. At the end check, fsck.fat and mtools
judge.

Source: the method of fsx (Apple, 1991), which is not this program's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

import octavo
from octavo.files import File
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.spaces.addressspace import Allocate, Free
from octavo.memory.spaces.view import SectionObject
from octavo.status import Status, StatusError
from tests.crashes.judge import fsck_lines
from tests.fsx_cache import CACHE_WAYS
from tests.volumes import clusters_of, leave_free, make_volume, shared_memory

KIB, MIB = 1 << 10, 1 << 20
KINDS = [  # (bits, size, cluster)
    (12, 2 * MIB, 512), (12, 4 * MIB, 1024), (12, 8 * MIB, 4096), (12, 24 * MIB, 32768),
    (12, 24 * MIB, 65536), (16, 5 * MIB, 512), (16, 10 * MIB, 2048), (16, 36 * MIB, 4096),
    (16, 140 * MIB, 16384), (32, 34 * MIB, 512), (32, 70 * MIB, 1024), (32, 280 * MIB, 4096),
]  # fmt: skip
MEMORIES = ("1M", "2M", "4M", "4M")
MOST = (40 * KIB, 300 * KIB, 1500 * KIB, 6 * MIB)  # bytes of the file
OPS = 2000  # of a case
VIEWS = 3
VIEW_UNIT = 64 * KIB  # where a view may begin
CHUNK = 200 * KIB  # bytes of one read or write
MTOOLS = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}


class View:
    """A view of the file: `size` bytes from `offset` on, at `base`."""

    def __init__(self, section: SectionObject, base: int, offset: int, size: int) -> None:
        self.section, self.base, self.offset, self.size = section, base, offset, size


class Exercise:
    """One case: `seed` says which volume, which memory, and what is done."""

    def __init__(self, seed: int, folder: Path, ops: int = OPS) -> None:
        self.random = random = Random(seed)
        self.image = folder / "fsx.img"
        self.ops = ops
        self.kind = random.choice(KINDS)
        bits, size, self.cluster = self.kind
        mapped = make_volume(self.image, size, bits, self.cluster)
        self.most = min(random.choice(MOST), size // 3)
        clusters = clusters_of(mapped)
        if random.random() < 0.3:  # too small for the file now and then
            wanted = min(
                clusters - 2, 5 + self.most * random.randrange(3, 12) // 10 // self.cluster
            )
            leave_free(mapped, set(random.sample(range(2, clusters + 2), wanted)))
        mapped.release()
        self.memory = random.choice(MEMORIES)
        self.path, self.content = "file", bytearray()
        self.done: Counter[str] = Counter()
        self.last: deque[str] = deque(maxlen=40)
        self.files: list[File] = []
        self.views: list[View] = []
        self.boot()
        self.volume.write_bytes(self.path, b"")

    def boot(self) -> None:
        """Mounts the image."""
        self.system = octavo.boot(self.memory, [self.image])
        self.volume = self.system.volumes[next(iter(self.system.volumes))]
        self.run = self.system.scheduler.run
        self.space = self.system.virtual.create("fsx")

    def exercise(self) -> None:
        """Does all of it, and judges."""
        names, weights = zip(*WAYS.items(), strict=True)
        for number in range(self.ops):
            way = self.random.choices(names, weights)[0]
            self.done[way.__name__] += 1
            way(self)
            if number % 100 == 99:
                self.compare()
        self.judge()

    # -- numbers -----------------------------------------------------------------------------------

    def place(self, limit: int) -> int:
        """From 0 to a limit: anywhere, or where pages, clusters, segments, or the file end."""
        random = self.random
        if random.random() < 0.5:
            return random.randint(0, limit)
        unit = random.choice((PAGE_SIZE, self.cluster, 512 * KIB, max(1, len(self.content))))
        near = random.randint(0, limit // unit) * unit + random.choice((-1, 0, 0, 1))
        return min(max(near, 0), limit)

    def stretch(self, limit: int) -> tuple[int, int]:
        """A place, and a length that ends at the limit at most."""
        at = self.place(limit)
        most = min(limit - at, self.random.choice((20, PAGE_SIZE, 3 * PAGE_SIZE, CHUNK)))
        return at, self.place(most) if self.random.random() < 0.8 else most

    def data(self, length: int) -> bytes:
        """Bytes that are seen to be out of place; or zeros, as a hole is made of."""
        if self.random.random() < 0.15:
            return bytes(length)
        return (self.random.randbytes(min(length, 997)) * (length // 997 + 1))[:length]

    def note(self, what: str) -> None:
        """For whoever looks for a failure."""
        self.last.append(what)

    def attempt(self, action: Callable[[], object]) -> bool:
        """False when the volume is full: then nothing has changed."""
        try:
            action()
        except StatusError as error:
            if error.status != Status.DISK_FULL:
                raise
            self.done["full"] += 1
            self.note("  full")
            return False
        return True

    def file(self) -> File:
        """One of the open files."""
        while len(self.files) < 2:
            self.files.append(self.volume.open(self.path, "r+b"))
        return self.random.choice(self.files)

    # -- ways in and out ---------------------------------------------------------------------------

    def read(self) -> None:
        """Through an open file, also behind its end."""
        at, length = self.stretch(len(self.content) + 5000)
        self.note(f"read {at} {length}")
        file = self.file()
        file.seek(at)
        if self.random.random() < 0.5:
            found = file.read(length)
        else:
            buffer = bytearray(length)
            found = bytes(buffer[: file.readinto(buffer)])
        self.agree(found, at, at + length)

    def write(self) -> None:
        """Through an open file, also over its end, and behind it."""
        at, length = self.stretch(min(self.most, len(self.content) + self.place(3 * CHUNK)))
        self.note(f"write {at} {length}")
        file, data = self.file(), self.data(length)
        file.seek(at)
        if self.attempt(lambda: file.write(data)) and data:
            self.put(at, data)

    def append(self) -> None:
        """By an open file of its own."""
        data = self.data(self.place(min(CHUNK, self.most - len(self.content))))
        self.note(f"append {len(data)}")
        with self.volume.open(self.path, "ab") as file:
            if self.attempt(lambda: file.write(data)):
                self.put(len(self.content), data)

    def truncate(self) -> None:
        """Cut, or made longer by zeros."""
        size = self.place(self.most if self.random.random() < 0.4 else len(self.content))
        self.note(f"truncate {size}")
        if self.attempt(lambda: self.file().truncate(size)):
            old = len(self.content)
            del self.content[size:]
            self.content.extend(bytes(max(0, size - old)))

    def punch(self) -> None:
        """A hole of zeros, by cutting the file there and writing what was behind it again."""
        at, length = self.stretch(len(self.content))
        self.note(f"punch {at} {length}")
        file = self.file()
        tail = bytes(self.content[at + length :])
        file.truncate(at)
        if not self.attempt(lambda: file.truncate(at + length)):
            length = 0
        file.seek(at + length)
        if self.attempt(lambda: file.write(tail)):
            self.content[at:] = bytes(length) + tail
        else:
            self.content[at:] = bytes(length)

    def map(self) -> None:
        """A view of some of the file, or one less."""
        if len(self.views) == VIEWS:
            self.unmap(self.random.choice(self.views))
        if not self.content:
            return
        offset = self.random.randrange(len(self.content)) // VIEW_UNIT * VIEW_UNIT
        self.note(f"map from {offset}")
        section = self.run(self.system.virtual.sections.create(0, file=self.file().core))
        size = self.random.choice((0, min(CHUNK, len(self.content) - offset)))
        base, _ = self.space.map(section, size=size, offset=offset)
        self.views.append(View(section, base, offset, size or len(self.content) - offset))

    def unmap(self, view: View) -> None:
        """Ends one."""
        self.note(f"unmap from {view.offset}")
        self.space.unmap(view.base)
        self.system.virtual.sections.close(view.section)
        self.views.remove(view)

    def seen(self) -> tuple[View, int, int] | None:
        """A view, and a stretch of the file in it."""
        if not self.views:
            return None
        view = self.random.choice(self.views)
        limit = min(view.size, len(self.content) - view.offset)
        if limit <= 0:
            return None
        at, length = self.stretch(limit)
        return view, at, length

    def look(self) -> None:
        """Through a view."""
        if found := self.seen():
            view, at, length = found
            self.note(f"look {view.offset + at} {length}")
            start = view.offset + at
            self.agree(self.run(self.space.read(view.base + at, length)), start, start + length)

    def poke(self) -> None:
        """Writes through a view."""
        if found := self.seen():
            view, at, length = found
            self.note(f"poke {view.offset + at} {length}")
            data = self.data(length)
            self.run(self.space.write(view.base + at, data))
            self.put(view.offset + at, data)

    def flush(self) -> None:
        """One of the files, the volume, a view."""
        self.note("flush")
        how = self.random.randrange(3)
        if how == 0 and self.views:
            self.run(self.space.flush(self.random.choice(self.views).base))
        elif how == 1:
            self.file().flush()
        else:
            self.volume.flush()

    def reopen(self) -> None:
        """Closes one of the files; another one is opened when it is needed."""
        self.note("close")
        self.file().close()
        self.files = [file for file in self.files if not file.closed]

    def let_go(self) -> None:
        """Nobody uses the file any more."""
        for view in list(self.views):
            self.unmap(view)
        for file in self.files:
            file.close()
        self.files.clear()

    def replace(self) -> None:
        """Other contents for all of it, or another name; in use or not."""
        if self.random.random() < 0.3:
            self.let_go()
        data = self.data(self.place(self.most))
        self.note(f"replace by {len(data)}")
        used = bool(self.files or self.views)
        if not used and self.random.random() < 0.4:
            new = "File with a long name" if self.path == "file" else "file"
            if self.attempt(lambda: self.volume.rename(self.path, new)):
                self.path = new
        if self.attempt(lambda: self.volume.write_bytes(self.path, data)):
            self.content[:] = data

    def orphan(self) -> None:
        """The file is removed, or another one takes its place, while it is in use: who has it open
        goes on with it, and at the end its clusters are free.
        """
        self.file()
        data = self.data(self.place(self.most // 4))
        replaced = self.random.random() < 0.5 and self.attempt(
            lambda: self.volume.write_bytes("other", data)
        )
        self.note(f"replace by other, {len(data)}" if replaced else "remove")
        if replaced:
            self.volume.rename("other", self.path, replace=True)
        else:
            self.volume.remove(self.path)
        ways = (Exercise.read, Exercise.write, Exercise.truncate, Exercise.map, Exercise.look)
        for way in self.random.choices((*ways, Exercise.poke, Exercise.flush), k=8):
            way(self)
        for file in self.files:
            file.seek(0)
            self.agree(file.read(), 0, len(self.content))
        self.let_go()
        self.content[:] = data if replaced else b""
        if not replaced:
            assert not self.volume.exists(self.path)
            self.volume.write_bytes(self.path, b"")
        assert self.volume.check() == []

    def mount(self) -> None:
        """Everything is on the medium, and comes from there; the machine is another."""
        self.note("mount")
        self.let_go()
        self.system.close()
        self.boot()
        self.compare()

    def pressure(self) -> None:
        """Memory is wanted for something else."""
        self.note("pressure")
        wanted = self.random.randrange(1, 100) * PAGE_SIZE
        try:
            base, size = self.space.allocate(0, wanted, Allocate.COMMIT)
        except StatusError as error:
            assert error.status == Status.COMMITMENT_LIMIT, error
            return
        try:
            self.run(self.space.write(base, b"x" * size))
        except StatusError as error:
            assert error.status in (Status.NO_MEMORY, Status.COMMITMENT_LIMIT), error
        self.space.free(base, 0, Free.RELEASE)

    # -- the model ---------------------------------------------------------------------------------

    def put(self, at: int, data: bytes) -> None:
        """Bytes are written; what lies between the end and them is zero."""
        if data:
            self.content.extend(bytes(max(0, at - len(self.content))))
            self.content[at : at + len(data)] = data

    def agree(self, found: bytes, start: int, end: int) -> None:
        """What was read is what must be there."""
        wanted = bytes(self.content[start:end])
        if found != wanted:
            apart = next(
                (i for i, (x, y) in enumerate(zip(found, wanted, strict=False)) if x != y),
                min(len(found), len(wanted)),
            )
            raise AssertionError(
                f"{len(found)} bytes were read from {start} of {len(self.content)} on, and "
                f"{len(wanted)} are wanted; they differ at {start + apart}"
            )

    def compare(self) -> None:
        """All of the file, its size, and the ledger."""
        self.note("compare")
        assert self.volume.stat(self.path).size == len(self.content)
        self.agree(self.volume.read_bytes(self.path), 0, len(self.content))
        self.system.check()

    def judge(self) -> None:
        """Clean by check and fsck.fat, and the bytes by mtools."""
        self.compare()
        self.let_go()
        assert self.volume.check() == []
        self.system.close()
        assert fsck_lines(self.image) == []
        read = ["mtype", "-i", str(self.image), f"::{self.path}"]
        done = subprocess.run(read, capture_output=True, check=True, env=MTOOLS)
        self.agree(done.stdout, 0, len(self.content))


WAYS: dict[Callable[[Exercise], None], int] = {
    Exercise.read: 20, Exercise.write: 22, Exercise.append: 4, Exercise.truncate: 8,
    Exercise.punch: 3, Exercise.map: 5, Exercise.look: 15, Exercise.poke: 15, Exercise.flush: 3,
    Exercise.reopen: 4, Exercise.replace: 1, Exercise.orphan: 1, Exercise.mount: 1,
    Exercise.pressure: 1, **CACHE_WAYS,
}  # fmt: skip


def exercise(seed: int, folder: Path, ops: int = OPS) -> Exercise:
    """One case, judged; AssertionError or StatusError when something is wrong, with what was done
    last.
    """
    made = Exercise(seed, folder, ops)
    try:
        made.exercise()
    except BaseException as error:
        made.system.abandon()
        error.add_note(f"python -m tests.fsx --only {seed} --case {ops}: " + "; ".join(made.last))
        raise
    return made


def main() -> int:
    """Exercises, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fsx")
    parser.add_argument("--ops", type=int, default=1_000_000)
    parser.add_argument("--case", type=int, default=OPS, help="operations on one file")
    parser.add_argument("--seed", type=int, default=1, help="the cases' own are drawn from it")
    parser.add_argument("--only", type=int, help="the one case with this seed of its own")
    options = parser.parse_args()
    done, bad, begun = Counter[str](), Counter[str](), time.monotonic()
    with shared_memory() as folder:
        if options.only is not None:
            exercise(options.only, folder, options.case)
            return 0
        seeds = Random(options.seed).sample(range(1 << 40), -(-options.ops // options.case))
        for number, seed in enumerate(seeds):
            text = f"\r{number * options.case} operations, {sum(bad.values())} bad cases "
            print(text, end="", file=sys.stderr, flush=True)
            kind = f"FAT{Random(seed).choice(KINDS)[0]}"
            done[kind] += options.case
            try:
                exercise(seed, folder, options.case)
            except (AssertionError, StatusError) as error:
                bad[kind] += 1
                where = traceback.extract_tb(error.__traceback__)[-1].name
                print(f"\rseed {seed} ({kind}): {where}: {str(error)[:200]}")
                print(f"  {error.__notes__[0][-300:]}")
    print(file=sys.stderr)
    title = f"One file, seed {options.seed}, {time.monotonic() - begun:.0f} s"
    table = Table("type", "operations", "bad cases", title=title)
    for kind in sorted(done):
        table.add_row(kind, str(done[kind]), str(bad[kind]))
    Console(width=100).print(table)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
