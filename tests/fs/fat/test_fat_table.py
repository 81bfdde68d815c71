"""The FAT at its last cluster: random histories on volumes that are nearly full, against a dict of
chains.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import octavo
from octavo.files import Volume
from octavo.fs.fat.table import MOST_TAILS, FatTable
from octavo.fs.fat.volume import FatVolume
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice, never
from tests.conftest import fsck, make_image

SIZES = {12: 160 * 1024, 16: 4 << 20, 32: 34 << 20}


def clusters(runs: list[tuple[int, int]]) -> list[int]:
    """Runs, cluster by cluster."""
    return [cluster for first, count in runs for cluster in range(first, first + count)]


class TableMachine(RuleBasedStateMachine):
    """Allocates, appends and frees where a third of all requests is larger than what is free."""

    @initialize(
        bits=st.sampled_from([12, 16, 32]), spare=st.integers(0, 60), start=st.integers(0, 1 << 30)
    )
    def begin(self, bits: int, spare: int, start: int) -> None:
        """A volume with `spare` free clusters in several places, and the search beginning
        anywhere.
        """
        self.folder = Path(tempfile.mkdtemp())
        image = make_image(self.folder / "disk.img", SIZES[bits], bits, 512)
        self.system = octavo.boot(memory="4M", disks=[image])
        volume = next(iter(self.system.volumes.values()))
        self.table: FatTable = cast(FatVolume, volume.core).table
        self.run(cast(FatVolume, volume.core)._modify())
        total = self.run(self.table.count_free())
        self.ballast = clusters(self.run(self.table.allocate(total)))
        self.chains: list[list[int]] = []
        self.free: set[int] = set()
        rng = random.Random(start)
        for first in sorted(rng.sample(range(0, total - 8, 8), spare // 3), reverse=True):
            self.cut(first, rng.randint(1, 6))
        self.table.cursor = 2 + start % (self.table.limit - 2)

    def run(self, coroutine: Any) -> Any:
        """Drives a coroutine of the table to its end."""
        return self.system.scheduler.run(coroutine)

    def cut(self, at: int, count: int) -> None:
        """Frees clusters out of the middle of the ballast, without mending its chain."""
        gone = self.ballast[at : at + count]
        del self.ballast[at : at + count]
        self.run(self.table.free([(cluster, 1) for cluster in gone]))
        self.free |= set(gone)

    @rule(count=st.integers(1, 40), onto=st.integers(0, 1 << 30), forget=st.booleans())
    def allocate(self, count: int, onto: int, forget: bool) -> None:
        """A new chain, or more of one; exactly what is free can be had, and one more cannot."""
        if forget:
            self.table.free_count = -1
            self.run(self.table.join())
        chain = self.chains[onto % len(self.chains)] if self.chains and onto % 3 == 0 else None
        try:
            got = clusters(self.run(self.table.allocate(count, chain[-1] if chain else 0)))
        except StatusError as error:
            assert error.status == Status.DISK_FULL
            assert count > len(self.free), (
                f"{count} clusters refused, and {len(self.free)} are free"
            )
            return
        assert len(got) == count == len(set(got))
        assert set(got) <= self.free, "a cluster was given twice"
        self.free -= set(got)
        if chain:
            chain += got
        else:
            self.chains.append(got)

    @rule()
    def allocate_the_last_and_one_more(self) -> None:
        """All that is free in one request, after a request for one more was refused."""
        with pytest.raises(StatusError):
            self.run(self.table.allocate(len(self.free) + 1))
        if self.free:
            got = clusters(self.run(self.table.allocate(len(self.free))))
            assert set(got) == self.free
            self.free = set()
            self.chains.append(got)

    @rule(which=st.integers(0, 1 << 30), keep=st.integers(0, 5))
    def shorten(self, which: int, keep: int) -> None:
        """Frees a chain, or its tail."""
        if not self.chains:
            return
        chain = self.chains[which % len(self.chains)]
        tail = chain[keep:]
        if keep and tail:
            self.table.end_at(chain[keep - 1])
            assert clusters(self.run(self.table.chain(chain[0], "x"))) == chain[:keep]
            self.run(self.table.cut())
        self.table.forget([(cluster, 1) for cluster in tail])
        self.run(self.table.free([(cluster, 1) for cluster in tail]))
        self.free |= set(tail)
        del chain[keep:]
        if not chain:
            self.chains.remove(chain)

    @rule(at=st.integers(0, 1 << 30), count=st.integers(1, 12))
    def free_somewhere(self, at: int, count: int) -> None:
        """Holes at other places."""
        self.cut(at % len(self.ballast), count)

    @invariant()
    def chains_are_as_they_were_made(self) -> None:
        """Each chain is the model's, none shares a cluster, and the count of free ones is right."""
        if not hasattr(self, "chains"):
            return
        for chain in self.chains:
            assert clusters(self.run(self.table.chain(chain[0], "x"))) == chain
        if self.table.free_count >= 0:
            assert self.table.free_count == len(self.free)

    def teardown(self) -> None:
        """The count from scratch is the model's."""
        if hasattr(self, "system"):
            self.table.free_count = -1
            assert self.run(self.table.count_free()) == len(self.free)
            self.system.abandon()
            shutil.rmtree(self.folder)


