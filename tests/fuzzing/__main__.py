"""A fuzzer that coverage guides, atheris, over damaged images: `tests.fuzzing.inputs` says what its
bytes mean, `tests.fuzzing.trial` what is done and must hold.

    python -m tests.fuzzing --seconds 60 --seed 1     new inputs go to .fuzz/; one that fails is
                                                      printed, and kept as .fuzz/crash-...
    python -m tests.fuzzing --all                     goes on behind what fails: one of each kind
    python -m tests.fuzzing --only FILE ...           one input again, with a traceback

An input that takes longer than 20 s, or the process more than 2 GiB, is one that fails. Code that
atheris has instrumented leaks some 150 KB an input, so a process makes RUNS of them at most, and
the next one goes on with what it found.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.places import ROOT, TESTS

CORPUS = TESTS / "data" / "fuzz"
NEW = ROOT / ".fuzz"
RUNS = 6000


def main() -> int:
    """Fuzzes; exit code 1 or another when an input fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="go on behind what fails")
    parser.add_argument("--only", type=Path, nargs="+", help="inputs, each a file")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        from tests.fuzzing.inputs import try_input

        for path in options.only:
            print(path, try_input(path.read_bytes()))
    elif options.here:
        fuzz(options.seconds, options.seed, options.all)
    else:
        return in_turn(options.seconds, options.seed, ["--all"] if options.all else [])
    return 0


def in_turn(seconds: int, seed: int, more: list[str]) -> int:
    """Processes one after the other; the exit code of the first that fails."""
    end = time.monotonic() + seconds
    command = [sys.executable, "-m", "tests.fuzzing", "--here", *more]
    while (left := int(end - time.monotonic())) > 0:
        done = subprocess.run([*command, "--seconds", str(left), "--seed", str(seed)], check=False)
        if done.returncode:
            return done.returncode
        seed += 1
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
    ends = [f"-max_total_time={seconds}", f"-runs={RUNS}", f"-seed={seed}"]
    where = [f"-artifact_prefix={NEW}/", str(NEW), str(CORPUS)]
    kinds: set[str] = set()

    def one(data: bytes) -> None:
        try:
            try_input(data)
        except Exception as error:
            if not go_on:
                raise
            kind = "".join(traceback.format_tb(error.__traceback__)[-2:])
            if kind in kinds:
                return
            kinds.add(kind)
            path = NEW / f"crash-{seed}-{len(kinds)}"
            path.write_bytes(data)
            print(f"{path}:\n{kind}{type(error).__name__}: {error}", flush=True)

    atheris.Setup([sys.argv[0], *limits, *ends, *where], one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
