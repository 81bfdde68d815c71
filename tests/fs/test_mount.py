"""Which partition is mounted, and what is told when none is: bounded, in one sentence each."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

import octavo
from octavo.fs.fat.mkfs import make_fat, plan_volume
from octavo.fs.mount import MOST_TOLD, MOST_TRIED, mount
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.faulty import FaultyDevice
from tests.conftest import blank_image, fsck, run
from tests.storage.tables import (
    EFI,
    LINUX,
    gpt_disk,
    gpt_entry,
    gpt_header,
    mbr_disk,
    table_sector,
)

SECTORS = 1440 * 2


def refused(data: bytes | bytearray) -> str:
    """What is told of a disk that has no volume."""
    with octavo.boot("4M") as system, pytest.raises(StatusError) as caught:
        system.attach_device(BufferDisk("disk", bytearray(data), read_only=True))
    assert caught.value.status == Status.UNRECOGNIZED_VOLUME and "\n" not in caught.value.text
    return caught.value.text


def test_a_gpt_of_any_kinds(image: Path) -> None:
    """FAT's types first, then the others in their order; names in sentences; a backup is enough."""
    inner = image.read_bytes()
    blank = bytes(512 * 40)
    disk = gpt_disk(
        [gpt_entry(100, 139), gpt_entry(140, 32907, LINUX), gpt_entry(40, 60, EFI)], 512, 40000
    )
    disk[140 * 512 : 140 * 512 + len(inner)] = inner
    for change in (b"", b"broken"):
        disk[520 : 520 + len(change)] = change
        with octavo.boot("4M") as system:
            volume = system.attach_device(BufferDisk("disk", disk))
            volume.write_bytes("a", b"x" * 5000)
            assert volume.core.name == "disk, partition 2" and volume.check() == []
            assert volume.kind.startswith("FAT")
    assert disk[100 * 512 : 140 * 512] == blank
    disk[140 * 512 : 141 * 512] = bytes(512)
    text = refused(disk)
    assert text.startswith("disk: has no FAT or ext2 volume: partition 1 of type Linux: has only")
    assert "partition 3 of type EFI system: has only zeros" in text
    assert "the GPT header in sector 1 claims to have 28261 bytes: its backup is used" in text


def test_sentences_are_bounded() -> None:
    """As many as are told, and one more; the rest is counted."""
    for count, more in ((MOST_TOLD, False), (MOST_TOLD + 1, True)):
        disk = mbr_disk(
            {0: [(5, 100, 19000)]}
            | {100 + 20 * i: [(6, 2, 8), (5, 20 * (i + 1), 20)] for i in range(count - 1)}
            | {100 + 20 * (count - 1): [(6, 2, 8)]}
        )
        told = refused(disk).split("; ")
        assert len(told) == MOST_TOLD + more and ("and 1 more" in told) == more


def test_tries_are_bounded() -> None:
    """The last partition that is tried has a volume, and the one after it."""
    rows = [gpt_entry(3000 + i, 3000 + i) for i in range(299)]
    floppy = bytearray(1440 << 10)
    with octavo.boot("4M") as system:
        device = BufferDisk("floppy", floppy)
        system.scheduler.run(make_fat(device, system.cache, plan_volume(len(floppy)), "", False))
    for index, found in ((MOST_TRIED - 1, True), (MOST_TRIED, False)):
        with_volume = list(rows)
        with_volume[index] = gpt_entry(4000, 4000 + SECTORS - 1)
        disk = large_gpt(with_volume, 8000)
        disk[4000 * 512 : 4000 * 512 + len(floppy)] = floppy
        if found:
            with octavo.boot("4M") as system:
                volume = system.attach_device(BufferDisk("disk", disk, read_only=True))
                assert volume.core.name == f"disk, partition {index + 1}"
        else:
            told = refused(disk).split("; ")
            assert told[-1] == f"and {MOST_TRIED + 2 - MOST_TOLD} more"  # the backup, the tries
            assert all(f"partition {i + 1} " in told[i] for i in range(MOST_TOLD))


def large_gpt(rows: list[bytes], sectors: int) -> bytearray:
    """A GPT of as many entries as there are rows, without a backup."""
    array = b"".join(rows)
    disk = bytearray(sectors * 512)
    disk[:512] = table_sector([(0xEE, 1, sectors - 1)])
    disk[512:604] = gpt_header(1, sectors - 1, 2, array, len(rows), 128)
    disk[1024 : 1024 + len(array)] = array
    return disk


