"""Many steps of a copy into a volume at once: what is new, from the host, in directories that are
there or new themselves, goes in batches (`octavo.fs.vfs.batch`). Others may come between two.

Steps that cannot go so, or fail in a batch, are left for `octavo.transfer.copy`, which does one
after the other, and tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from octavo.files import Volume
from octavo.fs.base import VolumeFullError
from octavo.fs.vfs.packing import DIRECTORY_SIZE, TOP, Batch, Job, Window
from octavo.status import Status, StatusError
from octavo.threads.interrupts import interruption_point
from octavo.transfer.host import HostTree, read_files
from octavo.transfer.tree import Progress, Step

MOST_BYTES = 64 << 20  # of a batch
MOST_STEPS = 8192
LEAST_STEPS = 2  # one file alone is as fast by itself


class _Gathered:
    """Steps that are one batch."""

    def __init__(self) -> None:
        self.batch = Batch()
        self.steps: list[Step] = []
        self.size = 0
        self._paths: list[str] = []
        self._numbers: dict[Step, int] = {}  # of directories

    def try_add(self, step: Step) -> None:
        """One more, if its directory is in the batch, or is there."""
        above, item, batch = step.above, step.item, self.batch
        if above in self._numbers:
            batch.names.append(step.to.rpartition("/")[2])
            batch.above.append(self._numbers[above])
        elif above is not None and (above.replaces is not None or above.done):
            batch.names.append(step.to)
            batch.above.append(TOP)
        else:
            return
        batch.times.append(item.modified)
        if item.directory:
            self._numbers[step] = len(self.steps)
            batch.sizes.append(DIRECTORY_SIZE)
        else:
            batch.sizes.append(item.size)
            self.size += item.size
        self.steps.append(step)
        self._paths.append(step.path)

    def fill(self, jobs: Sequence[Job], window: Window) -> list[int]:
        """See `octavo.fs.vfs.packing.Fill`."""
        return read_files(self._paths, jobs, window)


def make_many(volume: Volume, steps: Sequence[Step], on_bytes: Progress | None) -> None:
    """Does what it can of the steps in batches; they are `done` then. StatusError of the device."""
    for gathered in _gather(() if volume.read_only else steps):
        try:
            volume.scheduler.run(volume.core.make_many(gathered.batch, gathered.fill))
        except StatusError as error:
            if error.status != Status.NO_MEMORY and not isinstance(error, VolumeFullError):
                raise  # else there is no room for all at once
        for step, there in zip(gathered.steps, gathered.batch.there, strict=True):
            step.done = step.dated = there
            if there and on_bytes is not None and not step.item.directory:
                on_bytes(step.to, step.item.size)
        interruption_point()


def _gather(steps: Sequence[Step]) -> Iterator[_Gathered]:
    """Batches of the steps, each as soon as it is full: what comes next may be in its
    directories.
    """
    gathered = _Gathered()
    for step in steps:
        if step.replaces is not None or type(step.source) is not HostTree:
            continue
        size = 0 if step.item.directory else step.item.size
        if gathered.size + size > MOST_BYTES or len(gathered.steps) == MOST_STEPS:
            if size > MOST_BYTES:
                continue
            yield gathered
            gathered = _Gathered()
        gathered.try_add(step)
    if len(gathered.steps) >= LEAST_STEPS:
        yield gathered
