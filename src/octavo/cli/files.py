"""Working with files in images: ls, cat, mv, rm, mkdir, df."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from octavo.cli.output import Failures, info_record, print_json, show
from octavo.cli.target import Images, Target, parse_image, parse_image_target
from octavo.cli.verb import Verb, add_json, add_recursive, add_stop
from octavo.files import Volume
from octavo.fs.base import split_path
from octavo.printing import printable
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo


def _ls_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "targets", metavar="IMAGE:PATH", nargs="+", help="directories or files in images"
    )
    parser.add_argument(
        "-l", "--long", action="store_true", help="attributes, size and time of each entry"
    )
    add_recursive(parser)
    add_stop(parser)
    add_json(parser)


def ls(arguments: Namespace) -> int:
    """Lists directories and files."""
    wanted = [parse_image_target(t) for t in arguments.targets]
    headed = arguments.recursive or len(wanted) > 1
    records: list[dict[str, object]] = []
    failures = Failures(arguments.stop)
    with Images(arguments) as images:
        for target in images.each(wanted, failures):
            with failures.apart():
                listing = _listing(images.volume(target), target, arguments.recursive, failures)
                for directory, entries in listing:
                    if arguments.json:
                        records += _records(directory, entries)
                    else:
                        heading = f"{target.image}:/{directory}:" if headed else ""
                        _print_entries(entries, arguments.long, heading)
    if arguments.json:
        print_json(records)
    return failures.code


def _listing(
    volume: Volume, target: Target, recursive: bool, failures: Failures
) -> Iterable[tuple[str, list[FileInfo]]]:
    """(directory, entries) for all that a target names."""
    path = target.path
    info = volume.stat(path)
    if not info.is_directory:
        return [(path.strip("/").rpartition("/")[0], [info])]
    return volume.walk(path, failures) if recursive else [(path.strip("/"), volume.entries(path))]


def _records(directory: str, entries: list[FileInfo]) -> list[dict[str, object]]:
    return [info_record(e, f"/{directory}/{e.name}".replace("//", "/")) for e in entries]


def _print_entries(entries: list[FileInfo], long: bool, heading: str) -> None:
    """Prints a directory; with a heading, an empty line ends it."""
    lines = [heading] if heading else []
    for entry in sorted(entries, key=lambda e: e.name):
        name = entry.name + "/" if entry.is_directory else entry.name
        lines.append(
            f"{entry.flags} {0 if entry.is_directory else entry.size:>12} "
            f"{entry.modified:%Y-%m-%d %H:%M} {name}"
            if long
            else name
        )
    if heading:
        lines.append("")
    if lines:
        print("\n".join(map(printable, lines)))


def _cat_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("targets", metavar="IMAGE:FILE", nargs="+", help="files in images")
    add_stop(parser)


def cat(arguments: Namespace) -> int:
    """Writes files to standard output."""
    wanted = [parse_image_target(t) for t in arguments.targets]
    failures = Failures(arguments.stop)
    with Images(arguments) as images:
        for target in images.each(wanted, failures):
            with failures.apart(), images.volume(target).open(target.path) as file:
                while data := file.read(1 << 20):
                    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return failures.code


def _mv_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("sources", metavar="IMAGE:FROM", nargs="+", help="what to move")
    parser.add_argument(
        "target",
        metavar="IMAGE:TO",
        help="the new path, or a directory to move into; in the same image",
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace a file that is there")
    add_stop(parser)


def mv(arguments: Namespace) -> int:
    """Moves or renames within an image."""
    wanted = [parse_image_target(s) for s in arguments.sources]
    to = parse_image_target(arguments.target)
    failures = Failures(arguments.stop)
    with Images(arguments, [*wanted, to]) as images:
        volume = images.volume(to)
        into = volume.is_dir(to.path)
        found = list(images.each(wanted, failures))
        if len(found) > 1 and not volume.stat(to.path).is_directory:
            raise StatusError(Status.NOT_A_DIRECTORY, f"{to.text}: is not a directory")
        for source in found:
            with failures.apart():
                if images.volume(source) is not volume:
                    raise StatusError(
                        Status.NOT_SAME_DEVICE,
                        f"{source.text}: is in another image than {to.text}; use cp and rm",
                    )
                new = _new_path(source, to, into)
                _move(volume, source.path, new, arguments.force)
    return failures.code


def _move(volume: Volume, old: str, new: str, force: bool) -> None:
    """Moves; with `force` what is at the new path is replaced, also when it is read-only."""
    same = old.strip("/").upper() == new.strip("/").upper()  # only the case of letters changes
    if not force or same or not volume.exists(new):
        volume.rename(old, new)
        return
    protected = "r" in volume.stat(new).flags
    if protected:
        volume.set_attributes(new, "", "r")
    try:
        volume.rename(old, new, replace=True)
    except StatusError:
        if protected:
            volume.set_attributes(new, "r", "")
        raise


def _new_path(source: Target, to: Target, into: bool) -> str:
    """Where a path goes: to the target, or `into` it under its own name."""
    if not into or _same(source, to):
        return to.path
    return f"{to.path.rstrip('/')}/{source.path.rstrip('/').rpartition('/')[2]}"


def _same(source: Target, to: Target) -> bool:
    """True when both paths are one entry, such as when only the case of a directory's name
    changes.
    """
    return source.path.strip("/").upper() == to.path.strip("/").upper()


def _rm_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("targets", metavar="IMAGE:PATH", nargs="+", help="what to remove")
    parser.add_argument(
        "-f",
        "--force",
        action="store_true",
        help="read-only and broken files, too, with -r all of a volume; what is not there is none "
        "to tell",
    )
    add_recursive(parser)
    add_stop(parser)


def rm(arguments: Namespace) -> int:
    """Removes files, and with -r directories and all below them."""
    wanted = [parse_image_target(t) for t in arguments.targets]
    failures = Failures(arguments.stop)
    with Images(arguments, wanted) as images:
        for target in images.each(wanted, failures, arguments.force):
            with failures.apart():
                volume = images.volume(target)
                if arguments.force and not volume.exists(target.path):
                    continue
                if not volume.stat(target.path).is_directory:
                    volume.remove(target.path, arguments.force)
                else:
                    _check_tree(target, arguments.recursive, arguments.force)
                    volume.rmtree(target.path, failures, arguments.force)
    return failures.code


def _check_tree(target: Target, recursive: bool, force: bool) -> None:
    """StatusError for a directory that these options do not remove."""
    if not recursive:
        raise StatusError(
            Status.FILE_IS_A_DIRECTORY, f"{target.text}: is a directory: use -r to remove it"
        )
    if not split_path(target.path) and not force:
        raise StatusError(
            Status.ACCESS_DENIED, f"{target.text}: is the whole volume: rm -rf empties it"
        )


def _mkdir_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("targets", metavar="IMAGE:PATH", nargs="+", help="directories to make")
    parser.add_argument(
        "-p", "--parents", action="store_true", help="make those above, too; none needs to be new"
    )
    add_stop(parser)


def mkdir(arguments: Namespace) -> int:
    """Makes directories."""
    wanted = [parse_image_target(t) for t in arguments.targets]
    failures = Failures(arguments.stop)
    with Images(arguments, wanted) as images:
        for target in wanted:
            with failures.apart():
                images.volume(target).mkdir(target.path, arguments.parents)
    return failures.code


def _df_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="images")
    add_json(parser)
    add_stop(parser)


def df(arguments: Namespace) -> int:
    """Shows size and free space of volumes."""
    wanted = [parse_image(i) for i in arguments.images]
    records: list[dict[str, object]] = []
    failures = Failures(arguments.stop)
    with Images(arguments) as images:
        for target in wanted:
            with failures.apart():
                records.append(_space_record(target, images.whole(target)))
    if arguments.json:
        print_json(records)
    elif records:
        _print_spaces(records)
    return failures.code


def _print_spaces(records: list[dict[str, object]]) -> None:
    print(
        f"{'Image':<24} {'Type':<6} {'Label':<11} {'KiB':>12} {'Used':>12} {'Free':>12} {'Use%':>5}"
    )
    for r in records:
        total, used, free = (int(str(r[key])) for key in ("total", "used", "free"))
        share = used * 100 // max(total, 1)
        show(
            f"{r['image']:<24} {r['type']:<6} {r['label'] or '-':<11} {total >> 10:>12} "
            f"{used >> 10:>12} {free >> 10:>12} {share:>4}%"
        )


def _space_record(target: Target, volume: Volume) -> dict[str, object]:
    space = volume.space()
    return {
        "image": target.image, "type": volume.kind, "label": volume.label, "total": space.total,
        "used": space.total - space.free, "free": space.free, "cluster": space.unit,
    }  # fmt: skip


VERBS = {
    "ls": Verb(
        "List directories and files.",
        "  octavo ls -l disk.img:/docs\n  octavo ls -r --json disk.img:\n"
        "  octavo ls 'disk.img:/docs/*.txt'",
        _ls_arguments,
        ls,
    ),
    "cat": Verb(
        "Write files to standard output.", "  octavo cat disk.img:/docs/a.txt", _cat_arguments, cat
    ),
    "mv": Verb(
        "Move or rename within an image.",
        "  octavo mv disk.img:/a.txt disk.img:/docs/\n"
        "  octavo mv -f 'disk.img:/new/*' disk.img:/docs",
        _mv_arguments,
        mv,
    ),
    "rm": Verb(
        "Remove files, and with -r directories and all below them.",
        "  octavo rm -r disk.img:/docs\n  octavo rm -f 'disk.img:/logs/*.tmp'",
        _rm_arguments,
        rm,
    ),
    "mkdir": Verb(
        "Make directories.", "  octavo mkdir -p disk.img:/docs/2026", _mkdir_arguments, mkdir
    ),
    "df": Verb("Show size and free space of volumes.", "  octavo df disk.img", _df_arguments, df),
}
