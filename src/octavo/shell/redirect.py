"""Output of a command that goes to a file.

The file gets what was printed when the command has ended, and nothing of it when there is no room:
it is as it was then. So a command may read the file that its output goes to. Up to 1 MiB waits in
memory; more is written to a file beside it that takes its place at the end (`octavo.fs.replace`),
or with `append` behind its end, which is taken back when not all of it can be written.

Lines are UTF-8, and end in CR LF as NT's shell ends them.
"""

from __future__ import annotations

from octavo.files import File, Volume
from octavo.fs.base import not_found, split_path
from octavo.status import Status, StatusError
from octavo.threads.interrupts import uninterrupted

MOST_WAITING = 1 << 20  # bytes


class FileOutput:
    """Output for the file at `path`; with `append` it goes behind what is there.

    StatusError when there can be no such file; `write` and `finish` raise that of the volume.
    """

    def __init__(self, volume: Volume, path: str, append: bool) -> None:
        if not volume.is_dir("/".join(split_path(path)[:-1])):
            raise not_found(path, parent=True)
        if volume.is_dir(path):
            raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{path}: is a directory")
        self._volume = volume
        self._path = path
        self._append = append
        self._there = volume.exists(path)
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._file: File | None = None
        self._old = 0  # size of what is appended to

    def line(self, text: str) -> None:
        """One line."""
        self.write(text.encode("utf-8", "surrogatepass") + b"\r\n")

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self._waiting.append(data)
        self._bytes += len(data)
        if self._bytes >= MOST_WAITING:
            with uninterrupted():
                self._pour()

    def _pour(self) -> File:
        """Writes what waits."""
        if self._file is None:
            self._file = self._begin()
        self._file.write(b"".join(self._waiting))
        self._waiting.clear()
        self._bytes = 0
        return self._file

    def _begin(self) -> File:
        if self._append:
            file: File = self._volume.open(self._path, "ab")
            self._old = file.size
            return file
        if self._there:
            return self._volume.open_beside(self._path)
        return self._volume.open(self._path, "xb")

    def finish(self) -> None:
        """Makes the file what it is to be."""
        with uninterrupted():
            if self._file is None and not self._append:
                self._volume.write_bytes(self._path, b"".join(self._waiting))
                return
            try:
                file = self._pour()
                file.close()
                if file.name != self._path:
                    self._volume.rename(file.name, self._path, replace=True)
            except StatusError:
                self.give_up()
                raise

    def give_up(self) -> None:
        """Leaves the file as it was."""
        file = self._file
        if file is None:
            return
        with uninterrupted():
            if self._append and self._there:
                if not file.closed:
                    file.truncate(self._old)
                    file.close()
                return
            file.close()
            self._volume.remove(file.name)


class Nowhere:
    """Output that nobody wants: > nul."""

    def line(self, text: str) -> None:
        """Nothing."""

    def write(self, data: bytes) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""

    def give_up(self) -> None:
        """Nothing."""


Output = FileOutput | Nowhere
