"""Statuses and the one exception type.

Every failure that Octavo reports is a `StatusError`: an NT status and one sentence that says what
is wrong and where. Adapters translate (`StatusError.errno` gives the POSIX number); nothing else in
Octavo raises on bad input.

Source: the names and values are those of NT's `ntstatus.h`.
"""

from __future__ import annotations

import enum
import errno


class Status(enum.IntEnum):
    """NT status codes that Octavo uses, by NT's names and values."""

    SUCCESS = 0
    IMAGE_NOT_AT_BASE = 0x40000003
    WAS_LOCKED = 0x40000019
    GUARD_PAGE_VIOLATION = 0x80000001
    DEVICE_BUSY = 0x80000011
    VERIFY_REQUIRED = 0x80000016
    MEDIA_CHANGED = 0x8000001C
    ACCESS_VIOLATION = 0xC0000005
    IN_PAGE_ERROR = 0xC0000006
    INVALID_PARAMETER = 0xC000000D
    NO_SUCH_DEVICE = 0xC000000E
    WRONG_VOLUME = 0xC0000012
    NO_MEDIA_IN_DEVICE = 0xC0000013
    NO_MEMORY = 0xC0000017
    CONFLICTING_ADDRESSES = 0xC0000018
    NOT_MAPPED_VIEW = 0xC0000019
    UNABLE_TO_FREE_VM = 0xC000001A
    UNABLE_TO_DELETE_SECTION = 0xC000001B
    INVALID_VIEW_SIZE = 0xC000001F
    INVALID_FILE_FOR_SECTION = 0xC0000020
    ACCESS_DENIED = 0xC0000022
    NOT_LOCKED = 0xC000002A
    NOT_COMMITTED = 0xC000002D
    OBJECT_NAME_INVALID = 0xC0000033
    OBJECT_NAME_NOT_FOUND = 0xC0000034
    OBJECT_NAME_COLLISION = 0xC0000035
    OBJECT_PATH_NOT_FOUND = 0xC000003A
    SECTION_TOO_BIG = 0xC0000040
    SHARING_VIOLATION = 0xC0000043
    QUOTA_EXCEEDED = 0xC0000044
    INVALID_PAGE_PROTECTION = 0xC0000045
    SECTION_NOT_IMAGE = 0xC0000049
    SECTION_PROTECTION = 0xC000004E
    REVISION_MISMATCH = 0xC0000059
    INVALID_IMAGE_FORMAT = 0xC000007B
    DISK_FULL = 0xC000007F
    SECTION_NOT_EXTENDED = 0xC0000087
    TOO_MANY_PAGING_FILES = 0xC0000097
    INSUFFICIENT_RESOURCES = 0xC000009A
    FREE_VM_NOT_AT_BASE = 0xC000009F
    MEMORY_NOT_ALLOCATED = 0xC00000A0
    MEDIA_WRITE_PROTECTED = 0xC00000A2
    IO_TIMEOUT = 0xC00000B5
    FILE_FORCED_CLOSED = 0xC00000B6
    NOT_SUPPORTED = 0xC00000BB
    FILE_IS_A_DIRECTORY = 0xC00000BA
    NOT_SAME_DEVICE = 0xC00000D4
    INVALID_PARAMETER_2 = 0xC00000F0
    INVALID_PARAMETER_3 = 0xC00000F1
    INVALID_PARAMETER_4 = 0xC00000F2
    INVALID_PARAMETER_5 = 0xC00000F3
    INVALID_PARAMETER_6 = 0xC00000F4
    INVALID_PARAMETER_8 = 0xC00000F6
    INVALID_PARAMETER_9 = 0xC00000F7
    STACK_OVERFLOW = 0xC00000FD
    DIRECTORY_NOT_EMPTY = 0xC0000101
    FILE_CORRUPT_ERROR = 0xC0000102
    NOT_A_DIRECTORY = 0xC0000103
    NAME_TOO_LONG = 0xC0000106
    PROCESS_IS_TERMINATING = 0xC000010A
    MAPPED_FILE_SIZE_ZERO = 0xC000011E
    CANNOT_DELETE = 0xC0000121
    FILE_CLOSED = 0xC0000128
    COMMITMENT_LIMIT = 0xC000012D
    UNRECOGNIZED_VOLUME = 0xC000014F
    IO_DEVICE_ERROR = 0xC0000185
    MAPPED_ALIGNMENT = 0xC0000220
    VOLUME_DISMOUNTED = 0xC000026E
    REPARSE_POINT_NOT_RESOLVED = 0xC0000280
    FILE_TOO_LARGE = 0xC0000904


