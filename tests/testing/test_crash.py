"""Power cuts: the states that a recording gives, and a sample of what the crash explorer judges
(`make crash` has more).
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from octavo.machine.clock import VirtualClock
from octavo.status import StatusError
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.crash import (
    RecordingDevice,
    State,
    Write,
    replay,
    sectors,
    states,
    subsets,
    torn_states,
)
from octavo.testing.faulty import FaultyDevice
from octavo.threads.scheduler import Scheduler
from tests.crashes.explorer import KINDS, Explorer, explore
from tests.crashes.model import whole
from tests.crashes.scripts import DESIGNED, designed
from tests.lent import Lent

A, B, C = (bytes([n]) * 512 for n in (1, 2, 3))


def recorded() -> tuple[RecordingDevice, FaultyDevice, bytearray]:
    """Two sectors, with a write and a flush between that fail, then a pair of them, a flush, and a
    sector after it.
    """
    image = bytearray(4 * 512)
    faulty = FaultyDevice(
        BufferDisk("disk", image), lambda verb, n: (verb, n) in (("flush", 1), ("write", 2))
    )
    device, scheduler = RecordingDevice(faulty), Scheduler(VirtualClock(), 1)
    lent = Lent()

    async def work() -> None:
        await device.submit([lent.write(0, A)])
        with pytest.raises(StatusError):
            await device.submit([lent.write(1024, B, C)])
        with pytest.raises(StatusError):
            await device.flush()
        await device.submit([lent.write(512, C), lent.write(1024, B, C)])
        await device.flush()
        await device.submit([lent.write(0, B)])

    scheduler.run(work())
    scheduler.close()
    return device, faulty, image


def test_a_recording_has_epochs() -> None:
    """A write that failed is not in it, a flush that failed ends nothing; the device behind has
    been asked for all of it.
    """
    device, faulty, image = recorded()
    assert device.epochs == [
        [Write(0, 0, A), Write(1, 512, C), Write(2, 1024, B + C)],
        [Write(0, 0, B)],
    ]
    assert device.position == (1, 1)
    assert faulty.failed == [("write", 2), ("flush", 1)]
    assert image == B + C + B + C


def test_the_states_are_all_subsets_of_an_epoch_upon_all_before_it() -> None:
    """Of whole writes and of sectors; never something of an epoch without all that was flushed
    before; the image is as it was after.
    """
    epochs = recorded()[0].epochs
    image = bytearray(4 * 512)
    found = {bytes(image) for _ in replay(image, epochs, states(epochs, Random(1)))}
    zero = bytes(512)
    first = {
        a + c + pair
        for a in (zero, A)
        for c in (zero, C)
        for pair in (zero + zero, B + zero, zero + C, B + C)
    }
    assert found == first | {B + C + B + C}
    assert image == A + C + B + C, "the last epoch's writes are taken back, the earlier ones stay"


def test_the_states_of_a_long_epoch_are_a_sample() -> None:
    """Prefixes, suffixes, one missing and one alone are in it; the seed says which others."""
    masks = subsets(20, Random(1), 200)
    whole_mask = (1 << 20) - 1
    designed = {(1 << i) - 1 for i in range(21)} | {1 << i for i in range(20)}
    assert designed | {whole_mask ^ m for m in designed} <= set(masks)
    assert 150 < len(masks) <= 200
    assert masks == subsets(20, Random(1), 200) != subsets(20, Random(2), 200)
    assert len(subsets(500, Random(1), 100)) <= 100


def test_a_torn_sector_is_part_new() -> None:
    """Exactly one sector differs from a prefix of whole ones, at its end."""
    epoch = [Write(0, 0, A + B)]
    for state in torn_states([epoch], Random(1)):
        torn = state.kept[-1]
        assert torn.offset == 512 * (len(state.kept) - 1)
        assert 0 < len(torn.data) < 512 and sectors(epoch)[len(state.kept) - 1].data.startswith(
            torn.data
        )


def test_what_is_whole() -> None:
    """One of the versions, or one length and each common byte of some version."""
    assert (
        whole(b"old", [b"old", b"newer"])
        and whole(b"nld", [b"old", b"newer"])
        and whole(b"newXX", [b"old", b"newer"])
    )
    assert (
        not whole(b"xld", [b"old", b"newer"])
        and not whole(b"ol", [b"old", b"newer"])
        and not whole(b"", [b"old"])
    )


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_sample_of_power_cuts(bits: int) -> None:
    """Nothing that was flushed is lost, nothing is damaged, and what is untidy is told by the dirty
    flag (docs/crash.md).
    """
    tally = explore(bits, 400, seed=bits, most=24)
    assert tally.states == 400 and tally.torn > 20
    assert not tally.findings, "\n".join(map(str, tally.smallest()))


@pytest.mark.dosfstools
@pytest.mark.parametrize("name", DESIGNED)
def test_each_designed_history(name: str, tmp_path: Path) -> None:
    """Every dangerous thing between two flushes, on FAT12 and on a FAT16 volume that is nearly
    full, with and without the lazy writer's help.
    """
    for kind in (KINDS[0], KINDS[4]):
        explorer = Explorer(kind, tmp_path)
        for lazy in (False, True):
            tally = explorer.explore(explorer.run(designed(name, lazy), 1), name, 1, 20, 200)
            assert not tally.findings, "\n".join(map(str, tally.smallest()))
        explorer.close()


@pytest.mark.dosfstools
@pytest.mark.parametrize("name", ["move", "append", "truncate", "mkdir", "remove and reuse"])
def test_without_barriers_the_explorer_finds_damage(name: str, tmp_path: Path) -> None:
    """The judge's own test: when a disk ignores flushes between the first and the last, states
    break the promise.
    """
    explorer = Explorer(KINDS[0], tmp_path)
    history = explorer.run(designed(name, lazy=False), 1)
    writes = [(w.offset, w.data) for epoch in history.device.epochs for w in epoch]
    history.device.epochs[:] = [[Write(i, *write) for i, write in enumerate(writes)]]
    history.steps[:] = [step._replace(started=(0, 0)) for step in history.steps if not step.flushed]
    history.steps[0] = history.steps[0]._replace(flushed=0)
    tally = explorer.explore(history, name, 1, 100, 1000)
    explorer.close()
    assert tally.faults["silent"] and tally.faults["damaged"]


def test_one_seed_gives_the_same_states(tmp_path: Path) -> None:
    """Bit for bit, from the operations to the subsets."""
    explorer = Explorer(KINDS[0], tmp_path)
    drawn: list[list[State]] = []
    for _ in range(2):
        epochs = explorer.run(designed("move a tree", lazy=True), 3).device.epochs
        drawn.append(list(states(epochs, Random(3), 20)))
    explorer.close()
    assert drawn[0] == drawn[1]
