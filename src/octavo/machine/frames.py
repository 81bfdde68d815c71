"""Bytes in frames, as numbers: what pagers, drivers and devices are given of memory.

    runs    (address, length) ...      physical addresses and bytes, one run after the other

A run is whole frames, frames that lie side by side, or a part of a frame: (n << 12, 8192) is frames
n and n + 1, (n << 12 | 512, 512) the second sector of frame n. The numbers mean the same to
everybody who has the RAM: another process that maps it makes `Frames` of its own mapping and of the
runs that it was sent, and so would a device that reads memory itself.

A frame may come several times in runs that are only read from: zeros of any length are one frame of
them.

Source: a memory descriptor list of NT, scatter-gather lists of disks. Departure: byte runs where
those have frame numbers with an offset into the first, so that a list can be cut anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.ram import Ram

Runs = list[tuple[int, int]]  # (address, bytes)
_ZEROS = memoryview(bytes(PAGE_SIZE))


class Frames:
    """`length` bytes in `runs` of `ram`. Nobody changes one that is made."""

    __slots__ = ("length", "ram", "runs")

    def __init__(self, ram: Ram, runs: Runs, length: int) -> None:
        self.ram = ram
        self.runs = runs
        self.length = length

    @classmethod
    def of(cls, ram: Ram, pfns: Iterable[int]) -> Frames:
        """Whole frames by their numbers."""
        runs = joined((pfn << PAGE_SHIFT, PAGE_SIZE) for pfn in pfns)
        return cls(ram, runs, sum(size for _, size in runs))

    def buffers(self) -> list[memoryview]:
        """Where the bytes are in this process, a buffer a run."""
        runs = self.runs
        if len(runs) == 1:
            address, length = runs[0]
            return [self.ram.bytes[address : address + length]]
        memory = self.ram.bytes
        return [memory[address : address + length] for address, length in runs]

    def pages(self) -> list[int]:
        """The numbers of the frames, which are whole."""
        return [
            pfn
            for address, length in self.runs
            for pfn in range(address >> PAGE_SHIFT, address + length >> PAGE_SHIFT)
        ]

    def part(self, start: int, length: int) -> Frames:
        """Bytes [start, start + length)."""
        assert 0 <= start <= start + length <= self.length
        out: Runs = []
        left = length
        for address, size in self.runs:
            if start >= size:
                start -= size
                continue
            if not left:
                break
            taken = min(size - start, left)
            out.append((address + start, taken))
            left -= taken
            start = 0
        return Frames(self.ram, out, length)

    def read(self) -> bytes:
        """A copy of the bytes."""
        return b"".join(self.buffers())

    def fill(self, data: bytes | bytearray | memoryview) -> None:
        """Copies `length` bytes into the frames."""
        assert len(data) == self.length
        at = 0
        for buffer in self.buffers():
            buffer[:] = data[at : at + len(buffer)]
            at += len(buffer)

    def clear(self) -> None:
        """Fills the frames with zeros."""
        for buffer in self.buffers():
            for at in range(0, len(buffer), PAGE_SIZE):
                size = min(PAGE_SIZE, len(buffer) - at)
                buffer[at : at + size] = _ZEROS[:size]


def joined(runs: Iterable[tuple[int, int]]) -> Runs:
    """Runs of which none goes on where the one before it ends."""
    out: Runs = []
    end = -1
    for address, length in runs:
        if address == end:
            first, size = out[-1]
            out[-1] = first, size + length
        else:
            out.append((address, length))
        end = address + length
    return out


def whole(ram: Ram, runs: Sequence[tuple[int, int]], count: int) -> Frames:
    """Runs of whole frames (first, frames), `count` in all."""
    if len(runs) == 1:  # as most page-ins are
        return Frames(ram, [(runs[0][0] << PAGE_SHIFT, count << PAGE_SHIFT)], count << PAGE_SHIFT)
    shifted = [(first << PAGE_SHIFT, size << PAGE_SHIFT) for first, size in runs]
    return Frames(ram, shifted, count << PAGE_SHIFT)
