"""The loader's memory map: what each stretch of physical memory is, and where the kernel will see
it.

Descriptors are runs of pages with a type and, where the kernel maps them, a virtual address. The
map is sorted by frame; no two descriptors overlap in physical memory, no two mappings in virtual
memory, and neighbours that continue each other are one. So the result does not depend on the order
in which things were put in. An edit happens whole or not at all.

    claim     a free stretch becomes something: free descriptors are split, trimmed or removed. What
              is that already stays as it is; anything else in the way is an error that names both.
    place     gives virtual addresses, by one strategy for all architectures:

              window  firmware's permanent and special regions, one after the other in the order of
                      their frames
              kernel  behind them, and never below the architecture's kernel base
              then    what the loader adds: init block, tables, framebuffer, descriptors

Temporary regions are seen at their physical address while the loader runs, and only where that lies
in the user half.

    from UEFI or E820                          type        seen by the kernel
    conventional, boot services code           FREE        no
    loader code and data, boot services data   TEMPORARY   identity, until the kernel runs
    runtime services, memory-mapped I/O        PERMANENT   yes
    ACPI tables, NVS                           SPECIAL     yes
    unusable                                   BAD         no
    reserved                                   none        never: no descriptor at all
    what the firmware keeps below 1 MiB        PERMANENT   no: the loader's own mappings begin above

Source: ExectOS's loader (types by their numbers, XTLDR's regions). Departures: its amd64 maps
firmware at KSEG0 + physical address, which collides with the kernel image when a region lies at 32
GiB; edits that fail there stay half done; bad memory is not mapped here. A run of one type may be
claimed in part with a fixed virtual address (the APIC in a chipset's region).
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from octavo.boot.firmware_map import FIRMWARE_KEEPS, normalise
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.firmware import FirmwareRange, MemoryKind
from octavo.machine.paging import PageTableFormat
from octavo.status import Status, StatusError

MOST_DESCRIPTORS = 8192
LOW_PAGES = 0x100  # the first MiB
TRAMPOLINE = 0x80
APIC_FRAME = 0xFEE00


class LoaderType(enum.IntEnum):
    """What a run of pages is, by ExectOS's numbers."""

    FREE = 2
    BAD = 3
    PROGRAM = 4  # the kernel image and what was loaded with it
    TEMPORARY = 5
    PERMANENT = 6
    DATA = 20  # the loader block and its tables
    SPECIAL = 22


@dataclass(frozen=True, order=True)
class Descriptor:
    """`count` pages from frame `first` on; `virtual` is 0 where nobody maps them."""

    first: int
    count: int
    type: LoaderType
    virtual: int = 0

    @property
    def end(self) -> int:
        """The frame after the last one."""
        return self.first + self.count

    def __str__(self) -> str:
        return f"{self.type.name.lower()} {self.first:#x}-{self.end - 1:#x}"

    def part(self, first: int, end: int) -> Descriptor:
        """The pages [first, end) of it."""
        return Descriptor(
            first,
            end - first,
            self.type,
            self.virtual and self.virtual + ((first - self.first) << PAGE_SHIFT),
        )


@dataclass(frozen=True)
class KernelWindow:
    """Where an architecture's loader puts things: window [start, end), the lowest kernel base, and
    the APIC's fixed page.
    """

    start: int
    end: int
    kernel: int
    apic: int


_LONG = KernelWindow(0xFFFFF80000000000, 0xFFFFF88000000000, 0xFFFFF80800000000, 0xFFFFFFFFFFFE0000)
_SHORT = KernelWindow(0x80000000, 0xB9400000, 0x80000000, 0xFFFE0000)
WINDOWS = {"i386": _SHORT, "pae": _SHORT, "x86-64": _LONG, "la57": _LONG}

_TYPES = {
    MemoryKind.USABLE: LoaderType.FREE,
    MemoryKind.TEMPORARY: LoaderType.TEMPORARY,
    MemoryKind.ACPI: LoaderType.SPECIAL,
    MemoryKind.NVS: LoaderType.SPECIAL,
    MemoryKind.RUNTIME: LoaderType.PERMANENT,
    MemoryKind.IO: LoaderType.PERMANENT,
    MemoryKind.UNUSABLE: LoaderType.BAD,
}


