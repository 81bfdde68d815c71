"""Firmware maps in boot logs: which of the lines that `octavo.machine.mapdialects` reads make the
map that is in force.

A line that mail has wrapped goes on in the next ones. What is not read is told with its line's
number.

Which map is in force: the user's, where the user changed the firmware's; else EFI's, when its lines
are a whole set (from mem00 on without a gap, all that the E820 map calls usable in it), since it
says more; else the hypervisor's, whose guests see what it gives them; else the firmware's; else, or
where that lacks what the kernel has, what the kernel made of it.

A new boot begins with a line that only starts have (but a hypervisor's first guest is part of its
boot), and where a table of the firmware begins again, unless no start stands in front and the lines
only repeat some of those before them. The last boot with a map is taken.

Linux prints an empty range at 0 as 0 to 2^64 - 1. With efi=debug it prints the map twice, the
second time only what it keeps.

Source: Linux's arch/x86/kernel/e820.c and drivers/firmware/efi (what is printed when), and logs of
real machines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from octavo.machine.firmware import (
    ADDRESS_LIMIT,
    MAX_RANGES,
    FirmwareMap,
    FirmwareRange,
    MemoryKind,
    Remarks,
    possible,
    too_many,
)
from octavo.machine.mapdialects import (
    MOST_ENTRY,
    Dialect,
    entries_in,
    is_gap,
    named_form,
    read_entry,
    start_of,
)
from octavo.status import Status, StatusError

_MOST_JOINED = 4  # lines, blank ones aside
_TIME = r"\[[\s0-9.]+\](?:\[[^\]]{1,16}\])?:?\s*"
# quotation, and what stands in front of each line of a log
_COLUMNS = rf"^[>|\s]*(?:<[0-9]+>)?(?:.{{0,60}}\bkernel:\s*(?:{_TIME})?|{_TIME})?"


@dataclass
class _Table:
    name: str
    line: int
    ranges: list[FirmwareRange] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)  # of EFI's descriptors


@dataclass
class _Waiting:
    """An entry whose line ends too early: its own text, and that with the lines behind it."""

    line: int
    dialect: Dialect
    text: str
    joined: str
    lines: int = 1


@dataclass
class _Boot:
    remarks: Remarks
    start: int = 0  # the latest line of a start in front of its ranges; 0 when there is none
    guest: int = 0  # the line of a start that may be that of a hypervisor's first guest
    tables: dict[str, _Table] = field(default_factory=dict)
    # sentences on the first line that cannot be read, and on the first of a form that is not read
    odd: str = ""
    named: str = ""

    @property
    def first_line(self) -> int:
        return min(t.line for t in self.tables.values())

    def repeats(self, other: _Boot) -> bool:
        """True when every range of it stands in the same table of the other."""
        return all(
            slot in other.tables and set(t.ranges) <= set(other.tables[slot].ranges)
            for slot, t in self.tables.items()
        )


class MapLog:
    """Reads a log line by line; holds the ranges of two boots at most."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._boot = _Boot(Remarks(where))
        self._before: _Boot | None = None
        self._boots = 1
        self._waiting: _Waiting | None = None

    @property
    def waiting(self) -> bool:
        """True when the next line may go on with an entry, whatever is in it."""
        return self._waiting is not None

    @property
    def start(self) -> int:
        """The line in which the boot that is being read starts; 0 when it has no such line."""
        return self._boot.start

    def line(self, number: int, text: str) -> None:
        """Looks at a line, which is not empty. StatusError INVALID_PARAMETER when a table has more
        than 4096 ranges.
        """
        found, start = entries_in(text), start_of(text)
        if self._waiting:
            self._go_on(number, "" if found or start else text)
        if start:
            self._start(number, start)
        for dialect, item in found:
            if not self._take(number, dialect, item):
                self._give_up()
                self._waiting = _Waiting(number, dialect, item, item)
        if not found and not self._boot.named and (says := named_form(text)):
            self._boot.named = f"{self.where}, line {number}: {says}"

    def _go_on(self, number: int, text: str) -> None:
        """Joins a line to the one that waits for it; an empty one is no continuation."""
        waiting = self._waiting
        assert waiting is not None
        broken = waiting.joined.endswith("=")
        waiting.joined = (waiting.joined[:-1] if broken else waiting.joined + " ")[
            :MOST_ENTRY
        ] + re.sub(_COLUMNS, "", text)[:MOST_ENTRY]
        waiting.lines += 1
        if text and self._take(waiting.line, waiting.dialect, waiting.joined):
            self._waiting = None
        elif not text or waiting.lines == _MOST_JOINED:
            self._give_up()

    def _give_up(self) -> None:
        """Takes the entry that waits, if there is one, as its own line has it, or tells that it is
        not read.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is None or self._take(waiting.line, waiting.dialect, waiting.text, whole=True):
            return
        self._boot.remarks.add(
            f"this {waiting.dialect.name} line cannot be read, and is left out", waiting.line
        )
        self._boot.odd = (
            self._boot.odd
            or f"{self.where}, line {waiting.line}: this {waiting.dialect.name} line cannot "
            f"be read: {waiting.text.strip()[:60]!r}"
        )

    def _take(self, line: int, dialect: Dialect, text: str, whole: bool = False) -> bool:
        """Reads an entry; False when it is none, or may go on in the next line and is not known to
        be `whole`.
        """
        if is_gap(text):
            return True
        entry = read_entry(dialect, text)
        if entry is None or not possible(entry.start, entry.end) or (entry.open and not whole):
            return False
        if entry.kind is None:
            self._boot.remarks.add(
                f"the kind {entry.word[:30]!r} is unknown, and is taken as reserved", line
            )
        if entry.start == entry.end or (entry.start, entry.end) == (0, ADDRESS_LIMIT):
            self._boot.remarks.add("a range of size zero is left out", line)
            return True
        item = FirmwareRange(entry.start, entry.end, entry.kind or MemoryKind.RESERVED)
        self._add(line, dialect, item, entry.number)
        return True

    def _add(self, line: int, dialect: Dialect, item: FirmwareRange, number: int) -> None:
        if self._boot.guest and self._is_machines(dialect):
            self._begin(self._boot.guest)
        table = self._boot.tables.get(dialect.slot)
        if table and table.ranges[-1] == item and table.numbers[-1] == number:
            return  # two consoles say everything twice
        if table and _begins_again(table, dialect, item, number):
            if dialect.slot in ("firmware", "hypervisor"):
                self._begin()
            elif dialect.slot == "efi":
                self._boot.tables["efi before"] = _larger(self._boot.tables)
            table = None
        if table is None:
            table = self._boot.tables[dialect.slot] = _Table(dialect.name, line)
        table.ranges.append(item)
        table.numbers.append(number)
        if len(table.ranges) > MAX_RANGES:
            raise too_many(f"{self.where}, line {line}")

    def _is_machines(self, dialect: Dialect) -> bool:
        """True for the first line of a machine's own map: no guest has started."""
        own = dialect.slot in ("firmware", "efi") and dialect.name != "Xen"
        return own and "firmware" not in self._boot.tables

    def _start(self, number: int, slot: str) -> None:
        """A start, in front of a table for `slot`, ends a boot that has ranges; those of a
        hypervisor may go on with its first guest's.
        """
        tables = self._boot.tables
        if not tables:
            self._boot.start = number
        elif slot == "hypervisor" or set(tables) != {"hypervisor"}:
            self._begin(number)
        else:
            self._boot.guest = number

    def _begin(self, start: int = 0) -> None:
        """A new boot; the one before it is kept until it is clear that the new one has a map, and
        is more than a repetition.
        """
        self._settle()
        self._before, self._boot = self._boot, _Boot(Remarks(self.where), start)
        self._boots += 1

    def _settle(self) -> None:
        """Drops the boot that is being read when no start stood in front of it and all of it stands
        in the one before.
        """
        if self._before is None or self._boot.start or not self._boot.repeats(self._before):
            return
        again, self._boot, self._boots = self._boot, self._before, self._boots - 1
        if any(
            len(t.ranges) < len(self._boot.tables[slot].ranges) for slot, t in again.tables.items()
        ):
            self._boot.remarks.add(
                "the lines from here repeat a part of the map before them, and are not "
                "taken for a boot",
                again.first_line,
            )

    def result(self) -> FirmwareMap | None:
        """The map that is in force, None when there is none. StatusError INVALID_PARAMETER when
        there are only lines that cannot be read.
        """
        self._give_up()
        self._settle()
        if not self._boot.tables and self._before is None:
            if text := self._boot.odd or self._boot.named:
                raise StatusError(Status.INVALID_PARAMETER, text)
            return None
        boot, said = self._last_with_map()
        ranges = _choose(boot.tables, boot.remarks).ranges
        return FirmwareMap(ranges, [*said, *boot.remarks.sentences()])

    def _last_with_map(self) -> tuple[_Boot, list[str]]:
        """The last boot that has a map, and what is to be said where the log has others."""
        says, last = Remarks(self.where), self._boot
        if not last.tables and self._before:
            says.add(
                "no line of a map stands behind this start, the last in the log; this is "
                f"the map before it, which begins in line {self._before.first_line}",
                last.start,
            )
            named = [last.named] if last.named else []
            return self._before, [*says.sentences(), *last.remarks.sentences(), *named]
        if self._boots > 1:
            says.add(
                f"the log has {self._boots} boots; this is the map of the last one, which "
                "begins here",
                last.first_line,
            )
        return last, list(says.sentences())


