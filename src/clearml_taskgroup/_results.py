"""Rows, best, aggregate: what the tasks of a group reported, to be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import attrs

from ._aggregate import Aggregates, aggregate_row, counts, label_of
from ._measures import OF, Best, Mode, Of, Words, number, table
from ._names import Measure, measure_text
from ._reporter import Stats
from ._run import TaskState
from ._stores import Status
from .errors import ArgumentError, counted


@attrs.frozen
class Row:
    """One task's results.

    Attributes:
        key, name, index, id: Who the task is.
        status: How far it is, in ClearML's words; `status_reason` says why it failed or stopped.
        params: Its parameters, on one level.
        duration: Seconds from opening to the end.
        stats: For each (metric, context): first, last, min, max, mean, count.
    """

    key: str
    name: str
    index: int
    id: str
    status: Status
    status_reason: str
    params: Mapping[str, Any]
    duration: float
    stats: Mapping[Measure, Stats] = attrs.field(repr=False)
    _words: Words = attrs.field(repr=False)

    def value(self, metric: str, *, of: Of = "last", **context: Any) -> float:
        """Gives one value: `row.value("accuracy", split="val", of="max")`.

        Raises:
            NoSuchResultError: The task reported no such thing.
            AmbiguousResultError: It reported the metric under several contexts; say which.
        """
        return number(self.stats[self._words.find(metric, context, self.stats)], of)

    def __str__(self) -> str:
        values = "  ".join(f"{measure_text(m)}={s.last:.6g}" for m, s in self.stats.items())
        return f"{self.name}  {self.status}  {values}".rstrip()


@attrs.frozen(repr=False)
class Results(Sequence[Row]):
    """The results of a group, a row for each task; made by `group.results()`.

    Failed and stopped tasks keep their rows, but neither `best` nor `aggregate` counts them in.
    """

    rows: tuple[Row, ...]
    _words: Words
    partial: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
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
        counted = [row for row in self.rows if counts(row)]
        better = self._words.mode(metric, mode)
        measure = self._words.find(metric, context, (m for row in counted for m in row.stats))
        having = [row for row in counted if measure in row.stats]
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

    def aggregate(self, over: str | Sequence[str] = "seed", *, of: Of = "last") -> Aggregates:
        """Takes the mean over a parameter: seeds, folds.

        Args:
            over: The parameter, or several, that the tasks of one configuration differ in.
            of: Which value of each task goes into the mean.

        Returns:
            A row for each configuration of the other parameters.

        Raises:
            ArgumentError: No task has such a parameter.
        """
        names = (over,) if isinstance(over, str) else tuple(over)
        known = dict.fromkeys(name for row in self.rows for name in row.params)
        for name in names:
            if name not in known and self.rows:
                raise ArgumentError("over", name, f"one of the parameters {', '.join(known) or '(none)'}")
        groups: dict[str, tuple[dict[str, Any], list[Row]]] = {}
        for row in self.rows:
            rest = {name: value for name, value in row.params.items() if name not in names}
            groups.setdefault(label_of(rest), (rest, []))[1].append(row)
        rows = tuple(aggregate_row(label, rest, members, of) for label, (rest, members) in groups.items())
        return Aggregates(rows, names, of, self._words)

    def to_records(self) -> list[dict[str, Any]]:
        """Gives a flat dict for each task, for a data frame or a file.

        The entries: `key`, `name`, `index`, `id`, `status`, `status_reason`, `duration`;
        `params.C` for each parameter; `accuracy[split=val].last` (and `.first`, `.min`, `.max`,
        `.mean`, `.count`) for each metric and context.
        """
        return [_record(row) for row in self.rows]

    def __repr__(self) -> str:
        measures = list(dict.fromkeys(measure for row in self.rows for measure in row.stats))
        head = ["task", "status", *map(measure_text, measures)]
        body = [
            [row.name, row.status, *(_cell(row.stats.get(measure)) for measure in measures)]
            for row in self.rows
        ]
        counts = _counts_text(self.rows)
        note = f", {_what_is_missing(self.rows)}" if self.partial else ""
        return f"{table(head, body)}\n{counted(len(self.rows), 'task')}: {counts or 'none'}{note}"


def _extreme(rows: Sequence[Row], values: Sequence[float], mode: Mode) -> tuple[Row, float]:
    pick: Callable[..., float] = max if mode == "max" else min
    value = pick(values)
    return rows[list(values).index(value)], value


def _record(row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {
        name: getattr(row, name)
        for name in ("key", "name", "index", "id", "status", "status_reason", "duration")
    }
    record |= {f"params.{name}": value for name, value in row.params.items()}
    for measure, stats in row.stats.items():
        for part in (*OF, "count"):
            record[f"{measure_text(measure)}.{part}"] = getattr(stats, part)
    return record


def _cell(stats: Stats | None) -> str:
    return "–" if stats is None else f"{stats.last:.4g}"


def _what_is_missing(rows: Sequence[Row]) -> str:
    statuses = {row.status for row in rows}
    if statuses & {"queued", "created"}:
        return "not finished: group.wait() follows those that agents run"
    return (
        "partial: tasks are still open"
        if "in_progress" in statuses
        else "partial: other agents have the other points"
    )


def _counts_text(rows: Sequence[Row]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items())


def row_of(state: TaskState, words: Words) -> Row:
    """Takes a task's counts as they are at this moment."""
    return Row(
        key=state.spec.key,
        name=state.spec.name,
        index=state.spec.index,
        id=state.id,
        status=state.status,
        status_reason=state.reason,
        params=dict(state.params),
        duration=state.duration,
        stats={
            measure: attrs.evolve(stats) for measure, stats in list(state.names.stats.items()) if stats.count
        },
        words=words,
    )
