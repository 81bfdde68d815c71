"""Section objects: what can be mapped into address spaces, by NT's calls and statuses.

    page-file-backed   zeros at first; COMMIT charges all of it, RESERVE is committed through its
                       views, for all of them at once
    file-backed        the very section that the cache reads and writes through: one copy of each
                       page
    image              the same section, mapped as its ELF program headers say
                       (`octavo.memory.spaces.image`)
    external           what a pager outside the executive keeps (`octavo.memory.pagers.external`)
    device             frames that are no memory: nothing is read, written or counted

A section object lives until it is closed and its last view is gone. One that was made with a name
can be found by it until it is closed; then the name can be given again. A BASED one is at the same
addresses in every space. A mapped file stays in use, though its user may close it.

Source: NT's NtCreateSection, NtExtendSection, NtQuerySection (cases 46 to 82 of docs/statuses.md).
Departures: no handles and no access masks; image and data views of a file see one another's writes,
as on Linux, and a mapped file may be cut or purged; device sections cannot show RAM that Octavo
manages; there are no LARGE_PAGES; prototype PTEs of a RESERVE section come with its pages, so that
its size is bounded by user space alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from octavo.arguments import given, label, numbers, seconds, shown, whole
from octavo.machine.abi import PAGE_SHIFT, SEGMENT_SHIFT, STATE, State
from octavo.memory.frames.pagelists import PRIORITIES
from octavo.memory.manager import MemoryManager
from octavo.memory.pagers.defaultpager import DefaultPager
from octavo.memory.pagers.external.memoryobject import TIMEOUT_SECONDS, MemoryObject
from octavo.memory.pagers.external.pager import METHODS, Control, ExternalPager, attach
from octavo.memory.pagers.external.residentpages import ResidentPages
from octavo.memory.pages.section import Section
from octavo.memory.pages.segmenttable import BASES_IN_FRAME
from octavo.memory.spaces.commit import Commitment
from octavo.memory.spaces.mappable import MappableFile
from octavo.memory.spaces.protect import (
    Protect,
    check_protect,
    copied,
    is_held,
    is_within,
    may_write,
)
from octavo.memory.spaces.spans import Stretch, groups_in, pages_for
from octavo.memory.spaces.view import Attribute, SectionObject
from octavo.printing import counted
from octavo.status import Status, StatusError


@dataclass(frozen=True)
class SectionInformation:
    """What `query` tells; `size` in bytes."""

    base: int
    attributes: Attribute
    size: int


class SectionObjects:
    """All section objects of a machine: `all`, the keys of which are they, is changed here alone.
    None has more than `most_pages`. `pager` is for those without a file.
    """

    def __init__(
        self,
        memory: MemoryManager,
        pager: DefaultPager,
        commitment: Commitment,
        all_objects: dict[SectionObject, None],
        most_pages: int,
    ) -> None:
        self.memory, self.pager, self.commitment = memory, pager, commitment
        self.all, self.most_pages = all_objects, most_pages
        self.names: dict[str, SectionObject] = {}
        self.ending: dict[SectionObject, None] = {}  # those that still return or drop pages
        self._numbers = 0

    @property
    def charge(self) -> int:
        """Pages that sections are promised."""
        return self.commitment.for_sections

    # -- making -----------------------------------------------------------------------------------

    async def create(
        self,
        size: int,
        protect: int = Protect.READWRITE,
        attributes: int = Attribute.COMMIT,
        file: MappableFile | None = None,
        name: str = "",
    ) -> SectionObject:
        """A section of `size` bytes, 0 for a file's own size; a writable file grows to it.

        With a `name` it can be opened until it is closed. StatusError INVALID_PARAMETER_4 (size),
        _6 (attributes), INVALID_PAGE_PROTECTION, SECTION_PROTECTION (of the file),
        MAPPED_FILE_SIZE_ZERO, INVALID_FILE_FOR_SECTION, COMMITMENT_LIMIT, OBJECT_NAME_COLLISION,
        OBJECT_NAME_INVALID; SECTION_TOO_BIG, for a negative size, too: sizes are of 64 bits, and it
        is one of the largest.
        """
        numbers(size=size, protect=protect, attributes=attributes)
        if not 0 <= size < 1 << 63:
            raise StatusError(
                Status.SECTION_TOO_BIG,
                f"a section cannot have {counted(size & (1 << 64) - 1, 'byte')}",
            )
        how, allowed = _check_attributes(attributes), _check_making(protect)
        self._check_name(name)
        _check_file(how, file)
        if file is None:
            return self._add(self._create_paged(size, allowed, how, name), name)
        own = file.duplicate()
        try:
            made = await self._create_mapped(size, allowed, how, name, own)
            self._check_name(name)  # somebody else may have made one while this one waited
        except StatusError:
            await own.close()
            raise
        return self._add(made, name)

    def _check_name(self, name: str) -> None:
        if label(name, "the name of a section") in self.names:
            raise StatusError(Status.OBJECT_NAME_COLLISION, f"there is a section {name} already")

    def _create_paged(
        self, size: int, protect: Protect, how: Attribute, name: str
    ) -> SectionObject:
        if not size:
            raise StatusError(Status.INVALID_PARAMETER_4, "a section without a file needs a size")
        pages = pages_for(size)
        if pages > self.most_pages:
            raise StatusError(
                Status.SECTION_TOO_BIG, f"a section of {size} bytes is larger than user space"
            )
        self._numbers += 1
        name = name or f"section {self._numbers}"
        section = Section(name, self.pager, {}, pages << PAGE_SHIFT)
        made = SectionObject(name, section, section.size, protect, how, Stretch(0, pages, protect))
        if how & Attribute.COMMIT:
            self._commit(made, 0, pages)
        return made

    async def _create_mapped(
        self, size: int, protect: Protect, how: Attribute, name: str, file: MappableFile
    ) -> SectionObject:
        await _make_mappable(file, size, protect)
        size = size or file.section.size
        if not size:
            raise StatusError(
                Status.MAPPED_FILE_SIZE_ZERO, f"{file.path}: is empty and cannot be mapped"
            )
        pages = pages_for(size)
        how = how & ~Attribute.RESERVE | Attribute.FILE
        if not how & Attribute.IMAGE:
            how |= Attribute.COMMIT
        shape = Stretch(0, pages, protect, [(0, pages, protect)])
        name = name or file.section.name
        return SectionObject(name, file.section, size, protect, how, shape, file)

    def create_external(
        self, pager: ExternalPager, size: int, name: str, timeout: float = TIMEOUT_SECONDS
    ) -> tuple[SectionObject, Control]:
        """A section whose data `pager` keeps (Mach: a memory object), which has `timeout` seconds
        for an answer, and its control.

        StatusError INVALID_PARAMETER, INVALID_PARAMETER_4 (size), OBJECT_NAME_COLLISION,
        OBJECT_NAME_INVALID.
        """
        if any(not callable(getattr(pager, method, None)) for method in METHODS):
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{shown(pager)} is no pager: it takes {', '.join(METHODS)}",
            )
        made, kept = self.create_memory_object(size, name, timeout)
        return made, attach(self.memory.scheduler, pager, name, kept.messages, kept.receive)

    def create_memory_object(
        self, size: int, name: str, timeout: float = TIMEOUT_SECONDS
    ) -> tuple[SectionObject, MemoryObject]:
        """As `create_external`, for a pager that is elsewhere: somebody carries the object's
        `messages` to it, and what it says to the object's `receive`. Raises the same.
        """
        numbers(size=size)
        seconds(timeout, "the time that a pager has")
        if size <= 0 or pages_for(size) > self.most_pages:
            raise StatusError(
                Status.INVALID_PARAMETER_4, f"a memory object cannot have {counted(size, 'byte')}"
            )
        self._check_name(name)
        memory = self.memory
        resident = ResidentPages(
            memory.residency, memory.writeback, memory.faults, memory.pageout.low
        )
        kept = MemoryObject(memory.scheduler, resident, name, size, timeout)
        pages, protect = kept.section.pages, Protect.EXECUTE_READWRITE
        shape = Stretch(0, pages, protect, [(0, pages, protect)])
        made = SectionObject(name, kept.section, size, protect, Attribute.COMMIT, shape)
        made.memory_object = kept
        return self._add(made, name), kept

    def create_device(
        self, first: int, pages: int, protect: int = Protect.READWRITE, name: str = ""
    ) -> SectionObject:
        """A section that shows frames from `first` on, of which none is managed memory.

        StatusError INVALID_PARAMETER_6 (frames), INVALID_PAGE_PROTECTION, OBJECT_NAME_COLLISION,
        OBJECT_NAME_INVALID.
        """
        numbers(first=first, pages=pages, protect=protect)
        self._check_name(name)
        table = self.memory.pfns
        if (
            first <= 0
            or pages <= 0
            or first + pages > table.frames
            or (table.table[first : first + pages, STATE] != State.ABSENT).any()
        ):
            raise StatusError(
                Status.INVALID_PARAMETER_6,
                f"frames {first:#x} to {first + pages - 1:#x} are not all device memory "
                f"below frame {table.frames:#x}",
            )
        allowed = check_protect(protect, copies=False)
        section = Section(name or f"frames {first:#x}", self.pager, {}, pages << PAGE_SHIFT)
        shape = Stretch(0, pages, allowed, [(0, pages, allowed)])
        how = Attribute.COMMIT
        made = SectionObject(section.name, section, section.size, allowed, how, shape, frame=first)
        return self._add(made, name)

    def _add(self, made: SectionObject, name: str) -> SectionObject:
        """What was made without a name is called something, and cannot be found by that."""
        self.all[made] = None
        if name:
            self.names[name] = made
        return made

    def check_open(self, made: SectionObject) -> None:
        """StatusError FILE_CLOSED for a section object that its maker has closed, or that another
        machine has; INVALID_PARAMETER for what is none.
        """
        if given(made, SectionObject, "a section").closed or made not in self.all:
            raise StatusError(Status.FILE_CLOSED, f"{made.name}: the section is closed")

    def open(self, name: str) -> SectionObject:
        """The section that was made with a name and is not closed.

        StatusError OBJECT_NAME_NOT_FOUND, INVALID_PARAMETER.
        """
        found = self.names.get(label(name, "the name of a section"))
        if found is None:
            raise StatusError(Status.OBJECT_NAME_NOT_FOUND, f"there is no section {name!r}")
        return found

    # -- changing ---------------------------------------------------------------------------------

    def _commit(self, made: SectionObject, first: int, end: int) -> None:
        pages = end - first - made.shape.committed(first, end)
        tables = 1 + (groups_in([(first, end, made.protect)], SEGMENT_SHIFT) // BASES_IN_FRAME)
        for view in made.views:
            low, high = view.pages_of(first, end)
            if low < high:
                tables += self.commitment.tables_for([(low, high, made.protect)])
        self.commitment.charge_section(pages, made.name, tables)
        made.shape.set(first, end, made.protect)

    def commit(self, made: SectionObject, first: int, end: int) -> None:
        """Commits pages of a section, none or more, in every view of it. StatusError
        COMMITMENT_LIMIT, INVALID_PARAMETER for what it has not.
        """
        pages = given(made, SectionObject, "a section").shape.end
        whole(
            end,
            "the end of what is committed",
            whole(first, "the first page to commit", 0, pages),
            pages,
        )
        if first == end:
            return
        self._commit(made, first, end)
        for view in made.views:
            view.space.commit_reserved(*view.pages_of(first, end))

    async def extend(self, made: SectionObject, size: int) -> int:
        """Makes a section larger, with its file if it has one; one of a file that is as large
        already stays so. Returns its size in bytes.

        StatusError SECTION_NOT_EXTENDED, COMMITMENT_LIMIT, DISK_FULL, FILE_CLOSED.
        Departure: NT extends sections of files only.
        """
        self.check_open(made)
        numbers(size=size)
        pages = pages_for(size)
        data_file = made.file is not None and not made.attributes & Attribute.IMAGE
        if data_file and 0 <= size <= made.size:
            return made.size
        if size <= made.size or pages > self.most_pages or not (data_file or made.paged):
            raise StatusError(
                Status.SECTION_NOT_EXTENDED,
                f"{made.name}: cannot be made {counted(size, 'byte')} long, it has {made.size}",
            )
        if made.file is not None:
            await self._grow_file(made, made.file, size)
        else:
            if made.attributes & Attribute.COMMIT:
                self.commitment.charge_section(pages - made.shape.end, made.name)
            made.section.size = made.size = pages << PAGE_SHIFT
        committed = made.protect if made.attributes & Attribute.COMMIT else None
        if pages > made.shape.end:
            old, made.shape.end = made.shape.end, pages
            made.shape.set(old, pages, committed)
        return made.size

    async def _grow_file(self, made: SectionObject, file: MappableFile, size: int) -> None:
        if size > made.section.size:
            if not may_write(made.protect):
                raise StatusError(
                    Status.SECTION_NOT_EXTENDED,
                    f"{made.name}: its file has {counted(made.section.size, 'byte')} "
                    "and may not be written",
                )
            await file.grow(size)
            self.check_open(made)
        # somebody else may have made it larger still while this one waited
        made.size = max(size, made.size)

    def set_priority(self, made: SectionObject, priority: int) -> None:
        """How late a section's standby pages are reused, 0 to 7, from now on; 5 is usual.
        StatusError INVALID_PARAMETER.
        """
        section = given(made, SectionObject, "a section").section
        section.priority = whole(priority, f"{made.name}: the priority", 0, PRIORITIES - 1)

    def query(self, made: SectionObject) -> SectionInformation:
        """Base, attributes and size: whole pages without a file, to the byte with one.

        StatusError INVALID_PARAMETER for what is no section.
        """
        given(made, SectionObject, "a section")
        return SectionInformation(made.based_at << PAGE_SHIFT, made.attributes, made.size)

    # -- ending -----------------------------------------------------------------------------------

    def close(self, made: SectionObject) -> None:
        """Its maker needs it no more, and its name is free; it ends with its last view. Once more
        does nothing. StatusError INVALID_PARAMETER for what is no section.
        """
        given(made, SectionObject, "a section").closed = True
        if self.names.get(made.name) is made:
            del self.names[made.name]
        self.release(made)

    def release(self, made: SectionObject) -> None:
        """Ends a section object that is closed and has no view. StatusError INVALID_PARAMETER for
        what is none.
        """
        given(made, SectionObject, "a section")
        if made.views or made not in self.all:
            return
        if not made.closed:
            if made.memory_object is not None and not made.memory_object.may_cache:
                self.memory.scheduler.start(
                    made.memory_object.let_go(), f"last view of {made.name}"
                )
            return
        del self.all[made]
        if made.paged:
            pages = made.shape.committed(0, made.shape.end)
            self.commitment.charge_section(-pages, made.name)
        if not made.frame:
            self.ending[made] = None
            self.memory.scheduler.start(self._end(made), f"end of {made.name}")

    async def _end(self, made: SectionObject) -> None:
        section, writeback = made.section, self.memory.writeback
        try:
            if made.memory_object is not None:
                await made.memory_object.end()
            elif made.file is not None:
                await made.file.close()
            else:
                section.size = 0
                await writeback.purge(section, 0)
                writeback.errors.forget(section)
                self.pager.forget(section)
        except StatusError as error:  # who flushes or closes the file next shall hear of it
            writeback.errors.note(section, error)
        finally:
            del self.ending[made]

    def allow(self, made: SectionObject, protect: Protect) -> Protect:
        """The protection that a view gets which asks for this one; images are copied by who writes
        them.

        StatusError SECTION_PROTECTION, INVALID_PARAMETER for what is no section or protection.
        """
        given(made, SectionObject, "a section")
        given(protect, Protect, "a protection")
        if made.attributes & Attribute.NOCACHE and not is_held(protect):
            protect |= Protect.NOCACHE
        if made.attributes & Attribute.IMAGE:
            return copied(protect)
        if not is_within(protect, made.protect):
            raise StatusError(
                Status.SECTION_PROTECTION,
                f"{made.name}: was made {made.protect.name} and cannot be seen {protect.name}",
            )
        return protect

    def check(self) -> None:
        """Charges add up, what is closed has views, and names lead to what is open."""
        assert self.charge == sum(s.shape.committed(0, s.shape.end) for s in self.all if s.paged)
        assert all(made.views or not made.closed for made in self.all), (
            "a section that should have ended is there"
        )
        assert all(
            made in self.all and not made.closed and made.name == name
            for name, made in self.names.items()
        ), "a name leads to no open section"

    def slots(self) -> list[int]:
        """The page-file entries that sections have."""
        return [
            entry
            for made in [*self.all, *self.ending]
            if made.paged
            for entry in self.pager.slots(made.section).values()
        ]


_KINDS = Attribute.COMMIT | Attribute.RESERVE | Attribute.IMAGE
_KNOWN = _KINDS | Attribute.BASED | Attribute.NOCACHE | Attribute.FILE
_UNFIT = Protect.NOACCESS | Protect.GUARD | Protect.NOCACHE | Protect.WRITECOMBINE


def _check_attributes(attributes: int) -> Attribute:
    if (attributes & _KINDS).bit_count() != 1:
        raise StatusError(
            Status.INVALID_PARAMETER_6,
            f"{attributes:#x} does not say one of COMMIT, RESERVE and IMAGE",
        )
    more = attributes & ~int(_KNOWN)  # a flag's own ~ has no bits above its highest
    if more:
        raise StatusError(
            Status.INVALID_PARAMETER_6, f"{more:#x} is no attribute that a section can have here"
        )
    return Attribute(attributes)


def _check_making(protect: int) -> Protect:
    """The protection that a section is made with."""
    allowed = check_protect(protect, copies=True)
    if allowed & _UNFIT:
        raise StatusError(
            Status.INVALID_PAGE_PROTECTION,
            f"a section cannot be made with {allowed.name or hex(allowed)}",
        )
    return allowed


def _check_file(how: Attribute, file: MappableFile | None) -> None:
    if file is not None and not isinstance(getattr(file, "section", None), Section):
        raise StatusError(
            Status.INVALID_FILE_FOR_SECTION, f"{shown(file)} is no open file that can be mapped"
        )
    if how & Attribute.IMAGE and (file is None or not file.section.size):
        raise StatusError(
            Status.INVALID_FILE_FOR_SECTION, "an image section needs a file that is not empty"
        )


async def _make_mappable(file: MappableFile, size: int, protect: Protect) -> None:
    """Prepares a file for a section of `size` bytes (0: its own) with this protection."""
    if may_write(protect) and not file.writable:
        raise StatusError(
            Status.SECTION_PROTECTION,
            f"{file.path}: is opened for reading only and cannot be mapped {protect.name}",
        )
    if may_write(protect) and (size or file.section.size):
        await file.prepare_mapping()
        if size > file.section.size:
            await file.grow(size)
    elif size > file.section.size:
        raise StatusError(
            Status.SECTION_TOO_BIG,
            f"{file.path}: has {counted(file.section.size, 'byte')}, and a section of "
            f"{size} that cannot be written is asked for",
        )
