"""Kernels: one source, two lives.

A kernel is a plain function over flat integer arrays (`Ints`), marked with `@kernel` where it is
defined, callees first. Called as they are, they run in the interpreter, on memoryviews: pdb and
coverage see them, and a start that needs few of them does not pay for a compiler.
`compile_kernels(module, ...)` gives the same functions compiled by Numba, which run without the GIL
over arrays: for batches, and for several host threads.

    @kernel     is compiled, and callers in modules compiled together call it
    @supplied   as well, unless one of the other modules has a kernel of that name, which is called
                instead: a seam, such as what a replacement policy does, that says what it takes and
                what it returns

    lock, unlock   a spin lock in one word: compare-and-swap with acquire, store with release; a
                   thread that spins long yields its processor. In the interpreter they only set
                   the word: one thread at a time runs there.
    compare_swap   changes a word from one value to another in one step, unless somebody else has
                   changed it

Compiled code is cached on disk under a name made from the source of all the modules compiled
together and from the value of every constant that they use, wherever that is defined
(`octavo.machine.abi` has those that others share): neither a changed callee nor a changed constant
leaves a stale caller. A name that is neither a number nor a kernel of these modules is refused.

Numba is an extra of the package. Where it is not installed, `compile_kernels` gives the interpreted
functions, on memoryviews of the arrays: they do the same, much slower. What would take
them longer than some ten seconds asks for the compiler in a sentence, by `need_compiler`.

With NUMBA_DISABLE_JIT=1 `compile_kernels` gives the interpreted functions, and a negative index,
which wraps around in Python and lies outside of the array when compiled, is an AssertionError
there.

What the compiler is told beyond the source, since Numba would not know it: kernels allocate nothing
(no reference counting of their arrays), their indexes are never negative (no wrapping around as in
Python), and they are small (inlined). Taking or freeing a slab object costs 37 ns without any of
this, 3 ns without reference counting, 0.4 ns with all three.

Source: rule 4 of docs/principles.md. Numba has no atomics; these are LLVM's, see
`octavo.machine.atomics`.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any, Protocol, TypeVar

from octavo.printing import counted
from octavo.status import Status, StatusError

MOST_INTERPRETED = 1 << 21  # references in one call: 2 to 12 s, at 0.8 to 5.5 us each


class Ints(Protocol):
    """A flat, writable sequence of integers: a memoryview in the interpreter, an array when
    compiled.
    """

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


F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Marks a function as a kernel of its module, behind those that it calls."""
    _names(function, "KERNELS").append(function.__name__)
    return function


def supplied(function: F) -> F:
    """Marks a kernel whose place another module's may take: see above."""
    _names(function, "SUPPLIED").append(function.__name__)
    return kernel(function)


def _names(function: Callable[..., Any], which: str) -> list[str]:
    names: list[str] = vars(sys.modules[function.__module__]).setdefault(which, [])
    assert function.__name__ not in names, f"{function.__name__} is defined twice"
    return names


_compiled: dict[
    tuple[ModuleType, ...], SimpleNamespace
] = {}  # looking a set up on disk takes 10 ms
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "forceinline": True,
    "_nrt": False,
}
_OURS = ("lock", "unlock", "compare_swap")
_PYTHONS = ("range", "len", "min", "max", "abs")


def _suppliers(modules: tuple[ModuleType, ...]) -> dict[str, ModuleType]:
    """Each kernel's name, and the module whose kernel it is; AssertionError when two have one of
    that name.
    """
    out: dict[str, ModuleType] = {}
    for module in modules:
        for name in module.KERNELS:
            before = out.get(name)
            seam = before is not None and name in vars(before).get("SUPPLIED", ())
            assert before is None or seam, f"two kernels are called {name}"
            out[name] = module
    return out


def _constants(modules: tuple[ModuleType, ...]) -> list[tuple[str, str, object]]:
    """(module, name, value) of every number that the kernels use; AssertionError for a name that is
    nothing of theirs.
    """
    suppliers = _suppliers(modules)
    out = set()
    for module in modules:
        for function in module.KERNELS:
            for name in getattr(module, function).__code__.co_names:
                value = vars(module).get(name)
                if type(value) is int:
                    out.add((module.__name__, name, value))
                    continue
                ours = name in suppliers and (name in vars(suppliers[name]))
                what = f"{module.__name__}.{function} uses {name}"
                assert ours or name in _OURS + _PYTHONS, (
                    f"{what}, no number and no kernel of these modules"
                )
                assert not ours or _is_kernel(modules, value), (
                    f"{what}, which is another {name} than is compiled"
                )
    return sorted(out)


def _is_kernel(modules: tuple[ModuleType, ...], value: object) -> bool:
    """True for a kernel of one of the modules, and for a seam of one."""
    return any(value is getattr(m, name) for m in modules for name in m.KERNELS)


