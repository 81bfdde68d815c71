"""Statistics: each part gives a snapshot of a class of `octavo.statistics`, and the system gives
dictionaries, whose keys are promised.
"""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import octavo
from octavo import statistics
from octavo.vm import Allocate
from tests.places import SOURCE

DICTIONARIES = {"system.py", "files.py"}  # the edge
SNAPSHOTS: list[Any] = [kind for _, kind in inspect.getmembers(statistics, is_dataclass)]
KEYS = {
    "": "memory cache kernel virtual scheduler volumes",
    "memory": "limit in_use physical_lowest states buddy faults writeback pageout",
    "memory/states": "zeroed free standby modified bad active transition absent pooled",
    "memory/buddy": "free_frames blocks segments",
    "memory/buddy/segments/*": "free_frames frames blocks usable fragmentation watermarks",
    "memory/buddy/segments/*/watermarks": "min low high",
    "memory/faults": "hard soft collided new page_ins pages_in",
    "memory/writeback": "dirty in_flight written failed returns",
    "memory/pageout": "trimmed stalls repurposed",
    "cache": "views address_space most_address_space locked_pages blocks lists hits misses "
    "read_ahead_pages read_ahead_hits throttled",
    "kernel": "page_tables faults system_ptes stacks nonpaged paged caches",
    "kernel/system_ptes": "count free clusters largest failures",
    "kernel/stacks": "live cached frames made reused grown overflows",
    "kernel/nonpaged": "initial expanded most allocated free allocations bytes lookaside_hits tags",
    "kernel/nonpaged/tags/*": "allocations frees bytes peak",
    "kernel/caches/*": "object_size buffer_size slab_size objects_per_slab colours slabs "
    "empty_slabs objects capacity memory reclaimable",
    "virtual": "limit committed spaces working_sets working_set_frames mmu page_files replacement "
    "eviction balance conditions",
    "virtual/spaces/*": "committed resident copied shared paged tables faults",
    "virtual/mmu": "hits walks shootdowns",
    "virtual/page_files": "slots free written read requests errors grown",
    "virtual/replacement": "policy pages lists harvests",
    "virtual/eviction": "unmapped dropped evicted kept spared",
    "virtual/balance": "passes trimmed plenty minimum ended",
    "virtual/conditions": "low high is_low is_high changes",
    "scheduler": "switches ready timers calls",
    "volumes/*": "nodes names contended device",
    "volumes/*/names": "hits misses entries",
    "volumes/*/device": "reads read_bytes writes write_bytes flushes waits errors",
}


def below(data: dict[str, Any], path: str) -> dict[str, Any]:
    """What is at a path; * is the first of them."""
    for name in path.split("/") if path else []:
        data = next(iter(data.values())) if name == "*" else data[name]
    return data


def test_the_keys_of_a_system() -> None:
    """As they were promised, in their order; None for what was not used; JSON takes all of it."""
    with octavo.boot(memory="16M") as system:
        assert not system.virtual_made and not system.kernel_made
        assert system.statistics()["kernel"] is None is system.statistics()["virtual"]
        assert not system.virtual_made and not system.kernel_made
        space = system.virtual.create("init")
        base, _ = space.allocate(0, 1 << 20, Allocate.COMMIT)
        system.scheduler.run(space.write(base, bytes(10_000)))
        system.kernel.nonpaged.allocate(100, tag="Irp")
        system.kernel.caches.create("inode", 152).allocate()
        assert system.virtual_made and system.kernel_made
        volume = system.attach_ram_disk(2 << 20)
        volume.write_bytes("note.txt", b"ten bytes!")
        data = system.statistics()
        for path, names in KEYS.items():
            assert list(below(data, path)) == names.split(), path
        assert data["virtual"]["spaces"]["init"]["resident"] == 3
        assert data["virtual"]["spaces"]["init"]["faults"] == 3
        assert data["kernel"]["nonpaged"]["tags"]["Irp"]["bytes"] == 100
        assert json.loads(json.dumps(data))["memory"]["limit"] == system.memory.limit
        assert below(data, "volumes/*") == volume.statistics()
        assert volume.statistics()["nodes"] > 0


def test_every_part_gives_a_snapshot() -> None:
    """Of a class that cannot be changed, says what it is, and is used; dictionaries are at the edge
    only.
    """
    named = set()
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "statistics":
                returns = ast.unparse(node.returns) if node.returns else ""
                if path.name in DICTIONARIES and len(path.relative_to(SOURCE).parts) == 1:
                    assert returns.startswith("dict[str, ")
                else:
                    assert returns in {kind.__name__ for kind in SNAPSHOTS}, path
                    named.add(returns)
    parts = {"SpaceStatistics", "TagStatistics", "Watermarks"}  # of others
    assert named | parts == {kind.__name__ for kind in SNAPSHOTS}


@pytest.mark.parametrize("kind", SNAPSHOTS, ids=lambda kind: kind.__name__)
def test_a_snapshot(kind: Any) -> None:
    """Is frozen and small, and has a docstring of its own."""
    made = kind(*range(len(fields(kind))))
    with pytest.raises(FrozenInstanceError):
        setattr(made, fields(kind)[0].name, 5)
    assert not hasattr(made, "__dict__") and not kind.__doc__.startswith(kind.__name__)


def test_a_start_makes_no_snapshots(tmp_path: Path) -> None:
    """Their classes take as long to make as the rest of the parts: `ls` does without."""
    program = (
        "import sys\nfrom octavo.cli.main import run\nrun(['mkfs', '--size', '2M', sys.argv[1]])\n"
        "run(['ls', sys.argv[1] + ':'])\nprint('octavo.statistics' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "disk.img")], capture_output=True, text=True
    )
    assert out.stdout.splitlines()[-1] == "False" and not out.stderr
