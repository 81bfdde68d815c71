"""The files of a volume as one side of a copy.

A new file is made with all its data at once where it fits a chunk, else written and removed when it
cannot be finished. A file that replaces another is written beside it and renamed into its place;
`octavo.fs.replace` says when a small one is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from octavo.files import ABSENT, File, Report, Volume
from octavo.fs.base import split_path
from octavo.fs.fat.bpb import MOST_BYTES
from octavo.fs.fat.entry import LAST, SLOT
from octavo.fs.fat.names import (
    MAX_NAME_UNITS,
    UNITS_IN_SLOT,
    clean_name,
    exact_short,
    fold,
    has_illegal,
)
from octavo.status import Status, StatusError
from octavo.transfer.tree import CHUNK, Excluded, Item, Step

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo

_NONE_BESIDE = (
    "there is no room for the new file beside the old one, which stays until the new one is there: "
    "remove the old one first; nothing was copied"
)


class VolumeTree:
    """The files of a volume; `prefix` stands before paths in messages."""

    largest = MOST_BYTES

    def __init__(self, volume: Volume, prefix: str) -> None:
        self.volume = volume
        self.prefix = prefix
        self._moments: dict[datetime, float] = {}
        self.listed: int | None = None  # the volume's `changes` when it was walked first

    @property
    def store(self) -> object:
        """The volume."""
        return self.volume

    @property
    def latest(self) -> float:
        """FAT's last moment: what is written later has it."""
        return self._seconds(LAST)

    def shown(self, path: str) -> str:
        """The path as messages have it."""
        return self.prefix + path

    def join(self, path: str, name: str) -> str:
        """A path below a path."""
        return f"{path.rstrip('/')}/{name}" if name else path

    def before(self, path: str) -> str:
        """What stands before the names in a directory."""
        return path.rstrip("/") + "/"

    def split(self, path: str) -> tuple[str, str]:
        """The directory and the name; no name for ".", ".." and the root."""
        names = split_path(path)
        if path.replace("\\", "/").rpartition("/")[2] in (".", ".."):
            return path, ""
        return "/".join(names[:-1]), names[-1] if names else ""

    def parts(self, path: str) -> list[str]:
        """The names that lead to a path, as they are compared."""
        return [self.key(name) for name in split_path(path)]

    def is_dir(self, path: str) -> bool:
        """True for a directory."""
        return self.volume.is_dir(path)

    def stat(self, path: str) -> Item:
        """The file or directory at a path."""
        info = self.volume.stat(path)
        if info.flags[0] in "bcps":
            text = f"{self.prefix}{path}: is no file: only files and directories are copied"
            raise StatusError(Status.ACCESS_DENIED, text)
        return Item(info.name, info.is_directory, info.size, self._seconds(info.modified))

    def find(self, path: str) -> Item | None:
        """What stands at a path, under its long or its short name."""
        try:
            return self.stat(path)
        except StatusError as error:
            if error.status in ABSENT:
                return None
            raise

    def walk(
        self, path: str, report: Report, excluded: Excluded | None = None
    ) -> Iterator[tuple[str, list[Item]]]:
        """A directory and all below it; what cannot be read, what is in two places, links to
        directories and special files are reported and left out.
        """
        strip = len(path.strip("/\\")) + 1 if path.strip("/\\") else 0
        if self.listed is None:
            self.listed = self.volume.core.changes
        for here, entries in self.volume.walk(path, lambda error: report(self._told(error))):
            below = here[strip:] + "/" if here[strip:] else ""
            if excluded:
                entries[:] = [e for e in entries if not excluded(below + e.name, self._bare(e))]
            pairs = [(e, self._item(here, e, report)) for e in entries]
            yield here[strip:], [item for _, item in pairs if item is not None]
            entries[:] = [e for e, item in pairs if item and item.directory and not item.skip]

    @staticmethod
    def _bare(info: FileInfo) -> Item:
        return Item(info.name, info.is_directory, info.size, 0.0)

    def _item(self, here: str, info: FileInfo, report: Report) -> Item | None:
        """What is to be copied of an entry of a directory: the file at the end of a link, nothing
        of a device.
        """
        name = info.name
        kind = info.flags[0]  # as ls -l has it, or an attribute of FAT
        if kind in "lbcps":
            path = f"{here}/{name}"
            try:
                info = self.volume.stat(path)
            except StatusError as error:
                report(self._told(error))
                return None
            if kind != "l" or info.is_directory or info.flags[0] != "-":
                what = "a link to a directory or a device" if kind == "l" else "no file"
                report(
                    StatusError(Status.ACCESS_DENIED, f"{self.prefix}{path}: is {what}: skipped")
                )
                return None
        moment, directory = self._seconds(info.modified), info.is_directory
        return Item(name, directory, info.size, moment, False, info.number)

    def _told(self, error: StatusError) -> StatusError:
        return StatusError(error.status, self.prefix + error.text)

    def _seconds(self, moment: datetime) -> float:
        """Seconds since 1970; the files of a tree have few moments, and each takes the host's
        tables of time zones.
        """
        seconds = self._moments.get(moment)
        if seconds is None:
            zone = UTC if self.volume.scheduler.clock.utc else None
            seconds = self._moments[moment] = moment.replace(tzinfo=zone).timestamp()
        return seconds

    def fit(self, name: str) -> str:
        """The name without trailing dots and spaces; StatusError when FAT has no such names."""
        return clean_name(name)

    def fit_all(self, names: Sequence[str]) -> list[str] | None:
        """The names in capitals, if they are ASCII and there is nothing about them."""
        text = "".join(names)
        if (
            not text.isascii()
            or has_illegal(text)
            or len(max(names, key=len, default="")) > MAX_NAME_UNITS
        ):
            return None
        if any(name.endswith((".", " ")) or not name for name in names):
            return None
        keys = [name.upper() for name in names]
        return keys if len(set(keys)) == len(keys) else None

    def key(self, name: str) -> str:
        """The name as FAT compares it."""
        return fold(name.rstrip(". ")) or name

    def names(self, path: str) -> dict[str, Item | str]:
        """What a directory has, by long and by short names."""
        found: dict[str, Item | str] = {}
        entries = self.volume.entries(path)
        items = [Item(e.name, e.is_directory, e.size, 0.0) for e in entries]
        for entry, item in zip(entries, items, strict=True):
            found[fold(entry.short_name)] = item
        found.update({fold(item.name): item for item in reversed(items)})
        return found

    def admit(self, steps: Sequence[Step]) -> None:
        """StatusError DISK_FULL when the volume has too few free clusters for the steps, one after
        the other.

        A file that replaces another gives clusters back after it has taken its own, unless it fits
        a chunk. What directories need is at least what is counted, so that nothing is refused that
        would fit.
        """
        space = self.volume.space()
        unit, free, taken, most = space.unit, space.free // space.unit, 0, 0
        for step in steps:
            if step.replaces is None and not step.item.directory:  # as most are
                taken += -(-step.item.size // unit)
                continue
            most = max(most, taken)
            new, old = _cost(step, unit)
            # written over the old one where there is no room beside it
            small = step.item.size <= CHUNK
            peak = taken + new - (old if small else 0)
            if peak > free >= taken + new - old:
                raise StatusError(Status.DISK_FULL, f"{self.shown(step.to)}: {_NONE_BESIDE}")
            most, taken = max(most, peak), taken + new - old
        most = max(most, taken)
        if most > free:
            text = (
                f"the volume is full: {most * unit >> 10} KiB are needed, and "
                f"{space.free >> 10} KiB are free; nothing was copied"
            )
            raise StatusError(Status.DISK_FULL, f"{self.volume.core.name}: {text}")

    def read(self, path: str, size: int) -> Iterable[bytes]:
        """The contents, in chunks."""
        if size <= CHUNK:
            yield self.volume.read_bytes(path)
            return
        with self.volume.open(path) as file:
            while data := file.read(CHUNK):
                yield data

    def write(
        self, path: str, size: int, chunks: Iterable[bytes], modified: float, replaces: Item | None
    ) -> None:
        """Makes a file of chunks, or puts one into the place of what is there."""
        pieces = iter(chunks)
        first, second = next(pieces, b""), next(pieces, b"")
        if not second and len(first) <= CHUNK:
            put = self.volume.write_bytes if replaces else self.volume.create_bytes
            put(path, first, modified)
            return
        file = self.volume.open_beside(path) if replaces else self.volume.open(path, "xb")
        try:
            self._fill(file, (first, second), modified)
            self._fill(file, pieces, modified)
            file.close()
            if replaces:
                self.volume.rename(file.name, path, replace=True)
        except BaseException:
            self._give_up(file)
            raise

    @staticmethod
    def _fill(file: File, pieces: Iterable[bytes], modified: float) -> None:
        for data in pieces:
            file.write(data)
        file.set_modified(modified)

    def _give_up(self, file: File) -> None:
        """Removes a file that was made here and cannot be finished."""
        try:
            file.close()
        finally:
            self.volume.remove(file.name)

    def mkdir(self, path: str) -> None:
        """Makes a directory."""
        self.volume.mkdir(path)

    def set_modified(self, path: str, modified: float) -> None:
        """Sets when a directory was last changed."""
        self.volume.set_modified(path, modified)

    def attributes(self, path: str) -> tuple[str, str]:
        """The attributes that a file has of those that the volume knows, and those that it has
        not.
        """
        flags = self.volume.stat(path).flags
        if not self.volume.kind.startswith("FAT"):  # as ls -l has them
            return ("", "r") if flags[2] == "w" else ("r", "")
        return "".join(c for c in "rhsa" if c in flags), "".join(
            c for c in "rhsa" if c not in flags
        )

    def set_attributes(self, path: str, on: str, off: str) -> None:
        """Sets and clears attributes."""
        self.volume.set_attributes(path, on, off)


def _clusters(size: int, unit: int) -> int:
    return -(-size // unit)


def _cost(step: Step, unit: int) -> tuple[int, int]:
    """Clusters that a step takes, at least, and those that it gives back."""
    if not step.item.directory:
        return _clusters(step.item.size, unit), _clusters(
            step.replaces.size, unit
        ) if step.replaces else 0
    if step.replaces:
        return 0, 0
    slots = 2 + sum(
        1 if len(name) <= 12 and exact_short(name) else 1 + -(-len(name) // UNITS_IN_SLOT)
        for name in step.names
    )
    return _clusters(slots * SLOT, unit), 0
