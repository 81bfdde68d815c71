"""Showing and changing attributes: attrib."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser, Namespace

from octavo.arguments import attribute_changes
from octavo.cli.output import show
from octavo.cli.target import Images, parse_image_target
from octavo.cli.verb import Verb, wrong
from octavo.status import StatusError


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("target", metavar="IMAGE:PATH", help="a file or directory in an image")
    changes = (
        "+ sets and - clears r (read-only), h (hidden), s (system), a (archive), such as "
        "+r -ha; none: show them"
    )
    parser.add_argument("changes", metavar="CHANGE", nargs=REMAINDER, help=changes)


def attrib(arguments: Namespace) -> int:
    """Shows or changes attributes of a file or directory."""
    try:
        on, off = attribute_changes(arguments.changes)
    except StatusError as error:
        wrong(arguments, error.text)
    target = parse_image_target(arguments.target)
    with Images(arguments, [target] if arguments.changes else []) as images:
        volume = images.volume(target)
        if arguments.changes:
            volume.set_attributes(target.path, on, off)
        else:
            show(f"{volume.stat(target.path).flags} {target.text}")
    return 0


EXAMPLES = "  octavo attrib disk.img:/docs/a.txt\n  octavo attrib disk.img:/docs/a.txt -r +ha"
VERBS = {
    "attrib": Verb(
        "Show attributes of a file or directory, or change them.", EXAMPLES, _arguments, attrib
    )
}
