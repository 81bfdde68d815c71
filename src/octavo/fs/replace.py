"""Whole files: reading one, and putting new contents into the place of old ones, which stay as they
are when that fails.

The new contents are written beside the old ones, as OCTAVOn.TMP, and renamed into their place: the
file is a new one, with its own time of creation and no attributes but "archive". Where there is no
room for both, or the file is open, they are written over the old ones, which are put back when that
fails; only a power cut in that moment leaves a part of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

from octavo.fs.base import split_path
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.protocol import FileSystemVolume, OpenFile


async def read_whole(core: FileSystemVolume, path: str) -> bytes:
    """The contents of a file."""
    file = await core.open(path)
    try:
        return await file.read(0, file.size)
    finally:
        await file.close()


async def write_whole(
    core: FileSystemVolume, path: str, data: bytes, modified: float | None
) -> None:
    """Makes `data` the contents of a file, new or not, last written at `modified` (seconds since
    1970; None: now).
    """
    if await core.create_whole(path, data, modified):
        return
    if await core.is_open(path):
        await _overwrite(core, path, data, modified)
        return
    beside = ""
    try:
        beside = await _create_beside(core, path, data, modified)
        await core.rename(beside, path, replace=True)
    except StatusError as error:
        if beside:
            await core.remove(beside)
        if error.status != Status.DISK_FULL:
            raise
        await _overwrite(core, path, data, modified)


async def _create_beside(
    core: FileSystemVolume, path: str, data: bytes, modified: float | None
) -> str:
    for beside in await _names_beside(core, path):
        if await core.create_whole(beside, data, modified):
            return beside
    raise AssertionError("names never end")


async def open_beside(core: FileSystemVolume, path: str) -> OpenFile:
    """A new file in the directory of another, to take its place; StatusError when nothing may take
    it.
    """
    for beside in await _names_beside(core, path):
        try:
            return await core.open(beside, write=True, create=True, exclusive=True)
        except StatusError as error:
            if error.status != Status.OBJECT_NAME_COLLISION:
                raise
    raise AssertionError("names never end")


async def _names_beside(core: FileSystemVolume, path: str) -> Iterator[str]:
    """Paths in the directory of a file, of names that take one slot; StatusError when another file
    cannot take its place.
    """
    info = await core.stat(path)
    if info.is_directory:
        raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{path}: is a directory")
    if info.flags.startswith("r"):
        raise StatusError(Status.ACCESS_DENIED, f"{path}: has the read-only attribute")
    above = split_path(path)[:-1]
    return ("/".join([*above, f"OCTAVO{n}.TMP"]) for n in count())


async def _overwrite(
    core: FileSystemVolume, path: str, data: bytes, modified: float | None
) -> None:
    """Writes over a file.

    Room for all of it is taken before the first byte is changed; what was there is put back on an
    error.
    """
    file = await core.open(path, write=True)
    try:
        size = file.size
        old = await file.read(0, len(data))
        try:
            await file.write(0, data)
            await file.truncate(len(data))
        except StatusError:
            await file.write(0, old)
            await file.truncate(size)
            raise
        if modified is not None:
            await file.set_modified(modified)
    finally:
        await file.close()
