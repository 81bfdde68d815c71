"""ext2 volumes that mke2fs makes, read by Octavo and by debugfs: names, bytes, sizes, modes and
times are the same."""

from __future__ import annotations

import re
import stat
import struct
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

import octavo
from octavo.files import Volume
from octavo.status import Status, StatusError
from tests.fs.ext.trees import (
    BACKSLASH,
    LEADS,
    LINKS,
    Seen,
    debugfs,
    make_ext,
    make_tree,
    seen_by_debugfs,
)

pytestmark = pytest.mark.e2fsprogs

VARIANTS: dict[str, list[str]] = {
    "1k": ["-b", "1024"],
    "2k": ["-b", "2048"],
    "4k": ["-b", "4096"],
    "revision 0": ["-r", "0", "-b", "1024"],
    "revision 0, 4k": ["-r", "0", "-b", "4096"],
    "small inodes": ["-b", "1024", "-I", "128"],
    "large inodes": ["-b", "2048", "-I", "1024"],
    "many groups": ["-b", "1024", "-g", "1024", "-O", "^resize_inode"],
    "plain": ["-b", "4096", "-O", "none"],
    "no types": ["-b", "1024", "-O", "^filetype"],
    "flex_bg": ["-b", "1024", "-O", "flex_bg", "-g", "2048", "-G", "4"],
    "read-only features": ["-b", "4096", "-O", "metadata_csum,huge_file,dir_nlink,extra_isize"],
    "ext3": ["-b", "1024", "-O", "has_journal", "-J", "size=1"],
}


def raw(path: str) -> bytes:
    """A path as the image has it."""
    return path.encode("utf-8", "surrogateescape").replace(BACKSLASH.encode(), b"\\")


def seen_by_us(volume: Volume) -> dict[bytes, tuple[int, str, int, datetime]]:
    """All paths of a volume: number, type and permissions, size, time of writing."""
    return {
        raw(f"/{here}/{e.name}".replace("//", "/")): (e.number, e.flags, e.size, e.modified)
        for here, entries in volume.walk("")
        for e in entries
    }


