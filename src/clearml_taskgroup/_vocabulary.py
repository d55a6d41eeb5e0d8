"""The vocabulary of a group's metrics, and drift where there is none. Pure."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, cast

import attrs

from ._drift.drift import drifting
from ._template import NameTemplate, check_context
from .errors import AliasContextError, UnknownMetricError, VocabularyError, some

MOST_TOLD = 5
"""How many lines a warning has for what drifts."""


def _aliases(given: Any) -> dict[str, dict[str, Any]]:
    if isinstance(given, str):
        raise VocabularyError(f"aliases={given!r} is a bare string; write aliases=[{given!r}]")
    try:
        if isinstance(given, Mapping):
            return {alias: dict(context or {}) for alias, context in given.items()}
        return {alias: {} for alias in cast("Iterable[str]", given)}
    except (TypeError, ValueError):
        raise VocabularyError(
            f"aliases={given!r}: write a list of names, or a dict of name to context, "
            "{'val_loss': {'split': 'val'}}"
        ) from None


@attrs.frozen
class Metric:
    """One entry of a group's vocabulary.

    Args:
        name: The name under which the metric is logged.
        aliases: Other spellings that `report` may be given: names, or a dict of names to the
            context that each carries, `{"val_loss": {"split": "val"}}`.
        mode: Which is better, `"max"` or `"min"`; `results().best` then needs no mode.
        unit: The unit, as text, for tables and figures.

    Raises:
        VocabularyError: The name is blank, or the mode is neither `"max"` nor `"min"`.
    """

    name: str
    aliases: Mapping[str, Mapping[str, Any]] = attrs.field(default=(), converter=_aliases, kw_only=True)
    mode: Literal["max", "min"] | None = attrs.field(default=None, kw_only=True)
    unit: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            if not isinstance(name, str) or not name.strip():
                raise VocabularyError(f"{name!r} was given as a metric's name; it must be text, not blank")
        if self.mode not in (None, "max", "min"):
            raise VocabularyError(f"Metric({self.name!r}, mode={self.mode!r}): write mode='max' or 'min'")


def _as_list(metrics: Mapping[Any, Any]) -> str:
    """Writes a dict of metric → mode as the list that it should have been."""
    return ", ".join(
        f'Metric("{name}", mode="{mode}")' if mode in ("max", "min") else f'Metric("{name}", …)'
        for name, mode in metrics.items()
    )


@attrs.frozen
class Vocabulary:
    """The metrics that a group may report, by every spelling that stands for them."""

    metrics: Mapping[str, Metric]
    _spellings: Mapping[str, tuple[str, Mapping[str, Any]]]

    @classmethod
    def of(cls, metrics: Iterable[str | Metric], template: NameTemplate) -> Vocabulary:
        """Builds the vocabulary and checks it once, as the group is made.

        Raises:
            VocabularyError: A name or alias stands for two metrics.
            UnknownFieldError: An alias carries context that the template has no field for.
        """
        if isinstance(metrics, str):
            raise VocabularyError(f"metrics={metrics!r} is a bare string; write metrics=[{metrics!r}]")
        if isinstance(metrics, Mapping):
            raise VocabularyError(f"metrics={metrics!r} is a dict; write metrics=[{_as_list(metrics)}]")
        if not isinstance(metrics, Iterable):
            raise VocabularyError(f"metrics={metrics!r} is not a list; write metrics=[…]")
        entries = [entry if isinstance(entry, Metric) else Metric(entry) for entry in metrics]
        spellings: dict[str, tuple[str, Mapping[str, Any]]] = {}
        for entry in entries:
            for spelling, context in ((entry.name, {}), *entry.aliases.items()):
                if spelling in spellings:
                    raise VocabularyError(
                        f"{spelling!r} stands for both {spellings[spelling][0]!r} and {entry.name!r}; "
                        "each name and alias may be given once"
                    )
                check_context(template, context)
                spellings[spelling] = (entry.name, context)
        return cls({entry.name: entry for entry in entries}, spellings)

    def stored(self) -> list[Any]:
        """Writes the vocabulary as JSON's own types, for a run's record and its parent."""
        return [
            [entry.name, {"aliases": entry.aliases, "mode": entry.mode, "unit": entry.unit}]
            for entry in self.metrics.values()
        ]

    @classmethod
    def restored(cls, stored: Any, template: NameTemplate) -> Vocabulary | None:
        """Reads what `stored` wrote; None for anything else, as a person may have edited it."""
        try:
            return cls.of([Metric(name, **facts) for name, facts in stored], template)
        except (TypeError, ValueError):
            return None

    @property
    def has_aliases(self) -> bool:
        """Whether anything has more than one spelling."""
        return len(self._spellings) > len(self.metrics)

    def __contains__(self, metric: object) -> bool:
        return metric in self._spellings

    def resolve(self, metric: str, context: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Gives the metric's own name, and the context with what the alias carries.

        Raises:
            UnknownMetricError: No metric is spelt like this.
            AliasContextError: The context contradicts what the alias carries.
        """
        try:
            name, carried = self._spellings[metric]
        except KeyError:
            close = difflib.get_close_matches(metric, self._spellings, n=1, cutoff=0.5)
            raise UnknownMetricError(metric, list(self.metrics), close[0] if close else None) from None
        for field, value in carried.items():
            if field in context and context[field] != value:
                raise AliasContextError(metric, field, context[field], value)
        return name, {**carried, **context}


def drift(reported: Mapping[str, Collection[str]]) -> dict[str, tuple[list[str], list[str]]]:
    """Finds the metrics that some tasks report and others don't.

    Args:
        reported: The metrics that each task reported, by the task's name.

    Returns:
        For each such metric, the tasks that report it and those that don't.
    """
    metrics = dict.fromkeys(metric for names in reported.values() for metric in names)
    found = {}
    for metric in metrics:
        have = [task for task, names in reported.items() if metric in names]
        if len(have) < len(reported):
            found[metric] = (have, [task for task in reported if task not in set(have)])
    return found


def drift_text(found: Mapping[str, tuple[list[str], list[str]]], group: str = "") -> str:
    """Tells what `drift` found, for people, in a few lines.

    Args:
        found: What `drift` found.
        group: What the command `drift` knows the group by; empty if it does not.
    """
    alike = _alike(found)
    lines = [f"{some(list(map(repr, names)), 4)} look like one metric" for names in alike]
    told = {name for names in alike for name in names}
    lines += [
        f"{metric!r}: in {some(have, 2)}, not in {some(lack, 2)}"
        for metric, (have, lack) in found.items()
        if metric not in told
    ]
    more = [f"and {len(lines) - MOST_TOLD} more"] if len(lines) > MOST_TOLD else []
    told_of = ["the tasks of this group do not all report the same metrics:", *lines[:MOST_TOLD], *more]
    cure = "give the group metrics=[…], with aliases, to have one name for each"
    command = f"; as code to paste: clearml-taskgroup drift --group {shlex.quote(group)}" if group else ""
    return "\n  ".join(told_of) + f"\n{cure}{command}"


def _alike(found: Mapping[str, tuple[list[str], list[str]]]) -> list[list[str]]:
    """Gives the names that look like one metric, spelt differently by other tasks."""
    reported: dict[str, list[tuple[str, str]]] = {}
    for metric, (have, _) in found.items():
        for task in have:
            reported.setdefault(task, []).append((metric, metric))
    return [[spelling.title for spelling in same.spellings] for same in drifting(reported)]
