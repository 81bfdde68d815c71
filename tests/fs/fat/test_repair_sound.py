"""Repairs of chains that lead into one another: a file that its chain and its entry agree about has
its bytes afterwards, without room for copies, below what is left alone, when a read fails and when
the power goes in the middle.

What is sound is said by a reader of bytes that has nothing of Octavo's.
"""

from __future__ import annotations

import gc
import random
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import octavo
from octavo.fs.base import Problem
from octavo.status import Status, StatusError
from octavo.testing import BufferDisk, FaultyDevice, RecordingDevice
from octavo.testing.crash import replay, states
from tests.conftest import fsck, make_image

UNIT = 512
END = 0xFFFF


class Reader:
    """A FAT16 volume with clusters of 512 bytes, read and changed by hand."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        reserved, fats, roots = struct.unpack_from("<HBH", data, 14)
        (self.size,) = struct.unpack_from("<H", data, 22)
        self.fat, self.fats = reserved * UNIT, fats
        self.root = self.fat + fats * self.size * UNIT
        self.first: int = self.root + roots * 32
        self.roots: int = roots
        self.clusters = (len(data) - self.first) // UNIT

    def get(self, cluster: int) -> int:
        """An entry of the FAT."""
        at = self.fat + 2 * cluster
        return int.from_bytes(self.data[at : at + 2], "little")

    def put(self, cluster: int, value: int) -> None:
        """The same in all copies."""
        for copy in range(self.fats):
            at = self.fat + copy * self.size * UNIT + 2 * cluster
            struct.pack_into("<H", self.data, at, value)

    def place(self, cluster: int) -> int:
        """Where a cluster is."""
        return self.first + (cluster - 2) * UNIT

    def chain(self, cluster: int) -> list[int] | None:
        """The clusters of a chain, None for a damaged one."""
        out: list[int] = []
        while cluster < 0xFFF8:
            if not 2 <= cluster < self.clusters + 2 or len(out) > self.clusters:
                return None
            out.append(cluster)
            cluster = self.get(cluster)
        return out

    def entries(self) -> Iterator[tuple[str, int, int, int]]:
        """(path, offset of the entry, first cluster, size) of files and directories (-1) that can
        be reached.
        """
        todo = [("", [self.root + 32 * i for i in range(self.roots)])]
        seen: set[int] = set()
        while todo:
            path, slots = todo.pop()
            for at in slots:
                raw = self.data[at : at + 32]
                if not raw[0]:
                    break
                if raw[0] in b"\xe5." or raw[11] & 8:
                    continue
                name = raw[:8].decode("latin-1").strip() + "." + raw[8:11].decode("latin-1").strip()
                here = f"{path}/{name.rstrip('.')}"
                cluster, size = struct.unpack_from("<HI", raw, 26)
                inside = raw[11] & 0x10
                yield here, at, cluster, -1 if inside else size
                chain = self.chain(cluster) if inside and cluster not in seen else None
                seen.add(cluster if inside else 0)
                todo += (
                    [(here, [self.place(c) + 32 * i for c in chain for i in range(16)])]
                    if chain
                    else []
                )

    def sound(self) -> dict[str, bytes]:
        """The contents of files whose chain and size agree."""
        out = {}
        for path, _, cluster, size in self.entries():
            chain = self.chain(cluster) if cluster else []
            if not re.fullmatch(r"[/A-Z0-9.]+", path):
                continue  # what looks like an entry in a file that a directory's entry leads to
            if size >= 0 and chain is not None and len(chain) == -(-size // UNIT):
                whole = b"".join(self.data[self.place(c) : self.place(c) + UNIT] for c in chain)
                out[path] = whole[:size]
        return out


def repair(
    data: bytearray, device: Callable[[BufferDisk], BufferDisk] = lambda d: d
) -> list[Problem]:
    """`check --repair`, in place."""
    with octavo.boot("8M") as system:
        return system.attach_device(device(BufferDisk("d", data))).check(repair=True)


def made(folder: Path, files: dict[str, bytes], full: bool = False) -> Reader:
    """A small volume with these files, in their order; if it is `full`, without a free cluster."""
    image = make_image(folder / "disk.img", 2500 << 10, 16, UNIT)
    with octavo.open_image(image) as volume:
        for path, contents in files.items():
            if "/" in path:
                volume.mkdir(path.rpartition("/")[0], parents=True)
            volume.write_bytes(path, contents)
        if full:
            volume.write_bytes("BALLAST", bytes(volume.space().free))
    return Reader(image.read_bytes())


def noise(size: int) -> bytes:
    """Bytes that are nowhere else."""
    return random.Random(size).randbytes(size)


def first(reader: Reader, path: str) -> int:
    """The first cluster of a file."""
    return next(cluster for p, _, cluster, _ in reader.entries() if p == path)


def lead_entry(reader: Reader) -> None:
    """A's entry leads to PRECIOUS."""
    at = next(at for path, at, _, _ in reader.entries() if path == "/A")
    struct.pack_into("<H", reader.data, at + 26, first(reader, "/D/PRECIOUS"))


