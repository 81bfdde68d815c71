"""Files of a volume that is checked: whose chains are sound, and what becomes of the others.

A file is sound when its chain ends and has as many clusters as its size needs. Sound files have
their clusters as soon as they are met. The others wait until everything that can be reached was
followed, and then

    share clusters with somebody   get a copy of them; without room, keep what is their own in front
    are too long, or run astray    end where their size ends, or where their chain is sound still
    are too short                  have the size that their chain holds

A chain is cut only where nobody else needs what follows: not while a file that shares it has no
copy, and not at all when something could not be read or was left alone, since what is in there may
need it. Two sound files that share clusters get a copy, or stay as they are.

On the medium a copy and its chain come before the entry that names it, and that before what nobody
needs then is cut off.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, NamedTuple

from octavo.fs.fat.books import Run
from octavo.fs.fat.entry import SLOT, Entry
from octavo.fs.fat.findings import Findings, done
from octavo.fs.fat.owners import TAIL, behind, first_of, length
from octavo.fs.vfs.node import Node
from octavo.memory.pagers.region import Mapping
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import VIEW_SIZE, Section
from octavo.status import Status, StatusError

UNSEEN = ", and stays as it is: what could not be read, or is left alone, may need it"
NO_ROOM = " and there is no room for a copy: remove one of them, or make room"


class Claim(NamedTuple):
    """A file whose chain is not simply its own: its directory, entry and path, and its chain as far
    as it goes.
    """

    parent: Node[Entry]
    entry: Entry
    path: str
    me: int
    runs: list[Run]
    damage: str


class Files:
    """The files that `findings` tells of."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.format, self.owners = findings.format, findings.owners
        self.unit = findings.format.geometry.cluster
        self.wrong: list[Claim] = []
        self.copies: list[
            tuple[Claim, list[Run], list[Run]]
        ] = []  # what is its own, what is copied
        self.ends: list[tuple[Claim, int]] = []  # whose chains are to end with which clusters
        self.kept: list[list[Run]] = []  # chains that stay as they are, shared

    async def add(self, parent: Node[Entry], entry: Entry, path: str) -> None:
        """A file is met."""
        runs, damage = await self.format.table.follow(entry.cluster) if entry.cluster else ([], "")
        claim = Claim(parent, entry, path, self.owners.add(path), runs, damage)
        if damage or length(runs) != self._needed(entry):
            self.wrong.append(claim)
            return
        own, met = self.owners.take(claim.me, runs)
        if met:
            await self._share(claim, own, met, runs, wrong=False)
        if (
            runs
            and max(self.format.geometry.place(a + n) for a, n in runs) > self.format.device.size
        ):
            await self.findings.say(path, "has clusters behind the end of the device")

    def _needed(self, entry: Entry) -> int:
        return -(-entry.size // self.unit)

    async def _share(
        self, claim: Claim, own: list[Run], met: int, runs: list[Run], wrong: bool
    ) -> None:
        self.copies.append((claim, own, runs))
        await self.findings.say(claim.path, self.owners.meet(claim.me, met, wrong), done())

    # -- files that are wrong ----------------------------------------------------------------------

    async def judge(self) -> None:
        """What becomes of each file that is not sound, now that the others have their clusters."""
        for claim in self.wrong:
            await self._judge(claim)

    async def _judge(self, claim: Claim) -> None:
        entry, runs = claim.entry, claim.runs
        needed = self._needed(entry)
        own, met = self.owners.take(claim.me, runs, needed)
        held = length(runs) * self.unit
        if met:
            shared = [] if claim.damage else first_of(runs, needed)
            await self._share(claim, own, met, shared, wrong=True)
        elif claim.damage:
            what = f"its cluster chain {claim.damage}"
            await self._cut(claim, what, own, min(entry.size, length(own) * self.unit))
        elif held < entry.size:
            what = f"claims {entry.size} bytes, and its cluster chain holds {held}"
            await self._say(claim, what, self._write(claim, entry.cluster if runs else 0, held))
        elif entry.cluster not in self.findings.format.ahead:  # else it is open, and may grow
            what = f"has {held} bytes of clusters for {entry.size} bytes"
            await self._cut(claim, what, own, entry.size)
        if not met:
            self.owners.mark(behind(runs, needed), TAIL)

    async def _cut(self, claim: Claim, what: str, own: list[Run], size: int) -> None:
        """Ends a chain behind what is the file's own, which has `size` bytes."""
        if own and self.findings.unseen:
            await self._say(claim, what + UNSEEN, None)
            return
        self.ends.append((claim, sum(own[-1]) - 1 if own else 0))
        await self._say(claim, what, self._write(claim, claim.entry.cluster if own else 0, size))

    async def _say(self, claim: Claim, what: str, mend: Coroutine[Any, Any, None] | None) -> None:
        await self.findings.say(claim.path, what, mend)
        if mend is not None and self.findings.repair:
            await self.findings.let_go(claim.parent)

    async def _write(self, claim: Claim, cluster: int, size: int) -> None:
        """Puts an entry into its directory's pages, with another first cluster and size."""
        claim.entry.cluster, claim.entry.size = cluster, size
        entry = claim.entry
        section = await self.findings.load(claim.parent)
        await self.findings.mender.put(section, (entry.slot + entry.slots - 1) * SLOT, entry.pack())

    # -- copies ------------------------------------------------------------------------------------

    async def mend(self) -> None:
        """Gives files that share clusters copies of their own, and ends chains; only for a
        repair.
        """
        made = [(claim, own, await self._copy(claim, runs)) for claim, own, runs in self.copies]
        await self.findings.settle()
        for claim, own, copy in made:
            if copy:
                await self._write(
                    claim, copy[0][0], min(claim.entry.size, length(copy) * self.unit)
                )
                self.owners.give_up(own)
                self.owners.mark(copy, claim.me)
            elif own and not self._sound(claim) and not self.findings.unseen:
                self.ends.append((claim, sum(own[-1]) - 1))
                size = min(claim.entry.size, length(own) * self.unit)
                await self._write(claim, claim.entry.cluster, size)
            else:
                self.kept.append(claim.runs)
                self.owners.mark(claim.runs, claim.me)
                await self.findings.left(claim.path, NO_ROOM)
            await self.findings.let_go(claim.parent)
        await self.findings.settle()
        for claim, cluster in [e for e in self.ends if self._is_kept(e[1])]:
            self.ends.remove((claim, cluster))
            self.owners.mark(claim.runs, claim.me)
            await self.findings.left(claim.path, UNSEEN)
        for claim, cluster in self.ends:
            if cluster:
                await self.findings.end(cluster)
            self.owners.cut_off(claim.runs)

    def _is_kept(self, cluster: int) -> bool:
        """True when a chain that stays as it is has a cluster."""
        return any(start <= cluster < start + n for runs in self.kept for start, n in runs)

    def _sound(self, claim: Claim) -> bool:
        return not claim.damage and length(claim.runs) == self._needed(claim.entry)

    async def _copy(self, claim: Claim, runs: list[Run]) -> list[Run]:
        """Clusters with the contents of a chain, none without room."""
        size = min(claim.entry.size, length(runs) * self.unit)
        try:
            made = await self.findings.allocate(-(-size // self.unit)) if size else []
        except StatusError as error:
            if error.status != Status.DISK_FULL:
                raise
            return []
        if made:
            await self._copy_bytes(runs, made, size)
        return made

    async def _copy_bytes(self, old: list[Run], new: list[Run], size: int) -> None:
        """Copies `size` bytes from the clusters of one chain into those of another."""
        format, sections = self.format, []
        for runs, known in ((old, size), (new, 0)):
            regions = RegionMap(self.unit)
            for first, count in runs:
                regions.append(format.geometry.place(first), count)
            sections.append(Section(format.name, format.pager, Mapping(regions), known))
        cache = format.cache
        try:
            for at in range(0, size, VIEW_SIZE):
                await cache.copy_write(
                    sections[1], at, await cache.copy_read(sections[0], at, VIEW_SIZE)
                )
            await cache.flush(sections[1])
        finally:
            for section in sections:
                await cache.drop(section)
