"""Results: the rows of a group's tasks, to compare, filter, aggregate and export."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import attrs

from .._model.arguments import check_choice
from .._model.status import shown_status, tally, tally_text
from .._text import counted, some
from ..errors import AmbiguousResultError, NoSuchResultError
from .aggregate import Aggregates, aggregate_row, group_by_configuration
from .compare import TESTS, Comparison, Test, compare, configurations
from .export import IDENTITY_COLUMNS, Tabular, column_names, metric_columns, row_record
from .filtering import counting_stats, filter_rows, has_value, is_comparable
from .parameters import over_names
from .row_blocks import RowBlocks
from .rows import (
    OF,
    About,
    AggregateRow,
    Best,
    Mode,
    Of,
    Row,
    RowValue,
    best_of,
    diverged_note,
    metric_keys_of,
    not_compared,
    partial_text,
    value_cell,
    with_statistic,
)
from .task_labels import task_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from .._model.metrics import MetricKey
    from .find_metric import MetricLookup
    from .history import History, Reader
    from .importance import Importance
    from .run_diff import RunDiff


@attrs.frozen(repr=False)
class Results(Tabular[Row]):
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
    _blocks: RowBlocks = attrs.field(factory=RowBlocks, eq=False)
    _sort_note: str = attrs.field(default="", eq=False)

    def best(self, metric: str, *, mode: Mode | None = None, of: Of = "last", **context: Any) -> Best:
        """Returns the task with the best value.

        Args:
            metric: The metric's name or an alias.
            mode: `"max"` or `"min"`; by default as the vocabulary or a well-known word (`loss`) says.
            of: Which statistic: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Returns:
            The best task; the one with the lowest index if several are equally good. Tasks in which the
            metric has diverged (its latest value was NaN, infinite or too large) have no last value: they
            are in `excluded`.

        Raises:
            NoSuchResultError: No completed or open task has a value.
            AmbiguousResultError: The metric was reported in several contexts that match.
            ArgumentError: The mode is not known, or `of` is none of these.
        """
        check_choice("of", of, OF)
        metric_key = self._key_with_values(metric, of, context)
        mode = self._lookup.require_mode(metric_key.metric, mode)
        row, value = self._best_row(metric_key, mode, of)
        elsewhere, note = self._elsewhere(metric_key)
        diverged = self._blocks.diverged(self.rows, metric_key) if of == "last" else ()
        return Best(
            name=row.name,
            params=row.params,
            value=value,
            metric=str(metric_key),
            of=of,
            mode=mode,
            key=row.key,
            id=row.id,
            excluded=(*diverged, *elsewhere),
            note=not_compared(diverged, note),
            diverged=metric_key in row.diverged,
            ties=self._blocks.ties(self.rows, (metric_key, of, mode), value),
        )

    def sort(self, metric: str, *, mode: Mode | None = None, of: Of = "last", **context: Any) -> Results:
        """Returns the same rows, the best first; rows without a value that counts come last.

        Args:
            metric: The metric's name or an alias.
            mode: `"max"` or `"min"`; by default as the vocabulary or a well-known word (`loss`) says.
            of: Which statistic: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Raises:
            NoSuchResultError, AmbiguousResultError, ArgumentError: As for `best`.
        """
        check_choice("of", of, OF)
        metric_key = self.find(metric, **context)
        mode = self._lookup.require_mode(metric_key.metric, mode)
        ranked = sorted(self._values(metric_key, of), key=lambda item: item[1], reverse=mode == "max")
        rows = [row for row, _ in ranked] + [row for row in self.rows if not has_value(row, metric_key, of)]
        note = self._elsewhere(metric_key)[1]
        return attrs.evolve(self, rows=tuple(rows), blocks=RowBlocks(), sort_note=note)

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
        rows = tuple(filter_rows(self.rows, params, parameters))
        return attrs.evolve(self, rows=rows, blocks=RowBlocks(), sort_note="")

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
        return self._lookup.find(metric, context, metric_keys_of(self.rows))

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
        return metric_keys_of(self.rows)

    @property
    def measures(self) -> list[MetricKey]:
        """The former name of `metric_keys`."""
        return self.metric_keys

    def aggregate(self, over: str | Sequence[str] | None = None, *, of: Of = "last") -> Aggregates:
        """Computes mean and standard deviation over a parameter, as seed or fold.

        Args:
            over: The parameter, or several, in which the tasks of one configuration differ; by default
                `"seed"`, or else the one that repeats, as `fold`.
            of: The statistic of each task that goes into the mean.

        Returns:
            A row per configuration of the other parameters.

        Raises:
            ArgumentError: No task has such a parameter.
        """
        check_choice("of", of, OF)
        names = over_names(self.rows, over)
        if of == "mean":
            self.with_means()
        groups = group_by_configuration(self.rows, lambda row: row, names)
        return Aggregates(tuple(aggregate_row(*group, of) for group in groups), names, of, self._lookup)

    def compare(
        self,
        metric: str,
        *,
        over: str | Sequence[str] | None = None,
        to: str | Mapping[str, Any] | Best | AggregateRow | None = None,
        mode: Mode | None = None,
        of: Of = "last",
        test: Test | None = None,
        **context: Any,
    ) -> Comparison:
        """Compares every configuration with a reference, paired over seeds or folds.

        A pair are two tasks with the same seed, one of the configuration and one of the reference. Each
        comparison has the mean difference, its 95 % t interval, and the p value, corrected for the number of
        comparisons by Holm's method. Tasks that failed, were stopped or diverged do not count, so a pair
        without one of both is missing; fewer than two pairs have no interval. Tasks with the same parameters
        are one value, their mean.

        Args:
            metric: The metric's name or an alias.
            over: The parameter, or several, by whose value tasks are paired; by default `"seed"`, or else the
                one that repeats, as `fold`. All other parameters make the configuration.
            to: The reference: a configuration's name, `"C=1"`, or enough of its parameters, `{"C": 1}`. By
                default the configuration with the best mean, the first of several; intervals and p values
                are then too optimistic, because the best was chosen from the same values.
            mode: `"max"` or `"min"`; by default as the vocabulary or a well-known word (`loss`) says.
            of: The statistic of each task that is compared.
            test: `"t"`, the paired t test; `"corrected"`, the t test of Nadeau and Bengio for folds of one
                data set, which share training data; or `"permutation"`, the sign-flip test of all 2**n ways
                to exchange the values within pairs, random ones beyond 30 pairs; its intervals are those of
                `"t"`. By default `"corrected"` if `over` has folds (`fold`, `cv_fold`, …), otherwise `"t"`.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Raises:
            NoSuchResultError: No completed or open task has a value.
            AmbiguousResultError: The metric was reported in several contexts that match.
            ArgumentError: No task has the parameter `over`; no configuration, or more than one, is `to`; or
                without `to`, the mode is not known.
        """
        check_choice("of", of, OF)
        check_choice("test", test, (*TESTS, None))
        names = over_names(self.rows, over)
        metric_key = self._key_with_values(metric, of, context)
        likely = self._lookup.likely_mode(metric_key.metric, mode)
        return compare(
            configurations(self.rows, names),
            self._values(metric_key, of),
            metric=str(metric_key),
            label=self.label(metric_key),
            of=of,
            mode=self._lookup.require_mode(metric_key.metric, mode) if to is None else likely,
            over=names,
            to=to,
            test=test,
        )

    def importance(self, metric: str, *, of: Of = "last", **context: Any) -> Importance:
        """Computes how much each parameter explains of a metric, the most important first.

        It is the share of the variance of the tasks' ranks that a parameter explains alone; a parameter that
        matters only together with another one has a small share. Failed, stopped and diverged tasks do not
        count, nor do parameters that are the same in all tasks.

        Args:
            metric: The metric's name or an alias.
            of: The statistic of each task.
            **context: The context, `split="val"`; required if the metric was reported in several.

        Raises:
            NoSuchResultError, AmbiguousResultError, ArgumentError: As for `best`.
        """
        from .importance import importance_of

        check_choice("of", of, OF)
        metric_key = self._key_with_values(metric, of, context)
        return importance_of(self._values(metric_key, of), with_statistic(str(metric_key), of))

    def diff(self, run: int | str | Results | None = None, *, of: Of = "last") -> RunDiff:
        """Compares this run with another one: `TaskGroup.load(…, run=3).diff(run=2)`.

        Configurations are matched by their parameters, or by all but those that were changed. The text and
        the table have those that were changed, added and removed, each one's value in both runs with the
        difference, statuses, and what differs in commit, uncommitted changes and packages.

        Args:
            run: The other run of the group, as for `TaskGroup.load`, or its results, also those of another
                group; by default the run before this one.
            of: The statistic of each task that is compared.

        Raises:
            NoSuchRunError: The group has no such run.
            ArgumentError: This is the first run and no other one was given.
        """
        from .loading import load_other_run
        from .run_diff import diff_results

        check_choice("of", of, OF)
        return diff_results(self, run if isinstance(run, Results) else load_other_run(self.about, run), of)

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
        return self._records(None)

    def _records(self, of: Of | None) -> list[dict[str, Any]]:
        if of is not None:
            check_choice("of", of, OF)
        if of == "mean":
            self.with_means()
        columns = metric_columns(self._lookup.sort(self.metric_keys), of)
        return [row_record(row, columns, of) for row in self.rows]

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
            metrics: The metrics to draw figures of, as for `row.value`; by default the first six.
            over: The parameter, or several, to take means over; by default those that are called `seed`,
                `fold` or the like. `()` for none.

        Returns:
            The path.

        Raises:
            MissingExtraError: plotly or Jinja2 is not installed.
            ArgumentError: No task has such a metric or parameter.
        """
        from .._reports.report import write_report

        return write_report(self, path, title=title, metrics=metrics, over=over)

    def counts_text(self) -> str:
        """Formats the number of tasks of each status: `40 completed, 5 failed`."""
        return tally_text(tally(shown_status(row.status, row.status_reason) for row in self.rows))

    def _values(self, metric_key: MetricKey, of: Of = "last") -> list[RowValue]:
        """Returns the tasks that count and have the metric, each with its value."""
        rows, stats = counting_stats(self.rows, metric_key, of)
        if of == "mean":
            self._reader.complete_stats(rows, metric_key)
        return list(zip(rows, map(float, map(operator.attrgetter(of), stats)), strict=True))

    def _best_row(self, metric_key: MetricKey, mode: Mode, of: Of = "last") -> RowValue:
        """Returns the best task and its value; at least one task must have a value that counts."""
        if of == "mean":
            self._values(metric_key, of)  # reads what is not known
        found = (block.best(metric_key, mode, of) for block in self._blocks.of(self.rows))
        return best_of(filter(None, found), operator.itemgetter(1), mode)

    def _elsewhere(self, metric_key: MetricKey) -> tuple[Iterable[str], str]:
        found = self._blocks.elsewhere(self.rows, metric_key)
        return found, self._lookup.elsewhere_text(metric_key, found, counted(len(self.rows), "task"))

    def _key_with_values(self, metric: str, of: Of, context: Mapping[str, Any]) -> MetricKey:
        """Finds the metric that is meant, of which some task must have a value that counts."""
        blocks = self._blocks.of(self.rows)
        known = [key for block in blocks for key in block.metric_keys]
        known += [key for block in blocks for row in block.diverged for key in row.diverged]
        try:
            metric_key = self._lookup.find(metric, context, known)
        except NoSuchResultError as error:
            error.note = self._why_not_comparable(metric, context)
            raise
        if not any(has_value(row, metric_key, of) for block in blocks for row in block.comparable):
            names = self._blocks.diverged(self.rows, metric_key)
            raise NoSuchResultError(str(metric_key), [], note=diverged_note(names))
        return metric_key

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

    def _not_a_position(self, given: str) -> str:
        return (
            f"results[{given!r}] has no meaning: rows are selected by position, "
            "by parameters with results.where(C=1), by their name with results.where(name=…)"
        )

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        return column_names(IDENTITY_COLUMNS, self.rows, records)

    def _table(self, of: Of = "last") -> tuple[list[str], list[list[str]]]:
        metric_keys = self.metric_keys
        labels = [with_statistic(self.label(metric_key), of) for metric_key in metric_keys]
        body = [
            [
                label,
                shown_status(row.status, row.status_reason),
                *(value_cell(row, metric_key, of) for metric_key in metric_keys),
            ]
            for label, row in zip(task_labels(self.rows), self.rows, strict=True)
        ]
        return ["task", "status", *labels], body

    def _notes(self) -> list[str]:
        note = f", {partial_text(self.rows, self._partial_reason)}" if self.partial else ""
        tasks = f"{counted(len(self.rows), 'task')}: {self.counts_text() or 'none'}{note}"
        return [tasks] + [self._sort_note] * bool(self._sort_note)