TestTable = pytest.mark.dosfstools(TableMachine.TestCase)
TestTable.settings = settings(max_examples=60, stateful_step_count=30)


@pytest.fixture(params=[12, 16, 32])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Volume, Path]]:
    """A small volume of each type."""
    image = make_image(tmp_path / "disk.img", SIZES[request.param], request.param, 512)
    with octavo.boot(memory="4M", disks=[image]) as system:
        yield next(iter(system.volumes.values())), image


def large_fat(folder: Path) -> tuple[octavo.System, FaultyDevice, FatVolume]:
    """A volume that is about to be changed, whose FAT is larger than memory, on a device that can
    fail.
    """
    image = make_image(folder / "disk.img", 300 << 20, 32, 512)
    system = octavo.boot("1M")
    device = FaultyDevice(ImageDisk(image, system.scheduler))
    core = cast(FatVolume, system.attach_device(device).core)
    system.scheduler.run(core._modify())
    return system, device, core


@pytest.mark.dosfstools
def test_an_allocation_that_fails_half_way_takes_nothing(tmp_path: Path) -> None:
    """The n-th read of a FAT that is larger than memory fails, while clusters are looked for and
    while they are chained.
    """
    failures = 0
    for n in range(3, 90, 6):
        system, device, core = large_fat(tmp_path)
        run = system.scheduler.run
        total = run(core.table.count_free())
        at = device.numbers["read"] + n
        device.plan = lambda verb, k, at=at: verb == "read" and k >= at  # type: ignore[misc]
        count = 500_000
        try:
            run(core.table.allocate(count))
        except StatusError as error:
            assert "injected" in error.text
            failures += 1
            count = 0
        device.plan = never
        run(core.table.undo())
        core.table.free_count = -1
        assert run(core.table.count_free()) == total - count
        system.check()
        system.abandon()
    assert failures > 8


@pytest.mark.dosfstools
def test_a_refused_write_takes_nothing(small: tuple[Volume, Path]) -> None:
    """Ten clusters into three are refused; then three small files fit, and the fourth does not."""
    volume, image = small
    space = volume.space()
    volume.write_bytes("big", b"x" * (space.free - 3 * space.unit))
    with pytest.raises(StatusError, match="full"):
        volume.write_bytes("ten", b"T" * 10 * space.unit)
    written: list[str] = []
    for i in range(6):
        try:
            volume.write_bytes(f"s{i}", bytes([65 + i]) * 512)
            written.append(f"s{i}")
        except StatusError as error:
            assert error.status == Status.DISK_FULL
    assert [volume.read_bytes(name)[:1] for name in written] == [
        bytes([65 + int(name[1])]) for name in written
    ]
    assert len(written) == 3 and volume.space().free == 0
    assert volume.check() == []
    fsck(image)


