"""Batches on volumes that are full, on devices that fail, and with memory that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

import octavo
from octavo.fs.vfs.stage import Stage
from octavo.status import Status, StatusError
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.faulty import FaultyDevice, never
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.volume import VolumeTree
from tests.command import call
from tests.conftest import fsck, make_image
from tests.transfer.copies import OneByOne, contents, copy
from tests.volumes import clusters_of, leave_free, make_volume

CLUSTER = 512


def fill(source: Path) -> int:
    """A tree; the clusters that it takes."""
    (source / "inner").mkdir()
    for i in range(6):
        (source / f"{i}").write_bytes(b"%d" % i * 700)
    (source / "inner" / "a long name of a file.txt").write_bytes(b"i" * 1500)
    return 6 * 2 + 3 + 1 + 1  # one cluster each of the directories


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16, 32])
@pytest.mark.parametrize("short", [0, 1, 3])
def test_the_last_cluster_and_one_beyond(
    bits: int, short: int, source: Path, tmp_path: Path
) -> None:
    """With the last one it fits; without, nothing is begun, or what fits is there as without
    batches, and one sentence.
    """
    needed, path = fill(source), tmp_path / "disk.img"
    image = make_volume(path, {12: 1 << 20, 16: 5 << 20, 32: 34 << 20}[bits], bits, CLUSTER)
    count = clusters_of(image)
    leave_free(image, [3 + count // needed * i for i in range(needed - short)])
    found = []
    for kind in (VolumeTree, OneByOne):
        with octavo.open_image(path) as volume:
            tree = kind(volume, "")
            tree.admit = lambda steps: None  # type: ignore[method-assign]  # which would refuse it
            told = copy(HostTree(), source, tree, "/")[1]
            assert [e.status for e in told] == ([Status.DISK_FULL] if short else [])
            found.append(contents(volume))
            assert all(
                found[-1][path] == (source / path[7:].lower()).read_bytes() for path in found[-1]
            )
            volume.flush()
            assert volume.check() == [] and volume.space().free <= (needed - short) * CLUSTER
            volume.rmtree("source")
            volume.flush()
            assert volume.space().free == (needed - short) * CLUSTER
        fsck(path)
    assert found[0] == found[1]


@pytest.mark.dosfstools
def test_a_root_directory_that_is_full(source: Path, tmp_path: Path) -> None:
    """Of FAT16, which cannot grow: what fits is there, the first that does not is told, the rest is
    counted, and its clusters are free.
    """
    for i in range(40):
        (source / f"{i}").write_bytes(b"x" * 3000)
    path = make_image(tmp_path / "disk.img", 16 << 20, 16)
    with octavo.open_image(path) as volume:
        for i in range(500):
            volume.write_bytes(f"there{i}", b"")
        free = volume.space().free
        plan = plan_copy([(HostTree(), f"{source}/.")], VolumeTree(volume, ""), "/", True)
        error, rest = run_copy(plan)
        assert error.status == Status.DISK_FULL and "the root directory of FAT16" in error.text
        assert rest.text == "the root directory: there is no room for 27 more names"
        assert len(contents(volume)) == 512
        volume.flush()
        assert volume.space().free == free - 12 * 2 * volume.space().unit
    fsck(path)


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 32])
@pytest.mark.parametrize("verb", ["read", "write", "flush"])
def test_a_device_that_fails_at_every_step(
    verb: str, bits: int, source: Path, tmp_path: Path
) -> None:
    """The k-th read, write and flush, for all k: one error, nothing that is half there, and the
    next try succeeds.
    """
    fill(source)
    image = make_volume(tmp_path / "disk.img", (1 if bits == 12 else 34) << 20, bits, CLUSTER)
    with octavo.open_image(tmp_path / "disk.img") as volume:
        volume.write_bytes("before", b"b" * 900)
    base, reached = bytes(image), list[int]()
    for k in range(1, 40):
        buffer = bytearray(base)
        with octavo.boot("2M", seed=k) as system:
            device = FaultyDevice(BufferDisk("disk", buffer))
            volume = system.attach_device(device)
            tree = VolumeTree(volume, "")
            tree.admit = lambda steps: None  # type: ignore[method-assign]  # reads all of the FAT
            first = dict(device.numbers)
            device.plan = lambda v, n: v == verb and n == first[verb] + k
            told = copy(HostTree(), source, tree, "/")[1]
            assert len(told) == len(device.failed) <= 1 or (verb == "read" and not told)
            if told:
                assert set(contents(volume)) == {"/BEFORE"}
            flush(volume, device)
            if not device.failed:
                break
            reached.append(k)
            device.plan = never
            if verb == "flush":  # what it had may be lost: the volume is given up
                system.unmount(volume.letter, discard=True)
                continue
            if told:
                assert copy(HostTree(), source, tree, "/")[1] == []
            assert len(contents(volume)) == 8 and volume.read_bytes("source/5") == b"5" * 700
            volume.flush()
            assert volume.check() == []
            system.check()
    assert len(reached) >= {"read": 1, "write": 4, "flush": 3}[verb] and k < 39


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 32])
def test_names_that_are_there_keep_what_is_below_them(
    bits: int, source: Path, tmp_path: Path
) -> None:
    """The directory of the tops grows, and the k-th write fails, for all k: what has a name by then
    keeps its clusters.
    """
    fill(source)
    for i in range(30):
        (source / f"z a long name of file {i}").write_bytes(b"z" * 600)
    image = make_volume(tmp_path / "disk.img", (1 if bits == 12 else 34) << 20, bits, CLUSTER)
    with octavo.open_image(tmp_path / "disk.img") as volume:
        volume.mkdir("d")
    base, partly = bytes(image), 0
    for k in range(1, 60):
        buffer = bytearray(base)
        with octavo.boot("2M", seed=k) as system:
            device = FaultyDevice(BufferDisk("disk", buffer))
            volume = system.attach_device(device)
            tree, first = VolumeTree(volume, ""), device.numbers["write"]
            device.plan = lambda v, n: v == "write" and n == first + k
            copy(HostTree(), f"{source}/.", tree, "/d")
            failed, device.plan = bool(device.failed), never
            inner = "d/inner/a long name of a file.txt"
            partly += failed and volume.exists(inner)
            volume.write_bytes("after", b"a" * 30_000)
            volume.flush()
            assert not volume.exists("d/inner") or volume.read_bytes(inner) == b"i" * 1500
            assert volume.check() == [], k
        if not failed:
            break
    assert partly and not failed


def flush(volume: octavo.Volume, device: FaultyDevice) -> None:
    """Fails only if the device did."""
    try:
        volume.flush()
    except StatusError:
        assert device.failed


def test_no_memory_for_a_stage(source: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are copied one by one then."""
    from octavo.fs.vfs import stage

    fill(source)
    monkeypatch.setattr(stage, "SHARE", 1 << 30)
    with octavo.open_image(image) as volume:
        plan, told = copy(HostTree(), source, VolumeTree(volume, ""), "/")
        assert told == [] and not any(step.done for step in plan.steps)
        assert len(contents(volume)) == 7
    fsck(image)


