"""What a change of a FAT volume takes and gives back: applied, dropped, or begun and failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from octavo.files import Volume
from octavo.fs.fat.books import MOST_TAILS
from octavo.fs.vfs import order
from octavo.fs.vfs.edits import Phase
from octavo.status import StatusError
from octavo.testing.faulty import never
from tests.conftest import fsck
from tests.fs.fat.tables import Table, clusters, large_fat


@pytest.mark.dosfstools
@pytest.mark.parametrize("at_once", [True, False], ids=["one change", "a file"])
def test_an_allocation_that_fails_half_way_takes_nothing(at_once: bool, tmp_path: Path) -> None:
    """The n-th read of a FAT that is larger than memory fails, while clusters are looked for and
    while they are chained: in one change, and in the many that a file grows by.
    """
    failures = 0
    for n in range(2, 90, 4):
        system, device, made, _ = large_fat(tmp_path)
        run = system.scheduler.run
        total = run(made.table.census.count_free())
        file = run(made.core.open(f"f{n}", write=True, create=True))
        node = next(reversed(made.core.nodes.used))
        assert file.section is node.section  # made now: a new file has none before
        at = device.numbers["read"] + n
        device.plan = lambda verb, k, at=at: verb == "read" and k >= at  # type: ignore[misc]
        count = 500_000
        try:
            if at_once:
                run(made.allocate(count))
            else:
                run(made.grow(node, count * 512))
        except StatusError as error:
            assert "injected" in error.text
            failures += 1
            count = 0
        device.plan = never
        assert node.regions.total == (0 if at_once else count * 512)
        run(made.writer.write_in_order())
        assert made.books.free_count == total - count
        made.books.free_count = -1
        assert run(made.table.census.count_free()) == total - count
        run(file.close())
        system.check()
        system.abandon()
        (tmp_path / "disk.img").unlink()
    assert failures > 8


@pytest.mark.dosfstools
@pytest.mark.parametrize("small", [16, 32], indirect=True)  # FAT12 has fewer clusters than that
def test_the_ends_of_new_chains_are_known_up_to_a_bound(small: tuple[Volume, Path]) -> None:
    """So many chains whose ends are on no medium yet; when they are too many all are forgotten, and
    what is appended waits to be joined.
    """
    made, run = Table(small[0]), small[0].scheduler.run
    books = made.books
    total = run(made.table.census.count_free())
    assert total >= MOST_TAILS + 4
    first = run(made.allocate(1))[0][0]
    for _ in range(MOST_TAILS - 1):
        run(made.allocate(1))
    assert len(books.tails) == MOST_TAILS
    run(made.allocate(1, first))
    assert (
        not books.joins and len(books.tails) == MOST_TAILS
    )  # the new end is in the place of the old one
    last = run(made.allocate(1))[0][0]
    assert books.tails == {last}
    run(made.allocate(1, first + 1))
    assert list(books.joins) == [first + 1]
    run(made.put(Phase.JOIN))
    assert len(run(made.chain(first))) == len(run(made.chain(first + 1))) == 2


@pytest.mark.dosfstools
@pytest.mark.parametrize("settled", [False, True], ids=["not yet", "meanwhile"])
def test_a_chain_that_got_onto_the_medium_meanwhile_is_joined_later(
    settled: bool, small: tuple[Volume, Path]
) -> None:
    """A writer in the background has a chain's end written while more of it is planned: what is
    appended then waits for its phase, and is seen as appended.
    """
    made, run = Table(small[0]), small[0].scheduler.run
    first = run(made.allocate(1))[0][0]

    async def append() -> None:
        with made.planner.change() as change:
            await made.table.allocate(change, 2, first)
            if settled:
                await made.writer.lead()
            await made.writer.apply(change)

    run(append())
    assert (run(made.table.get(first)) >= made.table.least_end) == settled
    assert (first in made.books.joins) == settled and len(run(made.chain(first))) == 3
    run(made.put(Phase.JOIN))
    assert run(made.table.get(first)) < made.table.least_end and len(run(made.chain(first))) == 3


@pytest.mark.dosfstools
def test_a_plan_that_is_dropped_leaves_nothing(small: tuple[Volume, Path]) -> None:
    """Clusters and slots that it took can be had again, all of them."""
    volume = small[0]
    made, run = Table(volume), volume.scheduler.run
    total = run(made.table.census.count_free())
    volume.mkdir("d")
    total -= 1
    directory = run(made.core.nodes.directory_at("d"))
    for _ in range(3):
        entry = made.planner.new_entry("a long name of two slots", False, None, 0)
        with made.planner.change() as change:
            assert made.planner.place(change, directory, entry) and entry.slot == 2
            run(made.planner.extend(change, entry, None, total * 512))
            assert entry.cluster and len(clusters(list(change.taken))) == total
        assert entry.cluster == 0 and made.books.free_count == total and not made.planner.waiting()
    assert len(clusters(run(made.allocate(total)))) == total


@pytest.mark.dosfstools
def test_a_directory_does_not_grow_for_what_has_no_room(small: tuple[Volume, Path]) -> None:
    """The last free cluster is not taken for names of files that need another one."""
    volume, image = small
    volume.mkdir("d")
    unit = volume.space().unit
    for i in range(unit // 32 - 2):
        volume.write_bytes(f"d/{i}", b"")
    volume.write_bytes("big", bytes(volume.space().free - unit))
    calls: list[Callable[[], object]] = [
        lambda: volume.mkdir("d/x"),
        lambda: volume.create_bytes("d/y", b"y"),
    ]
    for refused in calls:
        with pytest.raises(StatusError, match="1 more cluster is needed"):
            refused()
        assert volume.space().free == unit
    volume.create_bytes("d/z", b"")
    assert volume.space().free == 0 and volume.check() == []
    fsck(image)


@pytest.mark.dosfstools
def test_a_name_is_not_given_again_while_the_medium_may_have_it(tmp_path: Path) -> None:
    """What was moved away from must be erased first: where that fails, so does the call, and the
    directory does not grow for it.
    """
    system, device, _, volume = large_fat(tmp_path)
    volume.mkdir("d")
    volume.write_bytes("d/a", b"1")
    volume.flush()
    volume.rename("d/a", "d/b")
    free = volume.space().free
    device.plan = lambda verb, _: verb == "write"
    for _ in range(2):
        with pytest.raises(StatusError, match="injected"):
            volume.create_bytes("d/a", b"2")
    device.plan = never
    assert volume.space().free == free and [e.name for e in volume.entries("d")] == ["b"]
    volume.create_bytes("d/a", b"2")
    assert (volume.read_bytes("d/a"), volume.read_bytes("d/b")) == (b"2", b"1")
    assert volume.check() == []
    system.close()
    fsck(tmp_path / "disk.img")


@pytest.mark.dosfstools
def test_clusters_that_are_freed_half_way_are_freed_once(tmp_path: Path) -> None:
    """Freeing fails in the middle of a run, others take what is free already, and the rest is freed
    later: nobody loses a cluster.
    """
    for n in range(1, 80, 6):
        system, device, made, _ = large_fat(tmp_path)
        run, books = system.scheduler.run, made.books
        total = run(made.table.census.count_free())
        books.give_back(run(made.allocate(300_000)))
        at = device.numbers["read"] + n
        device.plan = lambda verb, k, at=at: verb == "read" and k >= at  # type: ignore[misc]
        failed = not run(made.writer.make_way())
        device.plan = never
        made.table.search.cursor = 2
        taken = run(made.allocate(1000))
        assert run(made.chain(taken[0][0])) == clusters(taken)
        if failed:
            with pytest.raises(StatusError, match="injected"):
                run(made.writer.write_in_order())  # what failed before is told once
        run(made.writer.write_in_order())
        assert run(made.chain(taken[0][0])) == clusters(taken)
        assert books.free_count == total - 1000 and books.frees == []
        books.free_count = -1
        assert run(made.table.census.count_free()) == total - 1000
        system.check()
        system.abandon()
        if not failed:
            break
    assert n > 1


@pytest.mark.dosfstools
def test_what_waits_is_bounded(small: tuple[Volume, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Moves without a flush between them: names to be erased and clusters to be freed are brought
    to the medium before more of them wait than MOST_WAITING.
    """
    monkeypatch.setattr(order, "MOST_WAITING", 8)
    volume, image = small
    writer = volume.core.store.writer  # type: ignore[attr-defined]  # it is the vfs's own
    volume.mkdir("there")
    most = 0
    for i in range(40):
        volume.write_bytes(f"{i}", b"x")
        volume.rename(f"{i}", f"there/{i}")
        most = max(most, len(writer.erasures) + writer.planner.waiting())
    assert 8 < most <= 8 + 3  # one operation more may add a few
    assert len(volume.entries("there")) == 40
    volume.flush()
    fsck(image)