@pytest.mark.dosfstools
def test_one_cluster_more_than_there_is_is_refused_unsought(tmp_path: Path) -> None:
    """Where the free clusters are counted, one too many is refused without reading the FAT; as many
    as there are can be had.
    """
    system, device, core = large_fat(tmp_path)
    run, table = system.scheduler.run, core.table
    total = run(table.count_free())
    reads = device.numbers["read"]
    for more, says in (
        (1, "1 more cluster is needed"),
        (2, "2 more clusters are needed"),
        (1000, "1000 more clusters are needed"),
    ):
        with pytest.raises(StatusError, match=f"the volume is full: {says}"):
            run(table.allocate(total + more))
        assert (device.numbers["read"], table.free_count) == (reads, total)
    assert len(clusters(run(table.allocate(total)))) == total
    with pytest.raises(StatusError, match="full"):
        run(table.allocate(1))
    system.abandon()


@pytest.mark.dosfstools
def test_clusters_behind_a_new_end_are_free_at_once(small: tuple[Volume, Path]) -> None:
    """While the file is open still, by two: after a flush others have them, and a check finds
    nothing.
    """
    volume, image = small
    unit, free = volume.space().unit, volume.space().free // volume.space().unit
    with volume.open("a", "wb") as file, volume.open("a") as other:
        file.write(b"a" * 20 * unit)
        for size in (19 * unit + 1, 19 * unit, 18 * unit + 1, unit, 1, 0):
            file.truncate(size)
            volume.flush()
            assert volume.space().free // unit == free + -size // unit
            assert other.core.size == size and volume.check() == []
        file.truncate(2 * unit)
        other.close()
    assert volume.space().free // unit == free - 2 and volume.read_bytes("a") == bytes(2 * unit)
    volume.flush()
    fsck(image)


@pytest.mark.dosfstools
@pytest.mark.parametrize("small", [16, 32], indirect=True)  # FAT12 has fewer clusters than that
def test_the_ends_of_new_chains_are_known_up_to_a_bound(small: tuple[Volume, Path]) -> None:
    """So many chains whose ends are on no medium yet; when they are too many all are forgotten, and
    what is appended waits to be joined.
    """
    core = cast(FatVolume, small[0].core)
    run, table = core.cache.memory.scheduler.run, core.table
    run(core._modify())
    total = run(table.count_free())
    assert total >= MOST_TAILS + 4
    first = run(table.allocate(1))[0][0]
    for _ in range(MOST_TAILS - 1):
        run(table.allocate(1))
    assert len(table.tails) == MOST_TAILS
    run(table.allocate(1, first))
    assert (
        not table.joins and len(table.tails) == MOST_TAILS
    )  # the new end is in the place of the old one
    last = run(table.allocate(1))[0][0]
    assert table.tails == {last}
    run(table.allocate(1, first + 1))
    assert list(table.joins) == [first + 1]
    run(table.join())
    assert (
        len(clusters(run(table.chain(first, "x"))))
        == len(clusters(run(table.chain(first + 1, "x"))))
        == 2
    )


@pytest.mark.dosfstools
@pytest.mark.parametrize(("size", "gap"), [(0, 1), (1, 511), (700, 9000), (4096, 60_000)])
def test_what_lies_between_an_end_and_what_is_written_behind_it_is_zeros(
    size: int, gap: int, small: tuple[Volume, Path]
) -> None:
    """Whatever others have left in the clusters; also where the file is made larger by its size
    alone, and on the medium.
    """
    volume, image = small
    volume.write_bytes("full", b"\xff" * volume.space().free)
    volume.flush()
    volume.remove("full")
    for name in ("a", "b"):
        with volume.open(name, "wb") as file:
            file.write(b"x" * size)
            if name == "a":
                file.seek(size + gap)
                file.write(b"end")
            else:
                file.truncate(size + gap)
    a, b = b"x" * size + bytes(gap) + b"end", b"x" * size + bytes(gap)
    assert (volume.read_bytes("a"), volume.read_bytes("b")) == (a, b)
    volume.flush()
    copy = shutil.copy(image, image.with_name("copy.img"))
    with octavo.open_image(copy, read_only=True) as other:
        assert (other.read_bytes("a"), other.read_bytes("b")) == (a, b)


@pytest.mark.dosfstools
def test_clusters_that_a_file_did_not_need_go_back_at_its_close(small: tuple[Volume, Path]) -> None:
    """As a write that failed leaves them behind the end: one is given back, a part of one is kept;
    not while others have the file open.
    """
    volume, image = small
    unit, free = volume.space().unit, volume.space().free // volume.space().unit
    core, run = cast(FatVolume, volume.core), volume.scheduler.run
    for i, (size, had, kept) in enumerate(
        [(unit, 2, 1), (unit, 3, 1), (unit + 1, 2, 2), (1, 2, 1), (2 * unit, 3, 2)]
    ):
        volume.write_bytes(f"{i}", b"x" * size)
        file, other = (run(core.open(f"{i}", write=True)) for _ in range(2))
        run(file.write(0, b"y"))
        run(core.grow(file._node, had * unit))
        free -= had
        run(file.close())
        volume.flush()
        assert volume.space().free // unit == free
        run(other.write(0, b"z"))
        run(other.close())
        volume.flush()
        free += had - kept
        assert volume.space().free // unit == free and volume.read_bytes(f"{i}") == b"z" + b"x" * (
            size - 1
        )
    assert volume.check() == []
    fsck(image)


@pytest.mark.dosfstools
def test_holes_around_the_cursor_are_not_given_twice(small: tuple[Volume, Path]) -> None:
    """Write, delete, write on a volume that is never full: no two files share a cluster."""
    volume, image = small
    room = volume.space().total // 10
    for name, tenths in (("a", 4), ("b", 4)):
        volume.write_bytes(name, name.encode() * (tenths * room))
    volume.remove("a")
    volume.write_bytes("c", b"c" * (3 * room))
    volume.remove("b")
    volume.write_bytes("d", b"d" * (int(3.5 * room)))
    assert set(volume.read_bytes("c")) == {ord("c")} and set(volume.read_bytes("d")) == {ord("d")}
    volume.flush()
    assert volume.check() == []
    fsck(image)


@pytest.mark.dosfstools
def test_one_cluster_too_many_by_the_command_line(tmp_path: Path) -> None:
    """306 of 313 clusters, then 10 into 7: exit code 1 and a clean volume."""
    from octavo.cli.main import run

    image = tmp_path / "a.img"
    assert run(["mkfs", "--size", "160K", str(image)]) == 0
    for name, size, code in (("1.bin", 156672, 0), ("2.bin", 5000, 1)):
        (tmp_path / name).write_bytes(bytes(size))
        assert run(["cp", str(tmp_path / name), f"{image}:/"]) == code
    fsck(image)


@pytest.mark.dosfstools
def test_clusters_that_are_freed_half_way_are_freed_once(tmp_path: Path) -> None:
    """Freeing fails in the middle of a run, others take what is free already, and the rest is freed
    later: nobody loses a cluster.
    """
    for n in range(1, 80, 6):
        system, device, core = large_fat(tmp_path)
        run = system.scheduler.run
        total = run(core.table.count_free())
        core.frees = list(run(core.table.allocate(300_000)))
        at = device.numbers["read"] + n
        device.plan = lambda verb, k, at=at: verb == "read" and k >= at  # type: ignore[misc]
        failed = not run(core._make_way())
        device.plan = never
        core.table.cursor = 2
        taken = run(core.table.allocate(1000))
        assert clusters(run(core.table.chain(taken[0][0], "x"))) == clusters(taken)
        if failed:
            with pytest.raises(StatusError, match="injected"):
                run(core._write_in_order())  # what failed before is told once
        run(core._write_in_order())
        assert clusters(run(core.table.chain(taken[0][0], "x"))) == clusters(taken)
        assert core.table.free_count == total - 1000 and core.frees == []
        core.table.free_count = -1
        assert run(core.table.count_free()) == total - 1000
        system.check()
        system.abandon()
        if not failed:
            break
    assert n > 1
