"""Judges what a power cut has left, by the promise of docs/crash.md: fsck.fat, Octavo's own check, and what was flushed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import octavo
from octavo.files import Volume
from octavo.fs.base import Problem
from octavo.fs.mount import mount
from octavo.status import StatusError
from octavo.testing.bufferdisk import BufferDisk
from tests.crashes.model import Demands

# What each of the two checkers says of it; the kinds before the gap may come of a power cut, if the dirty flag tells.
KINDS = {
    "dirty": (r"Dirty bit is set", r"was not unmounted"),
    "lost clusters": (r"Reclaimed \d+ unused cluster", r"clusters are in use and belong to no file"),
    "clusters behind the end": (r"File size is \d+ bytes, cluster chain length is > \d+ bytes", r"has \d+ bytes of clusters for"),
    "free count": (r"Free cluster summary (wrong|uninitialized)", r"FSInfo counts"),
    "FAT copies": (r"FATs differ", r"FAT 2 differs"),
    "stray name": (r"(Orphaned|Unfinished|Wrong checksum for|Unexpected|A new) long file ?name|Long filename fragment", r"stray|long name of .* is damaged"),

    "shared": (r"share clusters", r"shares cluster"),
    "two names": (r"Duplicate directory entry|^First  |^Second  ", r"two entries have the name"),
    "parent": (r"Start \(\d+\) does not point to parent|points? to .*parent", r'"\.\." points to'),
}  # fmt: skip
HARMLESS = frozenset(list(KINDS)[1:6])
SILENCE = re.compile(
    r"fsck\.fat \d|.*: \d+ files, |Leaving filesystem unchanged|\*\*\* Filesystem was changed|The changes have not yet|filesystem unmodified|/|$"
    r"|There are differences between boot sector|This is mostly harmless|  65:01/00|  Not automatically fixing this"  # the flag of FAT32
    r"| Automatically removing dirty|  Auto-|  Using first FAT|  Truncating file to|  Truncating second to|  and$|  Deleting|  Size \d+ bytes"
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

    def close(self) -> None:
        """Turns the judge's system off."""
        self.system.close()

    def state(self, demands: Demands) -> Verdict:
        """The verdict on the image as it is now."""
        theirs = fsck_lines(self.path)
        scheduler = self.system.scheduler
        try:
            core = scheduler.run(mount(self.disk, self.system.cache))
        except StatusError as error:
            return Verdict({"lost": f"cannot be mounted: {error}"}, False)
        volume = Volume(core, scheduler, "C:")
        try:
            ours = volume.check()
            return Verdict(_faults(theirs, ours, demands, demands.missing(volume)), core.was_dirty)
        finally:
            scheduler.run(core.unmount(discard=True))

    def torn(self) -> Verdict:
        """The verdict on a state with a torn sector: damage must be told, by the flag or by check."""
        theirs = kinds(fsck_lines(self.path), 0)
        scheduler = self.system.scheduler
        try:
            core = scheduler.run(mount(self.disk, self.system.cache))
        except StatusError:
            return Verdict({}, True)
        try:
            ours = Volume(core, scheduler, "C:").check()
            untold = bool(theirs) and not ours
            return Verdict({"untold": f"fsck.fat says {sorted(theirs)}, check nothing"} if untold else {}, core.was_dirty)
        finally:
            scheduler.run(core.unmount(discard=True))


def fsck_lines(path: Path) -> list[str]:
    """What fsck.fat says of an image, without what is no complaint."""
    done = subprocess.run(["fsck.fat", "-n", path], capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return [line.strip() for line in lines if not SILENCE.match(line)]


def kinds(lines: list[str], checker: int) -> dict[str, str]:
    """The kinds of fault that a checker (0: fsck.fat, 1: Octavo) has found, each with a line that says so."""
    out: dict[str, str] = {}
    for line in lines:
        kind = next((kind for kind, patterns in KINDS.items() if re.search(patterns[checker], line)), "damage")
        out.setdefault(kind, line)
    return out


def _faults(theirs: list[str], ours: list[Problem], demands: Demands, missing: list[str]) -> dict[str, str]:
    said, found = kinds(theirs, 0), kinds(list(map(str, ours)), 1)
    faults: dict[str, str] = {}
    if bool(theirs) != bool(ours):
        faults["check disagrees"] = f"fsck.fat says {theirs[:3]}, check {list(map(str, ours[:3]))}"
    if (said or found) and "dirty" not in said:
        faults["silent"] = f"the dirty flag is clear, and fsck.fat says {theirs[:3]}, check {list(map(str, ours[:3]))}"
    excused = [problem for problem in ours if _excused(problem, demands)]
    bad = [str(p) for p in ours if p not in excused and not HARMLESS & set(kinds([str(p)], 1)) and "dirty" not in kinds([str(p)], 1)]
    if not excused:
        bad += [line for kind, line in said.items() if kind not in HARMLESS and kind != "dirty"]
    if bad:
        faults["damaged"] = "; ".join(bad[:4])
    if missing:
        faults["lost"] = "; ".join(missing[:3])
    return faults


def _excused(problem: Problem, demands: Demands) -> bool:
    """Whether it is what a move leaves for a moment: two names with one chain, equal ones perhaps, or ".." that points to the other parent."""
    if shared := re.fullmatch(r"shares cluster \d+ with (.*)", problem.what):
        return demands.same(problem.where, shared[1])
    if twice := re.fullmatch(r"two entries have the name (.*)", problem.what):
        return demands.only_the_case(problem.where, twice[1])
    return '".." points to' in problem.what and demands.moved(problem.where)
