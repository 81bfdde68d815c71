"""What a power cut can leave on a device: a recording of its writes, and the states that follow
from it.

    device = RecordingDevice(disk)  ... work, with flushes ...
    for state in replay(image, device.epochs, states(device.epochs, random.Random(1))):
        ...                         `image` is now what the cut has left; look at it, change nothing

An epoch is the writes between two flushes. When power goes in an epoch, all of the earlier epochs
is on the medium, nothing of the later ones, and of its own any subset: a disk may keep writes in a
cache and write them in any order until it is flushed. Subsets are taken of whole writes and of
whole sectors; a sector itself is old or new, but in `torn_states`.

An epoch with few pieces gives every subset. One with many gives every prefix (the order of issue),
every suffix (the other order), each piece missing, each piece alone, and random subsets; what is
more than `most` is drawn from these by the seed.

Source: what dm-log-writes of Linux and CrashMonkey do for block devices. Departures: two writes of
one sector in one epoch never change places, since the later one is issued after the earlier one has
ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from octavo.memory.pagers.medium import Request
from octavo.storage.device import SECTOR, Device, given_device


class Write(NamedTuple):
    """The `number`-th write of its epoch, from 0: `data` at byte `offset`."""

    number: int
    offset: int
    data: bytes


Epoch = list[Write]


class State(NamedTuple):
    """Power went in epoch `epoch`: everything before it is on the medium, and of its own writes the
    pieces in `kept`, in order.
    """

    epoch: int
    kept: tuple[Write, ...]

    @property
    def last(self) -> int:
        """The number of the last write of the epoch of which something was kept, -1 for none."""
        return self.kept[-1].number if self.kept else -1


class RecordingDevice(Device):
    """Passes requests on to `device`; `epochs` has what was written, the last epoch not being
    flushed yet.

    A request that fails is taken to have changed nothing (a FaultyDevice stands before this one,
    not behind it); a flush that fails ends no epoch. A write that ends while a flush is under way
    belongs to the epoch after it.
    """

    def __init__(self, device: Device) -> None:
        given_device(device, "a device to record")
        super().__init__(device.name, device.size, device.read_only, device.removable)
        self.device = device
        self.watchers = device.watchers
        self.epochs: list[Epoch] = [[]]

    @property
    def position(self) -> tuple[int, int]:
        """The epoch, and the number of the next write in it."""
        return len(self.epochs) - 1, len(self.epochs[-1])

    async def _read(self, requests: Sequence[Request]) -> None:
        await self.device.submit(requests)

    async def _write(self, requests: Sequence[Request]) -> None:
        issued = [(place, frames.read()) for _, place, frames in requests]
        await self.device.submit(requests)
        self._note(issued)

    def _note(self, writes: Iterable[tuple[int, bytes]]) -> None:
        epoch = self.epochs[-1]
        for offset, data in writes:
            epoch.append(Write(len(epoch), offset, data))

    def refresh(self) -> None:
        """As the device behind."""
        self.device.refresh()
        self.read_only = self.device.read_only

    async def _flush(self) -> None:
        epoch = self.epochs[-1]
        before = len(epoch)
        await self.device.flush()
        late = [(w.offset, w.data) for w in epoch[before:]]
        del epoch[before:]
        self.epochs.append([])
        self._note(late)

    def close(self) -> None:
        """Closes the device behind."""
        super().close()
        self.device.close()


def states(epochs: Sequence[Epoch], random: Random, most: int = 256) -> Iterator[State]:
    """The states that a power cut can leave, epoch by epoch; at most about `most` subsets of its
    writes and as many of its sectors.

    One seed, the same states. Some are equal in their bytes.
    """
    for number, epoch in enumerate(epochs):
        for pieces in (
            (epoch, sectors(epoch)) if any(len(w.data) > SECTOR for w in epoch) else (epoch,)
        ):
            for mask in subsets(len(pieces), random, most):
                yield State(number, tuple(piece for i, piece in enumerate(pieces) if mask >> i & 1))


def torn_states(epochs: Sequence[Epoch], random: Random, most: int = 16) -> Iterator[State]:
    """States in which one sector besides is half written, at most `most` an epoch: its first bytes
    are new, the others old.

    Disks promise that this does not happen, and some break it. No order of writes helps: it can
    only be told afterwards.
    """
    for number, epoch in enumerate(epochs):
        pieces = sectors(epoch)
        for at in sorted(random.sample(range(len(pieces)), min(most, len(pieces)))):
            torn = pieces[at]._replace(data=pieces[at].data[: random.randrange(1, SECTOR)])
            yield State(number, (*pieces[:at], torn))


def sectors(epoch: Epoch) -> Epoch:
    """The writes of an epoch cut into sectors; each keeps the number of its write."""
    return [
        Write(w.number, w.offset + at, w.data[at : at + SECTOR])
        for w in epoch
        for at in range(0, len(w.data), SECTOR)
    ]


def subsets(count: int, random: Random, most: int) -> list[int]:
    """Subsets of `count` things as bit masks: all of them, if they are at most `most`, otherwise
    the telling ones and random ones.
    """
    if count < most.bit_length():
        return list(range(1 << count))
    whole = (1 << count) - 1
    prefixes = [(1 << i) - 1 for i in range(count + 1)]
    single = [1 << i for i in range(count)]
    designed = list(
        dict.fromkeys(
            [*prefixes, *(whole ^ p for p in prefixes), *single, *(whole ^ s for s in single)]
        )
    )
    if len(designed) > most * 3 // 4:
        designed = [0, whole, *random.sample(designed, most * 3 // 4)]
    drawn = [_random_mask(count, random) for _ in range(most - len(designed))]
    return list(dict.fromkeys([*designed, *drawn]))


def _random_mask(count: int, random: Random) -> int:
    """A subset that keeps few, half or most of the things."""
    share = random.choice((0.15, 0.5, 0.85))
    return sum(1 << i for i in range(count) if random.random() < share)


def replay(
    image: bytearray | memoryview, epochs: Sequence[Epoch], cuts: Iterable[State]
) -> Iterator[State]:
    """Yields each state while `image`, which was the device before the first epoch, is as the state
    has it.

    States come in the order of their epochs. Only what differs is written, and undone afterwards.
    """
    done = 0
    for state in cuts:
        for epoch in epochs[done : state.epoch]:
            for _, offset, data in epoch:
                image[offset : offset + len(data)] = data
        done = max(done, state.epoch)
        undo = [
            (offset, bytes(image[offset : offset + len(data)])) for _, offset, data in state.kept
        ]
        for _, offset, data in state.kept:
            image[offset : offset + len(data)] = data
        try:
            yield state
        finally:
            for offset, old in undo:
                image[offset : offset + len(old)] = old
