"""Files that are removed, or replaced, while somebody has them open."""

from __future__ import annotations

from pathlib import Path

import pytest

import octavo
from octavo.files import Volume
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice, never
from octavo.vm import Protect
from tests.conftest import fsck, run
from tests.fs.fat.oddities import volume_of

LOST = "clusters are in use and belong to no file"


def free(volume: Volume) -> int:
    """Free clusters."""
    space = volume.space()
    return space.free // space.unit


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_the_name_is_gone_and_the_clusters_stay(bits: int, tmp_path: Path) -> None:
    """Until the last close; the name can be given again at once, and the dirty flag says that the
    medium has clusters of nobody's.
    """
    image = volume_of(tmp_path / "x.img", bits)
    with octavo.boot("8M", disks=[image]) as system:
        volume = next(iter(system.volumes.values()))
        before = free(volume)
        first, second = volume.open("a.bin", "r+b"), volume.open("a.bin")
        volume.remove("a.bin")
        assert not volume.exists("a.bin") and free(volume) == before
        volume.write_bytes("a.bin", b"another")
        first.seek(0, 2)
        first.write(b"grown" * 1000)
        assert second.read() == b"A" * 3000 + b"grown" * 1000
        assert volume.read_bytes("a.bin") == b"another"
        volume.flush()
        assert volume.check() == []
        with pytest.raises(AssertionError, match="Dirty bit"):
            fsck(image)
        first.truncate(10)
        first.close()
        assert second.read(1) == b"" and (second.seek(0), second.read(4))[1] == b"AAAA"
        held = free(volume)
        second.close()
        unit = volume.space().unit
        assert free(volume) - held == -(-10 // unit)
        assert free(volume) == before + -(-3000 // unit) - 1
        volume.flush()
        fsck(image)


def test_a_file_is_put_in_the_place_of_one_that_is_open(tmp_path: Path) -> None:
    """Who has it open keeps it; the name leads to the new one."""
    image = volume_of(tmp_path / "x.img", 16)
    with octavo.open_image(image) as volume:
        with volume.open("a.bin", "r+b") as old:
            volume.write_bytes("new", b"new")
            volume.rename("new", "A.BIN", replace=True)
            old.write(b"old")
            assert volume.read_bytes("a.bin") == b"new" and not volume.exists("new")
            old.seek(0)
            assert old.read(5) == b"oldAA"
            volume.rename("a.bin", "d/b.bin", replace=True)
        assert volume.check() == [] and volume.read_bytes("d/b.bin") == b"new"
        with volume.open("d/b.bin") as reader:  # whole contents are written over what is open
            volume.write_bytes("d/b.bin", b"contents")
            assert reader.read() == b"contents"
        assert volume.check() == []


@pytest.mark.dosfstools
@pytest.mark.parametrize("end", ["close", "force", "discard", "abandon"])
def test_a_volume_that_ends_before_such_files(end: str, tmp_path: Path) -> None:
    """With all written nothing is left of them; given up, the volume says that it is not clean."""
    image = volume_of(tmp_path / "x.img", 16)
    system = octavo.boot("8M", disks=[image])
    volume = system.volumes["C:"]
    file = volume.open("a.bin", "r+b")
    volume.remove("a.bin")
    with pytest.raises(StatusError) as caught:
        system.unmount("C:")
    assert caught.value.status == Status.SHARING_VIOLATION
    with pytest.raises(StatusError) as caught:
        volume.lock().__enter__()
    assert caught.value.status == Status.ACCESS_DENIED
    volume.flush()
    if end in ("force", "discard"):
        system.unmount("C:", **{end: True})
        with pytest.raises(StatusError):
            file.read(1)
        file.close()
    if end == "abandon":
        system.abandon()
    else:
        system.close()
    if end in ("close", "force"):
        fsck(image)
        return
    with octavo.open_image(image) as volume:
        problems = [str(problem) for problem in volume.check()]
        assert len(problems) == 2 and "dirty flag" in problems[0] and LOST in problems[1]
        volume.check(repair=True)
    fsck(image)


@pytest.mark.parametrize("verb", ["read", "write"])
def test_a_device_that_fails_at_the_last_close(verb: str, tmp_path: Path) -> None:
    """The error is told, the file is closed, and the next flush gives back what it had."""
    image = volume_of(tmp_path / "x.img", 16)
    with octavo.boot("8M") as system:
        device = FaultyDevice(ImageDisk(image, system.scheduler))
        volume = system.attach_device(device)
        before = free(volume)
        file = volume.open("a.bin")
        volume.remove("a.bin")
        volume.flush()
        cache = system.cache
        fat = volume.core.format.sections[0]  # type: ignore[attr-defined]
        size = fat.size
        system.scheduler.run(cache.purge(fat, 0))
        fat.size = size
        device.plan = lambda v, n: v == verb
        with pytest.raises(StatusError) as caught:
            file.close()
        assert caught.value.status == Status.IO_DEVICE_ERROR and file.closed
        device.plan = never
        volume.flush()
        assert free(volume) == before + 3 and volume.check() == []
    with octavo.open_image(image) as volume:
        assert volume.check() == [] and free(volume) == before + 3


def test_a_mapped_file_is_removed(tmp_path: Path) -> None:
    """Its views show it on; the last of them is its last user."""
    image = volume_of(tmp_path / "x.img", 16)
    with octavo.boot("8M", disks=[image]) as system:
        volume, run_ = system.volumes["C:"], system.scheduler.run
        before = free(volume)
        file = volume.open("a.bin")
        made = run_(system.virtual.sections.create(0, Protect.READONLY, file=file.core))
        space = system.virtual.create("reader")
        base, _ = space.map(made, protect=Protect.READONLY)
        file.close()
        volume.remove("a.bin")
        assert run_(space.read(base, 4)) == b"AAAA" and free(volume) == before
        space.unmap(base)
        system.virtual.sections.close(made)
        assert free(volume) == before + 3 and volume.check() == []


@pytest.mark.mtools
def test_what_mtools_sees(tmp_path: Path) -> None:
    """A removed file is not there, whoever has it open."""
    image = volume_of(tmp_path / "x.img", 12)
    with octavo.open_image(image) as volume, volume.open("a.bin"):
        volume.remove("a.bin")
        volume.flush()
        assert "a" not in run("mdir", "-b", "-i", image, "::").replace("::/d/", "").split()
        assert "bin" not in run("mdir", "-i", image, "::")


def test_a_file_that_is_closed_while_it_is_removed(tmp_path: Path) -> None:
    """The directory's page is being read meanwhile: nothing is left of the file."""
    image = volume_of(tmp_path / "x.img", 16)
    with octavo.boot("8M", disks=[image]) as system:
        volume, run_ = system.volumes["C:"], system.scheduler.run
        volume.flush()
        before = free(volume)
        file = volume.open("a.bin").core
        writer = volume.core.writer  # type: ignore[attr-defined]
        apply = writer.apply

        async def slow(change: object) -> None:
            await file.close()
            await apply(change)

        writer.apply, writer.try_apply = slow, lambda change: False
        run_(volume.core.remove("a.bin"))
        writer.apply = apply
        del writer.try_apply
        assert free(volume) == before + 3 and not writer.gone and volume.check() == []
