"""The names of one task's values: the template is rendered once per metric key, then looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .._clearml.events import SINGLE_VALUE_TITLE
from .._log import warn
from .._model.downsample import CurveSample
from .._model.metric_data import MetricData, Metrics
from .._model.metrics import MetricKey, canonical_context, metric_key_of
from .._model.name_template import (
    MANY_NAMES_PER_TASK,
    MAX_NAMES_PER_TASK,
    PER_TASK_FIELDS,
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
from .reporter import FIRST_POINT, Channel, Channels, Points

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.vocabulary import Vocabulary


MAX_NAMINGS = 10_000
"""How many metrics with their contexts a group keeps the names of: tasks may have contexts of their own."""

PLAIN_SPLITS = frozenset(("train", "val", "test"))
"""The usual splits, which are not misspelt."""


class Naming(NamedTuple):
    """What a metric and a context stand for.

    Attributes:
        metric_key: The metric's own name and the context.
        names: The name (title, series), as `MetricData` has it.
        joined: Title and series as one text, in which no two names may agree.
        is_plain: Whether the name is read back as the metric key.
    """

    metric_key: MetricKey
    names: tuple[Name]
    joined: str
    is_plain: bool


class Names:
    """The names of one task, with a channel for each, created when first used.

    Args:
        template: The group's template.
        vocabulary: The group's vocabulary, if it has one.
        task_id: The ClearML task's id.
        fields: The template's fields that the task fills in itself: group, task, key, index, task_id.
        warned: The group's warnings so far, shared by its tasks.
        namings: What metrics and contexts stand for, shared by the group's tasks.
        channels: The channels of the group's tasks.

    Attributes:
        metrics: The data of the task's metrics, which the channels update.
        ambiguous: What the names stand for that would be read back as another metric.
        unstored: Those of them that have not been stored with the task yet.
    """

    def __init__(
        self,
        template: NameTemplate,
        vocabulary: Vocabulary | None,
        task_id: str,
        fields: Mapping[str, str],
        warned: set[str],
        namings: dict[Any, Naming] | None = None,
        channels: Channels | None = None,
    ) -> None:
        self.template = template
        self.vocabulary = vocabulary
        self.task_id = task_id
        self.fields = fields
        self.warned = warned
        self.namings: dict[Any, Naming] = {} if namings is None else namings
        self.channels: Channels = Channels() if channels is None else channels
        self.metrics: Metrics = {}
        self.ambiguous: dict[Name, MetricKey] = {}
        self.unstored: list[Name] = []
        self._caches: dict[Any, dict[str, int]] = {}
        self._taken: dict[Name, MetricKey] = {}
        self._joined: dict[str, MetricKey] = {}
        self._numbers: dict[Name, int] = {}
        self._has_own_names = not PER_TASK_FIELDS.isdisjoint(template.fields)
        """Whether fields that the task fills in itself are part of the names."""

    def restore(self, metrics: Metrics) -> None:
        """Adds what another process has reported to the task, under its names."""
        self.metrics.update(metrics)
        self.forget_channels()  # which update what was replaced
        for key, data in metrics.items():
            for name in data.names:
                self._taken.setdefault(name, key)
                self._joined.setdefault(f"{name.title}-{name.series}", key)

    def forget_channels(self) -> None:
        """Frees what only reports need, once a task has ended; made anew if it is opened again."""
        if self._numbers:
            self.channels.forget(self._numbers.values())
        self._caches.clear()
        self._numbers.clear()

    def cache(self, context: Mapping[str, Any], single: bool) -> dict[str, int]:
        """Returns the channels of a context so far, by metric as it was given to `report`."""
        # The types are part of the key because 1 == True, and their texts differ.
        key = (single, *context.items(), *map(type, context.values()))
        try:
            return self._caches[key]
        except KeyError:
            return self._caches.setdefault(key, {})
        except TypeError:  # a value without a hash: `channel` raises an error that names it
            return {}

    def channel(self, metric: str, context: Mapping[str, Any], single: bool) -> int:
        """Finds or creates the channel of a metric and context, and puts its number into the cache."""
        naming = self._naming(metric, context, single)
        metric_key, (name,), joined, is_plain = naming
        taken = self._taken.get(name)
        if taken is None:
            self._check_number_of_names(name)
            first = self._joined.setdefault(joined, metric_key)
            if first != metric_key:
                raise NameCollisionError(name, str(first), str(metric_key), self.template.text, joined=True)
            if not is_plain and name not in self.ambiguous:  # nothing is guessed when it is read
                self.ambiguous[name] = metric_key
                self.unstored.append(name)
            self._taken[name] = metric_key
        elif taken != metric_key:
            raise NameCollisionError(tuple(name), str(taken), str(metric_key), self.template.text)
        number = self._numbers.get(name)
        if number is None:
            channel = self._new_channel(metric_key, naming.names)
            number = self._numbers[name] = self.channels.add(channel)
        self.cache(context, single)[metric] = number
        return number

    def _naming(self, metric: str, context: Mapping[str, Any], single: bool) -> Naming:
        """Returns what a metric and a context stand for: found out once for all tasks of the group."""
        if self._has_own_names:
            return self._new_naming(metric, context, single)
        key = (single, metric, *context.items(), *map(type, context.values()))
        try:
            found = self.namings.get(key)
        except TypeError:  # a value without a hash: an error that names it is raised
            return self._new_naming(metric, context, single)
        if found is None:
            found = self._new_naming(metric, context, single)
            if len(self.namings) < MAX_NAMINGS:
                self.namings[key] = found
        return found

    def _new_naming(self, metric: str, context: Mapping[str, Any], single: bool) -> Naming:
        metric_key, name = self.key_and_name(metric, context)
        self._warn_of_split(metric_key)
        if single:
            name = Name(SINGLE_VALUE_TITLE, self.template.single_value_name(name))
        read_back = metric_key_of(self.template, name, single, self.fields)
        return Naming(metric_key, (name,), f"{name.title}-{name.series}", read_back == metric_key)

    def _warn_of_split(self, metric_key: MetricKey) -> None:
        """Warns once of each split that misspells a well-known one: no vocabulary lists the splits."""
        split = dict(metric_key.context).get("split")
        if not isinstance(split, str) or split in PLAIN_SPLITS:
            return
        from .._model.metric_words import split_meant  # seldom needed

        meant, warning = split_meant(split), f"split {split}"
        if meant is None or warning in self.warned:
            return
        self.warned.add(warning)
        warn(
            f"split={split!r} looks like {meant!r} misspelt; it is a context of its own, which is not "
            f"compared with split={meant!r}",
            NameWarning,
        )

    def named(self, name: Name) -> tuple[str, dict[str, Any]]:
        """Makes the channel of a name that the template has not given, or finds it.

        Its values count as what the name is read back as; not if the template never gives such a name.

        Returns:
            A metric and a context under which `cache` has the channel, so that it can be reported to.
        """
        context: dict[str, Any] = {"": tuple(name)}
        number = self._numbers.get(name)
        if number is None:
            metric_key = metric_key_of(self.template, name, False, self.fields)
            if metric_key is None:
                channel = Channel(self.task_id, name, MetricData())
            else:
                self._taken.setdefault(name, metric_key)
                channel = self._new_channel(metric_key, (name,))
            number = self._numbers[name] = self.channels.add(channel)
        self.cache(context, False)[name.title] = number
        return name.title, context

    def _new_channel(self, metric_key: MetricKey, names: tuple[Name]) -> Channel:
        data = self.metrics.setdefault(metric_key, MetricData())
        data.add_names(names)
        if data.sample is None and not data.stats.has_curve:  # else it would lack an earlier attempt's points
            data.sample = CurveSample()
        return Channel(self.task_id, *names, data)

    def name(self, metric: str, context: Mapping[str, Any]) -> Name:
        """Returns title and series of a metric, or of a plot or image outside of the vocabulary."""
        if self.vocabulary is not None and metric in self.vocabulary:
            metric, context = self.vocabulary.resolve(metric, context)
        return self._rendered(metric, context)

    def key_and_name(self, metric: str, context: Mapping[str, Any]) -> tuple[MetricKey, Name]:
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
            warn(
                f"the task {self.fields['task']!r} has logged over {MANY_NAMES_PER_TASK:,} different names "
                f"(the latest: {name.title!r}, {name.series!r}); a ClearML server keeps "
                f"{MAX_NAMES_PER_TASK:,}: {self._advice_on_names()}",
                NameWarning,
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
    channels: list[int] = points[FIRST_POINT::2]
    if len(set(channels)) == len(channels) and not has_skipped:
        return
    spelt: dict[MetricKey, str] = {}
    for context, values in parts:
        for metric in values:
            metric_key, _ = names.key_and_name(metric, context)
            first = spelt.setdefault(metric_key, metric)
            if first != metric:
                raise ReportError(
                    f"{first!r} and {metric!r} in one report both stand for {metric_key!s}; "
                    "report only one of them"
                )
