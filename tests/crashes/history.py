"""One history: a volume on a recording device, and beside it what was done, step by step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random

import octavo
from octavo.fs.fat.resize import resize_fat
from octavo.fs.vfs.packing import DIRECTORY_SIZE, TOP, Batch, Job, Window
from octavo.status import Status, StatusError
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.crash import RecordingDevice
from octavo.testing.faulty import FaultyDevice, never
from tests.crashes.model import ROOT, Item, Step, Tree, whole

LEAST_FRAMES = 24
REFUSALS = {
    Status.DISK_FULL: "no room",
    Status.IO_DEVICE_ERROR: "the device failed",
    Status.NO_MEMORY: "no memory",
}


class History:
    """Operations on a volume in virtual time; `tree` is what it has now, `done` says what was done.

    Paths are without a leading "/". An operation that fails for want of room, or of the device,
    leaves the tree as the volume then is. With `faults`, the requests of those verbs fail during a
    third of the operations, from a drawn one on, for a while.
    """

    def __init__(
        self,
        image: bytes | memoryview,
        tree: Tree,
        seed: int,
        memory: str = "2M",
        faults: Collection[str] = (),
    ) -> None:
        self.system = octavo.boot(memory, seed=seed)
        self.buffer = bytearray(image)
        self.device = RecordingDevice(BufferDisk("disk", self.buffer))
        self.faulty = FaultyDevice(self.device)
        self.faults, self.random, self.told = faults, Random(seed), list[StatusError]()
        self.volume = self.system.attach_device(self.faulty)
        self.tree = dict(tree)
        self.steps = [Step((0, 0), self.tree, 0)]
        self.heirs: dict[int, int] = {}
        self.done: list[str] = []
        self.discarded = False
        self.taken: list[int] = []
        self._next = max(tree, default=0) + 1

    # -- the tree ----------------------------------------------------------------------------------

    def find(self, path: str) -> int:
        """The number of what is at a path."""
        here = ROOT
        for part in filter(None, path.split("/")):
            here = next(
                n for n, item in self.tree.items() if item.parent == here and item.name == part
            )
        return here

    def path(self, thing: int, tree: Tree | None = None) -> str:
        """Where a file or directory is."""
        tree = self.tree if tree is None else tree
        names = []
        while thing != ROOT:
            names.append(tree[thing].name)
            thing = tree[thing].parent
        return "/".join(reversed(names))

    def content(self, path: str) -> bytes:
        """A file's bytes by the tree."""
        content = self.tree[self.find(path)].content
        assert content is not None
        return content

    def _note(self, tree: Tree, started: tuple[int, int], flushed: int | None = None) -> None:
        self.tree = tree
        self.steps.append(Step(started, tree, flushed))

    @contextmanager
    def _doing(self, what: str, *trees: Tree) -> Iterator[None]:
        """The volume becomes each of `trees` in the block; when there is no room, what it is
        then.
        """
        self.done.append(what)
        before = self.tree
        for tree in trees:
            self._note(tree, self.device.position)
        try:
            with self._failing():
                yield
        except StatusError as error:
            if error.status not in REFUSALS:
                raise
            self._relax()
            self.told.append(error)
            self.done[-1] += f" ({REFUSALS[error.status]})"
            self._note(self._as_found(before, self.tree), self.device.position)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Perhaps the device fails in the block."""
        if self.faults and self.random.random() < 1 / 3:
            verb = self.random.choice(sorted(self.faults))
            first = self.faulty.numbers[verb] + self.random.choice((1, 1, 2, 3, 5))
            end = first + self.random.choice((1, 2, 1000))
            self.faulty.plan = lambda v, n: v == verb and first <= n < end
        try:
            yield
        finally:
            self.faulty.plan = never

    def _as_found(self, before: Tree, after: Tree) -> Tree:
        """What the volume has, which of each file or directory must be one of the two, and never
        under both names.
        """
        out: Tree = {}
        owners = {self.path(thing, before): thing for thing in before}
        for thing in {**before, **after}:
            homes = {
                self.path(thing, tree): tree[thing] for tree in (before, after) if thing in tree
            }
            found = [path for path in homes if self._has(path)]
            if (
                len(found) == 2
                and (gone := owners.get(found[1], thing)) != thing
                and self.volume.read_bytes(found[1]) == before[gone].content
            ):
                del found[1]  # it was to be replaced, and is not
            assert len(found) == 1 or (not found and not (thing in before and thing in after)), (
                f"{sorted(homes)}: found {found}"
            )
            if found:
                versions = [
                    old
                    for tree in (before, after)
                    if thing in tree and (old := tree[thing].content) is not None
                ]
                out[thing] = self._item_as_found(
                    homes[found[0]], found[0], versions, before.get(thing) == after.get(thing)
                )
        return out

    def _item_as_found(self, item: Item, path: str, versions: list[bytes], untouched: bool) -> Item:
        """An item with the contents that it has now: one of the versions, or when it was being
        changed the beginning of one.
        """
        if item.content is None:
            return item
        content = self.volume.read_bytes(path)
        assert content in versions or not untouched, f"{path} has other contents"
        assert any(whole(content, [v, v[: len(content)]]) for v in versions) or not any(content), (
            f"{path}: {len(content)} bytes of neither"
        )
        return item._replace(content=content)

    def _has(self, path: str) -> bool:
        """Whether a path is there, written just so."""
        above, _, name = path.rpartition("/")
        return self.volume.exists(path) and any(
            entry.name == name for entry in self.volume.entries(above)
        )

    def _place(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        return self.find(above), name

    def _new(self, path: str, content: bytes | None) -> Tree:
        number, self._next = self._next, self._next + 1
        return {**self.tree, number: Item(*self._place(path), content)}

    def _changed(self, path: str, content: bytes) -> Tree:
        thing = self.find(path)
        return {**self.tree, thing: self.tree[thing]._replace(content=content)}

    def _without(self, path: str) -> Tree:
        gone = self.find(path)
        return {thing: item for thing, item in self.tree.items() if thing != gone}

    # -- operations --------------------------------------------------------------------------------

    def create(self, path: str, data: bytes) -> None:
        """Makes a file in one go."""
        with self._doing(f"create {path} of {len(data)} bytes", self._new(path, data)):
            self.volume.write_bytes(path, data)

    def make_many(self, things: dict[str, bytes | None]) -> None:
        """Makes files, and directories (None) before what is in them, in a batch."""
        before, batch = self.tree, Batch()
        numbers = {path: number for number, path in enumerate(things)}
        for path, content in things.items():
            self.tree = self._new(path, content)
            above, _, name = path.rpartition("/")
            batch.names.append(name if above in numbers else path)
            batch.above.append(numbers.get(above, TOP))
            batch.sizes.append(DIRECTORY_SIZE if content is None else len(content))
            batch.times.append(0.0)
        after, self.tree = self.tree, before

        def fill(jobs: Sequence[Job], window: Window) -> list[int]:
            for number, offset, at, size, _ in jobs:
                data = list(things.values())[number]
                assert data is not None
                for buffer in window(at, size):
                    buffer[:] = data[offset : offset + len(buffer)]
                    offset += len(buffer)
            return []

        with self._doing(f"a batch of {', '.join(things)}", after):
            self.system.scheduler.run(self.volume.core.make_many(batch, fill))
            if not all(batch.there):
                raise StatusError(Status.DISK_FULL, "not all of the batch is there")

    def pour(self, path: str, data: bytes, piece: int) -> None:
        """Makes a file piece by piece."""
        with (
            self._doing(
                f"pour {len(data)} bytes in pieces of {piece} into {path}", self._new(path, b"")
            ),
            self.volume.open(path, "wb") as file,
        ):
            for at in range(0, len(data), piece):
                self._note(self._changed(path, data[: at + piece]), self.device.position)
                file.write(data[at : at + piece])

    def overwrite(self, path: str, offset: int, data: bytes) -> None:
        """Writes into a file, also beyond its end."""
        old = self.content(path).ljust(offset, b"\0")
        new = old[:offset] + data + old[offset + len(data) :]
        with (
            self._doing(f"write {len(data)} bytes at {offset} of {path}", self._changed(path, new)),
            self.volume.open(path, "r+b") as file,
        ):
            file.seek(offset)
            file.write(data)

    def truncate(self, path: str, size: int) -> None:
        """Cuts a file, or makes it longer."""
        new = self.content(path)[:size].ljust(size, b"\0")
        with (
            self._doing(f"truncate {path} to {size} bytes", self._changed(path, new)),
            self.volume.open(path, "r+b") as file,
        ):
            file.truncate(size)

    def replace(self, path: str, data: bytes) -> None:
        """Gives a file other contents: cuts it and writes it anew."""
        cut, new = self._changed(path, b""), self._changed(path, data)
        with self._doing(f"replace {path} by {len(data)} bytes", cut, new):
            self.volume.write_bytes(path, data)

    def remove(self, path: str) -> None:
        """Removes a file."""
        with self._doing(f"remove {path}", self._without(path)):
            self.volume.remove(path)

    def remove_open(self, path: str, meanwhile: Callable[[], None]) -> None:
        """Removes a file that is open, writes it on, and closes it after something else."""
        with self.volume.open(path, "r+b") as file:
            self.remove(path)
            with self._doing(f"write the removed {path}"):
                file.write(b"written on" * 300)
            meanwhile()
            self.done.append(f"close the removed {path}")
            with self._failing(), suppress(StatusError):
                file.close()

    def replace_open(self, old: str, new: str, meanwhile: Callable[[], None]) -> None:
        """Puts a file in the place of one that is open."""
        with self.volume.open(new, "rb") as file:
            content = self.content(new)
            self.rename_over(old, new)
            meanwhile()
            assert file.read() == content

    def pour_reserved(self, path: str, data: bytes, room: int) -> None:
        """Makes a file whose room is taken before, with a flush in the middle."""
        half = len(data) // 2
        with (
            self._doing(
                f"pour {len(data)} bytes into {path}, with room for {room}", self._new(path, b"")
            ),
            self.volume.open(path, "wb") as file,
        ):
            file.reserve(room)
            self._note(self._changed(path, data[:half]), self.device.position)
            file.write(data[:half])
            started = self.device.position
            file.flush()
            self._note(self.tree, started, self.device.position[0])
            self._note(self._changed(path, data), self.device.position)
            file.write(data[half:])

    def mkdir(self, path: str) -> None:
        """Makes a directory."""
        with self._doing(f"mkdir {path}", self._new(path, None)):
            self.volume.mkdir(path)

    def rmdir(self, path: str) -> None:
        """Removes an empty directory."""
        with self._doing(f"rmdir {path}", self._without(path)):
            self.volume.rmdir(path)

    def rename(self, old: str, new: str) -> None:
        """Renames or moves."""
        thing = self.find(old)
        parent, name = self._place(new)
        with self._doing(
            f"rename {old} to {new}",
            {**self.tree, thing: Item(parent, name, self.tree[thing].content)},
        ):
            self.volume.rename(old, new)

    def rename_over(self, old: str, new: str) -> None:
        """Puts a file in the place of another one."""
        thing, gone = self.find(old), self.find(new)
        parent, name, _ = self.tree[gone]
        self.heirs[gone] = thing
        with self._doing(
            f"rename {old} over {new}",
            {**self._without(new), thing: Item(parent, name, self.tree[thing].content)},
        ):
            self.volume.rename(old, new, replace=True)

    def label(self, text: str) -> None:
        """Gives the volume another label."""
        with self._doing(f"label {text!r}"):
            self.volume.set_label(text)

    def serial(self, number: int) -> None:
        """Gives the volume another serial number."""
        with self._doing(f"serial {number:#x}"):
            self.volume.set_serial(number)

    def resize(self, size: int) -> None:
        """Gives the volume another size; it is unmounted for that."""
        self._relax()
        letter, started = self.volume.letter, self.device.position
        self.system.unmount(letter, keep=True)
        self._note(self.tree, started, self.device.position[0])
        self.done.append(f"resize to {size} bytes")
        run, cache = self.system.scheduler.run, self.system.cache
        try:
            with self._failing():
                run(resize_fat(self.faulty, cache, size))
        except StatusError as error:
            if error.status not in REFUSALS:
                raise
            self.told.append(error)
            self.done[-1] += f" ({REFUSALS[error.status]})"
        self.volume = self.system.mount(letter)

    def flush(self) -> None:
        """Has everything on the medium."""
        self.done.append("flush")
        started = self.device.position
        self._relax()
        try:
            with self._failing():
                self.volume.flush()
        except StatusError as error:
            self.told.append(error)
            self.done[-1] += " (the device failed)"
        else:
            self._note(self.tree, started, self.device.position[0])

    def sleep(self, seconds: float) -> None:
        """Lets the lazy writer work."""
        self.done.append(f"sleep {seconds} s")
        with self._failing():
            self.system.scheduler.run(self.system.scheduler.sleep(seconds))

    def press(self) -> None:
        """Takes most frames until the next flush, so that pageout works meanwhile."""
        self.done.append("press")
        memory = self.system.memory
        while memory.physical.available > LEAST_FRAMES and (first := memory.allocate_contiguous(4)):
            self.taken.append(first)

    def _relax(self) -> None:
        while self.taken:
            self.system.memory.free_contiguous(self.taken.pop(), 4)

    def close(self) -> None:
        """Unmounts; what cannot be written is given up, which only a device flush that failed may
        lead to.
        """
        self.done.append("unmount")
        self._relax()
        started, self.faulty.plan = self.device.position, never
        letter = next(iter(self.system.volumes))
        for discard in (
            False,
            False,
            True,
        ):  # an error that a writer in the background has left is told once
            try:
                self.system.unmount(letter, discard)
            except StatusError as error:
                self.told.append(error)
            else:
                self.discarded = discard
                break
        assert not self.discarded or any(verb == "flush" for verb, _ in self.faulty.failed), (
            "the device is well, and the volume cannot be unmounted"
        )
        self._note(self.tree, started)
        self.system.close()


Script = Callable[[History], None]
