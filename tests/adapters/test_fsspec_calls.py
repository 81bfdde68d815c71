"""What the filesystem's calls do and refuse, beside fsspec's own tests; the same calls on fsspec's
local filesystem judge them.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest

import octavo
from octavo.adapters.fsspec import OctavoFileSystem
from tests.conftest import run
from tests.machines import within_seconds
from tests.storage.tables import mbr_disk


def filled(fs: OctavoFileSystem) -> OctavoFileSystem:
    """With a small tree."""
    fs.pipe({"docs/a.txt": b"alpha\nbeta\n", "docs/deep/er/b.bin": bytes(range(256)), "top": b""})
    return fs


def test_looking_is_as_on_the_host(fs: OctavoFileSystem, tmp_path: Path) -> None:
    """ls, find, glob, walk, du and isfile of one tree, in both."""
    filled(fs)
    local = fsspec.filesystem("file")
    fs.get("", str(tmp_path / "out") + "/", recursive=True)
    root = str(tmp_path / "out")

    def both(call: Callable[[Any, str], Any]) -> None:
        ours = call(fs, "")
        theirs = repr(call(local, root + "/")).replace(root + "/", "").replace(root, "")
        assert repr(ours) == theirs

    both(lambda f, root: sorted(f.ls(f"{root}docs", detail=False)))
    both(lambda f, root: sorted(f.find(root)))
    both(lambda f, root: sorted(f.find(f"{root}docs", maxdepth=1, withdirs=True)))
    both(lambda f, root: sorted(f.find(f"{root}docs", maxdepth=2, withdirs=True)))
    both(lambda f, root: f.find(f"{root}docs/a.txt"))
    both(lambda f, root: f.find(f"{root}nope"))
    both(lambda f, root: sorted(f.glob(f"{root}**/*.bin")))
    both(lambda f, root: sorted(f.glob(f"{root}d*/*")))
    both(lambda f, root: sorted(f.walk(f"{root}docs")))
    both(lambda f, root: f.du(f"{root}docs"))
    both(lambda f, root: [f.isfile(root + n) for n in ("top", "docs", "no", "top/x")])
    both(lambda f, root: [f.isdir(root + n) for n in ("top", "docs", "no", "top/x")])
    both(lambda f, root: [f.exists(root + n) for n in ("top", "docs", "no", "top/x")])
    with pytest.raises(ValueError, match="maxdepth"):
        fs.find("", maxdepth=0)


def test_an_entry_says_what_it_is(fs: OctavoFileSystem) -> None:
    """Size, kind and times of a file, a directory and the root; names are found in any case."""
    before = datetime.now(UTC) - timedelta(seconds=3)
    filled(fs)
    info = fs.info("octavo://DOCS\\a.txt")
    assert (info["name"], info["size"], info["type"]) == ("DOCS/a.txt", 11, "file")
    assert fs.info("docs")["type"] == fs.info("")["type"] == "directory"
    for moment in (fs.created("docs/a.txt"), fs.modified("docs/a.txt")):
        assert before < moment < datetime.now(UTC) + timedelta(seconds=3)
    assert fs.ls("top", detail=False) == ["top"] and fs.ls("top")[0]["size"] == 0


def test_ranges(fs: OctavoFileSystem) -> None:
    """As slices of what is there."""
    data = os.urandom(9000)
    fs.pipe("f", data)
    for start, end in ((None, None), (5, None), (None, -7), (-9, None), (10, 5), (8000, 10**12)):
        assert fs.cat_file("f", start, end) == data[start:end]
    assert fs.cat_ranges(["f", "f"], [0, 4096], [10, 4099]) == [data[:10], data[4096:4099]]
    missing = fs.cat_ranges(["f", "no"], 0, 3)
    assert missing[0] == data[:3] and isinstance(missing[1], FileNotFoundError)
    assert fs.head("f", 5) == data[:5] and fs.tail("f", 5) == data[-5:]


MODES = ("rb", "wb", "ab", "xb", "r+b", "w+b", "a+b", "x+b", "r", "w", "a", "x", "r+", "rt", "wt")


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_modes_are_those_of_python(
    mode: str, there: bool, fs: OctavoFileSystem, tmp_path: Path
) -> None:
    """What can be read, what is written where, and what is there at the end; or the same error."""

    def work(open_: Callable[[str, str], Any], path: str) -> list[object]:
        said: list[object] = []
        data = b"new" if "b" in mode else "new"
        with open_(path, mode) as file:
            said += [file.readable(), file.writable(), file.seekable()]
            for name, *given in (("read", 2), ("write", data), ("tell",)):
                try:
                    said.append(getattr(file, name)(*given))
                except (io.UnsupportedOperation, OSError) as error:
                    said.append(type(error).__mro__[-4:])
        return said

    def whole(open_: Callable[[str, str], Any], path: str) -> object:
        try:
            return work(open_, path)
        except OSError as error:
            return type(error), error.errno

    host = tmp_path / "f"
    if there:
        host.write_bytes(b"old content")
        fs.pipe("f", b"old content")
    assert whole(fs.open, "f") == whole(open, str(host))
    assert fs.exists("f") == host.exists()
    assert not host.exists() or fs.cat("f") == host.read_bytes()
    assert [name for name in fs.ls("", detail=False) if name != "f"] == []


def test_what_is_no_mode(fs: OctavoFileSystem) -> None:
    """Said before anything is made."""
    for mode in ("b", "rwb", "rbb", "zb", "+b"):
        with pytest.raises(ValueError, match="mode"):
            fs.open("f", mode)
    assert fs.ls("") == []


ERRORS: list[tuple[Callable[[OctavoFileSystem], object], type[OSError], int]] = [
    (lambda f: f.cat("no"), FileNotFoundError, errno.ENOENT),
    (lambda f: f.ls("no"), FileNotFoundError, errno.ENOENT),
    (lambda f: f.open("no/x/y", "rb"), FileNotFoundError, errno.ENOENT),
    (lambda f: f.cat("docs"), IsADirectoryError, errno.EISDIR),
    (lambda f: f.pipe("docs", b""), IsADirectoryError, errno.EISDIR),
    (lambda f: f.rm("docs"), IsADirectoryError, errno.EISDIR),
    (lambda f: f.rm("no"), FileNotFoundError, errno.ENOENT),
    (lambda f: f.rmdir("docs"), OSError, errno.ENOTEMPTY),
    (lambda f: f.rmdir("top"), NotADirectoryError, errno.ENOTDIR),
    (lambda f: f.mkdir("/"), FileExistsError, errno.EEXIST),
    (lambda f: f.mkdir("docs"), FileExistsError, errno.EEXIST),
    (lambda f: f.mkdir("no/x", create_parents=False), FileNotFoundError, errno.ENOENT),
    (lambda f: f.makedirs("docs"), FileExistsError, errno.EEXIST),
    (lambda f: f.makedirs("top", exist_ok=True), FileExistsError, errno.EEXIST),
    (lambda f: f.mv("no", "x"), FileNotFoundError, errno.ENOENT),
    (lambda f: f.mv("docs", "docs/deep"), OSError, errno.EINVAL),
    (lambda f: f.pipe("big", bytes(2 << 20)), OSError, errno.ENOSPC),
    (lambda f: f.pipe('a"b', b""), OSError, errno.EINVAL),
    (lambda f: f.pipe("x" * 300, b""), OSError, errno.EINVAL),
    (lambda f: f.pipe_file("top", b"x", mode="create"), FileExistsError, errno.EEXIST),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors(number: int, fs: OctavoFileSystem) -> None:
    """By their class and errno, with one sentence; and nothing has changed."""
    call, kind, code = ERRORS[number]
    before = filled(fs).find("", withdirs=True)
    with pytest.raises(OSError, match=r"\w") as caught:
        call(fs)
    assert isinstance(caught.value, kind) and caught.value.errno == code
    assert isinstance(caught.value.__cause__, octavo.StatusError)
    assert fs.find("", withdirs=True) == before and fs.cat("docs/a.txt") == b"alpha\nbeta\n"


def test_moves(fs: OctavoFileSystem) -> None:
    """A file to a name, over a file, into a directory; a directory; patterns and lists."""
    filled(fs)
    fs.mv("docs/a.txt", "c.txt")
    fs.mv("c.txt", "docs/")
    fs.mv("docs/c.txt", "top")
    assert fs.cat("top") == b"alpha\nbeta\n" and not fs.exists("docs/c.txt")
    fs.mv("docs/deep", "docs/DEEP")
    assert fs.ls("docs", False) == ["docs/DEEP"]
    fs.mv("docs/deep", "moved")
    fs.mv("top", "moved")
    assert fs.find("") == ["moved/er/b.bin", "moved/top"]
    fs.mv("moved/t*", "docs/")
    fs.mv(["docs/top"], ["last"])
    fs.mv("last", "last")
    assert fs.find("") == ["last", "moved/er/b.bin"]
    fs.mv("last", "new/directory/last")  # which auto_mkdir makes
    assert fs.find("") == ["moved/er/b.bin", "new/directory/last"]


def test_an_empty_directory_is_copied(fs: OctavoFileSystem) -> None:
    """Within the volume, in and out, with what is beside it."""
    fs.makedirs("from/empty")
    fs.pipe("from/f", b"1")
    fs.cp("from", "to", recursive=True)
    assert fs.find("to", withdirs=True) == ["to", "to/empty", "to/f"]


def test_removals_and_touches(fs: OctavoFileSystem) -> None:
    """Trees, depths; a touched file gets its time, or loses what it had."""
    filled(fs)
    fs.touch("docs/a.txt", truncate=False)
    assert fs.size("docs/a.txt") == 11
    fs.touch("docs/a.txt")
    fs.touch("new", truncate=False)
    assert fs.size("docs/a.txt") == fs.size("new") == 0
    with pytest.raises(OSError, match="not empty"):
        fs.rm("docs", recursive=True, maxdepth=1)
    fs.rm(["docs", "top"], recursive=True)
    assert fs.find("", withdirs=True) == ["new"]
    fs.rm("", recursive=True)
    assert fs.ls("") == []


def test_without_auto_mkdir(disk: Path) -> None:
    """A file needs its directory, as on the host."""
    with OctavoFileSystem(str(disk)) as fs:
        with pytest.raises(FileNotFoundError):
            fs.pipe("no/f", b"")
        with pytest.raises(FileNotFoundError):
            fs.open("no/f", "wb")
        with within_seconds(30), fs.transaction, pytest.raises(FileNotFoundError):
            fs.open("no/f", "wb")
        assert fs.ls("") == []


def test_a_read_only_filesystem(disk: Path) -> None:
    """Refuses all that would change something, and leaves the image to other readers."""
    before = disk.read_bytes()
    with OctavoFileSystem(str(disk), read_only=True) as fs, octavo.open_image(disk, True):
        for call in (
            lambda: fs.pipe("f", b""), lambda: fs.open("f", "ab"), lambda: fs.mkdir("d"),
            lambda: fs.rm("", recursive=True), lambda: fs.touch("f"), lambda: fs.mv("a", "b"),
        ):  # fmt: skip
            with pytest.raises(OSError, match="read_only=True") as caught:
                call()
            assert caught.value.errno == errno.EROFS
        assert fs.ls("") == []
    assert disk.read_bytes() == before


@pytest.mark.e2fsprogs
def test_ext2_is_read(tmp_path: Path) -> None:
    """Links to files are files, those to directories are not walked into; nothing is changed."""
    tree, image = tmp_path / "tree", tmp_path / "ext.img"
    (tree / "docs").mkdir(parents=True)
    (tree / "docs" / "a").write_bytes(b"ext2")
    for name, target in (("file", "docs/a"), ("around", "."), ("lost", "nowhere")):
        (tree / name).symlink_to(target)
    run("mke2fs", "-q", "-t", "ext2", "-d", tree, image, "1M")
    with OctavoFileSystem(str(image)) as fs:
        kinds = {info["name"]: info["type"] for info in fs.ls("")}
        assert kinds == {
            "around": "link", "docs": "directory", "file": "file", "lost": "link",
            "lost+found": "directory",
        }  # fmt: skip
        assert fs.cat("file") == fs.cat("around/docs/a") == b"ext2" and fs.size("file") == 4
        assert sorted(path for path, *_ in fs.walk("")) == ["", "docs", "lost+found"]
        with pytest.raises(OSError, match="ext2") as caught:
            fs.pipe("f", b"")
        assert caught.value.errno == errno.EROFS


def test_code_pages(disk: Path) -> None:
    """Short names are read in the one that is given."""
    with octavo.open_image(disk, codepage=850) as volume:
        volume.write_bytes("\u00d8.TXT", b"850")  # O with a stroke, which 437 has not
    with OctavoFileSystem(str(disk), codepage=850) as fs:
        assert fs.ls("", detail=False) == ["\u00d8.TXT"]
    with pytest.raises(OSError, match="code page"):
        OctavoFileSystem(str(disk), codepage="none such")


def test_partitions(tmp_path: Path, blank: bytes) -> None:
    """By number, several of one image at once, and the first that has a volume by none."""
    whole = mbr_disk({0: [(6, 2048, 2880), (6, 4928, 2880)]}, 8192)
    data = bytearray(whole)
    for start in (2048, 4928):
        data[start * 512 : start * 512 + len(blank)] = blank
    path = tmp_path / "parted.img"
    path.write_bytes(data)
    first, second = (OctavoFileSystem(str(path), partition=n) for n in (1, 2))
    any_ = OctavoFileSystem(str(path))
    first.pipe("f", b"one")
    second.pipe("f", b"two")
    assert any_.cat("f") == b"one" and any_.image is first.image is second.image
    with fsspec.open(f"octavo://f::file://{path}#2") as file:
        assert file.read() == b"two"
    with fsspec.open(f"octavo://f::file://{path}", octavo={"partition": 2}) as file:
        assert file.read() == b"two"
    with fsspec.open(f"octavo://f::file://{path}@@1M") as file:
        assert file.read() == b"one"
    with pytest.raises(OSError, match="partition 3"):
        OctavoFileSystem(str(path), partition=3)
    with pytest.raises(OSError, match="names another part than partition 1"):
        OctavoFileSystem(f"{path}#2", partition=1)
    with pytest.raises(OSError, match="nothing begins at byte 4194304"):
        OctavoFileSystem(f"{path}@@4M")  # where the image ends
    with pytest.raises(OSError, match="nothing begins at byte 1000"):
        OctavoFileSystem(f"{path}@@1000")
    with pytest.raises(OSError, match="number of a partition"):
        OctavoFileSystem(str(path), partition="1")  # type: ignore[arg-type]  # it is to say so
    first.close()
    assert second.cat("f") == b"two" and any_.cat("f") == b"one"
    second.close()
