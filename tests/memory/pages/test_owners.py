"""Who writes the books of pages: each word in one class, found by reading the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.places import SOURCE

ROOMS = ["memory", "cache", "fs"]
RESIDENCY, SEGMENT = "memory/pages/residency.py", "memory/pages/section.py"
OWNERS = {  # what is assigned, and the files that may: kernels are named in the bookkeeper's page
    "used": {RESIDENCY},
    "mapped": {RESIDENCY},
    "shares": {RESIDENCY},
    "holds": {RESIDENCY},
    "pins": {SEGMENT},
    "link[]": {RESIDENCY},
    "links[]": {"memory/spaces/faultkernels.py"},
    "by_base[]": {"memory/pages/segmenttable.py"},
    "in_flight": {"memory/pages/writeback.py"},
    "failure": {"memory/pages/transfers.py"},
}
OF_SEGMENTS = {"dirty", "locked", "writing"}  # masks: others have attributes of these names


def assigned(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The name of what is assigned or changed, and of what it is an attribute or an element."""
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            for target in node.targets:
                targets += target.elts if isinstance(target, ast.Tuple) else [target]
        elif isinstance(node, ast.AugAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Attribute):
                yield target.attr, ast.unparse(target.value)
            elif isinstance(target, ast.Subscript):
                yield ast.unparse(target.value).rpartition(".")[2] + "[]", ""


def test_each_word_has_one_writer() -> None:
    """Nobody but the bookkeeper changes counts, masks and prototype PTEs; each of them is changed
    by somebody.
    """
    writers: dict[str, set[str]] = {name: set() for name in OWNERS}
    masks: dict[str, set[str]] = {name: set() for name in OF_SEGMENTS}
    for room in ROOMS:
        for path in sorted((SOURCE / room).rglob("*.py")):
            where = str(path.relative_to(SOURCE))
            for name, of in assigned(ast.parse(path.read_text())):
                if name in writers:
                    writers[name].add(where)
                elif name in masks and of == "segment":
                    masks[name].add(where)
    assert writers == OWNERS
    assert masks == {name: {RESIDENCY} for name in OF_SEGMENTS}
