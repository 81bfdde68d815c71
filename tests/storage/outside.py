"""A disk whose driver runs in another process: the executive's end and, as a program, the other.

    executive                                     driver's process
    Outside(Device) --records over a socket-->    Ram.attach(fd), ImageDisk: the same code as here
          |                                             |
          `---------------- RAM, a memory file ---------'

A record is one request as numbers: tag, operation, place, and the runs of its frames. An answer is
the tag, a status (0: done) and a sentence. No byte of the disk crosses the socket.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from octavo.machine.clock import RealClock
from octavo.machine.frames import Frames
from octavo.machine.ram import Ram
from octavo.memory.pagers.medium import FLUSH, Op, Request
from octavo.status import Status, StatusError
from octavo.storage.device import Device
from octavo.storage.image import ImageDisk
from octavo.threads.scheduler import Scheduler
from octavo.threads.sources import Descriptor
from octavo.threads.wait import Event, Semaphore
from tests.places import ROOT

RECORD = struct.Struct("<IIQ")  # tag, operation, place; then the runs
RUN = struct.Struct("<QQ")  # address, length
ANSWER = struct.Struct("<II")  # tag, status; then the sentence
MOST_RECORDS = 64  # in flight: sockets hold so many, so that nobody waits to send
LONGEST = 1 << 16


class Outside(Device):
    """The image at `path`, by a driver of its own, with pid `process.pid`. `sent` counts the bytes
    that went over the socket in both directions.
    """

    def __init__(self, path: Path, ram: Ram, scheduler: Scheduler) -> None:
        super().__init__("outside", path.stat().st_size, False, False)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = theirs.fileno(), ram.fd
        command = [sys.executable, "-m", "tests.storage.outside", *map(str, fds), str(path)]
        self.process = subprocess.Popen(command, pass_fds=fds, cwd=ROOT)
        theirs.close()
        self.socket, self.scheduler = ours, scheduler
        self.source = Descriptor(ours, "the driver of outside")
        self.sent = self.most = 0
        self._answers: dict[int, Event] = {}
        self._errors: dict[int, StatusError] = {}
        self._tag = 0
        self._room = Semaphore(MOST_RECORDS)
        scheduler.add(self.source)
        scheduler.serve(self._listen, "answers from outside")

    async def _listen(self) -> None:
        while True:
            try:
                message = await self._receive()
            except StatusError as error:
                for tag in list(self._answers):
                    self._answered(tag, error)
                self.source.close(error)
                return
            self.sent += len(message)
            tag, status = ANSWER.unpack_from(message)
            text = message[ANSWER.size :].decode()
            self._answered(tag, StatusError(Status(status), text) if status else None)

    async def _receive(self) -> bytes:
        await self.source.readable()
        with contextlib.suppress(ConnectionError):
            if message := self.socket.recv(LONGEST, socket.MSG_DONTWAIT):
                return message
        raise StatusError(Status.NO_SUCH_DEVICE, f"{self.name}: its driver has ended")

    def _answered(self, tag: int, error: StatusError | None) -> None:
        if error is not None:
            self._errors[tag] = error
        self._answers.pop(tag).signal()
        self._room.release()

    async def _submit(self, requests: Sequence[Request]) -> None:
        sent = [await self._send(request) for request in requests]
        for _, event in sent:
            await event.wait()
        errors = [self._errors.pop(tag) for tag, _ in sent if tag in self._errors]
        if errors:
            raise errors[0]

    async def _send(self, request: Request) -> tuple[int, Event]:
        await self._room.acquire()
        if self.source.error is not None:
            self._room.release()
            raise self.source.error
        self._tag = tag = self._tag + 1 & 0xFFFFFFFF
        event = self._answers[tag] = Event()
        op, place, frames = request
        record = RECORD.pack(tag, op, place) + b"".join(RUN.pack(*run) for run in frames.runs)
        self.sent += len(record)
        self.most = max(self.most, len(self._answers))
        with contextlib.suppress(ConnectionError):  # of which the listener hears
            self.socket.send(record)
        return tag, event

    _read = _write = _submit

    async def _flush(self) -> None:
        await self._submit((FLUSH,))

    def close(self) -> None:
        """Has the driver end: it closes the image."""
        super().close()
        self.scheduler.remove(self.source)
        self.process.wait(60)


def serve(channel: socket.socket, ram: Ram, path: str) -> None:
    """The driver's process: requests from the channel, by the driver that the executive has."""
    scheduler = Scheduler(RealClock())
    disk = ImageDisk(path, scheduler)
    while record := channel.recv(LONGEST):
        tag, op, place = RECORD.unpack_from(record)
        runs = list(RUN.iter_unpack(record[RECORD.size :]))
        assert all(0 < a < a + n <= ram.frames << 12 for a, n in runs)
        frames = Frames(ram, runs, sum(length for _, length in runs))
        status, text = 0, ""
        try:
            scheduler.run(disk.submit([Request(Op(op), place, frames)]))
        except StatusError as error:
            status, text = error.status, error.text
        channel.send(ANSWER.pack(tag, status) + text.encode())
    disk.close()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), Ram.attach(int(sys.argv[2])), sys.argv[3])
