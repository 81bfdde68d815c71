"""Doing what a plan says.

A file that cannot be copied is reported and the rest goes on, but not in a directory that could not
be made. The first error that will not go away ends the copy: the target is full, read-only or gone.
An interrupt comes between two chunks, so that what was begun is always cleaned up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from octavo.fs.base import DirectoryFullError
from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.threads.interrupts import interruption_point, uninterrupted
from octavo.transfer.host import HostTree
from octavo.transfer.plan import Plan
from octavo.transfer.tree import Progress, Step
from octavo.transfer.volume import VolumeTree

_LASTING = frozenset(
    {
        Status.DISK_FULL,
        Status.NO_MEMORY,
        Status.INSUFFICIENT_RESOURCES,
        Status.MEDIA_WRITE_PROTECTED,
        Status.NO_SUCH_DEVICE,
    }
)


@dataclass(frozen=True)
class Manner:
    """How a copy is done: with `stop` the first error ends it, with `force` read-only files are
    replaced, with `keep` new files get the attributes of the old ones.
    """

    stop: bool = False
    force: bool = False
    keep: bool = False


def run_copy(
    plan: Plan, on_bytes: Progress | None = None, manner: Manner = Manner()
) -> list[StatusError]:
    """Does the steps; returns the errors of what could not be copied, or was changed meanwhile.
    Those that were not done have `failed` then.
    """
    run = _Run(plan, on_bytes, manner)
    with uninterrupted():
        run.steps()
    return run.errors


class _Run:
    def __init__(self, plan: Plan, on_bytes: Progress | None, manner: Manner) -> None:
        self.manner = manner
        self.plan = plan
        self.target = plan.target
        self.on_bytes = on_bytes
        self.errors: list[StatusError] = []
        self._reading = False  # the source is being read: an error now is its
        self._count = 0
        self._full: dict[Step | None, int] = {}  # directories: what found no room there, too

    def steps(self) -> None:
        """Copies everything, what can be so together, then gives what is new attributes, and
        directories their times.
        """
        cleared = self._unprotect() if self.manner.force else []
        try:
            if not self.manner.stop:  # which is one after the other
                self._together()
            self._steps()
            self._tell_full()
        except StatusError as error:
            self.errors.append(error)
        finally:
            for step in self.plan.steps:
                step.failed = not (step.done or step.made)
            for step in cleared:
                if step.failed:
                    self._attempt(self.target.set_attributes, step.to, "r", "")
        for step in reversed(self.plan.steps):
            if step.failed:
                continue
            if self.manner.keep and not (step.item.directory and step.replaces):
                self._attempt(self._keep_attributes, step)
            if step.item.directory and not (step.replaces or step.dated):
                self._attempt(self.target.set_modified, step.to, step.item.modified)

    def _together(self) -> None:
        """Does what it can of the steps together: they are `done`, the others as they were."""
        if type(self.target) is VolumeTree:
            from octavo.transfer.batch import make_many

            make_many(self.target.volume, self.plan.steps, self.on_bytes)
        elif type(self.target) is HostTree:
            from octavo.transfer.spread import write_many

            write_many(self.target, self.plan.steps, self.on_bytes)

    def _unprotect(self) -> list[Step]:
        """Clears the attribute "read-only" of what is replaced; returns the steps that had it."""
        cleared = []
        for step in self.plan.steps:
            if step.replaces and not step.item.directory:
                with suppress(StatusError):  # what cannot be looked at cannot be replaced
                    if "r" in self.target.attributes(step.to)[0]:
                        self.target.set_attributes(step.to, "", "r")
                        cleared.append(step)
        return cleared

    def _keep_attributes(self, step: Step) -> None:
        on, off = step.source.attributes(step.path)
        if on or off != "r":
            self.target.set_attributes(step.to, on, off)

    def _steps(self) -> None:
        for step in self.plan.steps:
            interruption_point()
            if step.done:
                continue
            if step.above is not None and step.above.failed:
                step.failed = True
                continue
            try:
                self._step(step)
            except DirectoryFullError as error:
                step.failed = True
                self._note_full(step, error)
                if self.manner.stop:
                    return
            except StatusError as error:
                step.failed = True
                self.errors.append(error)
                if (
                    self.manner.stop
                    or error.status in _LASTING
                    or (error.status == Status.IO_DEVICE_ERROR and not self._reading)
                ):
                    return
            else:
                step.made = True

    def _note_full(self, step: Step, error: DirectoryFullError) -> None:
        """What there is no room for in its directory: the first is told, the others are counted."""
        if step.above in self._full:
            self._full[step.above] += 1
            return
        self._full[step.above] = 0
        self.errors.append(StatusError(error.status, f"{step.path}: {error.text}"))

    def _tell_full(self) -> None:
        for above, count in self._full.items():
            if count:
                where = above.to if above and above.to.strip("/") else "the root directory"
                text = f"{where}: there is no room for {counted(count, 'more name')}"
                self.errors.append(StatusError(Status.DISK_FULL, text))

    def _step(self, step: Step) -> None:
        self._reading = False
        item = step.item
        if item.directory:
            if step.replaces is None:
                self.target.mkdir(step.to)
            return
        self._count = 0
        self.target.write(step.to, item.size, self._chunks(step), item.modified, step.replaces)
        if self._count != item.size and not item.unknown:
            how = "grown" if self._count > item.size else "shrunk"
            text = (
                f"has {how} from {item.size} to {self._count} bytes while it was copied: the "
                "copy may be of no moment"
            )
            self.errors.append(
                StatusError(Status.SHARING_VIOLATION, f"{step.source.shown(step.path)}: {text}")
            )

    def _chunks(self, step: Step) -> Iterator[bytes]:
        self._reading = True
        for data in step.source.read(step.path, step.item.size):
            self._reading = False
            self._count += len(data)
            if self.on_bytes is not None:
                self.on_bytes(step.to, len(data))
            interruption_point()
            yield data
            self._reading = True
        self._reading = False

    def _attempt(self, action: Callable[..., None], *arguments: object) -> None:
        try:
            action(*arguments)
        except StatusError as error:
            self.errors.append(error)
