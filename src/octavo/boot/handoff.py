"""What the loader leaves to the kernel: page tables in RAM, and a loader block that says what is
where.

    loader block        0  magic "OCTAVOLB"     8  version u32      12  size u32 (bytes, all of it)
                       16  format u32 (index)  20  descriptors u32  24  kernel address u64
                       32  image pages u64, from the window's start to the last address placed
                       40  root table's frame u64
                       48  CRC-32 of the block with this field 0            52  0
                       56  descriptors of 32 bytes: type u32, 0 u32, first frame u64, pages u64,
                           address u64

    hand_off    claims frames, places everything, writes the tables and the block
    read_block  the kernel's side: believes nothing that it has not checked

The block lists the frames of the tables and of itself, since they are claimed before it is written;
a frame that the loader uses is never listed as free.

Source: ExectOS's loader block (versions that must agree, descriptors, image size). Departures: a
checksum; 64-bit frame numbers, so that nothing is lost above 4 GiB under PAE.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from octavo.boot.loader import MOST_DESCRIPTORS, Descriptor, LoaderMap, LoaderType
from octavo.machine.abi import GLOBAL, NO_EXECUTE, PAGE_SHIFT, PAGE_SIZE, WRITABLE
from octavo.machine.pagetables import PageTables
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
from octavo.status import Status, StatusError

MAGIC = b"OCTAVOLB"
VERSION = 1
_HEADER = struct.Struct("<8sIIIIQQQII")
_DESCRIPTOR = struct.Struct("<IIQQQ")
_SLACK = 64  # descriptors that claiming tables may add
_NAMES = list(FORMATS)
_LOW = 1 << (32 - PAGE_SHIFT)


@dataclass(frozen=True)
class LoaderBlock:
    """What the kernel learns: the format, where it was put, its root table's frame, and every
    descriptor.
    """

    arch: str
    kernel: int
    image_pages: int
    root: int
    descriptors: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Handoff:
    """The map as the kernel gets it, its tables, and the physical address of the block."""

    map: LoaderMap
    tables: PageTables
    block: int


def hand_off(ram: Ram, loader_map: LoaderMap, kernel_pages: int) -> Handoff:
    """Builds tables and block in free frames of `ram`; the kernel image has `kernel_pages` pages,
    taken from the top of free memory.

    `loader_map` is not changed. StatusError where memory or the window is too small.
    """
    out = LoaderMap(loader_map.format, loader_map.items)
    limit = min(ram.frames, out.frames_limit)
    kernel = _take(out, kernel_pages, limit, "the kernel image")
    size = _HEADER.size + (len(out.items) + _SLACK) * _DESCRIPTOR.size
    pages = -(-size // PAGE_SIZE)
    block = _take(LoaderMap(out.format, out.items), pages, kernel, "the loader block")
    out.place(kernel_pages, kernel, [(LoaderType.DATA, block, pages)])
    tables = PageTables(ram, out.format, _allocator(out, limit))
    _map_all(out, tables)
    _write_block(ram, out, tables, block, pages)
    return Handoff(out, tables, block << PAGE_SHIFT)


def _map_all(loader_map: LoaderMap, tables: PageTables) -> None:
    """Enters what has an address into the tables, and the tables themselves."""
    for item in [d for d in loader_map.items if d.virtual]:
        code = item.type in (LoaderType.PROGRAM, LoaderType.TEMPORARY, LoaderType.PERMANENT)
        kernel_side = item.virtual >= loader_map.window.start
        flags = WRITABLE | (0 if code else NO_EXECUTE) | (GLOBAL if kernel_side else 0)
        tables.map_pages(item.virtual, item.first, item.count, flags)
    tables.map_self()


def _take(loader_map: LoaderMap, pages: int, below: int, what: str) -> int:
    first = loader_map.free_run(pages, below)
    if not first:
        raise StatusError(
            Status.INSUFFICIENT_RESOURCES,
            f"no {pages} free pages in a row for {what} below frame {below:#x}",
        )
    return first


def _allocator(loader_map: LoaderMap, limit: int) -> Callable[[bool], int]:
    """Frames for tables: claimed in the map at once, so that nobody can list them as free."""

    def allocate(low: bool) -> int:
        frame = loader_map.free_run(1, min(limit, _LOW) if low else limit)
        if frame:
            loader_map.claim(frame, 1, LoaderType.DATA)
        return frame

    return allocate


def _write_block(
    ram: Ram, loader_map: LoaderMap, tables: PageTables, block: int, pages: int
) -> None:
    items = loader_map.items
    image = (loader_map.next - loader_map.window.start) >> PAGE_SHIFT
    size = _HEADER.size + len(items) * _DESCRIPTOR.size
    if size > pages << PAGE_SHIFT:
        raise StatusError(
            Status.INSUFFICIENT_RESOURCES,
            f"{len(items)} descriptors do not fit into the {pages} pages of the loader block",
        )
    body = b"".join(_DESCRIPTOR.pack(d.type, 0, d.first, d.count, d.virtual) for d in items)

    number = _NAMES.index(loader_map.format.name)
    kernel, root = loader_map.kernel, tables.root
    fields = MAGIC, VERSION, size, number, len(items), kernel, image, root
    checksum = zlib.crc32(_HEADER.pack(*fields, 0, 0) + body)
    data = _HEADER.pack(*fields, checksum, 0) + body
    ram.bytes[block << PAGE_SHIFT : (block << PAGE_SHIFT) + size] = data


def read_block(ram: Ram, address: int) -> LoaderBlock:
    """The loader block at a physical address. StatusError REVISION_MISMATCH or INVALID_PARAMETER
    that names the field that is wrong.
    """
    try:
        return _believe(*_read_whole(ram, address))
    except StatusError as error:
        where = f"loader block at {address:#x}"
        raise StatusError(error.status, f"{where}: {error.text}") from None


def _read_whole(ram: Ram, address: int) -> tuple[bytes, bytes]:
    """Header and body of a block. StatusError where the header does not hold for them."""
    if not 0 <= address <= (ram.frames << PAGE_SHIFT) - _HEADER.size:
        raise _wrong("outside RAM")
    head = bytes(ram.bytes[address : address + _HEADER.size])
    magic, version, size, _, count, _, _, _, checksum, _ = _HEADER.unpack(head)
    if magic != MAGIC:
        raise _wrong(f"the magic is {magic!r}")
    if version != VERSION:
        raise StatusError(
            Status.REVISION_MISMATCH, f"version {version}, and this kernel knows {VERSION}"
        )
    whole = _HEADER.size + count * _DESCRIPTOR.size
    if count > MOST_DESCRIPTORS or size != whole or address + size > ram.frames << PAGE_SHIFT:
        raise _wrong(f"size {size} and {count} descriptors do not agree")
    body = bytes(ram.bytes[address + _HEADER.size : address + size])
    if zlib.crc32(head[:48] + bytes(4) + head[52:] + body) != checksum:
        raise _wrong("the checksum is wrong")
    return head, body


def _believe(head: bytes, body: bytes) -> LoaderBlock:
    """What a block says. StatusError where no machine can be so."""
    _, _, _, number, _, kernel, image, root, _, _ = _HEADER.unpack(head)
    if number >= len(_NAMES):
        raise _wrong(f"format {number} is unknown")
    end = FORMATS[_NAMES[number]].physical_limit >> PAGE_SHIFT
    descriptors = tuple(_descriptors(body, end))
    for a, b in pairwise(descriptors):
        if a.end > b.first:
            raise _wrong(f"{a} overlaps {b}")
    return LoaderBlock(_NAMES[number], kernel, image, root, descriptors)


def _descriptors(body: bytes, end: int) -> Iterator[Descriptor]:
    """The descriptors of a block; all lie below frame `end`."""
    types = {t.value for t in LoaderType}
    for i, (kind, _, first, pages, virtual) in enumerate(_DESCRIPTOR.iter_unpack(body)):
        if kind not in types or not pages or first + pages > end or virtual % PAGE_SIZE:
            raise _wrong(f"descriptor {i} is not possible")
        yield Descriptor(first, pages, LoaderType(kind), virtual)


def _wrong(text: str) -> StatusError:
    return StatusError(Status.INVALID_PARAMETER, text)
