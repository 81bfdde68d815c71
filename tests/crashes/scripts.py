"""What is done to volumes: short designed scripts, each with one dangerous thing between two
flushes, and random ones.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.crashes.history import History, Script
from tests.crashes.model import ROOT

LONG = "A long name that fills several slots of its directory "
ROOM = 128 << 10  # bytes behind each volume
BASE_DIRECTORIES = ("d", "e", "e/f")
BASE_FILES = {
    "a.txt": 700,
    "b.bin": 5000,
    "d/c.txt": 1500,
    "d/" + LONG + "1.txt": 100,
    "e/f/g.txt": 600,
}


def fill_base(history: History, random: Random, leave: int | None) -> None:
    """Makes the directories and files that all scripts begin with; with `leave`, a file that leaves
    so many clusters free.
    """
    for path in BASE_DIRECTORIES:
        history.mkdir(path)
    for path, size in BASE_FILES.items():
        history.create(path, random.randbytes(size))
    if leave is not None:
        space = history.volume.space()
        history.volume.write_bytes(
            "ballast", bytes(space.free - leave * space.unit)
        )  # not in the tree: too large to compare
    history.flush()


def _two(first: Script, second: Script) -> Script:
    def both(history: History) -> None:
        first(history)
        second(history)

    return both


def _new(size: int, path: str = "new.txt") -> Script:
    return lambda h: h.create(path, b"new!" * (size // 4))


def _many(history: History) -> None:
    for i in range(2, 20):
        history.create(f"d/{LONG}{i}.x", b"%4d" % i * 200)


def _batch(above: str) -> dict[str, bytes | None]:
    """A tree and a file, for a directory."""
    tree = f"{above}tree"
    return {
        f"{above}alone.txt": b"alone" * 300,
        tree: None,
        f"{tree}/{LONG}.txt": b"long" * 400,
        f"{tree}/empty": b"",
        f"{tree}/inner": None,
        f"{tree}/inner/a.txt": b"a" * 2000,
    }


DESIGNED: dict[str, Script] = {
    "create": _new(3000),
    "create an empty file": _new(0),
    "create with a long name": _new(900, LONG + "2.txt"),
    "pour": lambda h: h.pour("new.txt", b"poured" * 700, 600),
    "append": lambda h: h.overwrite("b.bin", 5000, b"more" * 500),
    "append to a file beside new ones": _two(
        _new(700), lambda h: h.overwrite("a.txt", 700, b"more" * 500)
    ),
    "overwrite": lambda h: h.overwrite("b.bin", 300, b"other" * 500),
    "write beyond the end": lambda h: h.overwrite("a.txt", 3000, b"far"),
    "truncate": lambda h: h.truncate("b.bin", 700),
    "truncate to nothing": lambda h: h.truncate("b.bin", 0),
    "lengthen": lambda h: h.truncate("a.txt", 3500),
    "replace": lambda h: h.replace("b.bin", b"new!" * 300),
    "remove": lambda h: h.remove("b.bin"),
    "append, flush, truncate": _two(
        lambda h: h.overwrite("b.bin", 5000, b"more" * 500),
        _two(lambda h: h.flush(), lambda h: h.truncate("b.bin", 4000)),
    ),
    "remove and reuse": _two(lambda h: h.remove("b.bin"), _new(6000)),
    "truncate and reuse": _two(lambda h: h.truncate("b.bin", 600), _new(6000)),
    "remove a file, make a directory": _two(lambda h: h.remove("b.bin"), lambda h: h.mkdir("n")),
    "mkdir": lambda h: h.mkdir("n"),
    "mkdir and a file in it": _two(lambda h: h.mkdir("n"), lambda h: h.create("n/x", b"x" * 600)),
    "rmdir": _two(lambda h: h.remove("e/f/g.txt"), lambda h: h.rmdir("e/f")),
    "rename": lambda h: h.rename("a.txt", "z.txt"),
    "rename to a long name": lambda h: h.rename("a.txt", LONG + "3.txt"),
    "rename, only the case": lambda h: h.rename("a.txt", "A.TXT"),
    "rename a long name, only the case": lambda h: h.rename(
        "d/" + LONG + "1.txt", "d/" + LONG.upper() + "1.txt"
    ),
    "move": lambda h: h.rename("a.txt", "e/f/a.txt"),
    "move with another name": lambda h: h.rename("d/" + LONG + "1.txt", "short"),
    "rename over": lambda h: h.rename_over("a.txt", "b.bin"),
    "rename over in another directory": lambda h: h.rename_over("a.txt", "d/c.txt"),
    "write beside and rename over": _two(
        _new(900, "d/tmp"), lambda h: h.rename_over("d/tmp", "d/c.txt")
    ),
    "rename over, and reuse": _two(lambda h: h.rename_over("a.txt", "b.bin"), _new(6000)),
    "move a tree": lambda h: h.rename("e/f", "d/f"),
    "move a tree to the root": lambda h: h.rename("e/f", "f"),
    "move twice": _two(
        lambda h: h.rename("a.txt", "d/a.txt"), lambda h: h.rename("d/a.txt", "e/a.txt")
    ),
    "move there and back": _two(
        lambda h: h.rename("a.txt", "d/a.txt"), lambda h: h.rename("d/a.txt", "a.txt")
    ),
    "move and append": _two(
        lambda h: h.rename("a.txt", "d/a.txt"), lambda h: h.overwrite("d/a.txt", 700, b"more" * 400)
    ),
    "move, the old name anew": _two(lambda h: h.rename("a.txt", "d/a.txt"), _new(900, "a.txt")),
    "move a file, then its directory": _two(
        lambda h: h.rename("e/f/g.txt", "e/g.txt"), lambda h: h.rename("e", "d/e")
    ),
    "many new files": _many,
    "take room, and write": lambda h: h.pour_reserved("new.txt", b"poured" * 400, 6000),
    "remove an open file": lambda h: h.remove_open("b.bin", h.flush),
    "remove an open file, and reuse": _two(
        lambda h: h.remove_open("b.bin", lambda: _new(3000)(h)), _new(6000, "last")
    ),
    "remove an open file, flush and make others": _two(
        lambda h: h.remove_open("b.bin", lambda: _two(_new(3000), lambda h: h.flush())(h)),
        _new(6000, "last"),
    ),
    "rename over an open file": _two(
        lambda h: h.replace_open("a.txt", "b.bin", h.flush), _new(6000)
    ),
    "grow the volume": lambda h: h.resize(len(h.buffer)),
    "grow the volume by a sector": lambda h: h.resize(len(h.buffer) - ROOM + 512),
    "grow, and shrink": _two(
        lambda h: h.resize(len(h.buffer)), lambda h: h.resize(len(h.buffer) - ROOM // 2)
    ),
    "label": _two(lambda h: h.label("new"), lambda h: h.serial(0x12345678)),
    "label, taken away, and given again": _two(
        lambda h: h.label("one"), _two(lambda h: h.label(""), lambda h: h.label("two"))
    ),
    "a batch": lambda h: h.make_many(_batch("")),
    "a batch, and more in it": _two(
        lambda h: h.make_many(_batch("d/")), lambda h: h.create("d/tree/inner/b", b"b" * 700)
    ),
    "a batch in the place of others": _two(
        _two(lambda h: h.remove("b.bin"), lambda h: h.rename("e/f", "d/f")),
        lambda h: h.make_many(_batch("e/")),
    ),
}


def designed(name: str, lazy: bool) -> Script:
    """A designed script between two flushes, the second time with the lazy writer's writes before
    it; then something more, and unmount.
    """

    def script(history: History) -> None:
        DESIGNED[name](history)
        if lazy:
            history.sleep(8)
        history.flush()
        history.create("last.txt", b"last" * 300)

    return script


def random_script(random: Random, length: int) -> Script:
    """Random operations, flushes and pauses."""

    def script(history: History) -> None:
        for _ in range(length):
            _random_step(history, random)

    return script


def _random_step(h: History, random: Random) -> None:
    files = [n for n, item in h.tree.items() if item.content is not None]
    directories = [ROOT, *(n for n, item in h.tree.items() if item.content is None)]
    steps: list[tuple[int, Callable[[], None]]] = [
        (4, lambda: h.create(_fresh(h, random, directories), random.randbytes(_size(random)))),
        (
            2,
            lambda: h.pour(
                _fresh(h, random, directories),
                random.randbytes(_size(random)),
                random.randrange(200, 1500),
            ),
        ),
        (2, lambda: h.mkdir(_fresh(h, random, directories))),
        (2, lambda: h.make_many(_random_batch(_fresh(h, random, directories), random))),
        (5, h.flush),
        (2, lambda: h.sleep(random.choice((0.5, 2, 8)))),
        (2, h.press),
    ]
    if files:
        file = random.choice(files)
        path, size = h.path(file), len(h.tree[file].content or b"")
        steps += [
            (
                2,
                lambda: h.overwrite(
                    path, random.randrange(size + 1), random.randbytes(1 + _size(random) // 2)
                ),
            ),
            (2, lambda: h.overwrite(path, size, random.randbytes(1 + _size(random) // 2))),
            (2, lambda: h.truncate(path, random.randrange(2 * size + 2))),
            (2, lambda: h.replace(path, random.randbytes(_size(random)))),
            (3, lambda: h.remove(path)),
            (
                2,
                lambda: (
                    h.rename_over(path, h.path(random.choice([f for f in files if f != file])))
                    if len(files) > 1
                    else h.remove(path)
                ),
            ),
            (4, lambda: h.rename(path, _fresh(h, random, directories))),
            (
                1,
                lambda: h.rename(
                    path,
                    path.rpartition("/")[0] + "/" * ("/" in path) + h.tree[file].name.swapcase(),
                ),
            ),
        ]
    if len(directories) > 1:
        steps.append((2, lambda: _random_directory(h, random, directories)))
    random.choices([step for _, step in steps], [weight for weight, _ in steps])[0]()


def _random_batch(top: str, random: Random) -> dict[str, bytes | None]:
    """A new directory with files and directories."""
    things: dict[str, bytes | None] = {top: None}
    for i in range(random.randrange(6)):
        above = random.choice([path for path, content in things.items() if content is None])
        path = f"{above}/{random.choice(('f', 'A file '))}{i}"
        things[path] = None if random.random() < 0.3 else random.randbytes(_size(random))
    return things


def _random_directory(h: History, random: Random, directories: list[int]) -> None:
    """Removes a directory that is empty, moves another one."""
    chosen = random.choice(directories[1:])
    if all(item.parent != chosen for item in h.tree.values()):
        return h.rmdir(h.path(chosen))
    free = [
        n
        for n in directories
        if n != chosen and not f"{h.path(n)}/".startswith(h.path(chosen) + "/")
    ]
    return h.rename(h.path(chosen), _fresh(h, random, free))


def _fresh(h: History, random: Random, directories: list[int]) -> str:
    """A path that is not there."""
    taken = {item.name.lower() for item in h.tree.values()}
    above = h.path(random.choice(directories))
    while True:
        number = random.randrange(1000)
        name = random.choice((f"f{number}", f"File {number}.text", f"{LONG}{number}"))
        if name.lower() not in taken:
            return f"{above}/{name}" if above else name


def _size(random: Random) -> int:
    return random.choice(
        (0, random.randrange(1, 600), random.randrange(600, 3000), random.randrange(3000, 12000))
    )
