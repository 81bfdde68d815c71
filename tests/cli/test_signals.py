"""Signals: whatever they meet is left whole."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.command import OCTAVO, octavo
from tests.conftest import fsck
from tests.terminal import booted


@pytest.mark.dosfstools
def test_an_interrupt_leaves_a_clean_image(tmp_path: Path) -> None:
    """Ctrl-C during a copy: exit code 130, no traceback, no half file, a clean volume."""
    image, source = tmp_path / "disk.img", tmp_path / "source"
    source.mkdir()
    for i in range(40):
        (source / f"file {i}").write_bytes(os.urandom(4 << 20))
    octavo("mkfs", "--size", "400M", image)
    process = subprocess.Popen(
        [*OCTAVO, "cp", "-r", str(source), f"{image}:"], stderr=subprocess.PIPE
    )
    while image.stat().st_blocks < 20 << 11:  # some of it is there
        assert process.poll() is None, "it was done before it could be interrupted"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said == b""
    fsck(image)
    names = octavo("ls", "-l", f"{image}:source").splitlines()
    assert 0 < len(names) < 40 and all(f" {4 << 20} " in name for name in names)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_at_any_moment(number: signal.Signals, image: Path) -> None:
    """Also while it imports, and when it has done its work: the exit code says so, or that the work
    was done, and no traceback comes.
    """
    codes = set()
    for delay in (0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.18, 0.22, 0.26):
        process = subprocess.Popen(
            [*OCTAVO, "ls", f"{image}:"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        await_handlers(process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay)
        process.send_signal(number)
        assert process.communicate(timeout=60) == (b"", b"")
        codes.add(process.returncode)
    assert (
        codes <= {0, 128 + number, -number} and 128 + number in codes
    )  # -number: when Python has put its own handlers back, at its end


def await_handlers(process: subprocess.Popen[bytes]) -> None:
    """Returns when a process has begun to take SIGTERM, which Python itself does not."""
    bit = 1 << (signal.SIGTERM - 1)
    while (
        not int(
            re.findall(r"SigCgt:\s(\w+)", Path(f"/proc/{process.pid}/status").read_text())[0], 16
        )
        & bit
    ):
        assert process.poll() is None, process.communicate()


def test_signals_that_are_ignored_stay_so(image: Path) -> None:
    """As nohup leaves SIGHUP."""
    process = subprocess.Popen(
        ["nohup", *OCTAVO, "ls", f"{image}:"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    await_handlers(process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_sigterm_at_the_prompt(image: Path, tmp_path: Path) -> None:
    """The shell ends, its volumes are unmounted; Ctrl-C only takes the line away; lines that are
    pasted are a command each.
    """
    with booted(image, tmp_path) as terminal:
        terminal.await_text(b"C:\\>")
        terminal.type(b"md before\rhelp cls\r")
        terminal.await_text(b"Empties the screen")
        terminal.await_text(b"C:\\>")
        terminal.process.send_signal(signal.SIGINT)
        terminal.await_text(b"C:\\>")
        terminal.type(b"md after\rhelp cls\r")
        terminal.await_text(b"Empties the screen")
        terminal.await_text(b"C:\\>")
        terminal.type(b"\x1b[200~md pasted1\nmd pasted2\nhelp cls\n\x1b[201~\r")
        terminal.await_text(b"Empties the screen")
        terminal.await_text(b"C:\\>")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(60) == 128 + signal.SIGTERM
    assert octavo("ls", f"{image}:").split() == [
        "after/",
        "before/",
        "pasted1/",
        "pasted2/",
    ] and octavo("check", image).endswith("clean\n")