def test_bytes_of_a_batch_are_in_frames_that_have_owners(
    source: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a stage goes out, the ledger balances, its pages are in the database, and no more frames
    are in use than there may be.
    """
    for i in range(60):
        (source / f"{i}").write_bytes(bytes([i]) * 50_000)
    send, seen = Stage.send, list[int]()

    async def watched(stage: Stage, pieces: list[tuple[int, int]]) -> None:
        system.memory.check()
        section = stage._section
        assert all(
            system.memory.residency.segments.of(frame)[0].section is section
            for segment in section.segments.values()
            for frame in system.memory.ram.link[segment.base : segment.base + segment.used]
        )
        assert system.memory.frames_in_use <= system.memory.limit
        await send(stage, pieces)
        assert not section.dirty and not section.writes
        seen.append(sum(size for _, size in pieces))

    monkeypatch.setattr(Stage, "send", watched)
    with octavo.boot("4M", disks=[image]) as system:
        assert copy(HostTree(), source, VolumeTree(system.volumes["C:"], ""), "/")[1] == []
        assert sum(seen) >= 60 * 50_000 and max(seen) < 1 << 20
        system.check()
    fsck(image)


@pytest.mark.dosfstools
def test_a_full_root_stops_nobody_else(source: Path, tmp_path: Path) -> None:
    """What has no room in it is told, by its name or counted; other directories get theirs, files
    that are replaced too.
    """
    for name in "yz":
        (source / name).mkdir()
        (source / name / "new").write_bytes(b"n" * 900)
    (source / "z" / "old").write_bytes(b"newer")
    for i in range(20):
        (source / f"f{i}").write_bytes(b"%d" % i)
    image = tmp_path / "disk.img"
    call("mkfs", "--size", "4M", "--type", "fat16", "--root-entries", "16", image)
    call("mkdir", f"{image}:/z", f"{image}:/y")
    with octavo.open_image(image) as volume:
        volume.write_bytes("z/old", b"old")
        errors = copy(HostTree(), f"{source}/.", VolumeTree(volume, ""), "")[1]
        made = {entry.name for entry in volume.entries()}
        assert len(made) == 16 and {"y", "z"} < made
        assert volume.read_bytes("z/old") == b"newer"
        assert volume.read_bytes("z/new") == volume.read_bytes("y/new") == b"n" * 900
    first, rest = [error.text for error in errors]
    assert f"{source}/" in first and "16 slots and they are used up" in first
    assert rest == "the root directory: there is no room for 5 more names"
    fsck(image)
