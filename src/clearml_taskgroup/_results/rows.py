"""Data classes of results: a row per task, a row per configuration, curves, best values."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from .._model.arguments import check_choice
from .._model.metrics import ByMetric
from .._model.parameter_json import copied_parameters
from .._text import counted, natural, printable, shortened, shown, some
from ..errors import NoSuchResultError
from .text_table import encodable

if TYPE_CHECKING:
    from .._model.metric_data import MetricData
    from .._model.metrics import MetricKey
    from .._model.name_template import Name
    from .._model.stats import Stats
    from .._model.status import Status
    from .find_metric import MetricLookup
    from .history import Reader

T = TypeVar("T")

Of = Literal["first", "last", "min", "max", "mean"]
"""Which statistic of a task's values is compared."""
OF = ("first", "last", "min", "max", "mean")
Mode = Literal["max", "min"]
"""Whether greater or smaller values are better."""

OPEN = ("created", "queued", "in_progress")
"""The statuses of tasks that have not ended."""
MAX_REPR_METRICS = 4
"""The number of metrics in `repr(row)`."""
MAX_NAMED_PARAMETERS, MAX_VALUE_CHARS = 6, 30
"""How many parameters stand after a name that contains none, and the most characters of a value."""

DataPoints = Sequence[tuple[int | None, float]]
"""Iteration and value of each data point."""
RowValue = tuple["Row", float]
"""A task and the value by which it is compared."""


@attrs.frozen(repr=False)
class Row:
    """The results of one task.

    Attributes:
        key: The task's stable identity in the group.
        name: The task's readable name.
        index: The task's position in the search space, from 0.
        id: The id of the ClearML task; a temporary id in offline mode.
        attempt: The number of this attempt at the key, from 1.
        status: The task's status, in ClearML's words.
        status_reason: Why the task failed or was stopped; empty otherwise.
        duration: Seconds from opening the task to its end.
        url: The task's page, or its session folder in offline mode; None if there is neither.
        stats: The statistics of each (metric, context): first, last, min and max with their iterations,
            mean and count. A curve that has diverged has NaN as `last`.
        diverged: The metrics, with their context, whose latest value was NaN, infinite or too large for
            ClearML to store. Such a value was skipped, so none of them has a last value.
    """

    key: str
    name: str
    index: int
    id: str
    attempt: int
    status: Status
    status_reason: str
    _params: Mapping[str, Any]
    duration: float
    url: str | None
    stats: ByMetric[Stats] = attrs.field(repr=False)
    diverged: frozenset[MetricKey] = attrs.field(repr=False)
    _names: Mapping[MetricKey, Sequence[Name]] = attrs.field(repr=False, eq=False)
    _lookup: MetricLookup = attrs.field(repr=False, eq=False)
    _reader: Reader = attrs.field(repr=False, eq=False)
    _metric_keys: tuple[MetricKey, ...] = attrs.field(init=False, repr=False, eq=False)
    _texts: dict[Any, str] = attrs.field(init=False, repr=False, eq=False, factory=dict)
    # Texts of the parameters that are needed again and again: configurations by `over`, the hover text.

    @_metric_keys.default
    def _shared_metric_keys(self) -> tuple[MetricKey, ...]:
        return _one_object(tuple(self.stats))

    @property
    def params(self) -> dict[str, Any]:
        """A copy of the task's parameters, flattened to one level.

        Values are as they were given if they consist of None, bools, numbers, text, bytes, lists, sets and
        dicts. A tuple is a list, anything else is its text. `group.get(key=row.key).params` has the
        objects themselves.
        """
        return copied_parameters(self._params)

    @property
    def parameter_names(self) -> Sequence[str]:
        """The names of the task's parameters."""
        return tuple(self._params)

    def names(self, metric_key: MetricKey) -> Sequence[Name]:
        """Returns the titles and series under which a metric was logged.

        Args:
            metric_key: A key of `stats`.
        """
        return self._names.get(metric_key, ())

    def history(self, metric: str, **context: Any) -> Curve:
        """Reads one whole curve: `row.history("loss", split="val").values`.

        Args:
            metric: The metric's name or an alias.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Raises:
            NoSuchResultError, AmbiguousResultError, NoHistoryError, ServerError: As for `Results.history`.
        """
        metric_key = self._find(metric, context)
        (curve,) = self._reader.curves([self], metric_key) or (Curve(self, (), ()),)
        return curve

    def value(self, metric: str, *, of: Of = "last", **context: Any) -> float:
        """Returns one value: `row.value("accuracy", split="val", of="max")`.

        The last value of a metric that has diverged is NaN, if it has any value.

        Args:
            metric: The metric's name or an alias.
            of: Which statistic: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Raises:
            NoSuchResultError: The task did not report the metric, or no value that can be stored.
            AmbiguousResultError: The task reported the metric in several contexts that match.
        """
        check_choice("of", of, OF)
        metric_key = self._find(metric, context)
        if of == "mean":
            self._reader.complete_stats([self], metric_key)
        if metric_key in self.stats:
            return statistic(self.stats[metric_key], of)
        note = "all of its values were NaN, infinite or too large"
        raise NoSuchResultError(str(metric_key), [], task=self._described(), note=note)

    def __getitem__(self, metric: str) -> float:
        """Returns the last value of a metric: `row["loss"]` is `row.value("loss")`."""
        return self.value(metric)

    __iter__ = None
    """A row is no sequence of metrics."""

    def _find(self, metric: str, context: Mapping[str, Any]) -> MetricKey:
        return self._lookup.find(metric, context, (*self.stats, *self.diverged), task=self._described())

    def _described(self) -> str:
        status = self.status.replace("_", " ") + (f": {self.status_reason}" if self.status_reason else "")
        return f"the task {self.name} ({status})"

    def __repr__(self) -> str:
        values = some([f"{m!s}={s.last:.4g}" for m, s in self.stats.items()], MAX_REPR_METRICS)
        return encodable(f"<Row {self.name!r} key={self.key} {self.status}{values and f' {values}'}>")

    def __str__(self) -> str:
        values = "  ".join(f"{m!s}={s.last:.6g}" for m, s in self.stats.items())
        return encodable(f"{with_parameters(self.name, self._params)}  {self.status}  {values}".rstrip())


