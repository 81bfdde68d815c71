"""The shell's commands. Each is a function of the shell and its arguments; its docstring is what
`help` prints.

The first line of a docstring is the usage, the rest says what the command does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from octavo.printing import counted
from octavo.shell.command import Command, Place, command
from octavo.shell.session import Session, UsageError
from octavo.status import Status, StatusError
from octavo.transfer.copy import run_copy
from octavo.transfer.plan import plan_copy
from octavo.transfer.volume import VolumeTree

if TYPE_CHECKING:
    pass

COMMANDS: dict[str, Command] = {}


# -- looking ---------------------------------------------------------------------------------------


@command(COMMANDS, "dir", 0, 1)
def dir_(shell: Session, arguments: list[str]) -> None:
    """dir [PATH]

    Lists a directory, a file, or what matches a name with * and ?.
    """
    drive, volume, path = shell.resolve(arguments[0] if arguments else "")
    if "*" not in path and "?" not in path and volume.stat(path).is_directory:
        directory, entries = path, volume.entries(path)
    else:
        directory, entries = shell.find(volume, path)
    shell.out(f" Directory of {shell.shown(drive, directory)}")
    shell.out("")
    for entry in sorted(entries, key=lambda e: (not e.is_directory, e.name.lower())):
        size = "    <DIR>" if entry.is_directory else f"{entry.size:9d}"
        shell.out(f"{entry.modified:%d.%m.%Y %H:%M} {size:>12}  {entry.name}")
    files = [e for e in entries if not e.is_directory]
    directories = counted(len(entries) - len(files), "directory", "directories", 8)
    shell.out(
        f"{counted(len(files), 'file', width=8)} "
        f"{counted(sum(e.size for e in files), 'byte', width=12)}"
    )
    shell.out(f"{directories} {counted(volume.space().free, 'byte', width=12)} free")


@command(COMMANDS, "cd", 0, 1, lambda shell, words: Place.DIRECTORY)
def cd(shell: Session, arguments: list[str]) -> None:
    """cd [PATH]

    Changes the current directory, and with a drive letter the drive; without a path, says where you
    are.
    """
    if not arguments:
        shell.out(shell.prompt[:-1])
        return
    drive, volume, path = shell.resolve(arguments[0])
    if not volume.stat(path).is_directory:
        raise StatusError(Status.NOT_A_DIRECTORY, f"{shell.shown(drive, path)}: is not a directory")
    shell.change(drive, None if arguments[0].upper() == drive else path)


@command(COMMANDS, "type", 1, 1)
def type_(shell: Session, arguments: list[str]) -> None:
    """type FILE

    Prints a file as text (UTF-8; what is not is shown as ?).
    """
    _, volume, path = shell.resolve(arguments[0])
    with volume.open(path) as file:
        tail = b""
        while data := file.read(1 << 16):
            *lines, tail = (tail + data).split(b"\n")
            for line in lines:
                shell.out(line.decode("utf-8", "replace").rstrip("\r"))
        if tail:
            shell.out(tail.decode("utf-8", "replace"))


# -- changing --------------------------------------------------------------------------------------


@command(COMMANDS, "copy", 2, 2)
def copy(shell: Session, arguments: list[str]) -> int | None:
    """copy FROM TO

    Copies files (names may have * and ?) or a directory with all below it, also between drives.
    """
    drive, volume, path = shell.resolve(arguments[0])
    to_drive, to_volume, to = shell.resolve(arguments[1])
    directory, entries = shell.find(volume, path) if path else ("", [volume.stat("")])
    source, target = VolumeTree(volume, drive + "\\"), VolumeTree(to_volume, to_drive + "\\")
    plan = plan_copy(
        [(source, f"{directory}/{entry.name}".strip("/")) for entry in entries],
        target,
        to,
        recursive=True,
    )
    errors = plan.problems + run_copy(plan)
    for error in errors:
        shell.err(f"copy: {error.text}")
    failed = sum(1 for step in plan.steps if step.failed and not step.item.directory)
    if plan.steps:
        shell.out(f"{counted(plan.files - failed, 'file', width=8)} copied")
    return 1 if errors else 0


@command(COMMANDS, "move", 2, 2)
def move(shell: Session, arguments: list[str]) -> None:
    """move FROM TO

    Moves files (names may have * and ?) or a directory to another place on the same drive, or into
    a directory there.
    """
    drive, volume, path = shell.resolve(arguments[0])
    to_drive, to_volume, to = shell.resolve(arguments[1])
    if drive != to_drive:
        raise StatusError(
            Status.NOT_SAME_DEVICE, f"cannot move from {drive} to {to_drive} use copy and del"
        )
    directory, entries = shell.find(volume, path)
    into = to_volume.is_dir(to)
    if len(entries) > 1 and not to_volume.stat(to).is_directory:
        raise StatusError(Status.NOT_A_DIRECTORY, f"{shell.shown(drive, to)}: is not a directory")
    for entry in entries:
        name = path.rstrip("/").rpartition("/")[2] if len(entries) == 1 else entry.name
        volume.rename(
            f"{directory}/{name}".strip("/"), f"{to.rstrip('/')}/{entry.name}" if into else to
        )


@command(COMMANDS, "ren", 2, 2)
def ren(shell: Session, arguments: list[str]) -> None:
    """ren OLD NAME

    Gives a file or directory another name in the same directory.
    """
    _, volume, path = shell.resolve(arguments[0])
    if any(c in arguments[1] for c in "/\\:"):
        raise UsageError("the new name is a name, not a path; move moves")
    volume.rename(path, f"{path.rstrip('/').rpartition('/')[0]}/{arguments[1]}")


@command(COMMANDS, "del", 1, 1)
def del_(shell: Session, arguments: list[str]) -> None:
    """del FILE

    Removes a file, or the files that match a name with * and ?.
    """
    _, volume, path = shell.resolve(arguments[0])
    directory, entries = shell.find(volume, path)
    wild = path.rstrip("/").rpartition("/")[2]
    for entry in entries:
        if not (entry.is_directory and ("*" in wild or "?" in wild)):
            volume.remove(
                f"{directory}/{entry.name}"
                if len(entries) > 1 or "*" in wild or "?" in wild
                else path
            )


@command(COMMANDS, "md", 1, 1, lambda shell, words: Place.DIRECTORY)
def md(shell: Session, arguments: list[str]) -> None:
    """md DIRECTORY

    Makes a directory.
    """
    _, volume, path = shell.resolve(arguments[0])
    volume.mkdir(path)


@command(COMMANDS, "rd", 1, 1, lambda shell, words: Place.DIRECTORY)
def rd(shell: Session, arguments: list[str]) -> None:
    """rd DIRECTORY

    Removes an empty directory.
    """
    _, volume, path = shell.resolve(arguments[0])
    volume.rmdir(path)


# -- volumes ---------------------------------------------------------------------------------------


@command(COMMANDS, "mount", 0, 1, lambda shell, words: Place.HOST)
def mount(shell: Session, arguments: list[str]) -> None:
    """mount [IMAGE]

    Mounts the volume in an image of the host under the next free letter; without an image, lists
    what is mounted.
    """
    if arguments:
        volume = shell.system.attach(arguments[0])
        shell.out(f"{arguments[0]} is mounted on {volume.letter}")
        return
    for letter, volume in sorted(shell.system.volumes.items()):
        space = volume.space()
        how = " read-only" if volume.read_only else ""
        shell.out(
            f"{letter} {volume.kind:<6} {space.total >> 10:>10} KiB, {space.free >> 10} "
            f"KiB free  {volume.label or '-':<11} {volume.core.name}{how}"
        )


@command(
    COMMANDS,
    "umount",
    1,
    2,
    lambda shell, words: ["discard"] if words else sorted(shell.system.volumes),
)
def umount(shell: Session, arguments: list[str]) -> None:
    """umount DRIVE [discard]

    Writes everything to a drive's device and lets go of it. With "discard", what could not be
    written is given up.
    """
    if len(arguments) == 2 and arguments[1].lower() != "discard":
        raise UsageError("usage: umount DRIVE [discard]")
    drive = shell.letter(arguments[0])
    shell.system.unmount(drive, discard=len(arguments) == 2)
    shell.out(f"{drive} is unmounted")


@command(COMMANDS, "sync", 0, 1, lambda shell, words: sorted(shell.system.volumes))
def sync(shell: Session, arguments: list[str]) -> None:
    """sync [DRIVE]

    Returns when everything on a drive, or on all of them, is on stable storage.
    """
    drives = [shell.letter(arguments[0])] if arguments else sorted(shell.system.volumes)
    for drive in drives:
        shell.volume(drive).flush()


# -- the system ------------------------------------------------------------------------------------


@command(COMMANDS, "cls", 0, 0)
def cls(shell: Session, arguments: list[str]) -> None:
    """cls

    Empties the screen.
    """
    shell.clear()


@command(COMMANDS, "exit", 0, 0)
def exit_(shell: Session, arguments: list[str]) -> int:
    """exit

    Unmounts everything and ends.
    """
    shell.done = True
    return shell.status
