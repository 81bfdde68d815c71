"""One history: a volume on a recording device, and beside it what was done, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import octavo
from octavo.status import Status, StatusError
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.crash import RecordingDevice
from tests.crashes.model import ROOT, Item, Step, Tree


class History:
    """Operations on a volume in virtual time; `tree` is what it has now, `done` says what was done.

    Paths are without a leading "/". An operation that fails for want of room leaves the tree as the volume then is.
    """

    def __init__(self, image: bytes | memoryview, tree: Tree, seed: int, memory: str = "2M") -> None:
        self.system = octavo.boot(memory, seed=seed)
        self.buffer = bytearray(image)
        self.device = RecordingDevice(BufferDisk("disk", self.buffer))
        self.volume = self.system.attach_device(self.device)
        self.tree = dict(tree)
        self.steps = [Step((0, 0), self.tree, 0)]
        self.heirs: dict[int, int] = {}
        self.done: list[str] = []
        self._next = max(tree, default=0) + 1

    # -- the tree -------------------------------------------------------------------------------------------------

    def find(self, path: str) -> int:
        """The number of what is at a path."""
        here = ROOT
        for part in filter(None, path.split("/")):
            here = next(n for n, item in self.tree.items() if item.parent == here and item.name == part)
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
        """The volume becomes each of `trees` in the block; when there is no room, what it is then."""
        self.done.append(what)
        before = self.tree
        for tree in trees:
            self._note(tree, self.device.position)
        try:
            yield
        except StatusError as error:
            if error.status != Status.DISK_FULL:
                raise
            self.done[-1] += " (no room)"
            self._note(self._as_found([before, self.tree]), self.device.position)

    def _as_found(self, trees: list[Tree]) -> Tree:
        """What the volume has of the trees, with the contents that it has."""
        out: Tree = {}
        for tree in trees:
            for thing, item in tree.items():
                path = self.path(thing, tree)
                if self.volume.exists(path):
                    out[thing] = item if item.content is None else item._replace(content=self.volume.read_bytes(path))
        return out

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

    # -- operations -----------------------------------------------------------------------------------------------

    def create(self, path: str, data: bytes) -> None:
        """Makes a file in one go."""
        with self._doing(f"create {path} of {len(data)} bytes", self._new(path, data)):
            self.volume.write_bytes(path, data)

    def pour(self, path: str, data: bytes, piece: int) -> None:
        """Makes a file piece by piece."""
        with self._doing(f"pour {len(data)} bytes in pieces of {piece} into {path}", self._new(path, b"")), self.volume.open(path, "wb") as file:
            for at in range(0, len(data), piece):
                self._note(self._changed(path, data[: at + piece]), self.device.position)
                file.write(data[at : at + piece])

    def overwrite(self, path: str, offset: int, data: bytes) -> None:
        """Writes into a file, also beyond its end."""
        old = self.content(path).ljust(offset, b"\0")
        new = old[:offset] + data + old[offset + len(data) :]
        with self._doing(f"write {len(data)} bytes at {offset} of {path}", self._changed(path, new)), self.volume.open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def truncate(self, path: str, size: int) -> None:
        """Cuts a file, or makes it longer."""
        new = self.content(path)[:size].ljust(size, b"\0")
        with self._doing(f"truncate {path} to {size} bytes", self._changed(path, new)), self.volume.open(path, "r+b") as file:
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
        with self._doing(f"rename {old} to {new}", {**self.tree, thing: Item(parent, name, self.tree[thing].content)}):
            self.volume.rename(old, new)

    def rename_over(self, old: str, new: str) -> None:
        """Puts a file in the place of another one."""
        thing, gone = self.find(old), self.find(new)
        parent, name, _ = self.tree[gone]
        self.heirs[gone] = thing
        with self._doing(f"rename {old} over {new}", {**self._without(new), thing: Item(parent, name, self.tree[thing].content)}):
            self.volume.rename(old, new, replace=True)

    def flush(self) -> None:
        """Has everything on the medium."""
        self.done.append("flush")
        started = self.device.position
        self.volume.flush()
        self._note(self.tree, started, self.device.position[0])

    def sleep(self, seconds: float) -> None:
        """Lets the lazy writer work."""
        self.done.append(f"sleep {seconds} s")
        self.system.scheduler.run(self.system.scheduler.sleep(seconds))

    def close(self) -> None:
        """Unmounts."""
        self.done.append("unmount")
        started = self.device.position
        self.system.unmount("C:" if "C:" in self.system.volumes else "A:")
        self._note(self.tree, started)
        self.system.close()


Script = Callable[[History], None]
