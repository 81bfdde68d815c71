"""Judges what a power cut has left, by the promise of docs/crash.md: fsck.fat, Octavo's own check,
and what was flushed.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import octavo
from octavo.files import Volume
from octavo.fs.base import Problem
from octavo.fs.fat.entry import Entry
from octavo.fs.fat.format import FatFormat
from octavo.fs.mount import mount
from octavo.fs.vfs.volume import Volume as Core
from octavo.status import StatusError
from octavo.testing.bufferdisk import BufferDisk
from tests.crashes.model import Demands
from tests.volumes import map_file

# What each of the two checkers says of it: the kinds that a power cut may leave, and those that
# only a move may leave for a moment.
KINDS = {
    "dirty": (r"Dirty bit is set", r"was not unmounted"),
    "lost clusters": (
        r"Reclaimed \d+ unused cluster",
        r"clusters? (?:is|are) in use and belongs? to no file",
    ),
    "clusters behind the end": (
        r"File size is \d+ bytes, cluster chain length is > \d+ bytes",
        r"has \d+ bytes of clusters for",
    ),
    "free count": (r"Free cluster summary (wrong|uninitialized)", r"FSInfo counts"),
    "FAT copies": (r"FATs differ", r"FAT 2 differs"),
    "stray name": (
        r"long file ?name (part|\"|sequence|starts)|Long filename fragment",
        r"slots? of long names belongs? to no entry|long name of .* is damaged",
    ),
    "behind the end": (r"(?!)", r"of entries behind its end|entries in use stand behind that"),
    "shared": (r"share clusters", r"shares cluster"),
    "two names": (
        r"Duplicate directory entry|^First |^Second |^Renamed to",
        r"two entries have the name",
    ),
    "label": (
        r"There is no label in boot sector|Label in boot sector is|stored in boot sector and diff",
        r"the boot sector has (no|the) label",
    ),
    "parent": (r"Invalid '\.\.' entry|Start does point to", r'"\.\." points to'),
}
SILENCE = re.compile(
    r"fsck\.fat \d|.*: \d+ files, |Leaving filesystem unchanged|\*\*\* Filesystem was "
    r"changed|The changes have not yet|filesystem unmodified|$"
    # the flag of FAT32, and a label that is not in the backup yet
    r"|There are differences between boot sector|This is mostly harmless|[ ,]+\d+:\w\w/\w\w|  Not "
    r"automatically fixing this"
    r"| Automatically removing|  Auto-|  Not auto-|  Using first FAT|  Truncating |  "
    r"Deleting|  Size \d+ bytes|  \(|  It could be|  if "
)


class Verdict(NamedTuple):
    """What is wrong with a state, by kind of fault; `told`: the dirty flag is set."""

    faults: dict[str, str]
    told: bool


class Judge:
    """Judges the states of the image at `path`, which is mapped as `image`."""

    def __init__(self, path: Path, image: memoryview) -> None:
        self.path = path
        self.disk = BufferDisk(path.name, image, read_only=True)
        self.system = octavo.boot("16M", seed=1)
        self.mended = path.with_suffix(".mended")
        self.mended.write_bytes(image)
        self.copy = map_file(self.mended)

    def close(self) -> None:
        """Turns the judge's system off."""
        self.system.close()

    @contextmanager
    def _mounted(self, disk: BufferDisk) -> Iterator[tuple[Volume, bool]]:
        """The volume on a disk, and whether its dirty flag is set."""
        scheduler = self.system.scheduler
        core = cast(Core[Entry], scheduler.run(mount(disk, self.system.cache)))
        try:
            yield Volume(core, scheduler, "C:"), cast(FatFormat, core.format).unclean
        finally:
            scheduler.run(core.unmount(discard=disk.read_only))

    def state(self, demands: Demands) -> Verdict:
        """The verdict on the image as it is now."""
        theirs = fsck_complaints(self.path)
        try:
            with self._mounted(self.disk) as (volume, told):
                return Verdict(
                    _faults(theirs, volume.check(), demands, demands.missing(volume)), told
                )
        except StatusError as error:
            return Verdict({"lost": f"cannot be mounted: {error}"}, False)

    def repaired(self, demands: Demands) -> dict[str, str]:
        """What is wrong with the state after `check --repair`: it must be clean, if that is said,
        and have all that it had to have.
        """
        self.copy[:] = self.disk.buffer
        with self._mounted(BufferDisk("mended", self.copy)) as (volume, _):
            problems = volume.check(repair=True)
            missing = demands.missing(volume)
        said = list(map(str, problems))
        left = (
            fsck_lines(self.mended) if all(problem.mended for problem in problems) else []
        )  # no room for a copy, say: told
        out = (
            {"not mended": f"fsck.fat says {left[:3]} after check --repair said {said[:4]}"}
            if left
            else {}
        )
        return out | (
            {"lost": f"by check --repair: {missing[:3]}; it said {said[:6]}"} if missing else {}
        )

    def torn(self) -> Verdict:
        """The verdict on a state with a torn sector: damage must be told, by the flag or by
        check.
        """
        theirs = fsck_lines(self.path)
        try:
            with self._mounted(self.disk) as (volume, told):
                silent = theirs and not volume.check()
        except StatusError:
            return Verdict({}, True)
        return Verdict(
            {"untold": f"fsck.fat says {theirs[:3]}, check nothing"} if silent else {}, told
        )


