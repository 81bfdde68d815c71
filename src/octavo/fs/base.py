"""What all file systems share: space and problems of a volume, and paths."""

from __future__ import annotations

from typing import NamedTuple

from octavo.arguments import shown
from octavo.status import Status, StatusError

MOST_PATH = (
    4095  # characters, as on Linux: what is nested without a bound costs its depth at each level
)


class Space(NamedTuple):
    """A volume's size in bytes, as far as files can use it."""

    total: int
    free: int
    unit: int


class Problem(NamedTuple):
    """Something wrong with a volume: where, what, and whether a repair has mended it."""

    where: str
    what: str
    mended: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (" (mended)" if self.mended else "")


class DirectoryFullError(StatusError):
    """A DISK_FULL that is one directory's, and no other's."""


class VolumeFullError(StatusError):
    """A DISK_FULL that is the volume's, and not the host's, on whose disk its image may be."""


def check_path(path: object) -> None:
    """StatusError INVALID_PARAMETER for what is no text, NAME_TOO_LONG for more than MOST_PATH
    characters.
    """
    if not isinstance(path, str):
        raise StatusError(Status.INVALID_PARAMETER, f"{shown(path)} is no path")
    if len(path) > MOST_PATH:
        why = (
            f"{path[:40]}...: the path has {len(path)} characters, and a path may have {MOST_PATH}"
        )
        raise StatusError(Status.NAME_TOO_LONG, why)


def split_path(path: str) -> list[str]:
    """The names in a path; "." is nothing, ".." takes one away."""
    check_path(path)
    out: list[str] = []
    for part in path.replace("\\", "/").split("/"):
        if part == "..":
            if out:
                out.pop()
        elif part and part != ".":
            out.append(part)
    return out


def check_file_path(path: str) -> None:
    """StatusError NOT_A_DIRECTORY for a path that, as in POSIX, only a directory can have: one that
    ends in a slash, "." or "..".
    """
    if path.replace("\\", "/").rpartition("/")[2] in ("", ".", ".."):
        raise StatusError(
            Status.NOT_A_DIRECTORY,
            f"{path or '/'}: only a directory can have this path: that of a file ends with its "
            "name",
        )


def not_found(path: str, parent: bool = False) -> StatusError:
    """The error for a path that is not there."""
    status = Status.OBJECT_PATH_NOT_FOUND if parent else Status.OBJECT_NAME_NOT_FOUND
    return StatusError(
        status, f"{path or '/'}: no such {'directory' if parent else 'file or directory'}"
    )
