"""Working with files in images: ls, cat, cp, mv, rm, mkdir, df."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from octavo.cli.output import complain, info_record, print_json, progress
from octavo.cli.target import Images, Target, parse_image_target, parse_target
from octavo.files import Volume
from octavo.fs.base import FileInfo
from octavo.status import Status, StatusError
from octavo.transfer import plan_copy, run_copy

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Recursive = Annotated[bool, typer.Option("-r", "-R", "--recursive", help="With all that is below directories.")]


def ls(
    targets: Annotated[list[str], typer.Argument(metavar="IMAGE:PATH...", help="Directories or files in images.")],
    long: Annotated[bool, typer.Option("-l", help="Attributes, size and time of each entry.")] = False,
    recursive: Recursive = False,
    json: Json = False,
) -> None:
    """List directories and files.

    octavo ls -l disk.img:/docs
    """
    wanted = [parse_image_target(t) for t in targets]
    records: list[dict[str, object]] = []
    with Images(wanted) as images:
        for target in wanted:
            volume = images.volume(target)
            info = volume.stat(target.path)
            if not info.is_directory:
                listing = [("", [info])]
            elif recursive:
                listing = list(volume.walk(target.path))
            else:
                listing = [(target.path.strip("/"), volume.list(target.path))]
            for directory, entries in listing:
                if json:
                    records += [info_record(e, f"/{directory}/{e.name}".replace("//", "/")) for e in entries]
                    continue
                if recursive or len(wanted) > 1:
                    print(f"{target.image}:/{directory}:")
                _print_entries(entries, long)
                if recursive or len(wanted) > 1:
                    print()
    if json:
        print_json(records)


def _print_entries(entries: list[FileInfo], long: bool) -> None:
    lines = []
    for entry in sorted(entries, key=lambda e: e.name):
        name = entry.name + "/" if entry.is_directory else entry.name
        lines.append(f"{entry.flags} {0 if entry.is_directory else entry.size:>12} {entry.modified:%Y-%m-%d %H:%M} {name}" if long else name)
    if lines:
        print("\n".join(lines))


def cat(targets: Annotated[list[str], typer.Argument(metavar="IMAGE:FILE...", help="Files in images.")]) -> None:
    """Write files to standard output.

    octavo cat disk.img:/docs/a.txt
    """
    wanted = [parse_image_target(t) for t in targets]
    with Images(wanted) as images:
        for target in wanted:
            with images.volume(target).open(target.path) as file:
                while data := file.read(1 << 20):
                    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def cp(
    sources: Annotated[list[str], typer.Argument(metavar="FROM...", help="Files and directories, on the host or in images.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="A file or directory; one side is IMAGE:PATH.")],
    recursive: Recursive = False,
) -> None:
    """Copy files and trees into, out of and between images.

    octavo cp -r tree disk.img:/        octavo cp -r disk.img:/ out/
    """
    wanted, to = [parse_target(s) for s in sources], parse_target(target)
    if not to.image and not any(w.image for w in wanted):
        raise typer.BadParameter("neither side is in an image; write IMAGE:PATH, such as disk.img:/docs", param_hint="TO")
    failed = False
    with Images([w for w in wanted if w.image], [to] if to.image else []) as images:
        goal = images.tree(to)
        if len(wanted) > 1 and not goal.is_dir(to.path):
            raise StatusError(Status.NOT_A_DIRECTORY, f"{to.text}: is not a directory")
        for source in wanted:
            plan = plan_copy(images.tree(source), source.path, goal, to.path, recursive)
            if source.image and source.image == to.image:
                _refuse_overlap(source, plan.steps[0][0], plan.steps[0][1])
            for line in plan.skipped:
                complain(line)
            with progress(f"Copying {source.text}", plan.size) as advance:
                errors = run_copy(plan, advance)
            for error in errors:
                complain(error)
            failed = failed or bool(errors)
    if failed:
        raise typer.Exit(1)


def _refuse_overlap(source: Target, first: str, to: str) -> None:
    first, to = first.strip("/").upper(), to.strip("/").upper()
    if to == first or to.startswith(first + "/"):
        raise StatusError(Status.INVALID_PARAMETER, f"{source.text}: cannot be copied onto or into itself")


def mv(
    sources: Annotated[list[str], typer.Argument(metavar="IMAGE:FROM...", help="What to move.")],
    target: Annotated[str, typer.Argument(metavar="IMAGE:TO", help="The new path, or a directory to move into; in the same image.")],
) -> None:
    """Move or rename within an image.

    octavo mv disk.img:/a.txt disk.img:/docs/
    """
    wanted, to = [parse_image_target(s) for s in sources], parse_image_target(target)
    with Images([], [*wanted, to]) as images:
        volume = images.volume(to)
        into = volume.is_dir(to.path)
        if len(wanted) > 1 and not into:
            raise StatusError(Status.NOT_A_DIRECTORY, f"{to.text}: is not a directory")
        for source in wanted:
            if images.volume(source) is not volume:
                raise StatusError(Status.NOT_SAME_DEVICE, f"{source.text}: is in another image than {to.text}; use cp and rm")
            name = source.path.rstrip("/").rpartition("/")[2]
            volume.rename(source.path, f"{to.path.rstrip('/')}/{name}" if into and not _same(volume, source, to) else to.path)


def _same(volume: Volume, source: Target, to: Target) -> bool:
    """True when both paths are one entry, such as when only the case of a directory's name changes."""
    return source.path.strip("/").upper() == to.path.strip("/").upper()


