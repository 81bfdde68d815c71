"""The `octavo` command. Exit codes: 0 done, 1 the work failed (one sentence says why), 2 the call was wrong, 130 interrupted."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from octavo.cli import boot, files, images
from octavo.status import StatusError
from octavo.version import VERSION

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Octavo: an operating system's memory and storage executive. Works on FAT disk images with no root, and boots to a shell.",
    epilog="A path in an image is IMAGE:PATH, such as disk.img:/docs/a.txt. Start with: octavo mkfs --size 64M disk.img",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"octavo {VERSION}")
        raise typer.Exit()


@app.callback()
def _options(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    pass


boot.register(app)
files.register(app)
images.register(app)


def main() -> None:
    """Runs the command line and exits."""
    try:
        app()
    except StatusError as error:
        print(f"octavo: {error.text}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read our output has gone: no more of it at exit
        code = 0
    else:
        return
    raise SystemExit(code)
