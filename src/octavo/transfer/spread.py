"""Many steps of a copy from volumes to the host: files that are new are read together, in the order
in which they lie on the device (`octavo.fs.vfs.gather`), and each is written from its frames.

A directory is made before the first file in it. Steps that cannot go so, or fail, are left for
`octavo.transfer.copy`, which does one after the other, and tells; so is all that comes after the
host's first error, and directories without files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from octavo.fs.vfs.packing import Found, Window
from octavo.status import Status, StatusError
from octavo.threads.interrupts import interruption_point, is_put_off
from octavo.transfer.host import HostTree, write_new
from octavo.transfer.tree import Progress, Step
from octavo.transfer.volume import VolumeTree

MOST_BYTES = 64 << 20  # between which others may use the volume
MOST_FILES = 8192
LEAST_FILES = 2


class _Gathered:
    """Files of one volume that are read together."""

    def __init__(self, target: HostTree, source: VolumeTree, on_bytes: Progress | None) -> None:
        self.target, self.source = target, source
        self.steps: list[Step] = []
        self.size = 0
        self.ended = False  # the host, or somebody, wants no more
        self._on_bytes = on_bytes

    def add(self, step: Step) -> None:
        """One more."""
        self.steps.append(step)
        self.size += step.item.size

    def has_room(self, size: int) -> bool:
        """False when a file has to be among the next ones."""
        return self.size + size <= MOST_BYTES and len(self.steps) < MOST_FILES

    def read(self) -> None:
        """All of them, as far as that goes."""
        source = self.source
        if len(self.steps) >= LEAST_FILES and source.listed is not None:
            files = [(step.item.number, step.item.size) for step in self.steps]
            core = source.volume.core
            source.volume.scheduler.run(core.read_many(files, source.listed, self._give))

    def _give(self, load: Sequence[Found], window: Window) -> bool:
        """See `octavo.fs.vfs.packing.Give`."""
        for number, at, size in load:
            if is_put_off():
                self.ended = True
                break
            step = self.steps[number]
            try:
                self._make_above(step)
                write_new(step.to, window(at, size), step.item.modified)
            except StatusError as error:
                if error.status == Status.OBJECT_NAME_COLLISION:
                    continue
                self.ended = True
                break
            step.done = True
            if self._on_bytes is not None and size:
                self._on_bytes(step.to, size)
        return not self.ended

    def _make_above(self, step: Step) -> None:
        """Makes the directories that a file is to be in."""
        missing = []
        above = step.above
        while above is not None and above.replaces is None and not above.done:
            missing.append(above)
            above = above.above
        for directory in reversed(missing):
            self.target.mkdir(directory.to)
            directory.done = True


def write_many(target: HostTree, steps: Sequence[Step], on_bytes: Progress | None) -> None:
    """Does what it can of the steps; they are `done` then."""
    for gathered in _gather(target, steps, on_bytes):
        gathered.read()
        interruption_point()
        if gathered.ended:
            break


def _gather(
    target: HostTree, steps: Sequence[Step], on_bytes: Progress | None
) -> Iterator[_Gathered]:
    """Files that are new, by volumes."""
    gathered: _Gathered | None = None
    for step in steps:
        item, source = step.item, step.source
        if step.replaces is not None or item.directory or type(source) is not VolumeTree:
            continue
        if item.size > MOST_BYTES:
            continue
        if gathered is None or gathered.source is not source or not gathered.has_room(item.size):
            if gathered is not None:
                yield gathered
            gathered = _Gathered(target, source, on_bytes)
        gathered.add(step)
    if gathered is not None:
        yield gathered
