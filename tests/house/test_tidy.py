"""The rules that can be measured: sizes of files and functions, imports that go down the layers
only, public docstrings.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import mutants
from tests.places import SOURCE, TESTS
from tests.places import test_file as file_of_tests

FILES = sorted(SOURCE.rglob("*.py"))
MOST_COLUMNS = 100
MOST_LINES = 450
LONG_FILES = {  # one topic each, which is not to be parted for a number
    "files.py": "Volume and File are one another's",
    "fs/fat/check.py": "one pass over directories",
    "memory/pages/residency.py": "all ways of a page in and out, and their check",
    "memory/spaces/addressspace.py": "NT's calls on one address space",
    "memory/spaces/sectionobjects.py": "NT's calls on sections",
    "threads/scheduler.py": "one loop, and what it runs",
}
MOST_LONG_LINES = 530
# Lines of a function, its docstring not counted: at most so many, and nine in ten at most FITS.
MOST_FUNCTION_LINES = 47
FITS = 19
MOST_LONG_SHARE = 0.065  # where nine in ten would be 0.1
THEIRS = {"_asdict", "_exit", "_getframe", "_replace"}  # names that the standard library gives out
MOST_LONG_TEST_LINES = 700
LONG_TESTS = {
    "fills.py": "one machine that fills volumes, and its model",
    "fs/fat/test_fat_machine.py": "one machine of all operations on volumes, and its model",
    "fs/fat/test_repair.py": "one repair for each kind of damage",
    "heap/test_pool.py": "one model of pools, and each mistake by its name",
    "heap/test_slab.py": "one model of slab caches, and each mistake by its name",
    "heap/test_stacks.py": "system PTEs, and the stacks that are made of them",
    "house/test_sweep.py": "one table of all that can be called",
    "memory/pagers/test_pagefile.py": "page files and what they are for: memory that is too small",
    "memory/pagers/test_pagers.py": "each message of one protocol, and each way to break it",
    "memory/pages/test_residency.py": "one bookkeeper, and each way in and out of it",
    "memory/reclaim/test_policies.py": "a plain model of each policy",
    "memory/reclaim/test_working_sets.py": "live memory, with one fixture",
    "memory/spaces/test_addressspace.py": "NT's cases, in the order of their numbers",
    "memory/spaces/test_hostile.py": "one table of all that can be called",
    "memory/spaces/test_promise.py": "one model of promised pages",
    "memory/spaces/test_sections.py": "NT's cases, in the order of their numbers",
    "memory/spaces/test_view_machine.py": "one machine of many operations, and its model",
    "memory/spaces/test_waits.py": "one check a test: what changes while a call waits",
}

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
    ["transfer", "drives", "system"],
    ["shell", "adapters"],
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
    for name, length in function_lengths(tree):
        assert length <= MOST_FUNCTION_LINES, f"{name} has {length} lines"
    check_docstrings(tree.body, str(relative))
    if len(relative.parts) == 1 and relative.stem == "__init__":
        return
    module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    above = [n for n in imports(tree) if module not in ("memory", n) and rank(n) > rank(module)]
    assert not above, f"imports {above}, which are above it"


def function_lengths(tree: ast.AST) -> list[tuple[str, int]]:
    """(name, lines) of each function, nested ones too; its docstring is not counted, those of
    functions in it are.
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                length -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            found.append((node.name, length))
    return found


def test_functions_fit() -> None:
    """Nine functions in ten fit, and as many more as do today."""
    lengths = [
        length for path in FILES for _, length in function_lengths(ast.parse(path.read_text()))
    ]
    long = sum(length > FITS for length in lengths)
    assert long <= len(lengths) * MOST_LONG_SHARE, f"{long} of {len(lengths)} are too long"
    text = 'async def f(\n    a,\n):\n    """One\n    two."""\n    def g():\n        return a\n'
    assert function_lengths(ast.parse(text)) == [("f", 5), ("g", 2)]


