"""Do the tests notice? One-place faults, drawn by a seed over all of the code, each run against the
tests that reach it.

    make mutants
    python -m tests.mutants [--count 200] [--seed 1] [--jobs 2] [--layer fs] [--list]

A fault is one edit: a call left out, two statements swapped, a condition inverted, a comparison or
a number off by one, an error lost. It is *killed* when a test that reaches its line (of its layer,
where that is compiled) fails or hangs; what survives is printed with its place, to be looked at:
either a test is missing, or the edit changes nothing that anybody can see (EQUIVALENT says which
and why). NAMED are faults that once survived: they are tried first, whatever is drawn.

Not touched: assertions and `check` methods (they are the tests' own), statistics, texts, type
checking, __repr__. Considered: mutmut and cosmic-ray; neither leaves out calls, swaps statements,
loses errors, or draws by a seed over layers.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from tests.mutants_named import EQUIVALENT, NAMED
from tests.mutants_reach import Reach, environment, measure
from tests.places import ROOT, test_file

# a fault is taken to make the tests hang when they take so many times as long as without it, and
# SECONDS more
PATIENCE = 4
SECONDS = 60
MOST = 120  # seconds of tests that reach a fault, the quickest first, before it is said to survive
UNTOUCHED = {"check", "statistics", "__repr__", "__str__", "explain", "log"}

# (part of the path below src/octavo, its tests, for what runs compiled or in another process); the
# first that fits counts
LAYERS: list[tuple[str, str]] = [
    ("boot/", "layout loader handoff map rawmaps machine"),
    ("machine/mmu", "mmu spaces addressspace"),
    ("machine/pagetables", "pagetables handoff mmu"),
    ("machine/firmware", "map machine"),
    ("machine/raw", "rawmaps map"),
    ("machine/kernels", "kernels without_numba policies allocators"),
    ("machine/", "machine map mmu allocators threads"),
    ("threads/", "threads devices pagers"),
    ("memory/reclaim/policies/", "policies working_sets"),
    ("memory/reclaim/", "working_sets pagefile paged_spaces promise memory"),
    (
        "memory/spaces/",
        "addressspace sections pagefile working_sets spaces views pagers paged_spaces "
        "fault_steps waits view_machine vm_command",
    ),
    ("memory/pagers/external/", "pagers far_pager paged_spaces view_machine"),
    ("memory/pagers/region", "devices fat_order views damaged fat_machine"),
    ("memory/pagers/", "pagefile pagers devices"),
    ("memory/frames/buddy", "buddy allocators"),
    ("memory/frames/pagepools", "allocators"),
    ("memory/frames/cpupages", "allocators"),
    ("memory/pages/", "residency writeerrors memory kth limits devices view_machine"),
    ("memory/reclaim/donors", "donors memory"),
    ("memory/reclaim/pageout", "donors memory working_sets limits"),
    ("memory/", "memory limits views addressspace fat_order devices view_machine"),
    ("heap/slab", "slab kth hostile_heap"),
    ("heap/pool", "pool kth hostile_heap"),
    ("heap/specialpool", "pool kth hostile_heap"),
    ("heap/stacks", "stacks kth hostile_heap"),
    ("heap/systemptes", "stacks kth hostile_heap"),
    ("heap/", "stacks pool kth slab"),
    ("cache/readahead", "readahead memory"),
    ("cache/writers", "cache_writers memory limits"),
    ("cache/pins", "pins cache_machine"),
    ("cache/", "cache_machine at_once frame_lists unbuffered sizes memory limits fat_order"),
    ("adapters/", "fsspec_calls fsspec_ends fsspec_sharing fsspec_clients fsspec_abstract"),
    ("storage/filedisk", "filedisk fsspec_clients"),
    ("storage/", "devices fat_order views damaged cli machine"),
    ("testing/", "devices crash fat_order"),
    ("fs/wildcards", "wildcards"),
    ("fs/fat/resize", "resize"),
    ("fs/fat/shadow", "resize"),
    ("fs/fat/sizes", "resize"),
    ("fs/fat/search", "fat_search room"),
    ("fs/fat/labels", "fat_labels"),
    ("fs/verify", "media"),
    ("fs/vfs/store", "volumes media"),
    ("fs/vfs/whole", "volumes media nameless room"),
    ("fs/vfs/watch", "room"),
    ("drives", "volumes media resize"),
    (
        "fs/",
        "fat_format fat_table fat_order fat_faults fat_geometry fat_slots fat_names repair damaged "
        "devices fat_machine fills crash",
    ),
    ("shell/raster", "memory_views"),
    ("shell/line", "lines"),
    ("shell/redirect", "redirect"),
    ("shell/document", "edlin"),
    ("shell/edlin", "edlin"),
    ("shell/compare", "looking"),
    ("shell/looking", "looking"),
    ("shell/branches", "looking"),
    ("shell/changing", "changing"),
    ("shell/", "shell any_lines looking changing redirect memory_views vm_command"),
    ("cli/", "cli map copy_trees copy_whole"),
    ("", "cli copy_trees copy_whole shell devices fat_format limits"),
]


@dataclass(frozen=True)
class Mutant:
    """One edit of one file: the text [start, end) becomes `new`."""

    path: str  # below src/octavo
    line: int
    kind: str
    start: int
    end: int
    new: str

    def apply(self, text: str) -> str:
        """The edited file."""
        return text[: self.start] + self.new + text[self.end :]

    @property
    def name(self) -> str:
        """What stands in the list."""
        return f"{self.path}:{self.line} {self.kind}"


class _Finder(ast.NodeVisitor):
    """All edits that can be made in one file."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.offsets = [0]
        for line in text.splitlines(keepends=True):
            self.offsets.append(self.offsets[-1] + len(line.encode()))
        self.bytes = text.encode()
        self.found: list[Mutant] = []
        self.functions: list[str] = []

    def span(self, node: ast.AST) -> tuple[int, int]:
        """The node's place in the text, in characters."""
        first, last = node.lineno, node.end_lineno  # type: ignore[attr-defined]
        start = self.offsets[first - 1] + node.col_offset  # type: ignore[attr-defined]
        end = self.offsets[last - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return len(self.bytes[:start].decode()), len(self.bytes[:end].decode())

    def add(self, node: ast.AST, kind: str, new: str) -> None:
        """Notes an edit, inside functions only."""
        if self.functions and not UNTOUCHED & set(self.functions):
            start, end = self.span(node)
            self.found.append(Mutant(self.path, node.lineno, kind, start, end, new))  # type: ignore[attr-defined]

    def source(self, node: ast.AST) -> str:
        """The node's text."""
        start, end = self.span(node)
        return self.text[start:end]

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Bodies, without defaults and annotations."""
        self.functions.append(node.name)
        self.body(node.body)
        self.functions.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def body(self, statements: list[ast.stmt]) -> None:
        """Statements in a row: what can be swapped, and each."""
        for one, two in zip(statements, statements[1:], strict=False):
            if not _text(one) and self.related(one, two) and one.end_lineno < two.lineno:  # type: ignore[operator]
                start, end = self.span(one)[0], self.span(two)[1]
                between = self.text[self.span(one)[1] : self.span(two)[0]]
                if self.functions and not UNTOUCHED & set(self.functions):
                    new = self.source(two) + between + self.source(one)
                    self.found.append(Mutant(self.path, one.lineno, "swap", start, end, new))
        for statement in statements:
            self.visit(statement)

    def related(self, one: ast.stmt, two: ast.stmt) -> bool:
        """Whether the order of two simple statements may matter: both call, or one uses what the
        other sets.
        """
        if not all(isinstance(s, ast.Expr | ast.Assign | ast.AugAssign) for s in (one, two)):
            return False
        if isinstance(one, ast.Expr) and isinstance(two, ast.Expr):
            return True
        set_by = [
            {
                self.source(t)
                for t in getattr(s, "targets", [getattr(s, "target", None)])
                if t is not None
            }
            for s in (one, two)
        ]
        return any(name in self.source(two) for name in set_by[0]) or any(
            name in self.source(one) for name in set_by[1]
        )

    def generic_visit(self, node: ast.AST) -> None:
        """Blocks by `body`, the rest as usual."""
        for _, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self.body(value)
            else:
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self.visit(child)

    def visit_Assert(self, node: ast.Assert) -> None:
        """Left alone."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Left alone."""

    def visit_Expr(self, node: ast.Expr) -> None:
        """A call left out."""
        if _text(node):
            return
        inner = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(inner, ast.Call):
            self.add(node, "drop", "pass")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        """A condition inverted."""
        if "TYPE_CHECKING" not in self.source(node.test):
            self.add(node.test, "invert", f"not ({self.source(node.test)})")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        """An error lost."""
        self.add(node, "lose", "pass")

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """A count not counted."""
        self.add(node, "drop", "pass")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Off by one."""
        swaps: dict[type[ast.cmpop], str] = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
        if len(node.ops) == 1 and type(node.ops[0]) in swaps:
            left, right = self.source(node.left), self.source(node.comparators[0])
            self.add(node, "bound", f"{left} {swaps[type(node.ops[0])]} {right}")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Off by one."""
        if type(node.value) is int and node.value < 1 << 20:
            self.add(node, "number", str(node.value + 1))


def _text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def layer_of(path: str) -> tuple[str, list[str]]:
    """The layer of a file and the test files that are run for it."""
    for part, tests in LAYERS:
        if path.startswith(part):
            files = [test_file(f"test_{name}.py") for name in tests.split()]
            return part or "top", [str(file.relative_to(ROOT)) for file in files]
    raise AssertionError(path)


def all_mutants() -> Iterator[Mutant]:
    """Every edit that could be drawn."""
    base = ROOT / "src" / "octavo"
    for file in sorted(base.rglob("*.py")):
        text = file.read_text()
        finder = _Finder(str(file.relative_to(base)), text)
        finder.visit(ast.parse(text))
        yield from finder.found


def draw(count: int, seed: int, layer: str) -> list[Mutant]:
    """`count` edits, as many from each layer as it has of the code, no two in one line."""
    rng = random.Random(seed)
    candidates = [m for m in all_mutants() if layer in layer_of(m.path)[0]]
    rng.shuffle(candidates)
    seen: set[tuple[str, int]] = set()
    out: list[Mutant] = []
    for mutant in candidates:
        if (mutant.path, mutant.line) not in seen and len(out) < count:
            seen.add((mutant.path, mutant.line))
            out.append(mutant)
    return out


def named() -> list[Mutant]:
    """The faults of NAMED, as edits; an AssertionError when the code has changed under one, or
    under a line of EQUIVALENT.
    """
    out = []
    for path, old, new, what in NAMED:
        text = (ROOT / "src" / "octavo" / path).read_text()
        assert text.count(old) == 1, f"mutants_named: {path} has {text.count(old)} places {old!r}"
        start = text.index(old)
        out.append(
            Mutant(
                path, text.count("\n", 0, start) + 1, f"named: {what}", start, start + len(old), new
            )
        )
    for path, line in EQUIVALENT:
        lines = (ROOT / "src" / "octavo" / path).read_text().splitlines()
        assert line in map(str.strip, lines), f"mutants_named: {path} has no line {line!r}"
    return out


def run(mutant: Mutant, home: Path, reach: Reach) -> tuple[bool, str, float]:
    """(killed, by what, seconds) in a copy of the project at `home`, which is put back
    afterwards.
    """
    tests = reach.tests(mutant.path, mutant.line, MOST)
    if not tests or mutant.path.endswith("kernels.py"):
        tests = layer_of(mutant.path)[1]  # compiled, or reached in another process only
    usual = sum(
        reach.seconds[t] for t in reach.seconds if t in tests or t.partition("::")[0] in tests
    )
    file = home / "src" / "octavo" / mutant.path
    text = file.read_text()
    file.write_text(mutant.apply(text))
    try:
        return run_tests(home, tests, PATIENCE * usual + SECONDS)
    finally:
        file.write_text(text)


def run_tests(home: Path, tests: list[str], most: float) -> tuple[bool, str, float]:
    """(whether one failed, or all took more than `most` seconds; which; seconds)."""
    began = time.monotonic()
    temporary = home / "tmp"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={temporary}",
        *tests,
    ]
    try:
        done = subprocess.run(
            command,
            cwd=home,
            env=environment(home),
            capture_output=True,
            text=True,
            timeout=most,
            check=False,
        )
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        killed, by = (
            done.returncode != 0,
            failed[0].split(" - ")[0] if failed else f"exit {done.returncode}",
        )
        if not killed:
            by = f"{len(tests)} {'files' if tests[0].endswith('.py') else 'tests'}"
    except subprocess.TimeoutExpired:
        killed, by = True, "hangs"
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return killed, by, time.monotonic() - began


