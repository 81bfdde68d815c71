"""One repair is enough, by the verdict of fsck.fat: "." and ".." that pass for slots of long names,
attributes of long slots, and the label in the boot sector.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import octavo
from octavo.fs.fat.entry import VOLUME_LABEL
from octavo.memory.pagers.medium import Request
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice
from tests.conftest import fsck
from tests.fs.fat.oddities import digest, volume_of
from tests.fs.fat.patches import patch
from tests.volumes import fat_of

TYPES = pytest.mark.parametrize("bits", [12, 16, 32])
DOT, DOTS = b".".ljust(11) + b"\x10", b"..".ljust(11) + b"\x10"
NO_NAME = b"NO NAME    "


def said(image: Path, repair: bool = False) -> list[str]:
    """What a check says, without where."""
    with octavo.open_image(image, read_only=not repair) as volume:
        return [p.what for p in volume.check(repair=repair)]


def repaired(image: Path) -> list[str]:
    """What a repair says, after which nothing is left for a check or for fsck.fat."""
    what = said(image, repair=True)
    assert said(image) == []
    fsck(image)
    return what


def accepted(image: Path) -> bool:
    """The verdict of fsck.fat."""
    return not subprocess.run(["fsck.fat", "-n", image], capture_output=True).returncode


def files(image: Path) -> dict[str, bytes]:
    """All files, by their paths."""
    with octavo.open_image(image, read_only=True) as volume:
        paths = [
            f"{folder}/{info.name}".lstrip("/")
            for folder, inside in volume.walk()
            for info in inside
            if not info.is_directory
        ]
        return {path: volume.read_bytes(path) for path in paths}


# -- "." and ".." ----------------------------------------------------------------------------------


@pytest.mark.dosfstools
@TYPES
@pytest.mark.parametrize(("mark", "name"), [(DOT, '"."'), (DOTS, '".."')])
@pytest.mark.parametrize("first", ["B.BIN", "A long name in the slots behind.bin"])
@pytest.mark.parametrize("value", [0x0F, 0x4F])
def test_a_dot_that_passes_for_a_long_slot(
    bits: int, mark: bytes, name: str, first: str, value: int, tmp_path: Path
) -> None:
    """Its new entry stays as it was written, and the next entry keeps its name."""
    image = volume_of(tmp_path / "x.img", bits)
    with octavo.open_image(image) as volume:
        volume.remove("d/b.bin")
        volume.write_bytes(f"d/{first}", b"B" * 3000)
        volume.write_bytes("d/Another name.bin", b"C")
    before = files(image)
    assert f"d/{first}" in before
    patch(image, image.read_bytes().index(mark) + 11, bytes((value,)))
    assert not accepted(image) and said(image) == [f"has no {name}"]
    assert repaired(image) == [f"has no {name}"] and files(image) == before


@pytest.mark.dosfstools
@TYPES
def test_remains_behind_a_directory_without_its_second_entry(bits: int, tmp_path: Path) -> None:
    """The new ".." ends nothing and wakes nothing: what was behind the end is gone."""
    image = volume_of(tmp_path / "x.img", bits)
    at = image.read_bytes().index(DOTS)
    remains = b"REMAINS BIN\x20" + bytes(16) + b"\1\0\0\0"  # a byte, and no cluster
    patch(image, at, bytes(32) + remains)
    what = repaired(image)
    assert 'has no ".."' in what and not any("claims" in sentence for sentence in what)
    assert files(image).keys() == {"a.bin"}


# -- attributes of long slots ----------------------------------------------------------------------


@pytest.mark.dosfstools
@TYPES
@pytest.mark.parametrize("value", [0x4F, 0x8F, 0xCF])
@pytest.mark.parametrize("slot", [1, 2, 3])
def test_stray_bits_in_the_attributes_of_a_long_slot(
    bits: int, value: int, slot: int, tmp_path: Path
) -> None:
    """For fsck.fat it is no slot of a long name any more. No name is lost."""
    image = volume_of(tmp_path / "x.img", bits)
    name = "d/A name that takes three slots.dat"
    with octavo.open_image(image) as volume:
        volume.write_bytes(name, b"C" * 700)
    before = image.read_bytes()
    at = before.index(b"ANAM")
    assert before[at - 32 * slot + 11] == 0x0F and before[at - 96] == 0x43
    patch(image, at - 32 * slot + 11, bytes((value,)))
    assert not accepted(image)
    assert said(image) == ["1 slot of long names has stray bits in the attributes"]
    assert repaired(image) == ["1 slot of long names has stray bits in the attributes"]
    assert image.read_bytes()[at - 96 : at + 32] == before[at - 96 : at + 32]


@pytest.mark.dosfstools
def test_a_stray_slot_with_stray_bits(tmp_path: Path) -> None:
    """It belongs to no entry, and goes."""
    image = volume_of(tmp_path / "x.img", 16)
    with octavo.open_image(image) as volume:
        volume.write_bytes("d/A name that takes three slots.dat", b"C" * 700)
    at = image.read_bytes().index(b"ANAM")
    patch(image, at - 64 + 11, b"\x8f")
    patch(image, at - 64 + 13, b"\0")  # its checksum
    assert len(repaired(image)) == 2


# -- the label in the boot sector ------------------------------------------------------------------

LABELS = [  # in the boot sector, in the root directory (b"": none)
    (NO_NAME, b""),
    (b"XYZ        ", b""),
    (b"           ", b""),
    (bytes(11), b""),
    (b"NO NAME\0\0\0\0", b""),
    (b"no name    ", b""),
    (b"HELLO      ", b"HELLO      "),
    (b"HELLO q    ", b"HELLO      "),
    (NO_NAME, b"HELLO      "),
    (b"           ", b"HELLO      "),
    (b"hello      ", b"HELLO      "),
    (b"HELLO\0\0\0\0\0\0", b"HELLO      "),
    (b"HELLO      ", NO_NAME),
    (NO_NAME, NO_NAME),
    (b"HELLO      ", b"HELLO\0\0\0\0\0\0"),
    (b"HELLO      ", b"A.B        "),
]


def label_at(bits: int) -> int:
    """Where a boot sector has its label."""
    return 71 if bits == 32 else 43


def labelled(path: Path, bits: int, boot: bytes, *roots: bytes) -> Path:
    """A volume with a label in its boot sector, and others in its root directory."""
    image = volume_of(path, bits)
    with octavo.open_image(image) as volume:
        for i in range(len(roots)):
            volume.write_bytes(f"LABEL{i}", b"")
    data = image.read_bytes()
    for i, root in enumerate(roots):
        mark = f"LABEL{i}     ".encode()
        patch(image, data.index(mark), root + bytes((VOLUME_LABEL,)))
    for sector in (0, 6) if bits == 32 else (0,):
        patch(image, sector * 512 + label_at(bits), boot)
    return image


@pytest.mark.dosfstools
@TYPES
@pytest.mark.parametrize(("boot", "root"), LABELS)
def test_the_label_in_the_boot_sector(bits: int, boot: bytes, root: bytes, tmp_path: Path) -> None:
    """A check finds fault with it where fsck.fat does, and a repair writes what it would write,
    into both boot sectors of FAT32.
    """
    image = labelled(tmp_path / "x.img", bits, boot, *([root] if root else []))
    theirs = Path(shutil.copy(image, tmp_path / "theirs.img"))
    assert (said(image) == []) == accepted(image)
    sound = digest(image) if accepted(image) else ""
    repaired(image)
    assert not sound or digest(image) == sound
    subprocess.run(["fsck.fat", "-a", theirs], capture_output=True)
    wanted = theirs.read_bytes()
    if b"\0" in root:  # which they erase, and a repair fills up with blanks
        wanted = wanted.replace(NO_NAME, root.replace(b"\0", b" "))
    for at in (label_at(bits), 6 * 512 + label_at(bits))[: 1 + (bits == 32)]:
        assert image.read_bytes()[at : at + 11] == wanted[at : at + 11]


@pytest.mark.dosfstools
@TYPES
@pytest.mark.parametrize(
    ("roots", "left"),
    [
        ((b"ONE        ", b"TWO        "), b"ONE        "),
        ((b"A.B        ", b"TWO        "), b"TWO        "),
    ],
)
def test_the_first_sound_label_counts(
    bits: int, roots: tuple[bytes, bytes], left: bytes, tmp_path: Path
) -> None:
    """The next one, where the first one goes; the mounted volume has it at once."""
    image = labelled(tmp_path / "x.img", bits, b"THREE      ", *roots)
    with octavo.open_image(image) as volume:
        volume.check(repair=True)
        assert volume.label == left.decode().strip()
    assert repaired(image) == []
    assert image.read_bytes()[label_at(bits) :][:11] == left


def test_the_two_labels_are_told(tmp_path: Path) -> None:
    """By name, and what is wrong where they seem to be the same."""
    for boot, root, says in (
        (
            b"XYZ        ",
            b"HELLO      ",
            "has the label 'XYZ', and the root directory has the label 'HELLO'",
        ),
        (NO_NAME, b"HELLO      ", "has no label, and the root directory has the label 'HELLO'"),
        (b"XYZ        ", NO_NAME, "has the label 'XYZ', and the root directory has no label"),
        (bytes(11), NO_NAME, "has no label, and has not filled up its place with blanks"),
    ):
        assert said(labelled(tmp_path / "x.img", 12, boot, root)) == [f"the boot sector {says}"]


@TYPES
@pytest.mark.parametrize("signature", [0, 0x28])
def test_a_boot_sector_without_a_place_for_a_label(
    bits: int, signature: int, tmp_path: Path
) -> None:
    """What is there is no label: it may be code, and stays."""
    image = labelled(tmp_path / "x.img", bits, b"\xfa\xfc\x31\xc0 CODE  ", b"HELLO      ")
    patch(image, label_at(bits) - 5, bytes((signature,)))
    before = digest(image)
    assert said(image, repair=True) == [] and digest(image) == before


@pytest.mark.dosfstools
@pytest.mark.parametrize("backup", [0, 0xFFFF, 1, 3, 40])
def test_what_is_no_backup_of_a_boot_sector_gets_no_label(backup: int, tmp_path: Path) -> None:
    """None, one behind the reserved sectors, FSInfo, and sectors with something else."""
    image = labelled(tmp_path / "x.img", 32, b"XYZ        ", b"HELLO      ")
    patch(image, 50, backup.to_bytes(2, "little"))
    before = image.read_bytes()
    assert len(said(image, repair=True)) == 1
    after = bytearray(image.read_bytes())
    assert after[71:82] == b"HELLO      "
    after[71:82] = before[71:82]
    assert after == before


@TYPES
def test_a_root_directory_that_cannot_be_read_says_nothing_of_labels(
    bits: int, tmp_path: Path
) -> None:
    """The boot sector's may be the one that is in there."""
    image = labelled(tmp_path / "x.img", bits, b"XYZ        ")
    assert any("XYZ" in what for what in said(image))
    with octavo.open_image(image, read_only=True) as volume:
        g = fat_of(volume).geometry
    root = g.root_offset if g.root_size else g.place(g.root_cluster)

    class Scratched(FaultyDevice):
        async def _read(self, requests: Sequence[Request]) -> None:
            if any(at <= root < at + frames.length for _, at, frames in requests):
                raise StatusError(Status.IO_DEVICE_ERROR, "a scratch")
            await super()._read(requests)

    with octavo.boot("4M") as system:
        volume = system.attach_device(Scratched(ImageDisk(image, system.scheduler)))
        what = [problem.what for problem in volume.check(repair=True)]
        assert any("scratch" in sentence for sentence in what)
        assert not any("XYZ" in sentence for sentence in what)
    assert image.read_bytes()[label_at(bits) :][:11] == b"XYZ        "
