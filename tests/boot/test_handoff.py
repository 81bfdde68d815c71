"""What the loader leaves: finished tables, read through Unicorn's MMU, and the loader block."""

from __future__ import annotations

import ctypes
import importlib
import zlib
from itertools import pairwise
from typing import Any

import pytest

from octavo.boot.handoff import hand_off, read_block
from octavo.boot.loader import APIC_FRAME, LoaderMap, LoaderType
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.firmware import MemoryKind
from octavo.machine.mapsources import load_firmware_map, recorded_maps
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
from octavo.status import Status, StatusError

ARCHES = list(FORMATS)


@pytest.mark.parametrize("name", recorded_maps())
@pytest.mark.parametrize("arch", ARCHES)
def test_hand_over(arch: str, name: str) -> None:
    """On every machine: the kernel reads back the map; tables agree with it; no frame in use is
    listed as free; reserved memory is not mapped.
    """
    ranges = load_firmware_map(name)
    ram = Ram(2048)
    left = hand_off(ram, LoaderMap.from_firmware(FORMATS[arch], ranges), 64)
    left.map.check()
    block = read_block(ram, left.block)
    assert (
        block.descriptors == tuple(left.map.items)
        and block.arch == arch
        and block.root == left.tables.root
    )
    used = {*left.tables.tables, left.block // PAGE_SIZE}
    assert not any(
        d.type == LoaderType.FREE and any(d.first <= f < d.end for f in used)
        for d in block.descriptors
    )
    expected = {d.virtual: (d.first, d.count) for d in block.descriptors if d.virtual}
    pages = sorted(left.tables.leaves())
    for virtual, (first, count) in expected.items():
        for at in (0, count // 2, count - 1):
            seen = left.tables.translate(virtual + at * PAGE_SIZE)
            assert seen is not None and seen.physical == (first + at) * PAGE_SIZE
    assert sum(p for _, _, p, _ in pages) == sum(count for _, count in expected.values())
    if name.startswith("ovmf"):  # regions of MiB: large pages where both sides are aligned
        assert {p for _, _, p, _ in pages} >= {1, 1024 if arch == "i386" else 512}
    for r in ranges:
        if r.kind in (MemoryKind.RESERVED, MemoryKind.UNUSABLE):
            first, end = r.start // PAGE_SIZE, -(-r.end // PAGE_SIZE)
            inside = [
                f
                for _, f, p, _ in pages
                if f < end and f + p > first and not f <= APIC_FRAME < f + p and f >= 0x100
            ]
            assert not inside, f"reserved memory {r} is mapped"
    assert all(a[0] + a[2] * PAGE_SIZE <= b[0] for a, b in pairwise(pages))


def test_every_damaged_byte_of_the_block_is_noticed() -> None:
    """A flipped bit anywhere, a wrong place, an older version."""
    ram = Ram(2048)
    left = hand_off(ram, LoaderMap.from_firmware(FORMATS["pae"], load_firmware_map("pc-8m")), 16)
    size = ram.word[left.block + 12 >> 2]
    for at in range(left.block, left.block + size):
        ram.bytes[at] ^= 1 << at % 8
        with pytest.raises(StatusError, match="loader block at"):
            read_block(ram, left.block)
        ram.bytes[at] ^= 1 << at % 8
    read_block(ram, left.block)
    ram.word[left.block + 8 >> 2] = 2
    with pytest.raises(StatusError, match="version 2, and this kernel knows 1") as error:
        read_block(ram, left.block)
    assert error.value.status == Status.REVISION_MISMATCH
    with pytest.raises(StatusError, match="outside RAM"):
        read_block(ram, 2048 * PAGE_SIZE)


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (0, b"OCTAVOLC", "the magic is b'OCTAVOLC'"),
        (16, b"\4\0\0\0", "format 4 is unknown"),
        (56, b"\0\0\0\0", "descriptor 0 is not possible"),  # its type
        (72, bytes(8), "descriptor 0 is not possible"),  # its pages
        (80, b"\1", "descriptor 0 is not possible"),  # its address
        (72, b"\2", "overlaps"),
    ],
)
def test_each_field_of_the_block_is_looked_at(at: int, value: bytes, says: str) -> None:
    """Also where the checksum was made over what is wrong."""
    ram = Ram(2048)
    left = hand_off(ram, LoaderMap.from_firmware(FORMATS["pae"], load_firmware_map("pc-8m")), 16)
    size = ram.word[left.block + 12 >> 2]
    whole = bytearray(ram.bytes[left.block : left.block + size])
    whole[at : at + len(value)] = value
    whole[48:52] = bytes(4)
    whole[48:52] = zlib.crc32(whole).to_bytes(4, "little")
    ram.bytes[left.block : left.block + size] = whole
    with pytest.raises(StatusError, match=f"loader block at .*{says}") as error:
        read_block(ram, left.block)
    assert error.value.status == Status.INVALID_PARAMETER


