"""The damaged images that are written down, and the inputs that a fuzzer has found: each gives no
crash and no hang, takes bounded memory, and is refused in a sentence, told of, or read.
"""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from octavo.cli.main import run as octavo_run
from octavo.status import StatusError
from tests.fuzzing.bases import DamagedDisk, bases
from tests.fuzzing.damage import DAMAGES, Damage
from tests.fuzzing.inputs import disk_of, encoded, try_input
from tests.fuzzing.trial import try_all
from tests.machines import within_seconds
from tests.places import TESTS

CORPUS = sorted((TESTS / "data" / "fuzz").iterdir())
MOST_MEMORY = 24 << 20  # bytes of Python's, beside the machine's 4 MiB
SECONDS = 60

pytestmark = pytest.mark.e2fsprogs


def shown(damage: Damage) -> str:
    """Its name, for pytest."""
    return f"{damage.base}: {damage.name}"


@pytest.mark.parametrize("name", ["fat12", "fat16", "fat32", "ext2", "mbr", "gpt"])
def test_bases_are_sound(name: str) -> None:
    """And so they are after changes and a repair."""
    found = try_all(DamagedDisk(bases()[name]))
    assert found.kind == "sound" and len(found.files) == (5 if name == "ext2" else 14)


def test_each_kind_of_damage_is_there() -> None:
    """Sixty and more, no two alike."""
    kinds = Counter(damage.base for damage in DAMAGES)
    assert sum(kinds.values()) >= 60 and min(kinds[name] for name in bases()) >= 5
    changed = {repr((d.base, sorted(d.disk().changed.items()))) for d in DAMAGES}
    assert len(changed) == len({shown(d) for d in DAMAGES}) == len(DAMAGES)
    assert all(d.disk().changed for d in DAMAGES)


@pytest.mark.parametrize("damage", DAMAGES, ids=shown)
def test_a_damaged_image(damage: Damage) -> None:
    """Listed, read, checked, changed and repaired."""
    disk = damage.disk()
    tracemalloc.start()
    try:
        with within_seconds(SECONDS):
            found = try_all(disk)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert found.kind in damage.outcome.split(), (found.refused, found.told, found.problems)


@pytest.mark.parametrize("damage", DAMAGES[::4], ids=shown)
def test_by_the_command(damage: Damage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb ends with 0 or 1, and 1 has a sentence, in which nothing is a control character."""
    disk, image = damage.disk(), tmp_path / "disk.img"
    with open(image, "wb") as file:
        file.truncate(disk.size)
        for n, sector in {**disk.base.sectors, **disk.changed}.items():
            file.seek(n * 512)
            file.write(sector)
    with within_seconds(SECONDS):
        for verb, *rest in (
            ("ls", "-r", f"{image}:"), ("df", str(image)), ("check", str(image)),
            ("cp", "-r", f"{image}:/", str(tmp_path / "out")), ("boot", str(image), "-c", "dir"),
            ("check", "--repair", str(image)), ("cp", __file__, f"{image}:/new.py"),
        ):  # fmt: skip
            said = ""
            try:
                code = octavo_run([verb, *rest])
            except StatusError as error:  # what `octavo.cli.main.main` prints
                code, said = 1, error.text
            err = capsys.readouterr().err + said
            assert code in (0, 1), (verb, code, err)
            assert code == 0 or err or verb == "check", verb
            assert "Traceback" not in err and all(line.isprintable() for line in err.splitlines())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_the_fuzzer_has_found(path: Path) -> None:
    """Inputs that led into code of their own, and those that have failed once."""
    with within_seconds(SECONDS):
        try_input(path.read_bytes())


def test_any_bytes_are_an_input() -> None:
    """None, few, and those that name what is not there; patches are where they were meant."""
    for data in (b"", b"\x03", b"\xff" * 3, bytes(4), b"\x05\x00\x03\xff\xff\xff\xff"):
        try_input(data)
    disk = disk_of(encoded("fat32", [("fsinfo", 488, b"\1\2\3\4"), ("boot", 3, b"x" * 40)], 128))
    assert disk.size == bases()["fat32"].size // 2
    assert disk.bytes(512, 512)[488:492] == b"\1\2\3\4" and disk.bytes(0, 512)[3:43] == b"x" * 40
