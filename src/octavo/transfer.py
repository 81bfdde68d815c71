"""Copying files and trees between the host and volumes, in any direction.

A `Tree` is one side: a host directory tree or a volume. `plan_copy` lists what has to be done before anything is done, so
that progress has a total; `run_copy` does it. A file that cannot be copied is reported and the rest goes on, unless the
target is full or gone; what was written of it is removed.
"""

from __future__ import annotations

import os
import stat as stat_module
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from octavo.files import Volume
from octavo.status import Status, StatusError

CHUNK = 1 << 20
_FATAL = frozenset({Status.DISK_FULL, Status.NO_MEMORY, Status.INSUFFICIENT_RESOURCES, Status.MEDIA_WRITE_PROTECTED})


@dataclass(slots=True)
class Item:
    """One thing in a tree: `path` relative to where the walk began ("" for the start itself)."""

    path: str
    directory: bool
    size: int
    modified: float


class Tree(Protocol):
    """One side of a copy. Paths are absolute in the tree."""

    def shown(self, path: str) -> str: ...
    def is_dir(self, path: str) -> bool: ...
    def walk(self, path: str, skipped: list[str]) -> Iterator[Item]: ...
    def join(self, path: str, name: str) -> str: ...
    def read(self, path: str, size: int) -> Iterable[bytes]: ...
    def write(self, path: str, size: int, chunks: Iterable[bytes], modified: float) -> None: ...
    def mkdir(self, path: str) -> None: ...


class HostTree:
    """The host's files."""

    def shown(self, path: str) -> str:
        """The path as messages have it."""
        return path

    def is_dir(self, path: str) -> bool:
        """True for a directory."""
        return os.path.isdir(path)

    def join(self, path: str, name: str) -> str:
        """A path below a path."""
        return os.path.join(path, name) if name else path

    def walk(self, path: str, skipped: list[str]) -> Iterator[Item]:
        """A file, or a directory and all below it; links to directories and special files are noted in `skipped`."""
        try:
            yield from self._walk(path, "", skipped)
        except OSError as error:
            raise _host_error(error, path) from None

    def _walk(self, path: str, relative: str, skipped: list[str]) -> Iterator[Item]:
        info = os.stat(path)
        if not stat_module.S_ISDIR(info.st_mode):
            yield Item(relative, False, info.st_size, info.st_mtime)
            return
        yield Item(relative, True, 0, info.st_mtime)
        prefix = relative + "/" if relative else ""
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda e: e.name)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path, prefix + entry.name, skipped)
            elif entry.is_file():
                info = entry.stat()
                yield Item(prefix + entry.name, False, info.st_size, info.st_mtime)
            else:
                skipped.append(f"{entry.path}: is a link to a directory, a broken link or a special file: skipped")

    def read(self, path: str, size: int) -> Iterable[bytes]:
        """The contents, in chunks."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                while data := os.read(fd, CHUNK):
                    yield data
                    if len(data) == size:
                        break
            finally:
                os.close(fd)
        except OSError as error:
            raise _host_error(error, path) from None

    def write(self, path: str, size: int, chunks: Iterable[bytes], modified: float) -> None:
        """Makes a file of chunks; removes it again when they fail."""
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            try:
                for data in chunks:
                    done = os.write(fd, data)
                    while done < len(data):
                        done += os.write(fd, memoryview(data)[done:])
                os.utime(fd, (modified, modified))
            except BaseException:
                os.unlink(path)
                raise
            finally:
                os.close(fd)
        except OSError as error:
            raise _host_error(error, path) from None

    def mkdir(self, path: str) -> None:
        """Makes a directory."""
        try:
            os.mkdir(path)
        except OSError as error:
            raise _host_error(error, path) from None


def _host_error(error: OSError, path: str) -> StatusError:
    status = Status.DISK_FULL if error.errno == 28 else Status.OBJECT_NAME_NOT_FOUND if error.errno == 2 else Status.ACCESS_DENIED
    return StatusError(status, f"{error.filename or path}: {error.strerror}")


class VolumeTree:
    """The files of a volume; `prefix` stands before paths in messages."""

    def __init__(self, volume: Volume, prefix: str) -> None:
        self.volume = volume
        self.prefix = prefix

    def shown(self, path: str) -> str:
        """The path as messages have it."""
        return self.prefix + path

    def is_dir(self, path: str) -> bool:
        """True for a directory."""
        return self.volume.is_dir(path)

    def join(self, path: str, name: str) -> str:
        """A path below a path."""
        return f"{path.rstrip('/')}/{name}" if name else path

    def walk(self, path: str, skipped: list[str]) -> Iterator[Item]:
        """A file, or a directory and all below it."""
        info = self.volume.stat(path)
        if not info.is_directory:
            yield Item("", False, info.size, info.modified.timestamp())
            return
        strip = len(path.strip("/")) + 1 if path.strip("/") else 0
        stamps: dict[datetime, float] = {}
        for here, entries in self.volume.walk(path):
            relative = here[strip:]
            yield Item(relative, True, 0, 0.0)
            base = relative + "/" if relative else ""
            for entry in entries:
                if entry.is_directory:
                    continue
                moment = entry.modified
                when = stamps.get(moment)
                if when is None:
                    when = stamps[moment] = moment.timestamp()
                yield Item(base + entry.name, False, entry.size, when)

    def read(self, path: str, size: int) -> Iterable[bytes]:
        """The contents, in chunks."""
        if size <= CHUNK:
            yield self.volume.read_bytes(path)
            return
        with self.volume.open(path) as file:
            while data := file.read(CHUNK):
                yield data

    def write(self, path: str, size: int, chunks: Iterable[bytes], modified: float) -> None:
        """Makes a file of chunks, in the place of one that is there; removes it again when they fail."""
        pieces = iter(chunks)
        first = next(pieces, b"")
        if len(first) == size <= CHUNK:
            self.volume.write_bytes(path, first, modified)
            return
        file = self.volume.open(path, "wb")
        try:
            while first:
                file.write(first)
                first = next(pieces, b"")
            file.set_modified(modified)
        except BaseException:
            file.close()
            self.volume.remove(path)
            raise
        file.close()

    def mkdir(self, path: str) -> None:
        """Makes a directory."""
        self.volume.mkdir(path)


@dataclass(slots=True)
class Plan:
    """What a copy has to do, in order; `skipped` has a sentence for each thing left out."""

    source: Tree
    target: Tree
    steps: list[tuple[str, str, Item]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes to copy."""
        return sum(item.size for _, _, item in self.steps)


