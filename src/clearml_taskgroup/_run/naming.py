"""What the values of one task are called: the template filled in once, then looked up."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.events import SINGLE_VALUE_TITLE
from .._model.metrics import MetricKey, Vocabulary, canonical_context
from .._model.name_template import (
    NAMES_MOST,
    NAMES_WARNED_AT,
    Name,
    NameTemplate,
    check_context,
)
from .._model.stats import Stats
from ..errors import BlankNameError, MetricValueError, NameCollisionError, NameWarning, TooManyNamesError
from .reporter import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.downsample import CurveSample


@attrs.define(eq=False)
class Names:
    """The names of one task: a channel for each (metric, context), made when first used.

    Args:
        template: The group's template.
        vocabulary: The group's vocabulary, if it has one.
        task_id: The ClearML task's id.
        fields: What the task fills in by itself: group, task, key, index, task_id.
        told: What the group has warned of already, shared by its tasks.
        stats: Counts over what was reported, also in an earlier attempt.
        earlier: The names under which an earlier attempt, or a worker process, has logged.
        sketched: The shapes of curves that worker processes have reported.
    """

    template: NameTemplate
    vocabulary: Vocabulary | None
    task_id: str
    fields: Mapping[str, str]
    told: set[str]
    stats: dict[MetricKey, Stats] = attrs.field(factory=dict)
    earlier: dict[MetricKey, list[Name]] = attrs.field(factory=dict)
    sketched: dict[MetricKey, CurveSample] = attrs.field(factory=dict)
    _caches: dict[Any, dict[str, Channel]] = attrs.field(factory=dict)
    _taken: dict[Name, tuple[MetricKey, Channel]] = attrs.field(factory=dict)
    _joined: dict[str, MetricKey] = attrs.field(factory=dict)

    def cache(self, context: Mapping[str, Any], single: bool) -> dict[str, Channel]:
        """Gives the channels known so far for a context, by the metric as it was spelt."""
        # The types go along because 1 == True, and they are written differently.
        key = (single, *context.items(), *map(type, context.values()))
        try:
            return self._caches[key]
        except KeyError:
            return self._caches.setdefault(key, {})
        except TypeError:  # a value that cannot be hashed: told by name in `channel`
            return {}

    def channel(self, metric: str, context: Mapping[str, Any], single: bool) -> Channel:
        """Makes or finds the channel of a metric and context, and keeps it in the cache."""
        metric_key, name = self.resolve(metric, context)
        if single:
            name = Name(SINGLE_VALUE_TITLE, self.template.single_value_name(name))
        taken = self._taken.get(name)
        if taken is None:
            self._count(name)
            first = self._joined.setdefault(f"{name.title}-{name.series}", metric_key)
            if first != metric_key:
                raise NameCollisionError(name, str(first), str(metric_key), self.template.text, joined=True)
            stats = self.stats.setdefault(metric_key, Stats())
            taken = self._taken[name] = (metric_key, Channel(self.task_id, name, stats))
        elif taken[0] != metric_key:
            raise NameCollisionError(tuple(name), str(taken[0]), str(metric_key), self.template.text)
        self.cache(context, single)[metric] = taken[1]
        return taken[1]

    def spelt(self) -> dict[MetricKey, list[Name]]:
        """Gives the names under which each (metric, context) was logged."""
        names = {metric_key: list(earlier) for metric_key, earlier in self.earlier.items()}
        for name, (metric_key, _) in list(self._taken.items()):
            known = names.setdefault(metric_key, [])
            if name not in known:
                known.append(name)
        return names

    def samples(self) -> dict[MetricKey, CurveSample]:
        """Gives the shapes of the curves that were reported in this run."""
        here = {
            metric_key: channel.sample
            for metric_key, channel in list(self._taken.values())
            if channel.sample.xs
        }
        return {**self.sketched, **here}

    def name(self, thing: str, context: Mapping[str, Any]) -> Name:
        """Gives title and series of a metric, or of anything else that ClearML's logger reports."""
        if self.vocabulary is not None and thing in self.vocabulary:
            thing, context = self.vocabulary.resolve(thing, context)
        return self._rendered(thing, context)

    def resolve(self, metric: str, context: Mapping[str, Any]) -> tuple[MetricKey, Name]:
        """Gives what a value is of, and its title and series."""
        _check_metric(metric, self.template)
        if self.vocabulary is not None:
            metric, context = self.vocabulary.resolve(metric, context)
        name = self._rendered(metric, context)
        return MetricKey(metric, canonical_context(self.template, context)), name

    def _rendered(self, metric: str, context: Mapping[str, Any]) -> Name:
        _check_metric(metric, self.template)
        check_context(self.template, context)
        own = {field: text for field, text in self.fields.items() if field in self.template.fields}
        return self.template.render(metric, **context, **own)

    @property
    def metrics(self) -> list[str]:
        """The metrics that have values, by their own names."""
        return list(dict.fromkeys(metric for (metric, _), stats in self.stats.items() if stats.count))

    def _count(self, name: Name) -> None:
        count = len(self._taken) + 1
        if count > NAMES_MOST:
            raise TooManyNamesError(self.fields["task"], NAMES_MOST, self.template.text)
        if count > NAMES_WARNED_AT and "names" not in self.told:
            self.told.add("names")
            warnings.warn(
                f"the task {self.fields['task']!r} has logged over {NAMES_WARNED_AT:,} different names "
                f"(the latest: {name.title!r}, {name.series!r}); a ClearML server keeps {NAMES_MOST:,}. "
                "What counts up belongs into iteration: report(values, iteration)",
                NameWarning,
                stacklevel=6,
            )


def _check_metric(metric: Any, template: NameTemplate) -> None:
    if not isinstance(metric, str):
        raise MetricValueError(metric, None)
    if not metric.strip():
        raise BlankNameError("metric's name", template.text)
