"""Reads the flat names that frameworks log metrics under, `val_loss`, as a metric and its split."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

import attrs

from .._log import warn
from .._model.arguments import iterator_of
from .._model.metrics import MetricKey, canonical_context
from .._model.name_template import check_context
from .._model.report_values import to_float
from .._reporting import BoundTask, report_error
from .._task import GroupTask
from ..errors import ArgumentError, LeftOutWarning, MetricValueError, NameCollisionError, UnknownMetricError
from . import filled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SPLITS = ("train", "val", "valid", "validation", "test", "eval")
"""Names of splits that frameworks and their users put before or behind a metric's name."""
Parts = tuple[str, str]
"""A metric's name and its split."""


def by_prefix(words: Iterable[str], separators: str = "_/") -> Callable[[str], Parts | None]:
    """Makes a function that reads `val_loss`, `val/loss` and `loss/val`; None for other names."""
    return functools.partial(_read_prefix, tuple(words), separators)  # unlike a closure, it can be pickled


def _read_prefix(words: tuple[str, ...], separators: str, key: str) -> Parts | None:
    for word in words:
        if len(key) > len(word) + 1:
            if key.startswith(tuple(word + separator for separator in separators)):
                return key[len(word) + 1 :], word
            if key.endswith(f"/{word}"):
                return key[: -len(word) - 1], word
    return None


def by_last_part(key: str) -> Parts | None:
    """Reads a tag as TensorBoard's users write it: the part behind the last `/` is the context."""
    metric, slash, last = key.rpartition("/")
    return (metric, last) if slash and metric.strip() and last.strip() else None


def _itself(key: str) -> tuple[str, ...]:
    return (key,)


def _any(key: str) -> bool:
    return True


def by_patterns(
    only: str | Iterable[str] | None, ignore: str | Iterable[str], hidden: Iterable[str] = ()
) -> Callable[[str], bool]:
    """Makes a function that tells whether a name is reported.

    Args:
        only: Patterns of the names that are, as of files: `eval_*`; None for all that are not `hidden`.
        ignore: Patterns of the names that are not.
        hidden: Patterns of the names that are reported only if `only` has them.

    Raises:
        ArgumentError: A pattern is not text.
    """
    ignored = _patterns("ignore", ignore)
    if only is None:
        return functools.partial(_is_chosen, ("*",), (*ignored, *hidden))
    return functools.partial(_is_chosen, _patterns("only", only), ignored)


def _patterns(argument: str, given: Any) -> tuple[str, ...]:
    listed = [given] if isinstance(given, str) else list(iterator_of(given) or [None])
    if not all(isinstance(pattern, str) for pattern in listed):
        raise ArgumentError(argument, given, "names of metrics, or patterns such as 'eval_*'")
    return tuple(listed)


def _is_chosen(only: tuple[str, ...], ignored: tuple[str, ...], key: str) -> bool:
    def matches(patterns: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatchcase(str(key), pattern) for pattern in patterns)

    return matches(only) and not matches(ignored)


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Joins the names of nested dicts with `/`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{inner}": item for inner, item in flat(value).items()}
        else:
            found[name] = value
    return found


def current_task(task: GroupTask | BoundTask | None) -> GroupTask | BoundTask:
    """Gives the given task, else the one whose block this is.

    Raises:
        ArgumentError: Neither exists.
    """
    found = task if task is not None else GroupTask.current()
    if not isinstance(found, (GroupTask, BoundTask)):
        raise ArgumentError("task", task, "a task of a group; it may be left out in the block of a task")
    return found


