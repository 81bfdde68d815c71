"""A walk looks at many directories at once: what it says is what opening them says."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import octavo
from octavo.files import Volume
from octavo.fs.fat import glance
from octavo.fs.fat.bpb import parse_boot_sector
from octavo.fs.fat.entry import ARCHIVE, new_entry
from octavo.fs.protocol import FileInfo
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice
from tests.conftest import fsck, make_image

SIZES = {12: (1 << 20, 512), 16: (16 << 20, 2048), 32: (40 << 20, 512)}
STAMP = 20000, 30000, 7
LONG = "a name that takes two slots"


def grown(image: Path) -> Path:
    """A tree of 60 directories in five levels: some of one cluster, one of many, some empty."""
    with octavo.open_image(image) as volume:
        for i in range(12):
            path = f"top {i}"
            volume.mkdir(path)
            for depth in range(i % 5):
                path += f"/level{depth}"
                volume.mkdir(path)
                volume.write_bytes(f"{path}/f{depth}.txt", b"x" * depth)
                volume.mkdir(f"{path}/grün")
        for i in range(60):
            volume.write_bytes(f"top 3/{LONG} {i}", b"y" * i)
        volume.remove("top 4/level0/f0.txt")
    return image


@pytest.fixture(params=SIZES, ids=lambda bits: f"fat{bits}")
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The tree on each kind of volume."""
    return grown(make_image(tmp_path / "disk.img", SIZES[request.param][0], request.param))


def said(entry: FileInfo) -> tuple[object, ...]:
    """All that a listing shows."""
    return (
        *(entry.name, entry.size, entry.is_directory, entry.number, entry.modified),
        *(entry.created, entry.short_name, entry.flags),
    )


def opened(volume: Volume, path: str = "") -> list[tuple[str, list[tuple[object, ...]]]]:
    """A walk that opens each directory."""
    entries = volume.entries(path)
    out = [(path, [said(e) for e in entries])]
    for entry in entries:
        if entry.is_directory:
            out += opened(volume, f"{path}/{entry.name}".lstrip("/"))
    return out


def walked(volume: Volume, path: str = "") -> list[tuple[str, list[tuple[object, ...]]]]:
    """The same by `walk`."""
    return [(here, [said(e) for e in entries]) for here, entries in volume.walk(path)]