@attrs.frozen
class Curve:
    """The data points of one metric key of one task.

    Attributes:
        row: The task.
        iterations: The x values, ascending. A single None if the task reported only a value without an
            iteration. If the task also reported a curve, that value is `last` in the task's statistics
            and not part of the curve.
        values: The value at each iteration; the later one if an iteration was reported twice.
    """

    row: Row = attrs.field(repr=lambda row: repr(row.name))
    iterations: tuple[int | None, ...]
    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.values)


@attrs.frozen
class Mean:
    """Mean and spread over the tasks of one configuration.

    Attributes:
        mean: The arithmetic mean.
        std: The sample standard deviation (n - 1); NaN for one task.
        sem: The standard error of the mean, std / √n; NaN for one task.
        n: The number of tasks with a value.
    """

    mean: float
    std: float
    sem: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.4g}" if self.n < 2 else f"{self.mean:.4g} ± {self.std:.2g}"


@attrs.frozen
class AggregateRow:
    """The results of one configuration over its tasks.

    Attributes:
        name: The configuration in readable form, `C=1`.
        params: The parameters that the configuration's tasks share.
        n: The number of tasks that count: those completed or in progress.
        left_out: The names of the tasks that do not count because they failed or were stopped.
        waiting: The names of the tasks that do not count because they have not begun.
        unfinished: The names of the tasks that count although they are still in progress.
        stats: Mean, std, sem and n for each (metric, context).
        excluded: The names of the tasks that do not count in one (metric, context) because it diverged.
    """

    name: str
    params: Mapping[str, Any]
    n: int
    left_out: tuple[str, ...]
    waiting: tuple[str, ...]
    unfinished: tuple[str, ...]
    stats: Mapping[MetricKey, Mean] = attrs.field(repr=False)
    excluded: Mapping[MetricKey, tuple[str, ...]] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class Best:
    """The best task, or the best configuration, for one metric.

    Attributes:
        name: The name of the task or configuration.
        params: Its parameters.
        value: Its value; for a configuration the mean over its tasks.
        metric: The metric with its context, `accuracy[split=val]`.
        of: The statistic that was compared: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        mode: Which values were taken as better, `"max"` or `"min"`.
        key: The task's key; None for a configuration.
        id: The id of the ClearML task; None for a configuration.
        std: The sample standard deviation over the configuration's tasks, NaN if there is only one; None
            for a task.
        sem: The standard error of the mean; None for a task.
        n: The number of tasks in the mean; 1 for a task.
        excluded: The names of the tasks that were not compared because the metric diverged in them, or, for a
            task, because they have it in other contexts, or under a similar name, only.
        note: Why these were not compared, and, for a configuration, which of its tasks failed, in one line.
        diverged: Whether the metric diverged in this task after the value.
        ties: The number of tasks, or configurations, with this value, of which the first one was taken.
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
    excluded: tuple[str, ...] = ()
    note: str = ""
    diverged: bool = False
    ties: int = 1

    def value_text(self) -> str:
        """Formats the value; for a configuration with the spread and the number of tasks."""
        spread = "" if self.std is None else f" ± {self.std:.4g} (mean ± std, n={self.n})"
        if self.std is not None and self.n < 2:
            spread = f" (n={self.n})"
        return f"{self.value:.6g}{spread}"

    def __str__(self) -> str:
        return self._text("aggregate(over={!r})")

    def _text(self, means: str) -> str:
        """Says all of it in one line.

        Args:
            means: How to take means over a parameter, for tasks of equal value that differ in a seed or fold.
        """
        later = " (diverged later)" if self.diverged else ""
        without = f"; {self.note}" if self.note else ""
        if self.ties > 1:
            from .parameters import is_repeat

            is_task = self.key is not None
            others = counted(self.ties - 1, "other task" if is_task else "other configuration")
            repeats = [name for name in self.params if is_task and is_repeat(name)]
            hint = f", see the means: {means.format(repeats[0])}" if repeats else ""
            without = f"; {others} {'has' if self.ties == 2 else 'have'} the same value{hint}{without}"
        metric = with_statistic(self.metric, self.of)
        order = "the greatest" if self.mode == "max" else "the least"
        name = with_parameters(self.name, self.params)
        return encodable(f"{name}: {metric} = {self.value_text()}, {order}{later}{without}")


def with_parameters(name: str, params: Mapping[str, Any]) -> str:
    """Returns a name, with the parameters after it if it contains none of them: `trial-8 (lr=0.01)`."""
    if not params or name == "all" or any(f"{p}=" in name or f'{p}"=' in name for p in params):
        return name
    pairs = [f"{p}={_short(value)}" for p, value in params.items()]
    return f"{name} ({some(pairs, MAX_NAMED_PARAMETERS)})"


def _short(value: Any) -> str:
    if type(value) is float:
        return f"{value:.4g}"
    return shortened(value, MAX_VALUE_CHARS) if isinstance(value, str) else shown(value, MAX_VALUE_CHARS)


def value_cell(row: Row, metric_key: MetricKey, of: Of) -> str:
    """Formats a statistic of a task for a table."""
    if metric_key in row.diverged and (of == "last" or metric_key not in row.stats):
        return "diverged"
    if metric_key not in row.stats:
        return "–"
    text = f"{statistic(row.stats[metric_key], of):.4g}"
    return f"{text} (diverged)" if metric_key in row.diverged else text


def diverged_note(names: Sequence[str]) -> str:
    """Says that no task has a last value of a metric because it diverged in these."""
    return (
        f"it diverged in {counted(len(names), 'task')} ({some(names)}): the latest value was NaN, infinite "
        "or too large; of='min' and the like compare the values before"
    )


def not_compared(diverged: Sequence[str], elsewhere: str) -> str:
    """Says in one line which tasks were not compared."""
    without = f"without {excluded_text(diverged)}" if diverged else ""
    return "; ".join(filter(None, (without, elsewhere)))


def excluded_text(names: Sequence[str]) -> str:
    """Names the tasks in which a metric diverged."""
    return f"{counted(len(names), 'task')} that diverged ({some(names)})"


@attrs.frozen
class About:
    """The run that results belong to.

    Attributes:
        project: The group's project.
        name: The group's name.
        group_id: The group's id, 12 hexadecimal digits.
        run: The run's id, 32 hexadecimal digits.
        run_number: The run's number, from 1.
        mode: `"online"`, `"offline"`, `"disabled"` or `"memory"`.
        where: Where the data is stored: the address of a server or a folder.
        url: The parent's page; None if there is none.
        compare_urls: The pages that compare the tasks, 100 tasks each.
        started: When the run was opened, in seconds since 1970; None if unknown.
        shared: The text of `run=` by which several processes share it; empty if they do not.
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
    shared: str = ""
    _table_url: Callable[[], str | None] | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def table_url(self) -> str | None:
        """The web page's table of the run's tasks, best first; None without a web page."""
        return None if self._table_url is None else self._table_url()

    def __str__(self) -> str:
        return printable(f"{self.project}/{self.name}, run {self.run_number}")