def lead_chain(reader: Reader) -> None:
    """A's chain leads into the middle of PRECIOUS."""
    reader.put(first(reader, "/A") + 1, first(reader, "/D/PRECIOUS") + 10)


FILES = {"A": b"a" * 2000, "Y": b"y" * 3000, "D/PRECIOUS": noise(20000)}


@pytest.mark.dosfstools
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("lead", [lead_entry, lead_chain])
def test_a_sound_file_that_another_leads_into(
    lead: Callable[[Reader], None], full: bool, tmp_path: Path
) -> None:
    """It stays whole, with room and without; what is said to be mended is clean."""
    reader = made(tmp_path, FILES, full)
    lead(reader)
    sound = reader.sound()
    assert "/D/PRECIOUS" in sound and "/A" not in sound
    said = repair(reader.data)
    assert reader.sound().items() >= sound.items()
    (tmp_path / "mended.img").write_bytes(reader.data)
    if all(problem.mended for problem in said):
        fsck(tmp_path / "mended.img")
    assert repair(reader.data) == [p for p in said if not p.mended]
    assert reader.sound().items() >= sound.items()


def test_no_chain_of_a_kept_file_is_cut(tmp_path: Path) -> None:
    """Two sound files share a chain that a third, too long, shares as well; without room all is
    left, and told.
    """
    reader = made(tmp_path, {"A": b"a" * 700, "B": noise(9000), "C": noise(8999)}, True)
    for path in ("/A", "/C"):
        at = next(at for p, at, _, _ in reader.entries() if p == path)
        before = reader.chain(first(reader, path))
        assert before is not None
        for cluster in before:
            reader.put(cluster, END)  # no room in them either: files have them
        struct.pack_into("<H", reader.data, at + 26, first(reader, "/B"))
    ballast = first(reader, "/BALLAST")
    lost = [
        c
        for c in range(2, ballast)
        if reader.get(c) == END and c not in (reader.chain(first(reader, "/B")) or [])
    ]
    last = (reader.chain(ballast) or [])[-1]
    for cluster in lost:  # to the ballast, whose size follows
        reader.put(last, cluster)
        last = cluster
    at = next(at for p, at, _, _ in reader.entries() if p == "/BALLAST")
    struct.pack_into("<I", reader.data, at + 28, len(reader.chain(ballast) or []) * UNIT)
    sound = reader.sound()
    assert {"/B", "/C", "/BALLAST"} <= sound.keys() and "/A" not in sound
    said = repair(reader.data)
    assert [p.where for p in said if not p.mended] and reader.sound() == sound


@pytest.mark.parametrize("lead", [lead_entry, lead_chain])
def test_nothing_is_cut_that_a_directory_left_alone_may_need(
    lead: Callable[[Reader], None], tmp_path: Path
) -> None:
    """D shares a cluster with Y: it is not looked into, and PRECIOUS in it may be whose chain A
    leads into.
    """
    reader = made(tmp_path, FILES)
    lead(reader)
    reader.put(first(reader, "/D"), first(reader, "/Y"))
    before = reader.sound()
    assert "/D/PRECIOUS" in before
    said = repair(reader.data)
    assert any("cannot be told" in p.what for p in said) and any(
        "may need it" in p.what for p in said
    )
    assert reader.sound()["/D/PRECIOUS"] == before["/D/PRECIOUS"]


@pytest.mark.parametrize("number", range(1, 14))
def test_a_read_that_fails_once(number: int, tmp_path: Path) -> None:
    """Whatever a repair could not read, what it has not seen is there after it, and after the next
    one.
    """
    reader = made(tmp_path, FILES)
    lead_chain(reader)
    sound = reader.sound()

    def fails(verb: str, n: int) -> bool:
        return verb == "read" and n == number

    try:
        repair(reader.data, lambda disk: FaultyDevice(disk, fails))  # type: ignore[arg-type, return-value]
    except StatusError as error:
        assert error.status == Status.IO_DEVICE_ERROR
    assert reader.sound().items() >= sound.items()
    repair(reader.data)
    assert reader.sound().items() >= sound.items()


def test_power_that_goes_during_a_repair(tmp_path: Path) -> None:
    """At any moment, with any order between flushes: the next repair ends with the same files."""
    reader = made(tmp_path, FILES)
    lead_chain(reader)
    sound, before = reader.sound(), bytes(reader.data)
    devices: list[RecordingDevice] = []

    def recorded(disk: BufferDisk) -> BufferDisk:
        devices.append(RecordingDevice(disk))
        return devices[0]  # type: ignore[return-value]

    repair(reader.data, recorded)
    epochs, count = devices[0].epochs, 0
    medium = bytearray(before)
    for _ in replay(medium, epochs, states(epochs, random.Random(1), 32)):
        count += 1
        again = Reader(bytes(medium))
        assert again.sound().items() >= sound.items()
        repair(again.data)
        assert again.sound().items() >= sound.items()
    assert count > 20


