"""What README and docs show runs as it is typed, and what they name exists.

A page's fenced blocks are run in their order, in an empty folder with `octavo` on PATH; those of
python share their names.

    ```python     is executed; an ```output block behind it is what it prints
    ```sh         each line is run by sh
    ```console    lines behind "$ " are run by sh, those behind a drive's prompt (C:\\>) are what
                  is typed into it then, and the others are what it prints; "..." is any text
    ``` ```text   a drawing, a table, a list: not run

A line of sh ends with exit code 0, or with the one of its comment "# exits with 1". <!-- not run:
REASON --> stands before a block that cannot be run here, <!-- needs: PROGRAM ... --> before one
that is run where these are installed; with OCTAVO_NO_SKIPS they must be.

Considered: pytest-markdown-docs, which runs Python only, and sybil, for which sh and consoles would
have to be written all the same, and they are most of this.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.places import ROOT, SOURCE, test_file

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?:<!-- (?:not run: (?P<reason>[^\n]+)|needs: (?P<needs>[^\n]+)) -->\n)?"
    r"```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
LANGUAGES = {"", "text", "python", "output", "sh", "console"}
LINE = re.compile(r"(?:[^\n\\]|\\.)+", re.S)  # a line of sh, with those that "\" joins to it
PROMPT = re.compile(r"[A-Z]:\\[^>\n]*>")
EXITS = re.compile(r"# exits with (\d+)")
NAMED_FILE = re.compile(r"`((?:\w+/)+\w+\.py)`")
NAMED_TEST = re.compile(r"`(?:tests/)?(test_\w+\.py)(?:::(\w+))?`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
README_LINES = 150


class Block(NamedTuple):
    """A fenced block: its language, its text, the line on which its text begins, why it is not
    run, and what it needs.
    """

    language: str
    text: str
    line: int
    reason: str | None
    needs: str = ""


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    text = page.read_text()
    found = list(FENCE.finditer(text))
    assert len(found) * 2 == len(re.findall(r"^ *```", text, re.M)), (
        f"{page.name}: a fence that is not read"
    )
    return [
        Block(
            m["language"],
            m["text"],
            text.count("\n", 0, m.start("text")) + 1,
            m["reason"],
            m["needs"] or "",
        )
        for m in found
    ]


def shown(page: Path) -> str:
    """A page's name in messages."""
    return str(page.relative_to(ROOT))


def same(wanted: str, printed: str) -> bool:
    """Whether what is printed is what a page shows; blanks at the ends of lines do not count."""
    wanted, printed = (
        "".join(line.rstrip() + "\n" for line in text.splitlines()) for text in (wanted, printed)
    )
    return doctest.OutputChecker().check_output(wanted, printed, doctest.ELLIPSIS)


def run_line(line: str, typed: str = "") -> str:
    """Runs a line of sh, types into it, and returns what it prints on both streams, in their
    order.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["sh", "-c", line],
        input=typed,
        stdout=-1,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environment,
    )
    wanted = EXITS.search(line)
    assert done.returncode == int(wanted[1] if wanted else 0), (
        f"{line}: exit code {done.returncode}\n{done.stdout}"
    )
    return done.stdout


def run_console(text: str) -> None:
    """Runs the commands of a console and compares what they print."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, *lines = part.splitlines()
        typed = [PROMPT.sub("", line) + "\n" for line in lines if PROMPT.match(line)]
        wanted = "".join(line + "\n" for line in lines if not PROMPT.match(line))
        printed = run_line(command, "".join(typed))
        assert same(wanted, printed), f"$ {command}\nprints\n{printed}\nand not\n{wanted}"