def partial_text(rows: Sequence[Row], reason: str) -> str:
    """Says why results are partial: which tasks are open, or else the reason."""
    statuses = {row.status for row in rows}
    if statuses & {"queued", "created"}:
        return "not finished: group.wait() follows those that agents run"
    if "in_progress" in statuses or not reason:
        return f"partial: {'' if 'in_progress' in statuses else 'other '}tasks are still open"
    return f"partial: {reason}"


def row_metrics(metrics: Mapping[MetricKey, MetricData]) -> dict[str, Any]:
    """Returns the fields of a row about metrics."""
    keys = _one_object(tuple([key for key, data in metrics.items() if data.stats.count]))
    stored = [metrics[key] for key in keys]
    stats = ByMetric(zip(keys, [data.stats for data in stored], strict=True))
    diverged = frozenset([key for key, data in metrics.items() if data.has_diverged])
    for key in diverged:
        if key in stats:
            stats[key] = attrs.evolve(stats[key], last=math.nan, last_iteration=None)
    return {
        "stats": stats,
        "diverged": diverged,
        "names": _names_by_key(keys, tuple([data.names for data in stored])),
    }


@functools.lru_cache(maxsize=1024)
def _names_by_key(
    keys: tuple[MetricKey, ...], names: tuple[Sequence[Name], ...]
) -> Mapping[MetricKey, Sequence[Name]]:
    """Returns the names of each metric: the same object for most tasks of a group."""
    return dict(zip(keys, names, strict=True))