def interpreted(*modules: ModuleType) -> SimpleNamespace:
    """The kernels of the modules as Python functions, each calling what is compiled together with
    it.
    """
    names: dict[str, Any] = {}
    suppliers = _suppliers(modules)
    for module in modules:
        space = vars(module)
        for name in module.KERNELS:
            if suppliers[name] is module:
                names[name] = FunctionType(getattr(module, name).__code__, dict(space), name)
    for function in names.values():
        function.__globals__.update(names)
    return SimpleNamespace(**names, compiled=False)


class _Checked:
    """A memoryview that refuses negative indexes."""

    def __init__(self, array: Any) -> None:
        self.view = memoryview(array.data)

    def __getitem__(self, index: int) -> int:
        assert index >= 0, f"a kernel reads element {index}"
        return int(self.view[index])

    def __setitem__(self, index: int, value: int) -> None:
        assert index >= 0, f"a kernel writes element {index}"
        self.view[index] = value

    def __len__(self) -> int:
        return len(self.view)


def _on_arrays(modules: tuple[ModuleType, ...], view: Callable[[Any], Any]) -> SimpleNamespace:
    """The interpreted kernels; called with arrays, they work on views of them: their elements are
    Python's integers, which do not overflow.
    """

    def on(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            return function(
                *(view(a) if hasattr(a, "__array_interface__") else a for a in arguments)
            )

        return call

    kernels = vars(interpreted(*modules))
    return SimpleNamespace(**{name: on(f) if callable(f) else f for name, f in kernels.items()})


@functools.cache
def has_compiler() -> bool:
    """True when Numba can be imported, which takes 0.3 s at the first call."""
    try:
        import_module("numba")
    except ImportError:  # it is not installed, or not for this Python or NumPy
        return False
    return True


def need_compiler(references: int, what: str) -> None:
    """Looks whether so many references may be left to the interpreter where there is no compiler.

    StatusError NOT_SUPPORTED, which says how it can be had.
    """
    if references > MOST_INTERPRETED and not has_compiler():
        raise StatusError(
            Status.NOT_SUPPORTED,
            f"{what} of {counted(references, 'reference')} needs compiled kernels: "
            "pip install 'octavo[kernels]'",
        )


def compile_kernels(*modules: ModuleType) -> SimpleNamespace:
    """The kernels of the modules, lowest first, compiled together at the first call, or interpreted
    where there is no compiler. `compiled` says whether they are.
    """
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return _on_arrays(modules, _Checked)
    if modules not in _compiled:
        _compiled[modules] = (
            _compile(modules)
            if has_compiler()
            else _on_arrays(modules, lambda array: memoryview(array.data))
        )
    return _compiled[modules]


def digest(*modules: ModuleType) -> str:
    """What the compiled kernels of these modules depend on, in short: their sources, the constants
    that they use, the compiler's options.
    """
    import hashlib
    import inspect

    from octavo.machine import atomics

    parts = [inspect.getsource(m) for m in (*modules, atomics, sys.modules[__name__])]
    parts.append(repr(_constants(modules)))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:12]


def _compile(modules: tuple[ModuleType, ...]) -> SimpleNamespace:
    import inspect

    from octavo.machine import atomics

    numba: Any = import_module("numba")
    mark = digest(*modules)
    done: dict[str, Any] = {**atomics.build(), "_index": numba.types.uintp}
    suppliers = _suppliers(modules)
    for module in modules:
        space = {**vars(module), **done}
        exec(_code(module, inspect.getsource(module)), space)
        for name in module.KERNELS:
            if suppliers[name] is not module:
                continue
            function = space[name]
            function.__qualname__ = f"{name}_{mark}"
            try:
                done[name] = numba.njit(function, cache=True, **_OPTIONS)
            except RuntimeError:  # there is no directory in which it could cache
                done[name] = numba.njit(function, **_OPTIONS)
            space[name] = done[name]
    return SimpleNamespace(**{name: done[name] for name in suppliers}, compiled=True)


def _code(module: ModuleType, source: str) -> CodeType:
    """The functions of a module's KERNELS, with unsigned indexes and without annotations."""
    import ast

    class Unsigned(ast.NodeTransformer):
        """a[i] becomes a[_index(i)]."""

        def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
            self.generic_visit(node)
            node.slice = ast.Call(ast.Name("_index", ast.Load()), [node.slice], [])
            return node

    body = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name in module.KERNELS
    ]
    for function in body:
        function.returns = None
        function.decorator_list = []
        for argument in function.args.args:
            argument.annotation = None
        Unsigned().visit(function)
    tree = ast.fix_missing_locations(ast.Module(list[ast.stmt](body), []))
    return compile(tree, module.__file__ or module.__name__, "exec")
