"""`octavo boot` at a terminal: keys, and what it shows."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.command import OCTAVO


class Terminal:
    """The keyboard and screen of a process."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process = process
        self._fd = fd
        self._seen = b""

    def type(self, keys: bytes) -> None:
        """Presses keys."""
        os.write(self._fd, keys)

    def await_text(self, text: bytes) -> None:
        """Returns when a text has come, behind the one that was awaited before."""
        while text not in self._seen:
            assert select.select([self._fd], [], [], 60)[0], self._seen
            self._seen += os.read(self._fd, 4096)
        self._seen = self._seen.partition(text)[2]

    def await_prompt(self, text: bytes) -> None:
        """Returns when a prompt has come, and keys are taken as such."""
        self.await_text(text)
        while termios.tcgetattr(self._fd)[3] & termios.ICANON:
            time.sleep(0.01)


@contextmanager
def booted(image: Path, state: Path) -> Iterator[Terminal]:
    """A `with` block in which an image is booted at a terminal; `state` is a folder for the shell's
    history.
    """
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "XDG_STATE_HOME": str(state)}
    process = subprocess.Popen(
        [*OCTAVO, "boot", "-q", str(image)],
        stdin=child, stdout=child, stderr=child, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(child)
    try:
        yield Terminal(process, parent)
    finally:
        process.kill()
        process.wait()
        os.close(parent)