def comparable(seen: dict[bytes, Seen]) -> dict[bytes, tuple[int, str, int, datetime]]:
    """What debugfs says, in the same words. It gives devices no size."""
    return {
        path: (s.number, stat.filemode(s.mode), s.size, datetime.fromtimestamp(s.modified))
        for path, s in seen.items()
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_tree_as_debugfs_has_it(variant: str, tmp_path: Path) -> None:
    """Every path, its inode, type, permissions, size and time; every file's bytes."""
    names = 5000 if variant in ("1k", "4k") else 60
    tree = make_tree(tmp_path / "tree", names)
    image = make_ext(tmp_path / "x.img", "48M", tree, "-N", "6000", *VARIANTS[variant])
    seen = seen_by_debugfs(image)
    assert len(seen) > names + 100
    files = [path for path, s in seen.items() if stat.S_ISREG(s.mode)]
    debugfs(image, [f"dump <{seen[p].number}> {tmp_path}/{i}.out" for i, p in enumerate(files)])
    with octavo.boot("8M", disks=[image], read_only=True) as system:
        volume = system.volumes["C:"]
        assert volume.kind == ("ext3" if variant == "ext3" else "ext2") and volume.read_only
        assert seen_by_us(volume) == comparable(seen)
        for i, path in enumerate(files):
            text = path.decode("utf-8", "surrogateescape").replace("\\", BACKSLASH)
            assert volume.read_bytes(text) == (tmp_path / f"{i}.out").read_bytes(), path
        system.check()


@pytest.mark.parametrize("block", [1024, 2048, 4096])
def test_sparse_and_large_files(block: int, tmp_path: Path) -> None:
    """Holes read as zeros, and ask the device for nothing; data is where it was put, up to the
    third level of places and beyond 4 GiB. Sizes need 64 bits.
    """
    tree = tmp_path / "tree"
    tree.mkdir()
    per = block // 4
    levels = [0, 12 * block, (12 + per) * block, (12 + per + per * per) * block]
    places = sorted({p + d for p in levels for d in (-block, 0, 7 * block) if p + d >= 0})
    places = [p for p in places if p < 9 << 30] + [5 << 30]
    size = max(places) + 3 * block + 5
    with open(tree / "sparse", "wb") as file:
        file.truncate(size)
        for place in places:
            file.seek(place)
            file.write(place.to_bytes(8, "little") * (block // 8))
    (tree / "empty").write_bytes(b"")
    with open(tree / "hole", "wb") as file:
        file.truncate(3 << 30)
    image = make_ext(tmp_path / "x.img", "64M", tree, "-b", str(block), "-I", "256")
    assert seen_by_debugfs(image)[b"/sparse"].size == size > 5 << 30
    with octavo.boot("4M", disks=[image], read_only=True) as system:
        volume = system.volumes["C:"]
        assert volume.stat("sparse").size == size and volume.stat("hole").size == 3 << 30
        with volume.open("sparse") as file, open(tree / "sparse", "rb") as original:
            for place in places:
                for near in (place - 3 * block - 1, place - 9, place, place + block - 9):
                    if near >= 0:
                        file.seek(near)
                        original.seek(near)
                        assert file.read(4 * block) == original.read(4 * block), near
            file.seek(size - 5)
            assert file.read() == bytes(5)
        with volume.open("hole") as file:
            before = volume.core.device.statistics().reads
            for place in range(0, 3 << 30, 100 << 20):
                file.seek(place)
                assert not any(file.read(1 << 20))
            assert volume.core.device.statistics().reads == before
        system.check()


TIMES = [
    (0, 0), (1, 0), (0x7FFFFFFF, 0), (0x80000000, 0), (0xFFFFFFFF, 0), (0x80000000, 1), (5, 1),
    (0x7FFFFFFF, 2), (5, 3), (5, 4 * 999_999_999),
]  # fmt: skip


def test_times(tmp_path: Path) -> None:
    """Before 1970, to 2038, and beyond where the inode has room; when a file was made."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("")
    for inode in ("128", "256"):
        image = make_ext(tmp_path / "x.img", "1M", tmp_path / "tree", "-I", inode)
        number = seen_by_debugfs(image)[b"/file"].number
        for low, extra in TIMES:
            fields = [("mtime", low), ("ctime", 77), ("crtime", low)]
            fields += [("mtime_extra", extra), ("crtime_extra", extra)] if inode == "256" else []
            done = [
                f"set_inode_field <{number}> {n} {v:#x}"
                for n, v in fields
                if n != "crtime" or inode == "256"
            ]
            debugfs(image, done, write=True)
            seconds = seen_by_debugfs(image)[b"/file"].modified
            wide = (extra & 3) << 32 if inode == "256" else 0
            assert seconds == low - (low >> 31 << 32) + wide
            with octavo.open_image(image, read_only=True) as volume:
                info = volume.stat("file")
                assert info.modified == datetime.fromtimestamp(seconds)
                made = seconds if inode == "256" and low else 77
                assert info.created == datetime.fromtimestamp(made)


@pytest.mark.parametrize("block", ["1024", "4096"])
def test_indexed_directories(block: str, tmp_path: Path) -> None:
    """e2fsck gives a directory an index; its names are the same, read one after the other."""
    (tmp_path / "tree").mkdir()
    for i in range(3000):
        (tmp_path / "tree" / f"name number {i}").write_text("")
    image = make_ext(tmp_path / "x.img", "8M", tmp_path / "tree", "-b", block, "-N", "4000")
    done = subprocess.run(["e2fsck", "-fyD", image], capture_output=True, check=False)
    assert done.returncode in (0, 1)
    assert re.search(rb"Flags: 0x1000\b", debugfs(image, ["stat /"])[0])
    with octavo.open_image(image, read_only=True) as volume:
        assert seen_by_us(volume) == comparable(seen_by_debugfs(image))
        assert len(volume.entries()) == 3001


# -- links -----------------------------------------------------------------------------------------


def test_symbolic_links(tmp_path: Path) -> None:
    """They are listed as links; what is opened or asked for is what they lead to, within the
    volume; fast ones and slow ones, relative and absolute, to directories and through them.
    """
    tree = make_tree(tmp_path / "tree")
    image = make_ext(tmp_path / "x.img", "16M", tree, "-b", "1024")
    with octavo.boot("4M", disks=[image], read_only=True) as system:
        volume = system.volumes["C:"]
        listed = {e.name: e for e in volume.entries()}
        for name, target in LINKS.items():
            if "/" not in name:
                assert listed[name].flags[0] == "l" and listed[name].size == len(target)
                assert not listed[name].is_directory
        through = {"to directory/60.bin": "sizes/60.bin", "to directory/../mode644": "mode644"}
        for link, leads in (LEADS | through).items():
            assert volume.read_bytes(link) == (tree / leads).read_bytes(), link
            assert volume.stat(link).size == (tree / leads).stat().st_size
        assert volume.is_dir("to directory") and volume.is_dir("dots")
        for end in ("/", "/.", "//", "\\"):  # only a directory's path ends like this
            assert volume.is_dir(f"to directory{end}") and volume.exists(f"dots{end}")
            assert len(volume.entries(f"to directory{end}")) == len(volume.entries("sizes"))
            with pytest.raises(StatusError, match="is not a directory"):
                volume.stat(f"to file{end}")
            assert not volume.exists(f"nowhere{end}")
        assert len(volume.entries("to directory")) == len(volume.entries("sizes")) > 10
        assert [e.name for e in volume.entries("dots/dots/sizes")] == [
            e.name for e in volume.entries("sizes")
        ]
        for name, status in (
            ("nowhere", Status.OBJECT_NAME_NOT_FOUND),
            ("through a file", Status.OBJECT_PATH_NOT_FOUND),
            ("itself", Status.REPARSE_POINT_NOT_RESOLVED),
            ("a", Status.REPARSE_POINT_NOT_RESOLVED),
            ("itself/x", Status.REPARSE_POINT_NOT_RESOLVED),
            ("to file/x", Status.OBJECT_PATH_NOT_FOUND),
            ("to directory", Status.FILE_IS_A_DIRECTORY),
        ):
            with pytest.raises(StatusError) as caught:
                volume.open(name)
            assert caught.value.status == status and name in caught.value.text
        with pytest.raises(StatusError, match="more than 40 symbolic links") as caught:
            volume.stat("itself")
        assert not volume.exists("itself") and not volume.exists("nowhere")
        assert volume.stat("to file").name == "to file"
        system.check()


def test_forty_links(tmp_path: Path) -> None:
    """As many as on Linux, and one more."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "0").write_text("the end")
    for i in range(41):
        (tree / str(i + 1)).symlink_to(str(i))
    with octavo.open_image(make_ext(tmp_path / "x.img", "1M", tree), read_only=True) as volume:
        assert volume.read_bytes("40") == b"the end"
        with pytest.raises(StatusError) as caught:
            volume.read_bytes("41")
        assert caught.value.status == Status.REPARSE_POINT_NOT_RESOLVED


@pytest.mark.parametrize("inode", ["128", "256"])
def test_links_with_attributes(inode: str, tmp_path: Path) -> None:
    """A block of extended attributes is none of the target's, for short links and for long ones."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("the file")
    for name, target in (("fast", "file"), ("slow", "./" * 40 + "file")):
        (tmp_path / "tree" / name).symlink_to(target)
    image = make_ext(
        tmp_path / "x.img", "1M", tmp_path / "tree", "-b", "1024", "-I", inode, "-O", "ext_attr"
    )
    sets = [f"ea_set {name} user.long {'x' * 300}" for name in ("fast", "slow", "file")]
    debugfs(image, sets, write=True)
    told = debugfs(image, ["stat fast", "stat slow"])
    assert all(re.search(rb"File ACL: [1-9]", text) for text in told)
    with octavo.open_image(image, read_only=True) as volume:
        assert [volume.read_bytes(n) for n in ("fast", "slow", "file")] == [b"the file"] * 3


def test_special_files_and_deleted_ones(tmp_path: Path) -> None:
    """Devices, pipes and sockets are listed and have no bytes; what was removed is not there; a
    name that was kept while its inode went is listed, and cannot be opened.
    """
    (tmp_path / "tree").mkdir()
    for name in ("one", "two", "three", "four"):
        (tmp_path / "tree" / name).write_text(name)
    image = make_ext(tmp_path / "x.img", "1M", tmp_path / "tree", "-b", "1024")
    number = seen_by_debugfs(image)[b"/four"].number
    made = ["mknod char c 1 3", "mknod block b 8 1", "mknod pipe p", "rm two", "unlink three"]
    debugfs(image, [*made, f"clri <{number}>"], write=True)
    with octavo.open_image(image, read_only=True) as volume:
        flags = {e.name: e.flags for e in volume.entries()}
        assert set(flags) == {"one", "char", "block", "pipe", "four", "lost+found"}
        assert (flags["char"][0], flags["block"][0], flags["pipe"][0]) == ("c", "b", "p")
        for name in ("char", "block", "pipe"):
            with pytest.raises(StatusError, match="has no bytes here") as caught:
                volume.open(name)
            assert caught.value.status == Status.ACCESS_DENIED
        with pytest.raises(StatusError, match=f"its inode, {number}, is not in use") as caught:
            volume.open("four")
        assert caught.value.status == Status.FILE_CORRUPT_ERROR
        assert volume.read_bytes("one") == b"one" and not volume.exists("two")


# -- what is not read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-O", "extents"], "an ext volume with extents, which Octavo does not read"),
        (["-O", "extents,64bit"], "with extents, 64bit, which"),
        (["-O", "meta_bg,^resize_inode"], "with meta_bg"),
        (["-O", "mmp"], "with mmp"),
        (["-O", "inline_data", "-I", "256"], "with inline_data"),
        (["-O", "ea_inode", "-I", "256"], "with ea_inode"),
        (["-O", "large_dir"], "with large_dir"),
        (["-O", "casefold"], "with casefold"),
        (["-O", "encrypt"], "with encrypt"),
        (["-O", "journal_dev"], "with a journal of another volume"),
    ],
)
def test_features_that_are_not_read(options: list[str], says: str, tmp_path: Path) -> None:
    """They are refused by name."""
    image = make_ext(tmp_path / "x.img", "4M", None, "-b", "1024", *options)
    with pytest.raises(StatusError, match=re.escape(says)) as caught, octavo.open_image(image):
        pass
    assert caught.value.status == Status.UNRECOGNIZED_VOLUME


def test_features_that_nobody_knows(tmp_path: Path) -> None:
    """Each bit of the three fields: incompatible ones are refused, the others are read."""
    image = make_ext(tmp_path / "x.img", "1M", None, "-b", "1024")
    good = image.read_bytes()
    for field, name in ((92, "compatible"), (96, "incompatible"), (100, "read-only")):
        for bit in range(32):
            bad = bytearray(good)
            value = struct.unpack_from("<I", bad, 1024 + field)[0]
            struct.pack_into("<I", bad, 1024 + field, value | 1 << bit)
            image.write_bytes(bad)
            try:
                with octavo.open_image(image, read_only=True) as volume:
                    assert volume.entries()[0].name == "lost+found"
                    assert name != "incompatible" or bit in (1, 9)
            except StatusError as error:
                assert name == "incompatible" and "which Octavo does not read" in error.text
                assert bit < 18 or f"feature {1 << bit:#x}" in error.text


def test_journals(tmp_path: Path) -> None:
    """ext3 that was unmounted is read as ext2 is; one whose journal needs recovery is refused; a
    volume in use says so.
    """
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("in ext3")
    image = make_ext(tmp_path / "x.img", "8M", tmp_path / "tree", "-O", "has_journal", "-b", "1024")
    with octavo.boot("4M", disks=[image]) as system:
        assert system.volumes["C:"].read_bytes("a") == b"in ext3"
        assert "read-only: ext3 is only read" in system.log[-2]
    debugfs(image, ["set_super_value state 0"], write=True)
    with octavo.boot("4M", disks=[image]) as system:
        assert "it was not unmounted, or has errors" in system.log[-2]
    debugfs(image, ["feature needs_recovery"], write=True)
    with (
        pytest.raises(StatusError, match="a journal that needs recovery"),
        octavo.open_image(image),
    ):
        pass


def test_nothing_is_written(tmp_path: Path) -> None:
    """Every operation that would says why not; the image keeps every byte."""
    (tmp_path / "tree" / "d").mkdir(parents=True)
    (tmp_path / "tree" / "a").write_text("a")
    image = make_ext(tmp_path / "x.img", "1M", tmp_path / "tree", "-b", "1024")
    before = image.read_bytes()
    with octavo.open_image(image) as volume:
        calls: list[Callable[[], object]] = [
            lambda: volume.open("new", "wb"),
            lambda: volume.open("a", "r+b"),
            lambda: volume.write_bytes("a", b"b"),
            lambda: volume.create_bytes("new", b"b"),
            lambda: volume.mkdir("new"),
            lambda: volume.remove("a"),
            lambda: volume.rmdir("d"),
            lambda: volume.rename("a", "b"),
            lambda: volume.set_modified("a", 0),
            lambda: volume.set_attributes("a", "r"),
            lambda: volume.check(repair=True),
        ]
        for call in calls:
            with pytest.raises(StatusError, match="the volume is read-only") as caught:
                call()
            assert caught.value.status == Status.MEDIA_WRITE_PROTECTED
            assert "ext2 is only read" in caught.value.text
        with pytest.raises(StatusError, match="e2fsck -fn does") as caught:
            volume.check()
        assert caught.value.status == Status.NOT_SUPPORTED
    assert image.read_bytes() == before
