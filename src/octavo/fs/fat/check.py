"""Checking a FAT volume: reads all of its metadata and says what is wrong in one sentence each;
with `repair`, mends it.

    what is checked                                       how it is mended
    dirty flag   the volume was not unmounted             cleared
    FAT copies   all of them say the same                 the first one counts
    chains       stay inside the volume, end, belong to   cut where they are wrong; who shares
                 one file each, and fit to the size of    clusters gets copies; sizes and surplus
                 their entries                            clusters follow
    directories  can be reached once, have "." and ".."   a second entry is erased, both are
                                                          written anew;
                 are not larger than FAT allows           told, not mended
    names        none is broken or illegal, no two are    a new short name; stray slots are erased
                 equal
    long slots   have attributes 15, no cluster, no kind  these bytes are written anew
    label        the boot sector has that of the root     the root directory counts
                 directory, or "NO NAME"
    clusters     used ones belong to a file               freed
    FSInfo       counts the free clusters                 counted anew

Nothing is taken from a file that its chain and its entry agree about. Of two names of one file (a
power cut left both) each gets a file; without room both stay as they are, and that is told. A
directory that shares clusters with another file or directory is left alone: what is in it may be
that file's bytes. No cluster is freed before all that is reachable was followed. Where something
cannot be read, no cluster is freed: what seems lost may belong to what is in there. Memory beyond
frames: 4 bytes a cluster, and a path for each file. Problems beyond MOST_PROBLEMS are mended and
not listed.
"""

from __future__ import annotations

import numpy as np

from octavo.fs.base import MOST_PATH, Problem
from octavo.fs.fat.books import Run
from octavo.fs.fat.checkfiles import Files
from octavo.fs.fat.checktables import (
    check_copies,
    check_fsinfo,
    check_label,
    check_lost,
    check_reserved,
    free_unowned,
)
from octavo.fs.fat.entry import (
    DIRECTORY,
    FREE_SLOT,
    LONG_NAME,
    SLOT,
    VOLUME_LABEL,
    Entry,
    Parsed,
    new_entry,
    parse_directory,
)
from octavo.fs.fat.findings import Findings, done
from octavo.fs.fat.format import FatFormat
from octavo.fs.fat.names import (
    LOWER_BASE,
    LOWER_EXTENSION,
    fold,
    is_label,
    is_short,
    make_short,
    shown_label,
)
from octavo.fs.fat.planner import above
from octavo.fs.vfs.format import Mender, Progress
from octavo.fs.vfs.node import Directory, Node
from octavo.memory.pages.section import Section
from octavo.printing import counted
from octavo.status import StatusError

CASE_BITS = LOWER_BASE | LOWER_EXTENSION


