"""RAM, page-table formats, and firmware maps in every form."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import octavo
from octavo.boot.firmware_map import normalise
from octavo.boot.plan import plan_boot
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.firmware import FirmwareRange, MemoryKind
from octavo.machine.host import available_bytes
from octavo.machine.mapsources import load_firmware_map, parse_text, read_sysfs, recorded_maps
from octavo.machine.paging import FORMATS
from octavo.machine.ram import MAX_FRAMES, Ram
from octavo.status import Status, StatusError

GIB = 1 << 30


def test_all_views_of_ram_show_the_same_bytes() -> None:
    """One mapping (rule 1)."""
    ram = Ram(4)
    ram.word[1024] = 0x01020304
    assert ram.bytes[4096:4100].tolist() == [4, 3, 2, 1]
    assert ram.half[2048] == 0x0304 and ram.link[1024] == 0x01020304
    assert ram.array[4096] == 4 and ram.frame(1)[0] == 4
    with pytest.raises(StatusError):
        Ram(0)


def test_shared_ram_can_be_mapped_by_another_process() -> None:
    """The memory file and the mapping are the same bytes, both ways."""
    ram = Ram(2, shared=True)
    ram.bytes[4096] = 7
    assert os.pread(ram.fd, 1, 4096) == b"\x07"
    os.pwrite(ram.fd, b"\x09", 4097)
    assert ram.bytes[4097] == 9
    for size in (4096, 0, 12288):  # nobody who has it can take frames away
        with pytest.raises(PermissionError):
            os.ftruncate(ram.fd, size)
    ram.close()
    assert ram.fd == Ram(2).fd == -1


FILES = 3  # `fd`, the mapping and the descriptor that Python keeps with it


def memory_files() -> int:
    """Memory files of this process that are open or mapped."""
    names = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return sum("octavo-ram" in line for line in [*names, *Path("/proc/self/maps").open()])


def test_a_boot_plan_says_whether_memory_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only if a driver outside of the process is asked for; it is given back at the end, also when
    a boot fails or a machine is dropped.
    """
    assert not plan_boot(load_firmware_map("pc-8m"), "x86-64", 4 << 20).shared
    with octavo.boot("4M") as system:
        assert system.ram.fd == -1 and not any("memory file" in line for line in system.log)
    before = memory_files()
    with octavo.boot("4M", shared=True) as system:
        assert system.plan.shared and os.fstat(system.ram.fd).st_size == system.ram.frames << 12
        assert (
            any("memory file" in line for line in system.log) and memory_files() == before + FILES
        )
        system.attach_ram_disk().write_bytes("a", b"abc")
        assert b"abc" in os.pread(system.ram.fd, system.ram.frames << 12, 0)
        system.check()
    assert system.ram.fd == -1
    del system
    gc.collect()
    assert memory_files() == before
    Ram(2, shared=True)  # is dropped
    gc.collect()
    assert memory_files() == before
    made: list[Ram] = []
    with pytest.raises(StatusError, match="the host cannot give .* smaller memory limit"):
        while len(made) < 64:  # of 4 TiB
            made.append(Ram(MAX_FRAMES, shared=True))
    assert memory_files() == before + FILES * len(made)
    del made
    gc.collect()
    assert memory_files() == before
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(StatusError, match="this host has no memory files") as caught:
        octavo.boot("4M", shared=True)
    assert caught.value.status == Status.NOT_SUPPORTED
    octavo.boot("4M").close()


def test_a_paper_machine_has_no_bytes() -> None:
    """1 TiB of frame numbers costs nothing."""
    assert not hasattr(Ram(1 << 28, paper=True), "bytes")


@pytest.mark.parametrize(
    ("arch", "address", "indices"),
    [
        ("i386", 0xC0401000, (0x301, 1)),
        ("pae", 0xC0401000, (3, 2, 1)),
        ("x86-64", 0xFFFFF68000000000, (0x1ED, 0, 0, 0)),
        ("la57", 0xFFED000000000000, (0x1ED, 0, 0, 0, 0)),
    ],
)
def test_indices(arch: str, address: int, indices: tuple[int, ...]) -> None:
    """Known addresses: the self-map slots of ExectOS."""
    assert FORMATS[arch].indices(address) == indices


