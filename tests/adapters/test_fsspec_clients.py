"""Who uses fsspec: pandas, pyarrow, a program that only knows fsspec's name; and images that fsspec
serves: in memory, in an archive, on a network, in an image.
"""

from __future__ import annotations

import errno
import fcntl
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pandas
import pyarrow
import pyarrow.dataset
import pytest
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from pyarrow.fs import FileSelector, FSSpecHandler, PyFileSystem

import octavo
from octavo.adapters.fsspec import OctavoFileSystem

TABLE = pandas.DataFrame({"number": range(5000), "text": [f"line {n}" for n in range(5000)]})


def test_pandas(disk: Path) -> None:
    """Tables to and from CSV, packed CSV and Parquet."""
    url = f"octavo://{{}}::file://{disk}"
    TABLE.to_csv(url.format("t.csv"), index=False)
    TABLE.to_csv(url.format("t.csv.gz"), index=False)
    TABLE.to_parquet(url.format("t.parquet"))
    for name in ("t.csv", "t.csv.gz"):
        pandas.testing.assert_frame_equal(pandas.read_csv(url.format(name)), TABLE)
    pandas.testing.assert_frame_equal(pandas.read_parquet(url.format("t.parquet")), TABLE)
    fsspec.filesystem("octavo", fo=str(disk)).close()
    with octavo.open_image(disk) as volume:
        assert volume.check() == [] and volume.read_bytes("t.csv")[:12] == b"number,text\n"


def test_pyarrow(fs: OctavoFileSystem) -> None:
    """A dataset in directories, and the calls of a filesystem of pyarrow's."""
    arrow = PyFileSystem(FSSpecHandler(fs))
    table = pyarrow.table({"x": list(range(100)), "part": ["a", "b"] * 50})
    pyarrow.dataset.write_dataset(
        table, "set", filesystem=arrow, format="parquet", partitioning=["part"]
    )
    again = pyarrow.dataset.dataset("set", filesystem=arrow, partitioning=["part"])
    assert sorted(again.to_table()["x"].to_pylist()) == list(range(100))
    found = arrow.get_file_info(FileSelector("set", recursive=True))
    assert [info.path for info in found if not info.is_file] == ["set/a", "set/b"]
    assert all(info.mtime_ns > 0 and info.size > 0 for info in found if info.is_file)
    arrow.move("set/a", "a")
    arrow.copy_file(found[-1].path, "copy")
    with arrow.open_append_stream("copy") as stream:
        stream.write(b"more")
    with arrow.open_input_file("copy") as file:
        assert file.size() == found[-1].size + 4 and file.read()[-4:] == b"more"
    arrow.delete_dir("set")
    arrow.delete_dir_contents("a")
    arrow.delete_file("copy")
    assert fs.find("", withdirs=True) == ["a"]


def test_a_mapping(fs: OctavoFileSystem) -> None:
    """As zarr keeps its arrays: keys are paths."""
    store = fs.get_mapper("arrays")
    store["a/0.0"], store["a/.zarray"] = b"chunk", b"{}"
    store.setitems({"a/0.1": b"1", "b/0": b"2"})
    del store["b/0"]
    assert sorted(store) == ["a/.zarray", "a/0.0", "a/0.1"] and "b/0" not in store
    assert store["a/0.0"] == b"chunk" and store.getitems(["a/0.1"]) == {"a/0.1": b"1"}
    with pytest.raises(KeyError):
        store["none"]


PROGRAM = """
import fsspec, sys
with fsspec.open("octavo://f.txt::file://" + sys.argv[1], "w") as file:
    file.write("written")
with fsspec.open("octavo://f.txt", fo=sys.argv[1]) as file:
    print(file.read())
"""


def test_a_program_that_only_imports_fsspec(disk: Path) -> None:
    """The entry point finds the filesystem."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(disk)], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("b'written'\n", "")


class RangesFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A file of which ranges are fetched."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        data = RangesFileSystem.data[start:end]
        RangesFileSystem.fetched.append(len(data))
        if RangesFileSystem.broken:
            raise RuntimeError("the line\nis dead")
        return data


class RangesFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A remote filesystem with one file, /disk.img, as a server with ranges would be."""

    protocol = "ranges"
    data = b""
    fetched: list[int] = []
    opened: list[RangesFile] = []
    broken = False

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """The file."""
        return {"name": path, "size": len(self.data), "type": "file"}

    def _open(self, path: str, mode: str = "rb", **options: Any) -> RangesFile:
        self.opened.append(RangesFile(self, path, mode, **options))
        return self.opened[-1]


