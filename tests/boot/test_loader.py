"""The loader: the descriptor map against a model of pages, ExectOS's cases, the order of claims."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.boot.loader import APIC_FRAME, WINDOWS, Descriptor, LoaderMap, LoaderType
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.firmware import FirmwareRange, MemoryKind
from octavo.machine.mapsources import load_firmware_map, recorded_maps
from octavo.machine.paging import FORMATS
from octavo.status import Status, StatusError

FREE, TEMPORARY, PERMANENT, PROGRAM = (
    LoaderType.FREE,
    LoaderType.TEMPORARY,
    LoaderType.PERMANENT,
    LoaderType.PROGRAM,
)
ARCHES = list(FORMATS)


def loader_map(arch: str, *items: tuple[int, int, LoaderType]) -> LoaderMap:
    """A map of (first, last, type) runs."""
    return LoaderMap(FORMATS[arch], [Descriptor(a, b - a + 1, t) for a, b, t in items])


def runs(m: LoaderMap) -> list[tuple[int, int, LoaderType]]:
    """The map as (first, last, type)."""
    m.check()
    return [(d.first, d.end - 1, d.type) for d in m.items]


# -- cases of ExectOS' loader, by the numbers in the docstrings ------------------------------------


def test_claims_split_trim_and_remove() -> None:
    """1 to 5: within, all of it, its end, over a hole, and again."""
    m = loader_map("x86-64", (0x100, 0x7FF, FREE))
    m.claim(0x200, 0x10, PROGRAM)
    assert runs(m) == [(0x100, 0x1FF, FREE), (0x200, 0x20F, PROGRAM), (0x210, 0x7FF, FREE)]
    m.claim(0x200, 0x10, PROGRAM)
    m.claim(0x204, 2, PROGRAM)
    assert len(m.items) == 3
    m = loader_map("x86-64", (0x100, 0x10F, FREE))
    m.claim(0x10F, 1, PROGRAM)
    assert runs(m) == [(0x100, 0x10E, FREE), (0x10F, 0x10F, PROGRAM)]
    m.claim(0x100, 0xF, PROGRAM)
    assert runs(m) == [(0x100, 0x10F, PROGRAM)]
    m = loader_map("x86-64", (0x10, 0x1F, FREE), (0x40, 0x4F, FREE))
    m.claim(0x18, 0x30, PROGRAM)
    assert runs(m) == [(0x10, 0x17, FREE), (0x18, 0x47, PROGRAM), (0x48, 0x4F, FREE)]


def test_a_claim_over_another_type_changes_nothing() -> None:
    """6: the error names both, and the free run in front of it was not cut (ExectOS cuts it)."""
    m = loader_map("x86-64", (0x10, 0x1F, FREE), (0x20, 0x2F, PERMANENT), (0x30, 0x3F, FREE))
    before = list(m.items)
    with pytest.raises(
        StatusError, match="cannot claim program 0x18-0x37: it overlaps permanent 0x20-0x2f"
    ):
        m.claim(0x18, 0x20, PROGRAM)
    assert m.items == before


@pytest.mark.parametrize(
    ("first", "count", "virtual"),
    [
        (0x10, 0, 0),
        (-1, 2, 0),
        (0xFFFFF, 2, 0),
        (0x10, 1, 0x80000001),
        (0x10, 2, (1 << 64) - PAGE_SIZE),
    ],
)
def test_a_claim_of_what_cannot_be_changes_nothing(first: int, count: int, virtual: int) -> None:
    """No pages, frames that the format does not have, addresses of no page, and past the last."""
    m = loader_map("i386", (0, 0xFFFFF, FREE))
    before = list(m.items)
    with pytest.raises(StatusError, match="cannot") as caught:
        m.claim(first, count, PROGRAM, virtual)
    assert caught.value.status == Status.INVALID_PARAMETER and m.items == before


def test_low_rules() -> None:
    """8 and 9: frame 0 and 0xA0 to 0xFF are the firmware's, 0x80 starts processors; also where
    frame 0 is boot data.
    """
    ranges = [
        FirmwareRange(0, 0xA0000, MemoryKind.USABLE),
        FirmwareRange(0x100000, 0x800000, MemoryKind.USABLE),
    ]
    m = LoaderMap.from_firmware(FORMATS["x86-64"], ranges)
    assert runs(m)[:4] == [
        (0, 0, PERMANENT),
        (1, 0x7F, FREE),
        (0x80, 0x80, TEMPORARY),
        (0x81, 0x9F, FREE),
    ]
    ranges = [
        FirmwareRange(0, 0x1000, MemoryKind.TEMPORARY),
        FirmwareRange(0x1000, 0x800000, MemoryKind.USABLE),
    ]
    m = LoaderMap.from_firmware(FORMATS["x86-64"], ranges)
    assert runs(m)[0] == (0, 0, PERMANENT) and m.find(0xA0) == Descriptor(0xA0, 0x60, PERMANENT)


def test_the_firmware_keeps_holes_and_reserved_frames_too() -> None:
    """Frame 0 and 0xA0 to 0xFF are set aside where the map says nothing, reserved, or bits of both;
    nobody can claim them; tables stay special.
    """
    hole = [
        FirmwareRange(0x1000, 0xA0000, MemoryKind.USABLE),
        FirmwareRange(0x100000, 0x800000, MemoryKind.USABLE),
    ]
    reserved = [
        *hole,
        FirmwareRange(0, 0x1000, MemoryKind.RESERVED),
        FirmwareRange(0xA0000, 0x100000, MemoryKind.RESERVED),
    ]
    whole = [FirmwareRange(0, 0x800000, MemoryKind.USABLE)]
    mixed = [
        *hole,
        FirmwareRange(0xB0000, 0xC0000, MemoryKind.RESERVED),
        FirmwareRange(0xE0000, 0xE8000, MemoryKind.USABLE),
    ]
    for arch in ARCHES:
        for ranges in (hole, reserved, whole, mixed):
            m = LoaderMap.from_firmware(FORMATS[arch], ranges)
            m.check()
            assert m.find(0) == Descriptor(0, 1, PERMANENT) and m.find(0xFF) == Descriptor(
                0xA0, 0x60, PERMANENT
            )
            for frame in (0, 0xA0, 0xFF):
                with pytest.raises(StatusError):
                    m.claim(frame, 1, PROGRAM)
    tables = [*hole, FirmwareRange(0xE0000, 0xF0000, MemoryKind.ACPI)]
    m = LoaderMap.from_firmware(FORMATS["x86-64"], tables)
    assert runs(m)[4:7] == [
        (0xA0, 0xDF, PERMANENT),
        (0xE0, 0xEF, LoaderType.SPECIAL),
        (0xF0, 0xFF, PERMANENT),
    ]


def test_registers_behind_the_roms_do_not_bring_them_along() -> None:
    """A permanent region at 1 MiB is one with the frames below it, and only what lies above 1 MiB
    is mapped.
    """
    m = LoaderMap.from_firmware(
        FORMATS["pae"],
        [
            FirmwareRange(0x100000, 0x110000, MemoryKind.IO),
            FirmwareRange(0x110000, 0x4000000, MemoryKind.USABLE),
        ],
    )
    m.place(16, 0x1000)
    m.check()
    assert m.find(0xFF) == Descriptor(0xA0, 0x60, PERMANENT) and m.find(0x100) == Descriptor(
        0x100, 0x10, PERMANENT, WINDOWS["pae"].start
    )


def test_the_apic_has_its_address_inside_a_chipset_region() -> None:
    """11: its page is cut out of a larger permanent region and mapped at the fixed address."""
    ranges = [
        FirmwareRange(0x100000, 0x4000000, MemoryKind.USABLE),
        FirmwareRange(0xFEC00000, 0xFF000000, MemoryKind.IO),
    ]
    for arch in ARCHES:
        m = LoaderMap.from_firmware(FORMATS[arch], ranges)
        m.place(16, 0x1000)
        m.check()
        apic = m.find(APIC_FRAME)
        assert apic == Descriptor(APIC_FRAME, 1, PERMANENT, WINDOWS[arch].apic)
        registers = m.find(0xFEC00)
        assert registers is not None and registers.virtual == WINDOWS[arch].start


@pytest.mark.parametrize(
    ("arch", "kernel"),
    [
        ("pae", 0x80894000),
        ("i386", 0x80894000),
        ("x86-64", 0xFFFFF80800000000),
        ("la57", 0xFFFFF80800000000),
    ],
)
def test_ovmf_kernel_address(arch: str, kernel: int) -> None:
    """13: 0x894 pages of firmware regions lie in front of the kernel."""
    m = LoaderMap.from_firmware(FORMATS[arch], load_firmware_map("ovmf-128m"))
    m.place(512, m.free_run(512, 0x8000))
    assert m.kernel == kernel


def test_above_4_gib() -> None:
    """16 to 19: whole under PAE and x86-64, clipped to the last page on i386, dropped where it
    begins at 4 GiB; PAE ends at 64 GiB.
    """
    above, straddling = (0x100000, 0x1FFFFF, FREE), (0xC0000, 0x13FFFF, FREE)
    for arch in ("pae", "x86-64", "la57"):
        assert runs(loader_map(arch, above)) == [above]
        assert runs(loader_map(arch, straddling)) == [straddling]
    assert runs(loader_map("i386", straddling)) == [(0xC0000, 0xFFFFF, FREE)]
    assert runs(loader_map("i386", above)) == []
    assert runs(loader_map("pae", (0xF00000, 0x1100000, FREE))) == [(0xF00000, 0xFFFFFF, FREE)]


def test_a_region_at_32_gib_does_not_meet_the_kernel() -> None:
    """31: registers at 0x800000000, which ExectOS maps where its kernel is."""
    ranges = [
        FirmwareRange(0x100000, 0x4000000, MemoryKind.USABLE),
        FirmwareRange(0x800000000, 0x801000000, MemoryKind.IO),
    ]
    m = LoaderMap.from_firmware(FORMATS["x86-64"], ranges)
    m.place(16, 0x1000)
    m.check()
    assert m.kernel == 0xFFFFF80800000000 and m.find(0x800000) is not None


def test_identity_stays_in_the_user_half() -> None:
    """32: boot data at 0xBF000000 is not left at that address in an i386's session space."""
    ranges = [
        FirmwareRange(0x100000, 0x4000000, MemoryKind.USABLE),
        FirmwareRange(0xBF000000, 0xBF100000, MemoryKind.TEMPORARY),
    ]
    for arch, virtual in (("i386", 0), ("pae", 0), ("x86-64", 0xBF000000)):
        m = LoaderMap.from_firmware(FORMATS[arch], ranges)
        m.place(16, 0x1000)
        assert m.find(0xBF000) == Descriptor(0xBF000, 0x100, TEMPORARY, virtual)


