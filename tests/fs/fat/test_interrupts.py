"""Ctrl-C in a program that uses volumes: whatever it meets is done or not begun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import octavo
from octavo.files import Volume
from tests.conftest import blank_image, fsck

OLD, NEW = b"1" * 3000, b"2" * 5000
ACTIONS: dict[str, Callable[[Volume], object]] = {
    "replace": lambda volume: volume.rename("one", "two", replace=True),
    "move": lambda volume: volume.rename("one", "d/three"),
    "remove": lambda volume: volume.remove("one"),
    "overwrite": lambda volume: volume.write_bytes("two", OLD * 3),
    "mkdir": lambda volume: volume.mkdir("d/e"),
}


def interrupted_at(line: int, action: Callable[[], object]) -> bool:
    """Runs an action with Ctrl-C at the n-th line of Octavo's that it comes to; True if it was long
    enough and KeyboardInterrupt came.
    """
    left, home = line, os.path.dirname(octavo.__file__)

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename.startswith(home) and event == "line":
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


# Python warns of a call that was interrupted before it began.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.dosfstools
@pytest.mark.parametrize("name", ACTIONS)
def test_ctrl_c_at_any_line_leaves_a_whole_volume(name: str, tmp_path: Path) -> None:
    """The volume goes on in the same `with` block, is clean for fsck.fat behind it, and has what it
    had or what it was to have.
    """
    line, came = 5, True
    while came:
        image = blank_image(tmp_path / f"{line}.img", 4 << 20)
        subprocess.run(["mkfs.fat", "-s1", image], check=True, capture_output=True)
        with octavo.open_image(image) as volume:
            volume.write_bytes("one", OLD)
            volume.write_bytes("two", NEW)
            volume.mkdir("d")
            came = interrupted_at(line, lambda volume=volume: ACTIONS[name](volume))  # type: ignore[misc]
            volume.write_bytes("three", b"3")
        fsck(image)
        with octavo.open_image(image) as volume:
            assert volume.check() == [] and volume.read_bytes("three") == b"3"
            found = {e.name: volume.read_bytes(e.name) for e in volume.entries() if e.name != "d"}
            assert found.get("two") in (NEW, OLD, OLD * 3)
            assert "one" in found or name in ("replace", "move", "remove")
        image.unlink()
        line += 37
    assert line > 5 * 37, "the action was too short to be interrupted"


PROGRAM = """
import gc, os, signal
import octavo

def now():
    return signal.getsignal(signal.SIGINT)

pythons = now()
assert pythons is signal.default_int_handler
with octavo.boot(memory="4M"):
    ours = now()
    with octavo.boot(memory="4M"):
        assert now() is ours is not pythons
    assert now() is ours
    try:
        os.kill(os.getpid(), signal.SIGINT)
        assert False, "it did not come at once"
    except KeyboardInterrupt:
        pass
assert now() is pythons
dropped = octavo.boot(memory="4M")
assert now() is ours
del dropped
gc.collect()
assert now() is pythons
signal.signal(signal.SIGINT, signal.SIG_IGN)
with octavo.boot(memory="4M"):
    assert now() is signal.SIG_IGN
assert now() is signal.SIG_IGN
"""


def test_pythons_handler_is_there_before_and_after() -> None:
    """Also of systems that are dropped; a program's own handler is left alone; Ctrl-C outside of
    Octavo's calls comes at once.
    """
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
