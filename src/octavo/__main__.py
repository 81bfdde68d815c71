"""Where the `octavo` command and `python -m octavo` begin: signals are taken before anything that
takes time is imported.

A signal that comes before the work has begun, or when it is done, has nothing to clean up: it ends
the process at once, with the exit code that `octavo.cli.main` promises. Only what Python itself
does before this file is left to Python.
"""

import os

from octavo.cli.signals import handle_signals


def main() -> None:
    """Runs the process's command line and exits."""
    handle_signals(_end_at_once)
    from octavo.cli.main import main as run

    run()


def _end_at_once(number: int, frame: object) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
