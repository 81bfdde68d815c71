"""An external pager for tests, in many manners: good, slow, silent, wrong, greedy, failing."""

from __future__ import annotations

from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pagers.external.messages import Access
from octavo.memory.pagers.external.pager import Control
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.status import Status, StatusError
from tests.machines import Machine, fails

PAGES = 64


class Book:
    """A pager that keeps pages in a bytearray, and does what `manner` says."""

    def __init__(self, machine: Machine, manner: str = "good", cluster: int = 16) -> None:
        self.machine, self.manner, self.cluster = machine, manner, cluster
        self.data = bytearray(b"".join(b"%8d" % i * (PAGE_SIZE // 8) for i in range(PAGES)))
        self.log: list[tuple[str, int, int]] = []
        self.returns: list[tuple[int, int, bool, bool]] = []
        self.space: AddressSpace | None = None

    async def init(self, control: Control, page_size: int) -> None:
        """Opts in to clusters."""
        if self.cluster:
            control.change_attributes(cluster_size=self.cluster * page_size)
        if self.manner != "never ready":
            control.ready()

    async def data_request(
        self, control: Control, offset: int, length: int, access: Access
    ) -> None:
        """Answers in its manner."""
        self.log.append(("request", offset // PAGE_SIZE, length // PAGE_SIZE))
        await self.machine.scheduler.sleep(0.001)
        data, end = self.data, offset + length
        if self.manner == "silent":
            return
        if self.manner == "hanging":
            await self.machine.scheduler.sleep(1e6)
        if self.manner == "failing":
            raise ValueError("a bug of the pager's")
        if self.manner == "error":
            control.data_error(offset, length, "the tape is torn")
        elif self.manner == "error beyond":
            control.data_error(offset + PAGE_SIZE, length - PAGE_SIZE, "bad blocks")
            control.data_supply(offset, data[offset : offset + PAGE_SIZE])
        elif self.manner == "unavailable":
            control.data_unavailable(offset, length)
        elif self.manner == "pieces":
            for at in reversed(range(offset, end, PAGE_SIZE)):
                control.data_supply(at, data[at : at + PAGE_SIZE])
                await self.machine.scheduler.sleep(0.001)
        elif self.manner == "partial":
            control.data_supply(offset, data[offset : offset + PAGE_SIZE])
        elif self.manner == "twice":
            assert control.data_supply(offset, data[offset:end]) == length
            assert control.data_supply(offset, bytes(length)) == 0
            await self.machine.scheduler.sleep(0.01)
            assert control.data_supply(offset, b"\xff" * length) == 0
        elif self.manner == "again":
            control.data_supply(offset, data[offset:end])
            control.data_supply(offset, data[offset:end])
            await self.machine.scheduler.sleep(0.01)
            control.data_supply(offset, self.data[offset:end])  # as it is by now
        elif self.manner == "wrong":
            fails(Status.INVALID_PARAMETER, control.data_supply, offset + 5, bytes(PAGE_SIZE))
            fails(Status.INVALID_PARAMETER, control.data_supply, offset, bytes(PAGE_SIZE + 1))
            fails(
                Status.INVALID_PARAMETER, control.data_supply, PAGES * PAGE_SIZE, bytes(PAGE_SIZE)
            )
            other = (offset + 20 * PAGE_SIZE) % (PAGES * PAGE_SIZE)
            control.data_supply(other, data[other : other + PAGE_SIZE])  # not what was asked for
        elif self.manner == "late":
            await self.machine.scheduler.sleep(8)
            control.data_supply(offset, data[offset:end])
        else:
            lock = Access.WRITE if self.manner == "locked" else Access.NONE
            control.data_supply(offset, data[offset:end], lock, precious=self.manner == "precious")

    async def data_return(
        self, control: Control, offset: int, data: bytes, dirty: bool, kept: bool
    ) -> None:
        """Keeps, or not."""
        self.log.append(("return", offset // PAGE_SIZE, len(data) // PAGE_SIZE))
        self.returns.append((offset // PAGE_SIZE, len(data) // PAGE_SIZE, dirty, kept))
        if self.manner == "keeps nothing":
            raise StatusError(Status.DISK_FULL, "the shelf is full")
        if self.manner == "hanging return":
            await self.machine.scheduler.sleep(1e6)
        if self.space is not None:  # it needs memory to keep what it is given
            await self.space.write(0x10000 + len(self.log) % 40 * PAGE_SIZE, b"note")
        await self.machine.scheduler.sleep(0.001)
        self.data[offset : offset + len(data)] = data

    async def data_unlock(self, control: Control, offset: int, length: int, access: Access) -> None:
        """Unlocks what is wanted."""
        self.log.append(("unlock", offset // PAGE_SIZE, int(access)))
        if self.manner != "never unlocks":
            await control.lock_request(offset, length, lock=Access.NONE)

    async def lock_completed(self, control: Control, offset: int, length: int) -> None:
        """Notes it."""
        self.log.append(("completed", offset // PAGE_SIZE, length // PAGE_SIZE))

    async def terminate(self, control: Control) -> None:
        """Notes it."""
        self.log.append(("terminate", 0, 0))

    def requests(self) -> list[tuple[int, int]]:
        """(page, pages) of each data_request."""
        return [(page, pages) for what, page, pages in self.log if what == "request"]
