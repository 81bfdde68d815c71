"""mkfs: its options as mkfs.fat has them; trees in new volumes, just as large as they must be, and
the same each time.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from random import Random

import pytest

import octavo
from octavo.cli.main import run_whole
from octavo.cli.mkfs import VERBS
from tests.command import call
from tests.conftest import blank_image, fsck, run

FIELDS = [
    "sector", "per_cluster", "reserved", "fats", "root_entries", "total16", "media", "fat16",
    "track", "heads", "hidden", "total32",
]  # fmt: skip


def fields(image: Path) -> dict[str, object]:
    """What a boot sector says, the sizes of FATs left out: who makes them has a way of its own."""
    data = image.read_bytes()[:512]
    found: dict[str, object] = dict(zip(FIELDS, struct.unpack_from("<HBHBHHBHHHII", data, 11),
                                        strict=True))  # fmt: skip
    at = 36 if found["fat16"] else 64
    if not found["fat16"]:
        names = ("flags", "version", "root", "info", "backup")
        found.update(zip(names, struct.unpack_from("<HHIHH", data, 40), strict=True))
    drive, _, mark, serial, label, kind = struct.unpack_from("<BBBI11s8s", data, at)
    found.update(drive=drive, mark=mark, serial=serial, label=label, kind=kind)
    del found["fat16"]
    return {**found, "end": data[510:]}


@pytest.mark.dosfstools
@pytest.mark.mtools
@pytest.mark.parametrize(
    ("size", "theirs", "ours"),
    [
        (8, "-F 12 -s 8 -R 1", "--type fat12 --cluster 4K"),
        (8, "-F 16 -s 2 -R 5 -r 240", "--type fat16 --cluster 1K --reserved 5 --root-entries 240"),
        (40, "-F 32 -s 1", "--type fat32 --cluster 512"),
        (40, "-F 32 -s 1 -R 9 -f 1", "--type fat32 --cluster 512 --reserved 9 --fats 1"),
        (40, "-F 32 -s 1 -R 6", "--type fat32 --cluster 512 --reserved 6"),
        (40, "-F 32 -s 1 -R 4", "--type fat32 --cluster 512 --reserved 4"),
        (40, "-F 32 -s 1 -R 3", "--type fat32 --cluster 512 --reserved 3"),
        (40, "-F 32 -s 1 -R 2", "--type fat32 --cluster 512 --reserved 2"),
        (8, "-F 16 -s 1 -f 1 -M 0xf0", "--type fat16 --cluster 512 --fats 1 --media 0xF0"),
        (8, "-F 12 -s 4 -g 16/32 -h 99", "--type fat12 --heads 16 --track 32 --hidden 99"),
        (64, "-F 12 -S 4096 -s 16 -r 128", "--type fat12 --sector 4096 --cluster 64K "
         "--root-entries 128"),
        (32, "-F 16 -S 1024 -s 4", "--type fat16 --sector 1K --cluster 4K"),
        (40, "-F 16 -s 8 -i 12ab34ef -n HELLO", "--type fat16 --cluster 4K --serial 12AB-34EF "
         "--label hello"),
    ],
)  # fmt: skip
def test_options_as_mkfs_fat_has_them(size: int, theirs: str, ours: str, tmp_path: Path) -> None:
    """The boot sectors say the same, fsck.fat is content, and mtools uses what was made."""
    model = blank_image(tmp_path / "model.img", size << 20)
    run("mkfs.fat", "-a", *theirs.split(), model)
    image = tmp_path / "ours.img"
    call("mkfs", "--size", f"{size}M", *ours.split(), image)
    expected, got = fields(model), fields(image)
    for name, option in (("serial", "-i"), ("track", "-g"), ("heads", "-g")):
        if option not in theirs:
            del expected[name], got[name]
    assert got == expected
    fsck(image)
    (tmp_path / "file").write_bytes(os.urandom(5000))
    run("mcopy", "-i", image, tmp_path / "file", "::")
    with octavo.open_image(image) as volume:
        assert volume.read_bytes("file") == (tmp_path / "file").read_bytes()
    fsck(image)


def test_oem_and_boot_code(tmp_path: Path) -> None:
    """Raw code behind the fields, to its last byte and one beyond; a boot sector's jump and code;
    the fields are ours, and the backup has the same.
    """
    image, code = tmp_path / "disk.img", tmp_path / "code"
    for size, room, at in (("8M", 448, 62), ("40M", 420, 90)):
        options: list[object] = [
            "--force",
            "--size",
            size,
            "--type",
            "fat16" if at == 62 else "fat32",
        ]
        options += ["--cluster", "512", "--oem", "MSWIN4.1", "--boot-code", code, image]
        call("mkfs", *options[:-3], image)
        plain = image.read_bytes()[:512]
        assert plain[:2] == bytes((0xEB, at - 2)) and plain[3:11] == b"MSWIN4.1"
        code.write_bytes(b"\xaa" * room)
        call("mkfs", *options)
        first = image.read_bytes()[:512]
        assert first[at:510] == b"\xaa" * room and first[510:] == b"\x55\xaa"
        assert first[11:39] == plain[11:39]
        if at == 90:
            assert image.read_bytes()[6 * 512 : 7 * 512] == first
        code.write_bytes(b"\xaa" * (room + 1))
        assert f"has room for {room}" in call("mkfs", *options, code=2)
        assert image.read_bytes()[:512] == first
        code.write_bytes(b"\xe9\x12\x34" + b"\xbb" * 507 + b"\x55\xaa")
        call("mkfs", *options)
        first = image.read_bytes()[:512]
        assert first[:3] == b"\xe9\x12\x34" and first[at:510] == b"\xbb" * room
        assert first[3:39] == plain[3:39]
    assert "No such file" in call("mkfs", "--size", "8M", "--boot-code", "/none", image, "--force",
                                  code=1)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--reserved 65536", "the number of reserved sectors cannot be 65536"),
        ("--reserved many", "--reserved many: a number is needed"),
        ("--root-entries -1", "--root-entries -1: a number is needed"),
        ("--root-entries 512 --type fat32", "FAT32 with root entries"),
        ("--reserved 1 --type fat32", "FAT32 with 1 reserved sector"),
        ("--fats 3", "3 FATs: there can be 1 or 2"),
        ("--fats 0", "0 FATs: there can be 1 or 2"),
        ("--media 0xF1", "the media byte 0xf1"),
        ("--sector 256", "a sector of 256 bytes"),
        ("--sector 8K", "a sector of 8192 bytes"),
        ("--sector 4K --cluster 2K", "a power of two from 4096 to"),
        ("--sector 512 --cluster 128K", "it has at most 128 sectors"),
        ("--oem 123456789", "it has at most 8 bytes"),
        ("--track 65536", "the number of sectors per track cannot be 65536"),
        ("--heads 0x10000", "the number of heads cannot be 65536"),
        ("--hidden 4294967296", "the number of hidden sectors cannot be 4294967296"),
        ("--serial 12345", "is no serial number"),
        ("--serial 1234-567G", "is no serial number"),
        ("--label a/b", "cannot be a volume label"),
    ],
)
def test_values_that_cannot_be(options: str, says: str, tmp_path: Path) -> None:
    """One sentence, exit code 2, and no image."""
    said = call("mkfs", "--size", "40M", *options.split(), tmp_path / "new.img", code=2)
    assert says in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_last_values_that_can_be(tmp_path: Path) -> None:
    """Each is taken."""
    for options in ("--reserved 65535", "--root-entries 65504", "--root-entries 1", "--media 0xff",
                    "--oem 12345678", "--track 65535", "--heads 65535", "--hidden 4294967295",
                    "--serial FFFFFFFF", "--sector 4096 --cluster 256K --type fat12"):  # fmt: skip
        call("mkfs", "--force", "--size", "80M", *options.split(), tmp_path / "new.img")
        with octavo.open_image(tmp_path / "new.img") as volume:
            volume.write_bytes("file", b"x" * 5000)
            assert volume.check() == [], options


# -- trees -----------------------------------------------------------------------------------------


def random_tree(root: Path, seed: int, files: int = 30, most: int = 9000) -> None:
    """Files of any sizes, and names that take one to four slots."""
    random = Random(seed)
    root.mkdir()
    places = [root]
    for i in range(files):
        place = random.choice(places)
        name = random.choice(
            ["F{}.TXT", "file {} of a longer name.text", "ä{}", "\U0001f4be{} é" + "é" * 40]
        )
        if random.random() < 0.2:
            places.append(place / f"d{i}")
            places[-1].mkdir()
        elif random.random() < 0.9:
            (place / name.format(i)).write_bytes(random.randbytes(random.randrange(most)))


def used_and_free(image: Path) -> tuple[int, int, int]:
    """Bytes in all, free bytes, bytes in a cluster."""
    with octavo.open_image(image, read_only=True) as volume:
        return volume.space()


@pytest.mark.dosfstools
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("options", ["", "--cluster 512", "--type fat12 --label X", "--cluster 8K",
                                     "--sector 2048 --fats 1 --reserved 7"])  # fmt: skip
def test_just_enough(options: str, seed: int, tmp_path: Path) -> None:
    """No cluster is free, and one fewer has no room for the tree."""
    random_tree(tmp_path / "tree", seed, 12 * seed)
    image = tmp_path / "disk.img"
    call("mkfs", "--from", tmp_path / "tree", *options.split(), image)
    fsck(image)
    (tmp_path / "out").mkdir()
    call("cp", "-r", f"{image}:/", tmp_path / "out")
    run("diff", "-r", tmp_path / "tree", tmp_path / "out")
    _, free, unit = used_and_free(image)
    assert free == 0 or seed == 0
    if seed:
        size = image.stat().st_size - unit
        call("mkfs", "--from", tmp_path / "tree", *options.split(), "--size", size,
             "--cluster", unit, tmp_path / "less.img", code=1)  # fmt: skip
        assert not (tmp_path / "less.img").exists()
        again = ["--size", image.stat().st_size, "--cluster", unit, tmp_path / "same.img"]
        call("mkfs", "--from", tmp_path / "tree", *options.split(), *again)


@pytest.mark.dosfstools
@pytest.mark.parametrize(("kind", "least"), [("fat16", 4085), ("fat32", 65525)])
def test_a_type_that_forces_a_size(kind: str, least: int, tmp_path: Path) -> None:
    """A small tree gets the fewest clusters that the type can have."""
    random_tree(tmp_path / "tree", 1)
    image = tmp_path / "disk.img"
    said = call("mkfs", "--from", tmp_path / "tree", "--type", kind, "--cluster", "512", image)
    assert f"{least} clusters of 512 bytes" in said
    fsck(image)
    size = image.stat().st_size - 512
    call("mkfs", "--from", tmp_path / "tree", "--type", kind, "--cluster", "512", "--size", size,
         tmp_path / "less.img", code=2)  # fmt: skip


@pytest.mark.dosfstools
def test_a_root_with_many_names(tmp_path: Path) -> None:
    """More than the 512 entries that a root directory has: it gets what they need, and no more."""
    (tmp_path / "tree").mkdir()
    for i in range(600):
        (tmp_path / "tree" / f"F{i}").touch()
    image = tmp_path / "disk.img"
    for number, entries in ((511, 512), (512, 528)):
        for i in range(number, 600):
            (tmp_path / "tree" / f"F{i}").unlink(missing_ok=True)
        (tmp_path / "tree" / f"F{number - 1}").touch()
        call("mkfs", "--force", "--from", tmp_path / "tree", "--label", "FULL", image)
        assert fields(image)["root_entries"] == entries
        fsck(image)
    for i in range(600):
        (tmp_path / "tree" / f"F{i}").touch()
    options = ["--force", "--label", "MANY", "--type", "fat12"]
    call("mkfs", "--from", tmp_path / "tree", *options, image)
    fsck(image)
    assert fields(image)["root_entries"] == 608
    assert len(call("ls", f"{image}:").split()) == 600
    call("mkfs", "--from", tmp_path / "tree", "--size", "8M", "--force", image)  # of a given size
    assert fields(image)["root_entries"] == 608
    call("mkfs", "--from", tmp_path / "tree", "--type", "fat32", "--size", "40M", "--force", image)
    refused = ["--type", "fat12", "--root-entries", "592", "--force", image]
    assert "cannot make a volume" in call("mkfs", "--from", tmp_path / "tree", *refused, code=2)
    assert "has no room" in call("mkfs", "--from", tmp_path / "tree", *refused, "--size", "1M",
                                 code=1)  # fmt: skip


def test_the_same_tree_makes_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order in which its files were made, their times after SOURCE_DATE_EPOCH, the
    time zone and the moment; and other bytes for another time.
    """
    images = []
    for i, (zone, date) in enumerate([("UTC", 1.7e9), ("Asia/Tokyo", 1.7e9), ("UTC", 1.6e9)]):
        tree = tmp_path / f"tree{i}" / "tree"
        tree.parent.mkdir()
        for name in sorted(["b", "a", "C", "ä long name", "d"], reverse=i == 1):
            (tree / "sub").mkdir(parents=True, exist_ok=True)
            (tree / "sub" / name).write_text(name)
            os.utime(tree / "sub" / name, (1e9, 1e9) if name == "a" else (2e9 + i, 2e9 + i))
        monkeypatch.setenv("TZ", zone)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(date)))
        image = tmp_path / f"{i}.img"
        run_in_its_own(["mkfs", "--from", tree, "--label", "X", image])
        images.append(image.read_bytes())
    assert images[0] == images[1] != images[2]
    with octavo.open_image(tmp_path / "1.img") as volume:
        assert volume.core.serial == 1_700_000_000
        times = {e.name: str(e.modified) for e in volume.entries("sub")}
        assert times["a"] == "2001-09-09 01:46:40" and times["b"] == "2023-11-14 22:13:20"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    call("mkfs", "--force", "--from", tree, "--serial", "0000-0007", image)
    with octavo.open_image(image) as volume:
        assert volume.core.serial == 7 and volume.stat("sub/a").modified.year == 1980
    for value in ("-1", "1e9", "now", "9" * 19):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
        said = call("mkfs", "--size", "1M", tmp_path / "no.img", code=2)
        assert "SOURCE_DATE_EPOCH cannot be" in said and not (tmp_path / "no.img").exists()


