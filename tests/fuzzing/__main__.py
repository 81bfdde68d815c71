"""A fuzzer that coverage guides, atheris, over damaged images: `tests.fuzzing.inputs` says what its
bytes mean, `tests.fuzzing.trial` what is done and must hold.

    python -m tests.fuzzing --seconds 60 --seed 1     new inputs go to .fuzz/; one that fails is
                                                      printed, and kept as .fuzz/crash-...
    python -m tests.fuzzing --all                     goes on behind what fails: one of each kind
    python -m tests.fuzzing --only FILE ...           one input again, with a traceback

An input that takes longer than 20 s, or the process more than 2 GiB, is one that fails.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from tests.places import ROOT, TESTS

CORPUS = TESTS / "data" / "fuzz"
NEW = ROOT / ".fuzz"


def main() -> int:
    """Fuzzes; exit code 1 when an input fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="go on behind what fails")
    parser.add_argument("--only", type=Path, nargs="+", help="inputs, each a file")
    options = parser.parse_args()
    if options.only:
        from tests.fuzzing.inputs import try_input

        for path in options.only:
            print(path, try_input(path.read_bytes()))
        return 0
    fuzz(options.seconds, options.seed, options.all)
    return 0


def fuzz(seconds: int, seed: int, go_on: bool) -> None:
    """Runs atheris, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["octavo.fs", "octavo.storage"]):
        from tests.fuzzing.bases import DamagedDisk, bases
        from tests.fuzzing.inputs import try_input
        from tests.fuzzing.trial import try_all

        for base in bases().values():  # with it, modules that are imported when they are needed
            try_all(DamagedDisk(base))
    NEW.mkdir(exist_ok=True)
    limits = ["-timeout=20", "-rss_limit_mb=2048", "-max_len=512", "-len_control=0"]
    where = [f"-artifact_prefix={NEW}/", str(NEW), str(CORPUS)]
    ends = [f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1"]

    kinds: set[str] = set()

    def one(data: bytes) -> None:
        try:
            try_input(data)
        except Exception as error:
            kind = "".join(traceback.format_tb(error.__traceback__)[-2:])
            if not go_on:
                raise
            if kind in kinds:
                return
            kinds.add(kind)
            path = NEW / f"crash-{len(kinds)}"
            path.write_bytes(data)
            print(f"{path}:\n{kind}{type(error).__name__}: {error}", flush=True)

    atheris.Setup([sys.argv[0], *limits, *ends, *where], one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