fsspec.register_implementation("ranges", RangesFileSystem, clobber=True)


def test_a_remote_image_is_read_by_ranges(disk: Path) -> None:
    """Only what is looked at, and only once; it is not written, with a sentence."""
    with OctavoFileSystem(str(disk), auto_mkdir=True) as fs:
        fs.pipe({"a/small": b"found", "large": bytes(1_200_000)})
    RangesFileSystem.data, RangesFileSystem.fetched = disk.read_bytes(), []
    with fsspec.open("octavo://a/small::ranges://disk.img") as file:
        assert file.read() == b"found"
    assert 0 < sum(RangesFileSystem.fetched) < 120_000
    remote = fsspec.filesystem("octavo", fo="disk.img", target_protocol="ranges")
    count = len(RangesFileSystem.fetched)
    assert remote.cat("a/small") == b"found" and len(RangesFileSystem.fetched) == count
    with pytest.raises(OSError, match=r"ranges://disk.img: can only be read") as caught:
        remote.pipe("f", b"")
    assert caught.value.errno == errno.EROFS
    RangesFileSystem.broken = True
    try:
        with pytest.raises(OSError, match="cannot read the image: the line is dead") as caught:
            remote.cat("large")
        assert caught.value.errno == errno.EIO
    finally:
        RangesFileSystem.broken = False
    assert remote.cat("large") == bytes(1_200_000)
    assert not RangesFileSystem.opened[-1].closed
    remote.close()
    assert all(file.closed for file in RangesFileSystem.opened)
    RangesFileSystem.data = RangesFileSystem.data[:1000]  # cut off
    with pytest.raises(OSError, match=r"ranges://cut\.img: "):
        OctavoFileSystem("cut.img", "ranges")
    assert RangesFileSystem.opened[-1].closed


def test_an_image_in_an_archive(disk: Path, tmp_path: Path) -> None:
    """A chain of three."""
    with OctavoFileSystem(str(disk)) as fs:
        fs.pipe("f", b"packed")
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(disk, "disk.img")
    with fsspec.open(f"octavo://f::zip://disk.img::file://{archive}") as opened:
        assert opened.read() == b"packed"


def test_an_image_in_an_image(disk: Path, tmp_path: Path, blank: bytes) -> None:
    """Of two machines one serves the other; and neither waits for the other for ever."""
    from tests.machines import within_seconds

    outer = tmp_path / "outer.img"
    with within_seconds(60):
        from octavo.cli.main import run

        assert run(["mkfs", "--size", "8M", str(outer)]) == 0
        with OctavoFileSystem(str(disk)) as fs:
            fs.pipe("f", b"inner")
        with OctavoFileSystem(str(outer)) as fs:
            fs.put_file(str(disk), "disk.img")
        chain = f"octavo://f::octavo://disk.img::file://{outer}"
        with fsspec.open(chain) as opened:
            assert opened.read() == b"inner"
        fs.close()


def test_file_objects(blank: bytes) -> None:
    """One that can be written is, one that cannot is not, one that is none is refused."""
    file = io.BytesIO(blank)
    with OctavoFileSystem(file) as fs:
        fs.pipe("f", b"in memory")
    with OctavoFileSystem(io.BytesIO(file.getvalue())) as fs:
        assert fs.cat("f") == b"in memory"
    only = io.BufferedReader(io.BytesIO(blank))
    with OctavoFileSystem(only) as fs, pytest.raises(OSError, match="for reading only"):
        fs.pipe("f", b"")
    for wrong in (5, None, b"disk.img"):
        with pytest.raises(OSError, match="no file object"):
            OctavoFileSystem(wrong)


def test_images_that_are_not_there_or_none(tmp_path: Path) -> None:
    """When the filesystem is made, not when it is used; nobody has them open then."""
    with pytest.raises(FileNotFoundError):
        OctavoFileSystem(str(tmp_path / "no.img"))
    with pytest.raises(FileNotFoundError):
        OctavoFileSystem("/no.img", "memory")
    (tmp_path / "zeros.img").write_bytes(bytes(1 << 20))
    with pytest.raises(OSError, match=r"zeros\.img: ") as caught:
        OctavoFileSystem(str(tmp_path / "zeros.img"))
    with open(tmp_path / "zeros.img", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    del caught
    with pytest.raises(OSError, match="is a directory"):
        OctavoFileSystem(str(tmp_path))