def run_in_its_own(arguments: list[object]) -> None:
    """In a process, whose time zone is its own."""
    from tests.command import octavo as program

    program(*arguments)


def test_what_cannot_be_in_a_tree(tmp_path: Path) -> None:
    """Told, left out, and exit code 1; with -e no image is left; what is excluded is not told."""
    tree, image = tmp_path / "tree", tmp_path / "tree" / "disk.img"
    random_tree(tree, 2)
    (tree / "what?").touch()
    (tree / "link").symlink_to(tree)
    said = call("mkfs", "--from", tree, image, code=1)
    assert "'what?' cannot be a name" in said and "link: is a link to a directory" in said
    assert "disk.img" not in call("ls", f"{image}:")
    image.unlink()
    assert "octavo: " in call("mkfs", "-e", "--from", tree, image, code=1)
    assert not image.exists()
    call("mkfs", "--from", tree, "--exclude", "what?", "--exclude", "link", image)
    said = call("mkfs", "--from", tree, "--exclude", "[wl]*", "--force", image, code=1)
    assert said == f"octavo: {tree}/./disk.img: is an image that this copy reads or writes: " \
        "it cannot be copied or replaced meanwhile\n"  # fmt: skip
    assert "No such file" in call("mkfs", "--from", tmp_path / "none", tmp_path / "x", code=1)
    assert "Not a directory" in call("mkfs", "--from", image, tmp_path / "x", code=1)
    assert not (tmp_path / "x").exists()


def test_a_size_with_a_tree(tmp_path: Path) -> None:
    """A given one; that of a file that is there is none; one without room makes nothing."""
    random_tree(tmp_path / "tree", 3)
    image = blank_image(tmp_path / "disk.img", 1 << 20)
    before = image.read_bytes()
    said = call("mkfs", "--force", "--size", "20K", "--from", tmp_path / "tree", image, code=1)
    assert said.endswith("the tree has no room in 20 KiB as FAT12; nothing was made\n")
    assert image.read_bytes() == before
    call("mkfs", "--force", "--from", tmp_path / "tree", image)
    assert image.stat().st_size < 1 << 19 and used_and_free(image)[1] == 0
    call("mkfs", "--force", "--size", "3M", "--from", tmp_path / "tree", image)
    assert image.stat().st_size == 3 << 20 and used_and_free(image)[1] > 2 << 20


def test_examples_are_right() -> None:
    """Help shows calls that are understood."""
    assert "octavo mkfs --from tree" in VERBS["mkfs"].examples
    assert run_whole(["mkfs", "--help"]) == 0
