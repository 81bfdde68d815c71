"""Damaged images: one sentence and exit code 1, the rest stays readable, nothing hangs, nothing is
allocated without bound.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import octavo
from octavo.cli.main import run as octavo_run
from octavo.fs.fat.bpb import parse_boot_sector
from octavo.fs.fat.entry import parse_directory
from octavo.fs.fat.mkfs import plan_volume
from octavo.status import Status, StatusError
from tests.fs.fat.patches import FAT_OFFSET, data_offset, fat_bytes, patch, root_offset, set_fat


def refused(image: Path, path: str) -> str:
    """The sentence with which reading a file or directory fails; the image can be listed all the
    same.
    """
    with octavo.open_image(image, read_only=True) as volume:
        volume.entries()
        with pytest.raises(StatusError) as caught:
            if "." in path:
                volume.read_bytes(path)
            else:
                volume.entries(path)
        assert caught.value.status == Status.FILE_CORRUPT_ERROR
        assert volume.read_bytes("a.bin") == b"a" * 3000
        assert volume.check()
    return caught.value.text


def checked(image: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What check prints; its exit code is 1."""
    capsys.readouterr()
    assert octavo_run(["check", str(image)]) == 1
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("at", "data", "says"),
    [
        (11, b"\0\0", "0 bytes per sector"),
        (11, b"\x01\x02", "513 bytes per sector"),
        (13, b"\0", "0 sectors per cluster"),
        (13, b"\x03", "3 sectors per cluster"),
        (14, b"\0\0", "no reserved sectors"),
        (16, b"\0", "0 file allocation tables"),
        (16, b"\xff", "255 file allocation tables"),
        (17, b"\0\0", "no root directory entries"),
        (19, b"\x05\0", "do not fit into 5 sectors"),
        (21, b"\x10", "media byte 0x10"),
        (22, b"\xff\xff", "do not fit"),
        (0, bytes(512), "0 bytes per sector"),
        (0, b"\xff" * 512, "65535 bytes per sector"),
    ],
)
def test_boot_sector(image: Path, at: int, data: bytes, says: str) -> None:
    """Refused at open, and the sentence names the field."""
    patch(image, at, data)
    with pytest.raises(StatusError, match=says) as caught, octavo.open_image(image):
        pass
    assert caught.value.status == Status.UNRECOGNIZED_VOLUME
    assert "\n" not in caught.value.text