def test_too_little_memory_for_the_hand_over() -> None:
    """One sentence, and the caller's map as it was."""
    m = LoaderMap.from_firmware(FORMATS["i386"], load_firmware_map("pc-8m"))
    before = list(m.items)
    with pytest.raises(StatusError, match="no 4000 free pages in a row for the kernel image"):
        hand_off(Ram(2048), m, 4000)
    assert m.items == before


# -- judged by another MMU -------------------------------------------------------------------------

_REGISTERS = {  # CR0, CR4, EFER
    "i386": (0x80010033, 0x690, 0),
    "pae": (0x80010033, 0x6A0, 0x800),
    "x86-64": (0x80010033, 0x6A0, 0xD01),
    "la57": (0x80010033, 0x16A0, 0xD01),
}


@pytest.mark.unicorn
@pytest.mark.parametrize("arch", ARCHES)
def test_unicorn_reads_through_the_tables(arch: str) -> None:
    """Unicorn's own MMU walks the finished tables: at every mapped region, and at the self-map, it
    reads what is in the frame.

    A page in four is read; code runs in ring 0 from the trampoline's identity page: mov (%rsi),
    %eax for each address.
    """
    un: Any = importlib.import_module("unicorn")  # it has no types
    x86: Any = importlib.import_module("unicorn.x86_const")

    ram = Ram(2048)
    m = LoaderMap.from_firmware(FORMATS[arch], load_firmware_map("ovmf-128m"))
    left = hand_off(ram, m, 64)
    long = arch in ("x86-64", "la57")
    uc = un.Uc(un.UC_ARCH_X86, un.UC_MODE_64 if long else un.UC_MODE_32)
    if arch == "la57":
        uc = un.Uc(un.UC_ARCH_X86, un.UC_MODE_64, cpu=x86.UC_CPU_X86_ICELAKE_SERVER)
    uc.ctl_set_tlb_mode(un.UC_TLB_CPU)
    base = ctypes.addressof(ctypes.c_char.from_buffer(ram.bytes))
    uc.mem_map_ptr(0, ram.frames * PAGE_SIZE, un.UC_PROT_ALL, base)
    code = 0x80000 + 0x100
    ram.bytes[code : code + 2] = b"\x8b\x06"  # mov eax, [esi] or [rsi]
    cr0, cr4, efer = _REGISTERS[arch]
    uc.reg_write(x86.UC_X86_REG_CR3, left.tables.root * PAGE_SIZE)
    uc.reg_write(x86.UC_X86_REG_CR4, cr4)
    uc.reg_write(x86.UC_X86_REG_MSR, (0xC0000080, efer))
    uc.reg_write(x86.UC_X86_REG_CR0, cr0)

    def read(address: int) -> int:
        uc.reg_write(x86.UC_X86_REG_RSI if long else x86.UC_X86_REG_ESI, address)
        uc.emu_start(code, code + 2, count=1)
        return int(uc.reg_read(x86.UC_X86_REG_EAX))

    seen = 0
    for virtual, frame, pages, _ in left.tables.leaves():
        if frame + pages > ram.frames:
            continue  # registers, and memory that this test did not give the emulator
        for i in range(0, pages, 4):
            if (frame + i) * PAGE_SIZE == 0x80000:
                continue
            ram.word[(frame + i) << 10 | 5] ^= (
                0x5EED0000 + seen
                if frame + i not in left.tables.tables and frame + i != left.block >> 12
                else 0
            )
            assert read(virtual + i * PAGE_SIZE + 20) == ram.word[(frame + i) << 10 | 5]
            seen += 1
    assert seen > 50
    for virtual in (left.map.kernel, 0x80000):  # the self-map shows the entry that leads there
        entry = left.tables.entry_address(virtual)
        found = left.tables.translate(virtual)
        assert found is not None and read(entry) & ~0x60 == found.entry & 0xFFFFFF9F
    with pytest.raises(un.UcError):
        read(left.map.next + 0x100000)
