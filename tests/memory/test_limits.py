"""The memory limit is hard: a file 64 times larger than memory is written and read in 4 MiB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run as octavo_run
from octavo.machine.abi import PAGE_SIZE, State
from octavo.machine.ram import MAX_FRAMES, Ram
from octavo.memory.frames.physical import RESERVE
from octavo.status import Status, StatusError
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.volume import VolumeTree

MIB = 1 << 20
BASE = (
    44 * MIB
    # what Python, NumPy and Octavo's own objects may take beside the 4 MiB; 36 MiB were measured
    # (25 of
    # them NumPy alone)
)

_SCRIPT = """
import sys, octavo
from hashlib import sha256
image = sys.argv[1]
chunk = bytes(range(256)) * 4096
most = 0
with octavo.boot(memory="4M", disks=[image]) as system:
    volume = system.volumes["C:"]
    with volume.open("big.bin", "wb") as file:
        for i in range(256):
            file.write(chunk)
            most = max(most, system.memory.frames_in_use)
    with volume.open("big.bin") as file:
        for i in range(256):
            assert file.read(1 << 20) == chunk, i
            most = max(most, system.memory.frames_in_use)
    system.check()
    statistics = system.statistics()["memory"]
# ru_maxrss has our parent in it
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(most, system.memory.limit, peak, statistics["physical_lowest"])
"""


def test_256_mib_in_4_mib(tmp_path: Path) -> None:
    """Frames never pass the limit, and the process's peak is 4 MiB and a fixed base."""
    image = tmp_path / "disk.img"
    assert octavo_run(["mkfs", "--size", "320M", str(image)]) == 0
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(image)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    most, limit, peak, lowest = map(int, done.stdout.split())
    assert limit == 4 * MIB // PAGE_SIZE
    assert limit // 2 < most <= limit
    assert lowest >= 0
    assert peak * 1024 < 4 * MIB + BASE, f"peak {peak} KiB"


def copied(
    source: HostTree | VolumeTree, path: str, to: HostTree | VolumeTree, name: str
) -> set[Status]:
    """Copies a tree; the statuses of what was told."""
    try:
        return {error.status for error in run_copy(plan_copy([(source, path)], to, name, True))}
    except StatusError as error:
        return {error.status}


def test_no_way_around_the_memory_manager(image: Path, tmp_path: Path) -> None:
    """With pageout turned off, a file larger than memory cannot be read; and when memory is full no
    tree goes in or out, in a batch or otherwise.
    """
    (tmp_path / "tree").mkdir()
    for i in range(60):
        (tmp_path / "tree" / f"{i}").write_bytes(bytes([i]) * 100_000)
    with octavo.open_image(image) as volume:
        volume.write_bytes("big.bin", bytes(6 * MIB))
        for i in range(4):
            volume.write_bytes(f"{i}", bytes(5000))
    system = octavo.boot(memory="4M", disks=[image], pageout=False)
    with pytest.raises(StatusError) as caught:
        system.volumes["C:"].read_bytes("big.bin")
    assert caught.value.status == Status.NO_MEMORY and "pageout is turned off" in caught.value.text
    tree, host = VolumeTree(system.volumes["C:"], ""), HostTree()
    physical = system.memory.physical
    last = physical.try_take(physical.available - RESERVE, State.ACTIVE)
    assert last is not None
    assert copied(host, f"{tmp_path}/tree", tree, "") == {Status.NO_MEMORY}
    assert copied(tree, "/.", host, str(tmp_path)) == {Status.NO_MEMORY}
    assert not (tmp_path / "0").exists()
    for first, count in last:
        physical.buddy.free(first, count, State.ACTIVE)
    system.check()
    system.abandon()
    with octavo.boot(memory="4M", disks=[image]) as system:
        tree = VolumeTree(system.volumes["C:"], "")
        assert len(tree.volume.read_bytes("big.bin")) == 6 * MIB
        assert copied(host, f"{tmp_path}/tree", tree, "") == set()
        (tmp_path / "out").mkdir()
        assert copied(tree, "tree", host, str(tmp_path / "out")) == set()
        system.check()
    for i in range(60):
        assert (tmp_path / "out" / "tree" / f"{i}").read_bytes() == bytes([i]) * 100_000


