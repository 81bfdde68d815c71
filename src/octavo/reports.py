"""Looking inside: the shell as an object, and its reports as lines of text. See docs/booting.md."""

from octavo.shell.report import cache_report, memory_report
from octavo.shell.shell import Shell

__all__ = ["Shell", "cache_report", "memory_report"]