class LoaderMap:
    """The descriptors of one machine. `frames_limit` is the first frame that the page-table format
    cannot reach.
    """

    def __init__(self, layout: PageTableFormat, descriptors: Iterable[Descriptor] = ()) -> None:
        self.format = layout
        self.window = WINDOWS[layout.name]
        self.frames_limit = layout.physical_limit >> PAGE_SHIFT
        self.items: list[Descriptor] = []
        for item in sorted(descriptors):
            clipped = (
                item.part(item.first, min(item.end, self.frames_limit))
                if item.first < self.frames_limit
                else None
            )
            if clipped is not None and clipped.count > 0:
                self._insert(clipped)
        self.kernel = 0  # virtual address of the image, after `place`
        self.next = 0  # first free virtual address behind all that was placed

    @classmethod
    def from_firmware(cls, layout: PageTableFormat, ranges: Sequence[FirmwareRange]) -> LoaderMap:
        """The map of a machine, with the rules for the first MiB applied. Reserved ranges have no
        descriptor.
        """
        clean = normalise(ranges, layout.physical_limit)
        items = [
            Descriptor(r.start >> PAGE_SHIFT, (r.end - r.start) >> PAGE_SHIFT, _TYPES[r.kind])
            for r in clean
            if r.kind in _TYPES
        ]
        out = cls(layout, items)
        out._apply_low_rules()
        return out

    def _apply_low_rules(self) -> None:
        """What the firmware keeps is its own, in holes and reserved ranges too; one low page is for
        starting processors.
        """
        for kept in FIRMWARE_KEEPS:
            first, end = kept.start >> PAGE_SHIFT, kept.end >> PAGE_SHIFT
            hit = [i for i in self.items if i.first < end and i.end > first]
            cut = [i for i in hit if i.type in (LoaderType.FREE, LoaderType.TEMPORARY)]
            self._replace(
                cut, [part for i in cut for part in (i.part(i.first, first), i.part(end, i.end))]
            )
            known = [first, *(edge for i in hit if i not in cut for edge in (i.first, i.end)), end]
            for low, high in zip(known[::2], known[1::2], strict=True):
                if low < high:
                    self._insert(Descriptor(low, high - low, LoaderType.PERMANENT))
        trampoline = self.find(TRAMPOLINE)
        if trampoline is not None and trampoline.type == LoaderType.FREE:
            self.claim(TRAMPOLINE, 1, LoaderType.TEMPORARY)

    # -- looking ----------------------------------------------------------------------------------

    def find(self, frame: int) -> Descriptor | None:
        """The descriptor that holds a frame."""
        i = bisect_right(self.items, frame, key=lambda d: d.first) - 1
        return self.items[i] if i >= 0 and frame < self.items[i].end else None

    def free_run(self, count: int, below: int) -> int:
        """The highest frame at which `count` free pages end below frame `below`; 0 for none."""
        for item in reversed(self.items):
            end = min(item.end, below)
            if item.type == LoaderType.FREE and end - max(item.first, 1) >= count:
                return end - count
        return 0

    # -- editing ----------------------------------------------------------------------------------

    def claim(self, first: int, count: int, kind: LoaderType, virtual: int = 0) -> None:
        """Makes [first, first + count) be of `kind`, mapped at `virtual` unless that is 0; see
        above for what may be in the way.

        StatusError CONFLICTING_ADDRESSES that names both ranges, INVALID_PARAMETER for an
        impossible range; the map is unchanged then.
        """
        new = Descriptor(first, count, kind, virtual)
        self._refuse_impossible(new)
        hit = [d for d in self.items if d.first < new.end and d.end > first]
        inside = (
            len(hit) == 1
            and hit[0].type == kind
            and hit[0].first <= first
            and new.end <= hit[0].end
        )
        if inside and virtual in (0, hit[0].part(first, new.end).virtual):
            return
        for item in hit:
            if item.type != LoaderType.FREE and (item.virtual or not inside):
                raise StatusError(
                    Status.CONFLICTING_ADDRESSES, f"cannot claim {new}: it overlaps {item}"
                )
        self._refuse_virtual(new, hit)
        self._carve(new, hit)

    def _refuse_impossible(self, new: Descriptor) -> None:
        """StatusError INVALID_PARAMETER for frames, or addresses, that nothing can have."""
        if new.count <= 0 or new.first < 0 or new.end > self.frames_limit:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"cannot claim {new}: frames of {self.format.name} go from 0 to "
                f"{self.frames_limit - 1:#x}",
            )
        virtual, count = new.virtual, new.count
        if virtual and (virtual % PAGE_SIZE or virtual + (count << PAGE_SHIFT) > 1 << 64):
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"cannot map {new} at {virtual:#x}: not a page address with {count} pages "
                "behind it",
            )

    def _carve(self, new: Descriptor, hit: Sequence[Descriptor]) -> None:
        """Puts a descriptor in, and takes its pages out of those that it hits. StatusError
        INSUFFICIENT_RESOURCES when there would be too many; nothing is changed then.
        """
        rest = [item.part(item.first, min(item.end, new.first)) for item in hit] + [
            item.part(max(item.first, new.end), item.end) for item in hit
        ]
        if len(self.items) + len(rest) + 1 > MOST_DESCRIPTORS:
            raise StatusError(
                Status.INSUFFICIENT_RESOURCES,
                f"the loader's map would have more than {MOST_DESCRIPTORS} descriptors",
            )
        self._replace(hit, rest)
        self._insert(new)

    def _refuse_virtual(self, new: Descriptor, ignoring: Sequence[Descriptor] = ()) -> None:
        if not new.virtual:
            return
        end = new.virtual + (new.count << PAGE_SHIFT)
        for item in self.items:
            if (
                item.virtual
                and item not in ignoring
                and item.virtual < end
                and new.virtual < item.virtual + (item.count << PAGE_SHIFT)
            ):
                raise StatusError(
                    Status.CONFLICTING_ADDRESSES,
                    f"cannot map {new} at {new.virtual:#x}: {item} is at {item.virtual:#x}",
                )

    def _replace(self, old: Sequence[Descriptor], new: Iterable[Descriptor]) -> None:
        for item in old:
            self.items.remove(item)
        for item in new:
            if item.count > 0:
                self._insert(item)

    def _insert(self, item: Descriptor) -> None:
        """Puts a descriptor in its place and joins it with neighbours that it continues.
        StatusError for an overlap.
        """
        at = bisect_right(self.items, item.first, key=lambda d: d.first)
        for other in self.items[max(at - 1, 0) : at + 1]:
            if other.first < item.end and item.first < other.end:
                raise StatusError(Status.CONFLICTING_ADDRESSES, f"{item} overlaps {other}")
        if at < len(self.items) and _continues(item, self.items[at]):
            item = replace(item, count=item.count + self.items.pop(at).count)
        if at and _continues(self.items[at - 1], item):
            at -= 1
            item = replace(self.items[at], count=self.items.pop(at).count + item.count)
        self.items.insert(at, item)

    # -- virtual addresses ------------------------------------------------------------------------

    def place(
        self,
        kernel_pages: int,
        kernel_first: int,
        extra: Sequence[tuple[LoaderType, int, int]] = (),
    ) -> None:
        """Gives every region its virtual address. The kernel image is at frame `kernel_first`;
        `extra` are (type, first, pages) behind it.

        StatusError INSUFFICIENT_RESOURCES when the window is too small, CONFLICTING_ADDRESSES when
        physical ranges collide.
        """
        trial = LoaderMap(self.format, [replace(item, virtual=0) for item in self.items])
        trial._place(kernel_pages, kernel_first, extra)
        self.items, self.kernel, self.next = trial.items, trial.kernel, trial.next

    def _place(
        self, kernel_pages: int, kernel_first: int, extra: Sequence[tuple[LoaderType, int, int]]
    ) -> None:
        apic = self.find(APIC_FRAME)
        if apic is None or apic.type == LoaderType.PERMANENT:
            self.claim(APIC_FRAME, 1, LoaderType.PERMANENT, self.window.apic)
        address = max(self._place_firmware(), self.window.kernel)
        self.kernel = address
        for kind, first, pages in ((LoaderType.PROGRAM, kernel_first, kernel_pages), *extra):
            self._check_room(address, pages)
            self.claim(first, pages, kind, address)
            address += pages << PAGE_SHIFT
        self.next = address

    def _place_firmware(self) -> int:
        """Gives the firmware's regions, and temporary ones, their addresses; returns the first one
        behind those in the window.
        """
        address = self.window.start
        placed = []
        lasting = (LoaderType.PERMANENT, LoaderType.SPECIAL)
        user_end = _user_end(self.format)
        for item in self.items:
            if item.type in lasting and not item.virtual and item.end > LOW_PAGES:
                mapped = item.part(max(item.first, LOW_PAGES), item.end)
                placed.append((item, mapped, address))
                address += mapped.count << PAGE_SHIFT
            elif item.type == LoaderType.TEMPORARY and item.end << PAGE_SHIFT <= user_end:
                placed.append((item, item, item.first << PAGE_SHIFT))
        for item, mapped, virtual in placed:
            self._replace(
                [item], [item.part(item.first, mapped.first), replace(mapped, virtual=virtual)]
            )
        return address

    def _check_room(self, address: int, pages: int) -> None:
        """StatusError INSUFFICIENT_RESOURCES when pages at an address leave the window."""
        window = self.window
        if address + (pages << PAGE_SHIFT) > window.end:
            raise StatusError(
                Status.INSUFFICIENT_RESOURCES,
                f"the loader's window of {(window.end - window.start) >> 20} MiB at "
                f"{window.start:#x} is too small for the firmware's regions, "
                f"the kernel and its tables: {pages} pages at {address:#x} do not fit",
            )

    def check(self) -> None:
        """Sorted, disjoint in both spaces, coalesced, and within the format's reach."""
        for a, b in pairwise(self.items):
            assert a.end <= b.first, f"{a} overlaps {b}"
            assert not _continues(a, b), f"{a} and {b} are not joined"
        assert all(0 <= d.first < d.end <= self.frames_limit for d in self.items)
        seen = sorted(
            (d.virtual, d.virtual + (d.count << PAGE_SHIFT), str(d))
            for d in self.items
            if d.virtual
        )
        for one, two in pairwise(seen):
            assert one[1] <= two[0], f"{one[2]} and {two[2]} share addresses"


def _continues(a: Descriptor, b: Descriptor) -> bool:
    """True when b begins where a ends, in both spaces."""
    return (
        a.end == b.first
        and a.type == b.type
        and b.virtual == (a.virtual and a.virtual + (a.count << PAGE_SHIFT))
    )


def _user_end(layout: PageTableFormat) -> int:
    return 1 << 31 if layout.virtual_bits == 32 else 1 << (layout.virtual_bits - 1)
