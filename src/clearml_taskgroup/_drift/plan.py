"""A plan of copies: which curves and single values of which tasks get a correct name. Pure.

The id of a plan is made from its content. It is the tag of each task that the plan changes, so that a later
`apply` knows what an interrupted one has begun.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import attrs

from .._model.name_template import MAX_NAMES_PER_TASK, Name
from .._text import some
from ..errors import ArgumentError
from .correct_names import correct_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .._model.name_template import NameTemplate
    from .._model.vocabulary import Vocabulary

VERSION = 1
"""The version of a plan's form."""
TAG = "drift-plan:"
"""How the tag of a task begins that a plan has changed; the plan's id follows."""
ARROW = " -> "
"""Between the old and the new name, in a task's comment."""


@attrs.frozen
class Copy:
    """One name of a task whose data is copied to another name."""

    source: Name
    target: Name

    def __str__(self) -> str:
        return f"{shown_name(self.source)}{ARROW}{shown_name(self.target)}"


@attrs.frozen
class TaskPlan:
    """What is copied in one task."""

    id: str
    name: str
    copies: tuple[Copy, ...]


@attrs.frozen
class LeftAlone:
    """A name of a task, or all of its names, that a plan leaves alone.

    Attributes:
        id, name: The task.
        copies: What would be copied.
        why: The reason.
    """

    id: str
    name: str
    copies: tuple[Copy, ...]
    why: str


@attrs.frozen
class Logged:
    """A task for which a plan is made.

    Attributes:
        id, name: Its id and name.
        names: Titles and series of its scalars, those of single values with the title `Summary`.
        obstacle: Why it may not be changed; empty if it may.
        tags: Its tags.
        not_single: Names with the title `Summary` that are curves.
    """

    id: str
    name: str
    names: Collection[Name]
    obstacle: str = ""
    tags: Sequence[str] = ()
    not_single: Collection[Name] = ()


@attrs.frozen
class Plan:
    """What `drift --apply` copies.

    Attributes:
        place: The server's address, or the folder of the offline sessions.
        is_online: Whether the place is a server.
        vocabulary: The file with the vocabulary.
        tasks: The tasks to change.
        conflicts: Names that would be copied if the task did not have the other name, too.
        left_alone: Tasks that would be changed if they were not published, archived, running, ….
        id: Made from all of this.
    """

    place: str
    is_online: bool
    vocabulary: str
    tasks: tuple[TaskPlan, ...] = ()
    conflicts: tuple[LeftAlone, ...] = ()
    left_alone: tuple[LeftAlone, ...] = ()
    id: str = attrs.field(
        init=False, default=attrs.Factory(lambda plan: _digest(plan._content()), takes_self=True)
    )

    @property
    def tag(self) -> str:
        """The tag of the tasks that the plan changes."""
        return TAG + self.id

    def _content(self) -> dict[str, Any]:
        return {
            "clearml_taskgroup_drift_plan": VERSION,
            "server" if self.is_online else "disk": self.place,
            "vocabulary": self.vocabulary,
            "tasks": [
                {"id": task.id, "name": task.name, "copies": _copies_json(task.copies)} for task in self.tasks
            ],
            "conflicts": list(map(_left_json, self.conflicts)),
            "left_alone": list(map(_left_json, self.left_alone)),
        }

    def to_json(self) -> str:
        """Returns the text of the plan's file."""
        return json.dumps({"id": self.id, **self._content()}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, path: str) -> Plan:
        """Reads what `to_json` wrote.

        Args:
            text: The text of the file.
            path: The file's name, for errors.

        Raises:
            ArgumentError: It is no plan, one of another version, or it was edited.
        """
        try:
            data = json.loads(text)
            version = data["clearml_taskgroup_drift_plan"]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise ArgumentError("--apply", path, "a file that drift --plan wrote") from None
        if version != VERSION:
            newer = "; install the version of clearml-taskgroup that wrote it, or make a new plan"
            raise ArgumentError("--apply", path, f"a plan of version {VERSION}, not {version!r}{newer}")
        written = data.pop("id", None)
        if written != _digest(data):
            advice = "make a new plan, of fewer tasks or with another vocabulary"
            raise ArgumentError("--apply", path, f"a plan as it was written; this one was edited: {advice}")
        return cls(
            place=data["server"] if "server" in data else data["disk"],
            is_online="server" in data,
            vocabulary=data["vocabulary"],
            tasks=tuple(
                TaskPlan(task["id"], task["name"], _copies(task["copies"])) for task in data["tasks"]
            ),
            conflicts=tuple(map(_left, data["conflicts"])),
            left_alone=tuple(map(_left, data["left_alone"])),
        )


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _copies_json(copies: Iterable[Copy]) -> list[dict[str, Any]]:
    return [{"from": list(copy.source), "to": list(copy.target)} for copy in copies]


def _left_json(left: LeftAlone) -> dict[str, Any]:
    return {"id": left.id, "name": left.name, "copies": _copies_json(left.copies), "why": left.why}