@pytest.mark.dosfstools
@pytest.mark.parametrize("seed", range(24))
def test_random_links(seed: int, tmp_path: Path) -> None:
    """Entries of FAT and directories lead anywhere, on volumes that are full or not: what is sound
    then stays so.
    """
    rng = random.Random(seed)
    files = {}
    for i in range(rng.randint(4, 30)):
        folder = rng.choice(("", "", "D/", "E/", "D/F/"))
        files[f"{folder}N{i}"] = rng.randbytes(rng.choice((0, 1, 512, 513, 3000, 9000)))
    original = made(tmp_path, {"D/X": b"", "D/F/X": b"", "E/X": b""} | files, full=seed % 2 == 0)
    for _ in range(12):
        reader = Reader(bytes(original.data))
        used = [c for c in range(2, reader.clusters + 2) if reader.get(c)]
        for _ in range(rng.choice((1, 1, 2, 5))):
            target = rng.choice((rng.choice(used), rng.choice(used), 0, END, reader.clusters + 2))
            if rng.random() < 0.5:
                reader.put(rng.choice(used), target)
            else:
                at = rng.choice([at for _, at, _, _ in reader.entries()])
                struct.pack_into("<H", reader.data, at + 26, target)
        sound = reader.sound()
        said = repair(reader.data)
        assert reader.sound().items() >= sound.items(), said
        if all(problem.mended for problem in said):
            (tmp_path / "mended.img").write_bytes(reader.data)
            fsck(tmp_path / "mended.img")


def test_a_directory_without_its_dots_keeps_all_that_is_below(tmp_path: Path) -> None:
    """It may be none: nothing is changed in it, and no cluster is freed."""
    reader = made(tmp_path, {"D/E/DEEP": noise(5000), "D/N": noise(700)})
    at = reader.place(first(reader, "/D"))
    for slot in (at, at + 32):
        reader.data[slot : slot + 32] = b"GARBAGE BIN" + b"\x20" + bytes(20)
    before, sound = bytes(reader.data), reader.sound()
    said = repair(reader.data)
    assert any("it may be no directory" in p.what and not p.mended for p in said)
    assert {"/D/E/DEEP", "/D/N"} <= sound.keys() and reader.sound() == sound
    assert reader.data[reader.root :] == before[reader.root :]


@pytest.mark.dosfstools
@pytest.mark.parametrize(
    ("slot", "byte", "value", "says"),
    [
        (2, 0, 0, "entries in use stand behind that"),
        (0, 11, 8, 'has a damaged "."'),
        (1, 11, 8, 'has a damaged ".."'),
        (0, 11, 0x18, 'has a damaged "."'),
    ],
)
def test_one_byte_of_a_directory(
    slot: int, byte: int, value: int, says: str, tmp_path: Path
) -> None:
    """It is told, mended in one pass, and what stands in the other slots is as it was."""
    reader = made(tmp_path, {"D/A": noise(700), "D/B": noise(5000), "D/C": noise(3)})
    sound = reader.sound()
    reader.data[reader.place(first(reader, "/D")) + 32 * slot + byte] = value
    said = repair(reader.data)
    assert any(says in p.what for p in said) and all(p.mended for p in said)
    lost = {"/D/A": sound["/D/A"]} if slot == 2 else {}
    assert reader.sound() == {path: data for path, data in sound.items() if path not in lost}
    assert repair(reader.data) == []
    (tmp_path / "mended.img").write_bytes(reader.data)
    fsck(tmp_path / "mended.img")


@pytest.mark.dosfstools
def test_a_directory_whose_chain_runs_into_what_nobody_has(tmp_path: Path) -> None:
    """What is there is told, and cleared: others read on behind the end of a directory."""
    reader = made(tmp_path, {"D/A": noise(700), "GONE": noise(900)})
    gone = first(reader, "/GONE")
    at = next(at for path, at, _, _ in reader.entries() if path == "/GONE")
    reader.data[at] = 0xE5
    reader.put(first(reader, "/D"), gone)
    said = repair(reader.data)
    assert any("remains of entries behind its end" in p.what for p in said) and all(
        p.mended for p in said
    )
    assert repair(reader.data) == []
    (tmp_path / "mended.img").write_bytes(reader.data)
    fsck(tmp_path / "mended.img")


def test_a_repair_that_fails_leaves_no_coroutine_behind(tmp_path: Path) -> None:
    """Every write fails: one sentence, and no warning of Python's (they are errors in these
    tests).
    """
    reader = made(tmp_path, FILES)
    lead_chain(reader)
    with pytest.raises(StatusError, match="injected failure of write"):
        repair(reader.data, lambda d: FaultyDevice(d, lambda verb, n: verb == "write"))  # type: ignore[arg-type, return-value]
    gc.collect()
