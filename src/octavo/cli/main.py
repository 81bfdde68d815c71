"""The `octavo` command. Exit codes: 0 done, 1 the work failed (one sentence says why), 2 the call was wrong, 130 interrupted.

Only the module of the verb that is called is imported: `octavo ls` must start at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys

from octavo.cli.verb import Verb, add_codepage
from octavo.status import StatusError
from octavo.threads.scheduler import Scheduler
from octavo.version import VERSION

MODULES = {
    "boot": "boot", "ls": "files", "cat": "files", "cp": "files", "mv": "files", "rm": "files", "mkdir": "files", "df": "files",
    "attrib": "attrib", "mkfs": "images", "check": "images", "map": "map",
}  # fmt: skip
DESCRIPTION = """Octavo: an operating system's memory and storage executive.
Works on FAT disk images with no root, and boots to a shell."""
EPILOG = """A path in an image is IMAGE:PATH, such as disk.img:/docs/a.txt. To begin:
  octavo mkfs --size 64M disk.img
  octavo cp -r tree disk.img:/
  octavo ls -l disk.img:/tree
  octavo boot disk.img
octavo VERB --help explains a verb."""


def make_parser(verbs: list[str]) -> argparse.ArgumentParser:
    """The parser for some of the verbs."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("octavo", description=DESCRIPTION, epilog=EPILOG, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"octavo {VERSION}")
    below = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name in verbs:
        verb: Verb = importlib.import_module(f"octavo.cli.{MODULES[name]}").VERBS[name]
        sub = below.add_parser(name, help=verb.summary, description=verb.summary, epilog="examples:\n" + verb.examples, formatter_class=raw)
        verb.add_arguments(sub)
        if name not in ("mkfs", "map"):  # all others open images
            add_codepage(sub)
        sub.set_defaults(run=verb.run, error=sub.error)
    return parser


def run(argv: list[str]) -> int:
    """Runs one command line and returns its exit code; SystemExit(2) for a wrong one."""
    verbs = [argv[0]] if argv and argv[0] in MODULES else list(MODULES)
    arguments = make_parser(verbs).parse_args(argv)
    code: int = arguments.run(arguments)
    return code


def main() -> None:
    """Runs the process's command line and exits."""
    signal.signal(signal.SIGINT, lambda number, frame: Scheduler.interrupt())
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except StatusError as error:
        print(f"octavo: {error.text}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read our output has gone: no more of it at exit
        code = 0
    raise SystemExit(code)