def run_block(block: Block, page: Path, names: dict[str, object], printed: str) -> str:
    """Runs a block; `printed` is what the python block before it has printed. Returns what this one
    prints, if it is one.
    """
    if block.language == "python":
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), names)
        return out.getvalue()
    if block.language == "output":
        assert same(block.text, printed), f"it prints\n{printed}"
    elif block.language == "console":
        assert block.text.startswith("$ ")
        run_console(block.text)
    elif block.language == "sh":
        for line in LINE.findall(block.text):
            run_line(line)
    return ""


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=shown)
def test_blocks_run_as_typed(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of a page that is a program."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        where = f"{shown(page)}:{block.line}"
        assert block.language in LANGUAGES, (
            f"{where}: nobody runs {block.language}; say text if it is no program"
        )
        program = block.language not in ("", "text")
        assert program or not re.search(r"^(\$ |octavo |import |[A-Z]:\\.*>)", block.text, re.M), (
            f"{where}: a program without its language"
        )
        missing = [name for name in block.needs.split() if not shutil.which(name)]
        assert not missing or not os.environ.get("OCTAVO_NO_SKIPS"), f"{where}: needs {missing}"
        if block.reason is None and not missing:
            try:
                printed = run_block(block, page, names, printed)
            except Exception as error:
                error.add_note(f"in the block at {where}")
                raise


def test_blocks_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong output, a wrong exit code and an exception are seen; what is right, and an exit code
    that is told, pass.
    """
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- needs: sh cat -->\n"
        "```python\nx = 1\n```\n```python\nprint(x, 'and more')\n```\n```output\n1 ... "
        "more\n```\n<!-- not run: why -->\n```sh\nfalse\n```\n"
        "```sh\nfalse  # exits with 1\necho a \\\n  > b\n\ncat b\n```\n```console\n$ cat "
        "b; cat; echo c >&2\na\nC:\\>d e\nd e\nc\n```\n"
    )
    names: dict[str, object] = {}
    right = blocks(page)
    assert [b.reason for b in right] == [None, None, None, "why", None, None]
    assert [b.needs for b in right] == ["sh cat", "", "", "", "", ""]
    printed = ""
    for block in right:
        if not block.reason:
            printed = run_block(block, page, names, printed)
    for language, text in (
        ("sh", "false"),
        ("sh", "true  # exits with 1"),
        ("console", "$ echo a\nb\n"),
        ("output", "b\n"),
        ("python", "assert 0"),
    ):
        with pytest.raises(AssertionError):
            run_block(Block(language, text, 1, None), page, names, "a\n")


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_what_a_page_names_exists(page: Path) -> None:
    """Tests that are named as `test_x.py::test_y`, files of the code, and the targets of links,
    headings among them.
    """
    text = FENCE.sub("", page.read_text())
    for file, name in NAMED_TEST.findall(text):
        path = test_file(file)
        assert not name or re.search(rf"^def {name}\(|^{name} = ", path.read_text(), re.M), (
            f"{file} has no {name}"
        )
    if "decisions" not in page.parts:  # they tell of the code as it was
        for file in NAMED_FILE.findall(text):
            assert (ROOT / file).exists() or (SOURCE / file).exists(), f"there is no {file}"
    for target in LINK.findall(text):
        file, _, heading = target.partition("#")
        if not target.startswith("http"):
            other = page.parent / file if file else page
            assert other.exists(), f"{shown(page)} leads to {target}"
            assert not heading or heading in headings(other), f"{shown(page)} leads to {target}"


def headings(page: Path) -> set[str]:
    """The names by which a page's headings can be linked to."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def test_every_claim_names_its_test() -> None:
    """Each row of docs/claims.md, and of README's table, names a test function."""
    for page, least in ((ROOT / "docs" / "claims.md", 40), (ROOT / "README.md", 12)):
        rows = re.findall(r"^\| (?!Claim|---)(.+) \|$", page.read_text(), re.M)
        assert len(rows) >= least
        for row in rows:
            assert any(name for _, name in NAMED_TEST.findall(row)), f"{shown(page)}: {row}"


def test_readme_is_short() -> None:
    """README is read in five minutes."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES
