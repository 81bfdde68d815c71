"""Room that is taken before it is used, and free space that is watched."""

from __future__ import annotations

from pathlib import Path

import pytest

import octavo
from octavo.files import Volume
from octavo.status import Status, StatusError
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.faulty import FaultyDevice, never
from tests.conftest import fsck
from tests.fs.fat.oddities import volume_of
from tests.volumes import fat_of


def free(volume: Volume) -> int:
    """Free clusters."""
    space = volume.space()
    return space.free // space.unit


def runs(volume: Volume, path: str) -> list[int]:
    """The lengths of the runs that a file has."""
    chain = fat_of(volume).table.chain(volume.stat(path).number, path)
    return [n for _, n in volume.scheduler.run(chain)]


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_files_that_grow_in_turns_have_a_run_each(bits: int, tmp_path: Path) -> None:
    """Where their room was taken before; what is left of it is free at the last close, and what a
    power cut would leave is told by the dirty flag.
    """
    image = volume_of(tmp_path / "x.img", bits)
    with octavo.open_image(image) as volume:
        unit, before = volume.space().unit, free(volume)
        with volume.open("a", "wb") as a, volume.open("b", "wb") as b:
            for file in (a, b):
                file.reserve(30 * unit)
                assert file.size == 0
            assert free(volume) == before - 60
            for _ in range(20):
                a.write(b"a" * unit)
                b.write(b"b" * (unit - 1))
            volume.flush()
            assert volume.check() == []
            with pytest.raises(AssertionError, match="Dirty bit"):
                fsck(image)
        assert free(volume) == before - 40 and volume.check() == []
        assert runs(volume, "a") == runs(volume, "b") == [20]
        with volume.open("a", "r+b") as a, volume.open("a") as again:
            a.reserve(25 * unit)
            a.close()
            assert free(volume) == before - 45 and again.read(1) == b"a"
        assert free(volume) == before - 40
        volume.flush()
        fsck(image)


def test_room_that_there_is_not(tmp_path: Path) -> None:
    """DISK_FULL takes nothing; a file's bytes are in the way of nobody else's."""
    with octavo.open_image(volume_of(tmp_path / "x.img", 12)) as volume:
        before, unit = free(volume), volume.space().unit
        with volume.open("a", "wb") as file:
            for size, status in (
                ((before + 1) * unit, Status.DISK_FULL), (1 << 32, Status.FILE_TOO_LARGE),
                (-1, Status.INVALID_PARAMETER),
            ):  # fmt: skip
                with pytest.raises(StatusError) as caught:
                    file.reserve(size)
                assert caught.value.status == status and free(volume) == before
            file.reserve(before * unit)
            with pytest.raises(StatusError) as caught:
                volume.write_bytes("b", b"b")
            assert caught.value.status == Status.DISK_FULL
            file.truncate(0)
            volume.write_bytes("b", b"b")
        with volume.open("b") as reader, pytest.raises(StatusError) as caught:
            reader.reserve(1)
        assert caught.value.status == Status.ACCESS_DENIED
        assert free(volume) == before - 1


@pytest.mark.dosfstools
@pytest.mark.parametrize("end", ["close", "force", "remove"])
def test_a_volume_that_ends_before_its_room_is_used(end: str, tmp_path: Path) -> None:
    """It is clean then."""
    image = volume_of(tmp_path / "x.img", 16)
    with octavo.boot("8M", disks=[image]) as system:
        volume = system.volumes["C:"]
        file = volume.open("a", "wb")
        file.reserve(100_000)
        file.write(b"some")
        volume.flush()
        if end == "force":
            system.unmount("C:", force=True)
        elif end == "remove":
            volume.remove("a")
            file.close()
            assert volume.check() == []
    fsck(image)
    with octavo.open_image(image) as volume:
        assert volume.exists("a") == (end != "remove") and volume.check() == []


def test_free_space_is_watched(tmp_path: Path) -> None:
    """Whoever waits is woken as soon as a change has taken or given back enough."""
    with octavo.boot("8M", disks=[volume_of(tmp_path / "x.img", 16)]) as system:
        volume, go = system.volumes["C:"], system.scheduler.run
        space = volume.space()
        watch = go(volume.core.watch_space(space.free - 10 * space.unit, space.free))
        assert (watch.low.signalled, watch.high.signalled) == (False, True)
        woken: list[str] = []

        async def wait() -> None:
            await watch.low.wait()
            woken.append("low")
            await watch.high.wait()
            woken.append("high")

        system.scheduler.start(wait(), "watcher")
        volume.write_bytes("a", bytes(10 * space.unit))
        assert (watch.low.signalled, watch.high.signalled) == (False, False) and not woken
        volume.write_bytes("b", b"b")
        go(system.scheduler.sleep(0))
        assert watch.low.signalled and woken == ["low"]
        volume.remove("b")
        assert (watch.low.signalled, watch.high.signalled) == (False, False)
        with volume.open("a"):
            volume.remove("a")
            assert not watch.high.signalled
        go(system.scheduler.sleep(0))
        assert watch.high.signalled and woken == ["low", "high"]
        volume.core.unwatch(watch)
        volume.write_bytes("c", bytes(20 * space.unit))
        assert watch.high.signalled
        for wrong in ((-1, 1), (2, 1), (0, "1")):
            with pytest.raises(StatusError) as caught:
                go(volume.core.watch_space(*wrong))
            assert caught.value.status == Status.INVALID_PARAMETER


def test_what_another_has_taken_is_seen_by_who_watches(tmp_path: Path) -> None:
    """While the volume is locked; where the FAT cannot be read then, once the space was asked
    for.
    """
    data = bytearray(volume_of(tmp_path / "x.img", 16).read_bytes())
    with octavo.boot("8M") as system:
        device = FaultyDevice(BufferDisk("disk", data))
        volume, go = system.attach_device(device), system.scheduler.run
        space = volume.space()
        watch = go(volume.core.watch_space(space.free // 2, space.free))
        with volume.lock(), octavo.boot("8M") as other:
            other.attach_device(BufferDisk("disk", data)).write_bytes("a", bytes(space.free // 3))
        assert not watch.low.signalled and not watch.high.signalled
        with volume.lock(), octavo.boot("8M") as other:
            other.attach_device(BufferDisk("disk", data)).write_bytes("b", bytes(space.free // 3))
        assert watch.low.signalled and not watch.high.signalled
        holder = go(volume.core.lock())
        device.plan = lambda verb, number: verb == "read"
        go(volume.core.unlock(holder))
        device.plan = never
        assert watch.low.signalled and not watch.high.signalled
        volume.remove("b")
        volume.flush()
        assert watch.low.signalled and volume.space().free > space.free // 2
        volume.remove("a")
        volume.flush()
        assert not watch.low.signalled and watch.high.signalled
