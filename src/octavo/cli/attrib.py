"""Showing and changing attributes: attrib."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser, Namespace
from collections.abc import Iterator
from itertools import takewhile

from octavo.arguments import attribute_changes
from octavo.cli.output import Failures, info_record, print_json, show
from octavo.cli.target import Images, Target, parse_image_target
from octavo.cli.verb import Verb, add_json, add_stop, values
from octavo.fs.base import split_path


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--recursive", action="store_true", help="with all that is below directories"
    )
    add_json(parser)
    add_stop(parser)
    parser.add_argument(
        "first", metavar="IMAGE:PATH", help="files and directories in images; options come before"
    )
    changes = (
        "+ sets and - clears r (read-only), h (hidden), s (system), a (archive), such as "
        "+r -ha; none: show them"
    )
    parser.add_argument("words", metavar="CHANGE", nargs=REMAINDER, help=changes)


def attrib(arguments: Namespace) -> int:
    """Shows or changes attributes of files and directories."""
    words = [arguments.first, *arguments.words]
    texts = list(takewhile(lambda word: word[:1] not in ("+", "-"), words))
    with values(arguments):
        on, off = attribute_changes(words[len(texts) :])
    wanted, changes = [parse_image_target(text) for text in texts], bool(on or off)
    failures = Failures(arguments.stop)
    records: list[dict[str, object]] = []
    with Images(arguments, wanted if changes else []) as images:
        for target in _each(images, wanted, arguments.recursive, failures):
            with failures.apart():
                volume = images.volume(target)
                if changes:
                    volume.set_attributes(target.path, on, off)
                elif arguments.json:
                    records.append(info_record(volume.stat(target.path), target.path))
                else:
                    show(f"{volume.stat(target.path).flags} {target.text}")
    if arguments.json:
        print_json(records)
    return failures.code


def _each(
    images: Images, wanted: list[Target], recursive: bool, failures: Failures
) -> Iterator[Target]:
    """The targets, and with `recursive` all that is below them."""
    for target in images.each(wanted, failures):
        if not recursive:
            yield target
            continue
        with failures.apart():
            volume = images.volume(target)
            is_directory = volume.stat(target.path).is_directory
            if split_path(target.path):  # a root has no attributes
                yield target
            for here, entries in volume.walk(target.path, failures) if is_directory else ():
                for entry in entries:
                    path = f"/{here}/{entry.name}".replace("//", "/")
                    yield Target(target.image, path, f"{target.image}:{path}")


EXAMPLES = (
    "  octavo attrib disk.img:/docs/a.txt\n  octavo attrib disk.img:/docs/a.txt -r +ha\n"
    "  octavo attrib --recursive --json disk.img:/docs\n  octavo attrib 'disk.img:/*.sys' +rhs"
)
VERBS = {
    "attrib": Verb(
        "Show attributes of files and directories, or change them.", EXAMPLES, _arguments, attrib
    )
}