class Complaint(NamedTuple):
    """A line of fsck.fat's, and the last paths that it has named; the last one, or both, are
    meant.
    """

    paths: tuple[str, ...]
    text: str


def fsck_complaints(path: Path) -> list[Complaint]:
    """What fsck.fat says of an image, without what is no complaint."""
    done = subprocess.run(
        ["fsck.fat", "-n", path], capture_output=True, text=True, errors="replace", check=False
    )
    out: list[Complaint] = []
    paths: list[str] = []
    for line in (done.stdout + done.stderr).splitlines():
        if line.startswith("/"):
            paths = [*paths[-1:], line.removesuffix(" and").strip()]
        elif not SILENCE.match(line):
            out.append(Complaint(tuple(paths), line.strip()))
    return out


def fsck_lines(path: Path) -> list[str]:
    """What fsck.fat says of an image, without the paths."""
    return [complaint.text for complaint in fsck_complaints(path)]


def kinds(lines: list[str], checker: int) -> dict[str, str]:
    """The kinds of fault that a checker (0: fsck.fat, 1: Octavo) has found, each with a line that
    says so.
    """
    out: dict[str, str] = {}
    for line in lines:
        kind = next(
            (kind for kind, patterns in KINDS.items() if re.search(patterns[checker], line)),
            "damage",
        )
        out.setdefault(kind, line)
    return out


def _faults(
    theirs: list[Complaint], ours: list[Problem], demands: Demands, missing: list[str]
) -> dict[str, str]:
    said, found = [complaint.text for complaint in theirs], list(map(str, ours))
    faults: dict[str, str] = {}
    both = f"fsck.fat says {said[:3]}, check {found[:3]}"
    if bool(said) != bool(found):
        faults["check disagrees"] = both
    if (said or found) and "dirty" not in kinds(said, 0):
        faults["silent"] = f"the dirty flag is clear, and {both}"
    bad = [
        str(problem)
        for problem in ours
        if not _harmless(str(problem), 1) and not _excused(problem, demands)
    ]
    twice = [
        complaint
        for complaint in theirs
        if complaint.text in ("share clusters.", "Duplicate directory entry.")
    ]
    moving = any(_excused(problem, demands) for problem in ours) or (
        bool(twice) and all(_seen_twice(complaint, demands) for complaint in twice)
    )
    if bad or not moving:
        bad += [
            line for line in said if not _harmless(line, 0)
        ]  # otherwise they follow from the two names of what is moved
    if bad:
        faults["damaged"] = "; ".join(bad[:4])
    if missing:
        faults["lost"] = "; ".join(missing[:3])
    return faults


def _seen_twice(complaint: Complaint, demands: Demands) -> bool:
    """Whether fsck.fat, which reads on behind the end of a directory, has seen both names of what
    is moved.
    """
    if complaint.text == "Duplicate directory entry.":
        above, _, name = complaint.paths[-1].rpartition("/")
        return demands.only_the_case(above, name)
    return (
        demands.same(*complaint.paths) or "FSCK" in complaint.paths[-1]
    )  # that is how it has renamed a duplicate


def _harmless(line: str, checker: int) -> bool:
    return not {"damage", "shared", "two names", "parent"} & set(kinds([line], checker))


def _excused(problem: Problem, demands: Demands) -> bool:
    """Whether it is what a move leaves for a moment: two names with one chain, equal ones perhaps,
    or ".." that points to the other parent.
    """
    if shared := re.fullmatch(r"shares cluster \d+ with (.*)", problem.what):
        return demands.same(problem.where, shared[1])
    if twice := re.fullmatch(r"two entries have the name (.*)", problem.what):
        return demands.only_the_case(problem.where, twice[1])
    return '".." points to' in problem.what and demands.moved(problem.where)
