"""Volumes filled to their last cluster and slot and beyond (`make fills` has more); the ends of
directories one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

import octavo
from octavo.status import Status, StatusError
from tests.fills import KINDS, WAYS, fill, make_host_tree
from tests.volumes import clusters_of, leave_free, make_volume, shared_memory

FILLS = 200
PARTS = 8


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with the tree that fills copy in."""
    with shared_memory() as made:
        make_host_tree(made)
        yield made


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize("part", range(PARTS))
def test_fills(part: int, folder: Path) -> None:
    """Each is judged by a model, by check, by fsck.fat and by mtools; a failure says how to do it
    again.
    """
    for seed in range(part, FILLS, PARTS):
        try:
            fill(seed, folder)
        except (AssertionError, StatusError) as error:
            raise AssertionError(f"python -m tests.fills --only {seed}") from error


def test_fills_meet_every_kind_and_every_way() -> None:
    """The seeds above draw all there is, so that nothing is left out unseen."""
    kinds, ways = set(), set()
    for seed in range(FILLS):
        random = Random(seed)
        kinds.add(random.choice(KINDS))
        ways.update(random.sample(WAYS, 4))
    assert kinds == set(KINDS) and ways == set(WAYS)


@pytest.mark.parametrize(
    "kind",
    [(12, 1 << 20, 512), (16, 3 << 20, 512), (32, 34 << 20, 512), (12, 4 << 20, 65536)],
    ids=str,
)
@pytest.mark.parametrize("free", [1, 2, 3, 20])
def test_a_name_of_21_slots_takes_the_clusters_it_needs(
    kind: tuple[int, int, int], free: int, tmp_path: Path
) -> None:
    """In a directory of 512-byte clusters it may need two at once; without both nothing is taken,
    and with them nothing is refused.
    """
    bits, size, cluster = kind
    image = make_volume(tmp_path / "a.img", size, bits, cluster)
    leave_free(image, set(range(10, 10 + free)))
    with octavo.open_image(tmp_path / "a.img") as volume:
        volume.mkdir("d")
        slots, room = 2, cluster // 32
        made: list[str] = []
        while True:
            name = f"d/{len(made)} ".ljust(257, "x")
            need = -(-(slots + 21 - room) * 32 // cluster) if slots + 21 > room else 0
            left = volume.space().free // cluster
            try:
                volume.write_bytes(name, b"")
            except StatusError as error:
                assert error.status == Status.DISK_FULL
                assert need > left or slots + 21 > 65536, (
                    f"{need} clusters refused, {left} are free"
                )
                assert volume.space().free // cluster == left
                break
            slots, room = slots + 21, room + need * cluster // 32
            made.append(name)
            assert volume.space().free // cluster == left - need
            if len(made) == 40:
                break
        assert [e.name for e in volume.entries("d")] == [name[2:] for name in made]
        assert volume.check() == []


def test_a_directory_has_65536_slots_and_no_more(tmp_path: Path) -> None:
    """2 MiB in clusters of 64 KiB: 3,120 names of 21 slots, then 14 of one; a slot given back is
    found again.
    """
    image = make_volume(tmp_path / "a.img", 20 << 20, 12, 65536)
    assert clusters_of(image) > 40
    with octavo.open_image(tmp_path / "a.img") as volume:
        volume.mkdir("d")
        for number in range((65536 - 2) // 21):
            volume.write_bytes(f"d/{number} ".ljust(257, "x"), b"")
        with pytest.raises(StatusError, match="2 MiB"):
            volume.write_bytes("d/" + "y" * 255, b"")
        for number in range((65536 - 2) % 21):
            volume.write_bytes(f"d/S{number}", b"")
        with pytest.raises(StatusError, match="2 MiB") as error:
            volume.mkdir("d/ONE")
        assert error.value.status == Status.DISK_FULL
        free = volume.space().free
        volume.remove("d/S3")
        volume.write_bytes("d/ONE", b"x")
        assert volume.space().free == free - 65536
        assert volume.check() == []
    with octavo.open_image(tmp_path / "a.img") as volume:
        assert len(volume.entries("d")) == 65534 // 21 + 65534 % 21


@pytest.mark.parametrize("bits", [12, 16])
def test_the_fixed_root_has_all_its_slots(bits: int, tmp_path: Path) -> None:
    """The last slot is used, the one beyond refused, also by mkdir and rename; nothing else is lost
    by it.
    """
    make_volume(tmp_path / "a.img", 3 << 20, bits, 512 if bits == 16 else 1024)
    with octavo.open_image(tmp_path / "a.img") as volume:
        volume.mkdir("d")
        volume.write_bytes("d/x", b"kept")
        slots = 1
        while slots + 21 <= 512:
            volume.write_bytes(f"{slots} ".ljust(255, "x"), b"%d" % slots)
            slots += 21
        for number in range(512 - slots):
            volume.write_bytes(f"S{number}", b"s")
        free = volume.space().free
        refused: list[Callable[[], None]] = [
            lambda: volume.write_bytes("T", b"t"),
            lambda: volume.mkdir("T"),
            lambda: volume.rename("d/x", "T"),
            lambda: volume.rename("S1", "S1 with a long name"),
        ]
        for action in refused:
            with pytest.raises(StatusError, match="slots"):
                action()
        assert volume.space().free == free
        volume.remove("S3")
        volume.rename("d/x", "T")
        assert volume.check() == []
    with octavo.open_image(tmp_path / "a.img") as volume:
        names = {e.name for e in volume.entries()}
        assert len(names) == 1 + 24 + 7 and "S3" not in names and volume.read_bytes("T") == b"kept"
        assert volume.read_bytes("1 ".ljust(255, "x")) == b"1" and volume.read_bytes("S1") == b"s"