def rm(
    targets: Annotated[list[str], typer.Argument(metavar="IMAGE:PATH...", help="What to remove.")],
    recursive: Recursive = False,
) -> None:
    """Remove files, and with -r directories and all below them.

    octavo rm -r disk.img:/docs
    """
    wanted = [parse_image_target(t) for t in targets]
    with Images([], wanted) as images:
        for target in wanted:
            volume = images.volume(target)
            if not volume.stat(target.path).is_directory:
                volume.remove(target.path)
            elif recursive:
                volume.rmtree(target.path)
            else:
                raise StatusError(Status.FILE_IS_A_DIRECTORY, f"{target.text}: is a directory: use -r to remove it")


def mkdir(
    targets: Annotated[list[str], typer.Argument(metavar="IMAGE:PATH...", help="Directories to make.")],
    parents: Annotated[bool, typer.Option("-p", "--parents", help="Make those above, too; none needs to be new.")] = False,
) -> None:
    """Make directories.

    octavo mkdir -p disk.img:/docs/2026
    """
    wanted = [parse_image_target(t) for t in targets]
    with Images([], wanted) as images:
        for target in wanted:
            images.volume(target).mkdir(target.path, parents)


def df(
    images_: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Images.")],
    json: Json = False,
) -> None:
    """Show size and free space of volumes.

    octavo df disk.img
    """
    wanted = [parse_image_target(i) for i in images_]
    records: list[dict[str, object]] = []
    with Images(wanted) as images:
        for target in wanted:
            volume = images.volume(target)
            space = volume.space()
            used = space.total - space.free
            records.append({
                "image": target.image, "type": volume.kind, "label": volume.label, "total": space.total,
                "used": used, "free": space.free, "cluster": space.unit,
            })  # fmt: skip
    if json:
        print_json(records)
        return
    print(f"{'Image':<24} {'Type':<6} {'Label':<11} {'KiB':>12} {'Used':>12} {'Free':>12} {'Use%':>5}")
    for r in records:
        total, used = int(str(r["total"])), int(str(r["used"]))
        print(
            f"{r['image']:<24} {r['type']:<6} {r['label'] or '-':<11} {total >> 10:>12} {used >> 10:>12} "
            f"{total - used >> 10:>12} {used * 100 // max(total, 1):>4}%"
        )


def register(app: typer.Typer) -> None:
    """Adds the verbs of this file."""
    for function in (ls, cat, cp, mv, rm, mkdir, df):
        app.command()(function)
