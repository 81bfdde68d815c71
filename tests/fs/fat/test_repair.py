"""Repair: whatever is damaged, what it leaves is clean for fsck.fat and for `check`, and sound
files are as they were.
"""

from __future__ import annotations

import random
import re
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run as octavo_run
from octavo.fs.fat.findings import MOST_PROBLEMS
from octavo.memory.pagers.medium import Request
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice
from tests.conftest import fsck, make_image
from tests.fs.fat.patches import data_offset, fat_bytes, patch, root_offset, set_fat
from tests.volumes import fat_of

FAT_OFFSET = 512


def entry_at(image: Path, name: bytes) -> int:
    """Where the root entry with a short name is."""
    at = root_offset(image)
    return at + image.read_bytes()[at : at + 512 * 32].index(name)


def mend(image: Path) -> list[str]:
    """Repairs, and has the result judged; returns what was said."""
    with octavo.open_image(image) as volume:
        said = volume.check(repair=True)
        assert all(p.mended for p in said), said
        assert volume.check() == []
    fsck(image)
    with octavo.open_image(image, read_only=True) as volume:
        assert volume.check() == []
    return [str(p) for p in said]


def twin_entries(image: Path) -> None:
    """b.bin gets a.bin's name."""
    patch(image, entry_at(image, b"B       BIN"), b"A       BIN")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "never ends": lambda i: set_fat(i, 6, 5),
    "outside the volume": lambda i: set_fat(i, 6, 0xFFE0),
    "marked as free": lambda i: set_fat(i, 6, 0),
    "marked as bad": lambda i: set_fat(i, 6, 0xFFF7),
    "its first cluster is free": lambda i: set_fat(i, 5, 0),
    "claims 3000 bytes": lambda i: set_fat(i, 5, 0xFFFF),
    "shares cluster 3": lambda i: set_fat(i, 5, 3),
    "shares cluster 2": lambda i: patch(i, entry_at(i, b"B       BIN") + 26, b"\x02\0"),
    "bytes of clusters for": lambda i: patch(
        i, entry_at(i, b"B       BIN") + 28, struct.pack("<I", 5)
    ),
    "in use and belongs to no file": lambda i: set_fat(i, 100, 0xFFFF),
    '".." points to cluster 7': lambda i: patch(i, data_offset(i, 8) + 32 + 26, b"\x07\x00"),
    'has no "."': lambda i: patch(i, data_offset(i, 8), b"\xe5"),
    "no cluster": lambda i: patch(i, entry_at(i, b"D          \x10") + 26, b"\0\0"),
    "shares cluster 8": lambda i: patch(
        i, data_offset(i, 8) + 64 + 11, b"\x10" + bytes(14) + b"\x08\0"
    ),
    "FAT 2 differs": lambda i: patch(i, FAT_OFFSET + fat_bytes(i) + 100, b"\x01"),
    "dirty flag": lambda i: patch(i, 37, b"\x01"),
    "two entries have the name": twin_entries,
    "shown as _": lambda i: patch(i, entry_at(i, b"B       BIN"), b" " * 11),
    "shown as b_": lambda i: patch(i, entry_at(i, b"B       BIN"), b"B/"),
    "belongs to no entry": lambda i: patch(
        i,
        root_offset(i) + 32 * 20,
        b"\x42" + b"x\0" * 5 + b"\x0f\0\x55" + b"y\0" * 6 + b"\0\0z\0z\0",
    ),
}


@pytest.mark.dosfstools
@pytest.mark.parametrize("what", DAMAGE)
def test_each_kind_of_damage(what: str, filled: Path) -> None:
    """Told, mended, clean for others; a.bin, which the damage does not touch, is whole."""
    if "belongs to no entry" in what:
        with octavo.open_image(filled) as volume:
            for i in range(18):
                volume.write_bytes(f"F{i}", b"")
    DAMAGE[what](filled)
    with octavo.open_image(filled, read_only=True) as volume:
        before = [str(p) for p in volume.check()]
        assert before
    said = mend(filled)
    assert [s.removesuffix(" (mended)") for s in said][: len(before)] == before or len(said) >= len(
        before
    )
    if "first cluster" not in what:
        assert any(what in s for s in said), said
    with octavo.open_image(filled, read_only=True) as volume:
        assert volume.read_bytes("a.bin") == b"a" * 3000


