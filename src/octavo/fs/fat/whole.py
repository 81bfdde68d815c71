"""Making a file with all that it is to contain: its entry is written once, with size, cluster and times.

A copy of a tree is made of these; by way of open, write and close each entry would be packed and written three times.
"""

from __future__ import annotations

from octavo.cache.regions import RegionMap
from octavo.fs.base import check_file_path
from octavo.fs.fat.entry import ARCHIVE, new_entry
from octavo.fs.fat.file import MOST_BYTES
from octavo.fs.fat.names import clean_name, fold
from octavo.fs.fat.volume import FatVolume
from octavo.io.regionpager import Mapping
from octavo.memory.section import Section
from octavo.status import Status, StatusError


async def create_whole(volume: FatVolume, path: str, data: bytes, modified: float | None) -> bool:
    """Makes a file of `data`, last written at `modified` (None: now); False, and nothing done, when the path is there already.

    StatusError as `FatVolume.open` and `FatFile.write`; there is no file then, also when memory or the device fails in the
    middle of the data.
    """
    written = volume.stamp(modified)  # a wrong time is refused also for a file that is there
    async with volume.mutex:
        directory, entry, name = await volume._resolve(path)
        if entry is not None:
            return False
        if len(data) > MOST_BYTES:
            raise StatusError(Status.FILE_TOO_LARGE, f"{path}: a file on FAT has at most {MOST_BYTES} bytes")
        check_file_path(path)
        volume._writable(path)
        name = clean_name(name)
        if fold(name) in directory.names:
            return False
        await volume._modify()
        entry = new_entry(name, ARCHIVE, volume.stamp())
        if modified is not None:
            entry.set_written(*written[:2])
        runs = await volume._allocate(-(-len(data) // volume.geometry.cluster)) if data else []
        if runs:
            entry.cluster, entry.size = runs[0][0], len(data)
        try:
            await volume._insert(directory, entry)
        except StatusError:
            volume._let_go(runs)
            raise
        if not data:
            return True
        node = volume._node(directory, entry)
        node.mapping = Mapping(RegionMap(volume.geometry.cluster))
        volume._extend(node, runs)
        node.section = Section(volume._section_name(node.path), volume.pager, node.mapping, 0)
        try:
            await volume.cache.copy_write(node.section, 0, data)
        except StatusError:
            await volume._remove(directory, entry, path, force=False)
            raise
        return True