@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("*.py")), ids=lambda p: str(p.relative_to(TESTS))
)
def test_file_of_tests(path: Path) -> None:
    """One file of tests or their helpers: its docstring, its length, its columns."""
    text, name = path.read_text(), str(path.relative_to(TESTS))
    assert path.name == "__init__.py" or ast.get_docstring(ast.parse(text)), "no module docstring"
    most = MOST_LONG_TEST_LINES if name in LONG_TESTS else MOST_LINES
    lines = text.splitlines()
    assert len(lines) <= most
    wide = [line for line in lines if len(line) > MOST_COLUMNS]
    assert not [line for line in wide if "  # type: ignore" not in line and "  # noqa" not in line]


def test_faults_are_tried_on_tests_that_are_there() -> None:
    """Each part of the code has tests for its faults, by names of files; those that are chosen have
    a place.
    """
    assert mutants.named()
    for part, names in mutants.LAYERS:
        assert all(file_of_tests(f"test_{name}.py") for name in names.split()), part


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


def packages_of(name: str) -> set[str]:
    """The packages that a file is in, which are there before it is imported."""
    parts = name.split(".")
    return {".".join([*parts[:at], "__init__"]) for at in range(len(parts))}


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
        named |= {f"{n}.__init__" for n in (*named, *(n.rpartition(".")[0] for n in named))}
        found[name] = {n for n in named if n in files} - {name} - packages_of(name)
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
    """No file imports one that imports it, by whatever way, not even for annotations."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]
    assert circles(edges(True)) == []


def strangers(tree: ast.AST) -> set[str]:
    """Names with an underscore that a file takes from objects of other files: it defines no
    attribute, method, function or slot of that name.
    """
    used, own = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr[0] == "_" and node.attr[:2] != "__":
            mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            (own if mine else used).add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            own.add(node.value)
        elif isinstance(node, ast.ImportFrom):
            used |= {a.name for a in node.names if a.name[0] == "_" and a.name[:2] != "__"}
    return used - own - THEIRS


def test_no_back_door() -> None:
    """No file uses what another one keeps to itself."""
    assert strangers(ast.parse("import a\na._b()\nfrom c import _d")) == {"_b", "_d"}
    assert not strangers(ast.parse("class A:\n def f(self, o): return self._b + o._b"))
    for path in FILES:
        assert not strangers(ast.parse(path.read_text())), path.relative_to(SOURCE)


def test_every_layer_is_there() -> None:
    """The list above names what there is."""
    found = {
        f"memory.{p.stem}" if "memory" in p.parts else p.stem
        for p in (*SOURCE.iterdir(), *(SOURCE / "memory").iterdir())
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert found - {"__init__", "memory.__init__", "py", "memory.memory"} == set(RANK)


ASKS = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")


def hosts_time_or_chance(tree: ast.AST) -> set[str]:
    """What in some code asks the host for the time, or draws numbers."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names} & {"time", "random"}
        elif isinstance(node, ast.ImportFrom) and node.module in ("time", "random"):
            found |= {node.module for a in node.names if a.name != "struct_time"}
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ASKS:
            found.add("time")
    return found


def test_time_and_chance_come_through_the_machine() -> None:
    """Rule 6: nobody but the clock asks the host for time, and nobody but the scheduler draws
    numbers.
    """
    for line in ("import time", "from time import sleep", "datetime.now()", "date.today()"):
        assert hosts_time_or_chance(ast.parse(line)) == {"time"}
    assert hosts_time_or_chance(ast.parse("from random import Random")) == {"random"}
    given = {name: {"random"} for name in ("crash.py", "preemption.py")}  # a generator, by its type
    allowed = {"clock.py": {"time"}, "scheduler.py": {"random"}} | given
    for path in FILES:
        found = hosts_time_or_chance(ast.parse(path.read_text()))
        assert found <= allowed.get(path.name, set()), path