@pytest.mark.dosfstools
def test_fsinfo_is_signed_and_counted(tmp_path: Path) -> None:
    """FAT32: a wrong count and a missing signature."""
    image = make_image(tmp_path / "disk.img", 40 << 20, 32, 512)
    for damage in ((512 + 488, struct.pack("<I", 7)), (512, b"\0\0\0\0")):
        patch(image, *damage)
        assert any("FSInfo" in said for said in mend(image))


@pytest.mark.dosfstools
def test_a_broken_file_can_be_removed_and_its_space_comes_back(filled: Path) -> None:
    """Without `force` it is refused; with it the name goes, and a repair frees the clusters."""
    set_fat(filled, 5, 0xFFFF)
    with octavo.open_image(filled) as volume:
        free = volume.space().free
        with pytest.raises(StatusError, match="run check"):
            volume.remove("b.bin")
        volume.remove("b.bin", force=True)
        assert not volume.exists("b.bin") and volume.space().free == free
        assert "3 clusters are in use" in str(volume.check()[0])
    mend(filled)
    with octavo.open_image(filled, read_only=True) as volume:
        assert volume.space().free == free + 3 * 1024


@pytest.mark.parametrize("bits", [16, 32])
def test_what_cannot_be_read_is_not_given_up(bits: int, tmp_path: Path) -> None:
    """A directory whose sectors fail, and a FAT32 root that is gone: nothing is erased or freed,
    for the rest may be in there.
    """
    image = make_image(tmp_path / "disk.img", {16: 4 << 20, 32: 34 << 20}[bits], bits, 512)
    with octavo.open_image(image) as volume:
        volume.mkdir("d")
        for i in range(20):
            volume.write_bytes(f"d/file {i}", bytes([i]) * 900)
        place = fat_of(volume).geometry.place(volume.stat("d").number)
    system = octavo.boot("4M")

    class Scratched(FaultyDevice):
        async def _read(self, requests: Sequence[Request]) -> None:
            if any(at <= place < at + frames.length for _, at, frames in requests):
                raise StatusError(Status.IO_DEVICE_ERROR, "a scratch")
            await super()._read(requests)

    volume = system.attach_device(Scratched(ImageDisk(image, system.scheduler)))
    free = volume.space().free
    said = volume.check(repair=True)
    assert any("scratch" in p.what and not p.mended for p in said)
    assert any("belong to no file" in p.what and not p.mended for p in said)
    assert volume.space().free == free
    system.close()
    with octavo.open_image(image) as volume:
        assert volume.check() == [] and volume.read_bytes("d/file 7") == b"\7" * 900
    if bits == 32:
        patch(image, 32 * 512 + 2 * 4, bytes(4))  # the root's own entry in the first FAT
        with octavo.open_image(image) as volume:
            assert any(
                "belong to no file" in p.what and not p.mended for p in volume.check(repair=True)
            )
            assert volume.space().free == free + 512