def test_a_full_window_is_refused_whole() -> None:
    """Firmware regions larger than the window: a sentence with the sizes, and nothing placed."""
    ranges = [
        FirmwareRange(0x100000, 0x4000000, MemoryKind.USABLE),
        FirmwareRange(0x80000000, 0xC0000000, MemoryKind.IO),
    ]
    m = LoaderMap.from_firmware(FORMATS["i386"], ranges)
    before = list(m.items)
    with pytest.raises(StatusError, match="window of 916 MiB at 0x80000000 is too small"):
        m.place(16, 0x1000)
    assert m.items == before and not m.kernel


# -- the map against a model of pages --------------------------------------------------------------

CLAIMS = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.integers(1, 20),
        st.sampled_from([FREE, PROGRAM, PERMANENT, LoaderType.SPECIAL]),
    ),
    max_size=20,
)


@given(claims=CLAIMS)
def test_claims_agree_with_a_map_of_pages(claims: list[tuple[int, int, LoaderType]]) -> None:
    """A claim goes through when every page is absent, free, or all of them are of one run of that
    type already.
    """
    m = loader_map("x86-64", (8, 40, FREE), (50, 70, FREE))
    model = dict.fromkeys([*range(8, 41), *range(50, 71)], FREE)
    for first, count, kind in claims:
        pages = range(first, first + count)
        same = all(model.get(p) == kind for p in pages)
        ok = same or all(model.get(p, FREE) == FREE for p in pages)
        try:
            m.claim(first, count, kind)
        except StatusError as error:
            assert error.status == Status.CONFLICTING_ADDRESSES and not ok
        else:
            assert ok
            model.update(dict.fromkeys(pages, kind))
        m.check()
        assert {p: d.type for d in m.items for p in range(d.first, d.end)} == model


