"""Rows, best, aggregate: what the tasks of a group reported, to be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import attrs

from ._aggregate import Aggregates, aggregate_row, counts, label_of
from ._choosing import chosen, names_of, require_parameter
from ._flat import IDENTITY, columns_of, flat_record
from ._history import Curve, History, Reader
from ._measures import Best, Mode, Of, Words, number, of_text
from ._names import Measure, measure_text
from ._reporter import Stats
from ._run import Run, TaskState
from ._statuses import tally, tally_text
from ._stores import Status
from ._tabular import Tabular
from ._template import Name
from .errors import AmbiguousResultError, NoSuchResultError, counted

OPEN = ("created", "queued", "in_progress")
"""The statuses of tasks that have not ended."""
MOST_SHOWN = 4
"""How many values the short form of a row has."""


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
    stats: Mapping[Measure, Stats] = attrs.field(repr=False)
    _names: Mapping[Measure, Sequence[Name]] = attrs.field(repr=False, eq=False)
    _words: Words = attrs.field(repr=False, eq=False)
    _reader: Reader = attrs.field(repr=False, eq=False)

    def names(self, measure: Measure) -> Sequence[Name]:
        """Gives the titles and series under which a (metric, context) was logged.

        Args:
            measure: One of `stats`.
        """
        return self._names.get(measure, ())

    def history(self, metric: str, **context: Any) -> Curve:
        """Gives one whole curve: `row.history("loss", split="val").values`.

        Args:
            metric: The metric, by its name or an alias.
            **context: Which of its contexts, `split="val"`; needed where there are several.

        Raises:
            NoSuchResultError, AmbiguousResultError, NoHistoryError, ServerError: As for `Results.history`.
        """
        measure = self._find(metric, context)
        (curve,) = self._reader.curves([self], measure) or (Curve(self, (), ()),)
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
        measure = self._find(metric, context)
        if of == "mean":
            self._reader.count([self], measure)
        return number(self.stats[measure], of)

    def _find(self, metric: str, context: Mapping[str, Any]) -> Measure:
        told = self.status.replace("_", " ") + (f": {self.status_reason}" if self.status_reason else "")
        return self._words.find(metric, context, self.stats, task=f"the task {self.name} ({told})")

    def __repr__(self) -> str:
        shown = list(self.stats)
        values = "".join(f" {measure_text(m)}={self.stats[m].last:.4g}" for m in shown[:MOST_SHOWN])
        more = f" … and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
        return f"<Row {self.name!r} key={self.key} {self.status}{values}{more}>"

    def __str__(self) -> str:
        values = "  ".join(f"{measure_text(m)}={s.last:.6g}" for m, s in self.stats.items())
        return f"{self.name}  {self.status}  {values}".rstrip()


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
    _words: Words
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
            measure = self._words.find(metric, context, (m for row in comparable for m in row.stats))
        except NoSuchResultError as error:
            error.note = self._beside(metric, context)
            raise
        better = self._words.mode(measure[0], mode)
        having = self._having(comparable, measure, of)
        values = [number(row.stats[measure], of) for row in having]
        row, value = _extreme(having, values, better)
        return Best(
            name=row.name,
            params=row.params,
            value=value,
            metric=measure_text(measure),
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
        measure = self.find(metric, **context)
        better = self._words.mode(measure[0], mode)
        having = self._having([row for row in self.rows if counts(row)], measure, of)
        having.sort(key=lambda row: number(row.stats[measure], of), reverse=better == "max")
        rest = [row for row in self.rows if not counts(row) or measure not in row.stats]
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

    def find(self, metric: str, **context: Any) -> Measure:
        """Finds the one (metric, context) that is meant, as it stands in the rows' `stats`.

        Args:
            metric: The metric, by its name or an alias.
            **context: Which of its contexts, `split="val"`; needed where there are several.

        Raises:
            NoSuchResultError: No task has it.
            AmbiguousResultError: The metric was reported under several contexts.
        """
        return self._words.find(metric, context, (m for row in self.rows for m in row.stats))

    def _beside(self, metric: str, context: Mapping[str, Any]) -> str:
        """Tells which tasks have a value that does not count, where no other has one."""
        rest = [row for row in self.rows if not counts(row)]
        if not rest:
            return ""
        try:
            measure = self._words.find(metric, context, (m for row in rest for m in row.stats))
        except (NoSuchResultError, AmbiguousResultError):
            return (
                f"{counted(len(rest), 'task')} failed, stopped or not begun" if len(rest) == len(self) else ""
            )
        having = [row.name for row in rest if measure in row.stats]
        names = ", ".join(having[:6]) + " …" * (len(having) > 6)
        return f"that of {counted(len(having), 'task')} that failed or stopped ({names}) does not count"

    def label(self, measure: Measure) -> str:
        """Writes a (metric, context) for people, with the vocabulary's unit: `time[split=val] (s)`.

        Args:
            measure: One of `measures`.
        """
        return self._words.label(measure)

    def mode_of(self, metric: str, mode: Mode | None = None) -> Mode | None:
        """Gives which is better, for figures: from the call, the vocabulary, or a well-known word.

        Args:
            metric: The metric, by its name or an alias.
            mode: What the caller says, which goes before what the vocabulary says.

        Returns:
            `"max"` (`accuracy`), `"min"` (`loss`), or None where nobody can tell.
        """
        return self._words.likely_mode(metric, mode)

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters, in the order of their first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row.params))

    @property
    def measures(self) -> list[Measure]:
        """Each (metric, context) that some task has, in the order of their first appearance."""
        return list(dict.fromkeys(measure for row in self.rows for measure in row.stats))

    def _having(self, rows: Sequence[Row], measure: Measure, of: Of) -> list[Row]:
        having = [row for row in rows if measure in row.stats]
        if of == "mean":
            self._reader.count(having, measure)
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
        return Aggregates(rows, names, of, self._words)

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
        measures = self._words.in_order(self.measures)
        return [flat_record(row, measures) for row in self.rows]

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
        from ._report.report import write_report

        return write_report(self, path, title=title, metrics=metrics, over=over)

    def _table(self, of: Of = "last") -> tuple[list[str], list[list[str]]]:
        measures = self.measures
        head = ["task", "status", *(of_text(self.label(measure), of) for measure in measures)]
        body = [
            [row.name, row.status, *(_cell(row.stats.get(measure), of) for measure in measures)]
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


def row_of(state: TaskState, words: Words, reader: Reader) -> Row:
    """Takes a task's counts as they are at this moment."""
    return Row(
        key=state.spec.key,
        name=state.spec.name,
        index=state.spec.index,
        id=state.id,
        attempt=state.spec.attempt,
        status=state.status,
        status_reason=state.reason,
        params=dict(state.params),
        duration=state.duration,
        url=reader.store.url(state.id),
        stats={
            measure: attrs.evolve(stats) for measure, stats in list(state.names.stats.items()) if stats.count
        },
        names=state.names.spelt(),
        words=words,
        reader=reader,
    )


def results_of(run: Run, more: str = "") -> Results:
    """Takes the results of a run as they are at this moment.

    Args:
        run: The run.
        more: Why there is more to come though no task is open; empty where there is not.
    """
    words, reader = Words(run.template, run.vocabulary), Reader(run.store)
    states = sorted((*run.states.values(), *run.submitted.values()), key=lambda state: state.spec.index)
    rows = tuple(row_of(state, words, reader) for state in states)
    info, store = run.info, run.store
    about = About(
        project=info.project,
        name=info.name,
        group_id=info.group_id,
        run=info.run,
        run_number=info.number,
        mode=store.mode,
        where=store.where,
        url=store.url(run.parent) if run.parent else None,
        compare_urls=tuple(store.compare_urls([row.id for row in rows])),
        started=run.started,
    )
    partial = any(row.status in OPEN for row in rows)
    more = "other agents have the other points" if run.point is not None else more
    return Results(rows, about, words, reader, partial=partial or bool(more), more=more)
