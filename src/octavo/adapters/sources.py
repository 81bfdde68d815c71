"""Where the image of an fsspec filesystem is, and how it becomes a device.

    "disk.img", target_protocol="file"     a file of the host: an `ImageDisk`, with its lock; its
                                           name may be that of a part (`octavo.storage.imagename`)
    "disk.img", target_protocol="memory"   a file that fsspec can write in the middle: a `FileDisk`
    "http://host/disk.img", ...            anything else of fsspec's: a `FileDisk`, read-only
    a file object                          a `FileDisk`, that may be written if it says so

Two sources with one `key` are one image. Cached copies of remote files count as "anything else":
nobody would write them back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.utils import tokenize

from octavo.status import StatusError
from octavo.storage.device import Device
from octavo.storage.filedisk import FileDisk
from octavo.storage.image import ImageDisk
from octavo.storage.imagename import parse_image_name
from octavo.threads.scheduler import Scheduler

Options = dict[str, Any]


class Part(NamedTuple):
    """What of an image is meant: the partition of a number, or the volume, or first partition with
    one, of what begins at byte `start`.
    """

    number: int | None = None
    start: int = 0


WHOLE = Part()


@dataclass(frozen=True)
class Source:
    """An image: `filesystem` and `path` of fsspec's, or an open `file`; `refusal` says why it can
    only be read, "" when it can be written; `part` is what its name means of it.
    """

    key: tuple[object, ...]
    name: str
    refusal: str
    filesystem: Any = None
    path: str = ""
    file: BinaryIO | None = None
    part: Part = WHOLE

    def open(self, scheduler: Scheduler, write: bool) -> Device:
        """The image as a device. StatusError, or what the filesystem raises."""
        if isinstance(self.filesystem, LocalFileSystem):
            return ImageDisk(self.path, scheduler, not write)
        file: Any = self.file
        if self.filesystem is not None:
            file = self.filesystem.open(self.path, "r+b" if write else "rb", cache_type="none")
        try:
            return FileDisk(self.name, file, scheduler, not write)
        except StatusError:
            if self.filesystem is not None:
                file.close()
            raise

    def close(self, device: Device) -> None:
        """Closes what `open` has opened."""
        device.close()
        if isinstance(device, FileDisk) and self.filesystem is not None:
            device.file.close()


def find_source(fo: object, protocol: str | None, options: Options | None) -> Source:
    """The source that the arguments of a chained filesystem name. Opens nothing."""
    if not isinstance(fo, str | os.PathLike):
        file: Any = fo
        name = str(getattr(file, "name", None) or getattr(file, "path", None) or "the image")
        writable = getattr(file, "writable", None)
        only = "" if writable and writable() else "its file was opened for reading only"
        return Source(("file", id(file)), name, only, file=file)
    given = dict(options or {})
    if protocol is not None:
        given["protocol"] = protocol
    filesystem, path = url_to_fs(os.fspath(fo), **given)
    if isinstance(filesystem, LocalFileSystem):
        name, number, start = parse_image_name(path)
        key = ("local", os.path.realpath(name))
        return Source(key, name, "", filesystem, name, part=Part(number, start))
    name = filesystem.unstrip_protocol(path)
    if isinstance(filesystem, MemoryFileSystem):
        return Source(("memory", id(filesystem.store), path), name, "", filesystem, path)
    key = tokenize(type(filesystem), filesystem.storage_args, filesystem.storage_options)
    only = "fsspec cannot write into the middle of such a file"
    return Source((key, path), name, only, filesystem, path)
