"""Partition tables as bytes, as sfdisk makes and lists them, and as they are listed here."""

from __future__ import annotations

import json
import struct
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID
from zlib import crc32

from octavo.storage.gpt import MOST_ARRAY
from octavo.storage.partitions import PartitionTable, partitions
from octavo.testing.bufferdisk import BufferDisk
from tests.conftest import blank_image, run

T = TypeVar("T")


MIB = 1 << 20


EFI = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


MOST_READS = 1200  # of sectors, for any table


def done(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("it waits")


def listed(data: bytes | bytearray, unit: int = 512, size: int = 0) -> PartitionTable:
    """What `partitions` says of a disk that begins with `data` and has zeros behind, if it has more
    bytes. It reads a bounded number of times, within the disk.
    """
    device = BufferDisk("disk", bytearray(512))
    device.size = size or len(data)
    reads = 0

    async def read(offset: int, length: int) -> bytes:
        nonlocal reads
        reads += 1
        assert reads < MOST_READS and 0 <= length <= MOST_ARRAY
        assert offset >= 0 and offset + length <= device.size
        return bytes(data[offset : offset + length]).ljust(length, b"\0")

    return done(partitions(device, read, unit))


def by_sfdisk(disk: Path) -> list[tuple[int, str, int, int, str]]:
    """(number, type, first byte, bytes, name) of each partition as sfdisk lists them."""
    printed = run("sfdisk", "-J", disk)
    table = json.loads(printed[printed.index("{") :])["partitiontable"]
    out = []
    for part in table.get("partitions", []):
        kind, unit = part["type"], table["sectorsize"]
        kind = kind if len(kind) > 2 else f"0x{int(kind, 16):02X}"
        number = int(part["node"].removeprefix(str(disk)).lstrip("p"))
        out.append((number, kind, part["start"] * unit, part["size"] * unit, part.get("name", "")))
    return sorted(out)


def by_us(table: PartitionTable) -> list[tuple[int, str, int, int, str]]:
    """The same of `partitions`."""
    return [(e.number, e.type, e.start, e.size, e.name) for e in table.entries]


def sfdisk(path: Path, size: int, script: str) -> Path:
    """A disk with a table made by sfdisk."""
    blank_image(path, size)
    path.with_suffix(".script").write_text(script)
    run("sh", "-c", f"sfdisk -q {path} < {path.with_suffix('.script')}")
    return path


# -- by sfdisk -------------------------------------------------------------------------------------

SCRIPTS = {
    "one": "label: dos\n,,c,*\n",
    "four": "label: dos\n,8M,83\n,8M,82\n,8M,ef\n,,7\n",
    "gaps": "label: dos\n4: start=4096,size=100,type=6\n2: start=90000,size=7,type=da\n",
    "logical": "label: dos\n1: size=9M,type=c\n2: size=40M,type=f\n5: size=5M\n6: size=6M\n"
    "7: size=1M,type=1\n8: type=8e\n",
    "logical only": "label: dos\n,,5\n,5M,83\n,5M,83\n",
    "no logical": "label: dos\n,,85\n",
    "twenty": "label: dos\n,,5\n" + ",1M,83\n" * 20,
    "backwards": "label: dos\n1: start=2048,size=120000,type=5\n5: start=90000,size=900,type=6\n"
    "6: start=50000,size=900,type=83\n7: start=9000,size=900,type=83\n",
    "empty": "label: dos\n",
    "gpt": "label: gpt\n,10M,U\n,,L\n",
    "names": 'label: gpt\nsize=1M,name="EFI böot"\nsize=1M,name="\U0001f4be 日本"\nsize=1M,'
    'name="123456789012345678901234567890123456"\n',
    "gpt gaps": "label: gpt\n7: size=1M\n128: start=90000,size=1\n3: size=3M\n",
    "short array": "label: gpt\ntable-length: 4\n,1M\n,1M\n",
    "long array": "label: gpt\ntable-length: 1000\n" + ",100K\n" * 60,
    "gpt empty": "label: gpt\n",
}


# -- MBR -------------------------------------------------------------------------------------------

Row = tuple[int, int, int]  # type, first sector, sectors


def table_sector(rows: Sequence[Row]) -> bytes:
    """A sector with a partition table."""
    packed = b"".join(struct.pack("<B3xB3xII", 0, *row) for row in rows)
    return bytes(446) + packed.ljust(64, b"\0") + b"\x55\xaa"


def mbr_disk(sectors: Mapping[int, Sequence[Row]], size: int = 20000, unit: int = 512) -> bytes:
    """A disk of `size` sectors, with tables in some of them."""
    disk = bytearray(size * unit)
    for at, rows in sectors.items():
        disk[at * unit : at * unit + 512] = table_sector(rows)
    return bytes(disk)


# -- GPT -------------------------------------------------------------------------------------------


def gpt_header(
    at: int, other: int, entries: int, array: bytes, count: int, size: int, **change: int
) -> bytes:
    """A header with its checksum; `change` sets its `length`, `here` or `crc`."""
    data = struct.pack(
        "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, change.get("length", 92), 0, 0,
        change.get("here", at), other, 34, 900, bytes(16), entries, count, size,
        change.get("crc", crc32(array)),
    )  # fmt: skip
    length = change.get("length", 92)
    return data[:16] + struct.pack("<I", crc32(data.ljust(length, b"\0"))) + data[20:]


def gpt_entry(first: int, last: int, kind: str = LINUX, name: str = "") -> bytes:
    """An entry."""
    text = name.encode("utf-16-le").ljust(72, b"\0")
    return struct.pack("<16s16sQQQ", UUID(kind).bytes_le, bytes(16), first, last, 0) + text


def gpt_disk(
    rows: Sequence[bytes], unit: int = 512, sectors: int = 1000, size: int = 128, **change: int
) -> bytearray:
    """A disk of 1,000 sectors with a GPT: 16 entries, and their backup."""
    array = b"".join(row.ljust(size, b"\0") for row in rows).ljust(16 * size, b"\0")
    disk = bytearray(sectors * unit)
    disk[:512] = table_sector([(0xEE, 1, sectors - 1)])
    disk[2 * unit : 2 * unit + len(array)] = array
    header = gpt_header(1, sectors - 1, 2, array, 16, size, **change)
    disk[unit : unit + len(header)] = header
    there = sectors - 1 - -(-len(array) // unit)
    disk[there * unit : there * unit + len(array)] = array
    header = gpt_header(sectors - 1, 1, there, array, 16, size)
    disk[(sectors - 1) * unit : (sectors - 1) * unit + len(header)] = header
    return disk