def _begins_again(table: _Table, dialect: Dialect, item: FirmwareRange, number: int) -> bool:
    """True when a range is the first one of another table: of another dialect, or with the first
    one's place in its own.
    """
    first = table.ranges[0]
    same = (
        number == table.numbers[0]
        if dialect.slot == "efi"
        else (item.start, item.kind) == (first.start, first.kind)
    )
    return same or dialect.name != table.name


def _choose(tables: dict[str, _Table], remarks: Remarks) -> _Table:
    """The table that is in force, by the rules above; says so where there was a choice."""
    firmware = tables.get("hypervisor") or tables.get("firmware")
    if user := tables.get("user"):
        remarks.add(
            "the user changed the firmware's map (mem= or memmap=); this is the user's, "
            "which begins here",
            user.line,
        )
        return user
    if better := _efi(tables, firmware, remarks) or _kernel(tables, firmware, remarks):
        return better
    assert firmware is not None, "a boot has a table"
    if "hypervisor" in tables and "firmware" in tables:
        remarks.add(
            f"the hypervisor's map is taken, not that of its guest (line {tables['firmware'].line})"
        )
    return firmware


def _efi(tables: dict[str, _Table], firmware: _Table | None, remarks: Remarks) -> _Table | None:
    """The EFI lines, where they are a whole set, or there is no firmware's map."""
    if "efi" not in tables:
        return None
    efi = _larger(tables)
    if "efi before" in tables and efi is tables["efi"]:
        remarks.add("the efi lines begin again here, and those before are not read", efi.line)
    gap = _gap(efi, firmware)
    if not gap:
        return efi
    if firmware is None:
        remarks.add(f"the efi lines are no whole set ({gap}); what they do not tell of is left out")
        return efi
    remarks.add(f"the efi lines are no whole set ({gap}); the {firmware.name} map is taken")
    return None


