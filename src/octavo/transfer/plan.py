"""What a copy has to do, listed before anything is done: so that progress has a total, and nothing
is begun that cannot end well.

What cannot be copied is a problem, told and left out, with all that is below it; the rest is
copied. Names that would meet in the target's directory (two sources of one command; on FAT also
names that differ in case, or in dots and spaces at their end) are problems too: the first is
copied, each other is left out. A copy that has no room is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.transfer.choice import ALL, Choice
from octavo.transfer.tree import Excluded, Item, Step, Tree


@dataclass(slots=True)
class Plan:
    """The steps of a copy to `target`, directories before what is in them; `problems` says what was
    left out.
    """

    target: Tree
    steps: list[Step] = field(default_factory=list)
    problems: list[StatusError] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes to copy."""
        return sum(step.item.size for step in self.steps if not step.item.directory)

    def no_later_than(self, moment: float) -> None:
        """What was changed after a moment, in seconds since 1970, gets that as its time."""
        for step in self.steps:
            step.item.modified = min(step.item.modified, moment)

    @property
    def files(self) -> int:
        """Files to copy."""
        return sum(1 for step in self.steps if not step.item.directory)


def plan_copy(
    sources: Sequence[tuple[Tree, str]],
    target: Tree,
    to: str,
    recursive: bool,
    choice: Choice = ALL,
) -> Plan:
    """Lists the steps of copying paths, as far as they are chosen, to `to`, or into it when it is a
    directory.

    StatusError NOT_A_DIRECTORY for several sources and a target that is none, OBJECT_PATH_NOT_FOUND
    when nothing is there, DISK_FULL where there is no room.
    """
    plan = Plan(target)
    into = target.is_dir(to)
    if len(sources) > 1 and not into:
        if target.find(to) is None:
            raise StatusError(
                Status.OBJECT_PATH_NOT_FOUND, f"{target.shown(to)}: no such directory"
            )
        raise StatusError(Status.NOT_A_DIRECTORY, f"{target.shown(to)}: is not a directory")
    names = target.names(to) if into else {}
    for source, path in sources:
        try:
            _plan_source(plan, source, path, to, names if into else None, recursive, choice)
        except StatusError as error:
            plan.problems.append(error)
    plan.steps = choice.chosen(plan.steps, target)
    target.admit(plan.steps)
    return plan


def _plan_source(
    plan: Plan,
    source: Tree,
    path: str,
    to: str,
    names: dict[str, Item | str] | None,
    recursive: bool,
    choice: Choice,
) -> None:
    """Adds the steps of one source; `names` are those of the directory `to`, None when `to` is the
    new name itself.
    """
    item, target = source.stat(path), plan.target
    excluded = choice.excludes(source) if choice.excluded else None
    if excluded is not None and excluded(item.name, item):
        return
    if item.directory and not recursive:
        raise StatusError(
            Status.FILE_IS_A_DIRECTORY, f"{source.shown(path)}: is a directory: use -r to copy it"
        )
    name = source.split(path)[1]
    if names is not None and item.unknown:
        text = f"{target.shown(to)}: is a directory, and {source.shown(path)} has no name: add one"
        raise StatusError(Status.FILE_IS_A_DIRECTORY, text)
    if names is None:
        to, name, names = _new_name(target, to, item)
    _refuse_overlap(source, path, target, target.join(to, name))
    step = Step(
        source, path, to, item, None, item, names
    )  # a root, "." or "..": what is in it goes into what is there
    if name:
        step = _step(plan, step, path, item, name)
    plan.steps.append(step)
    if item.directory:
        _plan_tree(plan, step, excluded)


def _new_name(target: Tree, to: str, item: Item) -> tuple[str, str, dict[str, Item | str]]:
    """The directory and the name that a target which is no directory means, and what has this name
    there already.
    """
    above, name = target.split(to)
    if not target.is_dir(above) or (
        to.rpartition("/")[2] in ("", ".", "..") and not item.directory
    ):
        raise StatusError(Status.OBJECT_PATH_NOT_FOUND, f"{target.shown(to)}: no such directory")
    there = target.find(to)
    return above, there.name if there else name, {target.key(there.name): there} if there else {}


