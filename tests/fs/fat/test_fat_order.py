"""The order of writes on FAT, and operations that fail at each step: whole or not at all, nothing
flushed is lost.

The crash explorer (`test_crash`) tries these with histories of its own; here each order has the
smallest history that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from mmap import mmap
from pathlib import Path
from random import Random

import pytest

import octavo
from octavo.files import File, Volume
from octavo.fs.fat.names import checksum
from octavo.memory.pagers.medium import Request
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.system import System
from octavo.testing.crash import RecordingDevice, replay, states
from octavo.testing.faulty import FaultyDevice, never
from octavo.testing.modelled import FLASH, ModelledDisk
from tests.conftest import fsck, make_image
from tests.volumes import fat_of

SIZES = {12: 360 << 10, 16: 4 << 20, 32: 34 << 20}


@pytest.fixture(params=[12, 16, 32])
def recorded(
    request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[System, Volume, RecordingDevice, Path]:
    """A volume in virtual time whose device keeps a log."""
    image = make_image(tmp_path / "disk.img", SIZES[request.param], request.param, 512)
    system = octavo.boot("4M", seed=1)
    device = RecordingDevice(ImageDisk(image, system.scheduler))
    return system, system.attach_device(device), device, image


def judge(
    base: bytes, device: RecordingDevice, image: Path, holds: Callable[[Volume], bool]
) -> None:
    """Wherever the power goes `holds` is true, and what is damaged is told by the dirty flag."""
    image.write_bytes(base)
    judged = 0
    with open(image, "r+b") as file, mmap(file.fileno(), 0) as mapped:
        medium = memoryview(mapped)
        for _ in replay(medium, device.epochs, states(device.epochs, Random(1), 64)):
            with octavo.open_image(image, read_only=True) as volume:
                assert holds(volume)
                said = [str(p) for p in volume.check()]
                assert not said or "dirty flag" in said[0], said
                assert not any("shares" in s and "moved" not in s for s in said), said
            judged += 1
        medium.release()
    assert judged > 3


@pytest.mark.dosfstools
def test_a_moved_file_is_under_one_of_its_names(
    recorded: tuple[System, Volume, RecordingDevice, Path],
) -> None:
    """Flushed, then moved to another directory."""
    system, volume, device, image = recorded
    volume.mkdir("d")
    volume.write_bytes("moved.txt", b"flushed" * 300)
    volume.flush()
    base = image.read_bytes()
    device.epochs[:] = [[]]
    volume.rename("moved.txt", "d/moved.txt")
    volume.flush()
    system.close()

    def there(v: Volume) -> bool:
        return any(
            v.exists(p) and v.read_bytes(p) == b"flushed" * 300
            for p in ("moved.txt", "d/moved.txt")
        )

    judge(base, device, image, there)


@pytest.mark.dosfstools
def test_a_moved_tree_is_under_one_of_its_names_and_an_empty_source_may_go(
    recorded: tuple[System, Volume, RecordingDevice, Path],
) -> None:
    """A directory is moved, and the one that it was in is removed before anything is flushed."""
    system, volume, device, image = recorded
    for path in ("old", "old/moved", "new"):
        volume.mkdir(path)
    volume.write_bytes("old/moved/x", b"x" * 700)
    volume.flush()
    base = image.read_bytes()
    device.epochs[:] = [[]]
    volume.rename("old/moved", "new/moved")
    volume.rmdir("old")
    volume.flush()
    assert volume.check() == []
    system.close()
    judge(
        base,
        device,
        image,
        lambda v: any(
            v.exists(p) and v.read_bytes(p) == b"x" * 700 for p in ("old/moved/x", "new/moved/x")
        ),
    )


@pytest.mark.dosfstools
def test_a_replaced_file_has_its_old_or_its_new_contents(
    recorded: tuple[System, Volume, RecordingDevice, Path],
) -> None:
    """`rename` with `replace`, on a volume where the old clusters are needed again at once."""
    system, volume, device, image = recorded
    volume.write_bytes("target.txt", b"old" * 1000)
    volume.flush()
    base = image.read_bytes()
    device.epochs[:] = [[]]
    volume.write_bytes("moved.tmp", b"new" * 900)
    volume.rename("moved.tmp", "TARGET.txt", replace=True)
    volume.write_bytes("next", b"n" * 3000)
    volume.flush()
    assert [e.name for e in volume.entries()] == ["target.txt", "next"]
    assert volume.check() == []
    system.close()
    judge(
        base, device, image, lambda v: v.read_bytes("target.txt") in (b"old" * 1000, b"new" * 900)
    )


@pytest.mark.dosfstools
@pytest.mark.parametrize("size", [0, 700, 9000])
def test_a_file_that_grows_or_shrinks_keeps_what_was_flushed(
    size: int, recorded: tuple[System, Volume, RecordingDevice, Path]
) -> None:
    """Its name is never without its old beginning; other files are whole, even where freed clusters
    are taken again.
    """
    system, volume, device, image = recorded
    volume.write_bytes("changed", bytes(range(256)) * 12)
    volume.write_bytes("other", b"o" * 2000)
    volume.flush()
    base = image.read_bytes()
    device.epochs[:] = [[]]
    with volume.open("changed", "r+b") as file:
        file.truncate(size)
    volume.write_bytes("taker", b"t" * 5000)
    volume.flush()
    system.close()
    kept = (bytes(range(256)) * 12)[:size]
    judge(
        base,
        device,
        image,
        lambda v: (
            v.read_bytes("changed")[: len(kept)] == kept and v.read_bytes("other") == b"o" * 2000
        ),
    )


@pytest.mark.dosfstools
def test_a_removed_file_gives_its_clusters_to_nobody_too_early(
    recorded: tuple[System, Volume, RecordingDevice, Path],
) -> None:
    """Removed, and others made, on a volume that is full: the removed file is whole, empty of a
    name, or gone; never another's bytes.
    """
    system, volume, device, image = recorded
    volume.write_bytes("gone", b"g" * 4000)
    volume.write_bytes("ballast", b"b" * (volume.space().free - 512))
    volume.flush()
    base = image.read_bytes()
    device.epochs[:] = [[]]
    volume.remove("gone")
    free = volume.space().free
    volume.mkdir("d")
    volume.write_bytes("d/new", b"n" * (free - 512))
    volume.flush()
    assert volume.space().free == 0 and volume.check() == []
    system.close()
    judge(
        base, device, image, lambda v: not v.exists("gone") or v.read_bytes("gone") == b"g" * 4000
    )


@pytest.mark.dosfstools
@pytest.mark.parametrize("what", ["file.txt", "a file with a long name.txt", "dir"])
@pytest.mark.parametrize("verb", ["read", "write", "flush"])
def test_a_rename_that_fails_has_not_happened(what: str, verb: str, tmp_path: Path) -> None:
    """Requests fail from the n-th on, for each n, with so little memory that directories are not
    resident.
    """
    for n in range(1, 40):
        image = make_image(tmp_path / "disk.img", SIZES[16], 16, 512)
        with octavo.open_image(image) as volume:
            for path in ("src", "dst", "src/dir"):
                volume.mkdir(path)
            for i in range(15):
                volume.write_bytes(f"dst/filler {i}", b"")
            for name in ("file.txt", "a file with a long name.txt"):
                volume.write_bytes("src/" + name, b"precious" * 400)
            volume.write_bytes("src/dir/x", b"x")
            volume.write_bytes("big", bytes(1_900_000))
        system = octavo.boot("1M")
        device = FaultyDevice(ImageDisk(image, system.scheduler))
        volume = system.attach_device(device)
        for path in ("src", "dst", "src/dir"):
            volume.entries(path)
        with volume.open("big") as file:
            while file.read(60_000):
                pass
        first = device.numbers[verb] + n
        device.plan = lambda v, k, first=first: v == verb and k >= first  # type: ignore[misc]
        told = False
        try:
            volume.rename("src/" + what, "dst/" + what)
        except StatusError:
            told = True
        device.plan = never
        assert (volume.exists("src/" + what), volume.exists("dst/" + what)) == (told, not told)
        if told and verb == "flush":
            system.abandon()
            continue
        problems = volume.check()
        assert problems == [], (n, problems)
        system.check()
        system.close()
        fsck(image)
        if not device.failed:
            break
    assert n > (1 if verb == "read" else 0)


@pytest.mark.dosfstools
def test_a_case_only_rename_without_room_changes_nothing(tmp_path: Path) -> None:
    """The fixed root has no free slot, and the new name needs a long one."""
    image = make_image(tmp_path / "disk.img", SIZES[12], 12, 512)
    with octavo.open_image(image) as volume:
        made = 0
        while True:
            try:
                volume.write_bytes(f"F{made:03}.TXT", b"%d" % made)
                made += 1
            except StatusError as error:
                assert error.status == Status.DISK_FULL
                break
        with pytest.raises(StatusError) as caught:
            volume.rename("F000.TXT", "f000.Txt")
        assert caught.value.status == Status.DISK_FULL
        assert volume.read_bytes("F000.TXT") == b"0" and len(volume.entries()) == made
        volume.remove("F001.TXT")
        volume.remove("F002.TXT")
        volume.rename("F000.TXT", "f000.Txt")
        assert volume.read_bytes("F000.TXT") == b"0" and "f000.Txt" in [
            e.name for e in volume.entries()
        ]
        assert volume.check() == []
    fsck(image)


def test_one_files_failure_takes_no_others_data(image: Path) -> None:
    """A place of the medium that cannot be written: everything else is, and the error is told."""
    system = octavo.boot("4M")
    bad: list[range] = []

    class Scratched(FaultyDevice):
        async def _write(self, requests: Sequence[Request]) -> None:
            written = [range(at, at + frames.length) for _, at, frames in requests]
            if any(w.start < b.stop and b.start < w.stop for w in written for b in bad):
                raise StatusError(Status.IO_DEVICE_ERROR, "a scratch")
            await super()._write(requests)

    device = Scratched(ImageDisk(image, system.scheduler))
    volume = system.attach_device(device)
    for i in range(9):
        volume.write_bytes(f"file {i}", bytes([i]) * 3000)
    entry = volume.stat("file 4")
    place = fat_of(volume).geometry.place(entry.number)
    bad.append(range(place, place + 3072))
    with pytest.raises(StatusError, match="scratch"):
        system.close()
    system.abandon()
    with octavo.open_image(image, read_only=True) as volume:
        for i in range(9):
            assert i == 4 or volume.read_bytes(f"file {i}") == bytes([i]) * 3000


@pytest.mark.parametrize("bad", [-1, -(10**30)])
def test_a_negative_size_is_refused_at_once(bad: int, image: Path) -> None:
    """And costs neither this file nor another."""
    with octavo.open_image(image) as volume:
        volume.write_bytes("other", b"o" * 3000)
        with volume.open("a.bin", "w+b") as file:
            file.write(b"abc")
            with pytest.raises(StatusError) as caught:
                file.truncate(bad)
            assert caught.value.status == Status.INVALID_PARAMETER
            with pytest.raises(StatusError):
                volume.scheduler.run(file.core.write(bad, b"x"))
    with octavo.open_image(image) as volume:
        assert volume.read_bytes("a.bin") == b"abc" and volume.read_bytes("other") == b"o" * 3000
        assert volume.check() == []


@pytest.mark.dosfstools
@pytest.mark.parametrize("first", [1, 2, 3, 4, 5, 6])
def test_the_flag_is_clear_after_a_clean_end_whatever_failed_before(
    first: int, image: Path
) -> None:
    """The n-th write fails once (the flag's own among them); the end succeeds, and the volume is
    clean.
    """
    with octavo.open_image(image) as volume:
        volume.write_bytes("a", b"x" * 100)
    system = octavo.boot("8M", seed=1)
    device = FaultyDevice(
        ImageDisk(image, system.scheduler), lambda verb, n: verb == "write" and n == first
    )
    volume = system.attach_device(device)
    for _ in range(3):
        try:
            with volume.open("a", "r+b") as file:
                file.write(b"new")
            volume.flush()
        except StatusError:
            pass
    system.close()
    fsck(image)
    with octavo.open_image(image, read_only=True) as volume:
        assert volume.check() == [] and volume.read_bytes("a")[:3] == b"new"


def test_truncation_forgets_nothing_before_the_fat_lets_go(image: Path) -> None:
    """Reads and writes of the FAT that fail during and after a truncation: no cluster is lost."""
    for n in range(1, 8):
        with octavo.open_image(image) as volume:
            volume.write_bytes("a", b"x" * 100_000)
        system = octavo.boot("1M", seed=1)
        device = FaultyDevice(ImageDisk(image, system.scheduler))
        volume = system.attach_device(device)
        with volume.open("a", "r+b") as file:
            device.numbers = dict.fromkeys(device.numbers, 0)
            device.plan = lambda verb, k, n=n: k in (n, n + 1)  # type: ignore[misc]
            for size in (70_000, 1):
                try:
                    file.truncate(size)
                except StatusError:
                    pass
            device.plan = never
        try:
            system.close()
        except StatusError as error:
            assert "unmount with discard" in error.text
            system.abandon()
            with octavo.open_image(image) as volume:
                assert all(p.mended for p in volume.check(repair=True))
        with octavo.open_image(image) as volume:
            assert volume.check() == []


def test_a_write_does_not_go_beyond_an_end_that_another_thread_has_set(image: Path) -> None:
    """Overwritten in place while it is cut, with pages that must be waited for: what is flushed
    afterwards is there.
    """
    for size in (0, 1000, 600_000):
        system = octavo.boot("2M", seed=size + 1)
        volume = system.attach_device(
            ModelledDisk(ImageDisk(image, system.scheduler), system.scheduler, FLASH)
        )
        volume.write_bytes("f", b"f" * 3_000_000)
        volume.flush()
        one, two = volume.open("f", "r+b"), volume.open("f", "r+b")

        async def both(one: File = one, two: File = two, size: int = size) -> None:
            scheduler = system.scheduler
            writer = scheduler.spawn(one.core.write(100, b"W" * 2_900_000), "writer")
            await scheduler.sleep(0.001)
            await two.core.truncate(size)
            await writer.join()

        system.scheduler.run(both())
        one.seek(0)
        one.write(b"N" * 1_000_000)
        one.flush()
        length = one.size
        one.close()
        two.close()
        system.close()
        with octavo.open_image(image) as volume:
            assert (
                volume.read_bytes("f")[:1_000_000] == b"N" * 1_000_000
                and volume.stat("f").size == length
            )
            assert volume.check() == []


@pytest.mark.dosfstools
def test_respelling_a_name_with_a_spare_slot(image: Path) -> None:
    """Another writer gave the end of a 13-character name a slot of its own; afterwards there is one
    entry.
    """
    with octavo.open_image(image) as volume:
        volume.write_bytes("exactly13.txx", b"x" * 600)
        at = fat_of(volume).geometry.root_offset
        short = volume.stat("exactly13.txx").raw  # type: ignore[attr-defined]
        cluster = volume.stat("exactly13.txx").number
    total = checksum(short[:11])
    name = "exactly13.txx".encode("utf-16-le")
    spare = (
        bytes((0x42,))
        + b"\0\0"
        + b"\xff" * 8
        + b"\x0f\0"
        + bytes((total,))
        + b"\xff" * 12
        + b"\0\0"
        + b"\xff" * 4
    )
    long = bytes((1,)) + name[:10] + b"\x0f\0" + bytes((total,)) + name[10:22] + b"\0\0" + name[22:]
    data = bytearray(image.read_bytes())
    entry = bytes(data[at + 32 : at + 64])
    data[at : at + 96] = spare + long + entry
    image.write_bytes(data)
    with octavo.open_image(image) as volume:
        assert [e.name for e in volume.entries()] == ["exactly13.txx"] and volume.check() == []
        volume.rename("exactly13.txx", "Exactly13.txx")
    with octavo.open_image(image) as volume:
        assert [(e.name, e.number) for e in volume.entries()] == [("Exactly13.txx", cluster)]
        assert volume.check() == []
    fsck(image)