class Check:
    """One pass over a volume: its directories, and by way of them all files; `avoid` are
    directories that are left alone.
    """

    def __init__(self, findings: Findings, progress: Progress | None, avoid: set[str]) -> None:
        self.findings = findings
        self.format, self.owners, self.say = findings.format, findings.owners, findings.say
        self.repair = findings.repair
        self.files = Files(findings)
        self.progress = progress
        self.avoid = avoid
        self.pending: list[Node[Entry]] = []  # directories to look into
        self.label: bytes | None = None  # of the root directory, b"": none; None: nobody knows

    async def chain(self, path: str, first: int) -> tuple[list[Run], str]:
        """The clusters of a directory, as far as they are its own and sound, and what is wrong with
        its chain then.
        """
        runs, damage = await self.format.table.follow(first)
        me = self.owners.add(path, first)
        own, met = self.owners.take(me, runs)
        if met:
            damage = self.owners.meet(me, met)
        elif damage:
            damage = f"its cluster chain {damage}"
        return own, damage

    async def entry(self, parent: Node[Entry], entry: Entry) -> None:
        """Checks what one entry leads to."""
        path = _below(parent, entry)
        if entry.attributes & DIRECTORY:
            await self._subdirectory(parent, entry, path)
        else:
            await self.files.add(parent, entry, path)
        if self.progress is not None:
            self.progress(self.owners.claimed, self.format.geometry.clusters)

    async def _subdirectory(self, parent: Node[Entry], entry: Entry, path: str) -> None:
        if path in self.avoid:
            self.findings.unseen = True
            await self.say(
                path,
                "shares clusters with others, and whose they are cannot be told: copy out "
                "what is there and remove it",
            )
            return
        runs, damage = await self.chain(path, entry.cluster) if entry.cluster else ([], "")
        if entry.size:
            await self.say(
                path, f"is a directory and has a size, {entry.size}", self._write(parent, entry)
            )
            entry.size = 0
        if entry.attributes & VOLUME_LABEL:
            entry.attributes &= ~VOLUME_LABEL
            await self.say(
                path, "is marked as a directory and as a label", self._write(parent, entry)
            )
        if damage:
            await self.say(path, damage, self._cut(parent, entry, runs))
        elif not runs:
            await self.say(path, "the directory has no cluster", self._erase(parent, entry))
        else:
            assert parent.directory is not None
            self.pending.append(_node(entry, parent.directory, path))

    async def _cut(self, parent: Node[Entry], entry: Entry, runs: list[Run]) -> None:
        """Ends a directory's chain where it is sound still, since it is to be read now; without a
        sound cluster it goes.
        """
        if not runs:
            await self._erase(parent, entry)
            return
        await self.findings.end(sum(runs[-1]) - 1)
        await self._write(parent, entry)
        assert parent.directory is not None
        self.pending.append(_node(entry, parent.directory, _below(parent, entry)))

    # -- directories -------------------------------------------------------------------------------

    async def directory(self, node: Node[Entry]) -> None:
        """Checks a directory, whose chain is owned already; what is below it becomes pending."""
        path = node.path or "/"
        try:
            section = await self.findings.load(node)
            data = await self.format.cache.copy_read(section, 0, section.size)
        except StatusError as error:
            self.findings.unseen = True
            await self.say(path, error.text)
            return
        data, parsed = await self.end(node, path, section, data)
        if node.parent is not None:
            data, parsed, sure = await self.dots(node, path, data, parsed)
            if not sure:
                return
        await self.names_of(node, path, parsed)
        await self.long_slots(node, path, data[: parsed.end * SLOT])
        await self.labels(node, path, parsed.labels)
        for entry in parsed.entries:
            if entry.name not in (".", ".."):
                await self.entry(node, entry)

    async def labels(self, node: Node[Entry], path: str, labels: list[Entry]) -> None:
        """The labels in a directory; the first sound one in the root directory is the volume's."""
        kept = b""
        for label in labels:
            if node.parent is not None and label.slot < 2:
                continue  # another entry in the place of "." or "..", which `dots` has told
            left = await self.one_label(node, path, label)
            kept = kept or left
        if node.parent is None:
            self.label = kept

    async def one_label(self, node: Node[Entry], path: str, label: Entry) -> bytes:
        """A volume label is in the root directory, has no contents, and has blanks behind it: some
        devices write NUL bytes. Returns what it is then, b"" for one that goes.
        """
        raw = label.raw[:11]
        blank = raw.rstrip(b"\0").ljust(11)
        what = f"the volume label {shown_label(raw, label.codepage)!r} in slot {label.slot}"
        if node.parent is not None:
            await self.say(path, f"{what} is not in the root directory", self._erase(node, label))
        elif label.cluster or label.size:
            await self.say(path, f"{what} has a cluster or a size", self._erase(node, label))
        elif not is_label(blank, label.codepage):
            await self.say(
                path,
                f"{what} has characters that no label may have there",
                self._erase(node, label),
            )
        elif blank != raw:
            label.set_short(blank, label.raw[12])
            await self.say(path, f"{what} is filled up with NUL bytes", self._write(node, label))
            return blank
        else:
            return raw
        return b""

    async def end(
        self, node: Node[Entry], path: str, section: Section, data: bytes
    ) -> tuple[bytes, Parsed]:
        """What stands behind a directory's end, which others read on behind: entries that lead to
        clusters in use are its own, and its end was damaged; others are remains.
        """
        wide, codepage = self.format.geometry.bits == 32, self.format.codepage
        parsed = parse_directory(data, wide, codepage)
        slots = np.frombuffer(data, np.uint8).reshape(-1, SLOT)[parsed.end :, 0]
        live = np.flatnonzero((slots != 0) & (slots != FREE_SLOT))
        if not len(live):
            return data, parsed
        holes = parsed.end + np.flatnonzero(slots[: live[-1]] == 0)
        whole = bytearray(data)
        for slot in holes.tolist():
            whole[slot * SLOT] = FREE_SLOT
        more = parse_directory(bytes(whole), wide, codepage)
        if await self._in_use([e for e in more.entries if e.slot > parsed.end]):
            what = f"ends in slot {parsed.end}, and entries in use stand behind that"
            await self.say(
                path, what, self._free_slots(node, [(slot, 1) for slot in holes.tolist()])
            )
            return bytes(whole), more
        what = f"has remains of entries behind its end in slot {parsed.end}"
        await self.say(path, what, self._clear_behind(section, parsed.end * SLOT))
        return data[: parsed.end * SLOT].ljust(len(data), b"\0"), parsed

    async def _in_use(self, entries: list[Entry]) -> bool:
        """True when one of the entries can be a file's or a directory's: it has a short name, and
        its first cluster is in use.
        """
        table = self.format.table
        for entry in entries:
            inside = 2 <= entry.cluster < table.limit
            if (
                inside
                and is_short(entry.raw[:11], entry.codepage)
                and await table.get(entry.cluster)
            ):
                return True
        return False

    async def _clear_behind(self, section: Section, at: int) -> None:
        for start in range(at, section.size, SLOT):
            await self.findings.mender.put(section, start, bytes(SLOT))

    async def dots(
        self, node: Node[Entry], path: str, data: bytes, parsed: Parsed
    ) -> tuple[bytes, Parsed, bool]:
        """The first two entries of a subdirectory lead to itself and to its parent. Returns what
        the directory says with them as they are to be: nothing else may take their slots for what
        was in them. False when neither is there, and something else is: it may be no directory, and
        nothing is changed in it.
        """
        assert node.parent is not None
        wanted = {".": node.entry.cluster, "..": above(node.parent.node)}
        entries = [*parsed.entries, *parsed.labels]
        found = [
            next((e for e in entries if e.slot <= slot < e.slot + e.slots), None) for slot in (0, 1)
        ]
        alike = [
            e is not None and _is_dot(e, *pair)
            for e, pair in zip(found, wanted.items(), strict=True)
        ]
        if not any(alike) and (entries or parsed.strays):
            self.findings.unseen = True
            await self.say(
                path,
                'has neither "." nor ".." in their places: it may be no directory, and is '
                "left alone",
            )
            return data, parsed, False
        whole = bytearray(data)
        for slot, (name, cluster) in enumerate(wanted.items()):
            made = await self._dot(node, path, (slot, name, cluster), found[slot], alike[slot])
            whole[slot * SLOT : slot * SLOT + len(made)] = made
        if whole != data:
            wide, codepage = self.format.geometry.bits == 32, self.format.codepage
            parsed = parse_directory(bytes(whole), wide, codepage)
        return bytes(whole), parsed, True

    async def _dot(
        self,
        node: Node[Entry],
        path: str,
        wanted: tuple[int, str, int],
        entry: Entry | None,
        alike: bool,
    ) -> bytes:
        """One of the first two entries: its slot, name and cluster are given, and what is there.
        Returns what is to be there, b"" where it stays as it is.
        """
        slot, name, cluster = wanted
        if entry is None:
            what = f'has no "{name}"'
        elif not alike:
            await self.say(path, f'has no "{name}", and another entry in its place')
            return b""
        elif entry.cluster != cluster:
            what = f'"{name}" points to cluster {entry.cluster} instead of {cluster}'
        elif (
            entry.name != name
            or entry.raw[12]
            or entry.attributes & (DIRECTORY | VOLUME_LABEL) != DIRECTORY
        ):
            what = f'has a damaged "{name}"'
        else:
            return b""
        stamp = self.findings.planner.stamp()
        made = new_entry("", DIRECTORY, stamp, name.encode().ljust(11), cluster)
        made.slot, made.slots = slot, 1
        await self.say(path, what, self._write(node, made))
        return made.pack()

    async def names_of(self, node: Node[Entry], path: str, parsed: Parsed) -> None:
        """Names that are broken, illegal or there twice, and slots of long names that belong to no
        entry.
        """
        strays = {
            first + count: (first, count) for first, count in parsed.strays
        }  # by the slot behind them
        broken = {id(entry) for entry in parsed.broken}
        seen: set[str] = set()
        taken: set[str] = set()  # by all of them, once one needs another name
        for entry in parsed.entries:
            if entry.name in (".", ".."):
                continue
            if twin := {fold(entry.name), fold(entry.short_name)} & seen:
                await self.say(
                    path,
                    f"two entries have the name {min(twin)}",
                    self._rename(node, entry, parsed, taken),
                )
            elif (id(entry) in broken and fold(entry.name) != fold(entry.short_name)) or (
                entry.slots == 1 and not is_short(entry.raw[:11], entry.codepage)
            ):
                what = (
                    f"the name that is shown as {entry.name} has characters that no short "
                    "name may have"
                )
                if not entry.raw[:11].isascii():
                    what += f", if its code page is {entry.codepage}"
                await self.say(path, what, self._rename(node, entry, parsed, taken))
            elif id(entry) in broken:
                mine = [strays.pop(entry.slot, (entry.slot, 0))]
                await self.say(
                    path, f"the long name of {entry.name} is damaged", self._free_slots(node, mine)
                )
            if entry.raw[12] & ~CASE_BITS:
                entry.set_short(entry.raw[:11], entry.raw[12] & CASE_BITS)
                await self.say(
                    path,
                    f"{entry.name} has stray bits beside those for the case of its name",
                    self._write(node, entry),
                )
            seen |= {fold(entry.name), fold(entry.short_name)}
        for first, count in strays.values():
            what = f"{counted(count, 'slot')} of long names belong{'s' * (count == 1)} to no entry"
            await self.say(path, what, self._free_slots(node, [(first, count)]))

    async def long_slots(self, node: Node[Entry], path: str, data: bytes) -> None:
        """Slots of long names have no cluster, 0 in their reserved byte, and attributes 15. Bits
        beside those mean nothing by the specification; others take such a slot for a file.
        """
        slots = np.frombuffer(data, np.uint8).reshape(-1, SLOT)
        long = (slots[:, 11] & 0x3F == LONG_NAME) & (slots[:, 0] != FREE_SLOT)
        for faults, what, right in (
            (
                slots[:, 12] | slots[:, 26] | slots[:, 27],
                "a cluster or a kind",
                {12: b"\0", 26: b"\0\0"},
            ),
            (slots[:, 11] & 0xC0, "stray bits in the attributes", {11: bytes((LONG_NAME,))}),
        ):
            wrong = np.flatnonzero(long & faults.astype(bool)).tolist()
            if wrong:
                have = "has" if len(wrong) == 1 else "have"
                what = f"{counted(len(wrong), 'slot')} of long names {have} {what}"
                await self.say(path, what, self._put_into(node, wrong, right))

    async def _put_into(self, node: Node[Entry], slots: list[int], right: dict[int, bytes]) -> None:
        """Has slots of a directory say what is `right`, by the byte of the slot."""
        section = await self.findings.load(node)
        for slot in slots:
            for at, data in right.items():
                await self.findings.mender.put(section, slot * SLOT + at, data)

    async def _rename(
        self, parent: Node[Entry], entry: Entry, parsed: Parsed, taken: set[str]
    ) -> None:
        """Gives an entry a short name that nobody in its directory has, and no long one."""
        if not taken:
            taken.update(fold(name) for e in parsed.entries for name in (e.name, e.short_name))
        await self._free_slots(parent, [(entry.slot, entry.slots - 1)])
        entry.slot, entry.slots = entry.slot + entry.slots - 1, 1
        entry.set_short(make_short(entry.name, taken, entry.slot), 0)
        entry.name = entry.short_name
        taken.add(entry.name)
        await self._write(parent, entry)

    async def _erase(self, parent: Node[Entry], entry: Entry) -> None:
        await self._free_slots(parent, [(entry.slot, entry.slots)])

    async def _free_slots(self, node: Node[Entry], slots: list[tuple[int, int]]) -> None:
        section = await self.findings.load(node)
        for first, count in slots:
            for slot in range(first, first + count):
                await self.findings.mender.put(section, slot * SLOT, bytes((FREE_SLOT,)))

    async def _write(self, parent: Node[Entry], entry: Entry) -> None:
        """Puts the short entry into its slot."""
        await self.findings.mender.put(
            await self.findings.load(parent), (entry.slot + entry.slots - 1) * SLOT, entry.pack()
        )

    # -- the volume --------------------------------------------------------------------------------

    async def tree(self) -> None:
        """All directories from the root on, each through a node that is nobody else's; pages of
        those below the root are let go.
        """
        g = self.format.geometry
        root = _node(self.format.root(), None, "")
        if not g.root_size:
            runs, damage = await self.chain("/", g.root_cluster)
            if damage:
                last = runs[-1][0] + runs[-1][1] - 1 if runs else 0
                await self.say("/", damage, self.findings.end(last) if runs else None)
                if not self.repair or not runs:
                    self.findings.unseen = True
                    return
        self.pending.append(root)
        while self.pending:
            node = self.pending.pop()
            await self.directory(node)
            await self.findings.let_go(node)


