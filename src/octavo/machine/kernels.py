"""Kernels: one source, two lives.

A kernel is a plain function over flat integer arrays (`Ints`). A module of them names its functions, callees first, in
KERNELS. Called as they are, they run in the interpreter, on memoryviews: pdb and coverage see them, and a start that needs
few of them does not pay for a compiler. `compile_kernels(module, ...)` gives the same functions compiled by Numba, which run
without the GIL over arrays: for batches, and for several host threads.

    lock, unlock   a spin lock in one word: compare-and-swap with acquire, store with release; a thread that spins long
                   yields its processor. In the interpreter they only set the word: one thread at a time runs there.
    fetch_add      adds to a word and returns what it was, in one step

Compiled code is cached on disk under a name made from the source of all the modules compiled together, so a changed callee
never leaves a stale caller. With NUMBA_DISABLE_JIT=1 `compile_kernels` gives the interpreted functions.

Kernels allocate nothing, and are compiled without reference counting: counting the arrays in every inner call took 36 of the
37 ns of a slab allocation.

Source: design rule 4. Numba has no atomics; these are LLVM's, see `octavo.machine.atomics`.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import FunctionType, ModuleType, SimpleNamespace
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


def fetch_add(words: Ints, at: int, amount: int) -> int:
    """Adds to a word; returns what it was."""
    was = words[at]
    words[at] = was + amount
    return was


def compile_kernels(*modules: ModuleType) -> SimpleNamespace:
    """The kernels of the modules, lowest first, compiled together. `compiled` says whether they are."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return SimpleNamespace(**{name: getattr(module, name) for module in modules for name in module.KERNELS}, compiled=False)
    import hashlib
    import inspect

    from octavo.machine import atomics

    numba: Any = import_module("numba")  # 0.3 s, which most starts do not need to spend
    source = "".join(inspect.getsource(module) for module in modules) + inspect.getsource(atomics)
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    done: dict[str, Any] = atomics.build()
    out = {}
    for module in modules:
        space = {**vars(module), **done}
        for name in module.KERNELS:
            original = getattr(module, name)
            clone = FunctionType(original.__code__, space, name, original.__defaults__)
            clone.__qualname__ = f"{name}_{digest}"
            clone.__module__ = module.__name__
            out[name] = done[name] = space[name] = numba.njit(clone, nogil=True, cache=True, error_model="numpy", _nrt=False)
    return SimpleNamespace(**out, compiled=True)
