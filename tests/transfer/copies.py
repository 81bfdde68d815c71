"""What tests of copies begin with, and how they copy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import octavo
from octavo.status import Status, StatusError
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import Plan, plan_copy
from octavo.transfer.tree import CHUNK
from octavo.transfer.volume import VolumeTree

BIG = 3 * CHUNK + 5


OLD = b"older, precious"


class FailingTree(HostTree):
    """A source whose files fail after so many bytes, with an error of its own or an interrupt."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.after = after
        self.error = error

    def read(self, path: str, size: int) -> Iterable[bytes]:
        """Bytes up to the failure."""
        done = 0
        for chunk in super().read(path, size):
            if done + len(chunk) > self.after:
                raise self.error
            done += len(chunk)
            yield chunk


class OneByOne(VolumeTree):
    """A volume that nothing is copied to in batches."""


def device_error() -> StatusError:
    """What a source with a bad sector says."""
    return StatusError(Status.IO_DEVICE_ERROR, "a bad sector")


def copy(
    source: HostTree | VolumeTree,
    path: object,
    target: HostTree | VolumeTree,
    to: object,
    recursive: bool = True,
) -> tuple[Plan, list[StatusError]]:
    """Plans and does a copy; returns the plan and all that was told."""
    plan = plan_copy([(source, str(path))], target, str(to), recursive)
    return plan, plan.problems + run_copy(plan)


def names(directory: Path) -> list[str]:
    """What is in a directory."""
    return sorted(p.name for p in directory.iterdir())


def contents(volume: octavo.Volume) -> dict[str, bytes]:
    """Every file of a volume by its path in upper case."""
    return {
        f"{d}/{e.name}".upper(): volume.read_bytes(f"{d}/{e.name}")
        for d, entries in volume.walk()
        for e in entries
        if not e.is_directory
    }
