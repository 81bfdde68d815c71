"""Image sections: what an ELF program's headers say is to be mapped where.

    file      | header | PT_LOAD: offset ...... offset + filesz |
    memory             | vaddr ........ vaddr + filesz | zeros .... vaddr + memsz |

Pages of the file are mapped copy-on-write where they may be written, else read-only; the rest of
the last page of the file's part and whole pages behind it are zeros, private. A
position-independent image (ET_DYN) is put where there is room.

Source: System V ABI, ELF-32 and ELF-64. Only the program headers are looked at, 64 of them at most.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.memory.spaces.protect import Protect
from octavo.status import Status, StatusError

HEADER_BYTES = 4096  # how much of a file is looked at
MOST_HEADERS = 64
_LOAD, _EXECUTABLE, _DYNAMIC = 1, 2, 3


@dataclass(frozen=True)
class Part:
    """Pages [page, page + pages) of memory; the first `mapped` are the file's from page `first` on.
    `tail` bytes of the last of them count.
    """

    page: int
    pages: int
    first: int
    mapped: int
    tail: int
    protect: Protect


@dataclass(frozen=True)
class Image:
    """A program: its parts, ascending; `entry` is where it begins; `fixed` when it must be at these
    addresses.
    """

    parts: tuple[Part, ...]
    entry: int
    fixed: bool

    @property
    def pages(self) -> tuple[int, int]:
        """The first page and the end."""
        return self.parts[0].page, max(p.page + p.pages for p in self.parts)


def parse_image(name: str, head: bytes, size: int, wide: bool) -> Image:
    """The image whose file of `size` bytes begins with `head`; `wide` for 64 bits. StatusError
    INVALID_IMAGE_FORMAT.
    """
    if head[:4] != b"\x7fELF" or len(head) < 64:
        raise _bad(name, "is no ELF file")
    if head[4] != 1 + wide or head[5] != 1:
        raise _bad(name, f"is not for a little-endian machine of {64 if wide else 32} bits")
    layout = "<HHIQQQIHHH" if wide else "<HHIIIIIHHH"
    kind, _, _, entry, table, _, _, _, width, count = struct.unpack_from(layout, head, 16)
    expected = 56 if wide else 32
    if kind not in (_EXECUTABLE, _DYNAMIC):
        raise _bad(name, f"is of ELF type {kind}, not a program")
    if width != expected or not 0 < count <= MOST_HEADERS or table + count * width > len(head):
        raise _bad(
            name,
            f"has {count} program headers of {width} bytes at {table:#x}, and {expected} "
            f"bytes each within the first {HEADER_BYTES} are wanted",
        )
    parts = [
        part
        for i in range(count)
        if (part := _part(name, head, table + i * width, size, wide)) is not None
    ]
    if not parts:
        raise _bad(name, "has nothing to load")
    for before, after in pairwise(parts):
        if after.page < before.page + before.pages:
            raise _bad(name, f"loads two parts into the page at {after.page << PAGE_SHIFT:#x}")
    return Image(tuple(parts), entry, kind == _EXECUTABLE)


def _part(name: str, head: bytes, at: int, size: int, wide: bool) -> Part | None:
    if wide:
        kind, flags, offset, address, _, filesz, memsz, _ = struct.unpack_from(
            "<IIQQQQQQ", head, at
        )
    else:
        kind, offset, address, _, filesz, memsz, flags, _ = struct.unpack_from(
            "<IIIIIIII", head, at
        )
    if kind != _LOAD or not memsz:
        return None
    if (
        (offset - address) % PAGE_SIZE
        or filesz > memsz
        or offset + filesz > size
        or address + memsz > 1 << (47 if wide else 31)
    ):
        raise _bad(
            name,
            f"loads {filesz} of {memsz} bytes at {address:#x} from {offset:#x}, and the "
            f"file has {size}",
        )
    inside = address % PAGE_SIZE
    mapped = filesz + inside + PAGE_SIZE - 1 >> PAGE_SHIFT if filesz else 0
    pages = memsz + inside + PAGE_SIZE - 1 >> PAGE_SHIFT
    tail = (filesz + inside - 1) % PAGE_SIZE + 1 if memsz > filesz and filesz else PAGE_SIZE
    writes, runs = bool(flags & 2), bool(flags & 1)
    protect = (
        (Protect.EXECUTE_WRITECOPY if runs else Protect.WRITECOPY)
        if writes
        else (Protect.EXECUTE_READ if runs else Protect.READONLY)
    )
    return Part(address >> PAGE_SHIFT, pages, offset >> PAGE_SHIFT, mapped, tail, protect)


def _bad(name: str, what: str) -> StatusError:
    return StatusError(Status.INVALID_IMAGE_FORMAT, f"{name}: {what}")
