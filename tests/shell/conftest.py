"""A shell on a volume with some files, and what it printed."""

from __future__ import annotations

import pytest

import octavo
from octavo.shell.shell import Shell


class Session:
    """A shell and what it printed since the last command."""

    def __init__(self, system: octavo.System) -> None:
        self.lines: list[str] = []
        self.shell = Shell(system, self.lines.append)

    def __call__(self, line: str, status: int = 0) -> str:
        """Runs a line, expects a status, returns the output."""
        self.lines.clear()
        assert self.shell.run(line) == status, self.lines
        return "\n".join(self.lines)


@pytest.fixture
def session(system: octavo.System) -> Session:
    """A shell on a system with one volume."""
    volume = system.volumes["C:"]
    volume.mkdir("docs")
    volume.write_bytes("readme.txt", b"Hello\r\nworld\n")
    for i in range(5):
        volume.write_bytes(f"docs/note {i}.txt", b"n" * i * 100)
    return Session(system)