def _left(data: Mapping[str, Any]) -> LeftAlone:
    return LeftAlone(data["id"], data["name"], _copies(data["copies"]), data["why"])


def _copies(data: Iterable[Mapping[str, Any]]) -> tuple[Copy, ...]:
    return tuple(Copy(Name(*copy["from"]), Name(*copy["to"])) for copy in data)


# --- making it -----------------------------------------------------------------------------------


def make_plan(
    tasks: Iterable[Logged],
    vocabulary: Vocabulary,
    template: NameTemplate,
    *,
    place: str,
    is_online: bool,
    source: str,
) -> Plan:
    """Finds out what is to be copied.

    Args:
        tasks: The tasks.
        vocabulary: The correct names.
        template: The template of the correct names.
        place: The server's address, or the folder of the offline sessions.
        is_online: Whether the place is a server.
        source: The file with the vocabulary.
    """
    listed = list(tasks)
    correct = correct_names({task.id: task.names for task in listed}, vocabulary, template)
    planned, conflicts, left_alone = list[TaskPlan](), list[LeftAlone](), list[LeftAlone]()
    for task in listed:
        copies, own = _plan_task(task, {name: correct[name] for name in task.names if name in correct})
        obstacle = task.obstacle or (close_to_limit(task.names, copies) if copies else "")
        if obstacle and (copies or own):
            every = (*copies, *(copy for left in own for copy in left.copies))
            left_alone.append(LeftAlone(task.id, task.name, every, obstacle))
            continue
        conflicts += own
        if copies:
            planned.append(TaskPlan(task.id, task.name, tuple(copies)))
    return Plan(place, is_online, source, tuple(planned), tuple(conflicts), tuple(left_alone))


def _plan_task(task: Logged, correct: Mapping[Name, Name | str]) -> tuple[list[Copy], list[LeftAlone]]:
    copies, conflicts = list[Copy](), list[LeftAlone]()
    sources: dict[str, list[Name]] = {}
    for source, target in correct.items():
        if isinstance(target, Name):
            sources.setdefault(joined(target), []).append(source)
    begun = [tag for tag in task.tags if tag.startswith(TAG)]
    for source, target in correct.items():
        if isinstance(target, str):
            conflicts.append(LeftAlone(task.id, task.name, (), f"{shown_name(source)}: {target}"))
            continue
        copy, others = Copy(source, target), [one for one in sources[joined(target)] if one != source]
        if source in task.not_single:
            why = f"{shown_name(source)} is a curve under the title of single values"
        elif target in task.names:
            why = "it has data under both names"
            if begun:
                why += f"; if {begun[-1]} was interrupted, apply that plan again"
        elif others:
            why = f"{some([shown_name(one) for one in others])} would get the same name"
        else:
            why = same_id(target, task.names)
        if why:
            conflicts.append(LeftAlone(task.id, task.name, (copy,), why))
        else:
            copies.append(copy)
    return copies, conflicts


# --- rules for planning and applying --------------------------------------------------------------


def same_id(target: Name, names: Iterable[Name]) -> str:
    """Says which name's data points would be replaced: a server keeps them by `title-series`; else empty."""
    other = next((name for name in names if joined(name) == joined(target) and name != target), None)
    if other is None:
        return ""
    return f"ClearML stores {shown_name(other)} and {shown_name(target)} under one id, {joined(target)!r}"


def joined(name: Name) -> str:
    """Returns title and series as one text, in which no two names of a task may agree."""
    return f"{name.title}-{name.series}"


def close_to_limit(names: Collection[Name], copies: Iterable[Copy]) -> str:
    """Says that a task would have more names than a server keeps; else empty."""
    count = len({*names, *(copy.target for copy in copies)})
    if count <= MAX_NAMES_PER_TASK:
        return ""
    return f"it would have {count:,} names, and a server keeps {MAX_NAMES_PER_TASK:,}"


def shown_name(name: Name) -> str:
    """Returns a name for people."""
    return name.series if name.title == name.series else f"{name.title}/{name.series}"


# --- what a plan leaves in a task ------------------------------------------------------------------


def with_comment(comment: str, plan: Plan, copies: Iterable[Copy]) -> str:
    """Returns a task's comment with what a plan has copied, unless that is in it already."""
    lines = set(comment.splitlines())
    added = [text for text in map(str, copies) if text not in lines]
    if not added:
        return comment
    added.insert(0, f"clearml-taskgroup drift has copied (plan {plan.id}):")
    return "\n".join([comment.rstrip(), "", *added] if comment.strip() else added)


def copied_names(names: Iterable[Name], tags: Iterable[str], comment: str) -> set[Name]:
    """Finds the names that a plan has copied to their correct names, which the task has, too."""
    if not any(tag.startswith(TAG) for tag in tags):
        return set()
    lines, shown = set(comment.splitlines()), {name: shown_name(name) for name in names}
    return {
        name
        for name, text in shown.items()
        if any(f"{text}{ARROW}{other}" in lines for other in shown.values())
    }