def test_reads_that_fail(image: Path, tmp_path: Path) -> None:
    """The k-th read of a disk with partitions fails: it is told, or another partition is taken;
    mounted once more, the volume is there.
    """
    disk = tmp_path / "disk.img"
    chain = {0: [(6, 40, 50), (5, 100, 39000)], 100: [(6, 40, 32768)]}
    data = bytearray(mbr_disk(chain, 40000))
    data[140 * 512 : 140 * 512 + image.stat().st_size] = image.read_bytes()
    disk.write_bytes(data)
    failed = 0
    for k in range(1, 12):
        with octavo.boot("4M") as system:
            device = FaultyDevice(ImageDisk(disk, system.scheduler, read_only=True))
            device.plan = lambda verb, number: (verb, number) == ("read", k)
            try:
                volume = system.attach_device(device)
            except StatusError as error:
                failed += 1
                assert error.status in (Status.IO_DEVICE_ERROR, Status.UNRECOGNIZED_VOLUME)
                assert "\n" not in error.text
            else:
                assert volume.core.name.endswith("partition 5")
            system.check()
        with octavo.open_image(disk, read_only=True) as again:
            assert again.core.name.endswith("partition 5")
    assert failed > 2


@pytest.mark.parametrize("gpt", [False, True])
def test_a_volume_that_is_not_taken_is_let_go_of(gpt: bool, image: Path) -> None:
    """The k-th read fails of a disk that has a volume as a whole, and one in a partition: nobody
    hears of its medium any more, whatever was told.
    """
    size = image.stat().st_size
    disk = bytearray(image.read_bytes() * 2)
    disk[446:512] = table_sector([(0xEE if gpt else 6, 1 if gpt else size // 512, size // 512)])[
        446:
    ]
    if gpt:
        rows = [gpt_entry(size // 512, 2 * size // 512 - 1)]
        disk[512:604] = gpt_header(1, len(disk) // 512 - 1, 2, b"".join(rows), 1, 128)
        disk[1024:1152] = rows[0]
    for k in range(1, 20):
        with octavo.boot("4M") as system:
            device = FaultyDevice(BufferDisk("disk", disk, read_only=True))
            device.plan = lambda verb, number: (verb, number) == ("read", k)
            try:
                volume = system.scheduler.run(mount(device, system.cache))
            except StatusError:
                assert device.watchers == []
            else:
                assert len(device.watchers) == 1
                system.scheduler.run(volume.unmount(discard=True))
            system.check()
        if not device.failed:
            break
    assert 2 < k < 19


@pytest.mark.dosfstools
def test_a_whole_volume_whose_table_leads_to_itself(tmp_path: Path) -> None:
    """As mkfs.fat makes it for programs that want a table: one entry, from sector 0 on."""
    disk = blank_image(tmp_path / "disk.img", 16 << 20)
    run("mkfs.fat", "--mbr=y", disk)
    before = disk.read_bytes()[:512]
    assert struct.unpack_from("<II", before, 454) == (0, (16 << 20) // 512)
    with octavo.open_image(disk) as volume:
        volume.write_bytes("a", b"a" * 5000)
    assert disk.read_bytes()[440:512] == before[440:512]
    fsck(disk)


def test_an_isohybrid_image(tmp_path: Path, image: Path) -> None:
    """Its first partition begins at sector 0, where no volume is; that for EFI is taken."""
    first, inner = 400, image.read_bytes()
    disk = bytearray(first * 512) + inner
    disk[:512] = table_sector([(0x17, 0, len(disk) // 512), (0xEF, first, len(inner) // 512)])
    disk[32769:32774] = b"CD001"
    with octavo.boot("4M") as system:
        volume = system.attach_device(BufferDisk("disk", disk, read_only=True))
        assert volume.core.name == "disk, partition 2" and volume.check() == []


def test_a_plain_volume_loads_no_other_format(image: Path) -> None:
    """A listing of a FAT volume imports neither ext2 nor the readers of partition tables."""
    program = (
        "import sys; from octavo.cli.main import run; assert run(['ls', sys.argv[1] + ':']) == 0; "
        "print(*[m for m in sys.modules if m.startswith(('octavo.fs', 'octavo.storage'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, image], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "octavo.fs.fat.volume" in loaded and "octavo.storage.image" in loaded
    assert not [m for m in loaded if m.startswith(("octavo.fs.ext", "octavo.storage.part"))]