def test_page_tables_needed() -> None:
    """4 MiB on i386 is one page table and the directory; 1 GiB on x86-64 is 512 + 1 + 1 + 1."""
    assert FORMATS["i386"].tables_for(4 << 20) == 2
    assert FORMATS["x86-64"].tables_for(GIB) == 515


DMESG = """
[    0.000000] BIOS-provided physical RAM map:
[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
[    0.000000] BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved
[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x0000000007fdffff] usable
[    0.000000] BIOS-e820: [mem 0x0000000007fe0000-0x0000000007ffffff] ACPI NVS
"""


def test_dmesg_new_and_old() -> None:
    """Both forms in which Linux has printed E820."""
    new = parse_text(DMESG)
    old = parse_text(
        " BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)\n BIOS-e820: "
        "000000000009fc00 - 00000000000a0000 (reserved)\n"
        " BIOS-e820: 0000000000100000 - 0000000007fe0000 (usable)\n BIOS-e820: "
        "0000000007fe0000 - 0000000008000000 (ACPI NVS)\n"
    )
    assert new == old
    assert new[3] == FirmwareRange(0x7FE0000, 0x8000000, MemoryKind.NVS)


def test_efi_lines_win() -> None:
    """efi: lines say more than the E820 map made from them."""
    ranges = parse_text(
        DMESG + "[    0.000000] efi: mem00: [Boot Code   |   |  |  |  |  |  |  |  |   "
        "|WB|WT|WC|UC] range=[0x0000000000000000-0x0000000000000fff] (0MB)\n"
        "[    0.000000] efi: mem01: [Conventional Memory|   |  |  |  |  |  |  |  |   "
        "|WB|WT|WC|UC] range=[0x1000-0x9ffff] (0MB)\n"
        "[    0.000000] efi: mem02: [Conventional Memory|   |  |  |  |  |  |  |  |   "
        "|WB|WT|WC|UC] range=[0x100000-0x7fcffff] (127MB)\n"
        "[    0.000000] efi: mem03: [Runtime Data|RUN|  |  |  |  |  |  |  |   "
        "|WB|WT|WC|UC] range=[0x7fd0000-0x7fdffff] (0MB)\n"
    )
    assert [r.kind for r in ranges] == [
        MemoryKind.USABLE,
        MemoryKind.USABLE,
        MemoryKind.USABLE,
        MemoryKind.RUNTIME,
    ]
    assert ranges[1].end == 0xA0000 and not ranges.notes


def test_json_and_text() -> None:
    """JSON has exclusive ends, text inclusive ones."""
    assert parse_text('[{"start": 0, "end": "0x1000", "kind": "usable"}]') == parse_text(
        "0x0-0xfff usable # comment"
    )


def test_sysfs(tmp_path: Path) -> None:
    """A directory in sysfs's form."""
    for i, (start, end, kind) in enumerate(
        [(0, 0x9FBFF, "System RAM"), (0x100000, 0x3FFFFF, "Reserved")]
    ):
        (tmp_path / str(i)).mkdir()
        for name, value in (("start", hex(start)), ("end", hex(end)), ("type", kind)):
            (tmp_path / str(i) / name).write_text(value + "\n")
    assert read_sysfs(str(tmp_path)) == [
        FirmwareRange(0, 0x9FC00, MemoryKind.USABLE),
        FirmwareRange(0x100000, 0x400000, MemoryKind.RESERVED),
    ]
    assert load_firmware_map(str(tmp_path)) == read_sysfs(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no memory range"),
        ("hello", "line 1"),
        ("0x5000-0x1000 usable", "0x5000 to 0x1000"),
        ("[{]", "not valid JSON"),
        ('[{"start": 1}]', "range 0"),
        ('{"ranges": 7}', "no memory range"),
        ("[" * 100_000, "not valid JSON"),
        ("0-0xfffffffffffffffff usable", "past 64 bits"),
        ("0-0xfff usable\n" * 5000, "more than 4096"),
        ("BIOS-e820: [mem 0x1000-0x0] usable", "line 1"),
    ],
)
def test_bad_maps_say_where(text: str, says: str, tmp_path: Path) -> None:
    """One sentence, and no crash."""
    path = tmp_path / "map.txt"
    path.write_text(text)
    with pytest.raises(StatusError, match=says):
        load_firmware_map(str(path))


