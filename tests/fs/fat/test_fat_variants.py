"""Volumes as other makers and other countries leave them: read as they are, or refused with a
sentence, and never made worse.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import struct
import time
from datetime import datetime
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run as octavo_run
from octavo.fs.fat.bpb import parse_boot_sector
from octavo.fs.fat.entry import from_dos, new_entry, parse_directory, to_dos
from octavo.fs.fat.mkfs import make_fat, plan_volume
from octavo.fs.fat.names import long_slots
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from tests.conftest import blank_image, fsck, make_image, run
from tests.fs.fat.test_damaged import filled, patch

__all__ = ["filled"]  # a fixture of test_damaged

MIB = 1 << 20


def digest(image: Path) -> str:
    """The image's contents in short."""
    return hashlib.sha256(image.read_bytes()).hexdigest()


def refuses_every_change(image: Path, why: str) -> list[str]:
    """A volume is read-only for a reason, also for a repair, and nothing in the image changes;
    returns what check says.
    """
    before = digest(image)
    with octavo.open_image(image) as volume:
        assert volume.read_only
        said = [str(problem) for problem in volume.check()]
        assert any(re.search(why, line) for line in said), said
        for change in (
            lambda: volume.check(repair=True),
            lambda: volume.write_bytes("new.bin", b"x"),
            lambda: volume.mkdir("newdir"),
            lambda: volume.remove("a.bin", force=True),
            lambda: volume.rename("a.bin", "c.bin"),
            lambda: volume.set_attributes("a.bin", "r"),
            lambda: volume.open("a.bin", "r+b"),
            lambda: volume.open("new.bin", "xb"),
            lambda: volume.scheduler.run(volume.core.open("new.bin", create=True)),
        ):
            with pytest.raises(StatusError) as caught:
                change()
            assert caught.value.status in (
                Status.MEDIA_WRITE_PROTECTED,
                Status.FILE_CORRUPT_ERROR,
            ), caught.value.text
        with pytest.raises(StatusError, match=why) as caught:
            volume.check(repair=True)
        assert caught.value.status == Status.MEDIA_WRITE_PROTECTED
    assert octavo_run(["check", str(image)]) == 1
    assert digest(image) == before
    return said


# -- 2.1 and 2.2: where clusters are ---------------------------------------------------------------


@pytest.mark.parametrize("count", [65535, 513, 500, 7])
def test_root_entries_that_do_not_fill_whole_sectors(count: int, filled: Path) -> None:
    """Names are listed, as many as there are; nobody can say where contents are: no zeros, no other
    file's bytes.
    """
    patch(filled, 17, struct.pack("<H", count))
    said = refuses_every_change(
        filled, f"its {count} root entries do not fill whole sectors of 512 bytes"
    )
    assert len(said) == 1
    with octavo.open_image(filled) as volume:
        assert [e.name for e in volume.entries()] == ["a.bin", "b.bin", "d"]
        for read in (lambda: volume.read_bytes("a.bin"), lambda: volume.entries("d")):
            with pytest.raises(StatusError, match=f"its {count} root entries") as caught:
                read()
            assert caught.value.status == Status.FILE_CORRUPT_ERROR


def test_root_entries_end_where_they_are_counted(filled: Path) -> None:
    """Slots behind the last one that the boot sector counts are not names, though they are in the
    same sector.
    """
    patch(filled, 17, struct.pack("<H", 2))
    with octavo.open_image(filled) as volume:
        assert [e.name for e in volume.entries()] == ["a.bin", "b.bin"]


FAT_SIZE_AT = {12: (22, "<H"), 16: (22, "<H"), 32: (36, "<I")}


def volume_of(path: Path, bits: int, fats: int = 2) -> Path:
    """A volume of each type, with a.bin and d/b.bin."""
    size, cluster = {12: (MIB, 512), 16: (16 * MIB, 1024), 32: (36 * MIB, 512)}[bits]
    plan = plan_volume(size, bits, cluster, fats)
    with octavo.System("4M") as system:
        device = ImageDisk(blank_image(path, size), system.scheduler)
        system.scheduler.run(make_fat(device, system.cache, plan, "", blank=True))
        device.close()
    with octavo.open_image(path) as volume:
        volume.write_bytes("a.bin", b"A" * 3000)
        volume.mkdir("d")
        volume.write_bytes("d/b.bin", b"B" * 3000)
    return path


@pytest.mark.parametrize("fats", [1, 2])
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_fat_whose_size_is_wrong(bits: int, fats: int, tmp_path: Path) -> None:
    """What follows the FAT is not where it seems: not an empty directory, not clean, and no repair
    of what cannot be seen.
    """
    image = volume_of(tmp_path / "x.img", bits, fats)
    at, kind = FAT_SIZE_AT[bits]
    patch(image, at, struct.pack(kind, 2))
    said = refuses_every_change(
        image,
        r"its FAT has entries for \d+ of \d+ clusters, and what follows it is not where it "
        r"should be",
    )
    assert len(said) == 1
    with octavo.boot(disks=[image]) as system:
        assert any("read-only: its FAT has entries" in line for line in system.log)
    with (
        octavo.open_image(image) as volume,
        pytest.raises(StatusError, match="nobody can say where it is") as caught,
    ):
        volume.entries()
    assert caught.value.status == Status.FILE_CORRUPT_ERROR


