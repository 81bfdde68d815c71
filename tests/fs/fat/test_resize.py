"""FAT volumes get another size, in place."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import octavo
from octavo.fs.fat.bpb import Geometry, parse_boot_sector
from octavo.fs.fat.mkfs import boot_sector, plan_volume
from octavo.fs.fat.resize import resize_fat
from octavo.fs.fat.sizes import MOST, plan_size
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice, never
from tests.conftest import fsck, make_image, run
from tests.fs.fat.oddities import digest, volume_of
from tests.fs.fat.patches import patch

KIB, MIB = 1 << 10, 1 << 20


def fill(image: Path) -> dict[str, bytes]:
    """Files and directories, some of them fragmented; what is on the volume by path."""
    tree = {}
    with octavo.open_image(image) as volume:
        volume.mkdir("d/e/f", parents=True)
        for i in range(30):
            volume.mkdir(f"d/sub {i}")
        paths = ["a.bin", "d/A long name.txt", "d/e/b.bin", "d/e/f/c.bin", "empty"]
        for n, path in enumerate(paths):
            tree[path] = hashlib.sha256(path.encode()).digest() * (100 * n) if n < 4 else b""
            volume.write_bytes(path, tree[path])
        for _ in range(4):  # in turns
            for path in paths[:4]:
                with volume.open(path, "ab") as file:
                    file.write(b"more of " + path.encode() * 100)
                tree[path] += b"more of " + path.encode() * 100
        volume.remove("a.bin")
        del tree["a.bin"]
        volume.write_bytes("last", b"last" * 3000)
        tree["last"] = b"last" * 3000
    return tree


def judge(image: Path, tree: dict[str, bytes]) -> None:
    """fsck.fat, mtools and Octavo find the volume clean, and every byte."""
    fsck(image)
    for path, data in tree.items():
        found = subprocess.run(
            ["mtype", "-i", image, "::" + path], capture_output=True, check=True
        ).stdout
        assert found == data, path
    with octavo.open_image(image) as volume:
        assert volume.check() == []
        assert {path: volume.read_bytes(path) for path in tree} == tree
        assert len(volume.entries("d")) == 32
        free = volume.space().free
        volume.write_bytes("d/all", bytes(min(free, MIB)))
        volume.remove("d/all")
    fsck(image)


def resize(image: Path, size: int) -> int:
    """As `octavo resize`."""
    with octavo.boot("16M", disks=[image]) as system:
        return system.resize(next(iter(system.volumes)), size).space().total


def geometry(image: Path) -> Geometry:
    """What the boot sector says."""
    with open(image, "rb") as file:
        return parse_boot_sector(file.read(512), "x", 1 << 50)


GROWTHS: list[tuple[dict[str, Any], int]] = [
    ({"size": 160 * KIB, "bits": 12, "cluster": 512}, 400 * KIB),
    ({"size": 1440 * KIB, "bits": 12}, 1800 * KIB),
    ({"size": 8 * MIB, "bits": 16, "cluster": 1024}, 30 * MIB),
    ({"size": 16 * MIB, "bits": 16, "cluster": 2048}, 100 * MIB),
    ({"size": 34 * MIB, "bits": 32, "cluster": 512}, 70 * MIB),
    ({"size": 300 * MIB, "bits": 32, "cluster": 4096}, 1000 * MIB),
]


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize(("variant", "size"), GROWTHS, ids=lambda v: str(v).split(",")[-1])
def test_a_volume_grows_and_shrinks(variant: dict[str, Any], size: int, tmp_path: Path) -> None:
    """Larger FATs, twice, and back again as far as its end is free."""
    image = make_image(tmp_path / "x.img", **variant)
    tree = fill(image)
    before = geometry(image)
    total = resize(image, size)
    assert total > 0.88 * size and image.stat().st_size == size
    judge(image, tree)
    after = geometry(image)
    assert (after.bits, after.cluster, after.serial) == (before.bits, before.cluster, before.serial)
    assert after.size == size
    resize(image, size + size // 10)
    judge(image, tree)
    resize(image, size - size // 10)
    assert image.stat().st_size == size - size // 10
    judge(image, tree)


def test_layouts_fit() -> None:
    """Of any size: data stays where it is, new FATs lie behind the old root directory and have an
    entry for each cluster, and no type gets more than it may have.
    """
    rng, larger, refused = random.Random(1), 0, 0
    for _ in range(3000):
        bits = rng.choice((12, 16, 32))
        cluster = 512 << rng.randrange(6)
        least, most = {12: (1, 4084), 16: (4085, 65524), 32: (65525, 400_000)}[bits]
        size = rng.randrange(least, most + 1) * cluster + rng.randrange(1 << 19)
        try:
            plan = plan_volume(size, bits, cluster, rng.choice((1, 2)))
        except StatusError:
            continue
        g = parse_boot_sector(boot_sector(plan, b" " * 11, 0), "x", size)
        wanted = g.size + rng.choice((512, cluster, rng.randrange(size), rng.randrange(20 * size)))
        try:
            new = plan_size(g, wanted, "x")
        except StatusError as error:
            assert error.status in (Status.INVALID_PARAMETER, Status.NOT_SUPPORTED)
            refused += 1
            continue
        data = new.reserved * 512 + g.fats * new.fat_sectors * 512 + g.root_size
        assert data == g.data_offset + new.moved * cluster
        assert new.clusters == (new.total * 512 - data) // cluster <= MOST[bits]
        assert (new.clusters + 2) * bits <= new.fat_sectors * 512 * 8
        assert g.clusters <= new.clusters and wanted - 512 < new.total * 512 + 512 * (
            wanted if new.clusters == g.fat_size * 8 // bits - 2 else 0
        )
        if new.moved:
            assert new.reserved * 512 >= g.data_offset and new.clusters > g.clusters
            larger += 1
    assert larger > 500 and refused > 100


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize(
    ("variant", "clusters"),
    [
        ({"size": MIB, "bits": 12, "cluster": 512}, 4084),
        ({"size": 20 * MIB, "bits": 16, "cluster": 512}, 65524),
    ],
)
def test_to_the_last_cluster_of_a_type(
    variant: dict[str, Any], clusters: int, tmp_path: Path
) -> None:
    """And no further; the last byte that counts is of that cluster, or of less than one behind."""
    image = make_image(tmp_path / "x.img", **variant)
    tree = fill(image)
    g = geometry(image)
    new = plan_size(g, 1900 * KIB if clusters < 5000 else 32 * MIB, "x")
    most = (new.total + (clusters - new.clusters)) * 512
    while plan_size(g, most, "x").clusters < clusters:
        most += 512
    before = digest(image)
    told = refused(Status.INVALID_PARAMETER, lambda: resize(image, most + 512))
    assert f"1 to {clusters}" in told or f"4085 to {clusters}" in told
    assert digest(image) == before
    resize(image, most)
    assert geometry(image).clusters == clusters and geometry(image).bits == variant["bits"]
    judge(image, tree)
    least = 4085 if clusters > 5000 else 1
    if least > 1:
        refused(Status.INVALID_PARAMETER, lambda: resize(image, geometry(image).place(least + 1)))


def refused(status: Status, call: Callable[[], object]) -> str:
    """The sentence of a call that ends in a status."""
    with pytest.raises(StatusError) as caught:
        call()
    assert caught.value.status == status, caught.value
    return caught.value.text


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_by_less_than_a_cluster_and_by_one(bits: int, tmp_path: Path) -> None:
    """The boot sector says so, and nothing else changes; sizes that are the same change nothing."""
    variant = {12: (1440 * KIB, 2048), 16: (16 * MIB, 2048), 32: (40 * MIB, 512)}[bits]
    image = make_image(tmp_path / "x.img", variant[0], bits, variant[1])
    tree = fill(image)
    g, before = geometry(image), digest(image)
    resize(image, g.size)
    assert digest(image) == before
    for size in (g.size + 512, g.place(g.clusters + 3)):
        resize(image, size)
        assert geometry(image).size <= size and geometry(image).clusters >= g.clusters
        judge(image, tree)


@pytest.mark.dosfstools
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """A damaged volume, one that was not unmounted, one without room, one whose end is in use, one
    with open files, one that can only be read, and what is no FAT volume.
    """
    image = volume_of(tmp_path / "x.img", 16)
    with octavo.open_image(image) as volume:
        unit = volume.space().unit
        volume.write_bytes("full", bytes(volume.space().free - 3 * unit))
    g, before = geometry(image), digest(image)
    assert "more free clusters" in refused(Status.DISK_FULL, lambda: resize(image, 60 * MIB))
    assert "is in use" in refused(Status.DISK_FULL, lambda: resize(image, g.size - 8 * MIB))
    for wrong in (0, 511, -1, 1 << 70, "many"):
        refused(Status.INVALID_PARAMETER, lambda wrong=wrong: resize(image, wrong))  # type: ignore[misc]
    with octavo.boot("8M", disks=[image], read_only=True) as system:
        refused(Status.MEDIA_WRITE_PROTECTED, lambda: system.resize("C:", g.size - 512))
        assert system.volumes["C:"].exists("full")
    with octavo.boot("8M", disks=[image]) as system:
        refused(Status.NO_SUCH_DEVICE, lambda: system.resize("D:", 1 << 20))
        with system.volumes["C:"].open("full"):
            refused(Status.SHARING_VIOLATION, lambda: system.resize("C:", 60 * MIB))
    assert digest(image) == before and image.stat().st_size == g.size
    patch(image, 37, b"\1")
    refused(Status.FILE_CORRUPT_ERROR, lambda: resize(image, 60 * MIB))
    patch(image, 37, b"\0")
    patch(image, g.fat_offset + 30_000, b"\xff\xff")
    assert "check and repair" in refused(Status.FILE_CORRUPT_ERROR, lambda: resize(image, 60 * MIB))


@pytest.mark.fdisk
def test_a_partition_grows_no_further_than_the_table_says(tmp_path: Path) -> None:
    """Up to its end, and not into the next one."""
    image, disk = volume_of(tmp_path / "x.img", 12), tmp_path / "disk.img"
    disk.write_bytes(bytes(4 * MIB))
    subprocess.run(["sfdisk", "-q", disk], input="1M,1200K,1\n,1M,83\n", text=True, check=True)
    with open(disk, "r+b") as file:
        file.seek(MIB)
        file.write(image.read_bytes())
    with octavo.boot("8M", disks=[f"{disk}#1"]) as system:
        letter = next(iter(system.volumes))
        refused(Status.INVALID_PARAMETER, lambda: system.resize(letter, 1201 * KIB))
        volume = system.resize(letter, 1200 * KIB)
        assert volume.read_bytes("d/b.bin") == b"B" * 3000 and volume.check() == []
    assert geometry_of(disk.read_bytes()[MIB:]).size == 1200 * KIB


def geometry_of(data: bytes) -> Geometry:
    """What a boot sector says."""
    return parse_boot_sector(data[:512], "x", len(data))


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16, 32])
@pytest.mark.parametrize("verb", ["read", "write", "flush"])
def test_a_device_that_fails_while_a_volume_grows(verb: str, bits: int, tmp_path: Path) -> None:
    """At its k-th request: the error is told, the volume is the old or the new one, whole, and
    after a repair another try succeeds.
    """
    image = volume_of(tmp_path / "x.img", bits)
    size = geometry(image).size
    large = {12: size + size // 2, 16: size + 4 * MIB, 32: size + 4 * MIB}[bits]
    with open(image, "r+b") as file:
        file.truncate(large)
    original, k, told = image.read_bytes(), 0, True
    while told and k < 40:
        k += 1 if bits < 32 and verb != "read" else 4
        image.write_bytes(original)
        with octavo.boot("8M") as system:
            device = FaultyDevice(ImageDisk(image, system.scheduler))
            device.plan = lambda v, n, k=k: v == verb and n == k  # type: ignore[misc]
            try:
                system.scheduler.run(resize_fat(device, system.cache, large))
            except StatusError as error:
                assert "injected" in error.text  # or a check could not read it
            told = bool(device.failed)
            device.plan = never
            volume = system.attach_device(device)
            assert volume.read_bytes("a.bin") == b"A" * 3000
            assert volume.read_bytes("d/b.bin") == b"B" * 3000
            volume.check(repair=True)
            assert volume.check() == []
            volume = system.resize(volume.letter, large)
            assert volume.read_bytes("d/b.bin") == b"B" * 3000
        fsck(image)
        assert geometry(image).size > size
    assert k > 3


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_image_is_as_long_as_its_volume(
    number: int, bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host is full at the k-th write, or fails, for all k: the image gets its length back while
    the boot sector has the old size, and keeps the new one from then on.
    """
    image = volume_of(tmp_path / "x.img", bits)
    size = geometry(image).size
    original, pwritev, counted = image.read_bytes(), os.pwritev, 0

    def failing(fd: int, buffers: Any, place: int) -> int:
        nonlocal counted
        counted += 1
        if counted == k:
            raise OSError(number, os.strerror(number))
        return pwritev(fd, buffers, place)

    lengths, k = set(), 0
    while counted >= k:
        k += 1
        image.write_bytes(original)
        with octavo.boot("8M", disks=[image]) as system:
            counted, told = 0, False
            monkeypatch.setattr("os.pwritev", failing)
            try:
                system.resize("C:", 2 * size)
            except StatusError as error:
                told = True
                assert error.status in (Status.DISK_FULL, Status.IO_DEVICE_ERROR)
            monkeypatch.undo()
            volume = next(iter(system.volumes.values()))
            assert volume.read_bytes("d/b.bin") == b"B" * 3000
            volume.check(repair=True)
        fsck(image)
        assert image.stat().st_size == geometry(image).size
        lengths.add((told, image.stat().st_size // size))
    assert k > 8 and lengths == {(True, 1), (True, 2), (False, 2)}


@pytest.mark.mtools
def test_what_else_the_boot_sector_says_stays(tmp_path: Path) -> None:
    """Boot code, media, OEM name, label, number, a FAT that is not mirrored; the backup follows."""
    image = volume_of(tmp_path / "x.img", 32)
    with octavo.open_image(image) as volume:
        volume.set_label("kept")
    patch(image, 90, b"boot code" * 20)
    patch(image, 6 * 512 + 90, b"boot code" * 20)
    g = geometry(image)
    patch(image, 40, b"\x81")
    patch(image, 6 * 512 + 40, b"\x81")
    patch(image, g.fat_offset + 8, bytes(4096))  # the other FAT is not looked at
    before = image.read_bytes()[:512]
    resize(image, 50 * MIB)
    after = image.read_bytes()[:512]
    changed = {i for i in range(512) if before[i] != after[i]}
    assert changed <= {14, 15, *range(32, 40), *range(44, 48)}
    assert image.read_bytes()[6 * 512 : 7 * 512] == after
    with octavo.open_image(image) as volume:
        assert volume.label == "KEPT" and volume.read_bytes("d/b.bin") == b"B" * 3000
        assert volume.check() == []
    assert "KEPT" in run("mlabel", "-s", "-i", image, "::")