def in_order(rows: Iterable[Row], before: tuple[Row, ...] = ()) -> tuple[Row, ...]:
    """Sorts rows by their position in the search space.

    Args:
        rows: The rows.
        before: What an earlier call has returned, with which they often begin in a loop over tasks.
    """
    ordered = tuple(rows)
    known = len(before) if ordered[: len(before)] == before else 0
    places = list(map(_index, ordered[max(0, known - 1) :]))
    if all(map(operator.lt, places, places[1:])):  # mostly they are in order already
        return ordered
    # Processes that share a run may open tasks outside of a space, each with the index 0.
    by_name = len(set(map(_index, ordered))) < len(ordered)
    return tuple(sorted(ordered, key=_index_and_name if by_name else _index))


_index = operator.attrgetter("index")


def _index_and_name(row: Row) -> tuple[int, Any]:
    return row.index, natural(row.name)


def metric_keys_of(rows: Iterable[Row]) -> list[MetricKey]:
    """Returns each (metric, context) that some row has, in the order of their first appearance."""
    listed = list(map(_metric_keys, rows))
    different = dict(zip(map(id, listed), listed, strict=True))
    return list(dict.fromkeys(itertools.chain.from_iterable(different.values())))


_metric_keys = operator.attrgetter("_metric_keys")


@functools.lru_cache(maxsize=1024)
def _one_object(keys: tuple[MetricKey, ...]) -> tuple[MetricKey, ...]:
    """Returns the same object for the same metric keys: most tasks of a group report the same metrics."""
    return keys


def statistic(stats: Stats, of: Of) -> float:
    return float(getattr(stats, of))


def with_statistic(label: str, of: Of) -> str:
    """Prefixes a metric's label with the statistic, unless that is the last value: `max of accuracy`."""
    return label if of == "last" else f"{of} of {label}"


def best_of(items: Iterable[T], value: Callable[[T], float], mode: Mode) -> T:
    """Returns the item with the best value; the first one if several are equally good."""
    return max(items, key=value) if mode == "max" else min(items, key=value)
