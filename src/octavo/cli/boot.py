"""Booting: firmware map to prompt."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from octavo.boot.plan import LEAST_FRAMES
from octavo.cli.output import complain_at_end, print_json, show, tell
from octavo.cli.scripts import open_script, whole_lines
from octavo.cli.verb import Verb, add_json, add_options, option, size, wrong
from octavo.machine.abi import PAGE_SHIFT
from octavo.machine.mapsources import recorded_maps
from octavo.machine.paging import FORMATS
from octavo.memory.reclaim.policies import MODULES
from octavo.memory.reclaim.profiles import PROFILES
from octavo.status import StatusError
from octavo.system import DEFAULT_ARCH, DEFAULT_MAP, DEFAULT_MEMORY, System
from octavo.system import boot as boot_system

if TYPE_CHECKING:
    from octavo.shell.shell import Shell

_OPTIONS = (
    option("images", metavar="IMAGE", nargs="*", help="disk images; with none, a RAM disk is made"),
    option(
        "-m",
        "--memory",
        default=DEFAULT_MEMORY,
        help="memory limit, such as 16M; 'all' for all that the map has (default 64M)",
    ),
    option(
        "--arch", choices=FORMATS, default=DEFAULT_ARCH, help="page-table format (default x86-64)"
    ),
    option(
        "--firmware-map",
        metavar="MAP",
        default=DEFAULT_MAP,
        help="a file (dmesg text, JSON, ranges), 'host', or a recorded one: "
        f"{', '.join(recorded_maps())} (default {DEFAULT_MAP})",
    ),
    option(
        "--profile", choices=PROFILES, default="nt", help="how address spaces page (default nt)"
    ),
    option(
        "--policy",
        choices=MODULES,
        help="which pages leave address spaces, if not as the profile says",
    ),
    option(
        "--cluster",
        type=int,
        metavar="PAGES",
        help="most pages that a fault on a mapped file brings in, if not as the profile says",
    ),
    option(
        "--page-file",
        metavar="FILE",
        action="append",
        default=[],
        help="a file or device whose contents are lost: it becomes a page file",
    ),
    option(
        "-c",
        dest="commands",
        metavar="COMMANDS",
        action="append",
        help="run these shell commands, separated by ';', up to one that fails, and exit with "
        "its status; may be given several times",
    ),
    option(
        "--script",
        metavar="FILE",
        help="run the shell commands in a file of the host, one a line, up to one that fails, and "
        "exit with its status; errors have the number of the line",
    ),
    option(
        "-k",
        "--keep-going",
        action="store_true",
        help="with -c and --script, run all the commands; the exit code is the last status",
    ),
    option("-q", "--quiet", action="store_true", help="do not print the boot log"),
    option("--read-only", action="store_true", help="change nothing in the images"),
    option("--seed", type=int, help="run in virtual time: one seed, one trace of events"),
)


_STDIN = "standard input"


def _arguments(parser: ArgumentParser) -> None:
    add_options(parser, _OPTIONS)
    add_json(parser)


def boot(arguments: Namespace) -> int:
    """Boots on a firmware map, mounts images, and runs the shell."""
    if arguments.script is not None and arguments.commands is not None:
        wrong(arguments, "commands come from -c or from --script, not from both")
    system = _start(arguments)
    status = 1
    try:
        for path in arguments.page_file:
            system.add_page_file(path)
        if not arguments.images:
            system.attach_ram_disk()
        status = _session(system, arguments)
    finally:
        status = _close(system, status)
    return status


def _start(arguments: Namespace) -> System:
    """A system as the command line wants it, its images mounted."""
    return boot_system(
        None if arguments.memory == "all" else _memory(arguments),
        arguments.images,
        arguments.arch,
        arguments.firmware_map,
        arguments.read_only,
        arguments.seed,
        echo=None if arguments.json or arguments.quiet else show,
        profile=arguments.profile,
        policy=arguments.policy,
        cluster=arguments.cluster,
        codepage=arguments.codepage,
    )


def _memory(arguments: Namespace) -> int:
    """The memory limit in bytes."""
    limit = size(arguments, arguments.memory)
    if limit >> PAGE_SHIFT < LEAST_FRAMES:
        least = LEAST_FRAMES << PAGE_SHIFT >> 10
        wrong(arguments, f"--memory {arguments.memory}: at least {least}K are needed")
    return limit


def _session(system: System, arguments: Namespace) -> int:
    """Runs the shell and tells what it led to; returns the last status."""
    from octavo.shell.shell import Shell  # takes long, and the help does without

    output: list[str] = []
    shell = Shell(system, output.append) if arguments.json else Shell(system, print, tell)
    status = _run(shell, arguments)
    if arguments.json:
        _report(system, output, status)
    elif arguments.seed is not None:
        print(f"Event trace: {system.scheduler.trace_hash()}")
    return status


def _run(shell: Shell, arguments: Namespace) -> int:
    shell.ask = _ask
    if arguments.script is not None:
        name = arguments.script
        with open_script(name) as script:
            return shell.run_script(whole_lines(script, name), name, arguments.keep_going)
    if arguments.commands is not None:
        return shell.run("; ".join(arguments.commands), arguments.keep_going)
    if arguments.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return shell.run_script(whole_lines(sys.stdin, _STDIN))
    from octavo.shell.terminal import run_terminal

    print("Type help for the commands, exit to leave.")
    return run_terminal(shell)


def _ask(prompt: str) -> str | None:
    """A line of standard input, for a command that asks; the prompt is shown where it is typed."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        print(prompt, end="", flush=True)
    line = next(whole_lines(sys.stdin, _STDIN), None)
    return line if line is None else line.rstrip("\r\n")


def _report(system: System, output: list[str], status: int) -> None:
    data: dict[str, object] = {
        "log": system.log,
        "output": output,
        "status": status,
        "statistics": system.statistics(),
    }
    if system.scheduler.clock.virtual:
        data["trace"] = system.scheduler.trace_hash()
    print_json(data)


def _close(system: System, status: int) -> int:
    """Unmounts everything; an error makes the status 1."""
    try:
        system.close()
    except StatusError as error:
        complain_at_end(error)
        system.abandon()
        return 1
    return status


VERBS = {
    "boot": Verb(
        "Boot on a firmware map, mount images, and run the shell. Floppies get A: and B:, "
        "disks C: on.",
        '  octavo boot\n  octavo boot disk.img --memory 16M -c "dir; type readme.txt"\n'
        '  octavo boot disk.img --profile linux --page-file swap.bin -c "vm map '
        'readme.txt; vm where 0x10000; memory spaces"\n'
        "  octavo boot disk.img -q --script install.txt\n"
        '  dmesg > map.txt; octavo boot --firmware-map map.txt --memory all',
        _arguments, boot,
    ),
}  # fmt: skip
