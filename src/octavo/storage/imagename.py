"""Names of images: of a whole one, of one of its partitions, or of what begins at a byte of it.

    disk.img        the image      disk.img#2      its second partition
                                   disk.img@@1M    what begins behind its first MiB, as for mtools

A file of the host that exists under the whole name is what is meant, whatever characters are in it.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from octavo.arguments import parse_size
from octavo.status import StatusError

_PART = re.compile(r"(.+)(?:#([0-9]{1,9})|@@([0-9][^/@]*))", re.DOTALL)


class ImageName(NamedTuple):
    """The file of an image; the number of the partition that is named, if one is; and the byte that
    is, or 0.
    """

    path: str
    number: int | None = None
    start: int = 0

    @property
    def whole(self) -> bool:
        """True when no part is named."""
        return self.number is None and not self.start


def parse_image_name(text: str) -> ImageName:
    """What a name means; the file need not be there."""
    found = None if os.path.lexists(text) else _PART.fullmatch(text)
    if found is None:
        return ImageName(text)
    path, number, place = found.groups()
    if number is not None:
        return ImageName(path, int(number))
    try:
        return ImageName(path, None, parse_size(place))
    except StatusError:  # no size: a name like any other
        return ImageName(text)
