"""Checking a FAT volume: reads all of its metadata and says what is wrong in one sentence each; with `repair`, mends it.

    what is checked                                                      how it is mended
    dirty flag      the volume was not unmounted                         cleared
    FAT copies      all of them say the same                             the first one counts
    chains          stay inside the volume, end, belong to one file      cut where they are wrong; who shares clusters gets
                    each, and fit to the size of their entries           copies; sizes and surplus clusters follow
    directories     can be reached once, have "." and ".."               a second entry is erased, both are written anew;
                    are not larger than FAT allows                       told, not mended
    names           none is broken or illegal, no two are equal          a new short name; stray slots are erased
    clusters        used ones belong to a file                           freed
    FSInfo          counts the free clusters                             counted anew

Nothing is taken from a file that its chain and its entry agree about. Of two names of one file (a power cut left both) each
gets a file; without room both stay as they are, and that is told. A directory that shares clusters with another file or directory is left alone: what
is in it may be that file's bytes. No cluster is freed before all that is reachable was followed.
Where something cannot be read, no cluster is freed: what seems lost may belong to what is in there.
Memory beyond frames: 4 bytes a cluster, and a path for each file. Problems beyond MOST_PROBLEMS are mended and not listed.
"""

from __future__ import annotations

import numpy as np

from octavo.cache.regions import RegionMap
from octavo.fs.base import MOST_PATH, Problem
from octavo.fs.fat.checktables import check_copies, check_fsinfo, check_lost, check_reserved, done
from octavo.fs.fat.entry import DIRECTORY, FREE_SLOT, LONG_NAME, SLOT, VOLUME_LABEL, Entry, Parsed, new_entry, parse_directory
from octavo.fs.fat.findings import Findings, Progress
from octavo.fs.fat.names import LOWER_BASE, LOWER_EXTENSION, fold, is_label, is_short, make_short
from octavo.fs.fat.node import Directory, Node
from octavo.fs.fat.storage import Storage
from octavo.fs.fat.table import Run
from octavo.io.regionpager import Mapping
from octavo.memory.section import VIEW_SIZE, Section
from octavo.status import Status, StatusError

CASE_BITS = LOWER_BASE | LOWER_EXTENSION


