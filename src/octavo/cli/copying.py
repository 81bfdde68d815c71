"""Copying into, out of and between images: cp."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from octavo.cli.output import Failures, progress, show, tell
from octavo.cli.target import Images, Target, parse_target
from octavo.cli.verb import (
    Verb,
    add_exclude,
    add_options,
    add_recursive,
    add_stop,
    excluding,
    option,
    wrong,
)
from octavo.transfer.copy import Manner, run_copy
from octavo.transfer.plan import Plan, plan_copy
from octavo.transfer.standard import StandardInput
from octavo.transfer.tree import Tree

_STANDARD = "-"
_OUTPUT = "/dev/stdout"

_OPTIONS = (
    option("sources", metavar="FROM", nargs="+", help="files and directories, on the host or in "
           "images, there also with * and ? in the last name; - is standard input"),
    option("target", metavar="TO", help="a file or directory; - is standard output. One side is "
           "IMAGE:PATH"),
    option("-n", "--no-clobber", action="store_true", help="replace nothing"),
    option("-u", "--update", action="store_true", help="replace only files that are older, by 2 "
           "seconds or more, which is what FAT can tell apart"),
    option("-f", "--force", action="store_true", help="replace read-only files, too"),
    option("-p", "--preserve", action="store_true", help="keep attributes as well as times (a file "
           "of the host that its owner may not write is read-only)"),
    option("-v", "--verbose", action="store_true", help="say what was copied"),
    option("-q", "--quiet", action="store_true", help="show no progress"),
)  # fmt: skip


def _arguments(parser: ArgumentParser) -> None:
    add_options(parser, _OPTIONS)
    add_exclude(parser)
    add_recursive(parser)
    add_stop(parser)


def cp(arguments: Namespace) -> int:
    """Copies files and trees into, out of and between images."""
    wanted, to = [parse_target(s) for s in arguments.sources], parse_target(arguments.target)
    if not to.image and not any(w.image for w in wanted):
        wrong(arguments, "neither side is in an image; write IMAGE:PATH, such as disk.img:/docs")
    if sum(map(_is_standard, wanted)) > 1:
        wrong(arguments, "standard input, -, can be read once only")
    output = _is_standard(to)
    if output:
        to = Target("", _OUTPUT, to.text)
    failures = Failures(arguments.stop)
    with Images(arguments, [to]) as images:
        sources: list[tuple[Tree, str]] = []
        for target in wanted:
            with failures.apart():
                sources += _sources(images, target)
        with failures.apart():
            if sources:
                _copy(arguments, images, sources, to, failures, output)
    return failures.code


def _is_standard(target: Target) -> bool:
    return not target.image and target.text == _STANDARD


def _sources(images: Images, target: Target) -> list[tuple[Tree, str]]:
    """The trees, and paths in them, that an argument means."""
    if _is_standard(target):
        return [(StandardInput(images.system.scheduler.clock.wall()), _STANDARD)]
    return [(images.tree(t), t.path) for t in images.expand(target)]


def _copy(
    arguments: Namespace,
    images: Images,
    sources: list[tuple[Tree, str]],
    to: Target,
    failures: Failures,
    output: bool,
) -> None:
    choice = excluding(arguments, arguments.no_clobber, arguments.update)
    plan = plan_copy(sources, images.tree(to), to.path, arguments.recursive, choice)
    failures.all(plan.problems)
    if images.wall is not None:
        plan.no_later_than(images.wall)
    manner = Manner(arguments.stop, arguments.force, arguments.preserve)
    with progress(f"Copying to {to.text}", 0 if arguments.quiet else plan.size) as advance:
        errors = run_copy(plan, advance, manner)
    if arguments.verbose:
        _tell(plan, output)
    failures.all(errors)


def _tell(plan: Plan, output: bool) -> None:
    """Says what was copied: where that went to standard output, on the other one."""
    for step in plan.steps:
        if not step.failed and not (step.item.directory and step.replaces):
            line = f"{step.source.shown(step.path)} -> {plan.target.shown(step.to)}"
            (tell if output else show)(line)


VERBS = {
    "cp": Verb(
        "Copy files and trees into, out of and between images.",
        "  octavo cp -r tree disk.img:/\n  octavo cp -r disk.img:/ out/\n"
        "  octavo cp a.img:/x.txt b.img:/y.txt\n"
        "  octavo cp -ru --exclude '*.o' --exclude .git/ tree disk.img:/\n"
        "  octavo cp 'disk.img:/logs/*.txt' out/\n"
        "  tar c tree | octavo cp - disk.img:/tree.tar\n"
        "  octavo cp disk.img:/tree.tar - | tar t\n\n"
        "A file that is replaced stays as it is until all of the new one is there. "
        "Of names that are one name in the target\n"
        "(on FAT also readme, README and 'readme.') the first is copied, "
        "and each other is told and left out.\n"
        "On the host, blocks of zeros become holes; FAT has none. With SOURCE_DATE_EPOCH set, "
        "no time is later.",
        _arguments,
        cp,
    ),
}
