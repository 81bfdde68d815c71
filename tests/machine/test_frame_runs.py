"""Bytes in frames: lists of runs, cut anywhere, against the bytes that they name."""

from __future__ import annotations

import random

import pytest

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.frames import Frames, joined, whole
from octavo.machine.ram import Ram


def model(ram: Ram, frames: Frames) -> bytes:
    """The bytes that the runs name, one after the other."""
    return b"".join(bytes(ram.bytes[address : address + size]) for address, size in frames.runs)


@pytest.mark.parametrize("seed", range(20))
def test_any_part_of_any_runs(seed: int) -> None:
    """From no byte to all of them; clearing a part changes these bytes and no others."""
    choose = random.Random(seed)
    ram = Ram(16)
    starts = choose.sample(range(0, 16 * PAGE_SIZE, 2 * PAGE_SIZE), choose.randrange(1, 8))
    runs = [(start, choose.choice((1, 512, 4096, 4097, 8192))) for start in starts]
    frames = Frames(ram, runs, sum(size for _, size in runs))
    data = choose.randbytes(frames.length)
    frames.fill(data)
    assert frames.read() == model(ram, frames) == data
    assert [bytes(b) for b in frames.buffers()] == [bytes(ram.bytes[a : a + n]) for a, n in runs]
    cuts = sorted({0, frames.length, *(sum(n for _, n in runs[:i]) for i in range(len(runs)))})
    for start in cuts:
        for end in cuts:
            for first, last in ((start, end), (start + 1, end), (start, end - 1)):
                if 0 <= first <= last <= frames.length:
                    part = frames.part(first, last - first)
                    assert part.length == last - first and part.read() == data[first:last]
                    assert all(size > 0 for _, size in part.runs)
    first, last = sorted(choose.sample(range(frames.length + 1), 2))
    frames.part(first, last - first).clear()
    assert frames.read() == data[:first] + bytes(last - first) + data[last:]
    with pytest.raises(AssertionError):
        frames.part(1, frames.length)
    with pytest.raises(AssertionError):
        frames.fill(data + b"x")


def test_frames_by_their_numbers() -> None:
    """Neighbours are one run, in their order only; the numbers come out again."""
    ram = Ram(16)
    frames = Frames.of(ram, [3, 4, 5, 9, 8, 7])
    assert frames.runs == [(0x3000, 0x3000), (0x9000, 0x1000), (0x8000, 0x1000), (0x7000, 0x1000)]
    assert frames.pages() == [3, 4, 5, 9, 8, 7] and frames.length == 6 * PAGE_SIZE
    assert whole(ram, [(3, 3), (9, 1)], 4).runs == [(0x3000, 0x3000), (0x9000, 0x1000)]
    assert whole(ram, [(3, 3)], 3).pages() == [3, 4, 5]
    assert Frames.of(ram, []).runs == [] and Frames.of(ram, []).length == 0
    assert joined([(0, 512), (512, 512), (0, 512)]) == [(0, 1024), (0, 512)]


def test_one_frame_of_zeros_is_any_length_of_them() -> None:
    """Runs that are read from may name a frame several times."""
    ram = Ram(4)
    assert Frames(ram, [(0x1000, 4096)] * 20, 20 * 4096).read() == bytes(20 * 4096)