def main() -> int:
    """Prints a line for each fault and the sum; exit code 1 when fewer than 90 % of those that can
    be seen were killed.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="faults to draw (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--layer",
        default="",
        help="only layers whose name has this in it, such as fs/ or memory/spaces/",
    )
    parser.add_argument("--list", action="store_true", help="print the faults, and run none")
    arguments = parser.parse_args()
    chosen = [m for m in named() if arguments.layer in layer_of(m.path)[0]] + draw(
        arguments.count, arguments.seed, arguments.layer
    )
    print(f"{len(chosen)} faults, seed {arguments.seed}", flush=True)
    if arguments.list:
        for mutant in chosen:
            print(mutant.name)
        return 0
    free: Queue[Path] = Queue()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        for i in range(arguments.jobs):
            home = Path(folder) / str(i)
            shutil.copytree(
                ROOT,
                home,
                ignore=shutil.ignore_patterns(
                    ".git", ".venv", "__pycache__", ".hypothesis", ".*_cache"
                ),
            )
            free.put(home)
        reach = measure(list(free.queue))
        print(f"{len(reach.seconds)} tests, {sum(reach.seconds.values()):.0f} s", flush=True)

        def work(mutant: Mutant) -> tuple[Mutant, bool, str]:
            home = free.get()
            try:
                killed, by, seconds = run(mutant, home, reach)
                line = (
                    (home / "src/octavo" / mutant.path)
                    .read_text()
                    .splitlines()[mutant.line - 1]
                    .strip()
                )  # the project's may have changed
            finally:
                free.put(home)
            reason = "" if killed else EQUIVALENT.get((mutant.path, line), "")
            state = "killed" if killed else "same" if reason else "SURVIVED"
            print(f"{state:9} {mutant.name}  {reason or by}  {seconds:.0f} s", flush=True)
            return mutant, killed, reason

        results = list(pool.map(work, chosen))
    killed = sum(k for _, k, _ in results)
    same = sum(not k and bool(r) for _, k, r in results)
    share = killed / max(1, len(results) - same)
    print(
        f"{killed} of {len(results)} killed, {same} change nothing that can be seen: "
        f"{share:.1%} of the others; seed {arguments.seed}"
    )
    return int(share < 0.9)


if __name__ == "__main__":
    sys.exit(main())
