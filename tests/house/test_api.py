"""docs/api.md: what users import is there, is all that these modules give, and is all that the
documents use.
"""

from __future__ import annotations

import ast
import re
from importlib import import_module

import pytest

from tests.places import ROOT

ROWS = re.findall(
    r"^\| `(octavo[\w.]*)` \| (.+?) \|", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE
)
NAMES = {module: set(re.findall(r"`(\w+)`", names)) for module, names in ROWS}
TERMINALS = {"octavo.cli.main": {"run"}, "octavo.shell.terminal": {"run_terminal"}}


@pytest.mark.parametrize("module", NAMES)
def test_the_list_is_what_the_module_gives(module: str) -> None:
    """No more and no less, and each of them is there."""
    made = import_module(module)
    assert set(made.__all__) == NAMES[module]
    assert all(hasattr(made, name) for name in made.__all__)


def imported(text: str) -> list[tuple[str, str]]:
    """(module, name) of what a program takes from Octavo; the name is "" for a whole module."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(a.name, "") for a in node.names if a.name.split(".")[0] == "octavo"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "octavo":
            found += [(node.module or "", a.name) for a in node.names]
    return found


def test_documents_import_nothing_else() -> None:
    """README, the pages of docs, and the demo."""
    programs = [(ROOT / "demo.py").read_text()]
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        programs += re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    used = [pair for program in programs for pair in imported(program)]
    assert len(used) > 20
    for module, name in used:
        known = NAMES.get(module) or TERMINALS.get(module, set())
        assert (not name and module in NAMES) or name in known, f"{module} {name}"
