"""The FAT at its last cluster: random histories on volumes that are nearly full, against a dict of
chains.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import octavo
from octavo.files import Volume
from octavo.fs.vfs.edits import Phase
from octavo.status import Status, StatusError
from tests.conftest import fsck, make_image
from tests.fs.fat.tables import SIZES, Table, clusters, large_fat


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
        self.made = Table(volume)
        self.table, self.books = self.made.table, self.made.books
        total = self.run(self.table.census.count_free())
        self.ballast = clusters(self.run(self.made.allocate(total)))
        self.chains: list[list[int]] = []
        self.free: set[int] = set()
        rng = random.Random(start)
        for first in sorted(rng.sample(range(0, total - 8, 8), spare // 3), reverse=True):
            self.cut(first, rng.randint(1, 6))
        self.table.search.cursor = 2 + start % (self.table.limit - 2)

    def run(self, coroutine: Any) -> Any:
        """Drives a coroutine of the table to its end."""
        return self.system.scheduler.run(coroutine)

    def cut(self, at: int, count: int) -> None:
        """Frees clusters out of the middle of the ballast, without mending its chain."""
        gone = self.ballast[at : at + count]
        del self.ballast[at : at + count]
        self.run(self.made.free(gone))
        self.free |= set(gone)

    @rule(count=st.integers(1, 40), onto=st.integers(0, 1 << 30), forget=st.booleans())
    def allocate(self, count: int, onto: int, forget: bool) -> None:
        """A new chain, or more of one; exactly what is free can be had, and one more cannot."""
        if forget:
            self.books.free_count = -1
            self.run(self.made.put(Phase.JOIN))
        chain = self.chains[onto % len(self.chains)] if self.chains and onto % 3 == 0 else None
        try:
            got = clusters(self.run(self.made.allocate(count, chain[-1] if chain else 0)))
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
            self.run(self.made.allocate(len(self.free) + 1))
        if self.free:
            got = clusters(self.run(self.made.allocate(len(self.free))))
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
            self.books.end_at(chain[keep - 1])
            assert self.run(self.made.chain(chain[0])) == chain[:keep]
            self.run(self.made.put(Phase.CUT))
        self.run(self.made.free(tail))
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
            assert self.run(self.made.chain(chain[0])) == chain
        if self.books.free_count >= 0:
            assert self.books.free_count == len(self.free)

    def teardown(self) -> None:
        """The count from scratch is the model's."""
        if hasattr(self, "system"):
            self.books.free_count = -1
            assert self.run(self.table.census.count_free()) == len(self.free)
            self.system.abandon()
            shutil.rmtree(self.folder)


TestTable = pytest.mark.dosfstools(TableMachine.TestCase)
TestTable.settings = settings(max_examples=60, stateful_step_count=30)


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
    system, device, made, _ = large_fat(tmp_path)
    run = system.scheduler.run
    total = run(made.table.census.count_free())
    made.books.counted(total)
    reads = device.numbers["read"]
    for more, says in (
        (1, "1 more cluster is needed"),
        (2, "2 more clusters are needed"),
        (1000, "1000 more clusters are needed"),
    ):
        with pytest.raises(StatusError, match=f"the volume is full: {says}"):
            run(made.allocate(total + more))
        assert (device.numbers["read"], made.books.free_count) == (reads, total)
    assert len(clusters(run(made.allocate(total)))) == total
    with pytest.raises(StatusError, match="full"):
        run(made.allocate(1))
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
    made, run = Table(volume), volume.scheduler.run
    core = made.core
    for i, (size, had, kept) in enumerate(
        [(unit, 2, 1), (unit, 3, 1), (unit + 1, 2, 2), (1, 2, 1), (2 * unit, 3, 2)]
    ):
        volume.write_bytes(f"{i}", b"x" * size)
        file, other = (run(core.open(f"{i}", write=True)) for _ in range(2))
        run(file.write(0, b"y"))
        run(made.grow(file._node, had * unit))
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