def _is_dot(entry: Entry, name: str, cluster: int) -> bool:
    """Whether an entry is "." or "..", by its name or by where it leads to."""
    leads = entry.slots == 1 and entry.cluster == cluster and entry.attributes & DIRECTORY
    return entry.name == name or bool(leads)


def _below(parent: Node[Entry], entry: Entry) -> str:
    """The path of an entry in a directory; the end of it, where it is longer than a path may be."""
    path = f"{parent.path}/{entry.name}"
    return path if len(path) <= MOST_PATH else f"...{path[-MOST_PATH:]}"


def _node(entry: Entry, parent: Directory[Entry] | None, path: str) -> Node[Entry]:
    """A node with an empty parsed form, so that children can name it as their parent."""
    node = Node(entry, parent, path)
    node.directory = Directory(node, {})
    return node


async def check_volume(
    format: FatFormat, progress: Progress | None, mender: Mender | None
) -> list[Problem]:
    """All problems of a flushed volume, whose mutex the caller holds; with a mender they are
    mended in its pages, for the next flush.
    """
    findings = Findings(format, mender)
    avoid = await _riddles(format) if mender is not None else set()
    g, say = format.geometry, findings.say
    if format.unclean:
        await say("volume", "was not unmounted: its dirty flag is set", done())
    if g.unreachable or g.doubt:
        await say("volume", f"{g.misfit}: it is mounted read-only, and cannot be mended")
    if g.doubt:
        return findings.problems  # whatever else is found may be other than it looks
    if g.truncated:
        await say("volume", f"has {g.size} bytes, and the device only {format.device.size}")
    await check_copies(findings)
    await check_reserved(findings)
    check = Check(findings, progress, avoid)
    await check.tree()
    for regions in format.kept:
        runs = [((place - g.data_offset) // g.cluster + 2, n) for place, n in regions.units()]
        check.owners.take(check.owners.add("a file without a name"), runs)
    if check.label is not None:
        await check_label(findings, check.label)
    await check.files.judge()
    if mender is not None:
        await findings.settle()
    await check_lost(findings)  # what is freed here is room for copies
    if mender is not None:
        await check.files.mend()
        await free_unowned(findings, not findings.unseen)
    await check_fsinfo(findings)
    return findings.problems


async def _riddles(format: FatFormat) -> set[str]:
    """Directories that share clusters with others."""
    look = Check(Findings(format, None), None, set())
    await look.tree()
    await look.files.judge()
    return look.owners.riddles
