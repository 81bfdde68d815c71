"""The boot plan: which frames Octavo manages, and where the PFN database lies in them.

Usable frames are taken from the lowest address up until the memory limit is reached. Left alone are
what the firmware keeps (frame 0, which means "no frame" in every table, and 640 KiB to 1 MiB), and
the low page, a frame below 1 MiB at a multiple of 64 KiB, where further processors start. The PFN
database covers frames 0 to the last one taken and lies at the end of the highest run that holds it:
low memory is kept for devices that reach no higher.

    firmware map -> normalise -> clip to arch -> limit -> runs -> database out of them
                 -> usable runs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octavo.arguments import given, invalid, label, shown, whole
from octavo.boot.firmware_map import FIRMWARE_KEEPS, normalise
from octavo.boot.zones import Zone, zones_of
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.firmware import ADDRESS_LIMIT, FirmwareMap, FirmwareRange, MemoryKind
from octavo.machine.paging import PageTableFormat, page_table_format
from octavo.machine.ram import MAX_FRAMES
from octavo.memory.frames.pfn import ENTRY_BYTES
from octavo.status import Status, StatusError

LEAST_FRAMES = 256  # 1 MiB
HOST_SHARE = 4  # the part of the host's memory that the PFN database may take

Run = tuple[int, int]


@dataclass(frozen=True)
class BootPlan:
    """`usable` and `database` are runs of frames; `frames` is the number of frames that the
    database describes.
    """

    arch: PageTableFormat
    ranges: Sequence[FirmwareRange]
    zones: Sequence[Zone]
    found: int  # usable frames that the map has, less those that are left alone
    # bytes of RAM that lie above what the page tables, or frame numbers of 30 bits, can name
    beyond: int
    outside: int  # ranges of other kinds that lie there, in whole or in part, and are cut off
    low_page: int  # 0 when there is none
    frames: int
    database: Run
    usable: Sequence[Run]
    notes: Sequence[str] = ()  # of the firmware map's reader
    shared: bool = False  # RAM is a memory file, for a driver outside of the process

    @property
    def managed(self) -> int:
        """Frames under the memory limit, the database's own included."""
        return self.database[1] + sum(count for _, count in self.usable)

    def check_host(self, available: int | None) -> None:
        """StatusError INSUFFICIENT_RESOURCES when the PFN database, which is written at boot, takes
        too much of what the host has (None: not known).

        Frames cost the host nothing before they are used; the database costs 1/128 of all memory at
        once.
        """
        cost = self.database[1] * PAGE_SIZE
        if available is not None and cost > available // HOST_SHARE:
            reach = (
                available // HOST_SHARE // ENTRY_BYTES
            )  # frames that a database of that size describes
            most = (
                sum(max(0, min(first + count, reach) - first) for first, count in self.usable)
                >> 20 - PAGE_SHIFT
            )
            raise StatusError(
                Status.INSUFFICIENT_RESOURCES,
                f"the PFN database of {_mib(self.managed)} takes {cost >> 20} MiB of the "
                f"host at boot, and the host has {available >> 20} MiB: "
                f"set a memory limit of {most}M or less",
            )

    def log(self) -> list[str]:
        """The boot log's lines on memory."""
        return [
            "Firmware memory map:",
            *(f"  {r.start:#018x} - {r.end - 1:#018x}  {r.kind.name.lower()}" for r in self.ranges),
            *(f"Note: {note}" for note in self.notes),
            "Zones:",
            *(
                f"  {z.name:<10} frames {z.first:#x} - {z.end - 1:#x}, {z.usable} usable "
                f"({_mib(z.usable)})"
                for z in self.zones
            ),
            *self._log_tables(),
            *self._log_unused(),
            f"Memory: {_mib(self.managed)} managed of {_mib(self.found)} found",
            *["Memory: a memory file, which drivers' processes can map"][: self.shared],
        ]

    def _log_tables(self) -> list[str]:
        levels = len(self.arch.index_bits)
        first, count = self.database
        return [
            f"Paging: {self.arch.name}, {levels} levels of {self.arch.entry_size}-byte entries, "
            f"{self.arch.physical_bits} physical bits, {self.arch.virtual_bits} virtual bits",
            f"PFN database: {self.frames} entries of {ENTRY_BYTES} bytes, "
            f"{count * PAGE_SIZE >> 10} KiB in frames {first:#x} - {first + count - 1:#x}",
        ]

    def _log_unused(self) -> list[str]:
        lines, limit = list[str](), _limit(self.arch)
        if self.beyond:
            lines.append(f"Out of reach: {self.beyond >> 20} MiB lie above {limit:#x}")
        if self.outside:
            lines.append(
                f"Out of reach: {self.outside} range{'s' if self.outside > 1 else ''} "
                f"without RAM above {limit:#x}"
            )
        if self.low_page:
            lines.append(f"Low page: frame {self.low_page:#x}, for starting processors")
        return lines


def _limit(arch: PageTableFormat) -> int:
    return min(arch.physical_limit, MAX_FRAMES << PAGE_SHIFT)


def _mib(frames: int) -> str:
    return f"{frames / 256:.1f} MiB"