@given(data=st.data(), name=st.sampled_from(recorded_maps()), arch=st.sampled_from(ARCHES))
def test_order_does_not_matter(data: st.DataObject, name: str, arch: str) -> None:
    """The same map, addresses included, from the firmware's ranges in any order."""
    ranges = load_firmware_map(name)
    shuffled = list(ranges)
    random.Random(data.draw(st.integers(0, 1 << 30))).shuffle(shuffled)
    one, two = (LoaderMap.from_firmware(FORMATS[arch], r) for r in (ranges, shuffled))
    one.place(64, one.free_run(64, one.frames_limit))
    two.place(64, two.free_run(64, two.frames_limit))
    assert one.items == two.items and one.kernel == two.kernel
    one.check()


def test_virtual_overlap_is_refused() -> None:
    """Two mappings may not share an address, and the error says whose it is."""
    m = loader_map("x86-64", (0x100, 0x7FF, FREE))
    m.claim(0x200, 4, PROGRAM, 0xFFFFF80000000000)
    with pytest.raises(StatusError, match="program 0x200-0x203 is at 0xfffff80000000000"):
        m.claim(0x300, 4, LoaderType.DATA, 0xFFFFF80000003000)
    assert m.find(0x300) == Descriptor(0x204, 0x5FC, FREE)


def test_a_part_of_a_run_may_be_mapped_by_itself() -> None:
    """From its first page to its last, and not one beyond; what is mapped already is mapped nowhere
    else.
    """
    high = 0xFFFFF80000000000
    for first, count in ((0x200, 4), (0x202, 4), (0x20C, 4), (0x200, 16)):
        m = loader_map(
            "x86-64", (0x100, 0x1FF, FREE), (0x200, 0x20F, PERMANENT), (0x220, 0x22F, PERMANENT)
        )
        m.claim(first, count, PERMANENT, high)
        assert (
            m.find(first) == m.find(first + count - 1) == Descriptor(first, count, PERMANENT, high)
        )
        m.check()
        assert sum(d.count for d in m.items if d.type == PERMANENT) == 32
        before = list(m.items)
        m.claim(first + 1, 2, PERMANENT, high + PAGE_SIZE)  # it is so
        for again, at in ((first, high + (1 << 20)), (first + 1, high)):
            with pytest.raises(StatusError, match="it overlaps permanent"):
                m.claim(again, 2, PERMANENT, at)
        assert m.items == before
    m = loader_map("x86-64", (0x200, 0x20F, PERMANENT))
    for first in (0x1FF, 0x20D):
        with pytest.raises(StatusError, match="it overlaps permanent 0x200-0x20f"):
            m.claim(first, 4, PERMANENT, high)
