"""Booting: firmware map to prompt."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from octavo.cli.images import size_option
from octavo.cli.output import print_json
from octavo.machine.paging import FORMATS
from octavo.shell.shell import Shell
from octavo.status import StatusError
from octavo.system import DEFAULT_ARCH, DEFAULT_MAP, DEFAULT_MEMORY, System
from octavo.system import boot as boot_system


def boot(
    images: Annotated[list[str] | None, typer.Argument(metavar="[IMAGE]...", help="Disk images; with none, a RAM disk is made.")] = None,
    memory: Annotated[str, typer.Option("--memory", "-m", help="Memory limit, such as 16M; 'all' for all that the map has.")] = DEFAULT_MEMORY,
    arch: Annotated[str, typer.Option("--arch", help=f"One of {', '.join(FORMATS)}.")] = DEFAULT_ARCH,
    firmware_map: Annotated[
        str, typer.Option("--firmware-map", metavar="FILE|host|NAME", help="A file (dmesg text, JSON, ranges), this host's, or a recorded one.")
    ] = DEFAULT_MAP,
    commands: Annotated[str | None, typer.Option("-c", metavar="COMMANDS", help="Run these shell commands, separated by ';', and exit.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Change nothing in the images.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Run in virtual time: one seed, one trace of events.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the boot log, output, status and statistics as JSON.")] = False,
) -> None:
    """Boot on a firmware map, mount images, and run the shell. Floppies get A: and B:, disks C: on.

    octavo boot disk.img --memory 16M -c "dir; type readme.txt"
    """
    if arch not in FORMATS:
        raise typer.BadParameter(f"{arch!r} is not one of {', '.join(FORMATS)}", param_hint="--arch")
    limit = None if memory == "all" else size_option(memory)
    output: list[str] = []
    system = boot_system(limit, images or [], arch, firmware_map, read_only, seed, echo=None if json else print)
    status = 1
    try:
        if not images:
            system.attach_ram_disk()
        shell = Shell(system, output.append if json else print)
        status = _run(shell, commands, json)
        if json:
            _report(system, output, status)
        elif seed is not None:
            print(f"Event trace: {system.scheduler.trace_hash()}")
    finally:
        status = _close(system, status)
    raise typer.Exit(status)


def _run(shell: Shell, commands: str | None, json: bool) -> int:
    if commands is not None:
        return shell.run(commands)
    if json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        for line in sys.stdin:
            shell.execute(line)
            if shell.done:
                break
        return shell.status
    from octavo.shell.terminal import run_terminal

    print("Type help for the commands, exit to leave.")
    return run_terminal(shell)


def _report(system: System, output: list[str], status: int) -> None:
    data: dict[str, object] = {"log": system.log, "output": output, "status": status, "statistics": system.statistics()}
    if system.scheduler.clock.virtual:
        data["trace"] = system.scheduler.trace_hash()
    print_json(data)


def _close(system: System, status: int) -> int:
    """Unmounts everything; an error makes the status 1."""
    try:
        system.close()
    except StatusError as error:
        print(f"octavo: {error.text}", file=sys.stderr)
        system.abandon()
        return 1
    return status


def register(app: typer.Typer) -> None:
    """Adds the verb of this file."""
    app.command()(boot)
