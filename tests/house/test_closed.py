"""What belonged to a system that was ended, or to a volume that was unmounted, says so in a
sentence, and does nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest

import octavo
from octavo.files import File, Volume
from octavo.memory.spaces.addressspace import Allocate
from octavo.shell.shell import Shell
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.storage.ramdisk import RamDisk
from octavo.system import System
from tests.lent import Lent

VOLUME: list[Callable[[Volume], object]] = [
    lambda v: v.read_bytes("a"), lambda v: v.write_bytes("b", b"x"),
    lambda v: v.create_bytes("b", b"x"), lambda v: v.open("a"), lambda v: v.open("b", "w"),
    lambda v: v.open_beside("a"), lambda v: v.stat("a"), lambda v: v.exists("a"),
    lambda v: v.is_dir("a"), lambda v: v.entries(), lambda v: list(v.walk()),
    lambda v: v.mkdir("b"), lambda v: v.mkdir("b/c", parents=True), lambda v: v.remove("a"),
    lambda v: v.rmdir("d"), lambda v: v.rmtree("d"),
    lambda v: v.rename("a", "b"),
    lambda v: v.set_attributes("a", "r"), lambda v: v.set_modified("a", 1.0), lambda v: v.space(),
    lambda v: v.set_label("x"), lambda v: v.set_serial(1),
    lambda v: v.check(), lambda v: v.check(None, True),
]  # fmt: skip
FILE: list[Callable[[File], object]] = [
    lambda f: f.read(), lambda f: f.read(1), lambda f: f.readall(), lambda f: f.readline(),
    lambda f: f.readinto(bytearray(1)), lambda f: f.write(b"x"),
    lambda f: f.truncate(1), lambda f: f.flush(), lambda f: f.set_modified(1.0),
]  # fmt: skip
SYSTEM: list[Callable[[System, Path], object]] = [
    lambda s, image: s.attach(image), lambda s, image: s.attach_ram_disk(),
    lambda s, image: s.add_page_file(image), lambda s, image: s.unmount("C:"),
    lambda s, image: s.kernel, lambda s, image: s.virtual, lambda s, image: s.__enter__(),
    lambda s, image: s.scheduler.run(s.scheduler.sleep(0)),
    lambda s, image: s.scheduler.spawn(s.scheduler.sleep(0), "late"),
]  # fmt: skip


@pytest.fixture
def filled(image: Path) -> Path:
    """An image with a file and a directory."""
    with octavo.open_image(image) as volume:
        volume.write_bytes("a", b"abc\n" * 9000)
        volume.mkdir("d")
    return image


def refused(call: Callable[[], object], status: Status = Status.FILE_CLOSED) -> str:
    """The sentence of a call that ends in a status."""
    with pytest.raises(StatusError) as caught:
        call()
    assert caught.value.status == status and "descriptor" not in caught.value.text
    return caught.value.text


def test_after_the_with_block(filled: Path) -> None:
    """Every call of a volume and of a file that was left open; closing it is no error, since the
    block has written all there was.
    """
    with octavo.open_image(filled) as volume:
        file = volume.open("a", "r+b")
        file.write(b"new")
        text = volume.open("a", "r")
        assert text.read(3) == "new"
    before = filled.read_bytes()
    for call in VOLUME:
        assert "the system was ended" in refused(lambda call=call: call(volume))  # type: ignore[misc]
    for use in FILE:
        assert "the system was ended" in refused(lambda use=use: use(file))  # type: ignore[misc]
    assert (file.seek(0), file.size, volume.kind, volume.statistics()["nodes"]) == (
        0,
        36_000,
        "FAT16",
        1,
    )
    file.close()
    text.close()
    assert filled.read_bytes() == before
    with octavo.open_image(filled) as volume:
        assert volume.read_bytes("a")[:5] == b"new\na" and volume.check() == []


def test_a_system_that_was_ended(filled: Path) -> None:
    """Nothing is attached to it any more; what it has counted can be read, and ending it again is
    no error.
    """
    with octavo.boot(memory="8M", disks=[filled]) as system:
        lines: list[str] = []
        shell = Shell(system, lines.append)
    for call in SYSTEM:
        assert "the system was ended" in refused(lambda call=call: call(system, filled))  # type: ignore[misc]
    for line in ("dir", "type a", f"mount {filled}", "vm alloc 1M"):
        assert shell.run(line) == 1 and "the system was ended" in lines[-1], line
    assert shell.run("memory") == 0
    system.close()
    system.abandon()
    system.check()
    with octavo.open_image(filled) as volume:  # nothing has kept its lock
        assert volume.exists("a")


def test_address_spaces_of_a_system_that_was_ended() -> None:
    """They have ended with it."""
    with octavo.boot(memory="8M") as system:
        space = system.virtual.create("a")
        base, _ = space.allocate(0, 4096, Allocate.COMMIT)
    refused(lambda: system.scheduler.run(space.write(base, b"x")))
    system.close()


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({}, None),
        ({"force": True}, Status.VOLUME_DISMOUNTED),
        ({"discard": True}, Status.FILE_FORCED_CLOSED),
        ({"discard": True, "force": True}, Status.FILE_FORCED_CLOSED),
    ],
)
def test_a_volume_that_was_unmounted(
    how: dict[str, bool], status: Status | None, filled: Path
) -> None:
    """The system goes on; with `force` or `discard` there may be open files, which say so. What
    was written to them is on the image, or with `discard` given up.
    """
    with octavo.boot(memory="8M", disks=[filled]) as system:
        volume = system.volumes["C:"]
        file = volume.open("a", "r+b")
        assert file.read(3) == b"abc"
        file.seek(4)
        file.write(b"new")
        if status is None:
            file.close()
        system.unmount("C:", **how)
        before = filled.read_bytes()
        for call in VOLUME:
            refused(lambda call=call: call(volume), Status.VOLUME_DISMOUNTED)  # type: ignore[misc]
        if status is not None:
            for use in (*FILE, lambda f: f.size):
                text = refused(lambda use=use: use(file), status)  # type: ignore[misc]
                assert ("its volume was unmounted" in text) and ("given up" in text) == (
                    "discard" in how
                )
            file.close()
        system.check()
        system.attach(filled)
        again = system.volumes["C:"]
        assert len(again.check()) == ("discard" in how)  # the dirty flag
        assert again.read_bytes("a")[4:7] == (b"abc" if "discard" in how else b"new")
    assert filled.read_bytes() == before


def test_a_ram_disk_that_was_unmounted_is_no_way_into_others_frames() -> None:
    """Its frames are somebody else's by then."""
    with octavo.boot(memory="8M") as system:
        disk, lent = RamDisk("ram", 64 << 10, system.memory), Lent()
        frame = system.memory.ram.frame(disk.first)
        disk.close()
        assert "ram: is closed" in refused(
            lambda: system.scheduler.run(disk.submit([lent.write(0, b"x" * 512)]))
        )
        refused(lambda: system.scheduler.run(disk.submit([lent.read(0, 512)])))
        refused(lambda: system.scheduler.run(disk.flush()))
        assert bytes(frame[:1]) == b"\0"


def test_a_system_that_is_dropped_keeps_no_image(filled: Path) -> None:
    """The lock goes with the last reference; what was not flushed is lost, as at a power cut."""
    system = octavo.boot(memory="8M", disks=[filled])
    with pytest.raises(StatusError):
        ImageDisk(filled, system.scheduler)
    del system
    gc.collect()
    with octavo.open_image(filled) as volume:
        assert volume.check() == []