def _plan_tree(plan: Plan, top: Step, excluded: Excluded | None) -> None:
    """Adds the steps of all that is below a directory, but for what is excluded."""
    source = top.source
    steps = {"": top}
    for here, items in source.walk(top.path, plan.problems.append, excluded):
        above = steps[here]
        prefix = here + "/" if here else ""
        if plain := _plain_steps(plan.target, above, items):
            plan.steps += plain
            steps.update((prefix + s.item.name, s) for s in plain if s.item.directory)
            continue
        for item in items:
            path = source.join(above.path, item.name)
            try:
                step = _step(plan, above, path, item, item.name)
            except StatusError as error:
                plan.problems.append(error)
                item.skip = True
                continue
            plan.steps.append(step)
            if item.directory:
                steps[prefix + item.name] = step


def _plain_steps(target: Tree, above: Step, items: list[Item]) -> list[Step]:
    """The steps of all that is in a directory, which is new in the target, where there is nothing
    to be said of any name or size; none in any other case.
    """
    keys = None if above.names else target.fit_all([item.name for item in items])
    if not keys or max(item.size for item in items) > target.largest:
        return []
    source, before, to = above.source, above.source.before(above.path), target.before(above.to)
    steps = [Step(source, before + item.name, to + item.name, item, above, None) for item in items]
    above.names = dict(zip(keys, [source.shown(step.path) for step in steps], strict=True))
    return steps


def _step(plan: Plan, above: Step, path: str, item: Item, name: str) -> Step:
    """The step of one file or directory in the directory of `above`; StatusError when it cannot be
    copied.
    """
    source, target = above.source, plan.target
    shown = source.shown(path)
    name = _fitting(target, shown, item, name)
    key = target.key(name)
    there = above.names.get(key)
    to = target.join(above.to, name)
    if there is not None:
        there = _replaceable(target, shown, to, item, there, key)
    step = Step(source, path, to, item, above, there)
    if there is not None and item.directory:
        step.names = target.names(to)
    above.names[key] = shown
    return step


def _fitting(target: Tree, source: str, item: Item, name: str) -> str:
    """The name that a file or directory gets. StatusError for one that the target cannot have."""
    if item.size > target.largest and not item.directory:
        raise StatusError(
            Status.FILE_TOO_LARGE,
            f"{source}: has {counted(item.size, 'byte')}, and a file there has "
            f"at most {target.largest}",
        )
    try:
        return target.fit(name)
    except StatusError as error:
        raise StatusError(error.status, f"{source}: {error.text}") from None


def _replaceable(
    target: Tree, source: str, to: str, item: Item, there: Item | str, key: str
) -> Item:
    """What stands in the place of a file or directory, if it may be replaced or gone into."""
    if isinstance(there, str):
        raise StatusError(
            Status.OBJECT_NAME_COLLISION,
            f"{source}: would be the same file as {there} in the target: rename one of them",
        )
    if target.key(there.name) != key:
        raise StatusError(
            Status.OBJECT_NAME_COLLISION,
            f"{source}: has the short name of {there.name!r} in the target: rename one of them",
        )
    if there.directory and not item.directory:
        raise StatusError(
            Status.FILE_IS_A_DIRECTORY,
            f"{target.shown(to)}: is a directory: a file cannot replace it",
        )
    if item.directory and not there.directory:
        raise StatusError(
            Status.NOT_A_DIRECTORY,
            f"{target.shown(to)}: is a file or a link: a directory cannot replace it",
        )
    return there


def _refuse_overlap(source: Tree, path: str, target: Tree, to: str) -> None:
    """StatusError INVALID_PARAMETER when a copy within one tree goes onto or into its own
    source.
    """
    if source.store is not target.store:
        return
    first, last = source.parts(path), target.parts(to)
    if last[: len(first)] == first:
        raise StatusError(
            Status.INVALID_PARAMETER, f"{source.shown(path)}: cannot be copied onto or into itself"
        )