@pytest.mark.dosfstools
@pytest.mark.parametrize(("memory", "arrays"), [("1M", True), ("16M", True), ("4M", False)])
def test_a_walk_says_what_opening_says(
    tree: Path, memory: str, arrays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the root and from below, with nothing in memory and with everything, with NumPy and
    without; pages and views balance.
    """
    if not arrays:
        monkeypatch.setattr(glance, "sys", SimpleNamespace(modules={}))
    with octavo.boot(memory, [tree], read_only=True) as system:
        volume = next(iter(system.volumes.values()))
        first = walked(volume)
        assert volume.statistics()["nodes"] == 0
        below = walked(volume, "top 4")
        assert first == opened(volume) == walked(volume) and len(first) > 50
        assert below == opened(volume, "top 4") == walked(volume, "top 4")
        system.check()


@pytest.mark.dosfstools
def test_arrays_are_for_who_has_parsed_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without NumPy entries are parsed, until its import would have been cheaper."""
    image, ways = grown(make_image(tmp_path / "disk.img", SIZES[16][0], 16)), list[str]()

    def noted(way: str, old: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any) -> Any:
            ways.append(way)
            return old(*arguments)

        return act

    monkeypatch.setattr(glance, "sys", SimpleNamespace(modules={}))
    monkeypatch.setattr(glance, "MOST_PARSED", 40)
    for way in ("_parse", "_decode"):
        monkeypatch.setattr(glance.Glances, way, noted(way, getattr(glance.Glances, way)))
    with octavo.open_image(image, read_only=True) as volume:
        assert walked(volume) == walked(volume) == opened(volume)
    assert set(ways[:-1]) == {"_parse"} and ways[-1] == "_decode"


@pytest.mark.dosfstools
def test_levels_are_read_at_once(tmp_path: Path) -> None:
    """A request an extent, and no directory is opened: 70 directories of a level that lie in a row
    are one request of the device, where opening asks for each.
    """
    image = make_image(tmp_path / "disk.img", *SIZES[16][:1], 16, SIZES[16][1])
    with octavo.open_image(image) as volume:
        for i in range(70):
            volume.mkdir(f"d{i}")
    asked = []
    for way in (walked, opened):
        with octavo.boot("4M") as system:
            device = FaultyDevice(ImageDisk(image, system.scheduler, read_only=True))
            volume = system.attach_device(device)
            before = device.numbers["read"]
            assert len(way(volume)) == 71
            asked.append(device.numbers["read"] - before)
    assert asked[0] <= 2 and asked[1] >= 70, asked


@pytest.mark.dosfstools
def test_what_changes_on_the_way_is_seen(tmp_path: Path) -> None:
    """Files and directories that are made, removed, moved and written while a walk is under way are
    listed as they are when it comes to them, though they were looked at before; what the caller
    takes out is not entered.
    """
    image = grown(make_image(tmp_path / "disk.img", SIZES[16][0], 16))
    told: list[StatusError] = []
    with octavo.open_image(image) as volume:
        seen: dict[str, list[str]] = {}
        sizes = {}
        for here, entries in volume.walk(on_error=told.append):
            seen[here] = [entry.name for entry in entries]
            sizes.update({f"{here}/{entry.name}": entry.size for entry in entries})
            if here == "top 1":
                volume.mkdir("top 2/new")
                volume.write_bytes("top 2/new/file", b"")
                volume.rmdir("top 5")
                volume.rename("top 6/level0", "top 7/moved")
                with volume.open("top 8/level0/f0.txt", "ab") as file:
                    file.write(b"12345")
            if here == "top 9":
                entries[:] = [entry for entry in entries if entry.name != "level0"]
        assert seen["top 2/new"] == ["file"] and seen["top 6"] == []
        assert "level0" in seen["top 9"] and "top 9/level0" not in seen
        assert "top 7/moved" in seen and sizes["top 8/level0/f0.txt"] == 5
        assert [(e.status, e.text.split(":")[0]) for e in told] == [
            (Status.OBJECT_NAME_NOT_FOUND, "top 5")
        ]
    fsck(image)


def is_read(number: int, verb: str, n: int) -> bool:
    """Whether a request is the read of that number."""
    return verb == "read" and n == number


@pytest.mark.dosfstools
def test_directories_that_cannot_be_read_are_told_one_by_one(tmp_path: Path) -> None:
    """Whatever read fails: the error is that of a directory, and all others are listed."""
    image = grown(make_image(tmp_path / "disk.img", SIZES[16][0], 16))
    with octavo.open_image(image, read_only=True) as volume:
        every = dict(walked(volume))
    failures = 0
    for number in range(1, 100):
        with octavo.boot("4M") as system:
            device = FaultyDevice(ImageDisk(image, system.scheduler, read_only=True))
            volume = system.attach_device(device)
            start = device.numbers["read"]
            device.plan = partial(is_read, start + number)
            told: list[StatusError] = []
            found = {h: [said(e) for e in es] for h, es in volume.walk(on_error=told.append)}
            assert all(every[here] == entries for here, entries in found.items())
            assert all("injected failure" in error.text for error in told) and len(told) <= 1
            assert told or len(found) == len(every)
            failures += bool(device.failed)
            system.check()
            if not device.failed:
                break
    assert failures > 3


def wide_tree(image: Path, directories: int, files: int) -> None:
    """Directories with many files, made in no time: bytes put where a new volume has nothing."""
    with octavo.open_image(image) as volume:
        for i in range(directories):
            volume.mkdir(f"d{i}")
        numbers = [entry.number for entry in volume.entries()]
    g = parse_boot_sector(image.read_bytes()[:512], "image", image.stat().st_size)
    blank = new_entry("x", ARCHIVE, STAMP, b"F0000000DAT")
    rows = np.frombuffer(blank.pack() * files, np.uint8).reshape(files, 32).copy()
    for digit in range(7):
        rows[:, 7 - digit] = np.arange(files) // 10**digit % 10 + ord("0")
    need = -(-(files + 2) * 32 // g.cluster)
    free = max(numbers) + 1
    table = np.memmap(image, np.uint32, "r+", g.fat_offset, (g.clusters + 2,))
    mirror = np.memmap(image, np.uint32, "r+", g.fat_offset + g.fat_size, (g.clusters + 2,))
    data = np.memmap(image, np.uint8, "r+")
    for number in numbers:
        chain = [number, *range(free, free + need - 1)]
        free += need - 1
        table[chain] = mirror[chain] = [*chain[1:], 0x0FFFFFFF]
        body = rows.reshape(-1)
        first = g.cluster - 64
        data[g.place(number) + 64 : g.place(number) + g.cluster] = body[:first]
        at = g.place(chain[1])
        data[at : at + len(body) - first] = body[first:]
    info = np.memmap(image, np.uint32, "r+", 512 + 488, (1,))
    info[0] -= directories * (need - 1)


@pytest.mark.dosfstools
def test_memory_of_a_walk_is_bounded(tmp_path: Path) -> None:
    """200,000 files in 100 directories, in 4 MiB of memory: what the walk keeps of them is a few
    MiB of the host's.
    """
    image = make_image(tmp_path / "disk.img", 80 << 20, 32, 1024)
    wide_tree(image, 100, 2000)
    fsck(image)
    with octavo.boot("4M", [image], read_only=True) as system:
        volume = next(iter(system.volumes.values()))
        tracemalloc.start()
        count = sum(len(entries) for _, entries in volume.walk())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 100 * 2000 + 100
        assert peak < 12 << 20, peak
        system.check()
