"""Octavo: an operating system's memory and storage executive.

with octavo.open_image("disk.img") as volume: ...       the short way to the files in an image
with octavo.boot(memory="16M", disks=[...]) as system: ...   the whole executive

The public names are imported when they are first asked for: the command (`octavo.__main__`) cannot
wait for all of them.
"""

from importlib import import_module

from octavo.version import VERSION

TYPE_CHECKING = False  # as typing has it, which takes longer than the rest of this file

if TYPE_CHECKING:
    from octavo.files import File, Volume
    from octavo.status import Status, StatusError
    from octavo.system import System, boot, open_image
else:
    from octavo import (
        boot,
    )  # the package: one that is loaded later would put itself into the place of the function

    del boot
    _PLACES = {
        "File": "files",
        "Volume": "files",
        "Status": "status",
        "StatusError": "status",
        "System": "system",
        "boot": "system",
        "open_image": "system",
    }

    def __getattr__(name: str) -> object:
        """A public name, from where it is made."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"octavo.{_PLACES[name]}"), name)
        return found

    def __dir__() -> list[str]:
        """What is here already, and the public names."""
        return sorted({*globals(), *_PLACES})


__version__ = VERSION
__all__ = ["File", "Status", "StatusError", "System", "Volume", "__version__", "boot", "open_image"]