def test_check_repair_by_the_command_line(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 without, 0 with --repair, and clean afterwards."""
    set_fat(filled, 6, 5)
    assert octavo_run(["check", str(filled)]) == 1
    assert octavo_run(["check", "--repair", str(filled)]) == 0
    assert "never ends: it runs in a circle (mended)" in capsys.readouterr().out
    assert octavo_run(["check", "--json", str(filled)]) == 0


def test_open_files_are_in_the_way_of_a_repair(filled: Path) -> None:
    """Their clusters would change under them."""
    with octavo.open_image(filled) as volume, volume.open("a.bin") as file:
        with pytest.raises(StatusError) as caught:
            volume.check(repair=True)
        assert caught.value.status == Status.SHARING_VIOLATION
        assert file.read() == b"a" * 3000


@pytest.mark.dosfstools
def test_equal_long_names(image: Path) -> None:
    """The first keeps its own; the others have a short one only, whose slots are free again, and
    nothing else is said.
    """
    names = [f"a name in two slots {i}.txt" for i in range(3)]
    with octavo.open_image(image) as volume:
        for name in names:
            volume.write_bytes(name, name.encode())
        volume.write_bytes("b.bin", b"b" * 3000)
    for name in names[1:]:
        at = image.read_bytes().index(f"s {name[20]}.tx".encode("utf-16-le"))
        patch(image, at + 4, b"0")
    said = mend(image)
    assert [text.partition(": ")[2] for text in said] == [
        f"two entries have the name {names[0].upper()} (mended)"
    ] * 2
    with octavo.open_image(image) as volume:
        found = [(entry.name, volume.read_bytes(entry.name)) for entry in volume.entries()]
        assert found[0] == (names[0], names[0].encode()) and found[3] == ("b.bin", b"b" * 3000)
        assert [data for _, data in found[1:3]] == [name.encode() for name in names[1:]] and all(
            len(name) == 12 for name, _ in found[1:3]
        )
        volume.write_bytes("Takes two.txt", b"x")
        assert volume.check() == []
    assert entry_at(image, b"TAKEST~1TXT") < entry_at(image, b"B       BIN")


@pytest.mark.dosfstools
def test_thousands_of_equal_names(tmp_path: Path) -> None:
    """Each gets a short name of its own, in a time that does not grow with their square: it was 28
    s.
    """
    image = make_image(tmp_path / "disk.img", 16 << 20, 16, 512)
    with octavo.open_image(image) as volume:
        volume.mkdir("d")
        for i in range(8000):
            volume.write_bytes(f"d/F{i:06}.X", b"")
    image.write_bytes(re.sub(rb"F[0-9]{6} X  ", b"EQUAL   X  ", image.read_bytes()))
    began = time.process_time()
    with octavo.open_image(image) as volume:
        assert all(problem.mended for problem in volume.check(repair=True))
    assert time.process_time() - began < 6  # 0.2 here
    with octavo.open_image(image) as volume:
        assert len({entry.name for entry in volume.entries("d")}) == 8000 and volume.check() == []
    fsck(image)


def tree(image: Path) -> None:
    """Fifty files with long and short names in nested directories."""
    with octavo.open_image(image) as volume:
        here = ""
        for depth in range(5):
            for i in range(10):
                volume.write_bytes(
                    f"{here}File number {i} of {depth}.txt" if i % 2 else f"{here}F{i}",
                    bytes([i]) * (700 * i),
                )
            here += f"directory {depth}/"
            volume.mkdir(here)


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_random_damage_is_mended(bits: int, tmp_path: Path) -> None:
    """Bytes of FAT and directories changed anywhere: what a repair says it has mended is clean for
    fsck.fat, and it comes to an end.
    """
    original = make_image(
        tmp_path / "disk.img", {12: 720 << 10, 16: 4 << 20, 32: 34 << 20}[bits], bits, 512
    )
    tree(original)
    data = original.read_bytes()
    used = len(data.rstrip(b"\0"))
    rng = random.Random(bits)
    mended = 0
    for _ in range(40 if bits < 32 else 12):
        image = tmp_path / "damaged.img"
        image.write_bytes(data)
        start = 512 if bits < 32 else 32 * 512
        for _ in range(rng.randint(1, 12)):
            at = rng.choice((rng.randrange(start, start + 1500), rng.randrange(start, used)))
            patch(image, at, rng.randbytes(rng.randint(1, 4)))
        try:
            with octavo.open_image(image) as volume:
                said = volume.check(repair=True)
                again = volume.check()
        except StatusError as error:
            assert error.status in (Status.UNRECOGNIZED_VOLUME, Status.FILE_CORRUPT_ERROR), error
            continue
        assert len(said) <= MOST_PROBLEMS
        if all(p.mended for p in said):
            assert again == [], again
            done = subprocess.run(
                ["fsck.fat", "-n", image], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout
            mended += 1
    assert mended > (30 if bits < 32 else 8)


def test_two_entries_of_one_name_are_both_there(filled: Path) -> None:
    """Both are listed, both can be read, each by a name of its own; `rm -r` loses no cluster."""
    twin_entries(filled)
    with octavo.open_image(filled) as volume:
        names = [e.name for e in volume.entries() if not e.is_directory]
        assert len(names) == len(set(names)) == 2
        assert sorted(volume.read_bytes(name) for name in names) == [b"a" * 3000, b"b" * 3000]
        assert "two entries have the name A.BIN" in str(volume.check())
        volume.rmtree("")
        assert volume.space().free == volume.space().total
        assert volume.check() == []


@pytest.mark.dosfstools
def test_a_stray_slot_costs_no_name(image: Path) -> None:
    """A slot of a long name without its entry, as a torn write leaves it: told, and the next file
    keeps its own long name.
    """
    with octavo.open_image(image) as volume:
        volume.write_bytes("a name that takes three slots.txt", b"")
    at = root_offset(image)
    assert image.read_bytes()[at] == 0x43
    patch(image, at + 32, bytes(96))
    with octavo.open_image(image) as volume:
        assert volume.entries() == [] and "1 slot of long names belongs to no entry" in str(
            volume.check()[0]
        )
        volume.write_bytes("my thesis, final.txt", b"text")
    with octavo.open_image(image) as volume:
        assert [e.name for e in volume.entries()] == ["my thesis, final.txt"]
        assert volume.read_bytes("my thesis, final.txt") == b"text"
        assert all(p.mended for p in volume.check(repair=True)) and volume.exists(
            "my thesis, final.txt"
        )
    fsck(image)


def test_a_blank_name_ends_no_walk(filled: Path) -> None:
    """A directory whose short name is blank: it has a name, is walked once, and can be removed with
    all in it.
    """
    patch(filled, entry_at(filled, b"D          \x10"), b" " * 11)
    with octavo.open_image(filled) as volume:
        assert [here for here, _ in volume.walk()] == ["", "_"]
        assert volume.read_bytes("_/inner.txt") == b"inner"
        volume.rmtree("_")
        assert [e.name for e in volume.entries()] == ["a.bin", "b.bin"]
        assert volume.check() == []


def test_directories_entered_twice_are_walked_once(image: Path) -> None:
    """Thirty levels of two entries that lead to one directory: 2^30 paths, 31 directories."""
    with octavo.open_image(image) as volume:
        here = ""
        for _ in range(30):
            volume.mkdir(here + "A")
            volume.mkdir(here + "B")
            here += "A/"
    data = bytearray(image.read_bytes())
    at = data.index(b"A          \x10")
    while at >= 0:
        if data[at + 32 : at + 44] == b"B          \x10":
            data[at + 32 + 26 : at + 32 + 28] = data[at + 26 : at + 28]
        at = data.find(b"A          \x10", at + 1)
    image.write_bytes(data)
    with octavo.open_image(image) as volume:
        assert len(list(volume.walk())) == 31
        assert len(volume.check()) == 31  # thirty shared clusters, and what is lost of the others
        assert all(p.mended for p in volume.check(repair=True))
        assert volume.check() == []


def test_a_lost_end_mark_costs_no_other_file(filled: Path) -> None:
    """a.bin's chain runs on into b.bin: what is behind a.bin's end is b.bin's, and stays so; three
    files in a row, too.
    """
    set_fat(filled, 4, 5)
    with octavo.open_image(filled) as volume:
        assert all(p.mended for p in volume.check(repair=True)) and volume.check() == []
        assert (
            volume.read_bytes("a.bin") == b"a" * 3000 and volume.read_bytes("b.bin") == b"b" * 3000
        )
        volume.write_bytes("c.bin", b"c" * 3000)
        first = volume.stat("c.bin").number
    set_fat(filled, first, 5)  # c -> the first of b -> the second of a
    set_fat(filled, 5, 3)
    with octavo.open_image(filled) as volume:
        said = volume.check(repair=True)
        assert all(p.mended for p in said) and volume.check() == []
        assert volume.read_bytes("a.bin") == b"a" * 3000
        assert (
            volume.read_bytes("b.bin")[:1024] == b"b" * 1024
            and volume.read_bytes("c.bin")[:1024] == b"c" * 1024
        )


def test_a_directory_that_runs_into_a_file_is_left_alone(filled: Path) -> None:
    """Whose the bytes are cannot be told: no byte of the file is taken for an entry, and nothing is
    freed.
    """
    set_fat(filled, 8, 5)
    before = filled.read_bytes()
    with octavo.open_image(filled) as volume:
        said = volume.check(repair=True)
        assert any("whose they are cannot be told" in p.what and not p.mended for p in said)
        assert volume.read_bytes("b.bin") == b"b" * 3000
    after = filled.read_bytes()
    assert before[data_offset(filled, 2) :] == after[data_offset(filled, 2) :]


@pytest.mark.dosfstools
def test_names_of_dots_that_are_damaged(filled: Path) -> None:
    """They lead where they must, so only their names are wrong; what is in the directory stays."""
    for at in (0, 32 + 3):
        patch(filled, data_offset(filled, 8) + at, b"Z")
    assert sum("damaged" in said for said in mend(filled)) == 2
    with octavo.open_image(filled, read_only=True) as volume:
        assert volume.read_bytes("d/inner.txt") == b"inner"


def test_two_names_of_one_file_without_room_both_stay(filled: Path) -> None:
    """As a rename over a file leaves them after a power cut, on a full volume: told, and not cut to
    nothing.
    """
    patch(filled, entry_at(filled, b"B       BIN") + 26, b"\x02\0")
    for cluster in (5, 6, 7):  # what was b.bin's would be room
        set_fat(filled, cluster, 0)
    with octavo.open_image(filled) as volume:
        volume.write_bytes("ballast", bytes(volume.space().free))
        said = volume.check(repair=True)
        assert any("no room for a copy" in p.what and not p.mended for p in said)
        assert volume.read_bytes("a.bin") == volume.read_bytes("b.bin") == b"a" * 3000


@pytest.mark.dosfstools
@pytest.mark.parametrize("raw", [b"EA DATA  SF", b"FOO BAR TXT", b"A B     C D"])
def test_blanks_in_a_short_name_are_legal(raw: bytes, filled: Path) -> None:
    """OS/2 and NT 4 made such names: clean, found by what is shown, and left alone by a repair."""
    at = entry_at(filled, b"A       BIN")
    patch(filled, at, raw)
    patch(filled, at + 12, b"\0")
    fsck(filled)
    before = filled.read_bytes()
    shown = f"{raw[:8].decode().rstrip()}.{raw[8:].decode()}"
    with octavo.open_image(filled) as volume:
        assert volume.check() == [] == volume.check(repair=True)
        assert volume.exists(shown) and shown in [e.name for e in volume.entries()]
    assert filled.read_bytes() == before


@pytest.mark.parametrize("raw", [b" FOO    TXT", b"        TXT"])
def test_a_blank_in_front_of_a_short_name_is_not_legal(raw: bytes, filled: Path) -> None:
    """Such a name is told, and another is given."""
    patch(filled, entry_at(filled, b"A       BIN"), raw)
    assert any("characters that no short name may have" in line for line in mend(filled))


LABEL = "the volume label {} in slot 3 "


@pytest.mark.dosfstools
@pytest.mark.parametrize(
    ("raw", "says", "left"),
    [
        (b"PENDRIVE\0\0\0", LABEL.format("'PENDRIVE'") + "is filled up with NUL bytes", "PENDRIVE"),
        (b"X\0\0\0\0\0\0\0\0\0\0", LABEL.format("'X'") + "is filled up with NUL bytes", "X"),
        (
            b" LEAD      ",
            LABEL.format("' LEAD'") + "has characters that no label may have there",
            "",
        ),
        (b"A.B        ", LABEL.format("'A.B'") + "has characters that no label may have there", ""),
        (
            b"A\0B        ",
            LABEL.format(r"'A\x00B'") + "has characters that no label may have there",
            "",
        ),
        (b"TWO WORDS  ", "", "TWO WORDS"),
    ],
)
def test_volume_labels(raw: bytes, says: str, left: str, filled: Path) -> None:
    """Each is told in a sentence; one that only is filled up wrongly is kept."""
    patch(filled, root_offset(filled) + 3 * 32, raw + b"\x08" + bytes(20))
    patch(filled, 43, (left or "NO NAME").encode().ljust(11))  # fsck.fat compares them
    assert mend(filled) == ([f"/: {says} (mended)"] if says else [])
    with octavo.open_image(filled, read_only=True) as volume:
        assert volume.label == left


def test_a_volume_label_in_another_directory(filled: Path) -> None:
    """It is told where it is, and erased."""
    at = filled.read_bytes().index(b"INNER   TXT")
    patch(filled, at + 32, b"LABEL      \x08" + bytes(20))
    assert mend(filled) == [
        "/d: the volume label 'LABEL' in slot 3 is not in the root directory (mended)"
    ]


@pytest.mark.parametrize("label", [" X", "   ", "a.b"])
def test_labels_that_mkfs_refuses(
    label: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No image is made with a label that a check finds fault with."""
    with pytest.raises(SystemExit) as caught:
        octavo_run(["mkfs", "-s", "1M", "-n", label, str(tmp_path / "x.img")])
    assert caught.value.code == 2 and "cannot be a volume label" in capsys.readouterr().err
    assert not (tmp_path / "x.img").exists()
