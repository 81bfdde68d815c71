r"""Commands for drives: current directories, mounting, labels.

The first line of a docstring is the usage, the rest says what the command does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from octavo.shell.command import Command, Place, Words, command
from octavo.shell.line import UsageError
from octavo.shell.session import Session
from octavo.status import Status, StatusError

COMMANDS: dict[str, Command] = {}
_DRIVE = re.compile("[A-Za-z]:")


@command(COMMANDS, "cd", 0, 1, lambda shell, words: Place.DIRECTORY)
def cd(shell: Session, arguments: Words) -> None:
    r"""cd [PATH]

    Changes the current directory, and with a drive letter the drive; without a path, says where you
    are. Each drive has a current directory of its own, to which "c:" goes back.

    Example: cd \docs
    """
    if not arguments:
        shell.out(shell.current(shell.drive))
        return
    drive, volume, path = shell.resolve(arguments[0])
    if not volume.stat(path).is_directory:
        raise StatusError(Status.NOT_A_DIRECTORY, f"{shell.shown(drive, path)}: is not a directory")
    shell.change(drive, None if arguments[0].upper() == drive else path)


@command(COMMANDS, "pwd", 0, 0)
def pwd(shell: Session, arguments: Words) -> None:
    """pwd

    Says where you are: the drive and its current directory.

    Example: pwd
    """
    shell.out(shell.current(shell.drive))


@command(COMMANDS, "label", 0, 2, lambda shell, words: sorted(shell.system.volumes))
def label(shell: Session, arguments: Words) -> None:
    """label [DRIVE] [LABEL]

    Shows the label and the serial number of a volume, or gives it another label; "" for none.

    Example: label c: "MY DISK"
    """
    named = bool(arguments) and _DRIVE.fullmatch(arguments[0]) is not None
    drive = shell.letter(arguments[0]) if named else shell.drive
    words, volume = arguments[named:], shell.volume(drive)
    if len(words) > 1:
        raise UsageError("usage: label [DRIVE] [LABEL]")
    if words:
        volume.set_label(words[0])
        return
    serial = f"{volume.serial >> 16:04X}-{volume.serial & 0xFFFF:04X}"
    shell.out(f"{drive} {volume.label or 'has no label'}, serial {serial}")


@command(COMMANDS, "mount", 0, 2, lambda shell, words: [] if words else Place.HOST)
def mount(shell: Session, arguments: Words) -> None:
    """mount [IMAGE [DRIVE] | DRIVE]

    Mounts the volume in an image of the host under a letter, or the next one that is free. With a
    drive alone, mounts its volume again, or looks whether its medium, which was changed, is its own
    again. Without a word, lists drives.

    Example: mount
    """
    if not arguments:
        for line in _listed(shell):
            shell.out(line)
        return
    system, word = shell.system, arguments[0]
    if len(arguments) == 1 and _DRIVE.fullmatch(word):
        if word.upper() in system.volumes:
            system.verify(word)
        else:
            system.mount(word)
        shell.out(f"{word.upper()} is mounted")
        return
    volume = system.attach(word, letter=arguments[1] if len(arguments) > 1 else "")
    shell.out(f"{word} is mounted on {volume.letter}")


def _listed(shell: Session) -> Iterator[str]:
    """A line for each drive."""
    drives = shell.system.drives
    for letter in sorted({*drives.volumes, *drives.unmounted}):
        if letter in drives.unmounted:
            yield f"{letter} not mounted  {drives.unmounted[letter].name}"
            continue
        volume = drives.volumes[letter]
        space = volume.space()
        how = " read-only" if volume.read_only else ""
        yield (
            f"{letter} {volume.kind:<6} {space.total >> 10:>10} KiB, {space.free >> 10} "
            f"KiB free  {volume.label or '-':<11} {volume.core.name}{how}"
        )


@command(
    COMMANDS,
    "umount",
    1,
    2,
    lambda shell, words: ["discard"] if words else sorted(shell.system.volumes),
    switches="fk",
)
def umount(shell: Session, arguments: Words) -> None:
    """umount [/f] [/k] DRIVE [discard]

    Writes everything to a drive's device and lets go of it. With "discard", what could not be
    written is given up.
      /f  also when there are open files, which end
      /k  keeps the device under its letter, to be mounted again

    Example: umount a:
    """
    if len(arguments) == 2 and arguments[1].lower() != "discard":
        raise UsageError("usage: umount [/f] [/k] DRIVE [discard]")
    drive = shell.letter(arguments[0])
    force, keep = ("f" in arguments.switches, "k" in arguments.switches)
    shell.system.unmount(drive, len(arguments) == 2, force, keep)
    shell.forget(drive)
    shell.out(f"{drive} is unmounted")


@command(COMMANDS, "sync", 0, 1, lambda shell, words: sorted(shell.system.volumes))
def sync(shell: Session, arguments: Words) -> None:
    """sync [DRIVE]

    Returns when everything on a drive, or on all of them, is on stable storage.

    Example: sync c:
    """
    drives = [shell.letter(arguments[0])] if arguments else sorted(shell.system.volumes)
    for drive in drives:
        shell.volume(drive).flush()
