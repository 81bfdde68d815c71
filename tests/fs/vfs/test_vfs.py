"""The seam between volumes and formats, with a format of forty lines: what every format gets."""

from __future__ import annotations

from datetime import datetime

from octavo.cache.manager import CacheManager
from octavo.files import Volume as Facade
from octavo.fs.base import Problem, Space
from octavo.fs.protocol import Glance
from octavo.fs.vfs.format import Mender, Progress
from octavo.fs.vfs.node import Directory, Node
from octavo.fs.vfs.volume import Volume
from octavo.memory.pagers.region import Mapping, RegionPager, whole_device
from octavo.memory.pagers.regionmap import HOLE, RegionMap
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.faulty import FaultyDevice
from tests.machines import Machine, fails

BLOCK = 512


class Line:
    """A file or directory of the tiny format: a line of a directory, "name kind block size"."""

    modified = created = datetime(2001, 2, 3)
    short_name = ""

    def __init__(self, name: str, kind: str, number: int, size: int) -> None:
        self.name, self.flags, self.number, self.size = name, kind, number, size
        self.is_directory = kind == "d"
        self.node: Node[Line] | None = None


class Tiny:
    """Block 0 is the root. A file's bytes follow one another; one of kind "s" has a hole behind its
    first block, and its last block follows.
    """

    kind, label, serial, refusal = "tiny", "T", 7, "nobody writes it"

    def __init__(self, disk: FaultyDevice, cache: CacheManager) -> None:
        self.cache, self.pager = cache, RegionPager(disk)
        self.links = None
        self.sections = [Section("tiny", self.pager, whole_device(disk), disk.size)]
        self.kept: list[RegionMap] = []
        self.ahead: set[int] = set()

    def root(self) -> Line:
        return Line("", "d", 1, BLOCK)

    async def locate(self, node: Node[Line], what: str) -> tuple[Mapping, int]:
        regions, entry = RegionMap(BLOCK), node.entry
        blocks = -(-entry.size // BLOCK)
        place = (entry.number - 1) * BLOCK
        if entry.flags == "s":
            regions.append(place, 1)
            regions.append(HOLE, blocks - 2)
            regions.append(place + BLOCK, 1)
        else:
            regions.append(place, blocks)
        return Mapping(regions), entry.size

    async def parse(self, node: Node[Line], section: Section) -> Directory[Line]:
        text = (await self.cache.copy_read(section, 0, section.size)).decode().rstrip("\0")
        names = {}
        for line in text.splitlines():
            name, kind, number, size = line.split()
            names[name] = Line(name, kind, int(number), int(size))
        return Directory(node, names)

    @property
    def layout(self) -> object:
        """Its bytes."""
        return None

    def forget(self) -> None:
        """Nothing is known."""

    async def glance(self, numbers: list[int]) -> dict[int, Glance]:
        return {}

    def extents(self) -> None:
        return None

    async def space(self) -> Space:
        return Space(self.sections[0].size, 0, BLOCK)

    async def check(self, progress: Progress | None, mender: Mender | None) -> list[Problem]:
        raise StatusError(Status.INVALID_PARAMETER, "tiny volumes cannot be checked")


BLOCKS = [
    b"a.txt f 3 700\nd d 2 512\nsparse s 6 5000\nempty d 9 512\n",
    b"loop d 1 512\nself d 2 512\nb f 5 3\ne d 8 512\n",
    b"a" * 512,
    b"A" * 512,
    b"bcd",
    b"1" * 512,
    b"2" * 512,
    b"".join(b"f%d f 5 3\n" % i for i in range(40)),
]


def tiny(frames: int = 64) -> tuple[Machine, FaultyDevice, Volume[Line]]:
    """A mounted tiny volume."""
    image = b"".join(block.ljust(BLOCK, b"\0") for block in BLOCKS)
    machine = Machine(frames=frames)
    disk = FaultyDevice(BufferDisk("disk", bytearray(image.ljust(8192, b"\0"))))
    return machine, disk, Volume(disk, Tiny(disk, machine.cache), machine.cache)


def test_a_tiny_format_is_read_by_everything_above() -> None:
    """Names, paths, listings, files, holes and views of what a format reads."""
    machine, _, core = tiny()
    volume = Facade(core, machine.scheduler, "C:")
    assert [e.name for e in volume.entries()] == ["a.txt", "d", "sparse", "empty"]
    assert [(e.name, e.size) for e in volume.entries("d")][2] == ("b", 3)
    assert volume.read_bytes("a.txt") == b"a" * 512 + b"A" * 188
    assert volume.read_bytes("d\\..\\d/./b") == b"bcd" == volume.read_bytes("d/b")
    last = 5000 - 9 * 512
    assert volume.read_bytes("sparse") == b"1" * 512 + bytes(8 * 512) + b"2" * last
    assert volume.stat("").is_directory and volume.stat("d/b").size == 3
    assert volume.space() == (8192, 0, 512) and volume.kind == "tiny" and volume.label == "T"
    file = core.nodes.root
    machine.run(core.unmount())
    assert file.section is not None and not file.section.segments
    machine.memory.check()


def test_what_is_refused_is_refused_for_every_format() -> None:
    """Statuses that no format has to think of."""
    machine, _, core = tiny()
    run = machine.run
    fails(Status.OBJECT_NAME_NOT_FOUND, run, core.stat("A.TXT"))
    fails(Status.OBJECT_PATH_NOT_FOUND, run, core.stat("x/y"))
    fails(Status.OBJECT_PATH_NOT_FOUND, run, core.stat("a.txt/y"))
    fails(Status.NOT_A_DIRECTORY, run, core.stat("a.txt/"))
    fails(Status.FILE_IS_A_DIRECTORY, run, core.open("d"))
    fails(Status.ACCESS_DENIED, run, core.open("d/.."))
    fails(Status.NAME_TOO_LONG, run, core.stat("a" * 4096))
    fails(Status.FILE_CORRUPT_ERROR, run, core.entries("d/loop"))
    fails(Status.FILE_CORRUPT_ERROR, run, core.stat("d/self/b"))
    for call in (
        core.open("new", create=True),
        core.open("a.txt", write=True),
        core.create_whole("new", b"", None),
        core.make_directory("new"),
        core.remove("a.txt"),
        core.remove_directory("empty"),
        core.rename("a.txt", "b"),
        core.set_attributes("a.txt", "r"),
        core.set_modified("a.txt", 1),
        core.check(repair=True),
    ):
        fails(Status.MEDIA_WRITE_PROTECTED, run, call)
    fails(Status.OBJECT_NAME_COLLISION, run, core.open("a.txt", create=True, exclusive=True))
    file = run(core.open("a.txt"))
    again = file.duplicate()
    fails(Status.ACCESS_DENIED, run, file.write(0, b"x"))
    run(file.close())
    fails(Status.FILE_CLOSED, run, file.read(0, 1))
    fails(Status.SHARING_VIOLATION, run, core.unmount())
    run(again.close())
    run(core.unmount())


def test_every_kth_read_fails_once() -> None:
    """A read that fails is told to who asked, and the next one succeeds: nothing half is kept."""
    done = 0
    for k in range(1, 9):
        machine, disk, core = tiny()
        fails_at = ("read", k)
        disk.plan = lambda verb, number, at=fails_at: (verb, number) == at  # type: ignore[misc]
        volume = Facade(core, machine.scheduler, "C:")
        try:
            volume.read_bytes("d/b")
        except StatusError as error:
            assert error.status == Status.IO_DEVICE_ERROR
            done += 1
        assert volume.read_bytes("d/b") == b"bcd"
        machine.memory.check()
    assert done == 3  # root, d and b


def test_nodes_are_bounded() -> None:
    """Nodes that nobody has open are dropped, oldest first, and found again."""
    machine, _, core = tiny()
    core.nodes.most = 8
    file = machine.run(core.open("d/e/f0"))
    for i in range(40):
        volume = Facade(core, machine.scheduler, "C:")
        assert volume.read_bytes(f"d/e/f{i}") == b"bcd"
        assert len(core.nodes.used) <= 9
    assert machine.run(file.read(0, 3)) == b"bcd"
