"""The filesystem `octavo` of fsspec: files in images, as pandas, pyarrow, dask and zarr want them.

    fsspec.open("octavo://docs/a.txt::file://disk.img")
    fsspec.filesystem("octavo", fo="disk.img", partition=2)

The image is a file of the host, or of any filesystem that fsspec has (`octavo.adapters.sources`).
What a call has changed is on the image's medium when the call returns. Errors are OSErrors with an
errno and one sentence. Any thread may use it, and a pickled one opens its image where it arrives.

Source: fsspec's specification, `fsspec.spec.AbstractFileSystem`, whose methods these are; what they
take and return is documented there. Departures: a link to a directory is of type "link" in a
listing, so that nobody walks in circles; `mv` of a directory needs no `recursive`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractFileSystem
from fsspec.utils import tokenize

from octavo.adapters.instances import Instances
from octavo.adapters.mounted import mounted
from octavo.adapters.openfiles import Text, open_file
from octavo.adapters.oserrors import as_os_errors
from octavo.adapters.sources import Part, find_source
from octavo.adapters.transaction import OctavoTransaction
from octavo.arguments import invalid, whole
from octavo.files import Volume
from octavo.status import Status, StatusError
from octavo.system import IMAGE_MEMORY

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo

__all__ = ["OctavoFileSystem"]

Info = dict[str, Any]
CHUNK = 1 << 20  # bytes of a copy
_OTHERS = "bcps"  # what `flags` of ext2 begins with for devices, FIFOs and sockets


# fsspec has no types
class OctavoFileSystem(AbstractFileSystem, metaclass=Instances):  # type: ignore[misc]
    """Files in the image `fo`, a path, a URL or an open file.

    `partition` is one by its number, as is "disk.img#2"; without it the image's volume is taken, or
    that of the first partition that has one. `read_only` refuses every change. `memory` is the most
    that Octavo takes for the image ("64M"), `codepage` that of short names, as in
    `octavo.open_image`. With `auto_mkdir` a file that is written gets the directories above it.

    OSError when the image cannot be opened.
    """

    protocol = "octavo"
    root_marker = ""
    cachable = True
    transaction_type = OctavoTransaction

    def __init__(
        self,
        fo: Any = "",
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        partition: int | None = None,
        read_only: bool = False,
        memory: str | int = IMAGE_MEMORY,
        codepage: str | int = 437,
        auto_mkdir: bool = False,
        **options: Any,
    ) -> None:
        if self._cached:
            return
        super().__init__(**options)
        self.read_only = read_only
        self.auto_mkdir = auto_mkdir
        with as_os_errors():
            source = find_source(fo, target_protocol, target_options)
            self.part = source.part
            if partition is not None:
                number = whole(partition, "the number of a partition", 1)
                if source.part not in ((None, 0), (number, 0)):
                    raise invalid(f"{fo}: names another part than partition {number}")
                self.part = Part(number)
            self.image = mounted(source, memory, codepage)
            with self.image.use(self.part):
                pass

    def be_apart(self) -> None:
        """Makes this filesystem equal to none but those of the same file object."""
        self._fs_token_: str = tokenize(self._fs_token, id(self.image.source.file))

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """The path on the volume: with "/" between names, and none around them."""
        path = super()._strip_protocol(path)
        return path if isinstance(path, list) else path.replace("\\", "/").strip("/")

    @contextmanager
    def _volume(self, write: bool = False) -> Iterator[Volume]:
        """A `with` block in which this thread alone has the volume; what it changed is on the
        medium behind it.
        """
        with as_os_errors(), self.image.settled():
            if write:
                self._check_writable()
            with self.image.use(self.part, write) as volume:
                yield volume

    def _check_writable(self) -> None:
        if self.read_only:
            text = f"{self.image.source.name}: can only be read: read_only=True was asked for"
            raise StatusError(Status.MEDIA_WRITE_PROTECTED, text)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """A `with` block behind which all that was changed in it is on the medium, and not after
        each call.
        """
        with as_os_errors(), self.image.settled():
            yield

    def leave_transaction(self) -> None:
        """What is opened from now on is in no transaction."""
        self._intrans, self._transaction = False, None

    # -- looking ----------------------------------------------------------------------------------

    def info(self, path: str, **_: Any) -> Info:
        """What is at a path: name, size, type, mtime and created (seconds since 1970), flags."""
        path = self._strip_protocol(path)
        with self._volume() as volume:
            return _info(path, volume.stat(path))

    def exists(self, path: str, **_: Any) -> bool:
        """Whether there is something at a path. OSError where that cannot be said."""
        with self._volume() as volume:
            return volume.exists(self._strip_protocol(path))

    def isdir(self, path: str) -> bool:
        """Whether a path is a directory that is there."""
        with self._volume() as volume:
            return volume.is_dir(self._strip_protocol(path))

    def isfile(self, path: str) -> bool:
        """Whether a path is a file that is there."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return bool(self.info(path)["type"] == "file")
        return False

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What is in a directory, or the file itself; sorted by name."""
        path = self._strip_protocol(path)
        with self._volume() as volume:
            if path and not (info := volume.stat(path)).is_directory:
                found = [_info(path, info)]
            else:
                found = self._listed(volume, path, volume.entries(path))
        return found if detail else [info["name"] for info in found]

    def _listed(self, volume: Volume, path: str, entries: list[FileInfo]) -> list[Info]:
        """Entries of a directory without the files that are not finished, links followed."""
        prefix = f"{path}/" if path else ""
        unfinished = {file.beside for file in self.image.unfinished} - {""}
        found = []
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = prefix + entry.name
            if name in unfinished:
                continue
            found.append(_info(name, entry))
            if entry.flags[:1] == "l":
                found[-1].update(_followed(volume, name))
        return found

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **_: Any,
    ) -> Any:
        """All files below a path; a directory that damage has put into two places counts once, and
        what cannot be read is left out.
        """
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        found: dict[str, Info] = {}
        with self._volume() as volume:
            if volume.exists(path):
                info = _info(path, volume.stat(path))
                if info["type"] != "directory":
                    found[path] = info
                else:
                    if withdirs and path:
                        found[path] = info
                    found.update(self._below(volume, path, maxdepth, withdirs))
        names = sorted(found)
        return {name: found[name] for name in names} if detail else names

    def _below(
        self, volume: Volume, path: str, maxdepth: int | None, withdirs: bool
    ) -> Iterator[tuple[str, Info]]:
        """(path, info) of what is below a directory, to a depth."""
        above = len(path.strip("/"))
        for where, entries in volume.walk(path, _left_out):
            below = where[above:].strip("/")
            for info in self._listed(volume, f"{path}/{below}".strip("/"), entries):
                if withdirs or info["type"] != "directory":
                    yield info["name"], info
            if maxdepth is not None and len(below.split("/")) - (not below) >= maxdepth - 1:
                entries.clear()

    def created(self, path: str) -> datetime:
        """When a file was made, in UTC."""
        return datetime.fromtimestamp(self.info(path)["created"], UTC)

    def modified(self, path: str) -> datetime:
        """When a file was last written, in UTC."""
        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)

    # -- reading and writing ----------------------------------------------------------------------

    def open(self, path: str, mode: str = "rb", *args: Any, **options: Any) -> Any:
        """Opens a file as Python's `open` does; see `octavo.adapters.openfiles` for how it ends."""
        if "b" in mode:
            return super().open(path, mode, *args, **options)
        names = ("encoding", "errors", "newline")
        text = {name: options.pop(name) for name in names if name in options}
        with ExitStack() as stack:  # a file without its text is given up
            file = super().open(path, mode.replace("t", "") + "b", *args, **options)
            opened = Text(stack.enter_context(file), **text)
            stack.pop_all()
        return opened

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        if mode != "rb":
            with as_os_errors():
                self._check_writable()
            self._make_above(path, mode)
        return open_file(self.image, self.part, path, mode, autocommit, self)

    def _make_above(self, path: str, mode: str = "wb") -> None:
        if self.auto_mkdir and mode[0] != "r" and (above := self._parent(path)):
            self.makedirs(above, exist_ok=True)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """The bytes of a file, from `start` to `end`, which count from its end when negative."""
        path = self._strip_protocol(path)
        with self._volume() as volume:
            if start is None and end is None:
                return volume.read_bytes(path)
            with volume.open(path) as file:
                first, last = slice(start, end).indices(file.size)[:2]
                file.seek(first)
                return file.read(max(last - first, 0))

    def cat_ranges(self, *args: Any, **options: Any) -> list[Any]:
        """Ranges of files, as fsspec's, with nobody's change between them."""
        with self._volume():
            return list(super().cat_ranges(*args, **options))

    def pipe_file(self, path: str, value: Any, mode: str = "overwrite", **options: Any) -> None:
        """Makes a file of bytes, whole or not at all; with mode "create" it must be new. Who reads
        an old one goes on to: it is replaced, and not written over.
        """
        path = self._strip_protocol(path)
        with self._volume(True) as volume:
            self._make_above(path)
            if self._intrans or volume.scheduler.run(volume.core.is_open(path)):
                with self.open(path, "xb" if mode == "create" else "wb") as file:
                    file.write(value)
                return
            put = volume.create_bytes if mode == "create" else volume.write_bytes
            put(path, value)

    def touch(self, path: str, truncate: bool = True, **_: Any) -> None:
        """Makes an empty file; without `truncate`, one that is there only gets its time."""
        path = self._strip_protocol(path)
        with self._volume(True) as volume:
            if truncate or not volume.exists(path):
                self.pipe_file(path, b"")
            else:
                volume.set_modified(path, volume.scheduler.clock.wall())

    # -- names ------------------------------------------------------------------------------------

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Makes a directory, which must be new."""
        path = self._strip_protocol(path)
        with self._volume(True) as volume:
            if not path:
                raise StatusError(Status.OBJECT_NAME_COLLISION, "/: exists already")
            if create_parents and (above := self._parent(path)):
                volume.mkdir(above, parents=True)
            volume.mkdir(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Makes a directory and those above it."""
        path = self._strip_protocol(path)
        with self._volume() as volume:
            if exist_ok and volume.is_dir(path):
                return
        self.mkdir(path)

    def rmdir(self, path: str) -> None:
        """Removes an empty directory."""
        with self._volume(True) as volume:
            volume.rmdir(self._strip_protocol(path))

    def rm_file(self, path: str) -> None:
        """Removes a file."""
        with self._volume(True) as volume:
            volume.remove(self._strip_protocol(path))

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Removes files, and with `recursive` directories and all below them."""
        with self._volume(True) as volume:
            for found in reversed(self.expand_path(path, maxdepth=maxdepth if recursive else 1)):
                if not volume.is_dir(found):
                    volume.remove(found)
                elif recursive and maxdepth is None:
                    volume.rmtree(found)
                elif recursive:
                    volume.rmdir(found)
                else:
                    raise StatusError(
                        Status.FILE_IS_A_DIRECTORY, f"{found}: is a directory: use recursive=True"
                    )

    def mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **options: Any,
    ) -> None:
        """Moves a file or directory, without its data; a list or a pattern as fsspec does."""
        single = isinstance(path1, str) and isinstance(path2, str)
        if not single or maxdepth is not None or set("*?[") & set(path1):
            with self.settled():
                super().mv(path1, path2, recursive, maxdepth, **options)
            return
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        with self._volume(True) as volume:
            if path2.endswith("/") or (
                target.casefold() != source.casefold() and volume.is_dir(target)
            ):
                target = f"{target}/{source.rpartition('/')[2]}".strip("/")
            self._make_above(target)
            volume.rename(source, target, replace=not volume.is_dir(source))

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copies a file, or makes a directory like another."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.isdir(source):
            self.makedirs(target, exist_ok=True)
            return
        with self.settled(), self.open(source) as old, self.open(target, "wb") as new:
            shutil.copyfileobj(old, new, CHUNK)

    def copy(self, *args: Any, **options: Any) -> None:
        """Copies within the volume, as fsspec's; on the medium when all is done."""
        with self.settled():
            super().copy(*args, **options)

    def put(self, *args: Any, **options: Any) -> None:
        """Copies from the host, as fsspec's; on the medium when all is done."""
        with self.settled():
            super().put(*args, **options)

    def pipe(self, *args: Any, **options: Any) -> None:
        """Makes files of bytes, as fsspec's; on the medium when all is done."""
        with self.settled():
            super().pipe(*args, **options)

    # -- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes the files that this filesystem has open for writing and lets go of the image, for
        other programs to change; the next use opens it again. While other filesystems write files
        of the image, or a transaction has not ended, the end of the last of them lets go of it.
        """
        with as_os_errors():
            self.image.close(self)

    def __enter__(self) -> OctavoFileSystem:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with as_os_errors():
            self.image.close(self, discard=kind is not None)


def _info(path: str, entry: FileInfo) -> Info:
    """What fsspec is told of an entry of a directory."""
    kind = "other" if entry.flags[:1] in _OTHERS else "file"
    return {
        "name": path,
        "size": 0 if entry.is_directory else entry.size,
        "type": "directory" if entry.is_directory else kind,
        "mtime": entry.modified.timestamp(),
        "created": entry.created.timestamp(),
        "flags": entry.flags,
    }


def _left_out(error: StatusError) -> None:
    """For what cannot be read, and is not there for fsspec."""


def _followed(volume: Volume, path: str) -> Info:
    """What a link leads to, as far as a listing follows it."""
    try:
        info = _info(path, volume.stat(path))
    except StatusError:
        return {"type": "link"}
    if info["type"] == "directory":
        info["type"] = "link"
    return info
