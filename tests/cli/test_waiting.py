"""--wait: for an image that somebody else has open."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path
from time import monotonic

import pytest

from octavo.arguments import LONGEST_SECONDS
from octavo.cli.verb import with_waiting
from tests.command import call

IN_USE = "the image is in use: it is open already, in this program or another\n"


@pytest.mark.parametrize("verb", ["ls", "mkfs"])
def test_waiting_for_an_image(verb: str, image: Path) -> None:
    """Not at all, too short, long enough, for ever."""
    command = ["ls"] if verb == "ls" else ["mkfs", "--force"]
    with open(image, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert call(*command, image, code=1).endswith(IN_USE)
        begun = monotonic()
        assert call(*command, "--wait", "0.2", image, code=1).endswith(IN_USE)
        assert monotonic() - begun >= 0.2
        for option in ("--wait", "--wait=60"):
            timer = threading.Timer(0.3, lambda: fcntl.flock(file, fcntl.LOCK_UN))
            timer.start()
            begun = monotonic()
            call(*command, option, image)
            assert 0.2 < monotonic() - begun < 30
            timer.join()
            fcntl.flock(file, fcntl.LOCK_EX)


def test_how_long(image: Path) -> None:
    """--wait takes a number, and no other word."""
    assert with_waiting(["ls", "--wait", "a"]) == ["ls", "--wait=ever", "a"]
    assert with_waiting(["ls", "--wait", "1.5", "a"]) == ["ls", "--wait", "1.5", "a"]
    assert with_waiting(["ls", "a", "--wait"]) == ["ls", "a", "--wait=ever"]
    assert with_waiting(["ls", "--", "--wait"]) == ["ls", "--", "--wait"]
    for value in ("x", "-1", "1e3", "", "nan", str(LONGEST_SECONDS + 1)):
        assert "seconds are needed" in call("ls", f"--wait={value}", f"{image}:", code=2)
    assert call("ls", f"--wait={LONGEST_SECONDS}", f"{image}:") == ""