def plan_copy(source: Tree, path: str, target: Tree, to: str, recursive: bool) -> Plan:
    """Lists the steps of copying `path` to `to`, or into it when it is a directory. StatusError where that makes no sense."""
    plan = Plan(source, target)
    if target.is_dir(to):
        name = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
        to = target.join(to, name if name not in (".", "..") else "")
    for item in source.walk(path, plan.skipped):
        if item.directory and not recursive:
            raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{source.shown(path)}: is a directory: use -r to copy it")
        plan.steps.append((source.join(path, item.path), target.join(to, item.path), item))
    return plan


def refuse_overlap(plan: Plan) -> None:
    """StatusError INVALID_PARAMETER when a copy within one volume goes onto or into its own source."""
    source, to, _ = plan.steps[0]
    first, last = source.strip("/").upper(), to.strip("/").upper()
    if not first or last == first or last.startswith(first + "/"):
        raise StatusError(Status.INVALID_PARAMETER, f"{plan.source.shown(source)}: cannot be copied onto or into itself")


def run_copy(plan: Plan, on_bytes: Callable[[str, int], None] | None = None) -> list[StatusError]:
    """Does the steps; `on_bytes` is called with the target and the size of each chunk. Returns the errors of what could not be copied."""
    errors: list[StatusError] = []
    target = plan.target
    for source, to, item in plan.steps:
        try:
            if item.directory:
                if not target.is_dir(to):
                    target.mkdir(to)
            else:
                chunks = plan.source.read(source, item.size)
                if on_bytes is not None:
                    chunks = _counted(chunks, to, on_bytes)
                target.write(to, item.size, chunks, item.modified)
        except StatusError as error:
            errors.append(error)
            if error.status in _FATAL:
                break
    return errors


def _counted(chunks: Iterable[bytes], to: str, on_bytes: Callable[[str, int], None]) -> Iterator[bytes]:
    for chunk in chunks:
        on_bytes(to, len(chunk))
        yield chunk