def test_limit_at_every_step(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted at each taking of frames, not only at the end."""
    most = 0
    with octavo.boot(memory="1M", disks=[image]) as system:
        physical = system.memory.physical
        take = physical.try_take

        def watch(*args: object, **kwargs: object) -> object:
            nonlocal most
            result = take(*args, **kwargs)  # type: ignore[arg-type]
            most = max(most, system.memory.frames_in_use)
            return result

        monkeypatch.setattr(physical, "try_take", watch)
        for i in range(20):
            system.volumes["C:"].write_bytes(f"file {i}.bin", bytes([i]) * 200_000)
        for i in range(20):
            assert system.volumes["C:"].read_bytes(f"file {i}.bin") == bytes([i]) * 200_000
        system.check()
        assert 200 < most <= 256 == system.memory.limit


def test_metadata_of_many_files_is_bounded(image: Path) -> None:
    """Nodes of files that nobody has open are dropped; all files are there all the same."""
    with octavo.boot(memory="2M", disks=[image]) as system:
        volume = system.volumes["C:"]
        volume.mkdir("many")
        for i in range(600):
            volume.write_bytes(f"many/{i}", b"%d" % i)
        core = volume.core
        assert len(core.nodes.used) <= core.nodes.most + 1  # type: ignore[attr-defined]
        assert all(volume.read_bytes(f"many/{i}") == b"%d" % i for i in range(600))
        system.check()


def test_metadata_of_many_directories_is_bounded(image: Path) -> None:
    """Those whose files have been dropped, or were moved away, go, too."""
    with octavo.boot(memory="2M", disks=[image]) as system:
        volume = system.volumes["C:"]
        core = volume.core
        for i in range(300):
            volume.mkdir(f"{i}")
            volume.write_bytes(f"{i}/file", b"%d" % i)
            assert len(core.nodes.used) <= core.nodes.most + 2  # type: ignore[attr-defined]
        for i in range(300):
            if i % 2:
                assert volume.read_bytes(f"{i}/file") == b"%d" % i  # its node goes with it
            volume.rename(f"{i}/file", f"{i + 1 if i < 299 else 0}/moved")
            assert len(core.nodes.used) <= core.nodes.most + 4  # type: ignore[attr-defined]
        assert all(
            volume.read_bytes(f"{i + 1 if i < 299 else 0}/moved") == b"%d" % i for i in range(300)
        )
        assert len(core.nodes.used) <= core.nodes.most + 2  # type: ignore[attr-defined]
        system.check()


def test_a_whole_file_that_does_not_fit_into_memory_is_not_there(image: Path) -> None:
    """With pageout off: NO_MEMORY, there is no file, its clusters are free again, and the volume is
    clean.
    """
    data = bytes(range(256)) * 16384
    with octavo.boot(memory="2M", disks=[image], pageout=False) as system:
        volume = system.volumes["C:"]
        free = volume.space().free
        with pytest.raises(StatusError) as error:
            volume.write_bytes("big.bin", data)
        assert error.value.status == Status.NO_MEMORY
        assert volume.entries() == [] and volume.space().free == free
    with octavo.open_image(image) as volume:
        assert volume.entries() == [] and volume.check() == []


def test_a_reader_of_more_than_memory_leaves_nothing_behind(image: Path) -> None:
    """A scan of 8 MiB in 4 MiB uses a few views, and what it gives is right; what is dirty, and a
    small file, stay in memory.
    """
    data = b"".join(i.to_bytes(4, "little") for i in range(2 << 20))
    with octavo.open_image(image) as volume:
        volume.write_bytes("large.bin", data)
        volume.write_bytes("small.bin", b"s" * 100_000)
    with octavo.boot(memory="4M", disks=[image]) as system:
        volume = system.volumes["C:"]
        assert volume.read_bytes("small.bin") == b"s" * 100_000
        with volume.open("large.bin", "r+b") as file, volume.open("large.bin") as other:
            file.seek(3 << 20)
            file.write(b"dirty")
            assert file.tell() == (3 << 20) + 5
            read = bytearray()
            while part := other.read(300_000):
                read += part
            assert bytes(read) == data[: 3 << 20] + b"dirty" + data[(3 << 20) + 5 :]
            system.check()
            counts = system.memory.pfns.counts
            assert (
                counts[State.FREE] + counts[State.ZEROED] > 256
            )  # a quarter of memory was never needed
            before = system.memory.faults.hard
            assert (
                volume.read_bytes("small.bin") == b"s" * 100_000
                and system.memory.faults.hard == before
            )
        assert volume.read_bytes("large.bin")[3 << 20 :][:5] == b"dirty"
        system.check()


def test_more_than_8_gib() -> None:
    """Frame numbers and indexes of prototype PTEs fit, wherever files and spaces are: it once ended
    in a traceback. Nothing is used before it is touched.
    """
    with octavo.boot(memory="9G") as system:
        system.attach_ram_disk()
        volume = system.volumes["C:"]
        volume.write_bytes("a.bin", b"high" * 100_000)
        assert volume.read_bytes("a.bin") == b"high" * 100_000
        space = system.virtual.create("high")
        with volume.open("a.bin", "r+b") as file:
            section = system.scheduler.run(system.virtual.sections.create(0, file=file.core))
        base, _ = space.map(section)
        assert system.scheduler.run(space.read(base + 300_000, 4)) == b"high"
        assert system.memory.pfns.frames > 2 << 20
        system.check()


def test_more_than_the_host_has() -> None:
    """One sentence, that says what to do."""
    made: list[Ram] = []
    with pytest.raises(
        StatusError, match="the host cannot give 4194304 MiB for RAM .*: set a smaller memory limit"
    ):
        for _ in range(64):  # of 4 TiB: more than a process has addresses for
            made.append(Ram(MAX_FRAMES))
    for ram in made:
        ram.close()
