"""Lines that nobody would type: each ends in a status, and the volume is whole."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

import octavo
from octavo.shell.completion import completions
from octavo.shell.shell import COMMANDS, Shell
from tests.volumes import make_volume

SKIPPED = {"exit", "shutdown", "mount", "umount", "vm", "memory"}
WORDS = [
    "a", "b", "d", "d\\a", "d/e", "\\", ".", "..", "*", "*.*", "?", "d\\*", "c:", "c:a", "q:",
    "c:\\d\\..\\b", "a b", "x" * 300, "con", "nul", "/s", "/b", "/o", "/o:-n", "/?", "/f", "/x",
    "/a", "/s/b", "+r", "-r", "+q", ">", ">>", "<", "|", "'", '"', ";", "0", "-1", "7", "\x00",
    "\u202e", "\u00c4", "\U0001f600", "*?*.?*", "~1", "on",
]  # fmt: skip
EDITS = ["p", "1 x", "i 1 y", "d 1", "d 1 9", "s", "q", "?", "f x", "99", "99 x", "", "zz", "i 5"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small volume."""
    made = make_volume(tmp_path_factory.mktemp("any") / "a.img", 1 << 20, 12, 512)
    return bytes(made)


@pytest.mark.parametrize("seed", range(20))
def test_any_lines(image: bytes, seed: int, tmp_path: Path) -> None:
    """A status of 0, 1 or 2, one sentence for each error, and nothing by halves."""
    random = Random(seed)
    (tmp_path / "a.img").write_bytes(image)
    with octavo.boot("2M", [tmp_path / "a.img"]) as system:
        lines: list[str] = []
        errors: list[str] = []
        shell = Shell(system, lines.append, errors.append)
        shell.ask = lambda prompt: random.choice(EDITS) if random.random() < 0.9 else None
        commands = sorted(set(COMMANDS) - SKIPPED)
        for line in ("md d", "md d\\e", "echo one > a", "echo two > d\\a", "type a > b"):
            assert shell.execute(line) == 0
        for _ in range(60):
            words = random.choices(WORDS, k=random.randrange(4))
            words = [f'"{w}"' if random.random() < 0.2 else w for w in words]
            line = " ".join([random.choice(commands), *words])
            list(completions(shell, line))
            before = len(errors)
            status = shell.execute(line)
            assert status in (0, 1, 2) and not shell.done, line
            assert (len(errors) > before) <= (status > 0 or line.startswith("edlin")), line
            assert shell.output is None and shell.input is None
            assert all(text.isprintable() or "\t" in text for text in (*lines, *errors)), line
            lines.clear()
        assert not [e.name for e in system.volumes["C:"].entries() if e.name.startswith("OCTAVO")]
        assert system.volumes["C:"].check() == []
        system.check()
