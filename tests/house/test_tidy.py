"""The rules that can be measured: sizes of files and functions, imports that go down the layers
only, public docstrings.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.places import SOURCE

FILES = sorted(SOURCE.rglob("*.py"))
MOST_COLUMNS = 100
MOST_LINES = 450
LONG_FILES = {  # one topic each, which is not to be parted for a number
    "files.py": "Volume and File are one another's",
    "fs/fat/check.py": "one pass over directories",
    "fs/fat/volume.py": "the operations of a volume, which share their undoing",
    "memory/pages/residency.py": "all ways of a page in and out, and their check",
    "memory/spaces/addressspace.py": "NT's calls on one address space",
    "memory/spaces/sectionobjects.py": "NT's calls on sections",
    "threads/scheduler.py": "one loop, and what it runs",
}
MOST_LONG_LINES = 600
MOST_FUNCTION_LINES = 60
LONG_FUNCTIONS: set[str] = set()

# From the lowest layer up. A module may import from its own layer and from those before it.
LAYERS = [
    ["status", "version", "printing", "arguments", "statistics"],
    ["machine"],
    ["threads"],
    ["memory.runs", "memory.frames"],
    ["memory.pages"],
    ["memory.pagers"],
    ["memory.reclaim"],
    ["memory.manager"],
    ["memory.spaces"],
    ["heap"],
    ["boot"],
    ["cache"],
    ["storage"],
    ["fs"],
    ["files", "images", "machines", "policies", "vm"],
    ["transfer", "system"],
    ["shell"],
    ["cli", "reports", "testing"],
    ["__main__"],
]
RANK = {name: i for i, names in enumerate(LAYERS) for name in names}


def rank(module: str) -> int:
    """Where a module is, by its dotted name without the package: "fs.fat.bpb" is in "fs"."""
    name = module
    while name not in RANK:
        name = name.rpartition(".")[0]
    return RANK[name]


def imports(tree: ast.AST) -> list[str]:
    """The octavo modules that a module imports anywhere, without the package name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("octavo"):
            names = (
                [node.module]
                if node.module != "octavo"
                else [f"octavo.{a.name}" for a in node.names]
            )
            found += names
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("octavo")]
    return [name.removeprefix("octavo.") for name in found]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_file(path: Path) -> None:
    """One file: its length, its functions' lengths, its docstrings, its imports."""
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no module docstring"
    relative = path.relative_to(SOURCE)
    most = MOST_LONG_LINES if str(relative) in LONG_FILES else MOST_LINES
    assert len(text.splitlines()) <= most
    wide = [line for line in text.splitlines() if len(line) > MOST_COLUMNS]
    assert not [line for line in wide if "  # type: ignore" not in line and "  # noqa" not in line]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MOST_FUNCTION_LINES or f"{path.name}:{node.name}" in LONG_FUNCTIONS, (
                f"{node.name} has {length} lines"
            )
    check_docstrings(tree.body, str(relative))
    if len(relative.parts) == 1 and relative.stem == "__init__":
        return
    module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    above = [n for n in imports(tree) if module not in ("memory", n) and rank(n) > rank(module)]
    assert not above, f"imports {above}, which are above it"


def check_docstrings(body: list[ast.stmt], where: str, protocol: bool = False) -> None:
    """Every public class, function and method says what it is; methods of protocols may leave it to
    the class.
    """
    for node in body:
        if not isinstance(
            node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) or node.name.startswith("_"):
            continue
        overload = not isinstance(node, ast.ClassDef) and any(
            isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list
        )
        assert ast.get_docstring(node) or protocol or overload, (
            f"{where}: {node.name} has no docstring"
        )
        if isinstance(node, ast.ClassDef):
            bases = {b.id for b in node.bases if isinstance(b, ast.Name)}
            check_docstrings(node.body, f"{where}: {node.name}", "Protocol" in bases)


def edges(typing: bool) -> dict[str, set[str]]:
    """Which file imports which, also inside of functions; with `typing` what only annotations need,
    too.
    """
    files = {".".join(p.relative_to(SOURCE).with_suffix("").parts): p for p in FILES}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        tree = ast.parse(path.read_text())
        if not typing:
            tree.body = [
                node
                for node in tree.body
                if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
            ]
        named = {
            f"{n.module}.{a.name}"
            for n in ast.walk(tree)
            if isinstance(n, ast.ImportFrom)
            for a in n.names
        }
        named = {n.removeprefix("octavo.") for n in named} | set(imports(tree))
        found[name] = {n for n in named if n in files} - {name}
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Files that reach one another."""
    reach = {name: {name} for name in graph}
    changed = True
    while changed:
        changed = False
        for name, near in graph.items():
            more = set().union(*(reach[n] for n in near)) if near else set()
            if not more <= reach[name]:
                reach[name] |= more
                changed = True
    rooms = {frozenset(n for n in reach[name] if name in reach[n]) for name in graph}
    return [set(room) for room in rooms if len(room) > 1]


def test_no_circle_of_files() -> None:
    """No file imports one that imports it, by whatever way. Annotations have one circle, and are
    to get no more.
    """
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]
    assert circles(edges(False)) == []
    rooms = sorted(
        sorted({n.rpartition(".")[0] for n in circle}) for circle in circles(edges(True))
    )
    assert rooms == [["threads"]]


def test_every_layer_is_there() -> None:
    """The list above names what there is."""
    found = {
        f"memory.{p.stem}" if "memory" in p.parts else p.stem
        for p in (*SOURCE.iterdir(), *(SOURCE / "memory").iterdir())
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert found - {"__init__", "memory.__init__", "py", "memory.memory"} == set(RANK)


def test_time_and_chance_come_through_the_machine() -> None:
    """Rule 6: nobody but the clock asks the host for time, and nobody but the scheduler draws
    numbers.
    """
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {a.name for a in node.names}
                assert "time" not in names or path.name == "clock.py", path
                assert "random" not in names or path.name == "scheduler.py", path
