"""Results: the rows of a group's tasks, to compare, filter, aggregate and export."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import attrs

from .._model.arguments import check_choice
from .._model.status import shown_status, tally, tally_text
from .._text import counted, some
from ..errors import AmbiguousResultError, NoSuchResultError
from .aggregate import Aggregates, aggregate_row, group_by_configuration
from .export import IDENTITY_COLUMNS, Tabular, column_names, row_record
from .filtering import (
    diverged_rows,
    filter_rows,
    has_value,
    is_comparable,
    parameter_names,
    require_parameter,
)
from .rows import (
    OF,
    About,
    Best,
    Mode,
    Of,
    Row,
    RowValue,
    best_of,
    diverged_note,
    statistic,
    with_statistic,
)

if TYPE_CHECKING:
    from pathlib import Path

    from .._model.metrics import MetricKey
    from .find_metric import MetricLookup
    from .history import History, Reader


@attrs.frozen(repr=False)
class Results(Tabular, Sequence[Row]):
    """The results of a group, one row per task; returned by `group.results()` and `TaskGroup.load`.

    Failed and stopped tasks have rows, but their values do not count in `best` and `aggregate`.

    A metric may be given with its context, as columns are named: `results.best("accuracy[split=val]")` is
    the same as `results.best("accuracy", split="val")`.

    Attributes:
        rows: A row per task, in the order of the tasks' positions in the search space.
        about: The run that the results belong to.
        partial: Whether tasks are still open, so that the results are not final.
    """

    rows: tuple[Row, ...]
    about: About
    _lookup: MetricLookup
    _reader: Reader
    partial: bool = False
    _partial_reason: str = ""

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
        """Returns the task with the best value.

        Args:
            metric: The metric's name or an alias.
            mode: `"max"` or `"min"`; not needed if the vocabulary has it.
            of: Which statistic: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Returns:
            The best task; the one with the lowest index if several are equally good. Tasks in which the
            metric has diverged (its latest value was NaN, infinite or too large) have no last value: they
            are in `excluded`.

        Raises:
            NoSuchResultError: No completed or open task has a value.
            AmbiguousResultError: The metric was reported in several contexts that match.
            ArgumentError: Neither the call nor the vocabulary has the mode, or `of` is none of these.
        """
        check_choice("of", of, OF)
        comparable = [row for row in self.rows if is_comparable(row)]
        try:
            known = (m for row in comparable for m in (*row.stats, *row.diverged))
            metric_key = self._lookup.find(metric, context, known)
        except NoSuchResultError as error:
            error.note = self._why_not_comparable(metric, context)
            raise
        mode = self._lookup.require_mode(metric_key[0], mode)
        diverged = diverged_rows(self.rows, metric_key, of)
        if not self._values(metric_key, of):
            names = [row.name for row in diverged or comparable if metric_key in row.diverged]
            raise NoSuchResultError(str(metric_key), [], note=diverged_note(names))
        row, value = self._best_row(metric_key, mode, of)
        return Best(
            name=row.name,
            params=row.params,
            value=value,
            metric=str(metric_key),
            of=of,
            mode=mode,
            key=row.key,
            id=row.id,
            excluded=tuple(row.name for row in diverged),
            diverged=metric_key in row.diverged,
        )

    def sort(self, metric: str, *, mode: Mode | None = None, of: Of = "last", **context: Any) -> Results:
        """Returns the same rows, the best first; rows without a value that counts come last.

        Args:
            metric: The metric's name or an alias.
            mode: `"max"` or `"min"`; not needed if the vocabulary has it.
            of: Which statistic: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Raises:
            NoSuchResultError, AmbiguousResultError, ArgumentError: As for `best`.
        """
        check_choice("of", of, OF)
        metric_key = self.find(metric, **context)
        mode = self._lookup.require_mode(metric_key[0], mode)
        ranked = sorted(self._values(metric_key, of), key=lambda item: item[1], reverse=mode == "max")
        rest = [row for row in self.rows if not has_value(row, metric_key, of)]
        return attrs.evolve(self, rows=(*(row for row, _ in ranked), *rest))

    def where(
        self, params: Mapping[str, Any] | Callable[[Row], Any] | None = None, /, **parameters: Any
    ) -> Results:
        """Returns the rows whose parameters have these values: `results.where(C=1)`.

        Fields of a row work as well, `where(status="failed")`: `status`, `key`, `name`, `index`, `id` and
        `attempt`, unless a parameter has that name. `status="abandoned"` selects those stopped tasks whose
        process died.

        Args:
            params: Parameters as a dict, for names that are not Python identifiers; or a function that is
                given a row and returns whether to keep it, `lambda row: row.duration > 60`.
            **parameters: Parameters.

        Raises:
            ArgumentError: No task has such a parameter; or no task has this value, but one has a value that
                looks equal and is of another type, as 1 and "1".
        """
        return attrs.evolve(self, rows=tuple(filter_rows(self.rows, params, parameters)))

    def history(self, metric: str, **context: Any) -> History:
        """Reads whole curves, one per task that has the metric.

        Offline they are read from the session folders; online from the server, with one call per task.

        Args:
            metric: The metric's name or an alias.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Raises:
            NoSuchResultError: No task has the metric.
            AmbiguousResultError: The metric was reported in several contexts that match.
            NoHistoryError: Curves are not kept here: the mode is `disabled`, or the results were loaded from
                an online run's log on this disk.
            ServerError: The server cannot be reached.
        """
        return self._reader.curves(self.rows, self.find(metric, **context))

    def find(self, metric: str, **context: Any) -> MetricKey:
        """Finds the one (metric, context) that matches, as in the `stats` of the rows.

        Args:
            metric: The metric's name or an alias.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Raises:
            NoSuchResultError: No task has the metric.
            AmbiguousResultError: The metric was reported in several contexts that match.
        """
        return self._lookup.find(metric, context, (m for row in self.rows for m in row.stats))

    def label(self, metric_key: MetricKey) -> str:
        """Formats a (metric, context) with the unit of the vocabulary: `time[split=val] (s)`.

        Args:
            metric_key: One of `metric_keys`.
        """
        return self._lookup.label(metric_key)

    def mode_of(self, metric: str, mode: Mode | None = None) -> Mode | None:
        """Returns which values are better, for displays: a guess if neither call nor vocabulary has it.

        Args:
            metric: The metric's name or an alias.
            mode: The mode that the caller was given; it takes precedence over the vocabulary.

        Returns:
            `"max"` or `"min"`, from the call, the vocabulary or well-known words in the metric's name
            (`accuracy`, `loss`); None if it is unknown.
        """
        return self._lookup.likely_mode(metric, mode)

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters, in the order of their first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row.parameter_names))

    @property
    def metric_keys(self) -> list[MetricKey]:
        """Each (metric, context) that some task has, in the order of their first appearance."""
        return list(dict.fromkeys(metric_key for row in self.rows for metric_key in row.stats))

    @property
    def measures(self) -> list[MetricKey]:
        """The former name of `metric_keys`."""
        return self.metric_keys

    def aggregate(self, over: str | Sequence[str] | None = None, *, of: Of = "last") -> Aggregates:
        """Computes mean and standard deviation over a parameter, as seed or fold.

        Args:
            over: The parameter, or several, in which the tasks of one configuration differ; by default
                `"seed"`.
            of: The statistic of each task that goes into the mean.

        Returns:
            A row per configuration of the other parameters.

        Raises:
            ArgumentError: No task has such a parameter.
        """
        check_choice("of", of, OF)
        names = ("seed",) if over is None else parameter_names(over)
        for name in names:
            require_parameter(self.rows, "over", name, "aggregate()" if over is None else "")
        if of == "mean":
            self.with_means()
        groups = group_by_configuration(self.rows, lambda row: row, names)
        return Aggregates(tuple(aggregate_row(*group, of) for group in groups), names, of, self._lookup)

    def to_records(self) -> list[dict[str, Any]]:
        """Returns a flat dict per task, for a data frame or a file.

        The entries: `key`, `name`, `index`, `id`, `attempt`, `status`, `status_reason`, `duration`;
        `params.C` for each parameter of the task; and for each metric and context that some task has
        `accuracy[split=val].last` (and `.first`, `.min`, `.max`, `.mean`, `.count`, and the first four with
        `_iteration`), sorted by the vocabulary and then by name. Unknown values are None. A task in which
        the metric has diverged also has `accuracy[split=val].diverged`, True. The entries and
        their order are the same wherever the results were loaded from.

        If the results were loaded from a server and this machine has no log of the run, `.mean`, `.count` and
        `.last_iteration` are None because they need the tasks' whole curves: `results.with_means()` reads
        these. `duration` is then measured by the server's clock.
        """
        metric_keys = self._lookup.sort(self.metric_keys)
        return [row_record(row, metric_keys) for row in self.rows]

    def with_means(self) -> Results:
        """Reads what `.mean`, `.count` and `.last_iteration` need, where they are unknown.

        They are known for a run of this process, for a run loaded from disk, and for a run loaded from a
        server if this machine has the run's log. Otherwise the curves are read from the server, up to 200 of
        a task with one call; a log line says every five seconds how far it is. The server's own means are
        not used: they are wrong after a data point was sent twice.

        Returns:
            These results.

        Raises:
            NoHistoryError, ServerError: As for `history`.
        """
        self._reader.complete_stats(self.rows)
        return self

    def save_html(
        self,
        path: str | Path,
        *,
        title: str | None = None,
        metrics: Sequence[str] | None = None,
        over: str | Sequence[str] | None = None,
    ) -> Path:
        """Writes a report: one HTML file with tables and figures that needs no network.

        If curves cannot be read, because the mode is `disabled` or the server cannot be reached, the report
        has no curves and a note with the reason.

        Args:
            path: The file to write.
            title: The heading; by default the project, the group and the run's number.
            metrics: The metrics to draw figures of; by default the first six.
            over: The parameter, or several, to take means over; by default those that are called `seed`,
                `fold` or the like. `()` for none.

        Returns:
            The path.

        Raises:
            MissingExtraError: plotly is not installed.
            ArgumentError: No task has such a metric or parameter.
        """
        from .._reports.report import write_report

        return write_report(self, path, title=title, metrics=metrics, over=over)

    def counts_text(self) -> str:
        """Formats the number of tasks of each status: `40 completed, 5 failed`."""
        return tally_text(tally(shown_status(row.status, row.status_reason) for row in self.rows))

    def _values(self, metric_key: MetricKey, of: Of = "last") -> list[RowValue]:
        """Returns the tasks that count and have the metric, each with its value."""
        rows = [row for row in self.rows if has_value(row, metric_key, of)]
        if of == "mean":
            self._reader.complete_stats(rows, metric_key)
        return [(row, statistic(row.stats[metric_key], of)) for row in rows]

    def _best_row(self, metric_key: MetricKey, mode: Mode, of: Of = "last") -> RowValue:
        """Returns the best task and its value; at least one task must have a value that counts."""
        return best_of(self._values(metric_key, of), lambda item: item[1], mode)

    def _why_not_comparable(self, metric: str, context: Mapping[str, Any]) -> str:
        """Names the tasks whose value does not count, if no other task has one."""
        rest = [row for row in self.rows if not is_comparable(row)]
        if not rest:
            return ""
        try:
            metric_key = self._lookup.find(metric, context, (m for row in rest for m in row.stats))
        except (NoSuchResultError, AmbiguousResultError):
            all_ended_badly = len(rest) == len(self)
            return f"{counted(len(rest), 'task')} failed, stopped or not begun" if all_ended_badly else ""
        names = [row.name for row in rest if metric_key in row.stats]
        tasks = f"{counted(len(names), 'task')} that failed or stopped ({some(names)})"
        return f"that of {tasks} does not count"

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        return column_names(IDENTITY_COLUMNS, self.rows, records)

    def _table(self, of: Of = "last") -> tuple[list[str], list[list[str]]]:
        metric_keys = self.metric_keys
        labels = [with_statistic(self.label(metric_key), of) for metric_key in metric_keys]
        body = [
            [
                row.name,
                shown_status(row.status, row.status_reason),
                *(_cell(row, metric_key, of) for metric_key in metric_keys),
            ]
            for row in self.rows
        ]
        return ["task", "status", *labels], body

    def _notes(self) -> list[str]:
        note = f", {_partial_text(self.rows, self._partial_reason)}" if self.partial else ""
        return [f"{counted(len(self.rows), 'task')}: {self.counts_text() or 'none'}{note}"]


def _cell(row: Row, metric_key: MetricKey, of: Of) -> str:
    if metric_key in row.diverged and (of == "last" or metric_key not in row.stats):
        return "diverged"
    if metric_key not in row.stats:
        return "–"
    text = f"{statistic(row.stats[metric_key], of):.4g}"
    return f"{text} (diverged)" if metric_key in row.diverged else text


def _partial_text(rows: Sequence[Row], reason: str) -> str:
    """Says why results are partial: which tasks are open, or else the reason."""
    statuses = {row.status for row in rows}
    if statuses & {"queued", "created"}:
        return "not finished: group.wait() follows those that agents run"
    if "in_progress" in statuses or not reason:
        return f"partial: {'' if 'in_progress' in statuses else 'other '}tasks are still open"
    return f"partial: {reason}"
