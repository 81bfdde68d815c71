"""Kernels: one source, two lives.

A kernel is a plain function over flat integer arrays (`Ints`). A module of them names its functions, callees first, in
KERNELS. Called as they are, they run in the interpreter, on memoryviews: pdb and coverage see them, and a start that needs
few of them does not pay for a compiler. `compile_kernels(module, ...)` gives the same functions compiled by Numba, which run
without the GIL over arrays: for batches, and for several host threads.

    lock, unlock   a spin lock in one word: compare-and-swap with acquire, store with release; a thread that spins long
                   yields its processor. In the interpreter they only set the word: one thread at a time runs there.
    compare_swap   changes a word from one value to another in one step, unless somebody else has changed it

Compiled code is cached on disk under a name made from the source of all the modules compiled together, so a changed callee
never leaves a stale caller. With NUMBA_DISABLE_JIT=1 `compile_kernels` gives the interpreted functions.

What the compiler is told beyond the source, since Numba would not know it: kernels allocate nothing (no reference counting of
their arrays), their indexes are never negative (no wrapping around as in Python), and they are small (inlined). Taking or
freeing a slab object costs 37 ns without any of this, 3 ns without reference counting, 0.4 ns with all three.

Source: rule 4 of docs/principles.md. Numba has no atomics; these are LLVM's, see `octavo.machine.atomics`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any, Protocol


class Ints(Protocol):
    """A flat, writable sequence of integers: a memoryview in the interpreter, an array when compiled."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...

    def __len__(self) -> int: ...


def lock(words: Ints, at: int) -> None:
    """Takes the lock in a word."""
    assert not words[at], "the lock is taken, and nobody else runs who could release it"
    words[at] = 1


def unlock(words: Ints, at: int) -> None:
    """Releases it."""
    assert words[at], "the lock is not taken"
    words[at] = 0


def compare_swap(words: Ints, at: int, old: int, new: int) -> bool:
    """Makes a word `new` if it is `old`; False, and nothing done, when it is not."""
    if words[at] != old:
        return False
    words[at] = new
    return True


_compiled: dict[tuple[ModuleType, ...], SimpleNamespace] = {}  # looking a set up on disk takes 10 ms
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "forceinline": True, "_nrt": False}


def interpreted(*modules: ModuleType) -> SimpleNamespace:
    """The kernels of the modules as Python functions, each calling those that came before it, the later of two of one name."""
    names: dict[str, Any] = {}
    for module in modules:
        space = {**vars(module), **names}
        for name in module.KERNELS:
            names[name] = space[name] = FunctionType(getattr(module, name).__code__, space, name)
    return SimpleNamespace(**names, compiled=False)


def _on_memoryviews(function: Callable[..., Any]) -> Callable[..., Any]:
    """Called with arrays, works on memoryviews of them: their elements are Python's integers, which do not overflow."""

    def call(*arguments: Any) -> Any:
        return function(*(memoryview(a.data) if hasattr(a, "__array_interface__") else a for a in arguments))

    return call


def compile_kernels(*modules: ModuleType) -> SimpleNamespace:
    """The kernels of the modules, lowest first, compiled together at the first call. `compiled` says whether they are."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        kernels = interpreted(*modules)
        return SimpleNamespace(**{name: _on_memoryviews(f) if callable(f) else f for name, f in vars(kernels).items()})
    if modules not in _compiled:
        _compiled[modules] = _compile(modules)
    return _compiled[modules]


def _compile(modules: tuple[ModuleType, ...]) -> SimpleNamespace:
    import hashlib
    import inspect

    from octavo.machine import atomics

    numba: Any = import_module("numba")  # 0.3 s, which most starts do not need to spend
    sources = [inspect.getsource(module) for module in modules]
    own = inspect.getsource(atomics) + inspect.getsource(sys.modules[__name__])
    digest = hashlib.sha256("".join([*sources, own]).encode()).hexdigest()[:12]
    done: dict[str, Any] = {**atomics.build(), "_index": numba.types.uintp}
    for module, source in zip(modules, sources, strict=True):
        space = {**vars(module), **done}
        exec(_code(module, source), space)
        for name in module.KERNELS:
            function = space[name]
            function.__qualname__ = f"{name}_{digest}"
            try:
                done[name] = numba.njit(function, cache=True, **_OPTIONS)
            except RuntimeError:  # there is no directory in which it could cache
                done[name] = numba.njit(function, **_OPTIONS)
            space[name] = done[name]
    return SimpleNamespace(**{name: done[name] for module in modules for name in module.KERNELS}, compiled=True)


def _code(module: ModuleType, source: str) -> CodeType:
    """The functions of a module's KERNELS, with unsigned indexes and without annotations."""
    import ast

    class Unsigned(ast.NodeTransformer):
        """a[i] becomes a[_index(i)]."""

        def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
            self.generic_visit(node)
            node.slice = ast.Call(ast.Name("_index", ast.Load()), [node.slice], [])
            return node

    body = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name in module.KERNELS]
    for function in body:
        function.returns = None
        for argument in function.args.args:
            argument.annotation = None
        Unsigned().visit(function)
    tree = ast.fix_missing_locations(ast.Module(list[ast.stmt](body), []))
    return compile(tree, module.__file__ or module.__name__, "exec")
