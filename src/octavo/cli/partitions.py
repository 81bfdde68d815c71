"""Listing the partitions of disks: partitions."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import NamedTuple

from octavo.cli.output import Failures, print_json, show, tell
from octavo.cli.verb import Verb, add_json
from octavo.fs.probe import probe
from octavo.fs.reading import reader
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.storage.partition import Entry
from octavo.storage.partitions import Gap, PartitionTable, partitions
from octavo.system import IMAGE_MAP, System


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="disks in images")
    add_json(parser)


def show_partitions(arguments: Namespace) -> int:
    """Lists partitions, and what is free between them."""
    records: list[dict[str, object]] = []
    failures = Failures()
    for path in arguments.images:
        with failures.apart():
            disk = _read(path)
            table = disk.table
            records.append(_record(path, disk))
            if not arguments.json:
                _print(path, disk)
            for fault in table.faults:
                tell(f"octavo: {path}: {fault}")
                failures.code = 1
    if arguments.json:
        print_json(records)
    return failures.code


class _Disk(NamedTuple):
    size: int  # bytes
    volume: str  # the kind of the one that fills it, "" for none
    table: PartitionTable


def _read(path: str) -> _Disk:
    """A disk's table. That of a volume's boot sector, which looks like an empty one, is none."""
    with System("4M", firmware_map=IMAGE_MAP) as system:
        disk = ImageDisk(path, system.scheduler, read_only=True)
        try:
            table = system.scheduler.run(partitions(disk, reader(disk, system.cache)))
            if not table.entries:
                found = system.scheduler.run(probe(disk, system.cache, system.codepage))
                return _Disk(disk.size, found.kind, PartitionTable())
        except StatusError as error:
            if error.status != Status.UNRECOGNIZED_VOLUME:
                raise
        finally:
            disk.close()
    return _Disk(disk.size, "", table)


def _record(path: str, disk: _Disk) -> dict[str, object]:
    table = disk.table
    return {
        "image": path, "size": disk.size, "volume": disk.volume or None,
        "scheme": table.scheme or None, "id": table.guid or None, "sector": table.unit,
        "partitions": [_partition(e, table.scheme) for e in table.entries],
        "free": [{**gap._asdict(), "within": gap.within or None} for gap in table.gaps()],
        "faults": table.faults,
    }  # fmt: skip


def _partition(entry: Entry, scheme: str) -> dict[str, object]:
    common: dict[str, object] = {
        "number": entry.number, "type": entry.type, "kind": entry.kind, "start": entry.start,
        "size": entry.size,
    }  # fmt: skip
    own = {"active": entry.active} if scheme == "MBR" else {"name": entry.name, "id": entry.guid}
    return {**common, **own}


def _print(path: str, disk: _Disk) -> None:
    """Partitions and gaps in the order of the disk, in bytes."""
    table = disk.table
    what = f"{table.scheme} {table.guid}" if table.scheme else "no partition table"
    what += f", but a volume: {disk.volume}" if disk.volume else ""
    show(f"{path}: {what}, {disk.size} bytes in sectors of {table.unit}")
    rows = [(e.start, e.size, f"{path}#{e.number}", _kind(e)) for e in table.entries]
    rows += [(g.start, g.size, "-", _free(g)) for g in table.gaps()]
    if rows:
        width = max(len("Name"), *(len(row[2]) for row in rows))
        show(f"{'Name':<{width}} {'Start':>16} {'Size':>16}  Type")
    for start, length, name, kind in sorted(rows):
        show(f"{name:<{width}} {start:>16} {length:>16}  {kind}")


def _kind(entry: Entry) -> str:
    text = f"{entry.type} {entry.kind}".rstrip()
    return text + (", active" if entry.active else "") + (f", {entry.name}" if entry.name else "")


def _free(gap: Gap) -> str:
    return f"free, within {gap.within}" if gap.within else "free"


VERBS = {
    "partitions": Verb(
        "List the partitions of disks, and what is free between them. Exit code 1 when something "
        "is wrong\nwith a table.",
        "  octavo partitions disk.img\n  octavo partitions --json disk.img\n"
        "  octavo ls 'disk.img#2:/'            # the volume in partition 2\n"
        "  octavo ls disk.img@@1M:/            # the volume that begins behind the first MiB\n\n"
        "disk.img#2 and disk.img@@1M stand for an image wherever a verb takes one. A file that has "
        "such a name\nitself is meant where it exists.",
        _arguments,
        show_partitions,
    )
}
