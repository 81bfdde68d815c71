"""Short names in code pages, by mtools and mkfs.fat."""

from __future__ import annotations

from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run as octavo_run
from octavo.fs.fat.entry import VOLUME_LABEL, new_entry, parse_directory
from octavo.status import Status, StatusError
from tests.conftest import make_image, run
from tests.fs.fat.oddities import MIB
from tests.fs.fat.patches import patch, root_offset

# -- 2.6: code pages -------------------------------------------------------------------------------

IN_PAGES = [
    (437, "ÄÖÜ.ÉÑ"), (850, "ÀÁÂÃ.ÐÕÞ"), (852, "ŁÓDŹ.ČĚ"), (866, "ПРИВЕТ.ЖЮФ"), (1252, "ŠŒŽ€.ÝÞ"),
    (932, "ソース.表"), (932, "ｱｲｳ.ﾃｷ"), (936, "中文.文"), (949, "한글.글"),
    (950, "許功蓋.檔"), ("koi8-r", "ХЛЕБ.ЩЯ"), ("shift_jis", "表示.ソ"),
]  # fmt: skip


def short_bytes(name: str, page: str | int) -> bytes:
    """The 11 bytes of a short name."""
    codec = f"cp{page}" if isinstance(page, int) else page
    base, _, extension = name.partition(".")
    raw = base.encode(codec).ljust(8) + extension.encode(codec).ljust(3)
    assert len(raw) == 11
    return b"\x05" + raw[1:] if raw[0] == 0xE5 else raw


@pytest.mark.parametrize(("page", "name"), IN_PAGES)
def test_short_names_in_code_pages(page: str | int, name: str, filled: Path) -> None:
    """Listed, found in any case, in a path and as a pattern, not given twice; a check by the same
    page says nothing.
    """
    data = filled.read_bytes()
    for old, new in ((b"B       BIN", name), (b"D          ", name.partition(".")[0])):
        patch(filled, data.index(old), short_bytes(new, page))
        patch(filled, data.index(old) + 12, b"\0")  # no case bits
    label = short_bytes(name.partition(".")[0], page)
    patch(filled, 43, label)
    patch(filled, root_offset(filled) + 3 * 32, label + bytes((VOLUME_LABEL,)) + bytes(20))
    with octavo.open_image(filled, codepage=page) as volume:
        base = name.partition(".")[0]
        assert {e.name for e in volume.entries()} == {"a.bin", name, base}
        assert volume.label == base and volume.stat(name).short_name == name
        assert volume.read_bytes(name) == volume.read_bytes(name.lower()) == b"b" * 3000
        assert volume.read_bytes(f"{base.lower()}/inner.txt") == b"inner"
        with pytest.raises(StatusError) as caught:
            volume.mkdir(name)
        assert caught.value.status == Status.OBJECT_NAME_COLLISION
        assert volume.check() == []
        before = volume.read_bytes("a.bin")
        volume.rename("a.bin", name, replace=True)
        assert volume.read_bytes(name) == before and volume.check() == []
    with octavo.boot(disks=[filled], codepage=page) as system:
        assert system.volumes["C:"].read_bytes(name) == before


@pytest.mark.parametrize("page", [437, 850, 852, 866, 932, 949, 1252, 874, 1255])
def test_every_byte_in_every_code_page(page: int) -> None:
    """Names that differ in bytes differ as they are shown, also where the page has no such
    character; 0x05 stands for 0xE5.
    """
    raws = [b"AB" + bytes((b,)) + b"     TXT" for b in range(0x80, 0x100)] + [b"\x05A      TXT"]
    data = b"".join(new_entry("", 32, (33, 0, 0), raw).pack() for raw in raws)
    parsed = parse_directory(data, False, f"cp{page}")
    names = [entry.name for entry in parsed.entries]
    assert len(set(names)) == len(raws) and not parsed.broken
    assert names[-1].removesuffix(".TXT") == b"\xe5A".decode(f"cp{page}", "replace").replace(
        "\ufffd", "\uf0e5"
    )
    for name in names:
        name.encode()


def test_long_names_need_no_code_page(filled: Path) -> None:
    """They are Unicode; Octavo's own short names are ASCII, and the same in every page."""
    with octavo.open_image(filled, codepage=866) as volume:
        volume.write_bytes("Привет, мир.txt", b"1")
        volume.write_bytes("ПРИВЕТ.ЖЮФ", b"2")
        assert all(e.short_name.isascii() for e in volume.entries())
    for page in (437, 932):
        with octavo.open_image(filled, codepage=page) as volume:
            assert (
                volume.read_bytes("привет, МИР.TXT") == b"1"
                and volume.read_bytes("привет.жюф") == b"2"
            )
            assert volume.check() == []


@pytest.mark.parametrize(
    "page",
    [
        "",
        "klingon",
        0,
        -1,
        99999,
        "utf-16",
        "cp037",
        "rot13",
        "idna",
        "utf-8",
        65001,
        "ascii",
        "unicode_escape",
        "base64",
        "a\0b",
        None,
        1.5,
        b"cp437",
    ],
)
def test_code_pages_that_are_none(page: object, filled: Path) -> None:
    """Refused in one sentence, and so are codecs of another kind."""
    with (
        pytest.raises(StatusError, match="is no code page") as caught,
        octavo.open_image(filled, codepage=page),  # type: ignore[arg-type]
    ):
        pass
    assert caught.value.status == Status.INVALID_PARAMETER


def test_verbs_take_a_code_page(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every verb that opens images finds a short name in it, and shows it so; another page's name
    is not there.
    """
    patch(filled, filled.read_bytes().index(b"B       BIN"), short_bytes("ЖЮФ.BIN", 866))
    page, where = ["--codepage", "866"], f"{filled}:/жюф.bin"
    out = tmp_path / "out.bin"
    for call in (
        ["ls", f"{filled}:"], ["attrib", where], ["cat", where], ["cp", where, str(out)],
        ["check", str(filled)], ["df", str(filled)],
        ["mkdir", "-p", f"{filled}:/new"], ["mv", where, f"{filled}:/c.bin"],
        ["boot", str(filled), "-c", "dir"],
    ):  # fmt: skip
        capsys.readouterr()
        assert octavo_run([call[0], *page, *call[1:]]) == 0
        assert call[0] != "ls" or "жюф.bin" in capsys.readouterr().out
    assert out.read_bytes() == b"b" * 3000
    patch(filled, filled.read_bytes().index(b"C       BIN"), short_bytes("ЖЮФ.BIN", 866))
    with octavo.open_image(filled, read_only=True) as volume:
        assert not volume.exists("жюф.bin")
    assert octavo_run(["rm", *page, where]) == 0


@pytest.mark.mtools
def test_short_names_that_mtools_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mtools puts a name into the short entry in its drive's code page."""
    image = make_image(tmp_path / "x.img", 4 * MIB, 12)
    (tmp_path / "rc").write_text(f'drive x: file="{image}" codepage=866\n')
    monkeypatch.setenv("MTOOLSRC", str(tmp_path / "rc"))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    (tmp_path / "in").write_bytes(b"data")
    run("mcopy", tmp_path / "in", "x:/ПРИВЕТ.ЖЮФ")
    with octavo.open_image(image, codepage=866) as volume:
        assert [e.short_name for e in volume.entries()] == ["ПРИВЕТ.ЖЮФ"]
        assert volume.read_bytes("привет.жюф") == b"data" and volume.check() == []