@pytest.mark.parametrize("fats", [1, 2])
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_volume_that_was_enlarged_without_its_fat(bits: int, fats: int, tmp_path: Path) -> None:
    """What the FAT reaches is read; the clusters behind it are told, and nothing is changed."""
    image = volume_of(tmp_path / "x.img", bits, fats)
    size = image.stat().st_size
    with octavo.open_image(image) as volume:
        clusters = volume.space().total // volume.space().unit
    grown = (3 if bits == 16 else 2) * size
    os.truncate(image, grown)
    patch(image, 19, bytes(2))
    patch(image, 32, struct.pack("<I", grown // 512))
    said = refuses_every_change(image, r"its FAT has entries for \d+ of \d+ clusters")
    assert "where it should be" not in said[0]
    with octavo.open_image(image) as volume:
        assert (
            volume.read_bytes("a.bin") == b"A" * 3000
            and volume.read_bytes("d/b.bin") == b"B" * 3000
        )
        reached = volume.space().total // volume.space().unit
        assert clusters <= reached < clusters + 512  # the FAT's last sector may have more


def test_fat_that_lacks_one_entry(tmp_path: Path) -> None:
    """The boundary: as many entries as clusters is a sound volume, one fewer is not."""
    image = volume_of(tmp_path / "x.img", 16)
    sectors = struct.unpack_from("<H", image.read_bytes()[:512], 22)[0]
    overhead = 1 + 2 * sectors + 32
    for extra in (0, 1):
        total = overhead + 2 * (sectors * 256 - 2 + extra)
        os.truncate(image, total * 512)
        patch(image, 19, struct.pack("<H", total if total < 65536 else 0))
        patch(image, 32, struct.pack("<I", total if total >= 65536 else 0))
        with octavo.open_image(image) as volume:
            assert volume.read_only == bool(extra)
            if not extra:
                volume.write_bytes("last.bin", b"x" * volume.space().free)
                assert volume.space().free == 0
                volume.remove("last.bin")
                assert volume.check() == []


# -- 2.3: labels -----------------------------------------------------------------------------------


@pytest.mark.mtools
@pytest.mark.parametrize(
    ("bits", "before"), [(12, 0), (12, 40), (16, 300), (32, 0), (32, 15), (32, 16), (32, 5000)]
)
def test_label_in_any_slot_of_the_root_directory(bits: int, before: int, tmp_path: Path) -> None:
    """Windows keeps the label in the root directory only, wherever there was room; mtools agrees
    about it.
    """
    image = volume_of(tmp_path / "x.img", bits)
    with octavo.open_image(image) as volume:
        for i in range(before):
            volume.write_bytes(f"F{i}", b"")
        volume.write_bytes("GONELABL.X", b"")
        volume.write_bytes("MYLABELI.S", b"")
    data = image.read_bytes()
    for name in (b"GONELABLX  ", b"MYLABELIS  "):
        patch(image, data.index(name) + 11, b"\x08")
    patch(image, data.index(b"GONELABLX  "), b"\xe5")
    with octavo.open_image(image) as volume:
        assert volume.label == "MYLABELIS" and volume.check() == []
        assert not volume.exists("MYLABELI.S")
    assert "MYLABELIS" in run("mlabel", "-s", "-i", image, "::")
    patch(image, data.index(b"MYLABELIS  "), b"\xe5")
    with octavo.open_image(image) as volume:
        assert volume.label == ""
    patch(image, 71 if bits == 32 else 43, b"BOOT LABEL ")
    with octavo.open_image(image) as volume:
        assert volume.label == "BOOT LABEL"


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_mkfs_writes_a_label_to_both_places(bits: int, tmp_path: Path) -> None:
    """Whoever looks at one of them finds it."""
    image = tmp_path / "x.img"
    assert (
        octavo_run(["mkfs", "-s", "40M", "-t", f"fat{bits}", "-n", "Two Places", str(image)]) == 0
    )
    data = image.read_bytes()
    assert data.count(b"TWO PLACES ") == (
        3 if bits == 32 else 2
    )  # FAT32 has a copy of its boot sector
    assert data[71 if bits == 32 else 43 :][:11] == b"TWO PLACES "


def test_a_damaged_root_directory_leaves_the_label_of_the_boot_sector(tmp_path: Path) -> None:
    """It can be mounted, so that a check can say what is wrong."""
    image = volume_of(tmp_path / "x.img", 32)
    patch(image, 71, b"BOOT LABEL ")
    patch(image, 32 * 512 + 8, struct.pack("<I", 1))
    with octavo.open_image(image) as volume:
        assert volume.label == "BOOT LABEL" and volume.check()


# -- 2.4: partitions -------------------------------------------------------------------------------


def disk_with(path: Path, parts: list[tuple[int, bytes]]) -> Path:
    """A disk with an MBR and partitions of these types and contents, 1 MiB apart at least."""
    table, body, at = b"", b"", 2048
    for kind, data in parts:
        data = data.ljust(-(-len(data) // MIB) * MIB, b"\0")
        table += struct.pack("<B3xB3xII", 0, kind, at, len(data) // 512)
        body, at = body + data, at + len(data) // 512
    path.write_bytes((bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa").ljust(MIB, b"\0") + body)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        0x01,
        0x04,
        0x06,
        0x0B,
        0x0C,
        0x0E,
        0x11,
        0x14,
        0x16,
        0x1B,
        0x1C,
        0x1E,
        0xEF,
        0x07,
        0xDA,
        0x83,
    ],
)
def test_partition_types(kind: int, filled: Path, tmp_path: Path) -> None:
    """A partition is found for what is in it; what lies before it does not change."""
    disk = disk_with(tmp_path / "disk.img", [(kind, filled.read_bytes())])
    with octavo.open_image(disk) as volume:
        assert volume.read_bytes("a.bin") == b"a" * 3000
        volume.write_bytes("new", b"x")
        assert volume.check() == []
    assert disk.read_bytes()[MIB : 2 * MIB] != filled.read_bytes()[:MIB]
    assert not any(disk.read_bytes()[512:MIB])


def test_the_first_partition_that_has_a_volume(filled: Path, tmp_path: Path) -> None:
    """Not formatted, damaged, and of another type, each before a good one; FAT's types come
    first.
    """
    good = filled.read_bytes()
    bad = good[:11] + bytes(20) + good[31:]
    with octavo.open_image(filled) as volume:
        volume.write_bytes("second", b"2")
    second = filled.read_bytes()
    for parts, expected in [
        ([(6, bytes(MIB)), (6, good)], False),
        ([(6, bad), (0x83, b"\xff" * MIB), (0xEF, good), (6, second)], False),
        ([(0x07, good), (0x0C, second)], True),
        ([(0x83, bytes(MIB)), (0x1E, second), (0x06, good)], True),
        ([(0xEE, bytes(MIB)), (0xEF, second)], True),  # a hybrid of MBR and GPT
        ([(0x0F, good), (0x06, second)], True),
    ]:
        with octavo.open_image(disk_with(tmp_path / "disk.img", parts), read_only=True) as volume:
            assert volume.exists("second") == expected


def test_a_volume_without_partitions_comes_first(filled: Path) -> None:
    """A boot sector that makes sense is one, whatever its last bytes look like as a table."""
    patch(filled, 446, struct.pack("<B3xB3xII", 0, 6, 2048, 2048))
    with octavo.open_image(filled) as volume:
        assert volume.read_bytes("a.bin") == b"a" * 3000 and ", partition" not in volume.core.name


def test_a_sentence_for_each_partition_when_there_is_no_volume(tmp_path: Path) -> None:
    """What is in each of them, and why that is no volume."""
    disk = disk_with(
        tmp_path / "disk.img",
        [(6, bytes(MIB)), (0x83, b"\1" * MIB), (5, bytes(MIB)), (0xEE, bytes(MIB))],
    )
    with pytest.raises(StatusError) as caught, octavo.open_image(disk):
        pass
    assert caught.value.status == Status.UNRECOGNIZED_VOLUME
    parts = caught.value.text.split("; ")
    assert len(parts) == 4 and all(f"partition {i + 1}" in part for i, part in enumerate(parts))
    for i, why in enumerate(["only zeros", "257 bytes per sector", "extended", "GPT"]):
        assert why in parts[i]
    for first, count in ((0, 100), (1 << 31, 100), (2048, 0), (10240, 5)):
        patch(disk, 446 + 8, struct.pack("<II", first, count))
        with pytest.raises(StatusError, match="partition 1"), octavo.open_image(disk):
            pass


@pytest.mark.dosfstools
@pytest.mark.parametrize(
    ("sector", "own"), [(512, 512), (2048, 2048), (4096, 4096), (2048, 512), (4096, 512)]
)
def test_a_table_that_counts_larger_sectors(sector: int, own: int, tmp_path: Path) -> None:
    """The sectors of an MBR are the disk's: the volume is found, read and written; what is before
    it does not change.
    """
    inner = blank_image(tmp_path / "inner.img", 16 * MIB)
    run("mkfs.fat", "-S", str(own), "-F", "16", "-s", "1", inner)
    first = 2048 if sector == 512 else 256
    table = struct.pack("<B3xB3xII", 0, 6, first, 16 * MIB // sector)
    disk = tmp_path / "disk.img"
    head = (bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa").ljust(first * sector, b"\0")
    disk.write_bytes(head + inner.read_bytes())
    with octavo.open_image(disk) as volume:
        volume.write_bytes("a.bin", b"a" * 3000)
    assert disk.read_bytes()[: len(head)] == head
    inner.write_bytes(disk.read_bytes()[len(head) :])
    fsck(inner)
    with octavo.open_image(inner, read_only=True) as volume:
        assert volume.read_bytes("a.bin") == b"a" * 3000


def test_a_volume_of_other_sectors_is_not_where_larger_ones_would_be(
    filled: Path, tmp_path: Path
) -> None:
    """A partition begins at its sector of 512 bytes; what lies at eight times that place is
    another's.
    """
    table = struct.pack("<B3xB3xII", 0, 6, 256, 1000)
    head = (bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa").ljust(256 * 4096, b"\0")
    (tmp_path / "disk.img").write_bytes(head + filled.read_bytes())
    with (
        pytest.raises(
            StatusError, match="has no FAT volume: partition 1 of type 0x06: has only zeros"
        ),
        octavo.open_image(tmp_path / "disk.img"),
    ):
        pass


# -- what has no FAT volume ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "mark", "says"),
    [
        (3, b"NTFS    \0\2\10", "is an NTFS volume, not a FAT volume: use a program that reads it"),
        (3, b"EXFAT   ", "is an exFAT volume"),
        (
            0,
            b"QFI\xfb\0\0\0\3",
            "is a qcow2 image, not a FAT volume: convert it to a raw image first",
        ),
        (0, b"\x1f\x8b\x08", "is compressed by gzip, not a FAT volume: unpack it first"),
        (0, b"\xfd7zXZ\0", "is compressed by xz"),
        (1080, b"\x53\xef", "is an ext2, ext3 or ext4 volume"),
        (32769, b"CD001", "is an ISO 9660 image"),
        (0, b"", "has only zeros where a volume begins"),
        (0, b"0x1000 - 0x2000 usable\n" * 2000, "is text, not the image of a disk"),
        (0, "größer als 4 MiB\n".encode() * 2500, "is text"),
        (0, b"\xff" * 40960, "65535 bytes per sector"),
    ],
)
def test_what_else_an_image_is(at: int, mark: bytes, says: str, tmp_path: Path) -> None:
    """It is named, with what to do; also in a partition."""
    data = (bytes(at) + mark).ljust(40960, b"\0")
    (tmp_path / "x.img").write_bytes(data)
    disk = disk_with(tmp_path / "disk.img", [(6, data)])
    for path, where in ((tmp_path / "x.img", "x.img: "), (disk, "partition 1 of type 0x06: ")):
        with pytest.raises(StatusError) as caught, octavo.open_image(path):
            pass
        assert (
            caught.value.status == Status.UNRECOGNIZED_VOLUME
            and where in caught.value.text
            and says in caught.value.text
        )


@pytest.mark.parametrize("size", [0, 1, 511])
def test_less_than_a_sector(size: int, tmp_path: Path) -> None:
    """Said so, and not that it is empty."""
    (tmp_path / "x.img").write_bytes(b"x" * size)
    with (
        pytest.raises(StatusError, match="has less than 512 bytes") as caught,
        octavo.open_image(tmp_path / "x.img"),
    ):
        pass
    assert caught.value.status == Status.UNRECOGNIZED_VOLUME


# -- 2.5: large clusters ---------------------------------------------------------------------------


def fill_to_the_last_cluster(image: Path) -> None:
    """Files of all sizes around a cluster's until nothing fits, each read back; then one more, and
    all removed.
    """
    contents: dict[str, bytes] = {}
    with octavo.open_image(image) as volume:
        unit = volume.space().unit
        volume.mkdir("deep")
        sizes = [0, 1, unit - 1, unit, unit + 1, 3 * unit + 5]
        while volume.space().free:
            size = min(sizes[len(contents) % len(sizes)], volume.space().free)
            name = f"deep/file {len(contents)}.bin"
            contents[name] = os.urandom(size)
            volume.write_bytes(name, contents[name])
        with pytest.raises(StatusError) as caught:
            volume.write_bytes("more", b"x")
        assert caught.value.status == Status.DISK_FULL
        assert not volume.exists("more") or volume.stat("more").size == 0
    with octavo.open_image(image, read_only=True) as volume:
        assert {f"deep/{e.name}" for e in volume.entries("deep")} == set(contents)
        assert all(volume.read_bytes(name) == data for name, data in contents.items())
        assert volume.check() == []
    fsck(image)
    with octavo.open_image(image) as volume:
        volume.rmtree("deep")
        assert volume.check() == []
    fsck(image)


@pytest.mark.dosfstools
@pytest.mark.parametrize(("bits", "size", "cluster"), [(12, 24, 128), (12, 24, 256)])
def test_large_clusters_by_octavo(bits: int, size: int, cluster: int, tmp_path: Path) -> None:
    """128K and 256K, to the last cluster."""
    image = tmp_path / "x.img"
    assert (
        octavo_run(
            [
                "mkfs",
                "-s",
                f"{size}M",
                "-t",
                f"fat{bits}",
                "--cluster",
                f"{cluster}K",
                "-n",
                "LARGE",
                str(image),
            ]
        )
        == 0
    )
    fsck(image)
    with octavo.open_image(image) as volume:
        assert volume.space().unit == cluster << 10 and volume.label == "LARGE"
    fill_to_the_last_cluster(image)


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize("cluster", [128, 256])
def test_large_clusters_of_fat32(cluster: int, tmp_path: Path) -> None:
    """FSInfo and the copy of the boot sector are in sectors of 4 KiB; mtools reads what is in the
    first and the last cluster.
    """
    image = tmp_path / "x.img"
    assert (
        octavo_run(["mkfs", "-s", "18G", "-t", "fat32", "--cluster", f"{cluster}K", str(image)])
        == 0
    )
    with octavo.open_image(image) as volume:
        volume.write_bytes("first.bin", b"1" * 300000)
    with octavo.open_image(image) as volume:
        volume.core.table.cursor = volume.core.table.limit - 1  # type: ignore[attr-defined]
        volume.write_bytes("last.bin", b"2" * 1000)
        assert volume.stat("last.bin").number == volume.core.table.limit - 1  # type: ignore[attr-defined]
        assert volume.check() == []
    fsck(image)
    for name, data in (("first.bin", b"1" * 300000), ("last.bin", b"2" * 1000)):
        run("mcopy", "-n", "-i", image, f"::{name}", tmp_path / name)
        assert (tmp_path / name).read_bytes() == data


@pytest.mark.dosfstools
@pytest.mark.parametrize(
    ("bits", "sectors", "size"),
    [(12, 32, 20), (12, 64, 20), (12, 128, 20), (16, 1, 20), (32, 1, 300)],
)
def test_sectors_of_4_kib_by_mkfs_fat(bits: int, sectors: int, size: int, tmp_path: Path) -> None:
    """As others make them, up to 512 KiB a cluster."""
    image = blank_image(tmp_path / "x.img", size * MIB)
    run("mkfs.fat", "-F", str(bits), "-S", "4096", "-s", str(sectors), image)
    if bits == 12:
        fill_to_the_last_cluster(image)
        return
    with octavo.open_image(image) as volume:
        volume.write_bytes("a/b".replace("/", "_"), b"x" * 100000)
        assert volume.check() == []
    fsck(image)


@pytest.mark.dosfstools
@pytest.mark.parametrize(
    ("size", "cluster", "bits"),
    [
        ("1G", "128K", 16),
        ("900M", "256K", 12),
        ("20G", "256K", 32),
        ("1G", "8K", 32),
        ("1G", "16K", 16),
        ("1G", "64K", 16),
        ("2880K", "512", 16),
        ("100M", "64K", 12),
    ],
)
def test_the_type_follows_the_cluster_that_is_asked_for(
    size: str, cluster: str, bits: int, tmp_path: Path
) -> None:
    """Without --type, what fits: a large volume with large clusters has too few of them for
    FAT32.
    """
    image = tmp_path / "x.img"
    assert octavo_run(["mkfs", "-s", size, "--cluster", cluster, str(image)]) == 0
    with octavo.open_image(image) as volume:
        assert volume.kind == f"FAT{bits}" and volume.check() == []
    fsck(image)


@pytest.mark.parametrize("value", [0, 3, 0x81, 0xF8, 0xF9, 0xFF])
def test_sectors_per_cluster_that_no_fat_has(value: int, image: Path) -> None:
    """Powers of two up to 128; negative exponents are NTFS's."""
    patch(image, 13, bytes((value,)))
    with pytest.raises(StatusError, match=f"{value} sectors per cluster"), octavo.open_image(image):
        pass


@pytest.mark.parametrize("cluster", ["192K", "512K", "1M", "100"])
def test_clusters_that_mkfs_refuses(cluster: str, tmp_path: Path) -> None:
    """No power of two, larger than Windows makes, no whole sector; nothing is left on the host."""
    with pytest.raises(StatusError, match="a power of two from 512 to 262144"):
        octavo_run(["mkfs", "-s", "1G", "--cluster", cluster, str(tmp_path / "x.img")])
    assert not (tmp_path / "x.img").exists()


# -- 2.6: code pages -------------------------------------------------------------------------------

IN_PAGES = [
    (437, "ÄÖÜ.ÉÑ"), (850, "ÀÁÂÃ.ÐÕÞ"), (852, "ŁÓDŹ.ČĚ"), (866, "ПРИВЕТ.ЖЮФ"), (1252, "ŠŒŽ€.ÝÞ"),
    (932, "ソース.表"), (932, "ｱｲｳ.ﾃｷ"), (936, "中文.文"), (949, "한글.글"),
    (950, "許功蓋.檔"), ("koi8-r", "ХЛЕБ.ЩЯ"), ("shift_jis", "表示.ソ"),
]  # fmt: skip


def short_bytes(name: str, page: str | int) -> bytes:
    """The 11 bytes of a short name."""
    codec = f"cp{page}" if isinstance(page, int) else page
    base, _, extension = name.partition(".")
    raw = base.encode(codec).ljust(8) + extension.encode(codec).ljust(3)
    assert len(raw) == 11
    return b"\x05" + raw[1:] if raw[0] == 0xE5 else raw


@pytest.mark.parametrize(("page", "name"), IN_PAGES)
def test_short_names_in_code_pages(page: str | int, name: str, filled: Path) -> None:
    """Listed, found in any case, in a path and as a pattern, not given twice; a check by the same
    page says nothing.
    """
    data = filled.read_bytes()
    for old, new in ((b"B       BIN", name), (b"D          ", name.partition(".")[0])):
        patch(filled, data.index(old), short_bytes(new, page))
        patch(filled, data.index(old) + 12, b"\0")  # no case bits
    patch(filled, 43, short_bytes(name.partition(".")[0], page))
    with octavo.open_image(filled, codepage=page) as volume:
        base = name.partition(".")[0]
        assert {e.name for e in volume.entries()} == {"a.bin", name, base}
        assert volume.label == base and volume.stat(name).short_name == name
        assert volume.read_bytes(name) == volume.read_bytes(name.lower()) == b"b" * 3000
        assert volume.read_bytes(f"{base.lower()}/inner.txt") == b"inner"
        with pytest.raises(StatusError) as caught:
            volume.mkdir(name)
        assert caught.value.status == Status.OBJECT_NAME_COLLISION
        assert volume.check() == []
        before = volume.read_bytes("a.bin")
        volume.rename("a.bin", name, replace=True)
        assert volume.read_bytes(name) == before and volume.check() == []
    with octavo.boot(disks=[filled], codepage=page) as system:
        assert system.volumes["C:"].read_bytes(name) == before


@pytest.mark.parametrize("page", [437, 850, 852, 866, 932, 949, 1252, 874, 1255])
def test_every_byte_in_every_code_page(page: int) -> None:
    """Names that differ in bytes differ as they are shown, also where the page has no such
    character; 0x05 stands for 0xE5.
    """
    raws = [b"AB" + bytes((b,)) + b"     TXT" for b in range(0x80, 0x100)] + [b"\x05A      TXT"]
    data = b"".join(new_entry("", 32, (33, 0, 0), raw).pack() for raw in raws)
    parsed = parse_directory(data, False, f"cp{page}")
    names = [entry.name for entry in parsed.entries]
    assert len(set(names)) == len(raws) and not parsed.broken
    assert names[-1].removesuffix(".TXT") == b"\xe5A".decode(f"cp{page}", "replace").replace(
        "\ufffd", "\uf0e5"
    )
    for name in names:
        name.encode()


def test_long_names_need_no_code_page(filled: Path) -> None:
    """They are Unicode; Octavo's own short names are ASCII, and the same in every page."""
    with octavo.open_image(filled, codepage=866) as volume:
        volume.write_bytes("Привет, мир.txt", b"1")
        volume.write_bytes("ПРИВЕТ.ЖЮФ", b"2")
        assert all(e.short_name.isascii() for e in volume.entries())
    for page in (437, 932):
        with octavo.open_image(filled, codepage=page) as volume:
            assert (
                volume.read_bytes("привет, МИР.TXT") == b"1"
                and volume.read_bytes("привет.жюф") == b"2"
            )
            assert volume.check() == []


@pytest.mark.parametrize(
    "page",
    [
        "",
        "klingon",
        0,
        -1,
        99999,
        "utf-16",
        "cp037",
        "rot13",
        "idna",
        "utf-8",
        65001,
        "ascii",
        "unicode_escape",
        "base64",
        "a\0b",
        None,
        1.5,
        b"cp437",
    ],
)
def test_code_pages_that_are_none(page: object, filled: Path) -> None:
    """Refused in one sentence, and so are codecs of another kind."""
    with (
        pytest.raises(StatusError, match="is no code page") as caught,
        octavo.open_image(filled, codepage=page),  # type: ignore[arg-type]
    ):
        pass
    assert caught.value.status == Status.INVALID_PARAMETER


def test_verbs_take_a_code_page(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every verb that opens images finds a short name in it, and shows it so; another page's name
    is not there.
    """
    patch(filled, filled.read_bytes().index(b"B       BIN"), short_bytes("ЖЮФ.BIN", 866))
    page, where = ["--codepage", "866"], f"{filled}:/жюф.bin"
    out = tmp_path / "out.bin"
    for call in (
        ["ls", f"{filled}:"], ["attrib", where], ["cat", where], ["cp", where, str(out)],
        ["check", str(filled)], ["df", str(filled)],
        ["mkdir", "-p", f"{filled}:/new"], ["mv", where, f"{filled}:/c.bin"],
        ["boot", str(filled), "-c", "dir"],
    ):  # fmt: skip
        capsys.readouterr()
        assert octavo_run([call[0], *page, *call[1:]]) == 0
        assert call[0] != "ls" or "жюф.bin" in capsys.readouterr().out
    assert out.read_bytes() == b"b" * 3000
    patch(filled, filled.read_bytes().index(b"C       BIN"), short_bytes("ЖЮФ.BIN", 866))
    with octavo.open_image(filled, read_only=True) as volume:
        assert not volume.exists("жюф.bin")
    assert octavo_run(["rm", *page, where]) == 0


@pytest.mark.mtools
def test_short_names_that_mtools_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mtools puts a name into the short entry in its drive's code page."""
    image = make_image(tmp_path / "x.img", 4 * MIB, 12)
    (tmp_path / "rc").write_text(f'drive x: file="{image}" codepage=866\n')
    monkeypatch.setenv("MTOOLSRC", str(tmp_path / "rc"))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    (tmp_path / "in").write_bytes(b"data")
    run("mcopy", tmp_path / "in", "x:/ПРИВЕТ.ЖЮФ")
    with octavo.open_image(image, codepage=866) as volume:
        assert [e.short_name for e in volume.entries()] == ["ПРИВЕТ.ЖЮФ"]
        assert volume.read_bytes("привет.жюф") == b"data" and volume.check() == []


# -- 2.7: attributes -------------------------------------------------------------------------------


@pytest.mark.mtools
def test_attributes_are_set_cleared_and_kept(filled: Path) -> None:
    """Of files and directories; mtools sees the same; what is not asked for stays."""
    with octavo.open_image(filled) as volume:
        before = volume.stat("a.bin").modified
        volume.set_attributes("A.BIN", "rhs")
        volume.set_attributes("d", "H")
        assert volume.stat("a.bin").flags == "rhs-a" and volume.stat("d").flags == "-h-d-"
        volume.set_attributes("a.bin", off="ha")
        volume.set_attributes("b.bin", "r", "r")
    with octavo.open_image(filled) as volume:
        assert [e.flags for e in volume.entries()] == ["r-s--", "----a", "-h-d-"]
        assert volume.stat("a.bin").modified == before and volume.read_bytes("a.bin") == b"a" * 3000
        assert volume.check() == []
    assert run("mattrib", "-i", filled, "::a.bin").split()[:2] == ["S", "R"]


def test_what_read_only_files_refuse(filled: Path) -> None:
    """They are neither written, nor removed, nor replaced, until the attribute is cleared, or by
    force.
    """
    with octavo.open_image(filled) as volume:
        volume.set_attributes("a.bin", "r")
        volume.set_attributes("d", "r")
        for status, change in (
            (Status.ACCESS_DENIED, lambda: volume.write_bytes("a.bin", b"x")),
            (Status.ACCESS_DENIED, lambda: volume.open("a.bin", "ab")),
            (Status.CANNOT_DELETE, lambda: volume.remove("a.bin")),
            (Status.CANNOT_DELETE, lambda: volume.rename("b.bin", "a.bin", replace=True)),
        ):
            with pytest.raises(StatusError, match="read-only attribute") as caught:
                change()
            assert caught.value.status == status
        assert (
            volume.read_bytes("a.bin") == b"a" * 3000 and volume.read_bytes("b.bin") == b"b" * 3000
        )
        volume.remove("d/inner.txt")
        with pytest.raises(StatusError, match="read-only attribute"):
            volume.rmdir("d")
        volume.rename("a.bin", "moved.bin")
        assert volume.stat("moved.bin").flags == "r---a"
        volume.set_attributes("moved.bin", off="r")
        volume.rename("b.bin", "moved.bin", replace=True)
        volume.set_attributes("moved.bin", "r")
        free = volume.space().free
        volume.remove("moved.bin", force=True)
        volume.rmdir("d", force=True)
        assert volume.space().free == free + 4 * 1024 and volume.entries() == []
    with octavo.open_image(filled) as volume:
        assert volume.entries() == [] and volume.check() == []


def test_attributes_that_cannot_be_changed(filled: Path) -> None:
    """Other letters, the root directory, what is not there, a volume that is read-only; nothing is
    changed.
    """
    before = digest(filled)
    with octavo.open_image(filled) as volume:
        for path, letters, status in (
            ("a.bin", "d", Status.INVALID_PARAMETER),
            ("a.bin", "x", Status.INVALID_PARAMETER),
            ("a.bin", "щ", Status.INVALID_PARAMETER),
            ("", "r", Status.ACCESS_DENIED),
            ("nobody", "r", Status.OBJECT_NAME_NOT_FOUND),
            ("d/nobody/x", "r", Status.OBJECT_PATH_NOT_FOUND),
        ):
            with pytest.raises(StatusError) as caught:
                volume.set_attributes(path, letters)
            assert caught.value.status == status
    with (
        octavo.open_image(filled, read_only=True) as volume,
        pytest.raises(StatusError, match="read-only"),
    ):
        volume.set_attributes("a.bin", "r")
    assert digest(filled) == before


def test_attributes_of_an_open_file(filled: Path) -> None:
    """Who has it open goes on writing; what is changed then, and the attribute, are both on the
    medium.
    """
    with octavo.open_image(filled) as volume, volume.open("a.bin", "r+b") as file:
        volume.set_attributes("a.bin", "r", "a")
        file.write(b"new")
        with pytest.raises(StatusError, match="read-only attribute"):
            volume.open("a.bin", "r+b")
    with octavo.open_image(filled) as volume:
        assert (
            volume.stat("a.bin").flags == "r---a"
            and volume.read_bytes("a.bin") == b"new" + b"a" * 2997
        )
        assert volume.check() == []


def test_attrib(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The verb: shows, changes, and refuses what is no change."""
    where = f"{filled}:/a.bin"

    def shown() -> str:
        capsys.readouterr()
        assert octavo_run(["attrib", where]) == 0
        return capsys.readouterr().out.split()[0]

    assert shown() == "----a"
    assert octavo_run(["attrib", where, "-a", "+rh"]) == 0
    assert shown() == "rh---"
    assert octavo_run(["attrib", "--codepage", "850", where, "-R"]) == 0
    assert shown() == "-h---"
    for wrong in ("r", "+", "-d", "+rx", "--force"):
        with pytest.raises(SystemExit) as caught:
            octavo_run(["attrib", where, wrong])
        assert caught.value.code == 2
    assert shown() == "-h---"


# -- 2.8: times ------------------------------------------------------------------------------------

FIRST, LAST = datetime(1980, 1, 1), datetime(2107, 12, 31, 23, 59, 58)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(1979, 12, 31, 23, 59, 59), FIRST), (datetime(1975, 6, 5, 4, 3, 2), FIRST),
        (datetime(1980, 1, 1, 0, 0, 1), FIRST),
        (datetime(1980, 1, 1, 0, 0, 2), datetime(1980, 1, 1, 0, 0, 2)),
        (datetime(2107, 12, 31, 23, 59, 59), LAST),
        (datetime(2108, 1, 1), LAST), (datetime(2150, 7, 8, 9), LAST),
        (datetime(9999, 12, 31), LAST),
    ],
)  # fmt: skip
def test_moments_outside_of_fats_years(moment: datetime, expected: datetime) -> None:
    """The first and the last moment, not the same day of another year."""
    date, clock, _ = to_dos(moment.timetuple())
    assert from_dos(date, clock, 0) == expected


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        (-1, FIRST), (0, FIRST), (-1e20, FIRST), (-math.inf, FIRST), (-(10**400), FIRST),
        (315_360_000, FIRST), (1e10, LAST), (1e20, LAST), (math.inf, LAST),
        (10**400, LAST), (4_400_000_000, LAST), (True, FIRST),
    ],
)  # fmt: skip
def test_any_time_can_be_set(wall: float, expected: datetime, filled: Path) -> None:
    """Brought into FAT's years, by whichever way it is set; the data is what it was to be."""
    with octavo.open_image(filled) as volume:
        volume.write_bytes("new.bin", b"new", modified=wall)
        volume.write_bytes("a.bin", b"over", modified=wall)
        with volume.open("b.bin", "r+b") as file:
            file.write(b"B")
            file.set_modified(wall)
    with octavo.open_image(filled) as volume:
        assert {volume.stat(name).modified for name in ("new.bin", "a.bin", "b.bin")} == {expected}
        assert (
            volume.read_bytes("b.bin") == b"B" + b"b" * 2999
            and volume.read_bytes("a.bin") == b"over"
        )
        assert volume.check() == []


@pytest.mark.parametrize("wall", [math.nan, "yesterday", b"1", [1], 1j])
def test_what_is_no_time(wall: float, filled: Path) -> None:
    """Refused at once: no file, no change, and what is written before and after is kept."""
    with octavo.open_image(filled) as volume:
        for path in ("new.bin", "a.bin"):
            with pytest.raises(StatusError, match="is no time") as caught:
                volume.write_bytes(path, b"x", modified=wall)
            assert caught.value.status == Status.INVALID_PARAMETER
        assert not volume.exists("new.bin")
        with volume.open("b.bin", "r+b") as file:
            file.write(b"B")
            with pytest.raises(StatusError, match="is no time"):
                file.set_modified(wall)
            file.write(b"B")
        assert volume.stat("b.bin").modified.year > 2000
    with octavo.open_image(filled) as volume:
        assert (
            volume.read_bytes("a.bin") == b"a" * 3000
            and volume.read_bytes("b.bin") == b"BB" + b"b" * 2998
        )
        assert volume.check() == []


# -- 2.9 to 2.11: long names and deep trees --------------------------------------------------------


@pytest.mark.dosfstools
@pytest.mark.parametrize("length", [181, 195, 196, 208, 255])
def test_the_longest_names_in_the_smallest_clusters(length: int, tmp_path: Path) -> None:
    """15 to 21 slots, and a cluster of 512 bytes has 16: as many as asked for until the volume is
    full, in root and subdirectory.
    """
    image = volume_of(tmp_path / "x.img", 32)
    names = [f"{i:03}" + "n" * (length - 3) for i in range(25)]
    with octavo.open_image(image) as volume:
        for name in names:
            volume.write_bytes(name, name.encode())
            volume.write_bytes(f"d/{name}", name.encode())
        for name in names[::2]:
            volume.remove(f"d/{name}")
        volume.write_bytes("d/" + "z" * length, b"z")
    with octavo.open_image(image) as volume:
        assert all(volume.read_bytes(name) == name.encode() for name in names)
        assert sorted(e.name for e in volume.entries("d")) == sorted(
            [*names[1::2], "b.bin", "z" * length]
        )
        assert volume.check() == []
    fsck(image)


@pytest.mark.dosfstools
def test_a_thousand_levels(image: Path) -> None:
    """Made, walked, checked and removed; the innermost file is read."""
    path = "/".join(["d"] * 1000)
    with octavo.open_image(image) as volume:
        volume.mkdir(path, parents=True)
        volume.write_bytes(f"{path}/deep.txt", b"deep")
    with octavo.open_image(image) as volume:
        assert volume.read_bytes(f"{path}/deep.txt") == b"deep"
        assert sum(len(entries) for _, entries in volume.walk()) == 1001
        assert volume.check() == []
        assert volume.check(repair=True) == []
    fsck(image)
    patch(image, image.read_bytes().index(b"DEEP    TXT") + 28, struct.pack("<I", 70000))
    with octavo.open_image(image) as volume:
        assert [problem.where for problem in volume.check(repair=True)] == [f"/{path}/deep.txt"]
        assert volume.check() == []
        volume.rmtree("d")
        assert volume.entries() == [] and volume.check() == []


def nest(image: Path, levels: int) -> None:
    """D/D/D... in an empty FAT16 volume, each in a cluster of its own, by hand."""
    data = bytearray(image.read_bytes())
    geometry = parse_boot_sector(bytes(data[:512]), "", len(data))
    for level in range(levels + 1):  # 0 is the root directory
        slots = [(b"D", level + 2)] if level < levels else []
        if level:
            slots = [(b".", level + 1), (b"..", level if level > 1 else 0), *slots]
        at = geometry.place(level + 1) if level else geometry.root_offset
        packed = [
            b"%-11b\x10%b" % (name, bytes(14)) + struct.pack("<HI", cluster, 0)
            for name, cluster in slots
        ]
        data[at : at + 32 * len(packed)] = b"".join(packed)
    table = struct.pack("<H", 0xFFFF) * levels
    for fat in range(geometry.fats):
        at = geometry.fat_offset + fat * geometry.fat_size + 4
        data[at : at + len(table)] = table
    image.write_bytes(data)


@pytest.mark.dosfstools
def test_as_many_levels_as_a_volume_has_clusters(tmp_path: Path) -> None:
    """Each is checked in a moment; what no path can reach is told, in steps and bytes that do not
    grow with the depth's square.
    """
    image = make_image(tmp_path / "disk.img", 16 << 20, 16, 512)
    nest(image, 16_000)
    fsck(image)
    told: list[str] = []
    began = time.process_time()
    with octavo.open_image(image) as volume:
        seen = sum(1 for _ in volume.walk(on_error=lambda error: told.append(error.text)))
        assert volume.check() == []
        with pytest.raises(StatusError) as caught:
            volume.stat("D/" * 2047 + "Dxx")
    assert time.process_time() - began < 30  # 3 here; 8,000 levels took 46
    assert (
        seen == 2049 and len(told) == 1 and "4097 characters, and a path may have 4095" in told[0]
    )
    assert caught.value.status == Status.NAME_TOO_LONG and caught.value.errno == errno.ENAMETOOLONG


@pytest.mark.mtools
@pytest.mark.dosfstools
def test_a_short_name_without_tilde_beside_a_long_one(filled: Path) -> None:
    """It leads to the file, is given to nobody else, and a check says nothing; as other makers and
    NTFS-minded tools write them.
    """
    data = filled.read_bytes()
    at = data.index(b"B       BIN")
    short = data[at : at + 32]
    named = (
        long_slots("Notes of the year.text", b"NOTES   TXT")
        + b"NOTES   TXT"
        + short[11:12]
        + b"\0"
        + short[13:]
    )
    patch(filled, at, named + data[at + 32 : at + 64])  # d's entry goes behind
    with octavo.open_image(filled) as volume:
        assert [e.name for e in volume.entries()] == ["a.bin", "Notes of the year.text", "d"]
        assert volume.stat("notes.txt").name == "Notes of the year.text" and volume.check() == []
        assert (
            volume.read_bytes("NOTES.TXT")
            == volume.read_bytes("notes of the YEAR.text")
            == b"b" * 3000
        )
        for change in (
            lambda: volume.mkdir("notes.txt"),
            lambda: volume.open("Notes.txt", "xb"),
            lambda: volume.rename("a.bin", "NOTES.TXT"),
        ):
            with pytest.raises(StatusError) as caught:
                change()
            assert caught.value.status == Status.OBJECT_NAME_COLLISION
        volume.write_bytes("notes.txt", b"over")
        volume.write_bytes("Notes.txt.bak", b"other")
        assert volume.read_bytes("Notes of the year.text") == b"over" and volume.check() == []
        shorts = [e.short_name for e in volume.entries()]
        assert len(set(shorts)) == len(shorts) == 4
    assert "Notes of the year.text" in run("mdir", "-i", filled, "::")
    fsck(filled)
    with octavo.open_image(filled) as volume:
        volume.remove("NOTES.TXT")
        volume.write_bytes("NOTES.TXT", b"new")
        assert volume.read_bytes("notes.txt") == b"new" and not volume.exists(
            "Notes of the year.text"
        )
        assert volume.check() == []
    fsck(filled)


@pytest.mark.dosfstools
def test_a_repair_gives_no_name_that_a_later_entry_has(filled: Path) -> None:
    """Only the twin gets another name, and its contents stay; whoever has the next name keeps
    it.
    """
    with octavo.open_image(filled) as volume:
        for i in range(1, 4):
            volume.write_bytes(f"a~{i}.bin", bytes((i,)))
        volume.write_bytes("A long name.bin", b"long")
    patch(filled, filled.read_bytes().index(b"B       BIN"), b"A       BIN")
    with octavo.open_image(filled) as volume:
        assert len(volume.check(repair=True)) == 1 and volume.check() == []
        names = [e.name for e in volume.entries()]
        assert names[0] == "a.bin" and names[2:] == [
            "d",
            "a~1.bin",
            "a~2.bin",
            "a~3.bin",
            "A long name.bin",
        ]
        assert volume.read_bytes(names[1]) == b"b" * 3000
        assert [volume.read_bytes(f"a~{i}.bin") for i in range(1, 4)] == [b"\x01", b"\x02", b"\x03"]
    fsck(filled)