class Check(Findings):
    """One pass over a volume whose mutex the caller holds."""

    def __init__(self, volume: Storage, progress: Progress | None, repair: bool) -> None:
        super().__init__(volume, repair)
        self.progress = progress
        self.names = ["nobody"]  # owner number -> path
        self.claimed = 0
        self.pending: list[Node] = []  # directories to look into
        self.shared: list[tuple[Node, Entry, list[Run], list[Run]]] = []  # files to copy: directory, entry, clusters of their own, all
        self.ends: list[int] = []  # clusters that are to end chains, once nobody needs what follows for a copy
        self.firsts = [0]  # owner number -> first cluster of a directory, 0 for files
        self.riddles: set[str] = set()  # directories that share clusters
        self.avoid: set[str] = set()  # those of an earlier pass: they are not touched

    # -- chains ---------------------------------------------------------------------------------------------------

    async def chain(self, path: str, first: int, most: int | None = None) -> tuple[list[Run], str]:
        """The clusters from `first` on, as far as they are the path's own and sound, and what is wrong with its chain then.

        A directory (`most` is None) owns all of its chain, a file the first `most` clusters: what is behind its end may be another's.
        """
        runs, damage = await self.volume.table.follow(first)
        if damage and most is not None:
            runs = _first(runs, most)
        self.names.append(path)
        self.firsts.append(first if most is None else 0)
        left = self.volume.geometry.clusters if most is None else most
        for i, (start, count) in enumerate(runs):
            part = self.owners[start : start + min(count, left)]
            taken = np.flatnonzero(part)
            if len(taken):
                damage = self._meet(int(part[taken[0]]), start + int(taken[0])) or damage
                runs = [*runs[:i], (start, int(taken[0]))]
                part = part[: int(taken[0])]
            part[:] = len(self.names) - 1
            self.claimed += len(part)
            left -= len(part)
            if len(taken) or not left:
                break
        if self.progress is not None:
            self.progress(self.claimed, self.volume.geometry.clusters)
        if damage and not damage.startswith("shares"):
            damage = f"its cluster chain {damage}"
        return [run for run in runs if run[1]], damage

    def _meet(self, other: int, cluster: int) -> str:
        """The last path that was named has come upon a cluster of another, or of its own ("")."""
        me = len(self.names) - 1
        if other == me:
            return ""
        if not self.firsts[me] == self.firsts[other] == cluster:  # one directory that is entered twice is no riddle
            self.riddles |= {self.names[i] for i in (me, other) if self.firsts[i]}
        return f"shares cluster {cluster} with {self.names[other]}"

    async def entry(self, parent: Node, entry: Entry) -> None:
        """Checks what one entry leads to."""
        path = _below(parent, entry)
        if entry.attributes & DIRECTORY and path in self.avoid:
            self.unseen = True
            await self.say(path, "shares clusters with others, and whose they are cannot be told: copy out what is there and remove it")
            return
        most = None if entry.attributes & DIRECTORY else -(-entry.size // self.volume.geometry.cluster)
        runs, damage = await self.chain(path, entry.cluster, most) if entry.cluster else ([], "")
        held = sum(count for _, count in runs) * self.volume.geometry.cluster
        if entry.attributes & DIRECTORY and entry.size:
            await self.say(path, f"is a directory and has a size, {entry.size}", self._write(parent, entry))
            entry.size = 0
        if entry.attributes & VOLUME_LABEL:
            entry.attributes &= ~VOLUME_LABEL
            await self.say(path, "is marked as a directory and as a label", self._write(parent, entry))
        if damage.startswith("shares") and not entry.attributes & DIRECTORY:
            await self.say(path, damage, self._share(parent, entry, runs))
        elif damage:
            await self.say(path, damage, self._cut(parent, entry, runs, min(entry.size, held)))
            if self.repair and not entry.attributes & DIRECTORY:
                await self._trim(parent, entry, runs)
        elif entry.attributes & DIRECTORY and not held:
            await self.say(path, "the directory has no cluster", self._erase(parent, entry))
        elif entry.attributes & DIRECTORY:
            assert parent.directory is not None
            self.pending.append(_node(entry, parent.directory, path))
        elif held < entry.size:
            await self.say(path, f"claims {entry.size} bytes, and its cluster chain holds {held}", self._cut(parent, entry, runs, held))
        elif held - entry.size >= self.volume.geometry.cluster:
            await self.say(path, f"has {held} bytes of clusters for {entry.size} bytes", self._trim(parent, entry, runs))
        if runs and max(self.volume.geometry.place(f + c) for f, c in runs) > self.volume.device.size:
            await self.say(path, "has clusters behind the end of the device")

    async def _cut(self, parent: Node, entry: Entry, runs: list[Run], size: int) -> None:
        """Ends a chain where it is sound still; a directory without a sound cluster goes."""
        if runs and entry.attributes & DIRECTORY:
            await self.volume.table.set(sum(runs[-1]) - 1, self.volume.table.end_mark)  # it is to be read now
        elif runs:
            self.ends.append(sum(runs[-1]) - 1)
        elif entry.attributes & DIRECTORY:
            await self._erase(parent, entry)
            return
        entry.cluster, entry.size = (entry.cluster if runs else 0), size
        await self._write(parent, entry)
        if entry.attributes & DIRECTORY:
            assert parent.directory is not None
            self.pending.append(_node(entry, parent.directory, _below(parent, entry)))

    async def _share(self, parent: Node, entry: Entry, own: list[Run]) -> None:
        """A file that has clusters of another's is to get a copy of them, when all owners are known."""
        runs, damage = await self.volume.table.follow(entry.cluster)
        self.shared.append((parent, entry, own, [] if damage else runs))

    async def copies(self) -> None:
        """Gives files that share clusters copies of their own; without room, cuts those that share a part. Frees nothing."""
        volume, unit = self.volume, self.volume.geometry.cluster
        for parent, entry, own, runs in self.shared:
            length = min(entry.size, sum(count for _, count in runs) * unit)
            try:
                made = await volume.table.allocate(-(-length // unit)) if length else []
            except StatusError as error:
                if error.status != Status.DISK_FULL:
                    raise
                made = []
            if made:
                await self._copy(runs, made, length)
                for first, count in own:
                    self.owners[first : first + count] = 0
                entry.cluster, entry.size = made[0][0], length
                self._claim(made)
                await self._write(parent, entry)
            elif own or not runs:
                await self._cut(parent, entry, own, min(entry.size, sum(count for _, count in own) * unit))
            else:
                self._keep(_below(parent, entry))
            await self._let_go(parent)
        for cluster in self.ends:
            await volume.table.set(cluster, volume.table.end_mark)

    def _keep(self, path: str) -> None:
        """Two names of one file, and no room for two files: which name is to stay is not ours to say."""
        why = " and there is no room for a copy: remove one of them, or make room"
        self.problems = [p._replace(what=p.what + why, mended=False) if p.where == path and p.what.startswith("shares") else p for p in self.problems]

    async def _copy(self, old: list[Run], new: list[Run], length: int) -> None:
        """Copies `length` bytes from the clusters of one chain into those of another."""
        volume, sections = self.volume, []
        for runs, size in ((old, length), (new, 0)):
            regions = RegionMap(volume.geometry.cluster)
            for first, count in runs:
                regions.append(volume.geometry.place(first), count)
            sections.append(Section(volume.name, volume.pager, Mapping(regions), size))
        try:
            for at in range(0, length, VIEW_SIZE):
                await volume.cache.copy_write(sections[1], at, await volume.cache.copy_read(sections[0], at, VIEW_SIZE))
            await volume.cache.flush(sections[1])
        finally:
            for section in sections:
                await volume.cache.drop(section)

    def _claim(self, runs: list[Run]) -> None:
        self.names.append("a copy")
        for first, count in runs:
            self.owners[first : first + count] = len(self.names) - 1

    async def _let_go(self, node: Node) -> None:
        """Writes a directory's pages and drops them."""
        if node.section is not None:
            await self.volume.cache.flush(node.section)
            await self.volume.cache.drop(node.section)
            node.section = node.mapping = None

    async def _trim(self, parent: Node, entry: Entry, runs: list[Run]) -> None:
        """Ends a file's chain at its end; what was behind it is freed with all that is lost, if it is nobody else's."""
        kept = _first(runs, -(-entry.size // self.volume.geometry.cluster))
        if kept:
            self.ends.append(sum(kept[-1]) - 1)
        else:
            entry.cluster = 0
            await self._write(parent, entry)

    # -- directories ----------------------------------------------------------------------------------------------

    async def directory(self, node: Node) -> None:
        """Checks a directory, whose chain is owned already; what is below it becomes pending."""
        path = node.path or "/"
        volume = self.volume
        try:
            section = await volume._load(node)
            data = await volume.cache.copy_read(section, 0, section.size)
        except StatusError as error:
            self.unseen = True
            await self.say(path, error.text)
            return
        parsed = parse_directory(data, volume.geometry.bits == 32, volume.codepage)
        if node.entry is not None and not await self.dots(node, path, parsed.entries + parsed.labels):
            return
        if self.repair and self.volume.was_dirty and data[parsed.end * SLOT :].strip(b"\0"):
            await self._clear_behind(section, parsed.end * SLOT)  # entries that a power cut left there; others read on behind the end
        await self.names_of(node, path, parsed)
        await self.long_slots(node, path, data[: parsed.end * SLOT])
        for label in parsed.labels:
            if label.cluster or label.size or node.entry is not None or not is_label(label.raw[:11], label.codepage):
                await self.say(path, f"the label in slot {label.slot} is none", self._erase(node, label))
        for entry in parsed.entries:
            if entry.name not in (".", ".."):
                await self.entry(node, entry)

    async def _clear_behind(self, section: Section, at: int) -> None:
        await self.volume._modify()
        for start in range(at, section.size, SLOT):
            await self.volume._put(section, start, bytes(SLOT))

    async def dots(self, node: Node, path: str, entries: list[Entry]) -> bool:
        """The first two entries of a subdirectory lead to itself and to its parent; False when it has neither: it may be none."""
        assert node.entry is not None and node.parent is not None
        above = node.parent.node.entry
        wanted = {".": node.entry.cluster, "..": above.cluster if above is not None else 0}
        bad = 0
        for slot, (name, cluster) in enumerate(wanted.items()):
            entry = next((e for e in entries if e.slot <= slot < e.slot + e.slots), None)
            made = new_entry("", DIRECTORY, self.volume.stamp(), name.encode().ljust(11), cluster)
            made.slot, made.slots = slot, 1
            if entry is None:
                await self.say(path, f'has no "{name}"', self._write(node, made))
            elif entry.name == name and entry.cluster != cluster:
                await self.say(path, f'"{name}" points to cluster {entry.cluster} instead of {cluster}', self._write(node, made))
            elif entry.slots == 1 and entry.attributes & DIRECTORY and entry.cluster == cluster:
                if entry.name != name or entry.raw[12]:
                    entry.name = name  # it is its name that is damaged
                    await self.say(path, f'has a damaged "{name}"', self._write(node, made))
            elif entry.name != name:
                bad += 1
                await self.say(path, f'has no "{name}", and another entry in its place')
        if bad == 2:
            self.unseen = True
        return bad < 2

    async def names_of(self, node: Node, path: str, parsed: Parsed) -> None:
        """Names that are broken, illegal or there twice, and slots of long names that belong to no entry."""
        strays = {first + count: (first, count) for first, count in parsed.strays}  # by the slot behind them
        broken = {id(entry) for entry in parsed.broken}
        seen: set[str] = set()
        taken: set[str] = set()  # by all of them, once one needs another name
        for entry in parsed.entries:
            if entry.name in (".", ".."):
                continue
            if twin := {fold(entry.name), fold(entry.short_name)} & seen:
                await self.say(path, f"two entries have the name {min(twin)}", self._rename(node, entry, parsed, taken))
            elif (id(entry) in broken and fold(entry.name) != fold(entry.short_name)) or (entry.slots == 1 and not is_short(entry.raw[:11], entry.codepage)):
                what = f"the name that is shown as {entry.name} has characters that no short name may have"
                if not entry.raw[:11].isascii():
                    what += f", if its code page is {entry.codepage}"
                await self.say(path, what, self._rename(node, entry, parsed, taken))
            elif id(entry) in broken:
                mine = [strays.pop(entry.slot, (entry.slot, 0))]
                await self.say(path, f"the long name of {entry.name} is damaged", self._free_slots(node, mine))
            if entry.raw[12] & ~CASE_BITS:
                entry.set_short(entry.raw[:11], entry.raw[12] & CASE_BITS)
                await self.say(path, f"{entry.name} has stray bits beside those for the case of its name", self._write(node, entry))
            seen |= {fold(entry.name), fold(entry.short_name)}
        for first, count in strays.values():
            what = f"{count} slots of long names belong to no entry"
            await self.say(path, what, self._free_slots(node, [(first, count)]))

    async def long_slots(self, node: Node, path: str, data: bytes) -> None:
        """Slots of long names have no cluster, and 0 in their reserved byte."""
        slots = np.frombuffer(data, np.uint8).reshape(-1, SLOT)
        long = (slots[:, 11] & 0x3F == LONG_NAME) & (slots[:, 0] != FREE_SLOT)
        wrong = np.flatnonzero(long & (slots[:, 12] | slots[:, 26] | slots[:, 27]).astype(bool))
        if len(wrong):
            what = f"{len(wrong)} slots of long names have a cluster or a kind"
            await self.say(path, what, self._clear_long_slots(node, wrong.tolist()))

    async def _clear_long_slots(self, node: Node, slots: list[int]) -> None:
        section = await self.volume._load(node)
        for slot in slots:
            await self.volume._put(section, slot * SLOT + 12, b"\0")
            await self.volume._put(section, slot * SLOT + 26, b"\0\0")

    async def _rename(self, parent: Node, entry: Entry, parsed: Parsed, taken: set[str]) -> None:
        """Gives an entry a short name that nobody in its directory has, and no long one."""
        if not taken:
            taken.update(fold(name) for e in parsed.entries for name in (e.name, e.short_name))
        if entry.slots > 1:
            await self._free_slots(parent, [(entry.slot, entry.slots - 1)])
            entry.slot, entry.slots = entry.slot + entry.slots - 1, 1
        entry.set_short(make_short(entry.name, taken, entry.slot), 0)
        entry.name = entry.short_name
        taken.add(entry.name)
        await self._write(parent, entry)

    async def _erase(self, parent: Node, entry: Entry) -> None:
        await self._free_slots(parent, [(entry.slot, entry.slots)])

    async def _free_slots(self, node: Node, slots: list[tuple[int, int]]) -> None:
        section = await self.volume._load(node)
        for first, count in slots:
            for slot in range(first, first + count):
                await self.volume._put(section, slot * SLOT, bytes((FREE_SLOT,)))

    async def _write(self, parent: Node, entry: Entry) -> None:
        """Puts the short entry into its slot."""
        await self.volume._put(await self.volume._load(parent), (entry.slot + entry.slots - 1) * SLOT, entry.pack())

    # -- the volume -----------------------------------------------------------------------------------------------

    async def tree(self) -> None:
        """All directories from the root on, each through a node that is nobody else's; pages of those below the root are let go."""
        volume, g = self.volume, self.volume.geometry
        root = _node(None, None, "")
        if not g.root_size:
            runs, damage = await self.chain("/", g.root_cluster)
            if damage:
                last = runs[-1][0] + runs[-1][1] - 1 if runs else 0
                await self.say("/", damage, volume.table.set(last, volume.table.end_mark) if runs else None)
                if not self.repair or not runs:
                    self.unseen = True
                    return
        self.pending.append(root)
        while self.pending:
            node = self.pending.pop()
            await self.directory(node)
            await self._let_go(node)


def _first(runs: list[Run], most: int) -> list[Run]:
    """The first `most` clusters of a chain."""
    out: list[Run] = []
    for first, count in runs:
        if most <= 0:
            break
        out.append((first, min(count, most)))
        most -= count
    return out


def _below(parent: Node, entry: Entry) -> str:
    """The path of an entry in a directory; the end of it, where it is longer than a path may be."""
    path = f"{parent.path}/{entry.name}"
    return path if len(path) <= MOST_PATH else f"...{path[-MOST_PATH:]}"


def _node(entry: Entry | None, parent: Directory | None, path: str) -> Node:
    """A node with an empty parsed form, so that children can name it as their parent."""
    node = Node(entry, parent, path)
    node.directory = Directory(node, Parsed())
    return node


async def check_volume(volume: Storage, progress: Progress | None, repair: bool) -> list[Problem]:
    """All problems of a flushed volume, whose mutex the caller holds; with `repair` they are mended in its pages, for the next flush."""
    check = Check(volume, progress, repair)
    if repair:
        look = Check(volume, None, False)
        await look.tree()
        check.avoid = look.riddles
    g = volume.geometry
    if volume.was_dirty:
        await check.say("volume", "was not unmounted: its dirty flag is set", done())
    if g.unreachable or g.doubt:
        await check.say("volume", f"{g.misfit}: it is mounted read-only, and cannot be mended")
    if g.doubt:
        return check.problems  # whatever else is found may be other than it looks
    if g.truncated:
        await check.say("volume", f"has {g.size} bytes, and the device only {volume.device.size}")
    await check_copies(check)
    await check_reserved(check)
    await check.tree()
    await check.copies()
    await check_lost(check)
    await check_fsinfo(check)
    return check.problems
