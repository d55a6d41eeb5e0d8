"""Rows of results: what one task, or one configuration, has reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from ..errors import ArgumentError

if TYPE_CHECKING:
    from .._model.metrics import ByMetric, MetricKey
    from .._model.name_template import Name
    from .._model.stats import Stats
    from .._model.status import Status
    from .history import Reader
    from .metric_lookup import MetricLookup

MOST_SHOWN = 4
"""How many values the short form of a row has."""


@attrs.frozen
class Mean:
    """Mean and spread over the tasks of one configuration.

    Attributes:
        mean: The arithmetic mean.
        std: The sample standard deviation (n - 1), NaN for one task.
        sem: The standard error of the mean, std / √n.
        n: How many tasks have a value.
    """

    mean: float
    std: float
    sem: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.4g}" if self.n < 2 else f"{self.mean:.4g} ± {self.std:.2g}"


@attrs.frozen
class AggregateRow:
    """One configuration, over its tasks.

    Attributes:
        name: The configuration for people, `C=1`.
        params: The parameters that its tasks share.
        n: How many tasks are counted in.
        left_out: The names of those that are not, because they failed or were stopped.
        waiting: The names of those that are not, because they have not begun.
        unfinished: The names of those that are, though they are still open.
        stats: For each (metric, context): mean, std, sem, n.
    """

    name: str
    params: Mapping[str, Any]
    n: int
    left_out: tuple[str, ...]
    waiting: tuple[str, ...]
    unfinished: tuple[str, ...]
    stats: ByMetric[Mean] = attrs.field(repr=False)


Points = Sequence[tuple[int | None, float]]
"""Iteration and value of each point."""


@attrs.frozen
class Curve:
    """What one task reported of one metric in one context.

    Attributes:
        row: The task.
        iterations: The x values, ascending; a single None where the task reported nothing but a value
            without one. Beside a curve such a value is `last` in the task's stats, and no point here.
        values: The value at each; where one iteration was reported twice, the later one.
    """

    row: Row = attrs.field(repr=lambda row: repr(row.name))
    iterations: tuple[int | None, ...]
    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.values)


Of = Literal["first", "last", "min", "max", "mean"]
Mode = Literal["max", "min"]
OF = ("first", "last", "min", "max", "mean")


def number(stats: Stats, of: Of) -> float:
    if of not in OF:
        raise ArgumentError("of", of, "one of " + ", ".join(map(repr, OF)))
    return float(getattr(stats, of))


def of_text(label: str, of: Of) -> str:
    """Says which of a task's values are meant, where they are not the last ones: `max of accuracy`."""
    return label if of == "last" else f"{of} of {label}"


@attrs.frozen
class Best:
    """The best task, or configuration, for one metric.

    Attributes:
        name: Which it is, for people.
        params: Its parameters.
        value: Its value, or its mean over several tasks.
        metric: What was asked, with its context, `accuracy[split=val]`.
        of: Which of a task's values it is: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        mode: Which was taken for better, `"max"` or `"min"`.
        key: The task's key; None for a configuration.
        id: The ClearML task's id; None for a configuration.
        std: The sample standard deviation over the tasks of a configuration; None for a task.
        sem: The standard error of the mean; None for a task.
        n: How many tasks it is a mean over.
    """

    name: str
    params: Mapping[str, Any]
    value: float
    metric: str
    of: Of
    mode: Mode
    key: str | None = None
    id: str | None = None
    std: float | None = None
    sem: float | None = None
    n: int = 1

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.4g} (mean ± std, n={self.n})"
        if self.std is not None and self.n < 2:
            spread = f" (n={self.n})"
        return f"{self.name}: {of_text(self.metric, self.of)} = {self.value:.6g}{spread}"


OPEN = ("created", "queued", "in_progress")
"""The statuses of tasks that have not ended."""


