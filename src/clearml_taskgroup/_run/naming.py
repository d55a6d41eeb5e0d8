"""The names of one task's values: the template is rendered once per metric key, then looked up."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.documents import metric_key_of
from .._clearml.events import SINGLE_VALUE_TITLE
from .._model.downsample import CurveSample
from .._model.metric_data import MetricData, Metrics
from .._model.metrics import MetricKey, canonical_context
from .._model.name_template import (
    MANY_NAMES_PER_TASK,
    MAX_NAMES_PER_TASK,
    Name,
    NameTemplate,
    check_context,
)
from ..errors import (
    BlankNameError,
    MetricValueError,
    NameCollisionError,
    NameWarning,
    ReportError,
    TooManyNamesError,
)
from .reporter import Channel, Points

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.vocabulary import Vocabulary


@attrs.define(eq=False)
class Names:
    """The names of one task, with a channel for each, created when first used.

    Args:
        template: The group's template.
        vocabulary: The group's vocabulary, if it has one.
        task_id: The ClearML task's id.
        fields: The template's fields that the task fills in itself: group, task, key, index, task_id.
        warned: The group's warnings so far, shared by its tasks.
        metrics: The data of the task's metrics, which the channels update.
        ambiguous: What the names stand for that would be read back as another metric.
        unstored: Those of them that have not been stored with the task yet.
    """

    template: NameTemplate
    vocabulary: Vocabulary | None
    task_id: str
    fields: Mapping[str, str]
    warned: set[str]
    metrics: Metrics = attrs.field(factory=dict)
    ambiguous: dict[Name, MetricKey] = attrs.field(factory=dict)
    unstored: list[Name] = attrs.field(factory=list)
    _caches: dict[Any, dict[str, Channel]] = attrs.field(factory=dict)
    _taken: dict[Name, MetricKey] = attrs.field(factory=dict)
    _joined: dict[str, MetricKey] = attrs.field(factory=dict)
    _channels: dict[Name, Channel] = attrs.field(factory=dict)

    def restore(self, metrics: Metrics) -> None:
        """Adds what another process has reported to the task, under its names."""
        self.metrics.update(metrics)
        self._caches.clear()  # their channels update what was replaced
        self._channels.clear()
        for key, data in metrics.items():
            for name in data.names:
                self._taken.setdefault(name, key)
                self._joined.setdefault(f"{name.title}-{name.series}", key)

    def cache(self, context: Mapping[str, Any], single: bool) -> dict[str, Channel]:
        """Returns the channels of a context so far, by metric as it was given to `report`."""
        # The types are part of the key because 1 == True, and their texts differ.
        key = (single, *context.items(), *map(type, context.values()))
        try:
            return self._caches[key]
        except KeyError:
            return self._caches.setdefault(key, {})
        except TypeError:  # a value without a hash: `channel` raises an error that names it
            return {}

    def channel(self, metric: str, context: Mapping[str, Any], single: bool) -> Channel:
        """Finds or creates the channel of a metric and context, and puts it into the cache."""
        metric_key, name = self.resolve(metric, context)
        if single:
            name = Name(SINGLE_VALUE_TITLE, self.template.single_value_name(name))
        taken = self._taken.get(name)
        if taken is None:
            self._check_number_of_names(name)
            first = self._joined.setdefault(f"{name.title}-{name.series}", metric_key)
            if first != metric_key:
                raise NameCollisionError(name, str(first), str(metric_key), self.template.text, joined=True)
            self._verify(name, metric_key, single)
            self._taken[name] = metric_key
        elif taken != metric_key:
            raise NameCollisionError(tuple(name), str(taken), str(metric_key), self.template.text)
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = self._new_channel(metric_key, name)
        self.cache(context, single)[metric] = channel
        return channel

    def _new_channel(self, metric_key: MetricKey, name: Name) -> Channel:
        data = self.metrics.setdefault(metric_key, MetricData())
        data.add_names([name])
        if data.sample is None and not data.stats.has_curve:  # else it would lack an earlier attempt's points
            data.sample = CurveSample()
        return Channel(self.task_id, name, data)

    def _verify(self, name: Name, metric_key: MetricKey, single: bool) -> None:
        """Notes what a name stands for, unless the template says so: nothing is guessed when it is read."""
        if name not in self.ambiguous and (
            metric_key_of(self.template, name, single, self.fields) != metric_key
        ):
            self.ambiguous[name] = metric_key
            self.unstored.append(name)

    def name(self, metric: str, context: Mapping[str, Any]) -> Name:
        """Returns title and series of a metric, or of a plot or image outside of the vocabulary."""
        if self.vocabulary is not None and metric in self.vocabulary:
            metric, context = self.vocabulary.resolve(metric, context)
        return self._rendered(metric, context)

    def resolve(self, metric: str, context: Mapping[str, Any]) -> tuple[MetricKey, Name]:
        """Returns the metric key of a value, and its title and series."""
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

    def _check_number_of_names(self, name: Name) -> None:
        count = len(self._taken) + 1
        if count > MAX_NAMES_PER_TASK:
            raise TooManyNamesError(
                self.fields["task"],
                f"has {MAX_NAMES_PER_TASK:,} names already, as many as a ClearML server keeps for one task",
                self._advice_on_names(),
            )
        if count > MANY_NAMES_PER_TASK and "names" not in self.warned:
            self.warned.add("names")
            warnings.warn(
                f"the task {self.fields['task']!r} has logged over {MANY_NAMES_PER_TASK:,} different names "
                f"(the latest: {name.title!r}, {name.series!r}); a ClearML server keeps "
                f"{MAX_NAMES_PER_TASK:,}: {self._advice_on_names()}",
                NameWarning,
                stacklevel=6,
            )

    def _advice_on_names(self) -> str:
        """Says what to do, by what makes the names many: the metrics, or what the context has."""
        metrics = {key.metric for key in self._taken.values()}
        if 2 * len(metrics) > len(self._taken):
            return (
                f"it logs {len(metrics):,} metrics. Log means instead of each value, give what counts up in "
                "their names as the iteration, report(values, iteration), or spread them over several tasks"
            )
        return (
            f"the template {self.template.text!r} puts something that counts up into the name: give it "
            "as the iteration instead, report(values, iteration)"
        )


def _check_metric(metric: Any, template: NameTemplate) -> None:
    if not isinstance(metric, str):
        raise MetricValueError(metric, None)
    if not metric.strip():
        raise BlankNameError(template.text, "was given a blank metric", "give its name as text")


Parts = list[tuple[dict[str, Any], "Mapping[str, Any]"]]
"""Context and values of each part of a report; a report that is not nested has one."""


def check_aliases(names: Names, points: Points, has_skipped: bool, parts: Parts) -> None:
    """Checks that no metric is in a report twice, by its name and by an alias.

    Raises:
        ReportError: One is.
    """
    channels: list[Channel] = points[::2]
    if len(set(channels)) == len(channels) and not has_skipped:
        return
    spelt: dict[MetricKey, str] = {}
    for context, values in parts:
        for metric in values:
            metric_key, _ = names.resolve(metric, context)
            first = spelt.setdefault(metric_key, metric)
            if first != metric:
                raise ReportError(
                    f"{first!r} and {metric!r} in one report both stand for {metric_key!s}; "
                    "report only one of them"
                )