_ERRNO = {
    Status.ACCESS_VIOLATION: errno.EFAULT,
    Status.CONFLICTING_ADDRESSES: errno.EEXIST,
    Status.NOT_MAPPED_VIEW: errno.EFAULT,
    Status.UNABLE_TO_DELETE_SECTION: errno.EINVAL,
    Status.INVALID_VIEW_SIZE: errno.EINVAL,
    Status.INVALID_FILE_FOR_SECTION: errno.ENOEXEC,
    Status.INVALID_IMAGE_FORMAT: errno.ENOEXEC,
    Status.SECTION_TOO_BIG: errno.EFBIG,
    Status.SECTION_PROTECTION: errno.EACCES,
    Status.MAPPED_ALIGNMENT: errno.EINVAL,
    Status.MAPPED_FILE_SIZE_ZERO: errno.EINVAL,
    Status.IO_TIMEOUT: errno.ETIMEDOUT,
    Status.INVALID_PARAMETER_3: errno.EINVAL,
    Status.INVALID_PARAMETER_6: errno.EINVAL,
    Status.INVALID_PARAMETER_8: errno.EINVAL,
    Status.INVALID_PARAMETER_9: errno.EINVAL,
    Status.GUARD_PAGE_VIOLATION: errno.EFAULT,
    Status.NOT_COMMITTED: errno.EFAULT,
    Status.COMMITMENT_LIMIT: errno.ENOMEM,
    Status.INVALID_PAGE_PROTECTION: errno.EINVAL,
    Status.INVALID_PARAMETER_2: errno.EINVAL,
    Status.INVALID_PARAMETER_4: errno.EINVAL,
    Status.INVALID_PARAMETER_5: errno.EINVAL,
    Status.FREE_VM_NOT_AT_BASE: errno.EINVAL,
    Status.UNABLE_TO_FREE_VM: errno.EINVAL,
    Status.MEMORY_NOT_ALLOCATED: errno.EINVAL,
    Status.QUOTA_EXCEEDED: errno.EDQUOT,
    Status.REVISION_MISMATCH: errno.EINVAL,
    Status.STACK_OVERFLOW: errno.EFAULT,
    Status.DEVICE_BUSY: errno.EBUSY,
    Status.VERIFY_REQUIRED: errno.ESTALE,
    Status.MEDIA_CHANGED: errno.ESTALE,
    Status.WRONG_VOLUME: errno.EMEDIUMTYPE,
    Status.NO_MEDIA_IN_DEVICE: errno.ENOMEDIUM,
    Status.FILE_FORCED_CLOSED: errno.EBADF,
    Status.VOLUME_DISMOUNTED: errno.ENODEV,
    Status.IN_PAGE_ERROR: errno.EIO,
    Status.INVALID_PARAMETER: errno.EINVAL,
    Status.NO_SUCH_DEVICE: errno.ENODEV,
    Status.NO_MEMORY: errno.ENOMEM,
    Status.ACCESS_DENIED: errno.EACCES,
    Status.OBJECT_NAME_INVALID: errno.EINVAL,
    Status.NAME_TOO_LONG: errno.ENAMETOOLONG,
    Status.OBJECT_NAME_NOT_FOUND: errno.ENOENT,
    Status.OBJECT_NAME_COLLISION: errno.EEXIST,
    Status.OBJECT_PATH_NOT_FOUND: errno.ENOENT,
    Status.SHARING_VIOLATION: errno.EBUSY,
    Status.DISK_FULL: errno.ENOSPC,
    Status.INSUFFICIENT_RESOURCES: errno.ENOMEM,
    Status.MEDIA_WRITE_PROTECTED: errno.EROFS,
    Status.FILE_IS_A_DIRECTORY: errno.EISDIR,
    Status.NOT_SUPPORTED: errno.EOPNOTSUPP,
    Status.NOT_SAME_DEVICE: errno.EXDEV,
    Status.REPARSE_POINT_NOT_RESOLVED: errno.ELOOP,
    Status.DIRECTORY_NOT_EMPTY: errno.ENOTEMPTY,
    Status.NOT_A_DIRECTORY: errno.ENOTDIR,
    Status.CANNOT_DELETE: errno.EPERM,
    Status.FILE_CLOSED: errno.EBADF,
    Status.NOT_SUPPORTED: errno.EOPNOTSUPP,
    Status.FILE_TOO_LARGE: errno.EFBIG,
}


class StatusError(Exception):
    """A failed operation: `status` says what kind, `text` is one sentence for a person."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text

    def __reduce__(self) -> tuple[type[StatusError], tuple[Status, str]]:
        return (StatusError, (self.status, self.text))

    @property
    def errno(self) -> int:
        """The POSIX error number for this status; EIO where there is no closer one."""
        return _ERRNO.get(self.status, errno.EIO)
