"""Which filesystems of fsspec are one: those of the same image, options and thread.

fsspec keeps each filesystem that it makes, and gives it to who asks with arguments that look the
same. A path of the host is therefore made absolute first: after `os.chdir` it is another file. Two
open files may look the same and are not, and who drops one wants its memory back: their filesystems
are never kept, and equal to no others.

Source: `fsspec.spec`, the metaclass of `AbstractFileSystem`. Used by `octavo.adapters.fsspec`.
"""

from __future__ import annotations

import os
from typing import Any

from fsspec.core import split_protocol, strip_protocol
from fsspec.spec import AbstractFileSystem

Cached: Any = type(AbstractFileSystem)


class Instances(Cached):  # type: ignore[misc]  # fsspec has no types
    """The class of filesystems whose first two arguments are `fo` and `target_protocol`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Makes a filesystem, or finds the one that there is."""
        fo = args[0] if args else options.get("fo", "")
        if isinstance(fo, str | os.PathLike):
            protocol = args[1] if len(args) > 1 else options.get("target_protocol")
            fo = _absolute(os.fspath(fo), protocol)
            if args:
                return super().__call__(fo, *args[1:], **options)
            return super().__call__(**{**options, "fo": fo})
        made = super().__call__(*args, **{**options, "skip_instance_cache": True})
        made.be_apart()
        return made


def _absolute(name: Any, protocol: str | None) -> Any:
    """A name whose last link, when that is a path of the host, is an absolute path."""
    if not name or not isinstance(name, str):
        return name
    *links, last = name.split("::")
    if links:
        protocol = None  # that of the first
    elif protocol is None and "://" not in last:
        protocol = "file"
    named = protocol or split_protocol(last)[0]
    if named in ("file", "local") or (links and named is None and set(last) & set("./\\")):
        last = str(strip_protocol(last))
        last = f"file://{last}" if links else last
    return "::".join([*links, last])
