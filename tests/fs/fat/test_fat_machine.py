"""FAT volumes against a dict model: random operations, then fsck.fat and mtools judge the image."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import octavo
from octavo.files import Volume
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice, never
from tests.conftest import fsck, make_image, run
from tests.volumes import leave_free, map_file

MIB = 1 << 20
NAMES = st.one_of(
    st.sampled_from(
        [
            "A.TXT",
            "b.txt",
            "Mixed.Case",
            "README",
            "readme.md",
            "x",
            "NO.EXT.TWO",
            "a b c.d e",
            "+plus;semi",
            "éclair.txt",
            "日本語.dat",
            "😀 smile",
        ]
    ),
    st.text("abcXYZ019 _-~.é", min_size=1, max_size=30),
    st.integers(1, 255).map(lambda n: "L" * n),
)
VARIANTS: list[dict[str, Any]] = [
    {"size": 1440 * 1024, "bits": 12},
    {"size": 3 * MIB, "bits": 12, "cluster": 4096},
    {"size": 16 * MIB, "bits": 16, "cluster": 512},
    {"size": 40 * MIB, "bits": 32, "cluster": 512},
    {"size": 300 * MIB, "bits": 32, "cluster": 4096},
]
FREE = st.one_of(st.none(), st.none(), st.integers(0, 40))  # clusters


def valid(name: str) -> bool:
    """Whether FAT can store the name, by a rule written apart from Octavo's."""
    kept = name.rstrip(". ")
    return bool(kept) and len(kept.encode("utf-16-le")) <= 510


def key(name: str) -> str:
    """The form in which the model compares names."""
    return "".join(c.upper() if len(c.upper()) == 1 else c for c in name.rstrip(". "))


