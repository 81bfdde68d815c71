"""Runs a benchmark of this tree on the code of an older one, by the names of today.

    PYTHONPATH=OLDER/src .venv/bin/python -m benchmarks.older MODULE [ARGUMENT ...]

Whatever older trees call otherwise is said here and nowhere else: benchmarks are written for this
tree. Who moves a module that they import adds a line to MOVED; who changes a call that they make
adapts it in `adapt`, as `plan_copy` is.
So far that is what `benchmarks.rows` needs.
"""

from __future__ import annotations

import inspect
import runpy
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

MOVED = {  # a module of this tree, and the modules of older ones that have what is in it
    "octavo.machine.abi": ("octavo.machine.ram", "octavo.memory.pfn"),
    "octavo.machine.mapsources": ("octavo.machine.firmware",),
    "octavo.heap.slab": ("octavo.memory.slab",),
    "octavo.heap.slabkernels": ("octavo.memory.slabkernels",),
    "octavo.memory.frames.buddy": ("octavo.memory.buddy",),
    "octavo.memory.frames.buddykernels": ("octavo.memory.buddykernels",),
    "octavo.memory.frames.cpupages": ("octavo.memory.cpupages",),
    "octavo.memory.frames.freeframes": ("octavo.memory.freeframes",),
    "octavo.memory.frames.pagepools": ("octavo.memory.pagepools",),
    "octavo.memory.frames.pfn": ("octavo.memory.pfn",),
    "octavo.memory.frames.physical": ("octavo.memory.physical",),
    "octavo.memory.pages.section": ("octavo.memory.section",),
    "octavo.memory.reclaim.policies": ("octavo.memory.policies",),
    "octavo.memory.reclaim.policies.lists": ("octavo.memory.policies.lists",),
    "octavo.memory.reclaim.policies.policy": ("octavo.memory.policies.policy",),
    "octavo.storage.device": ("octavo.io.device",),
    "octavo.storage.image": ("octavo.drivers.image",),
    "octavo.storage.rawfile": ("octavo.io.rawfile",),
    "octavo.testing.modelled": ("octavo.io.diskmodel",),
    "octavo.transfer.copy": ("octavo.transfer",),
    "octavo.transfer.host": ("octavo.transfer",),
    "octavo.transfer.plan": ("octavo.transfer",),
    "octavo.transfer.tree": ("octavo.transfer",),
    "octavo.transfer.volume": ("octavo.transfer",),
}


def adapt() -> None:
    """Gives modules and calls of an older tree the names and arguments of this one."""
    for name, places in MOVED.items():
        if there(name) is None:
            put(name, [module for module in map(there, places) if module])
    kernels, plan = map(import_module, ("octavo.machine.kernels", "octavo.transfer.plan"))
    vars(kernels).setdefault("kernel", listed)
    section = import_module("octavo.memory.pages.section")
    vars(section).setdefault("ORDINARY", None)  # traits were attributes of sections
    if "sources" not in inspect.signature(plan.plan_copy).parameters:
        vars(plan)["plan_copy"] = of_one_source(plan.plan_copy)
    if there("octavo.machine.frames") is None:
        take_buffers()


def put(name: str, parts: list[ModuleType]) -> None:
    """Makes modules one of another name, in packages that are made if need be.

    A single one is itself, since kernels are compiled from a module's source.
    """
    module = ModuleType(name)
    for part in parts:
        vars(module).update((key, value) for key, value in vars(part).items() if key[:2] != "__")
    sys.modules[name] = module = parts[0] if len(parts) == 1 else module
    above, _, last = name.rpartition(".")
    if above:
        if above not in sys.modules:
            put(above, [])
        vars(sys.modules[above]).setdefault(last, module)


def there(name: str) -> ModuleType | None:
    """A module, None where this tree has none of that name."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):  # what it imports is missing
            raise
        return None


def listed(function: Any) -> Any:
    """A mark of kernels for trees whose modules named them in a tuple KERNELS."""
    names = vars(sys.modules[function.__module__]).setdefault("KERNELS", [])
    if function.__name__ not in names:  # compiling runs the source again
        names.append(function.__name__)
    return function


def of_one_source(plan_copy: Any) -> Any:
    """A `plan_copy` that took one source, as the one that takes several."""

    def plan(sources: Sequence[tuple[Any, str]], target: Any, to: str, recursive: bool) -> Any:
        ((source, path),) = sources
        return plan_copy(source, path, target, to, recursive)

    return plan


class Buffers:
    """The buffers that older trees gave to pagers and stores, as frames."""

    def __init__(self, buffers: Sequence[memoryview]) -> None:
        self.buffers = buffers
        self.length = sum(map(len, buffers))

    def fill(self, data: memoryview) -> None:
        """Copies into the buffers."""
        for buffer in self.buffers:
            buffer[:] = data[: len(buffer)]
            data = data[len(buffer) :]

    def read(self) -> bytes:
        """The bytes."""
        return b"".join(self.buffers)


def take_buffers() -> None:
    """Has the stores and pagers of benchmarks understand trees whose requests were buffers."""
    faults = import_module("benchmarks.faults")
    submit, request = faults.Store.submit, faults.CopyPager.data_request

    def verb(op: int) -> Any:
        def call(store: Any, extents: Any) -> Any:
            return submit(store, [(op, place, Buffers(buffers)) for place, buffers in extents])

        return call

    def data_request(pager: Any, section: Any, page: int, buffers: Any, need: range) -> Any:
        return request(pager, section, page, Buffers(buffers), need)

    faults.Store.read, faults.Store.write = verb(0), verb(1)
    faults.CopyPager.data_request = data_request


if __name__ == "__main__":
    adapt()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
