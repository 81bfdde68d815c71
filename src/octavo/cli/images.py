"""Checking images: check."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from octavo.cli.output import Advance, print_json, progress, show
from octavo.cli.target import Images, parse_image
from octavo.cli.verb import Verb, add_json
from octavo.fs.base import Problem
from octavo.printing import counted


def _check_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="the image to check")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="mend what can be mended; what is in lost clusters is given up: copy out what "
        "matters before",
    )
    add_json(parser)


def check(arguments: Namespace) -> int:
    """Checks a volume, and mends it if asked to."""
    target = parse_image(arguments.image)
    with Images(arguments, [target] if arguments.repair else []) as images:
        volume = images.whole(target)
        space = volume.space()
        units = (space.total - space.free) // space.unit
        with progress("Checking", units, "clusters") as advance:
            problems = volume.check(_steps(advance), arguments.repair)
        kind = volume.kind
    if arguments.json:
        print_json(
            {"image": target.image, "type": kind, "problems": [p._asdict() for p in problems]}
        )
    else:
        _tell(f"{target.image}: {kind}", problems, arguments.repair)
    return int(not all(p.mended for p in problems))


def _steps(advance: Advance | None) -> Callable[[int, int], None]:
    """What a check calls with the units done so far, for a bar that wants those done since."""
    done = 0

    def on_progress(count: int, total: int) -> None:
        nonlocal done
        if advance is not None:
            advance("", count - done)
        done = count

    return on_progress


def _tell(what: str, problems: list[Problem], repair: bool) -> None:
    for problem in problems:
        show(str(problem))
    left = sum(not p.mended for p in problems)
    found = counted(len(problems), "problem") + (f", {left} left" if repair else "")
    show(f"{what}, {found if problems else 'clean'}")


VERBS = {
    "check": Verb(
        "Check a volume; changes nothing without --repair. Exit code 1 when something is "
        "wrong, or left wrong.",
        "  octavo check disk.img\n  octavo check --repair disk.img",
        _check_arguments,
        check,
    ),
}
