"""Files and the cache: what a read asks of whom, reads and writes that do not wait, advice, and
long gaps.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import pytest

import octavo
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pagers.medium import Request
from octavo.memory.pagers.region import Mapping
from octavo.memory.pages.section import VIEW_SIZE
from octavo.status import Status
from octavo.vm import Advice
from tests.conftest import fsck
from tests.machines import fails

FORMATS = os.sep + os.path.join("fs", "fat") + os.sep
DATA = bytes(range(256)) * 16  # a page


@pytest.fixture
def torn(image: Path) -> Iterator[octavo.System]:
    """A system with two files whose pages lie in turn, none of which is in memory."""
    with (
        octavo.open_image(image) as volume,
        volume.open("a", "wb") as a,
        volume.open("b", "wb") as b,
    ):
        for number in range(40):
            for file in (a, b):
                file.write(b"%4d" % number + DATA[4:])
                file.flush()
    with octavo.boot(memory="8M", disks=[image], seed=1) as system:
        yield system
        system.check()
    fsck(image)


def asked(system: octavo.System, call: Callable[[], object]) -> tuple[int, int, int]:
    """How often the format was called meanwhile, how often the device, and for how many stretches
    of bytes.
    """
    device = system.volumes["C:"].core.device
    before, stretches, calls = device.counts.reads, 0, 0
    read = device._read  # what a driver is told

    async def count(requests: Sequence[Request]) -> None:
        nonlocal stretches
        stretches += len(requests)
        await read(requests)

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call" and FORMATS in frame.f_code.co_filename

    device._read = count  # type: ignore[method-assign]  # a driver that is watched
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        del device._read
    return calls, device.counts.reads - before, stretches


def test_a_warm_read_asks_nobody_and_a_cold_one_asks_once_an_extent(torn: octavo.System) -> None:
    """The file system is asked when a file is opened; then a cold read asks the device once for
    each extent, in one call, and a warm one for nothing, by whatever call.
    """
    with torn.volumes["C:"].open("a") as file:
        mapping = file.core.section.token
        assert isinstance(mapping, Mapping)
        extents = len(mapping.regions)
        assert extents == 40
        assert asked(torn, file.readall) == (0, 1, extents)
        for call in (
            lambda: file.seek(0) or file.readall(),
            lambda: file.seek(5) or file.try_read(100_000),
            lambda: file.seek(9) or file.readinto(bytearray(50_000)),
        ):
            assert asked(torn, call) == (0, 0, 0)
        torn.memory.pageout.trim(1000)
        assert torn.memory.physical.standby.count
        assert asked(torn, lambda: file.seek(0) or file.readall()) == (0, 0, 0), "soft faults ask"


def test_reads_and_writes_that_do_not_wait(torn: octavo.System) -> None:
    """None and False while the device would have to be waited for, and the position stays; later it
    is there. Nothing is written in part.
    """
    volume = torn.volumes["C:"]

    def sleep() -> None:
        torn.scheduler.run(torn.scheduler.sleep(1))

    with volume.open("a", "r+b") as file:
        file.seek(8192)
        assert file.try_read(10) is None and file.tell() == 8192
        sleep()
        assert file.try_read(10) == b"   2" + DATA[4:10] and file.tell() == 8202
        assert not file.try_write(b"first change"), "the dirty flag has to be written first"
        file.write(b"first change")
        assert file.try_write(b"second") and file.tell() == 8220
        file.seek(30 * PAGE_SIZE + 5)
        assert not file.try_write(b"x" * 5000) and file.tell() == 30 * PAGE_SIZE + 5
        sleep()
        assert file.try_write(b"x" * 5000)
        file.seek(0, 2)
        assert not file.try_write(b"behind the end") and file.try_read(5) == b""
        file.seek(1)
        assert not volume.open("b", "ab").try_write(b"x")
        fails(Status.INVALID_PARAMETER, file.try_read, -1)
        fails(Status.INVALID_PARAMETER, file.try_write, "text")
    fails(Status.FILE_CLOSED, file.try_read, 1)
    fails(Status.FILE_CLOSED, file.advise, Advice.RANDOM)
    data = volume.read_bytes("a")
    assert data[8202:8220] == b"first changesecond" and data[30 * 4096 + 5 :][:5000] == b"x" * 5000


def test_advice_on_a_file(torn: octavo.System) -> None:
    """Random: what is asked for; fetched: the rest is in memory without a wait; let go of: all that
    is clean leaves, and what is dirty is written still.
    """
    volume = torn.volumes["C:"]
    with volume.open("a", "r+b") as file:
        file.advise(Advice.RANDOM)
        assert asked(torn, lambda: file.read(100)) == (0, 1, 1)
        file.advise(Advice.WILLNEED)
        torn.scheduler.run(torn.scheduler.sleep(1))
        assert asked(torn, file.readall) == (0, 0, 0)
        file.seek(0)
        file.write(b"changed")
        file.advise(Advice.DONTNEED)
        section = file.core.section
        assert section.resident() == section.dirty == 1
        file.advise(Advice.REVERSE)
        file.seek(20 * PAGE_SIZE)
        file.read(100)
        assert section.resident() == 21
        file.advise(Advice.DONTNEED)
        file.advise(Advice.SEQUENTIAL)
        file.seek(30 * PAGE_SIZE)
        file.read(100)
        assert section.resident() == 11
        file.advise(Advice.NORMAL)
        for advice in (6, -1, True, "random"):
            fails(Status.INVALID_PARAMETER, file.advise, advice)
    assert volume.read_bytes("a").startswith(b"changed")


def test_a_long_gap_takes_no_memory(image: Path) -> None:
    """A file that is made 12 MiB long in 2 MiB of memory, and written behind that: zeros, of which
    none came through the cache.
    """
    with octavo.boot(memory="2M", disks=[image], seed=1) as system:
        volume = system.volumes["C:"]
        with volume.open("long", "w+b") as file:
            file.write(b"head")
            new = system.memory.faults.new
            file.truncate(12 << 20)
            file.seek((12 << 20) + VIEW_SIZE + 77)
            file.write(b"tail")
            assert system.memory.faults.new - new < 16 and file.core.section.resident() < 16
        system.check()
    with octavo.open_image(image, read_only=True) as volume:
        data = volume.read_bytes("long")
    assert data == b"head" + bytes((12 << 20) + VIEW_SIZE + 73) + b"tail"
    fsck(image)
