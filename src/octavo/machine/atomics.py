"""Atomic operations for compiled kernels: `lock`, `unlock` and `compare_swap` of a word of an
array.

Numba has none; these are LLVM's cmpxchg and atomic store, through its extension interface. Only
`octavo.machine.kernels` uses this module, and only when kernels are compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

SPINS_BEFORE_YIELD = 200
_INLINE = {"nogil": True, "forceinline": True, "_nrt": False}


def build() -> dict[str, Any]:
    """The three functions, compiled when they are first called."""
    numba: Any = import_module("numba")
    types: Any = numba.types
    extending: Any = import_module("numba.extending")
    pointer = _pointers(import_module("numba.core.cgutils"))
    swap = _swap(types, pointer, extending.intrinsic)
    put = _put(types, pointer, extending.intrinsic)
    locked = _locked(swap, types.ExternalFunction("sched_yield", types.int32()))

    def unlocked(words: Any, at: Any) -> None:
        put(words, at, 0)

    def swapped(words: Any, at: Any, old: Any, new: Any) -> Any:
        return swap(words, at, old, new) == old

    functions = {"lock": locked, "unlock": unlocked, "compare_swap": swapped}
    return {name: numba.njit(f, **_INLINE) for name, f in functions.items()}


def _locked(swap: Any, sched_yield: Any) -> Callable[..., None]:
    """What `lock` does: spins, and yields the processor now and then."""

    def locked(words: Any, at: Any) -> None:
        spins = 0
        while swap(words, at, 0, 1) != 0:
            spins += 1
            if spins == SPINS_BEFORE_YIELD:
                sched_yield()
                spins = 0

    return locked


def _pointers(cgutils: Any) -> Callable[..., Any]:
    """Code for the address of an array's word."""

    def pointer(context: Any, builder: Any, kind: Any, value: Any, index: Any) -> Any:
        array = context.make_array(kind)(context, builder, value)
        return cgutils.get_item_pointer(context, builder, kind, array, [index])

    return pointer


def _swap(types: Any, pointer: Callable[..., Any], intrinsic: Any) -> Any:
    """Compare-and-swap of a word, as a Numba intrinsic."""

    @intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
    def swap(typing: Any, words: Any, at: Any, old: Any, new: Any) -> Any:
        """Compare-and-swap; returns what was there."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = pointer(context, builder, signature.args[0], arguments[0], arguments[1])
            return builder.extract_value(
                builder.cmpxchg(place, arguments[2], arguments[3], "acq_rel", "acquire"), 0
            )

        return words.dtype(words, types.intp, words.dtype, words.dtype), code

    return swap


def _put(types: Any, pointer: Callable[..., Any], intrinsic: Any) -> Any:
    """Store with release of a word, as a Numba intrinsic."""

    @intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
    def put(typing: Any, words: Any, at: Any, value: Any) -> Any:
        """Store with release."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = pointer(context, builder, signature.args[0], arguments[0], arguments[1])
            builder.store_atomic(arguments[2], place, "release", 4)
            return context.get_dummy_value()

        return types.void(words, types.intp, types.int32), code

    return put