@attrs.frozen
class About:
    """Which run some results are of.

    Attributes:
        project: The group's project.
        name: The group's name.
        group_id: The group's id, 12 hexadecimal digits.
        run: The run's id, 32 hexadecimal digits.
        run_number: The run's number for people.
        mode: `"online"`, `"offline"`, `"disabled"` or `"memory"`.
        where: Where the data lies: a server's address, a folder.
        url: Where to look at the parent.
        compare_urls: The pages that compare the tasks, for each 100 of them.
        started: When the run was opened, in seconds since 1970; None if that is not known.
    """

    project: str
    name: str
    group_id: str
    run: str
    run_number: int
    mode: str
    where: str
    url: str | None = None
    compare_urls: tuple[str, ...] = ()
    started: float | None = None

    def __str__(self) -> str:
        return f"{self.project}/{self.name}, run {self.run_number}"


@attrs.frozen(repr=False)
class Row:
    """One task's results.

    Attributes:
        key: The task's stable identity in the group.
        name: Its readable name.
        index: Its place in the space, from 0.
        id: The ClearML task's id; offline a temporary one.
        attempt: Which attempt at this key it is, from 1.
        status: How far it is, in ClearML's words.
        status_reason: Why it failed or stopped; else empty.
        params: Its parameters, on one level.
        duration: Seconds from opening to the end.
        url: Where to look at it; offline its session folder; None if there is no such place.
        stats: For each (metric, context): first, last, min, max with their iterations, mean, count.
    """

    key: str
    name: str
    index: int
    id: str
    attempt: int
    status: Status
    status_reason: str
    params: Mapping[str, Any]
    duration: float
    url: str | None
    stats: ByMetric[Stats] = attrs.field(repr=False)
    _names: Mapping[MetricKey, Sequence[Name]] = attrs.field(repr=False, eq=False)
    _lookup: MetricLookup = attrs.field(repr=False, eq=False)
    _reader: Reader = attrs.field(repr=False, eq=False)

    def names(self, metric_key: MetricKey) -> Sequence[Name]:
        """Gives the titles and series under which a (metric, context) was logged.

        Args:
            metric_key: One of `stats`.
        """
        return self._names.get(metric_key, ())

    def history(self, metric: str, **context: Any) -> Curve:
        """Gives one whole curve: `row.history("loss", split="val").values`.

        Args:
            metric: The metric, by its name or an alias.
            **context: Which of its contexts, `split="val"`; needed where there are several.

        Raises:
            NoSuchResultError, AmbiguousResultError, NoHistoryError, ServerError: As for `Results.history`.
        """
        metric_key = self._find(metric, context)
        (curve,) = self._reader.curves([self], metric_key) or (Curve(self, (), ()),)
        return curve

    def value(self, metric: str, *, of: Of = "last", **context: Any) -> float:
        """Gives one value: `row.value("accuracy", split="val", of="max")`.

        Args:
            metric: The metric, by its name or an alias.
            of: Which of its values: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
            **context: Which of its contexts, `split="val"`; needed where there are several.

        Raises:
            NoSuchResultError: The task reported no such thing.
            AmbiguousResultError: It reported the metric under several contexts; say which.
        """
        metric_key = self._find(metric, context)
        if of == "mean":
            self._reader.count([self], metric_key)
        return number(self.stats[metric_key], of)

    def _find(self, metric: str, context: Mapping[str, Any]) -> MetricKey:
        told = self.status.replace("_", " ") + (f": {self.status_reason}" if self.status_reason else "")
        return self._lookup.find(metric, context, self.stats, task=f"the task {self.name} ({told})")

    def __repr__(self) -> str:
        shown = list(self.stats)
        values = "".join(f" {m!s}={self.stats[m].last:.4g}" for m in shown[:MOST_SHOWN])
        more = f" … and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
        return f"<Row {self.name!r} key={self.key} {self.status}{values}{more}>"

    def __str__(self) -> str:
        values = "  ".join(f"{m!s}={s.last:.6g}" for m, s in self.stats.items())
        return f"{self.name}  {self.status}  {values}".rstrip()
