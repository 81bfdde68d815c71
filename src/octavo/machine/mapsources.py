"""Where firmware maps come from: this machine, a machine recorded with Octavo, or a file in
whatever form people have it.

    sysfs    /sys/firmware/memmap/N/{start,end,type}: the running machine ("host"), or a copy of
             that directory
    text     see octavo.machine.mapdialects, octavo.machine.maplogs and octavo.machine.maplists
    binary   see octavo.machine.rawmaps

The form of a file is found out by its contents. A boot log wins over a list, since nothing in a
list looks like a log.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from octavo.machine.firmware import FirmwareMap, FirmwareRange, Remarks
from octavo.machine.mapdialects import may_have_entry
from octavo.machine.maplists import RangeList, add_range, is_json, no_range, number_of, parse_json
from octavo.machine.maplogs import MapLog
from octavo.machine.maptext import (
    MOST_HEAD,
    clean,
    encoding_of,
    is_binary,
    messages,
    open_unpacked,
    pieces,
    text_blocks,
)
from octavo.machine.rawmaps import FORMS, parse_raw
from octavo.status import Status, StatusError

_RECORDED = os.path.join(os.path.dirname(__file__), "maps")
_SYSFS = "/sys/firmware/memmap"
_TOGETHER = 64  # lines that are looked over at once
_MOST_FIELD = 256  # bytes of a file of sysfs


def recorded_maps() -> list[str]:
    """Names of the maps that come with Octavo, recorded on real machines."""
    return sorted(
        name.removesuffix(".txt") for name in os.listdir(_RECORDED) if name.endswith(".txt")
    )


def load_firmware_map(source: str) -> FirmwareMap:
    """A map by 'host', by the name of a recorded one, or from a file; StatusError with one sentence
    where that fails.

    The form of a file is found out; a binary one can be named in front of it: "uefi:map.bin" (e820,
    uefi, multiboot1, multiboot2).
    """
    _check_name(source)
    if source == "host":
        return read_sysfs()
    path, form, where = _meant(source)
    try:
        return read_sysfs(path) if os.path.isdir(path) else _read_file(path, form, where)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StatusError(
            Status.OBJECT_NAME_NOT_FOUND,
            f"{source}: {reason}; give a file, 'host', or one of {', '.join(recorded_maps())}",
        ) from None


def _meant(source: str) -> tuple[str, str, str]:
    """The file that is meant, the form that is named in front of it, and its name for messages."""
    recorded = os.path.join(_RECORDED, source + ".txt")
    if "/" not in source and os.path.isfile(recorded):
        return recorded, "", source
    form, _, rest = source.partition(":")
    if form in FORMS and not os.path.exists(source):
        return rest, form, rest
    return source, "", source


def _check_name(source: object) -> None:
    """StatusError for what can name no map."""
    if not isinstance(source, str):
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"a firmware map is named by a text, not by {type(source).__name__}: give "
            "'host', a file, or a recorded map's name",
        )
    if not _can_be_name(source):
        raise StatusError(Status.OBJECT_NAME_INVALID, f"{source!r} can be no name of a file")


def _can_be_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text) != b""
    except UnicodeEncodeError:
        return False


def read_sysfs(path: str = _SYSFS) -> FirmwareMap:
    """The running machine's map, from Linux's sysfs, or a copy of that directory.

    StatusError NO_SUCH_DEVICE for a directory or file that cannot be read, INVALID_PARAMETER that
    names the range that is wrong.
    """
    ranges: list[FirmwareRange] = []
    remarks = Remarks(path)
    for name in _numbered(path):
        try:
            start, end, kind = (
                _read(os.path.join(path, name, field)) for field in ("start", "end", "type")
            )
            add_range(ranges, remarks, _hexadecimal(start), _hexadecimal(end), kind)
        except StatusError as error:
            raise StatusError(error.status, f"{path}: range {name}: {error.text}") from None
    if not ranges:
        raise no_range(path)
    return FirmwareMap(ranges, remarks.sentences())


def _numbered(path: str) -> list[str]:
    """The directories of a sysfs map, by their numbers."""
    try:
        names = sorted(
            (n for n in os.listdir(path) if n.isascii() and n.isdigit() and len(n) < 10), key=int
        )
    except OSError as error:
        instead = "; give a boot log ('dmesg > map.txt')" if path == _SYSFS else ""
        raise StatusError(
            Status.NO_SUCH_DEVICE,
            f"{path}: cannot read the firmware map: {error.strerror}{instead}",
        ) from None
    if not names:
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"{path}: the directory is no copy of {_SYSFS}, which has a directory for each "
            "range (0, 1, ...) with the files start, end and type; "
            "give such a copy, or a file",
        )
    return names


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST_FIELD).decode("ascii", "replace").strip()
    except OSError as error:
        raise StatusError(
            Status.NO_SUCH_DEVICE, f"cannot read {os.path.basename(path)!r}: {error.strerror}"
        ) from None


def _hexadecimal(text: str) -> int:
    return number_of(text if text.startswith("0x") else f"0x{text}")


def _read_file(path: str, form: str, where: str) -> FirmwareMap:
    with open_unpacked(path) as file:
        head = file.read(MOST_HEAD)
        encoding = encoding_of(head)
        if form or (encoding == "utf-8-sig" and is_binary(head)):
            if len(head) == MOST_HEAD:
                raise StatusError(
                    Status.INVALID_PARAMETER,
                    f"{where}: a binary file of {MOST_HEAD >> 20} MiB or more is no firmware map",
                )
            return parse_raw(head, where, form)
        return _read_text(text_blocks(head, file, encoding, where), where)


def parse_text(text: str, where: str = "map") -> FirmwareMap:
    """The map in a text: a boot log, a list, or JSON. StatusError INVALID_PARAMETER that names the
    line that is wrong.
    """
    return _read_text(iter([text]), where)


def _read_text(blocks: Iterator[str], where: str) -> FirmwareMap:
    first, more = next(blocks, ""), False
    log, ranges, remarks = MapLog(where), RangeList(where), Remarks(where)

    def again() -> Iterator[str]:
        nonlocal more
        yield first
        for block in blocks:
            more = more or bool(block)
            yield block

    for number, piece in messages(pieces(again(), remarks)):
        _read_lines(number, piece, log, ranges)
    found = log.result()
    if found is None and is_json(first):
        return parse_json(first, where, more)
    found = _listed(log, ranges) if found is None else found
    return FirmwareMap(found, (*remarks.sentences(), *found.notes))


def _listed(log: MapLog, ranges: RangeList) -> FirmwareMap:
    """The map of a list. StatusError for none, and for a log without a map."""
    if log.start and ranges.nothing:
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"{log.where}, line {log.start}: a machine starts here, and its log has no line of "
            "a map, such as 'BIOS-e820: ...'; give the whole log of its kernel",
        )
    return ranges.result()


def _read_lines(number: int, piece: str, log: MapLog, ranges: RangeList) -> None:
    """Shows the lines of a piece to the readers, those without anything of a map, and empty ones,
    to nobody: logs are long.
    """
    if not piece.strip() or not (ranges.alive or log.waiting or may_have_entry(piece.lower())):
        return
    lines = piece.split("\n")
    for first in range(0, len(lines), _TOGETHER):
        some = lines[first : first + _TOGETHER]
        together = "\n".join(some)
        if not together.strip() or not (
            ranges.alive or log.waiting or may_have_entry(together.lower())
        ):
            continue
        for at, line in enumerate(some, number + first):
            if line and (ranges.alive or log.waiting or may_have_entry(line.lower())):
                _read_line(at, line, log, ranges)


def _read_line(number: int, line: str, log: MapLog, ranges: RangeList) -> None:
    for part in clean(line):
        if part:
            log.line(number, part)
            if ranges.alive:
                ranges.line(number, part)
