r"""Commands that change files and directories.

The first line of a docstring is the usage, the rest says what the command does. What is done to
several is done to each: one that fails is told, and the others are done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from octavo.arguments import attribute_changes
from octavo.files import Volume
from octavo.fs.wildcards import is_wild, renamed
from octavo.printing import counted
from octavo.shell.command import MOST_WORDS, Command, Place, Words, command
from octavo.shell.line import UsageError
from octavo.shell.session import Session
from octavo.status import Status, StatusError
from octavo.transfer.copy import run_copy
from octavo.transfer.plan import Plan, plan_copy
from octavo.transfer.volume import VolumeTree

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo

COMMANDS: dict[str, Command] = {}


def _each(shell: Session, items: Iterable[str], do: Callable[[str], int | None]) -> int:
    """Does something to each word or path, and tells what fails; the status."""
    status = 0
    for item in items:
        try:
            status |= do(item) or 0
        except StatusError as error:
            shell.err(f"{shell.name}: {error}")
            status = 1
    return status


def _meant(shell: Session, volume: Volume, path: str) -> list[tuple[str, FileInfo]]:
    """The path and the entry of each that a path with wildcards means; the path itself of one
    without.
    """
    directory, entries = shell.find(volume, path)
    if not is_wild(path.rstrip("/").rpartition("/")[2]):
        return [(path, entries[0])]
    return [(f"{directory}/{entry.name}".lstrip("/"), entry) for entry in entries]


# -- copying and moving ----------------------------------------------------------------------------


class _Side(VolumeTree):
    """A drive as one side of a copy, its paths as people see them here."""

    def __init__(self, shell: Session, drive: str, volume: Volume) -> None:
        super().__init__(volume, drive + "\\")
        self._shell, self._drive = shell, drive

    def shown(self, path: str) -> str:
        """The path as messages have it."""
        return self._shell.shown(self._drive, path)


@command(COMMANDS, "copy", 1, 2)
def copy(shell: Session, arguments: Words) -> int:
    r"""copy FROM [TO]

    Copies files (names may have * and ?) or a directory with all below it, also between drives, and
    over what is there; without a second path, to the current directory. * and ? in the new name
    stand for what the old one has there.

    Example: copy docs\*.txt *.bak
    """
    drive, volume, path = shell.resolve(arguments[0])
    to_drive, to_volume, to = shell.resolve(arguments[1] if len(arguments) > 1 else ".")
    source, target = _Side(shell, drive, volume), _Side(shell, to_drive, to_volume)
    files = 0
    errors: list[StatusError] = []
    items = [p for p, _ in _meant(shell, volume, path)] if path else [""]
    for names, place in _places(items, target, to):
        plan = plan_copy([(source, name) for name in names], target, place, recursive=True)
        errors += plan.problems + run_copy(plan)
        files += _copied(plan)
    for error in errors:
        shell.err(f"copy: {error.text}")
    if files or not errors:
        shell.out(f"{counted(files, 'file', width=8)} copied")
    return int(bool(errors))


def _copied(plan: Plan) -> int:
    return plan.files - sum(1 for s in plan.steps if s.failed and not s.item.directory)


def _places(items: list[str], target: VolumeTree, to: str) -> Iterable[tuple[list[str], str]]:
    """Which paths are copied where: all of them to one place, or by a mask each to its own.

    StatusError OBJECT_NAME_COLLISION where that would be the same for two of them.
    """
    above, _, mask = to.rpartition("/")
    if not is_wild(mask):
        return [(items, to)]
    places: dict[str, str] = {}
    for item in items:
        name = renamed(item.rpartition("/")[2], mask)
        other = places.setdefault(target.key(name), item)
        if other is not item:
            text = f"{item}: would be the same file as {other} in the target: nothing was copied"
            raise StatusError(Status.OBJECT_NAME_COLLISION, text)
    prefix = above + "/" if above else ""
    return [([i], prefix + renamed(i.rpartition("/")[2], mask)) for i in places.values()]


@command(COMMANDS, "move", 2, 2)
def move(shell: Session, arguments: Words) -> int:
    r"""move FROM TO

    Moves files (names may have * and ?) or a directory to another place on the same drive, or into
    a directory there. What is there already stays, and is told.

    Example: move docs\*.txt old
    """
    drive, volume, path = shell.resolve(arguments[0])
    to_drive, to_volume, to = shell.resolve(arguments[1])
    if drive != to_drive:
        raise StatusError(
            Status.NOT_SAME_DEVICE, f"cannot move from {drive} to {to_drive} use copy and del"
        )
    items = _meant(shell, volume, path)
    into = to_volume.is_dir(to)
    if len(items) > 1 and not to_volume.stat(to).is_directory:
        raise StatusError(Status.NOT_A_DIRECTORY, f"{shell.shown(drive, to)}: is not a directory")
    names = {p: entry.name for p, entry in items}

    def rename(old: str) -> None:
        shell.check_not_current(drive, volume, old)
        volume.rename(old, f"{to.rstrip('/')}/{names[old]}" if into else to)

    return _each(shell, names, rename)


@command(COMMANDS, "ren", 2, 2)
def ren(shell: Session, arguments: Words) -> int:
    """ren OLD NAME

    Gives a file or directory another name in the same directory, or several, where * and ? in the
    new name stand for what the old one has there.

    Example: ren *.txt *.bak
    """
    drive, volume, path = shell.resolve(arguments[0])
    mask = arguments[1]
    if any(c in mask for c in "/\\:"):
        raise UsageError("the new name is a name, not a path; move moves")
    items = _meant(shell, volume, path)
    names = {p: renamed(entry.name, mask) for p, entry in items}

    def rename(old: str) -> None:
        shell.check_not_current(drive, volume, old)
        volume.rename(old, f"{old.rstrip('/').rpartition('/')[0]}/{names[old]}")

    return _each(shell, names, rename)


# -- making and removing ---------------------------------------------------------------------------


@command(COMMANDS, "del", 1, MOST_WORDS, switches="f")
def del_(shell: Session, arguments: Words) -> int:
    """del [/f] FILE ...

    Removes files; names may have * and ?, which mean no directories. With /f also those that are
    read-only.

    Example: del *.bak
    """
    force = "f" in arguments.switches

    def remove(word: str) -> int:
        _, volume, path = shell.resolve(word)
        wild = is_wild(path.rpartition("/")[2])
        found = [p for p, e in _meant(shell, volume, path) if not (wild and e.is_directory)]
        return _each(shell, found, lambda p: volume.remove(p, force))

    return _each(shell, arguments, remove)


@command(COMMANDS, "md", 1, MOST_WORDS, lambda shell, words: Place.DIRECTORY)
def md(shell: Session, arguments: Words) -> int:
    r"""md DIRECTORY ...

    Makes directories.

    Example: md new new\inner
    """

    def make(word: str) -> None:
        _, volume, path = shell.resolve(word)
        volume.mkdir(path)

    return _each(shell, arguments, make)


@command(COMMANDS, "rd", 1, MOST_WORDS, lambda shell, words: Place.DIRECTORY, switches="s")
def rd(shell: Session, arguments: Words) -> int:
    """rd [/s] DIRECTORY ...

    Removes empty directories; with /s, all that is in them as well.

    Example: rd /s old
    """

    def remove(word: str) -> int:
        drive, volume, path = shell.resolve(word)
        if not path:
            raise StatusError(Status.ACCESS_DENIED, f"{drive}\\: the root directory stays")
        shell.check_not_current(drive, volume, path)
        errors: list[StatusError] = []
        if "s" in arguments.switches and volume.stat(path).is_directory:
            volume.rmtree(path, errors.append)
        else:
            volume.rmdir(path)
        for error in errors:
            shell.err(f"rd: {error}")
        return int(bool(errors))

    return _each(shell, arguments, remove)


@command(COMMANDS, "attrib", 0, MOST_WORDS)
def attrib(shell: Session, arguments: Words) -> int:
    """attrib [CHANGE ...] [PATH ...]

    Shows attributes of files and directories, or changes them: + sets and - clears r (read-only), h
    (hidden), s (system) and a (archive). Names may have * and ?; without one, all of the current
    directory.

    Example: attrib +h -a readme.txt
    """
    changes = [word for word in arguments if word[:1] in ("+", "-")]
    try:
        on, off = attribute_changes(changes)
    except StatusError as error:
        raise UsageError(error.text) from None

    def show_or_change(word: str) -> int:
        drive, volume, path = shell.resolve(word)
        items = _meant(shell, volume, path)
        if changes:
            return _each(shell, (p for p, _ in items), lambda p: volume.set_attributes(p, on, off))
        for p, entry in items:
            shell.out(f"{entry.flags}  {shell.shown(drive, p)}")
        return 0

    return _each(shell, [w for w in arguments if w not in changes] or ["*"], show_or_change)
