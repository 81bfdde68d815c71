"""Page tables: against a dict of pages, large pages, the k-th frame that fails, what a format
cannot express, self-map addresses.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.machine.abi import NO_EXECUTE, PAGE_SIZE, WRITABLE
from octavo.machine.pagetables import PAE_SELF, PageTables
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
from octavo.status import Status, StatusError

ARCHES = list(FORMATS)


class Frames:
    """Hands out frames from a stock, fails at the k-th, and knows what is out."""

    def __init__(self, first: int, fail_at: int = -1) -> None:
        self.next, self.fail_at, self.out = first, fail_at, set[int]()

    def take(self, low: bool) -> int:
        """A frame, or 0 when it is time to fail."""
        if self.fail_at == 0:
            return 0
        self.fail_at -= 1
        self.next += 1
        self.out.add(self.next)
        return self.next

    def give(self, frame: int) -> None:
        """One back."""
        self.out.remove(frame)


@given(
    arch=st.sampled_from(ARCHES),
    maps=st.lists(
        st.tuples(st.integers(0, 3000), st.integers(0, 5000), st.integers(1, 1200)), max_size=8
    ),
    large=st.booleans(),
)
def test_tables_agree_with_a_dict(arch: str, maps: list[tuple[int, int, int]], large: bool) -> None:
    """Whatever is mapped, with large pages or without, is found page by page; what overlaps is
    refused whole.
    """
    stock = Frames(0)
    tables = PageTables(Ram(300), FORMATS[arch], stock.take, stock.give)
    model: dict[int, int] = {}
    for page, frame, count in maps:
        free = not any(page + i in model for i in range(count))
        try:
            tables.map_pages(page * PAGE_SIZE, frame, count, WRITABLE, large)
        except StatusError as error:
            assert error.status == Status.CONFLICTING_ADDRESSES and not free
        else:
            assert free
            model.update({page + i: frame + i for i in range(count)})
        assert stock.out == set(tables.tables)
    found = {
        va // PAGE_SIZE + i: frame + i
        for va, frame, pages, _ in tables.leaves()
        for i in range(pages)
    }
    assert found == model
    for page, frame in list(model.items())[::37]:
        seen = tables.translate(page * PAGE_SIZE + 5)
        assert seen is not None and seen.physical == frame * PAGE_SIZE + 5


@pytest.mark.parametrize("arch", ARCHES)
def test_the_kth_table_frame_fails(arch: str) -> None:
    """For every k: nothing is mapped, nothing is lost, and the same call works afterwards."""
    for k in range(1, 40):
        stock = Frames(0, k)
        tables = PageTables(Ram(300), FORMATS[arch], stock.take, stock.give)
        try:
            tables.map_pages(0x40000000 - 40 * 0x200000, 0x5001, 30 * 512, WRITABLE)
        except StatusError as error:
            assert error.status == Status.INSUFFICIENT_RESOURCES
            assert list(tables.leaves()) == [] and stock.out == {tables.root}
            assert not any(tables.ram.frame(tables.root)), "an entry leads to a table given back"
            stock.fail_at = -1
            tables.map_pages(0x40000000 - 40 * 0x200000, 0x5001, 30 * 512, WRITABLE)
        assert sum(p for _, _, p, _ in tables.leaves()) == 30 * 512 and stock.out == set(
            tables.tables
        )
        if k > len(tables.tables):
            return
    raise AssertionError("it never went through")


def test_what_a_format_cannot_express() -> None:
    """Frames beyond the physical width, addresses that are not canonical, unmapping what is not
    there.
    """
    stock = Frames(0)
    tables = PageTables(Ram(64), FORMATS["i386"], stock.take, stock.give)
    with pytest.raises(StatusError, match="beyond the 32 physical bits of i386"):
        tables.map_pages(0, 0x100000, 1, WRITABLE)
    with pytest.raises(StatusError, match="no page address"):
        tables.map_pages(1 << 32, 1, 1, WRITABLE)
    long = PageTables(Ram(64), FORMATS["x86-64"], stock.take, stock.give)
    with pytest.raises(StatusError, match="no page address"):
        long.map_pages(1 << 47, 1, 1, WRITABLE)
    with pytest.raises(StatusError, match="no page of 4 KiB"):
        long.unmap_pages(0x1000, 1)
    long.map_pages(0x1000, 7, 2, WRITABLE)
    assert long.unmap_pages(0x1000, 2) == [7, 8] and long.translate(0x1000) is None


def test_self_map_addresses() -> None:
    """The classic ones."""
    stock = Frames(0)
    for arch, address, entry in (
        ("i386", 0xC0000000, 0xC0300000),
        ("pae", 0xC0000000, PAE_SELF + (6 << 20)),
        ("x86-64", 0xFFFFF80000000000, 0xFFFFF6FC00000000),
        ("la57", 0, 0xFFED000000000000),
    ):
        assert PageTables(Ram(64), FORMATS[arch], stock.take).entry_address(address) == entry
    assert NO_EXECUTE == 1 << 63
