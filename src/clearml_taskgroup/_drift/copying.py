"""Which data points of a name are still to be copied, and what keeps them from it. Pure.

A copied data point has the iteration, the value and the time of the original, so the copies of an interrupted
`apply` are known: a name that a plan has begun holds nothing but equal data points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .plan import same_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .._clearml.stored_points import StoredCurve
    from .._model.name_template import Name
    from .plan import Copy, TaskPlan


@attrs.frozen
class Outcome:
    """What was done in one task.

    Attributes:
        task: What the plan says.
        copied: The copies that are complete now, and were not before.
        points: The number of data points that were written.
        problems: What was left alone, and why.
    """

    task: TaskPlan
    copied: Sequence[Copy] = ()
    points: int = 0
    problems: Sequence[str] = ()


@attrs.frozen
class ToDo:
    """What is to be done in one task.

    Attributes:
        allowed: The copies that nothing keeps from being complete.
        missing: The data points to write, by the copy; nothing for a complete one.
        problems: Why the other copies are left alone.
    """

    allowed: Sequence[Copy]
    missing: Mapping[Copy, StoredCurve]
    problems: Sequence[str]


def to_do(
    copies: Iterable[Copy], curves: Mapping[Name, StoredCurve], names: Collection[Name], *, begun: bool
) -> ToDo:
    """Compares what a plan says with what a task has.

    Args:
        copies: What the plan says.
        curves: The data points of all names in it.
        names: All names of the task.
        begun: Whether the task has the plan's tag.
    """
    allowed: list[Copy] = []
    missing: dict[Copy, StoredCurve] = {}
    problems: list[str] = []
    for copy in copies:
        source, target = curves[copy.source], curves[copy.target]
        if why := _conflict(copy, source, target, names, begun=begun):
            problems.append(f"{copy}: {why}")
            continue
        allowed.append(copy)
        left = {iteration: point for iteration, point in source.items() if iteration not in target}
        if left:
            missing[copy] = left
    return ToDo(allowed, missing, problems)


def _conflict(
    copy: Copy, source: StoredCurve, target: StoredCurve, names: Collection[Name], *, begun: bool
) -> str:
    if not source:
        return "it has no data under the old name any more"
    if target and not begun:
        return "it has data under both names"
    for iteration, point in target.items():
        original = source.get(iteration)
        if original is None or original[:2] != point[:2]:
            return "it has data under both names, which is not the same"
    return same_id(copy.target, names)
