"""Rare FAT volumes of other programs: sizes of tables, roots, clusters and sectors."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run as octavo_run
from octavo.status import Status, StatusError
from tests.conftest import blank_image, fsck, run
from tests.fs.fat.oddities import MIB, digest, volume_of
from tests.fs.fat.patches import patch
from tests.volumes import fat_of


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
        fat_of(volume).table.search.cursor = fat_of(volume).table.limit - 1
        volume.write_bytes("last.bin", b"2" * 1000)
        assert volume.stat("last.bin").number == fat_of(volume).table.limit - 1
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
    with pytest.raises(StatusError, match="a power of two from [0-9]+ to 262144"):
        octavo_run(["mkfs", "-s", "1G", "--cluster", cluster, str(tmp_path / "x.img")])
    assert not (tmp_path / "x.img").exists()