def test_chain_that_loops(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """5 -> 6 -> 5."""
    set_fat(filled, 6, 5)
    assert "never ends" in refused(filled, "b.bin")
    assert "never ends" in checked(filled, capsys)


def test_chain_that_points_outside(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To a cluster that is not there."""
    set_fat(filled, 6, 0xFFE0)
    assert "outside the volume" in refused(filled, "b.bin")
    assert "outside the volume" in checked(filled, capsys)


@pytest.mark.parametrize(("value", "says"), [(0, "free"), (0xFFF7, "bad"), (1, "cluster 1")])
def test_chain_into_nothing(filled: Path, value: int, says: str) -> None:
    """To a free or bad cluster."""
    set_fat(filled, 6, value)
    assert says in refused(filled, "b.bin")


def test_chain_too_short(filled: Path) -> None:
    """Never short data without an error; and such a file is not removed, since its clusters may be
    another's.
    """
    set_fat(filled, 5, 0xFFFF)
    assert "claims 3000 bytes" in refused(filled, "b.bin")
    with octavo.open_image(filled) as volume, pytest.raises(StatusError, match="run check"):
        volume.remove("b.bin")


def test_cross_links(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """b.bin goes on into a.bin."""
    set_fat(filled, 5, 3)
    out = checked(filled, capsys)
    assert "/b.bin: shares cluster 3 with /a.bin" in out
    assert "2 clusters are in use and belong to no file" in out


def test_directory_that_contains_itself(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """inner.txt in d becomes a directory at d's own cluster."""
    at = data_offset(filled, 8) + 64
    patch(filled, at + 11, b"\x10")
    patch(filled, at + 26, struct.pack("<H", 8))
    with octavo.open_image(filled, read_only=True) as volume:
        assert [e.name for e in volume.entries("d")] == ["inner.txt"]
        with pytest.raises(StatusError, match="contains itself"):
            volume.entries("d/inner.txt")
        with pytest.raises(StatusError, match="contains itself"):
            list(volume.walk())
    assert octavo_run(["ls", "-r", f"{filled}:"]) == 1
    assert "contains itself" in capsys.readouterr().err
    assert "shares cluster 8 with /d" in checked(filled, capsys)


def test_directory_without_a_cluster(filled: Path) -> None:
    """Cluster 0 would be the root."""
    at = root_offset(filled)
    root = filled.read_bytes()[at : at + 512]
    slot = root.index(b"D          \x10")
    patch(filled, at + slot + 26, b"\0\0")
    assert "no cluster" in refused(filled, "d")


def test_long_name_with_a_bad_checksum(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The short name is there."""
    with octavo.open_image(image) as volume:
        volume.write_bytes("A long name.txt", b"x")
    patch(image, root_offset(image) + 13, b"\x00")
    with octavo.open_image(image, read_only=True) as volume:
        assert [e.name for e in volume.entries()] == ["ALONGN~1.TXT"]
        assert volume.read_bytes("alongn~1.txt") == b"x"
    assert "the long name of ALONGN~1.TXT is damaged" in checked(image, capsys)


def test_names_that_would_lead_out_of_a_directory(image: Path, tmp_path: Path) -> None:
    """Slashes in a short and in a long name: shown as "_" or by the short name, and what is copied
    out stays inside.
    """
    with octavo.open_image(image) as volume:
        volume.write_bytes("AAAA", b"short")
        volume.write_bytes("a long name.txt", b"long")
    data = image.read_bytes()
    at = root_offset(image)
    patch(image, data.index(b"AAAA   ", at), b"../A")
    patch(image, data.index("a long".encode("utf-16-le")[:10], at), "../ng".encode("utf-16-le"))
    with octavo.open_image(image, read_only=True) as volume:
        assert [e.name for e in volume.entries()] == [".._A", "ALONGN~1.TXT"]
        assert volume.read_bytes(".._a") == b"short" and len(volume.check()) == 2
    (tmp_path / "out").mkdir()
    assert octavo_run(["cp", "-r", f"{image}:/", str(tmp_path / "out")]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".._A", "ALONGN~1.TXT"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk.img", "out"]


def test_fat_copies_that_differ(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One bit in the second FAT."""
    patch(filled, FAT_OFFSET + fat_bytes(filled) + 100, b"\x01")
    assert "FAT 2 differs from FAT 1" in checked(filled, capsys)


def test_dirty_flag(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Told by check; not cleared by us, since we did not mend anything."""
    patch(filled, 37, b"\x01")
    assert "was not unmounted" in checked(filled, capsys)
    with octavo.open_image(filled) as volume:
        volume.write_bytes("new", b"x")
    assert filled.read_bytes()[37] == 1


def test_dot_entries(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ ".." that points elsewhere."""
    patch(filled, data_offset(filled, 8) + 32 + 26, b"\x07\x00")
    assert '/d: ".." points to cluster 7 instead of 0' in checked(filled, capsys)


def test_truncated_image(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is there can be read, what is not is an error, nothing can be written."""
    with octavo.open_image(filled) as volume:
        volume.write_bytes("big.bin", bytes(8 << 20))
    with open(filled, "r+b") as file:
        file.truncate(4 << 20)
    with octavo.open_image(filled) as volume:
        assert volume.read_only
        assert volume.read_bytes("a.bin") == b"a" * 3000
        with pytest.raises(StatusError, match=r"big\.bin.*the device ends at byte 4194304"):
            volume.read_bytes("big.bin")
        with pytest.raises(StatusError, match="shorter than its volume"):
            volume.write_bytes("x", b"y")
    assert "/big.bin: has clusters behind the end of the device" in checked(filled, capsys)
    with open(filled, "r+b") as file:
        file.truncate(3000)
    with pytest.raises(StatusError, match="its tables need"), octavo.open_image(filled):
        pass


def test_end_of_directory_followed_by_garbage(image: Path) -> None:
    """What lies behind the first 0 is not always 0: a new name must not bring it to life."""
    at = root_offset(image)
    patch(image, at, bytes(32) + b"GARBAGE TXT\x20" + bytes(14) + b"\x02\0" + struct.pack("<I", 9))
    with octavo.open_image(image) as volume:
        assert volume.entries() == []
        volume.write_bytes("new.txt", b"x")
        assert [e.name for e in volume.entries()] == ["new.txt"]
    with octavo.open_image(image) as volume:
        assert [e.name for e in volume.entries()] == ["new.txt"]
        assert volume.check() == []


def test_mbr(tmp_path: Path, image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A volume behind a partition table; a table that lies; GPT."""
    disk = tmp_path / "mbr.img"
    entry = struct.pack("<B3xB3xII", 0x80, 6, 2048, image.stat().st_size // 512)
    disk.write_bytes(
        (bytes(446) + entry + bytes(48) + b"\x55\xaa").ljust(2048 * 512, b"\0") + image.read_bytes()
    )
    with octavo.open_image(disk) as volume:
        volume.write_bytes("in partition.txt", b"yes")
    with octavo.open_image(disk, read_only=True) as volume:
        assert volume.read_bytes("IN PARTITION.TXT") == b"yes"
    patch(disk, 446 + 8, struct.pack("<I", 1 << 30))
    with (
        pytest.raises(StatusError, match="partition 1 begins at sector 1073741824"),
        octavo.open_image(disk),
    ):
        pass
    patch(disk, 446 + 4, b"\xee")
    with pytest.raises(StatusError, match="GPT"), octavo.open_image(disk):
        pass


@given(st.binary(max_size=512), st.integers(0, 1 << 40))
def test_any_boot_sector(data: bytes, size: int) -> None:
    """A geometry or a StatusError, and a geometry lies inside the device and makes sense."""
    try:
        g = parse_boot_sector(data, "x", size)
    except StatusError:
        return
    assert g.data_offset <= size and 1 <= g.clusters <= g.fat_size * 8 // g.bits


@given(
    st.lists(
        st.one_of(
            st.binary(min_size=32, max_size=32),
            st.sampled_from(
                [b"\x41A\0" + bytes(8) + b"\x0f" + bytes(20), b"FILE    TXT" + bytes(21)]
            ),
        )
    )
)
def test_any_directory(slots: list[bytes]) -> None:
    """Parses anything; slots of entries are inside the directory and do not overlap."""
    parsed = parse_directory(b"".join(slots), True)
    taken: set[int] = set()
    for entry in parsed.entries:
        mine = set(range(entry.slot, entry.slot + entry.slots))
        assert not mine & taken and max(mine) < len(slots)
        taken |= mine
        assert entry.modified and entry.created and entry.flags
        entry.name.encode()


@settings(max_examples=150)
@given(st.data())
def test_random_damage(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A few bytes of the metadata changed: every operation ends, with a result or a StatusError,
    and the ledger balances.
    """
    path = tmp_path_factory.mktemp("damage") / "disk.img"
    path.write_bytes(small_image(tmp_path_factory))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(
            st.one_of(
                st.integers(0, 90), st.integers(512, 512 + 3 * 512), st.integers(512 * 7, 512 * 60)
            )
        )
        patch(path, at, data.draw(st.binary(min_size=1, max_size=4)))
    try:
        system = octavo.boot(memory="2M", disks=[path])
    except StatusError:
        return
    volume = next(iter(system.volumes.values()))
    rng = random.Random(1)
    for _ in range(3):
        try:
            found = [
                f"{d}/{e.name}"
                for d, entries in volume.walk()
                for e in entries
                if not e.is_directory
            ]
        except StatusError:
            found = ["f 1.txt"]
        for name in rng.sample(found, min(4, len(found))):
            for action in (
                volume.read_bytes,
                volume.remove,
                lambda n: volume.write_bytes(n, b"new" * 700),
                lambda n: volume.rename(n, "other name"),
            ):
                try:
                    action(name)
                except StatusError:
                    pass
    try:
        assert len(volume.check()) <= 1000
    except StatusError:
        pass
    system.check()
    system.abandon()


_SMALL: list[bytes] = []


def small_image(factory: pytest.TempPathFactory) -> bytes:
    """A 400 KiB FAT12 volume with a few files and directories."""
    if not _SMALL:
        path = factory.mktemp("small") / "small.img"
        octavo_run(["mkfs", "--size", "400K", str(path)])
        with octavo.open_image(path) as volume:
            for d in ("d1", "d1/d2", "d3"):
                volume.mkdir(d)
                for i in range(6):
                    volume.write_bytes(f"{d}/file {i}.txt", bytes([i]) * 3000)
            volume.write_bytes("f 1.txt", b"1" * 9000)
        _SMALL.append(path.read_bytes())
    return _SMALL[0]


def test_plans_that_cannot_be() -> None:
    """mkfs refuses before it writes."""
    for arguments in (
        (100, 0, 0),
        (1 << 45, 0, 0),
        (1 << 20, 32, 0),
        (1 << 30, 12, 0),
        (1 << 24, 16, 1000),
        (1 << 24, 16, 1 << 20),
    ):
        with pytest.raises(StatusError, match="cannot make"):
            plan_volume(*arguments)
