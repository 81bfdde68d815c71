"""Many files at once out of a volume: they are what they would be one by one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random

import pytest

import octavo
from octavo.status import Status
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.faulty import FaultyDevice
from octavo.threads.scheduler import Scheduler
from octavo.transfer import host, spread
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import Plan, plan_copy
from octavo.transfer.volume import VolumeTree
from tests.conftest import make_image
from tests.transfer.copies import copy

SIZES = [0, 1, 511, 512, 513, 4096, 4097, 20_000, 70_000]


def scatter(volume: octavo.Volume, random: Random) -> dict[str, bytes]:
    """Files of all sizes, many of them in pieces all over the volume."""
    made = dict[str, bytes]()
    for i in range(30):
        volume.write_bytes(f"hole{i}", bytes(3000 * (1 + i % 3)))
    for folder in ("a", "a/b", "Some Folder"):
        volume.mkdir(folder)
        for i, size in enumerate(SIZES):
            volume.remove(f"hole{len(made)}")
            made[f"{folder}/File {i}.bin"] = random.randbytes(size)
            volume.write_bytes(
                f"{folder}/File {i}.bin", made[f"{folder}/File {i}.bin"], 1e9 + 2 * i
            )
            volume.flush()
    return made


def plan_out(volume: octavo.Volume, out: Path) -> Plan:
    """The copy of all of a volume."""
    return plan_copy([(VolumeTree(volume, ""), "/.")], HostTree(), str(out), True)


@pytest.mark.parametrize(("bits", "size", "cluster"), [(12, 2, 512), (16, 40, 2048), (32, 40, 512)])
@pytest.mark.parametrize("memory", ["1M", "16M"])
def test_scattered_files(
    bits: int, size: int, cluster: int, memory: str, tmp_path: Path, out: Path
) -> None:
    """Bytes and times, in any order on the device; what is larger than a stretch goes by itself."""
    image = make_image(tmp_path / "disk.img", size << 20, bits, cluster)
    with octavo.open_image(image) as volume:
        made = scatter(volume, Random(1))
    with octavo.boot(memory, disks=[image]) as system:
        plan, told = copy(VolumeTree(system.volumes["C:"], ""), "/.", HostTree(), out)
        assert told == []
        left = {step.item.size for step in plan.steps if not step.done}
        assert left <= ({0, *SIZES[6:]} if memory == "1M" else {0}), left  # 0 is of the root
        system.check()
    for path, data in made.items():
        assert (out / path).read_bytes() == data
        assert (out / path).stat().st_mtime == 1e9 + 2 * int(path[-5])


def test_what_the_device_does_not_have_yet_is_copied_too(image: Path, out: Path) -> None:
    """Files that are open or were written lately: what programs see, not what is on the device."""
    with octavo.boot("8M", disks=[image], seed=1) as system:
        volume = system.volumes["C:"]
        for name in "abc":
            volume.write_bytes(name, name.encode() * 5000)
        volume.flush()
        with volume.open("b", "r+b") as file:
            file.write(b"new")
            plan, told = copy(VolumeTree(volume, ""), "/.", HostTree(), out)
        assert told == [] and {s.to[-2:]: s.done for s in plan.steps if not s.item.directory} == {
            "/a": True, "/b": False, "/c": True
        }  # fmt: skip
    assert (out / "b").read_bytes() == b"new" + b"b" * 4997


def test_a_volume_that_changes_after_the_plan_is_read_by_names(image: Path, out: Path) -> None:
    """Clusters may be another's by then."""
    with octavo.open_image(image) as volume:
        for name in "abc":
            volume.write_bytes(name, name.encode() * 5000)
        plan = plan_out(volume, out)
        volume.remove("a")
        volume.write_bytes("other", b"o" * 5000)
        volume.write_bytes("a", b"A" * 5000)
        assert run_copy(plan) == [] and not any(s.done for s in plan.steps if s.item.size)
    assert (out / "a").read_bytes() == b"A" * 5000


