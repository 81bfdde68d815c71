"""Whether the medium in a drive is a mounted volume's own, after it was changed.

What is compared is the volume's type, geometry, serial number and label. What was changed in its
files by somebody else meanwhile cannot be told: pages that nobody has open are read anew, where
nothing waits to be written.

Source: NT's verification of volumes (IRP_MN_VERIFY_VOLUME).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from octavo.cache.manager import CacheManager
from octavo.fs.probe import probe
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.protocol import FileSystemVolume


async def verify(volume: FileSystemVolume, cache: CacheManager, codepage: str) -> None:
    """Lets a volume be used on when the medium in its drive is its own; does nothing when that was
    not changed.

    StatusError WRONG_VOLUME, NO_MEDIA_IN_DEVICE, MEDIA_WRITE_PROTECTED when it can only be read by
    now, or that of a read: the volume stays as it was.
    """
    if not volume.changed:
        return
    volume.device.refresh()
    try:
        found = await probe(volume.device, cache, codepage)
    except StatusError as error:
        if error.status != Status.UNRECOGNIZED_VOLUME:
            raise
        why = f"{volume.name}: the medium in the drive has no volume ({error.text})"
        raise StatusError(Status.WRONG_VOLUME, why) from None
    same, read_only = found.identity == volume.identity, found.read_only
    label = found.label
    await found.unmount(discard=True)
    if not same:
        why = (
            f"{volume.name}: another volume is in the drive"
            + (f", {label}" if label else "")
            + f": put {volume.label or 'the first one'} back, or unmount it with discard"
        )
        raise StatusError(Status.WRONG_VOLUME, why)
    if read_only and not volume.read_only:
        why = f"{volume.name}: the volume in the drive can only be read now: unmount it, then mount"
        raise StatusError(Status.MEDIA_WRITE_PROTECTED, why)
    await volume.resume()
