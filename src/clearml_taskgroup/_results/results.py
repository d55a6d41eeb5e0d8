"""Rows, best, aggregate: what the tasks of a group reported, to be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import attrs

from .._model.status import tally, tally_text
from .._text import counted
from ..errors import AmbiguousResultError, NoSuchResultError
from .aggregate import Aggregates, aggregate_row, counts, label_of
from .export import IDENTITY, Tabular, columns_of, flat_record
from .filtering import chosen, names_of, require_parameter
from .rows import About, Best, Mode, Of, Row, number, of_text

if TYPE_CHECKING:
    from pathlib import Path

    from .._model.metrics import MetricKey
    from .._model.stats import Stats
    from .history import History, Reader
    from .metric_lookup import MetricLookup


@attrs.frozen(repr=False)
class Results(Tabular, Sequence[Row]):
    """The results of a group, a row for each task; made by `group.results()` and `TaskGroup.load`.

    Failed and stopped tasks keep their rows, but neither `best` nor `aggregate` counts them in.

    Wherever a metric is asked for, it may also be given with its context as columns are called:
    `results.best("accuracy[split=val]")` is `results.best("accuracy", split="val")`.

    Attributes:
        rows: A row for each task, in the order of their places in the space.
        about: Which run they are of.
        partial: Whether something is still open, so that there is more to come.
    """

    rows: tuple[Row, ...]
    about: About
    _lookup: MetricLookup
    _reader: Reader
    partial: bool = False
    _more: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> Row | Results:
        if isinstance(index, slice):
            return attrs.evolve(self, rows=self.rows[index])
        return self.rows[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def best(self, metric: str, *, mode: Mode | None = None, of: Of = "last", **context: Any) -> Best:
        """Finds the task with the best value.

        Args:
            metric: The metric, by its name or an alias.
            mode: `"max"` or `"min"`; not needed where the vocabulary says it.
            of: Which of its values: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
            **context: Which of its contexts, `split="val"`; needed where there are several.

        Returns:
            The best task; the one that was opened first, if several are equally good.

        Raises:
            NoSuchResultError: No completed or open task has a value for it.
            AmbiguousResultError: The metric was reported under several contexts.
            ArgumentError: Neither the call nor the vocabulary gives the mode.
        """
        comparable = [row for row in self.rows if counts(row)]
        try:
            metric_key = self._lookup.find(metric, context, (m for row in comparable for m in row.stats))
        except NoSuchResultError as error:
            error.note = self._beside(metric, context)
            raise
        better = self._lookup.mode(metric_key[0], mode)
        having = self._having(comparable, metric_key, of)
        values = [number(row.stats[metric_key], of) for row in having]
        row, value = _extreme(having, values, better)
        return Best(
            name=row.name,
            params=row.params,
            value=value,
            metric=str(metric_key),
            of=of,
            mode=better,
            key=row.key,
            id=row.id,
        )

    def sort(self, metric: str, *, mode: Mode | None = None, of: Of = "last", **context: Any) -> Results:
        """Gives the same rows, the best first; those that do not count, or have no value, last.

        Args:
            metric: The metric, by its name or an alias.
            mode: `"max"` or `"min"`; not needed where the vocabulary says it.
            of: Which of its values: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
            **context: Which of its contexts, `split="val"`; needed where there are several.

        Raises:
            NoSuchResultError, AmbiguousResultError, ArgumentError: As for `best`.
        """
        metric_key = self.find(metric, **context)
        better = self._lookup.mode(metric_key[0], mode)
        having = self._having([row for row in self.rows if counts(row)], metric_key, of)
        having.sort(key=lambda row: number(row.stats[metric_key], of), reverse=better == "max")
        rest = [row for row in self.rows if not counts(row) or metric_key not in row.stats]
        return attrs.evolve(self, rows=(*having, *rest))

    def where(
        self, params: Mapping[str, Any] | Callable[[Row], Any] | None = None, /, **parameters: Any
    ) -> Results:
        """Gives the rows whose parameters have these values: `results.where(C=1)`.

        Also `where(status="failed")`, or another of a row's own facts (`key`, `name`, `index`, `id`,
        `attempt`), unless a parameter is called like it.

        Args:
            params: Parameters as a dict, for names that are no Python names; or a function that is given
                a row and tells whether it is wanted, `lambda row: row.duration > 60`.
            **parameters: Parameters.

        Raises:
            ArgumentError: No task has such a parameter; or none has this value, but some have one that
                reads alike and is of another type, as 1 and "1".
        """
        return attrs.evolve(self, rows=tuple(chosen(self.rows, params, parameters)))

    def history(self, metric: str, **context: Any) -> History:
        """Gives whole curves, one for each task that has the metric.

        Offline they are read from the sessions; online from the server, a call for each task.

        Args:
            metric: The metric, by its name or an alias.
            **context: Which of its contexts, `split="val"`; needed where there are several.

        Raises:
            NoSuchResultError: No task has it.
            AmbiguousResultError: The metric was reported under several contexts.
            NoHistoryError: Curves are not kept here: the mode `disabled`, or an online run's
                record on this disk.
            ServerError: The server is away.
        """
        return self._reader.curves(self.rows, self.find(metric, **context))

    def find(self, metric: str, **context: Any) -> MetricKey:
        """Finds the one (metric, context) that is meant, as it stands in the rows' `stats`.

        Args:
            metric: The metric, by its name or an alias.
            **context: Which of its contexts, `split="val"`; needed where there are several.

        Raises:
            NoSuchResultError: No task has it.
            AmbiguousResultError: The metric was reported under several contexts.
        """
        return self._lookup.find(metric, context, (m for row in self.rows for m in row.stats))

    def _beside(self, metric: str, context: Mapping[str, Any]) -> str:
        """Tells which tasks have a value that does not count, where no other has one."""
        rest = [row for row in self.rows if not counts(row)]
        if not rest:
            return ""
        try:
            metric_key = self._lookup.find(metric, context, (m for row in rest for m in row.stats))
        except (NoSuchResultError, AmbiguousResultError):
            return (
                f"{counted(len(rest), 'task')} failed, stopped or not begun" if len(rest) == len(self) else ""
            )
        having = [row.name for row in rest if metric_key in row.stats]
        names = ", ".join(having[:6]) + " …" * (len(having) > 6)
        return f"that of {counted(len(having), 'task')} that failed or stopped ({names}) does not count"

    def label(self, metric_key: MetricKey) -> str:
        """Writes a (metric, context) for people, with the vocabulary's unit: `time[split=val] (s)`.

        Args:
            metric_key: One of `metric_keys`.
        """
        return self._lookup.label(metric_key)

    def mode_of(self, metric: str, mode: Mode | None = None) -> Mode | None:
        """Gives which is better, for figures: from the call, the vocabulary, or a well-known word.

        Args:
            metric: The metric, by its name or an alias.
            mode: What the caller says, which goes before what the vocabulary says.

        Returns:
            `"max"` (`accuracy`), `"min"` (`loss`), or None where nobody can tell.
        """
        return self._lookup.likely_mode(metric, mode)

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters, in the order of their first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row.params))

    @property
    def metric_keys(self) -> list[MetricKey]:
        """Each (metric, context) that some task has, in the order of their first appearance."""
        return list(dict.fromkeys(metric_key for row in self.rows for metric_key in row.stats))

    @property
    def measures(self) -> list[MetricKey]:
        """The former name of `metric_keys`."""
        return self.metric_keys

    def _having(self, rows: Sequence[Row], metric_key: MetricKey, of: Of) -> list[Row]:
        having = [row for row in rows if metric_key in row.stats]
        if of == "mean":
            self._reader.count(having, metric_key)
        return having

    def aggregate(self, over: str | Sequence[str] | None = None, *, of: Of = "last") -> Aggregates:
        """Takes the mean over a parameter: seeds, folds.

        Args:
            over: The parameter, or several, that the tasks of one configuration differ in; by default
                `"seed"`.
            of: Which value of each task goes into the mean.

        Returns:
            A row for each configuration of the other parameters.

        Raises:
            ArgumentError: No task has such a parameter.
        """
        names = ("seed",) if over is None else names_of(over)
        for name in names:
            require_parameter(self.rows, "over", name, "aggregate()" if over is None else "")
        if of == "mean":
            self.with_means()
        groups: dict[str, tuple[dict[str, Any], list[Row]]] = {}
        for row in self.rows:
            rest = {name: value for name, value in row.params.items() if name not in names}
            groups.setdefault(label_of(rest), (rest, []))[1].append(row)
        rows = tuple(aggregate_row(label, rest, members, of) for label, (rest, members) in groups.items())
        return Aggregates(rows, names, of, self._lookup)

    def to_records(self) -> list[dict[str, Any]]:
        """Gives a flat dict for each task, for a data frame or a file.

        The entries: `key`, `name`, `index`, `id`, `attempt`, `status`, `status_reason`, `duration`;
        `params.C` for each parameter of the task; `accuracy[split=val].last` (and `.first`, `.min`,
        `.max`, `.mean`, `.count`, and the first four with `_iteration`) for each metric and context that
        some task has, sorted by the vocabulary and then by name. What is not known is None. They are the
        same, in the same order, wherever the results were loaded from.

        Loaded from a server by a machine that has no record of the run, `.mean`, `.count` and
        `.last_iteration` are None, as only the tasks' whole curves tell them: `results.with_means()`
        reads these. `duration` is then by the server's clock.
        """
        metric_keys = self._lookup.in_order(self.metric_keys)
        return [flat_record(row, metric_keys) for row in self.rows]

    def with_means(self) -> Results:
        """Reads what `.mean`, `.count` and `.last_iteration` need, wherever they are not known yet.

        Known they are of a run of this process, from disk, and from a server if this machine has the
        record of the run. Else the curves are read from the server, in a call for each task, metric and
        context. The server's own means are not used, as they are wrong once a point was sent twice.

        Returns:
            These results.

        Raises:
            NoHistoryError, ServerError: As for `history`.
        """
        self._reader.count_all(self.rows)
        return self

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        return columns_of(IDENTITY, self.rows, records)

    def save_html(
        self,
        path: str | Path,
        *,
        title: str | None = None,
        metrics: Sequence[str] | None = None,
        over: str | Sequence[str] | None = None,
    ) -> Path:
        """Writes a report: one HTML file with tables and figures, which opens without a network.

        Where curves cannot be read, because the mode is `disabled` or the server is away, it says so.

        Args:
            path: The file to write.
            title: The heading; by default the project, the group and the run's number.
            metrics: The metrics that have figures; by default the first six.
            over: The parameter, or several, to take means over; by default those that are called
                `seed`, `fold` or the like. `()` for none.

        Returns:
            The path.

        Raises:
            MissingExtraError: plotly is not installed.
            ArgumentError: No task has such a metric or parameter.
        """
        from .._reports.report import write_report

        return write_report(self, path, title=title, metrics=metrics, over=over)

    def _table(self, of: Of = "last") -> tuple[list[str], list[list[str]]]:
        metric_keys = self.metric_keys
        head = ["task", "status", *(of_text(self.label(metric_key), of) for metric_key in metric_keys)]
        body = [
            [row.name, row.status, *(_cell(row.stats.get(metric_key), of) for metric_key in metric_keys)]
            for row in self.rows
        ]
        return head, body

    def _notes(self) -> list[str]:
        note = f", {_what_is_missing(self.rows, self._more)}" if self.partial else ""
        return [f"{counted(len(self.rows), 'task')}: {self.counts_text() or 'none'}{note}"]

    def counts_text(self) -> str:
        """Tells how many tasks are how far: `40 completed, 5 failed`."""
        return tally_text(tally(row.status for row in self.rows))


def _extreme(rows: Sequence[Row], values: Sequence[float], mode: Mode) -> tuple[Row, float]:
    pick: Callable[..., float] = max if mode == "max" else min
    value = pick(values)
    return rows[list(values).index(value)], value


def _cell(stats: Stats | None, of: Of) -> str:
    return "–" if stats is None else f"{number(stats, of):.4g}"


def _what_is_missing(rows: Sequence[Row], more: str) -> str:
    statuses = {row.status for row in rows}
    if statuses & {"queued", "created"}:
        return "not finished: group.wait() follows those that agents run"
    if "in_progress" in statuses or not more:
        return f"partial: {'' if 'in_progress' in statuses else 'other '}tasks are still open"
    return f"partial: {more}"