def plan_boot(
    ranges: Sequence[FirmwareRange], arch: str, memory: int | None, shared: bool = False
) -> BootPlan:
    """The plan for a firmware map and a memory limit in bytes (None: all there is). `shared` when a
    driver outside of the process is to reach the memory.

    StatusError INVALID_PARAMETER for what one of them cannot be, INSUFFICIENT_RESOURCES when the
    map has not so much memory.
    """
    paging = page_table_format(label(arch, "an architecture"))
    _look_at(ranges)
    given(shared, bool, "whether memory is shared")
    if memory is not None:
        whole(memory, "the memory limit in bytes", 0, ADDRESS_LIMIT)
    limit = _limit(paging)
    clean = normalise(ranges, limit)
    beyond, outside = _out_of_reach(ranges, limit)
    notes = ranges.notes if isinstance(ranges, FirmwareMap) else ()
    low_page, runs = _leave_low_page(_ram_runs(normalise([*clean, *FIRMWARE_KEEPS], limit)))
    found = sum(count for _, count in runs)
    if found < LEAST_FRAMES:
        raise StatusError(Status.INSUFFICIENT_RESOURCES, _no_memory(arch, found, beyond, notes))
    taken = _lowest(runs, _wanted(arch, found, memory))
    frames = sum(taken[-1])
    database, usable = _place_database(taken, frames)
    return BootPlan(
        paging,
        clean,
        zones_of(paging, taken),
        found,
        beyond,
        outside,
        low_page,
        frames,
        database,
        usable,
        notes,
        shared,
    )


def _out_of_reach(ranges: Sequence[FirmwareRange], limit: int) -> tuple[int, int]:
    """Bytes of RAM from `limit` on, and the number of other ranges that reach there."""
    above = [r for r in normalise(ranges, 1 << 64) if r.end > limit]
    ram = sum(r.end - max(r.start, limit) for r in above if r.kind.ram)
    return ram, sum(not r.kind.ram for r in above)


def _wanted(arch: str, found: int, memory: int | None) -> int:
    """How many of the frames that were found a limit in bytes takes. StatusError
    INSUFFICIENT_RESOURCES for too few, and for more than there are.
    """
    wanted = found if memory is None else memory >> PAGE_SHIFT
    if wanted < LEAST_FRAMES:
        raise StatusError(
            Status.INSUFFICIENT_RESOURCES,
            f"{wanted} frames of memory are below the minimum of {LEAST_FRAMES} (1 MiB)",
        )
    if wanted > found:
        raise StatusError(
            Status.INSUFFICIENT_RESOURCES,
            f"the memory limit is {_mib(wanted)}, and the firmware map has only "
            f"{_mib(found)} of usable memory below {arch}'s limit",
        )
    return wanted


def _lowest(runs: Sequence[Run], count: int) -> list[Run]:
    """The lowest `count` frames of the runs."""
    taken: list[Run] = []
    for first, size in runs:
        if count:
            taken.append((first, min(size, count)))
            count -= taken[-1][1]
    return taken


def _look_at(ranges: object) -> None:
    """StatusError INVALID_PARAMETER for what are no ranges."""
    if not isinstance(ranges, Sequence):
        raise invalid(
            f"{shown(ranges)} is no firmware map: give 'host', the name of a recorded one, "
            "a file, or a list of ranges"
        )
    for item in ranges:
        found = given(item, FirmwareRange, "a range of a firmware map")
        whole(found.start, "the start of a range of a firmware map", 0, ADDRESS_LIMIT)
        whole(found.end, "the end of a range of a firmware map", 0, ADDRESS_LIMIT)
        given(found.kind, MemoryKind, "the kind of a range of a firmware map")


def _no_memory(arch: str, found: int, beyond: int, notes: Sequence[str]) -> str:
    """Why a map is none of a machine, with what its reader said of it: another boot's may have been
    meant.
    """
    reached, above = (
        (f" that {arch} reaches", f"; {beyond >> 20} MiB lie above it") if beyond else ("", "")
    )
    has, least = (
        (f"only {found} frames of", f", below the minimum of {LEAST_FRAMES} (1 MiB)")
        if found
        else ("no", "")
    )
    return f"the firmware map has {has} usable memory{reached}{least}{above}" + "".join(
        f"; {note}" for note in notes[:3]
    )


def _ram_runs(ranges: Sequence[FirmwareRange]) -> list[Run]:
    """The frames that are RAM once boot is over, neighbours of different kinds joined."""
    runs: list[Run] = []
    for r in ranges:
        if not r.kind.ram:
            continue
        first, end = r.start >> PAGE_SHIFT, r.end >> PAGE_SHIFT
        if runs and sum(runs[-1]) == first:
            runs[-1] = (runs[-1][0], end - runs[-1][0])
        elif first < end:
            runs.append((first, end - first))
    return runs


def _leave_low_page(runs: list[Run]) -> tuple[int, list[Run]]:
    """Takes the highest frame below 1 MiB that is a multiple of 16 out of the runs; 0 when none is
    RAM.
    """
    for frame in range(0xF0, 0, -0x10):
        for i, (first, count) in enumerate(runs):
            if first <= frame < first + count:
                parts = [(first, frame - first), (frame + 1, first + count - frame - 1)]
                return frame, runs[:i] + [run for run in parts if run[1]] + runs[i + 1 :]
    return 0, runs


def _place_database(runs: list[Run], frames: int) -> tuple[Run, list[Run]]:
    """Cuts the database off the end of the highest run that holds it."""
    size = -(-frames * ENTRY_BYTES // PAGE_SIZE)
    for i in range(len(runs) - 1, -1, -1):
        first, count = runs[i]
        if count >= size:
            rest = [(first, count - size)] if count > size else []
            return (first + count - size, size), runs[:i] + rest + runs[i + 1 :]
    raise StatusError(
        Status.INSUFFICIENT_RESOURCES,
        f"no run of usable memory holds the PFN database of {size} frames for all "
        f"addresses below {frames << PAGE_SHIFT:#x}: the map has large holes; "
        "set a memory limit that needs nothing behind them",
    )
