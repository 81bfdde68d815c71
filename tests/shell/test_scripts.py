"""Scripts and standard input of `octavo boot`: exit codes, numbers of lines, what asks for lines,
pipes that close, disks that are full, and signals.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import octavo
from tests.command import OCTAVO
from tests.command import octavo as octavo_command
from tests.conftest import fsck
from tests.terminal import booted


def boot(image: Path, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, output and errors."""
    done = subprocess.run(
        [*OCTAVO, "boot", "-q", str(image), *arguments],
        capture_output=True, text=True, check=False, input=stdin, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_a_script(image: Path, tmp_path: Path) -> None:
    """It ends at the first command that fails, with its status and the number of its line; -k goes
    on; exit has a status of its own.
    """
    script = tmp_path / "s.txt"
    script.write_bytes(
        b"\xef\xbb\xbf@echo off\r\nrem it's a \"remark\r\n\r\nmd one; two\r\ntype nothing\r\n"
        b"md three\r\n"
    )
    assert boot(image, "--script", str(script)) == (
        1, "", f"{script}:5: type: nothing: no such file or directory\n"
    )  # fmt: skip
    assert octavo_command("ls", f"{image}:").split() == ["one;/", "two/"]
    script.write_text("@echo on\ndir /q\ncd\nmd three\n@exit 7\nmd four\n")
    code, out, err = boot(image, "-k", "--script", str(script))
    assert (code, out) == (7, "C:\\>dir /q\nC:\\>cd\nC:\\\nC:\\>md three\n")
    assert err.startswith(f"{script}:2: dir: /q is none of its switches")
    assert boot(image, "--script", str(script))[0] == 2
    assert "three/" in octavo_command("ls", f"{image}:")


def test_scripts_that_are_none(image: Path, tmp_path: Path) -> None:
    """Each has a sentence and the exit code 1, or 2 where the call was wrong."""
    for name, told in (
        (str(tmp_path / "no"), "No such file or directory"),
        (str(tmp_path), "Is a directory"),
        ("/dev/zero", "a line has more than 1048576 characters: this is no script"),
    ):
        assert boot(image, "--script", name) == (1, "", f"octavo: {name}: {told}\n")
    code, _, err = boot(image, "--script", "x", "-c", "dir")
    assert code == 2 and "commands come from -c or from --script, not from both" in err
    (tmp_path / "long").write_text("rem ".ljust(9000, "x") + "\nmd made\n")
    code, _, err = boot(image, "-k", "--script", str(tmp_path / "long"))
    assert (code, err) == (
        0,
        f"{tmp_path / 'long'}:1: rem: the line has more than 8191 characters\n",
    )
    assert boot(image, stdin="md " + "x" * 20_000 + "\ncd")[:2] == (0, "C:\\\n")


def test_lines_for_edlin(image: Path, tmp_path: Path) -> None:
    """Those behind it in a script, also of standard input; with -c, standard input itself."""
    lines = "1 first\n2 second\ns\nq\n"
    script = tmp_path / "s.txt"
    script.write_text(f"edlin a.txt\n{lines}type a.txt\nedlin a.txt\n4 x\nq\n")
    code, out, err = boot(image, "-k", "--script", str(script))
    assert (code, out.splitlines()[2:4]) == (1, ["first", "second"])
    assert err == f"{script}:8: edlin: there is no line 4: there are 2 lines\n"
    assert "1 line saved\none" in boot(image, stdin="edlin b\n1 one\ns\nq\ntype b\n")[1]
    assert boot(image, "-c", "edlin c", "-c", "type c", stdin=lines)[1].endswith("first\nsecond\n")
    code, _, err = boot(image, "-c", "edlin c", stdin="1 gone")
    assert code == 1 and err == "edlin: the input ended, and what was changed was not saved\n"


def fill(image: Path, files: int = 300) -> None:
    """Many files, and one that is big."""
    with octavo.open_image(image) as volume:
        volume.mkdir("d")
        for i in range(files):
            volume.write_bytes(f"d/file {i}.txt", b"x" * 100)
        volume.write_bytes("big", b"0123456789abcde\n" * (1 << 17))


@pytest.mark.dosfstools
@pytest.mark.parametrize("line", ["dir /s", "type big", "tree /f", "dump big", "find 0 big"])
def test_a_pipe_that_closes(image: Path, line: str) -> None:
    """Whoever reads has enough: no traceback, exit code 0, a clean volume with all that was done
    before.
    """
    fill(image)
    process = subprocess.Popen(
        [*OCTAVO, "boot", "-q", str(image), "-c", f"md made; {line}; {line}; md never"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == (b"", 0)
    fsck(image)
    names = octavo_command("ls", f"{image}:").split()
    assert "made/" in names and ("never/" not in names or line == "tree /f")


@pytest.mark.dosfstools
@pytest.mark.parametrize("line", ["dir /s", "type big", "dump big > /dev/null", "edlin big"])
def test_output_to_a_full_host(image: Path, line: str) -> None:
    """One sentence, exit code 1, a clean volume."""
    fill(image)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*OCTAVO, "boot", "-q", str(image), "-c", line],
            stdout=full, stderr=subprocess.PIPE, check=False, input=b"p\n" * 4000, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    fsck(image)


@pytest.mark.dosfstools
@pytest.mark.parametrize(
    "line", ["copy d e", "dir /s", "type big >> log", "type big > log", "find zz big", "rd /s d"]
)
def test_an_interrupt_in_the_middle(image: Path, line: str) -> None:
    """Exit code 130, no traceback, a clean volume, no file by half."""
    fill(image)
    process = subprocess.Popen(
        [*OCTAVO, "boot", "-q", str(image)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write((f"cd\n{line}\n" * 200).encode())
    process.stdin.flush()
    assert process.stdout.readline() == b"C:\\\n"
    time.sleep(0.02)  # some of it is done
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in err
    fsck(image)
    with octavo.open_image(image, read_only=True) as volume:
        assert not [e.name for e in volume.entries() if e.name.startswith("OCTAVO")]
        assert volume.stat("big").size == 16 << 17
        if line == "copy d e" and volume.exists("e"):
            assert all(e.size == 100 for e in volume.entries("e"))
        if "log" in line and volume.exists("log"):
            assert volume.stat("log").size % (16 << 17) == 0


def test_edlin_at_the_prompt(image: Path, tmp_path: Path) -> None:
    """Ctrl-C takes a line away, not the text; end of input ends it; the lines have no history."""
    with booted(image, tmp_path) as terminal:
        terminal.await_prompt(b"C:\\>")
        for typed, shown in (
            (b"edlin a.txt\r", b"lists the commands"), (b"1 one\r", b"one\r"), (b"2 tw\x03", b"tw"),
            (b"s\r", b"1 line saved"),
        ):  # fmt: skip
            terminal.type(typed)
            terminal.await_text(shown)
            terminal.await_prompt(b"*")
        terminal.type(b"\x04")
        terminal.await_prompt(b"C:\\>")
        terminal.type(b"exit\r")
        assert terminal.process.wait(60) == 0
    assert octavo_command("cat", f"{image}:a.txt") == "one\n"
    assert b"1 one" not in (tmp_path / "octavo" / "history").read_bytes()
