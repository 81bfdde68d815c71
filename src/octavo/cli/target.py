"""Arguments of the form IMAGE:PATH, as scp has HOST:PATH, and the images that a command works on.
IMAGE may name a part of a file (`octavo.storage.imagename`).

The image ends at the first ":" that has an existing file in front of it. Where there is none, a
text with ":" before any "/" is meant as one, and opening it says what is missing; anything else is
a path of the host ("./a:b" is one, too).
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from octavo.cli.output import Failures
from octavo.cli.verb import source_date, waiting
from octavo.files import ABSENT, Volume
from octavo.status import Status, StatusError
from octavo.storage.hosterrors import identity
from octavo.storage.imagename import parse_image_name
from octavo.system import IMAGE_MAP, IMAGE_MEMORY, System

if TYPE_CHECKING:
    from octavo.transfer.tree import Tree


@dataclass(frozen=True)
class Target:
    """A path in an image, or on the host when `image` is ""."""

    image: str
    path: str
    text: str


def _is_image(text: str) -> bool:
    """Whether there is a file, or a device, for a text that may name a part of it."""
    path = parse_image_name(text).path
    return os.path.exists(path) and not os.path.isdir(path)


def parse_target(text: str) -> Target:
    """The target that an argument means."""
    at = text.find(":")
    while at > 0:
        if _is_image(text[:at]):
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


_Key = tuple[tuple[int, int] | str, int | None, int]  # the file, and which part of it


def _key(image: str) -> _Key:
    """What is equal for all the names of one image, or of one part of it."""
    name = parse_image_name(image)
    try:
        return identity(os.stat(name.path)), name.number, name.start
    except OSError:  # opening it says what is missing
        return name.path, name.number, name.start


class Images:
    """The images that one command works on, each mounted once, when it is first asked for, on one
    system.

    What cannot be mounted is told where it is asked for: the other images are worked on all the
    same.
    """

    def __init__(
        self, arguments: Namespace, write: Sequence[Target] = (), memory: str = IMAGE_MEMORY
    ) -> None:
        self._wait = waiting(arguments)
        self._write = {_key(t.image): t.image for t in write if t.image}
        self._volumes: dict[_Key, Volume | StatusError] = {}
        self._files: set[object] = set()  # those of the images, by `identity`
        self.wall = source_date()
        self.system = System(
            memory, firmware_map=IMAGE_MAP, codepage=arguments.codepage, wall=self.wall
        )

    def volume(self, target: Target) -> Volume:
        """The volume that a target's image has. StatusError when it cannot be opened, or has
        none.
        """
        key = _key(target.image)
        if key not in self._write:
            for other, image in self._write.items():
                if other[0] == key[0]:  # parts of one image: it is opened for writing
                    self._mount(other, image)
        found = self._mount(key, target.image)
        if isinstance(found, StatusError):
            raise found
        return found

    def whole(self, target: Target) -> Volume:
        """As `volume`, for what is done with all of it. StatusError INVALID_PARAMETER for a path in
        an image.
        """
        found = self.volume(target)
        if target.path.strip("/"):
            why = f"{target.text}: names {target.path} in an image, and the whole image is needed"
            raise StatusError(Status.INVALID_PARAMETER, why)
        return found

    def _mount(self, key: _Key, image: str) -> Volume | StatusError:
        found = self._volumes.get(key)
        if found is None:
            try:
                found = self._attached(image, key not in self._write)
                self._files.add(key[0])
            except StatusError as error:  # is told to each who asks
                found = error
            self._volumes[key] = found
        return found

    def _attached(self, image: str, read_only: bool) -> Volume:
        """Opens and mounts an image; waits for it while somebody else has it."""

        def attempt() -> Volume:
            return self.system.attach(image, read_only)

        if not self._wait or _key(image)[0] in self._files:  # we have it open ourselves
            return attempt()
        from octavo.cli.patience import patiently

        return patiently(attempt, self._wait, self.system.scheduler.clock)

    def expand(self, target: Target) -> list[Target]:
        """The targets that one with * and ? in its last name means, in the order of their names;
        any other is itself. StatusError OBJECT_NAME_NOT_FOUND when nothing matches.
        """
        if not target.image or not ("*" in target.path or "?" in target.path):
            return [target]
        from octavo.fs.wildcards import find

        volume = self.volume(target)
        if not volume.kind.startswith("FAT") and volume.exists(target.path):
            return [target]  # ext2 has such names
        found = self.system.scheduler.run(find(volume.core, target.path.replace("\\", "/")))
        directory, entries = found
        paths = [f"{directory}/{entry.name}" for entry in sorted(entries, key=lambda e: e.name)]
        return [Target(target.image, path, f"{target.image}:{path}") for path in paths]

    def each(
        self, targets: Iterable[Target], failures: Failures, some: bool = False
    ) -> Iterator[Target]:
        """The targets that several mean; what cannot be found is told, unless, with `some`, nothing
        need match.
        """
        for target in targets:
            found: list[Target] = []
            with failures.apart():
                try:
                    found = self.expand(target)
                except StatusError as error:
                    if not (some and error.status in ABSENT):
                        raise
            yield from found

    def tree(self, target: Target) -> Tree:
        """The tree that a target is in."""
        from octavo.transfer.host import HostTree  # of these verbs only `cp` has trees
        from octavo.transfer.volume import VolumeTree

        return (
            VolumeTree(self.volume(target), target.image + ":")
            if target.image
            else HostTree(self._files)
        )

    def __enter__(self) -> Images:
        return self

    def __exit__(self, *what: Any) -> None:
        self.system.__exit__(*what)
