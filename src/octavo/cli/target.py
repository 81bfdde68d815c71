"""Arguments of the form IMAGE:PATH, as scp has HOST:PATH, and the images that a command works on.

The image ends at the first ":" that has an existing file in front of it. Where there is none, a
text with ":" before any "/" is meant as one, and opening it says what is missing; anything else is
a path of the host ("./a:b" is one, too).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from octavo.files import Volume
from octavo.fs.fat.names import CODE_PAGE
from octavo.status import Status, StatusError
from octavo.storage.hosterrors import identity
from octavo.system import IMAGE_MAP, IMAGE_MEMORY, System

if TYPE_CHECKING:
    from octavo.transfer.tree import Tree


@dataclass(frozen=True)
class Target:
    """A path in an image, or on the host when `image` is ""."""

    image: str
    path: str
    text: str


def parse_target(text: str) -> Target:
    """The target that an argument means."""
    at = text.find(":")
    while at > 0:
        if os.path.exists(text[:at]) and not os.path.isdir(text[:at]):
            return Target(text[:at], text[at + 1 :], text)
        at = text.find(":", at + 1)
    image, colon, path = text.partition(":")
    if colon and ("/" not in image or path.startswith("/")) and image and not os.path.lexists(text):
        return Target(image, path, text)
    return Target("", text, text)


def parse_image(text: str) -> Target:
    """The image that an argument means, which alone means its root; opening it says what is
    missing.
    """
    target = parse_target(text)
    if target.image or os.path.lexists(text):
        return target if target.image else Target(text, "", text)
    image, _, path = text.partition(":")
    return Target(image, path, text) if image else Target(text, "", text)


def parse_image_target(text: str) -> Target:
    """A target that must be in an image. StatusError INVALID_PARAMETER for a directory of the
    host.
    """
    target = parse_image(text)
    if not target.path and os.path.isdir(text):
        why = (
            f"{text}: is a directory of the host, not IMAGE:PATH, such as disk.img:/docs; for "
            "files of the host use the host's commands"
        )
        raise StatusError(Status.INVALID_PARAMETER, why)
    return target


def _key(image: str) -> tuple[int, int] | str:
    """What is equal for all the names of one image."""
    try:
        return identity(os.stat(image))
    except OSError:  # opening it says what is missing
        return image


class Images:
    """The images that one command works on, each mounted once, when it is first asked for, on one
    system.

    What cannot be mounted is told where it is asked for: the other images are worked on all the
    same.
    """

    def __init__(
        self, write: Sequence[Target] = (), memory: str = IMAGE_MEMORY, codepage: str = CODE_PAGE
    ) -> None:
        self._writable = {_key(t.image) for t in write if t.image}
        self._volumes: dict[tuple[int, int] | str, Volume] = {}
        self.system = System(memory, firmware_map=IMAGE_MAP, codepage=codepage)

    def volume(self, target: Target) -> Volume:
        """The volume that a target's image has. StatusError when it cannot be opened, or has
        none.
        """
        key = _key(target.image)
        if key not in self._volumes:
            self._volumes[key] = self.system.attach(
                target.image, read_only=key not in self._writable
            )
        return self._volumes[key]

    def tree(self, target: Target) -> Tree:
        """The tree that a target is in."""
        from octavo.transfer.host import HostTree  # of these verbs only `cp` has trees
        from octavo.transfer.volume import VolumeTree

        return (
            VolumeTree(self.volume(target), target.image + ":")
            if target.image
            else HostTree(self._volumes)
        )

    def __enter__(self) -> Images:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.system.__exit__(kind, error, trace)
