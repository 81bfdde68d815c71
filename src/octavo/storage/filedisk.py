"""Driver for an image behind a file object: what Python, fsspec or another library has opened for
reading and seeking, and perhaps for writing.

A request is a `seek` and a `read`, or `write`s, on a worker, one request at a time: a file object
has one position. Only the ranges that are asked for are read, so an image behind a network costs
what is looked at. The file stays the caller's, who closes it after the disk.

Departure: no lock keeps other programs away, as one on an `ImageDisk` does.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from octavo.arguments import given, invalid, named, shown
from octavo.memory.pagers.medium import Request
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device
from octavo.storage.hosterrors import host_error
from octavo.storage.image import FLOPPY_SIZES
from octavo.threads.scheduler import Scheduler

_CALLS = ("read", "seek", "write", "flush")


class FileDisk(Device):
    """The whole sectors of `file`, a binary file object; StatusError INVALID_PARAMETER for what is
    none, and that of the file when its end cannot be found.
    """

    def __init__(
        self, name: str, file: BinaryIO, scheduler: Scheduler, read_only: bool = False
    ) -> None:
        named(name, "the name of a disk")
        if not all(callable(getattr(file, call, None)) for call in _CALLS):
            raise invalid(f"{name}: {shown(file)} is no file object")
        self.file: Any = file
        self.scheduler = given(scheduler, Scheduler, "a scheduler")
        self._position = threading.Lock()  # the file's: a seek and what follows are one
        self.name = name
        try:
            size = int(file.seek(0, os.SEEK_END))
        except Exception as error:  # whatever a library raises
            raise self._failure("seek in", error) from error
        super().__init__(name, size // SECTOR * SECTOR, read_only, size in FLOPPY_SIZES)

    async def _read(self, requests: Sequence[Request]) -> None:
        def work() -> None:
            for _, place, frames in requests:
                frames.fill(self._bytes(place, frames.length))

        await self._blocking("read", work)

    def _bytes(self, place: int, length: int) -> bytes:
        with self._position:
            self.file.seek(place)
            data = bytes(self.file.read(length))
            while len(data) < length:
                more = self.file.read(length - len(data))
                if not more:
                    raise EOFError("it has become shorter")
                data += more
        return data

    async def _write(self, requests: Sequence[Request]) -> None:
        def work() -> None:
            for _, place, frames in requests:
                with self._position:
                    self.file.seek(place)
                    for buffer in frames.buffers():
                        self._put(buffer)

        await self._blocking("write", work)

    def _put(self, buffer: memoryview) -> None:
        while buffer:
            done = self.file.write(buffer)
            if not done:
                raise EOFError("it takes no more bytes")
            buffer = buffer[done:]

    async def _flush(self) -> None:
        if not self.read_only:
            await self._blocking("flush", self._settle)

    def _settle(self) -> None:
        """Has the file object write what it keeps, and the host what it got from it."""
        with self._position:
            self.file.flush()
            try:
                number = self.file.fileno()
            except (AttributeError, io.UnsupportedOperation):
                return
            os.fsync(number)

    async def _blocking(self, verb: str, work: Callable[[], None]) -> None:
        self.counts.waits += 1
        try:
            await self.scheduler.call(work, f"{verb} {self.name}")
        except StatusError:
            raise
        except Exception as error:  # whatever a library raises
            raise self._failure(verb, error) from error

    def _failure(self, verb: str, error: Exception) -> StatusError:
        """What a file object raised, as a StatusError."""
        what = f"{self.name}: cannot {verb} the image"
        if isinstance(error, OSError) and error.errno:
            return host_error(error, what, Status.IO_DEVICE_ERROR)
        why = " ".join(str(error).split()) or type(error).__name__
        return StatusError(Status.IO_DEVICE_ERROR, f"{what}: {why}")
