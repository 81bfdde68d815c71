"""Page-table formats of the four architectures, as data.

Source: Intel SDM volume 3, chapter 4 (32-bit, PAE, 4-level and 5-level paging).

    name     levels (index bits, top first)   entry   physical width
    i386     10 10                            4 B     32
    pae       2  9  9                         8 B     36
    x86-64    9  9  9  9                      8 B     52
    la57      9  9  9  9  9                   8 B     52

Departures: PAE's width is 36 bits, as of the processors that had no long mode.
"""

from __future__ import annotations

from dataclasses import dataclass

from octavo.machine.abi import PAGE_SHIFT
from octavo.status import Status, StatusError


@dataclass(frozen=True)
class PageTableFormat:
    """One architecture's page tables: `index_bits` from the root down, `entry_size` in bytes,
    `physical_bits` of an address.
    """

    name: str
    index_bits: tuple[int, ...]
    entry_size: int
    physical_bits: int

    @property
    def virtual_bits(self) -> int:
        """Width of a translated virtual address."""
        return sum(self.index_bits) + PAGE_SHIFT

    @property
    def physical_limit(self) -> int:
        """First physical byte address that the format cannot reach."""
        return 1 << self.physical_bits

    def indices(self, address: int) -> tuple[int, ...]:
        """The table index at each level for a virtual address, root first."""
        out = []
        shift = PAGE_SHIFT
        for bits in reversed(self.index_bits):
            out.append(address >> shift & ((1 << bits) - 1))
            shift += bits
        return tuple(reversed(out))

    def tables_for(self, size: int) -> int:
        """Frames of page tables that map `size` bytes from a fully aligned address with 4 KiB
        pages, root included.
        """
        total = 0
        reach = PAGE_SHIFT
        for bits in reversed(self.index_bits):
            reach += bits
            total += max(1, -(-size >> reach))
        return total


FORMATS = {
    f.name: f
    for f in (
        PageTableFormat("i386", (10, 10), 4, 32),
        PageTableFormat("pae", (2, 9, 9), 8, 36),
        PageTableFormat("x86-64", (9, 9, 9, 9), 8, 52),
        PageTableFormat("la57", (9, 9, 9, 9, 9), 8, 52),
    )
}


def page_table_format(arch: str) -> PageTableFormat:
    """The format of an architecture by name; StatusError INVALID_PARAMETER for an unknown one."""
    try:
        return FORMATS[arch]
    except KeyError:
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"unknown architecture {arch!r}: choose one of {', '.join(FORMATS)}",
        ) from None
