"""FAT on the disk: names, times, boundaries between the types, mkfs judged by fsck.fat and mtools,
mtools' images read by us."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import octavo
from octavo.cli.main import run as octavo_run
from octavo.fs.fat.bpb import parse_boot_sector
from octavo.fs.fat.entry import from_dos, new_entry, parse_directory, to_dos
from octavo.fs.fat.mkfs import boot_sector, plan_volume
from octavo.fs.fat.names import (
    LOWER_BASE,
    LOWER_EXTENSION,
    checksum,
    clean_name,
    exact_short,
    fold,
    long_slots,
    make_short,
)
from octavo.status import Status, StatusError
from tests.conftest import blank_image, fsck, make_image, run

MIB = 1 << 20


@pytest.mark.parametrize(
    ("name", "short", "case"),
    [
        ("README.TXT", b"README  TXT", 0),
        ("readme.txt", b"README  TXT", LOWER_BASE | LOWER_EXTENSION),
        ("README.txt", b"README  TXT", LOWER_EXTENSION),
        ("readme", b"README     ", LOWER_BASE),
        ("123.456", b"123     456", 0),
        ("a1~$", b"A1~$       ", LOWER_BASE),
    ],
)
def test_names_that_need_no_long_name(name: str, short: bytes, case: int) -> None:
    """8.3 with the case bits of NT."""
    assert exact_short(name) == (short, case)


@pytest.mark.parametrize(
    "name", ["ReadMe", "a.b.c", "nine chars", "ninechars", "a.long", "ä", "a+b", ".profile", "a."]
)
def test_names_that_need_a_long_name(name: str) -> None:
    """Mixed case, two dots, blanks, other characters."""
    assert exact_short(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "...",
        " ",
        "a/b",
        "a\\b",
        "a:b",
        "a*",
        "a?",
        'a"',
        "a<",
        "a>",
        "a|",
        "a\x00",
        "a\nb",
        "x" * 256,
        "\ud800",
        "😀" * 128,
    ],
)
def test_names_that_cannot_be(name: str) -> None:
    """OBJECT_NAME_INVALID, with the reason."""
    with pytest.raises(StatusError) as caught:
        clean_name(name)
    assert caught.value.status == Status.OBJECT_NAME_INVALID


def test_numeric_tails() -> None:
    """~1 to ~4, then a hash; never one that is taken."""
    taken: set[str] = set()
    shorts = []
    for i in range(40):
        short = make_short(f"Long file name {i}.text", taken)
        text = f"{short[:8].decode().strip()}.{short[8:].decode()}"
        assert text not in taken
        taken.add(text)
        shorts.append(text)
    assert shorts[:4] == [f"LONGFI~{n}.TEX" for n in range(1, 5)]
    assert all(re.fullmatch(r"LO[0-9A-F]{4}~[1-9]\.TEX", s) for s in shorts[4:])


@pytest.mark.parametrize("length", [13, 26, 30])
@pytest.mark.parametrize("units", ["\ud800a", "a\udc00", ".\0", "..\0", "\0"])
def test_a_long_name_that_is_none(units: str, length: int) -> None:
    """The short name counts, in one slot; the slots of the long one are strays."""
    short = b"SHORT      "
    slots = bytearray(long_slots("x" * length, short))
    end = len(slots) - 32  # the first 13 characters are in the last slot
    name = units.encode("utf-16-le", "surrogatepass")
    slots[end + 1 : end + 1 + len(name)] = name
    parsed = parse_directory(bytes(slots) + new_entry("SHORT", 32, (33, 0, 0), short).pack(), False)
    assert [(e.name, e.slot, e.slots) for e in parsed.entries] == [("SHORT", len(slots) // 32, 1)]
    assert parsed.broken == parsed.entries and parsed.strays == [(0, len(slots) // 32)]


@given(
    st.text(
        st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='"*/:<>?\\|'),
        min_size=1,
        max_size=255,
    )
)
def test_long_names_come_back(name: str) -> None:
    """Any name that FAT can store, at every length, also those that fill their slots (13, 26)."""
    try:
        name = clean_name(name)
    except StatusError:
        return
    short = make_short(name, set())
    entry = new_entry(name, 32, (33, 0, 0), short)
    slots = long_slots(name, short)
    assert len(slots) == -(-len(name.encode("utf-16-le")) // 26) * 32
    parsed = parse_directory(slots + entry.pack() + bytes(32), False)
    assert [e.name for e in parsed.entries] == [name]
    assert not parsed.broken and not parsed.strays and parsed.end == len(slots) // 32 + 1


@given(st.binary(min_size=11, max_size=11))
def test_checksum(short: bytes) -> None:
    """Against the definition: rotate right, add."""
    total = 0
    for byte in short:
        total = ((total & 1) << 7 | total >> 1) + byte & 0xFF
    assert checksum(short) == total


def test_fold_keeps_the_length(image: Path) -> None:
    """ß has no one-character upper case, and must not become ss."""
    assert fold("straße") == "STRAßE" and fold("Ünï") == "ÜNÏ"
    for _ in range(2):
        with octavo.open_image(image) as volume:
            for name in ("straße", "strasse"):
                volume.write_bytes(name, name.encode())
            assert [volume.read_bytes(n) for n in ("STRAßE", "Strasse")] == [
                "straße".encode(),
                b"strasse",
            ]
            assert len(volume.entries()) == 2


@given(st.datetimes(datetime(1980, 1, 1), datetime(2107, 12, 31)))
def test_times(moment: datetime) -> None:
    """A time survives, to two seconds; the tenths carry the odd second."""
    date, clock, tenths = to_dos(moment.timetuple(), moment.microsecond / 1e6)
    assert from_dos(date, clock, tenths) == moment.replace(microsecond=tenths % 100 * 10000)
    assert abs((from_dos(date, clock, 0) - moment).total_seconds()) < 2


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 255))
def test_any_time_field(date: int, clock: int, tenths: int) -> None:
    """Damaged fields give some time, and no error."""
    assert from_dos(date, clock, tenths).year >= 1980


@pytest.mark.parametrize(("clusters", "bits"), [(4084, 12), (4085, 16), (65524, 16), (65525, 32)])
def test_the_number_of_clusters_decides_the_type(clusters: int, bits: int) -> None:
    """The boundaries of Microsoft's specification, where many programs are off by one."""
    overhead = {
        12: 1 + 32 + 2 * 12,
        16: 1 + 32 + 2 * -(-(clusters + 2) * 16 // 4096),
        32: 32 + 2 * 512,
    }[bits]
    plan = plan_volume((clusters + overhead) * 512, bits, 512)
    assert plan.clusters == clusters and plan.bits == bits
    sector = boot_sector(plan, b" " * 11, 1)
    assert parse_boot_sector(sector, "x", plan.total * 512).bits == bits
    other = {4084: 16, 4085: 12, 65524: 32}.get(clusters)
    if other:
        with pytest.raises(StatusError):
            plan_volume((clusters + overhead) * 512, other, 512)


SIZES = [
    ("160K", "fat"), ("360K", "fat"), ("720K", "fat"), ("1440K", "fat"), ("2880K", "fat"),
    ("100K", "fat"), ("3M", "fat12"), ("16M", "fat12"),
    ("5M", "fat"), ("32M", "fat16"), ("200M", "fat16"), ("2G", "fat16"), ("40M", "fat32"),
    ("300M", "fat32"), ("1G", "fat"), ("40G", "fat"),
]  # fmt: skip


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize(("size", "kind"), SIZES)
def test_mkfs_is_clean_by_others(
    size: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """fsck.fat and mtools agree with us on the volume, before and after there are files in it."""
    image = tmp_path / "disk.img"
    assert (
        octavo_run(["mkfs", "--size", size, "--type", kind, "--label", "my label", str(image)]) == 0
    )
    said = capsys.readouterr().out
    fsck(image)
    with open(image, "rb") as file:
        head, _, backup = file.read(512), file.read(5 * 512), file.read(512)
    small, hidden, large = (
        int.from_bytes(head[at : at + size], "little") for at, size in ((19, 2), (28, 4), (32, 4))
    )
    wide = "FAT32" in said
    assert (
        (small or large) == image.stat().st_size // 512
        and not (small and large)
        and hidden == 0
        and head[16] == 2
    )
    assert (
        head[64 if wide else 36 :][:3] == (b"\x80" if head[21] == 0xF8 else b"\0") + b"\0\x29"
        and head[510:] == b"\x55\xaa"
    )
    assert not wide or (backup == head and head[40:52] == bytes(4) + b"\2\0\0\0\1\0\6\0")
    info = run("minfo", "-i", image, "::")
    assert f'disk type="{said.split()[1].rstrip(",")}' in info
    assert "MY LABEL" in run("mlabel", "-s", "-i", image, "::").upper()
    with octavo.open_image(image) as volume:
        assert volume.label == "MY LABEL" and volume.entries() == [] and volume.check() == []
        free = volume.space().free
        volume.write_bytes("A file with a long name.txt", b"x" * 70_000)
        assert volume.space().free < free
    fsck(image)
    assert (
        subprocess.run(
            ["mtype", "-i", image, "::A file with a long name.txt"], capture_output=True, check=True
        ).stdout
        == b"x" * 70_000
    )


@pytest.mark.dosfstools
def test_mkfs_over_an_old_volume(tmp_path: Path) -> None:
    """Nothing of the old volume shines through."""
    image = make_image(tmp_path / "disk.img", 40 * MIB, 32)
    with octavo.open_image(image) as volume:
        for i in range(50):
            volume.write_bytes(f"old {i}", os.urandom(50_000))
    assert octavo_run(["mkfs", "--force", "--type", "fat16", str(image)]) == 0
    fsck(image)
    with octavo.open_image(image) as volume:
        assert volume.entries() == [] and volume.kind == "FAT16"


@pytest.mark.mtools
@pytest.mark.dosfstools
def test_volumes_written_by_mtools(tmp_path: Path) -> None:
    """Case bits without long names, long names, deep directories, and times, as mtools writes
    them.
    """
    image = make_image(tmp_path / "disk.img", 16 * MIB, 16)
    source = tmp_path / "tree"
    (source / "sub" / "deeper").mkdir(parents=True)
    files = {
        "lower.txt": b"1",
        "UPPER.TXT": b"2",
        "Mixed Name.txt": b"3" * 5000,
        "sub/deeper/x": b"4" * 100_000,
    }
    for name, data in files.items():
        (source / name).write_bytes(data)
        os.utime(source / name, (1_000_000_000, 1_000_000_000))
    run("mcopy", "-s", "-m", "-i", image, source, "::")
    with octavo.open_image(image, read_only=True) as volume:
        assert {e.name for e in volume.entries("tree")} == {
            "lower.txt",
            "UPPER.TXT",
            "Mixed Name.txt",
            "sub",
        }
        for name, data in files.items():
            assert volume.read_bytes(f"TREE/{name.upper()}") == data
            assert abs(volume.stat(f"tree/{name}").modified.timestamp() - 1_000_000_000) < 2
        assert volume.check() == []


@pytest.mark.mtools
@pytest.mark.dosfstools
def test_times_and_attributes_seen_by_mtools(image: Path) -> None:
    """What we write as time and attribute is what others read."""
    with octavo.open_image(image) as volume:
        volume.write_bytes("stamp.txt", b"x", time.mktime((2001, 9, 9, 1, 46, 40, 0, 0, -1)))
    assert "2001-09-09   1:46" in run("mdir", "-i", image, "::stamp.txt")
    run("mattrib", "+r", "-i", image, "::stamp.txt")
    with octavo.open_image(image) as volume:
        actions: list[Callable[[], object]] = [
            lambda: volume.write_bytes("stamp.txt", b""),
            lambda: volume.remove("stamp.txt"),
        ]
        for action in actions:
            with pytest.raises(StatusError, match="read-only attribute"):
                action()


@pytest.mark.dosfstools
def test_fixed_root_directory_fills_up(tmp_path: Path) -> None:
    """A 160 KiB floppy has 64 slots in its root: DISK_FULL, and the volume is clean."""
    image = blank_image(tmp_path / "floppy.img", 160 * 1024)
    octavo_run(["mkfs", "--force", str(image)])
    with octavo.open_image(image) as volume:
        for i in range(64):
            volume.write_bytes(f"F{i}", b"")
        with pytest.raises(StatusError, match="room for 64 slots") as caught:
            volume.write_bytes("ONEMORE", b"")
        assert caught.value.status == Status.DISK_FULL
        volume.mkdir("x") if volume.exists("x") else volume.remove("F3")
        volume.write_bytes("ONEMORE", b"")
    fsck(image)


@pytest.mark.dosfstools
def test_full_volume(tmp_path: Path) -> None:
    """DISK_FULL before anything is changed; what was there is there, and a removal makes room."""
    image = make_image(tmp_path / "disk.img", 1440 * 1024, 12)
    with octavo.open_image(image) as volume:
        free = volume.space().free
        volume.write_bytes("most.bin", b"m" * (free - 1024))
        with pytest.raises(StatusError) as caught:
            volume.write_bytes("too much.bin", b"x" * 5000)
        assert caught.value.status == Status.DISK_FULL
        assert not volume.exists("too much.bin")
        volume.write_bytes("fits.bin", b"f" * 1024)
        assert volume.space().free == 0
        volume.remove("most.bin")
        assert volume.space().free == free - 1024
    fsck(image)