class FatMachine(RuleBasedStateMachine):
    """The model: directories are dicts of key -> [name, contents or dict]."""

    directories = Bundle("directories")

    @initialize(
        target=directories,
        variant=st.sampled_from(VARIANTS),
        memory=st.sampled_from(["2M", "16M"]),
        free=FREE,
    )
    def start(self, variant: dict[str, Any], memory: str, free: int | None) -> tuple[str, ...]:
        """An image made by mkfs.fat, a third of the time with `free` clusters that are not bad."""
        self.folder = Path(tempfile.mkdtemp())
        self.image = make_image(self.folder / "disk.img", **variant)
        if free is not None:
            leave_free(map_file(self.image), range(10, 10 + 2 * free, 2))
        self.memory = memory
        self.model: dict[str, list[Any]] = {}
        self.boot()
        self.steps = 0
        return ()

    def boot(self) -> None:
        """Mounts the image on a device that can fail."""
        self.system = octavo.boot(memory=self.memory)
        self.device = FaultyDevice(ImageDisk(self.image, self.system.scheduler))
        self.system.attach_device(self.device)

    @property
    def volume(self) -> Volume:
        """The only volume."""
        return next(iter(self.system.volumes.values()))

    def inside(self, path: tuple[str, ...]) -> dict[str, list[Any]] | None:
        """The model's directory, None when it is there no more."""
        here: Any = self.model
        for part in path:
            item = here.get(key(part))
            if item is None or not isinstance(item[1], dict):
                return None
            here = item[1]
        return here  # type: ignore[no-any-return]

    def expect(self, status: Status, action: Any) -> None:
        """The action must fail with a status."""
        with pytest.raises(StatusError) as caught:
            action()
        assert caught.value.status == status, caught.value

    @rule(target=directories, at=directories, name=NAMES)
    def mkdir(self, at: tuple[str, ...], name: str) -> tuple[str, ...]:
        """Makes a directory."""
        here = self.inside(at)
        path = "/".join((*at, name))
        if here is None or len(at) > 4:
            return ()
        if key(name) in here and name.rstrip(". "):
            self.expect(Status.OBJECT_NAME_COLLISION, lambda: self.volume.mkdir(path))
        elif not valid(name):
            if name.strip(".") or not name:  # "." and ".." are paths, not names
                self.expect(Status.OBJECT_NAME_INVALID, lambda: self.volume.mkdir(path))
        elif self.fits(lambda: self.volume.mkdir(path)):
            here[key(name)] = [name.rstrip(". "), {}]
            return (*at, name.rstrip(". "))
        return ()

    def fits(self, action: Any) -> bool:
        """False when the volume or the root directory is full."""
        try:
            action()
        except StatusError as error:
            if error.status == Status.DISK_FULL:
                return False
            raise
        return True

    @rule(
        at=directories,
        name=NAMES,
        size=st.one_of(st.integers(0, 5000), st.integers(0, 300_000)),
        seed=st.integers(0, 255),
    )
    def write(self, at: tuple[str, ...], name: str, size: int, seed: int) -> None:
        """Makes or replaces a file."""
        here = self.inside(at)
        path = "/".join((*at, name))
        if here is None or not valid(name):
            return
        old = here.get(key(name))
        data = (hashlib.sha256(bytes([seed])).digest() * (size // 32 + 1))[:size]
        if old is not None and isinstance(old[1], dict):
            self.expect(Status.FILE_IS_A_DIRECTORY, lambda: self.volume.write_bytes(path, data))
        elif self.fits(lambda: self.volume.write_bytes(path, data)):
            here[key(name)] = [old[0] if old else name.rstrip(". "), data]
        elif self.volume.exists(path):
            self.volume.remove(path)
            here.pop(key(name), None)

    @rule(
        at=directories,
        data=st.data(),
        offset=st.integers(0, 200_000),
        length=st.integers(1, 20_000),
        truncate=st.booleans(),
    )
    def change(
        self, at: tuple[str, ...], data: st.DataObject, offset: int, length: int, truncate: bool
    ) -> None:
        """Overwrites part of a file, also beyond its end, or cuts or grows it."""
        here = self.inside(at)
        files = [n for n, (_, c) in (here or {}).items() if isinstance(c, bytes)]
        if not files or here is None:
            return
        item = here[data.draw(st.sampled_from(sorted(files)))]
        with self.volume.open("/".join((*at, item[0])), "r+b") as file:
            if truncate:
                if self.fits(lambda: file.truncate(offset)):
                    item[1] = item[1][:offset].ljust(offset, b"\0")
            else:
                file.seek(offset)
                patch = bytes([length % 251]) * length
                if self.fits(lambda: file.write(patch)):
                    old = item[1].ljust(offset, b"\0")
                    item[1] = old[:offset] + patch + old[offset + length :]
            assert file.size == len(item[1])

    @rule(at=directories, data=st.data())
    def remove(self, at: tuple[str, ...], data: st.DataObject) -> None:
        """Removes a file or a directory."""
        here = self.inside(at)
        if not here:
            return
        chosen = data.draw(st.sampled_from(sorted(here)))
        name, content = here[chosen]
        path = "/".join((*at, name))
        if isinstance(content, bytes):
            self.volume.remove(path)
        elif content:
            self.expect(Status.DIRECTORY_NOT_EMPTY, lambda: self.volume.rmdir(path))
            return
        else:
            self.expect(Status.FILE_IS_A_DIRECTORY, lambda: self.volume.remove(path))
            self.volume.rmdir(path)
        del here[chosen]

    @rule(at=directories, data=st.data(), grow=st.integers(0, 20_000), flush=st.booleans())
    def remove_what_is_open(
        self, at: tuple[str, ...], data: st.DataObject, grow: int, flush: bool
    ) -> None:
        """The name is gone at once; who has the file open reads and writes it on."""
        here = self.inside(at)
        files = [n for n, (_, c) in (here or {}).items() if isinstance(c, bytes)]
        if not files or here is None:
            return
        name, content = here.pop(data.draw(st.sampled_from(sorted(files))))
        path = "/".join((*at, name))
        free = self.volume.space().free
        with self.volume.open(path, "r+b") as file:
            self.volume.remove(path)
            assert not self.volume.exists(path) and self.volume.space().free == free
            file.seek(len(content))
            grown = b"x" * grow if self.fits(lambda: file.write(b"x" * grow)) else b""
            if flush:
                self.volume.flush()
                assert self.volume.check() == []
            file.seek(0)
            assert file.read() == content + grown
        unit = self.volume.space().unit
        assert self.volume.space().free == free + -(-len(content) // unit) * unit

    @rule(at=directories, data=st.data(), room=st.integers(0, 100_000), flush=st.booleans())
    def take_room(self, at: tuple[str, ...], data: st.DataObject, room: int, flush: bool) -> None:
        """Room for a file that grows then, perhaps to less."""
        here = self.inside(at)
        files = [n for n, (_, c) in (here or {}).items() if isinstance(c, bytes)]
        if not files or here is None:
            return
        item = here[data.draw(st.sampled_from(sorted(files)))]
        with self.volume.open("/".join((*at, item[0])), "ab") as file:
            if self.fits(lambda: file.reserve(room)):
                if flush:
                    self.volume.flush()
                    assert self.volume.check() == []
                more = b"r" * max(0, min(room - len(item[1]), 5000))
                assert file.write(more) == len(more)  # there is room
                item[1] += more

    @rule(label=st.sampled_from(["", "one", "ANOTHER 1"]), serial=st.integers(0, 2**32 - 1))
    def label(self, label: str, serial: int) -> None:
        """The volume's label and number, if the root directory has room."""
        if self.fits(lambda: self.volume.set_label(label)):
            assert self.volume.label == label.upper()
        self.volume.set_serial(serial)

    @rule(force=st.booleans())
    def leave_and_come_back(self, force: bool) -> None:
        """The volume is locked, then unmounted and mounted again."""
        with self.volume.lock():
            fsck(self.image)
        letter = self.volume.letter
        self.system.unmount(letter, force=force, keep=True)
        fsck(self.image)
        self.system.mount(letter)

    @rule(at=directories, to=directories, data=st.data(), name=NAMES)
    def rename(
        self, at: tuple[str, ...], to: tuple[str, ...], data: st.DataObject, name: str
    ) -> None:
        """Renames or moves."""
        here, there = self.inside(at), self.inside(to)
        if not here or there is None or not valid(name):
            return
        chosen = data.draw(st.sampled_from(sorted(here)))
        old, content = here[chosen]
        source, target = "/".join((*at, old)), "/".join((*to, name))
        if isinstance(content, dict) and tuple(map(key, to[: len(at) + 1])) == (
            *map(key, at),
            key(old),
        ):
            self.expect(Status.INVALID_PARAMETER, lambda: self.volume.rename(source, target))
        elif key(name) in there and not (there is here and key(name) == chosen):
            self.expect(Status.OBJECT_NAME_COLLISION, lambda: self.volume.rename(source, target))
        elif self.fits(lambda: self.volume.rename(source, target)):
            del here[chosen]
            there[key(name)] = [name.rstrip(". "), content]

    @rule(at=directories)
    def read(self, at: tuple[str, ...]) -> None:
        """Lists a directory and reads its files."""
        here = self.inside(at)
        if here is None:
            return
        entries = {e.name: e for e in self.volume.entries("/".join(at))}
        assert set(entries) == {name for name, _ in here.values()}
        for name, content in here.values():
            assert entries[name].is_directory == isinstance(content, dict)
            if isinstance(content, bytes):
                assert entries[name].size == len(content)
                assert (
                    self.volume.read_bytes(
                        "/".join((*at, name.swapcase() if name.isascii() else name))
                    )
                    == content
                )

    @rule()
    def flush(self) -> None:
        """After a flush others see it all."""
        self.volume.flush()
        fsck(self.image)

    @rule(
        verb=st.sampled_from(["read", "write"]),
        first=st.integers(1, 5),
        count=st.sampled_from([1, 2, 1000]),
    )
    def flush_while_the_device_fails(self, verb: str, first: int, count: int) -> None:
        """The error is told, or was made good by another try; when the device is well again, a
        flush writes everything.
        """
        begin = self.device.numbers[verb] + first
        self.device.plan = lambda v, n: v == verb and begin <= n < begin + count
        try:
            self.volume.flush()
        except StatusError as error:
            assert error.status == Status.IO_DEVICE_ERROR and self.device.failed
        else:
            assert count < 1000 or self.device.numbers[verb] < begin, (
                "all tries failed, and nobody was told"
            )
        self.device.plan = never
        self.flush()

    @rule(at=directories, first=st.integers(1, 3))
    def read_while_the_device_fails(self, at: tuple[str, ...], first: int) -> None:
        """A read tells the error, or gives what is right; another one then succeeds."""
        begin = self.device.numbers["read"] + first
        self.device.plan = lambda v, n: v == "read" and n >= begin
        try:
            self.read(at)
        except StatusError as error:
            assert error.status == Status.IO_DEVICE_ERROR and self.device.failed
        self.device.plan = never
        self.read(at)

    @rule()
    def remount(self) -> None:
        """Unmounts and boots anew: all of it is on the image."""
        self.system.close()
        self.judge()
        self.boot()

    @invariant()
    @precondition(lambda self: hasattr(self, "system"))
    def balances(self) -> None:
        """The ledger; every few steps Octavo's own check, too."""
        self.system.check()
        self.steps += 1
        if self.steps % 10 == 0:
            assert self.volume.check() == []

    def judge(self) -> None:
        """fsck.fat finds the image clean, and mtools finds every byte."""
        fsck(self.image)
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        subprocess.run(
            ["mcopy", "-s", "-n", "-Q", "-i", self.image, "::", out],
            capture_output=True,
            check=False,
            env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        )
        self.compare(self.model, out)

    def compare(self, model: dict[str, list[Any]], folder: Path) -> None:
        """A model's directory against what mtools copied out. It cannot name what is beyond its
        locale, and knows no 😀.
        """
        found = {key(p.name): p for p in folder.iterdir()}
        for chosen, (name, content) in model.items():
            if max(map(ord, name)) > 0xFFFF or not name.isascii():
                continue
            assert chosen in found, f"{name!r} is not there for mtools: {sorted(found)}"
            if isinstance(content, dict):
                self.compare(content, found[chosen])
            else:
                assert found[chosen].read_bytes() == content

    def teardown(self) -> None:
        """The last judgement."""
        if hasattr(self, "system"):
            self.system.close()
            self.judge()
            shutil.rmtree(self.folder)


TestFat = pytest.mark.mtools(pytest.mark.dosfstools(FatMachine.TestCase))
TestFat.settings = settings(max_examples=40, stateful_step_count=40)


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"fat{v['bits']}-{v['size'] // 1024}K")
def test_thousands_of_operations(variant: dict[str, Any], tmp_path: Path) -> None:
    """2,000 operations on each kind of volume from one generator, with little memory, judged at the
    end.
    """
    import random

    rng = random.Random(variant["size"])
    image = make_image(tmp_path / "disk.img", **variant)
    model: dict[str, bytes] = {}
    with octavo.boot(memory="2M", disks=[image]) as system:
        volume = next(iter(system.volumes.values()))
        for d in range(5):
            volume.mkdir(f"dir {d}")
        for step in range(2000):
            path = f"dir {rng.randrange(5)}/File number {rng.randrange(30)}.txt"
            what = rng.random()
            try:
                if what < 0.45:
                    data = rng.randbytes(rng.choice((0, 100, 511, 4096, 20_000)))
                    volume.write_bytes(path, data)
                    model[path] = data
                elif what < 0.65 and path in model:
                    volume.remove(path)
                    del model[path]
                elif what < 0.8 and path in model:
                    with volume.open(path, "ab") as file:
                        file.write(b"more" * 300)
                    model[path] += b"more" * 300
                elif path in model:
                    assert volume.read_bytes(path) == model[path]
            except StatusError as error:
                assert error.status == Status.DISK_FULL
                model[path] = volume.read_bytes(path)
            if step % 500 == 0:
                system.check()
                volume.flush()
        assert volume.check() == []
    fsck(image)
    for path, data in model.items():
        assert (
            subprocess.run(
                ["mtype", "-i", image, "::" + path], capture_output=True, check=True
            ).stdout
            == data
        )
    assert run("mdir", "-i", image, "::").count("<DIR>") == 5