def _kernel(tables: dict[str, _Table], firmware: _Table | None, remarks: Remarks) -> _Table | None:
    """What the kernel made of the firmware's map, where that lacks some of it."""
    kernel = tables.get("kernel")
    if kernel is None or (firmware and _first_uncovered(_ram(kernel), firmware.ranges) is None):
        return None
    remarks.add(
        f"the firmware's own map is not {'whole ' if firmware else ''}in the log; this "
        "is what the kernel made of it",
        kernel.line,
    )
    return kernel


def _larger(tables: dict[str, _Table]) -> _Table:
    """The latest set of EFI lines, unless it tells of less than the set before it, and of nothing
    else.
    """
    new = tables["efi"]
    old = tables.get("efi before", new)
    less = _first_uncovered(new.ranges, old.ranges) is None and _bytes(new) < _bytes(old)
    return old if less or new.ranges == old.ranges else new


def _ram(table: _Table) -> list[FirmwareRange]:
    return [r for r in table.ranges if r.kind.ram]


def _bytes(table: _Table) -> int:
    return sum(r.end - r.start for r in table.ranges)


def _gap(efi: _Table, firmware: _Table | None) -> str:
    """What a set of EFI lines lacks; empty for a whole one."""
    missing = set(range(min(max(efi.numbers) + 1, MAX_RANGES))) - set(efi.numbers)
    if missing:
        return f"mem{min(missing):02d} is missing"
    lacking = _first_uncovered(_ram(firmware) if firmware else [], efi.ranges)
    return "" if lacking is None else f"{lacking:#x} is not in them, and usable elsewhere"


def _first_uncovered(items: list[FirmwareRange], by: list[FirmwareRange]) -> int | None:
    """The lowest address of `items` that is in no range of `by`."""
    spans = sorted((r.start, r.end) for r in by)
    at, covered = 0, 0
    for item in sorted(items, key=lambda r: r.start):
        covered = max(covered, item.start)
        while covered < item.end and at < len(spans) and spans[at][0] <= covered:
            covered = max(covered, spans[at][1])
            at += 1
        if covered < item.end:
            return covered
    return None
