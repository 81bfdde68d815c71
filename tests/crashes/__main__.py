"""`python -m tests.crashes`: judges many states of each FAT type and prints what came out; exit 1
when one breaks the promise.
"""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.crashes.explorer import Tally, explore

FAULTS = {
    "damaged": "damaged", "lost": "flushed data lost", "silent": "flag clear",
    "check disagrees": "check differs", "not mended": "not mended", "untold": "torn, untold",
}  # fmt: skip


def main() -> int:
    """Parses, explores, prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=__doc__)
    parser.add_argument(
        "--states", type=int, default=10_000, help="states of each FAT type (10000)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--most", type=int, default=64, help="subsets of an epoch's writes, and of its sectors (64)"
    )
    parser.add_argument("--findings", type=int, default=5, help="faults to show of each type (5)")
    parser.add_argument(
        "--type", type=int, choices=(12, 16, 32), action="append", help="only this FAT type"
    )
    options = parser.parse_args()
    console = Console(width=150)
    table = Table(
        "type",
        "histories",
        "states",
        "with a fault",
        *FAULTS.values(),
        "torn",
        "s",
        title=f"States after a power cut, seed {options.seed}",
    )
    broken = 0
    for bits in options.type or (12, 16, 32):
        begun = time.monotonic()

        def progress(tally: Tally, bits: int = bits) -> None:
            print(
                f"\rFAT{bits}: {tally.states} states, {tally.broken} with a fault ",
                end="",
                file=sys.stderr,
                flush=True,
            )

        tally = explore(bits, options.states, options.seed, options.most, progress)
        print(file=sys.stderr)
        for finding in tally.smallest()[: options.findings]:
            console.print(
                f"[bold]{finding.fault}[/bold]: {finding.where}\n  {finding.what}\n  "
                + "; ".join(finding.done),
                highlight=False,
            )
        figures = (
            tally.histories,
            tally.states,
            tally.broken,
            *(tally.faults[f] for f in FAULTS),
            tally.torn,
            round(time.monotonic() - begun),
        )
        table.add_row(f"FAT{bits}", *map(str, figures))
        broken += tally.broken
    console.print(table)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
