"""Octavo: an operating system's memory and storage executive.

with octavo.open_image("disk.img") as volume: ...       the short way to the files in an image
with octavo.boot(memory="16M", disks=[...]) as system: ...   the whole executive
"""

from octavo.files import File, Volume
from octavo.status import Status, StatusError
from octavo.system import System, boot, open_image
from octavo.version import VERSION

__version__ = VERSION
__all__ = ["File", "Status", "StatusError", "System", "Volume", "__version__", "boot", "open_image"]
