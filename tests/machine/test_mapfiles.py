"""Files that hold firmware maps: large, packed, damaged, foreign, and made to take long."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from octavo.machine import mapsources, maptext
from octavo.machine.mapsources import load_firmware_map, parse_text
from octavo.machine.maptext import MOST_HEAD
from octavo.status import StatusError
from tests.maplines import LARGER, PC, log


def test_a_map_behind_much_else_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """32 MiB of log in front of it, far more than is held at once; packed too."""
    filler = (
        b"Jun 19 18:06:35 host sshd: Failed password for invalid user: admin " + b"x" * 950 + b"\n"
    ) * 1024
    for name, opener in (("log", open), ("log.gz", gzip.open)):
        path = tmp_path / name
        with opener(path, "wb") as file:
            for _ in range(32):
                file.write(filler)
            file.write(log(PC).encode())
        tracemalloc.start()
        found = load_firmware_map(str(path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == PC and peak < 40 << 20, peak


def test_long_lines_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of many MiB is cut, with a remark; packed zeros are no map; what unpacks without end
    is refused.
    """
    path = tmp_path / "x"
    path.write_text(log(PC) + "y" * (6 << 20) + "\n" + log(LARGER))
    found = load_firmware_map(str(path))
    assert (
        found == LARGER
        and found.notes[0]
        == f"{path}, line 7: the line is longer than 1048576 characters; what is behind is not read"
    )
    path.write_bytes(gzip.compress(bytes(64 << 20)))
    with pytest.raises(StatusError, match="a binary file of 4 MiB or more is no firmware map"):
        load_firmware_map(str(path))
    monkeypatch.setattr(maptext, "MOST_UNPACKED", 8 << 20)
    path.write_bytes(gzip.compress(b"a\n" * (8 << 20)))
    with pytest.raises(StatusError, match="of text; cut the boot's lines out of it"):
        load_firmware_map(str(path))
    path.write_text('[{"start": 0, "end": 4096, "kind": "usable"}' + " " * MOST_HEAD + "]")
    with pytest.raises(StatusError, match="JSON of more than 4 MiB"):
        load_firmware_map(str(path))


def test_packed_files_that_are_damaged_or_foreign(tmp_path: Path) -> None:
    """Cut and changed ones, by each packer; what is not unpacked is named."""
    path = tmp_path / "x"
    text = random.Random(1).randbytes(5000).hex().encode()
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        packed = pack(text)
        for data in (packed[:-20], packed[:20] + b"\0\xff" * 8 + packed[36:]):
            path.write_bytes(data)
            with pytest.raises(StatusError, match="the packed data is damaged"):
                load_firmware_map(str(path))


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"PK\x03\x04", "a zip archive"),
        (b"\x28\xb5\x2f\xfd", "packed by zstd"),
        (b"LPKSHHRH", "a journal"),
        (lzma.compress(b"a", lzma.FORMAT_ALONE), "packed by lzma"),
        (b"\x1f\x9d\x90", "packed by compress"),
        (b"\x04\x22\x4d\x18", "packed by lz4"),
        (b"Rar!\x1a\x07\0", "a rar archive"),
        (b"%PDF-1.4", "a PDF"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"\x7fELF", "a program or a kernel"),
    ],
)
def test_files_that_are_no_maps_are_named(start: bytes, says: str, tmp_path: Path) -> None:
    """By what they are, with what to do; packed too."""
    path = tmp_path / "x"
    for data in (start + bytes(100), gzip.compress(start + bytes(100))):
        path.write_bytes(data)
        with pytest.raises(
            StatusError, match=f"^{path}: this is {says}.*; (unpack|write|save|give)"
        ):
            load_firmware_map(str(path))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_streams_behind_each_other(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """All of them are read, zeros that pad them or not, wherever a block ends; something else
    behind them is told, and what is packed twice.
    """
    path = tmp_path / "x"
    first, second = log(PC[:3]).encode(), log(PC[3:]).encode()
    for size in (0, 4, 256 * 1024 - len(pack(first)), 300 * 1024):
        for behind in (b"", bytes(size)):
            path.write_bytes(pack(first) + bytes(size) + pack(second) + behind)
            assert load_firmware_map(str(path)) == PC
    for odd in (b"x", b"\0\0x", b"\n" * 9):
        path.write_bytes(pack(first) + odd)
        with pytest.raises(
            StatusError,
            match=f"^{path}: what stands behind the packed data is not packed as it is; unpack "
            "the file first$",
        ):
            load_firmware_map(str(path))
    path.write_bytes(pack(gzip.compress(first)))
    with pytest.raises(
        StatusError, match=f"^{path}: what is packed in it is packed again; unpack it once first$"
    ):
        load_firmware_map(str(path))
    path.write_bytes(pack(first) + bytes(4) + pack(second)[:-8])
    with pytest.raises(
        StatusError, match=f"^{path}: the packed data is damaged: it ends too early$"
    ):
        load_firmware_map(str(path))
    path.write_bytes(pack(b""))
    with pytest.raises(StatusError, match="no memory range found"):
        load_firmware_map(str(path))


@pytest.mark.parametrize("line", ["\n", " \n", "\r\n", "\r", "\n" * 63 + "#\n"])
def test_empty_lines_cost_next_to_nothing(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Millions of them: a file of nothing else is none, and one with a map is read; hardly a line
    is looked at.
    """
    looked: list[str] = []

    def look(text: str) -> list[str]:
        looked.append(text)
        return maptext.clean(text)

    monkeypatch.setattr(mapsources, "clean", look)
    path = tmp_path / "x.gz"
    many = line * (1 << 20 if len(line) == 1 else 1 << 14)
    for text in (many, many + log(PC), log(PC[:3]) + many + "\n" + log(PC[3:])):
        path.write_bytes(gzip.compress(text.encode(), 1))
        if text is many:
            with pytest.raises(StatusError, match="no memory range found"):
                load_firmware_map(str(path))
        else:
            assert load_firmware_map(str(path)) == PC
    assert len(looked) <= 3 * text.count("#") + 40


@pytest.mark.parametrize("line", ["#\n", "0x5-0x4 a\n", "00000000-00001000 : a\n"])
def test_lists_without_end(line: str) -> None:
    """A list that goes on and on is none, whatever its lines are; a log behind such lines is read
    all the same.
    """
    with pytest.raises(
        StatusError, match=r"line 100001: a list of more than 100000 lines is no firmware map"
    ):
        parse_text(line * 120_000)
    assert parse_text(line * 120_000 + log(PC)) == PC