@pytest.mark.parametrize(
    ("where", "value"), [(1, 0), (4, 1), (4, 0xFFF0), (4, 0xFFF7), (4, 0xC000), (4, -1)]
)
def test_a_damaged_chain_is_told_and_the_others_are_copied(
    where: int, value: int, image: Path, out: Path
) -> None:
    """It leads to a cluster that is free, to none (also behind the file's last byte), or back."""
    with octavo.open_image(image) as volume:
        for name in "abc":
            volume.write_bytes(name, name.encode() * 5000)
        cluster = volume.stat("b").number
    with open(image, "r+b") as file:
        file.seek(14)
        reserved = int.from_bytes(file.read(2), "little") * 512
        file.seek(reserved + 2 * (cluster + where))
        file.write((cluster if value < 0 else value).to_bytes(2, "little"))
    with octavo.open_image(image, read_only=True) as volume:
        [error] = copy(VolumeTree(volume, ""), "/.", HostTree(), out)[1]
        assert error.status == Status.FILE_CORRUPT_ERROR and "/b" in error.text
    assert sorted(os.listdir(out)) == ["a", "c"]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8])
def test_a_device_that_cannot_be_read_once(k: int, image: Path, out: Path) -> None:
    """What was to be read together is read one by one then."""
    with octavo.open_image(image) as volume:
        for i in range(8):
            volume.write_bytes(f"{i}", b"%d" % i * 200_000)
    with octavo.boot("2M", seed=1) as system:
        device = FaultyDevice(BufferDisk("disk", bytearray(image.read_bytes())))
        volume = system.attach_device(device)
        plan, first = plan_out(volume, out), device.numbers["read"]
        device.plan = lambda verb, n: verb == "read" and n == first + k
        assert run_copy(plan) == [] and device.failed
        system.check()
    assert all((out / f"{i}").read_bytes() == b"%d" % i * 200_000 for i in range(8))


@pytest.mark.parametrize("at", [0, 3, 7])
def test_an_interrupt_keeps_what_is_whole(
    at: int, image: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a file is written: that one and those before it are there."""
    with octavo.open_image(image) as volume:
        for i in range(8):
            volume.write_bytes(f"{i}", b"%d" % i * 3000)
        volume.flush()
        write, seen = host.write_new, list[str]()

        def interrupted(path: str, pieces: list[memoryview], modified: float) -> None:
            seen.append(path)
            if len(seen) == at + 1:
                Scheduler.interrupt(KeyboardInterrupt())
            write(path, pieces, modified)

        monkeypatch.setattr(spread, "write_new", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_copy(plan_out(volume, out))
        assert sorted(os.listdir(out)) == [str(i) for i in range(at + 1)]
        assert all((out / f"{i}").read_bytes() == b"%d" % i * 3000 for i in range(at + 1))


def test_what_is_there_by_now_stays(image: Path, out: Path) -> None:
    """A file that somebody makes after the plan is not written over, and is told; a directory that
    cannot be made takes what is below it.
    """
    with octavo.open_image(image) as volume:
        volume.mkdir("d")
        for path in ("a", "b", "d/c", "e"):
            volume.write_bytes(path, b"new")
        plan = plan_out(volume, out)
        (out / "b").write_bytes(b"theirs")
        (out / "d").write_bytes(b"a file")
        told = run_copy(plan)
        assert [e.status for e in told] == [Status.OBJECT_NAME_COLLISION] * 2
    assert (out / "b").read_bytes() == b"theirs" and (out / "d").read_bytes() == b"a file"
    assert (out / "a").read_bytes() == (out / "e").read_bytes() == b"new"


def test_holes_are_holes(image: Path, out: Path) -> None:
    """Blocks of zeros take no room on the host, also of files that are read together."""
    data = [b"x" * 9000 + bytes(300_000) + b"y", bytes(50_000), b"z" * 4096 + bytes(8192)]
    with octavo.open_image(image) as volume:
        for i, contents in enumerate(data):
            volume.write_bytes(f"{i}", contents)
        volume.flush()
        plan, told = copy(VolumeTree(volume, ""), "/.", HostTree(), out)
        assert told == [] and all(s.done for s in plan.steps if s.item.size)
    for i, contents in enumerate(data):
        assert (out / f"{i}").read_bytes() == contents
        assert (out / f"{i}").stat().st_blocks * 512 <= 16384


def test_times_of_directories_are_set_when_all_is_in_them(image: Path, out: Path) -> None:
    """Also where a file is replaced, one by one."""
    with octavo.open_image(image) as volume:
        volume.mkdir("d")
        for name in "abc":
            volume.write_bytes(f"d/{name}", b"new")
        volume.set_modified("d", 1e9)
        assert copy(VolumeTree(volume, ""), "d", HostTree(), out)[1] == []
        assert (out / "d").stat().st_mtime == 1e9
        assert time.time() - (out / "d").stat().st_ctime < 60
