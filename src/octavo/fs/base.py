"""What every file system offers: the protocol between file systems and everybody above them.

Methods are coroutines of kernel threads. Paths are absolute on the volume, with "/" or "\\\\", and "" is the root.
All of them raise StatusError with one sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from octavo.io.device import Device
from octavo.status import Status, StatusError


class FileInfo(Protocol):
    """A file or directory as a listing shows it; sizes in bytes, times in local time."""

    name: str
    size: int

    @property
    def is_directory(self) -> bool: ...
    @property
    def modified(self) -> datetime: ...
    @property
    def created(self) -> datetime: ...
    @property
    def short_name(self) -> str: ...
    @property
    def flags(self) -> str: ...


class OpenFile(Protocol):
    """An open file: bytes at offsets."""

    path: str

    @property
    def size(self) -> int: ...
    async def read(self, offset: int, length: int) -> bytes: ...
    async def read_into(self, offset: int, buffer: memoryview) -> int: ...
    async def write(self, offset: int, data: bytes | memoryview) -> None: ...
    async def truncate(self, size: int) -> None: ...
    async def flush(self) -> None: ...
    async def set_modified(self, wall: float) -> None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Space:
    """A volume's size in bytes, as far as files can use it."""

    total: int
    free: int
    unit: int


@dataclass(frozen=True)
class Problem:
    """Something wrong with a volume: where, and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class FileSystemVolume(Protocol):
    """A mounted volume."""

    name: str  # of its device
    device: Device
    kind: str  # "FAT16"
    label: str
    serial: int
    read_only: bool

    async def stat(self, path: str) -> FileInfo: ...
    async def list(self, path: str) -> list[FileInfo]: ...
    async def open(self, path: str, write: bool = False, create: bool = False, exclusive: bool = False, truncate: bool = False) -> OpenFile: ...
    async def make_directory(self, path: str) -> None: ...
    async def remove(self, path: str) -> None: ...
    async def remove_directory(self, path: str) -> None: ...
    async def rename(self, old: str, new: str) -> None: ...
    async def space(self) -> Space: ...
    async def flush(self) -> None: ...
    async def check(self, progress: Callable[[int, int], None] | None = None) -> list[Problem]: ...
    async def settle(self) -> None: ...
    async def unmount(self, discard: bool = False) -> None: ...
    def statistics(self) -> dict[str, object]: ...


def split_path(path: str) -> list[str]:
    """The names in a path; "." is nothing, ".." takes one away."""
    out: list[str] = []
    for part in path.replace("\\", "/").split("/"):
        if part == "..":
            if out:
                out.pop()
        elif part and part != ".":
            out.append(part)
    return out


def not_found(path: str, parent: bool = False) -> StatusError:
    """The error for a path that is not there."""
    status = Status.OBJECT_PATH_NOT_FOUND if parent else Status.OBJECT_NAME_NOT_FOUND
    return StatusError(status, f"{path or '/'}: no such {'directory' if parent else 'file or directory'}")
