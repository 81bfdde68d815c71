"""Requests of frames that belong to a test: a little RAM, handed out from its beginning on."""

from __future__ import annotations

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.frames import Frames
from octavo.machine.ram import Ram
from octavo.memory.pagers.medium import Op, Request


class Lent:
    """RAM of `frames` frames, of which `length` bytes after `length` bytes are lent to requests."""

    def __init__(self, frames: int = 16) -> None:
        self.ram = Ram(frames)
        self.used = 0

    def frames(self, *lengths: int) -> Frames:
        """Runs of so many bytes; between two of them a sector is left free."""
        runs = []
        for length in lengths:
            runs.append((self.used, length))
            self.used += length + 512
        assert self.used <= self.ram.frames * PAGE_SIZE
        return Frames(self.ram, runs, sum(lengths))

    def read(self, place: int, *lengths: int) -> Request:
        """A read of so many bytes from `place` on."""
        return Request(Op.READ, place, self.frames(*lengths))

    def write(self, place: int, *parts: bytes) -> Request:
        """A write of `parts`, each in a run of its own, at `place`."""
        frames = self.frames(*map(len, parts))
        frames.fill(b"".join(parts))
        return Request(Op.WRITE, place, frames)
