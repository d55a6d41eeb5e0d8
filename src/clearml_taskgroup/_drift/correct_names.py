"""The correct name of each logged name, by a vocabulary and a name template. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._model.name_template import TASK_FIELDS, Name
from ..errors import TaskGroupError
from .compare import find_metrics
from .parse_name import MONITOR, SUMMARY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._model.name_template import NameTemplate
    from .._model.vocabulary import Vocabulary
    from .compare import Names, Spelling

MAX_REASON_LENGTH = 200
"""How long the reason may be why a name has no correct one."""


def correct_names(
    reported: Mapping[str, Names], vocabulary: Vocabulary, template: NameTemplate
) -> dict[Name, Name | str]:
    """Finds the logged names that a vocabulary spells differently.

    Args:
        reported: The names that each task logged, by the task's id.
        vocabulary: The vocabulary; a name that it does not have is left out.
        template: The template of the correct names.

    Returns:
        The correct name of each, or the reason why there is none.
    """
    found: dict[Name, Name | str] = {}
    for metric in find_metrics(reported):
        for spelling in metric.spellings:
            name = Name(spelling.title, spelling.series)
            correct = _correct_name(spelling, vocabulary, template)
            if correct is not None and correct != name:
                found[name] = correct
    return found


def _correct_name(spelling: Spelling, vocabulary: Vocabulary, template: NameTemplate) -> Name | str | None:
    known = [(alias, context) for alias, context in _as_reported(spelling) if alias in vocabulary]
    if not known:
        return None
    alias, context = known[0]
    try:
        metric, whole = vocabulary.resolve(alias, context)
        name = template.render(metric, **whole)
    except TaskGroupError as error:
        return " ".join(str(error).split())[:MAX_REASON_LENGTH]
    if spelling.title == SUMMARY:
        return Name(SUMMARY, template.single_value_name(name))
    if name.title == SUMMARY or name.title.startswith(MONITOR):
        return f"the title {name.title!r} is one of ClearML's own"
    return name


def _as_reported(spelling: Spelling) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields what a script would give to `report` for a name, the likeliest first: metric and context."""
    own = {field: value for field, value in spelling.context.items() if field not in spelling.carried}
    yield spelling.alias, own
    yield str(spelling), {}


def fields_of_tasks(template: NameTemplate) -> list[str]:
    """Returns the fields of a template that only a group can fill in."""
    return [field for field in template.fields if field in TASK_FIELDS]