@attrs.define(eq=False)
class Relay:
    """Reports a framework's values to a task; each name is read once.

    A name whose metric and split another name has already is used whole as the metric, so that two
    curves are never merged.

    Args:
        task: The task, or `task.bind(…)`.
        read: Splits a name into metric and split.
        context: The template's field for the split; None for `split`, if the template has it.
        rest: The split of names that have none; None to leave it to the template.
        strict: Whether a value that cannot be reported raises; else it is skipped, with one warning.
        fill: Whether fields that the template needs and nobody gives are filled in; else a report raises.
        spellings: Gives what a name may be read as, best first; itself is one of them.
        takes: Tells whether a name is reported.
    """

    task: GroupTask | BoundTask
    read: Callable[[str], Parts | None]
    context: str | None = None
    rest: str | None = None
    strict: bool = False
    fill: bool = True
    spellings: Callable[[str], Iterable[str]] = _itself
    takes: Callable[[str], bool] = _any
    owner: GroupTask = attrs.field(init=False)
    _bound: Mapping[str, Any] = attrs.field(init=False)
    _known: dict[tuple[str, bool], tuple[str, dict[str, Any]]] = attrs.field(factory=dict)
    _taken: dict[MetricKey, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if isinstance(self.task, BoundTask):
            self.owner, self._bound = self.task.task, self.task._context
        else:
            self.owner, self._bound = self.task, {}
        template = self.owner.group.template
        if self.context is not None and not isinstance(self.context, str):
            raise ArgumentError("context", self.context, "the name of a field of the template")
        if self.context is not None:
            check_context(template, {self.context: ""})
        elif "split" in template.context_fields and "split" not in self._bound:
            self.context = "split"

    def put(self, values: Mapping[str, Any], iteration: SupportsIndex | None) -> None:
        """Reports the values that are numbers of metrics that the group's vocabulary has."""
        if not isinstance(values, Mapping):
            raise report_error(values)
        skipped: dict[str, Exception] = {}
        for key, value in values.items():
            if not self.takes(key):
                continue
            try:
                plain = to_float(key, value)
                metric, context = self.place(key)
            except (MetricValueError, NameCollisionError, UnknownMetricError) as error:
                if self.strict:
                    raise
                skipped[key] = error
                continue
            self.task.report({metric: plain}, iteration, **context)
        if skipped:
            self.warn_of_skipped(skipped)

    def log(self, call: str, key: str, step: SupportsIndex | None, behind: str = "", **what: Any) -> None:
        """Makes a call of ClearML's `Logger`, with title and series of a name.

        Args:
            call: The call, `report_image`.
            key: The name.
            step: The iteration; None for 0.
            behind: What the series has behind its name.
            **what: The call's other arguments.
        """
        metric, context = self.place(key, scalar=False)
        title, series = self.task.metric(metric, **context)
        report = getattr(self.owner.logger, call)
        report(title=title, series=series + behind, iteration=0 if step is None else int(step), **what)

    def place(self, key: str, parts: Parts | None = None, scalar: bool = True) -> tuple[str, dict[str, Any]]:
        """Gives the metric and the context of a name.

        Args:
            key: The name.
            parts: Its metric and split, where the framework gives them.
            scalar: Whether the value is a number, whose metric has to be in the vocabulary.

        Raises:
            MetricValueError: The name is not text.
            UnknownMetricError: The group's vocabulary does not have the metric.
            NameCollisionError: Another name has the same metric and context.
        """
        if not isinstance(key, str):
            raise MetricValueError(key, None)
        known = self._known.get((key, scalar))
        if known is None:
            known = self._known[key, scalar] = self._find(key, parts, scalar)
        return known

    def _find(self, key: str, parts: Parts | None, scalar: bool) -> tuple[str, dict[str, Any]]:
        group, taken = self.owner.group, None
        vocabulary = group.vocabulary
        names = (key,) if parts is not None else self.spellings(key)
        readings = [reading for name in names for reading in self._readings(name, parts or self.read(name))]
        readings.sort(key=lambda reading: not reading[1])  # whole names last
        for metric, own in readings:
            if vocabulary is not None and scalar and metric not in vocabulary:
                continue
            context = {**self._bound, **own}
            if self.fill:
                context = filled(group, metric, context)
            name, full = metric, cast("Mapping[str, Any]", context)
            if vocabulary is not None and metric in vocabulary:
                name, full = vocabulary.resolve(metric, context)
            taken = self._taken.setdefault(MetricKey(name, canonical_context(group.template, full)), key)
            if taken == key:
                return metric, context
        if taken is None and vocabulary is not None:
            vocabulary.resolve(readings[0][0], {})  # raises
        raise NameCollisionError(
            tuple(self.task.metric(key, **context)), repr(taken), repr(key), group.template.text
        )

    def _readings(self, key: str, parts: Parts | None) -> list[tuple[str, dict[str, Any]]]:
        """Gives the possible metrics and contexts of a name, best first; the last one is the whole name."""
        vocabulary, whole = self.owner.group.vocabulary, (key, dict[str, Any]())
        if self.context is None:
            return [whole]
        carried: Mapping[str, Any] = self._bound
        if vocabulary is not None and key in vocabulary:
            parts, carried = None, vocabulary.resolve(key, self._bound)[1]
        if parts is not None:
            return [(parts[0], {self.context: parts[1]}), whole]
        if self.rest is not None and self.context not in carried:
            return [(key, {self.context: self.rest}), whole]
        return [whole]

    def warn_of_skipped(self, skipped: Mapping[str, Any]) -> None:
        """Warns of names that are skipped and why, once per group for each name."""
        warned = self.owner._run.warned
        new = [key for key in skipped if f"left out: {key}" not in warned]
        if new:
            warned.update(f"left out: {key}" for key in new)
            names = ", ".join(map(repr, new))
            warn(f"left out of the group's tasks: {names}; {skipped[new[0]]}", LeftOutWarning)