def test_missing_map() -> None:
    """The error names what there is."""
    with pytest.raises(StatusError, match="server-24g"):
        load_firmware_map("no-such-map")


RANGES = st.lists(
    st.builds(
        lambda start, length, kind: FirmwareRange(start * 512, (start + length) * 512, kind),
        st.integers(0, 400),
        st.integers(1, 200),
        st.sampled_from(MemoryKind),
    ),
    min_size=1,
    max_size=12,
)


@given(ranges=RANGES, limit=st.integers(1, 60))
def test_normalised_map_agrees_with_a_map_of_pages(ranges: list[FirmwareRange], limit: int) -> None:
    """The model colours each page: a page is usable only when all of it is, and any touch of
    another kind wins.
    """
    found = normalise(ranges, limit * PAGE_SIZE)
    pages: dict[int, int] = {}
    for item in ranges:
        for page in range(item.start // PAGE_SIZE, -(-item.end // PAGE_SIZE)):
            whole = item.start <= page * PAGE_SIZE and (page + 1) * PAGE_SIZE <= item.end
            if page < limit and (whole or not item.kind.ram):
                pages[page] = max(pages.get(page, 0), item.kind)
    assert {
        p: r.kind for r in found for p in range(r.start // PAGE_SIZE, r.end // PAGE_SIZE)
    } == pages
    assert all(
        a.end < b.start or (a.end == b.start and a.kind != b.kind)
        for a, b in zip(found, found[1:], strict=False)
    )


@given(ranges=RANGES, data=st.data())
def test_order_of_input_does_not_matter(ranges: list[FirmwareRange], data: st.DataObject) -> None:
    """Deterministic under permutation."""
    assert normalise(ranges, GIB) == normalise(data.draw(st.permutations(ranges)), GIB)


@pytest.mark.parametrize("name", recorded_maps())
@pytest.mark.parametrize("arch", FORMATS)
@pytest.mark.parametrize("memory", [1 << 20, 4 << 20, 16 << 20, 64 << 20, None])
def test_plans(name: str, arch: str, memory: int | None) -> None:
    """On every recorded map: the limit is met to the frame, runs are disjoint, and frame 0 and the
    database are not handed out.
    """
    if memory != 1 << 20:  # every machine has that much
        memory = min(
            memory or GIB, plan_boot(load_firmware_map(name), arch, 1 << 20).found * PAGE_SIZE
        )
    plan = plan_boot(load_firmware_map(name), arch, memory)
    assert plan.managed == (memory or plan.found * PAGE_SIZE) // PAGE_SIZE
    runs = sorted([*plan.usable, plan.database])
    assert runs[0][0] > 0
    assert all(a[0] + a[1] <= b[0] for a, b in zip(runs, runs[1:], strict=False))
    assert plan.frames == sum(runs[-1])
    assert plan.database[1] * PAGE_SIZE >= plan.frames * 32
    assert sum(s.usable for s in plan.zones) == plan.managed
    assert any("PFN database" in line for line in plan.log())


def test_i386_cannot_reach_above_4_gib() -> None:
    """The 24 GiB server has 3 GiB for i386, and a limit beyond that is refused with the figures."""
    ranges = load_firmware_map("server-24g")
    assert plan_boot(ranges, "i386", 1 << 30).found == 157 + 0xC0000 - 0x100
    assert plan_boot(ranges, "pae", 1 << 30).found == 157 + 0xC0000 - 0x100 + 0x540000
    with pytest.raises(StatusError, match="3071.6 MiB of usable memory below i386's limit"):
        plan_boot(ranges, "i386", 4 << 30)


@pytest.mark.parametrize("name", recorded_maps())
def test_the_low_page_is_on_no_free_list(name: str) -> None:
    """Below 1 MiB, at a multiple of 64 KiB, and never given out (ExectOS's stays in its free
    lists).
    """
    plan = plan_boot(load_firmware_map(name), "x86-64", 4 << 20)
    assert 0 < plan.low_page < 0x100 and plan.low_page % 0x10 == 0
    assert not any(
        first <= plan.low_page < first + count for first, count in [*plan.usable, plan.database]
    )


def test_the_plan_takes_nothing_that_the_firmware_keeps() -> None:
    """Where the map calls all of the first MiB usable, frame 0 and 0xA0 to 0xFF are given to nobody
    all the same.
    """
    plan = plan_boot([FirmwareRange(0, 0x800000, MemoryKind.USABLE)], "x86-64", None)
    taken = {
        frame
        for first, count in [*plan.usable, plan.database]
        for frame in range(first, first + count)
    }
    assert (
        taken == {*range(1, 0xA0), *range(0x100, 0x800)} - {plan.low_page} and plan.low_page == 0x90
    )
    assert plan.found == plan.managed == len(taken)


def test_too_little_memory_is_refused() -> None:
    """Below the minimum, one sentence."""
    with pytest.raises(StatusError, match="below the minimum"):
        plan_boot(load_firmware_map("ovmf-128m"), "x86-64", 512 << 10)
    with pytest.raises(StatusError, match="unknown architecture"):
        plan_boot(load_firmware_map("ovmf-128m"), "vax", None)


def test_all_of_a_map_and_one_frame_more() -> None:
    """A limit may be all that there is, and no frame above it."""
    ranges = load_firmware_map("ovmf-128m")
    found = plan_boot(ranges, "x86-64", None).found
    assert plan_boot(ranges, "x86-64", found * PAGE_SIZE).managed == found
    with pytest.raises(StatusError, match="has only"):
        plan_boot(ranges, "x86-64", (found + 1) * PAGE_SIZE)


def test_a_database_too_large_for_the_host_is_told_before_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At once, with a limit that fits, before any memory is taken; what the host does not say is
    not held against anybody.
    """
    plan = plan_boot(load_firmware_map("server-2t"), "x86-64", None)
    plan.check_host(None)
    plan.check_host(plan.database[1] * PAGE_SIZE * 4)
    for available in (plan.database[1] * PAGE_SIZE * 4 - 1, 8 * GIB, 2 * GIB):
        monkeypatch.setattr("octavo.system.available_bytes", lambda available=available: available)
        monkeypatch.setattr("octavo.system.Ram", None)
        with pytest.raises(
            StatusError,
            match=r"takes 24560 MiB of the host at boot, and the host has \d+ MiB: set a memory "
            r"limit of (\d+)M or less",
        ) as error:
            octavo.boot(memory=None, firmware_map="server-2t")
        limit = int(error.value.text.split()[-3][:-1])
        plan_boot(load_firmware_map("server-2t"), "x86-64", limit << 20).check_host(available)
        with pytest.raises(StatusError):
            plan_boot(
                load_firmware_map("server-2t"), "x86-64", (limit << 20) + (limit << 20) // 8
            ).check_host(available)


def test_what_the_host_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller of what is available and what the control group may have; None where nobody
    says.
    """
    info, group = tmp_path / "meminfo", tmp_path / "memory.max"
    monkeypatch.setattr("octavo.machine.host._SOURCES", (str(info), str(group)))
    assert available_bytes() is None
    info.write_text("MemTotal:  9 kB\nMemAvailable:    4096 kB\n")
    group.write_text("max\n")
    assert available_bytes() == 4 << 20
    group.write_text("1048576\n")
    assert available_bytes() == 1 << 20


def test_json_round_trip() -> None:
    """A map can be written as JSON and read again."""
    ranges = load_firmware_map("ovmf-128m")
    text = json.dumps([{"start": r.start, "end": r.end, "kind": r.kind.name} for r in ranges])
    assert normalise(parse_text(text), GIB) == normalise(
        [FirmwareRange(r.start, r.end, r.kind) for r in ranges], GIB
    )
