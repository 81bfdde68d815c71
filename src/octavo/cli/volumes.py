"""Volumes as a whole: label, resize, tree."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from octavo.arguments import parse_size
from octavo.cli.output import Failures, print_json, show
from octavo.cli.target import Images, Target, parse_image, parse_image_target
from octavo.cli.verb import Verb, add_json, add_options, add_stop, option, serial, values, wrong
from octavo.files import Volume
from octavo.fs.fat.labels import clean_label
from octavo.shell.branches import tree_lines

_LABEL = (
    option("image", metavar="IMAGE", help="the image"),
    option("label", metavar="LABEL", nargs="?", help="a new label, at most 11 characters; '' for "
           "none"),
    option("--serial", metavar="HEX", help="a new serial number, such as 1234-ABCD"),
)  # fmt: skip
_RESIZE = (
    option("image", metavar="IMAGE", help="the image, or a part of one"),
    option("size", metavar="SIZE", nargs="?", help="its new size, such as 64M, or +16M for so much "
           "more; none: all that the file, the device or the partition has"),
)  # fmt: skip
_TREE = (
    option("targets", metavar="IMAGE:PATH", nargs="+", help="directories in images"),
    option("-d", "--directories", action="store_true", help="directories only"),
    option("--ascii", action="store_true", help="draw with ASCII characters"),
)


def _label_arguments(parser: ArgumentParser) -> None:
    add_options(parser, _LABEL)
    add_json(parser)


def label(arguments: Namespace) -> int:
    """Shows or changes the label and the serial number of a volume."""
    target, new = parse_image(arguments.image), arguments.label
    number = None if arguments.serial is None else serial(arguments, arguments.serial)
    if new is not None:
        with values(arguments):
            clean_label(new)
    changes = new is not None or number is not None
    with Images(arguments, [target] if changes else []) as images:
        volume = images.whole(target)
        if new is not None:
            volume.set_label(new)
        if number is not None:
            volume.set_serial(number)
        shown = f"{volume.serial >> 16:04X}-{volume.serial & 0xFFFF:04X}"
        if arguments.json:
            print_json({"image": target.image, "type": volume.kind, "label": volume.label,
                        "serial": shown})  # fmt: skip
        elif not changes:
            show(f"{target.image}: label {volume.label or '-'}, serial {shown}")
    return 0


def _resize_arguments(parser: ArgumentParser) -> None:
    add_options(parser, _RESIZE)


def resize(arguments: Namespace) -> int:
    """Gives a FAT volume another size, in place."""
    target = parse_image(arguments.image)
    text = "+0" if arguments.size is None else arguments.size
    with values(arguments):
        given = parse_size(text.removeprefix("+"))
    with Images(arguments, [target]) as images:
        volume = images.whole(target)
        more = volume.core.device.size if text.startswith("+") else 0
        if not given + more:
            wrong(arguments, f"{text}: no volume has no bytes")
        volume = images.system.resize(volume.letter, given + more)
        space = volume.space()
        show(f"{target.image}: {volume.kind}, {space.total >> 10} KiB, {space.free >> 10} KiB free")
    return 0


def _tree_arguments(parser: ArgumentParser) -> None:
    add_options(parser, _TREE)
    add_json(parser)
    add_stop(parser)


def tree(arguments: Namespace) -> int:
    """Draws directories and what is below them."""
    wanted = [parse_image_target(t) for t in arguments.targets]
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    failures = Failures(arguments.stop)
    records: list[dict[str, object]] = []
    with Images(arguments) as images:
        for target in images.each(wanted, failures):
            with failures.apart():
                volume, files = images.volume(target), not arguments.directories
                if arguments.json:
                    records.append(_record(volume, target, files, failures))
                    continue
                lines = tree_lines(
                    volume, target.path, files, arguments.ascii or not unicode, failures
                )
                first = next(lines, None)  # says whether it is a directory
                show(target.text)
                for line in () if first is None else (first, *lines):
                    show(line)
    if arguments.json:
        print_json(records)
    return failures.code


def _record(volume: Volume, target: Target, files: bool, failures: Failures) -> dict[str, object]:
    """A directory with what is in it, and so on, for JSON."""
    below: dict[str, list[dict[str, object]]] = {}
    top: dict[str, object] = {"path": target.text, "type": "directory"}
    top["contents"] = below[target.path.strip("/\\")] = []
    for here, entries in volume.walk(target.path, failures):
        for entry in sorted(entries, key=lambda e: e.name):
            record: dict[str, object] = {"name": entry.name, "type": "file", "size": entry.size}
            if entry.is_directory:
                record = {"name": entry.name, "type": "directory"}
                record["contents"] = below[f"{here}/{entry.name}".lstrip("/")] = []
            if files or entry.is_directory:
                below[here].append(record)
    return top


VERBS = {
    "label": Verb(
        "Show the label and the serial number of a volume, or change them.",
        "  octavo label disk.img\n  octavo label disk.img BACKUP\n  octavo label disk.img ''\n"
        "  octavo label --serial 1234-ABCD 'disk.img#1'",
        _label_arguments,
        label,
    ),
    "resize": Verb(
        "Give a FAT volume another size, in place, and its image with it.",
        "  octavo resize disk.img 128M\n  octavo resize disk.img +16M\n"
        "  octavo resize 'disk.img#1'        # all of its partition\n\n"
        "It must be clean. A power cut at any moment leaves the old volume or the new one. "
        "A volume gets smaller where\nits end is free.",
        _resize_arguments,
        resize,
    ),
    "tree": Verb(
        "Draw directories and what is below them.",
        "  octavo tree disk.img:/docs\n  octavo tree -d --json disk.img:",
        _tree_arguments,
        tree,
    ),
}
