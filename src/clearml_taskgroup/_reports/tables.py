"""The tables of an HTML report as data: best values, configurations, comparisons, tasks, failures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import attrs

from .._clearml.pages import page_of
from .._model.display_name import number_text
from .._results.filtering import is_comparable
from .._results.parameters import varying_parameters
from .._results.scales import is_number
from .._results.task_labels import one_form
from .._results.value_text import as_number, number_texts, value_text
from .._text import counted, some
from .comparison import shown_comparison
from .metric_order import Decisive, best_first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._model.metrics import MetricKey
    from .._model.stats import Stats
    from .._results.aggregate import Aggregates
    from .._results.compare import Comparison
    from .._results.results import Results
    from .._results.rows import AggregateRow, Mode, Row

T = TypeVar("T")

MAX_PARAMETERS_FIRST = 8
"""With more parameters than that, the metrics are the first columns of a table."""


@attrs.frozen
class Cell:
    """A cell of a table.

    Attributes:
        text: What is read.
        number: The number to sort by; None for text.
        css: CSS classes.
        details: The anchor of the task that a click shows.
        page: The address of a web page that is linked behind the text.
    """

    text: str
    number: float | None = None
    css: str = ""
    details: str = ""
    page: str = ""


MISSING = Cell("–", css="none")


@attrs.frozen
class Column:
    """The head of a column.

    Attributes:
        title: The text.
        descending: Whether the first click sorts in descending order.
        is_sorted: Whether the lines are in that order already.
    """

    title: str
    descending: bool = False
    is_sorted: bool = False


@attrs.frozen
class Line:
    cells: Sequence[Cell]
    css: str = ""


@attrs.frozen
class Table:
    """A table.

    Attributes:
        label: Its name for screen readers.
        columns: The columns.
        lines: The lines.
        caption: A sentence above the table.
        note: A sentence below the table.
    """

    label: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    caption: str = ""
    note: str = ""

    @property
    def numeric(self) -> list[bool]:
        """Whether each column has only numbers, which are aligned to the right."""
        columns = zip(*(line.cells for line in self.lines), strict=True)
        return [all(cell.number is not None or cell is MISSING for cell in column) for column in columns]


@attrs.frozen
class Tables:
    """The tables of one report.

    Attributes:
        results: The results.
        metric_keys: The metrics of the columns, the most important first.
        means: The configurations, if there is a parameter to take means over.
    """

    results: Results
    metric_keys: Sequence[MetricKey]
    means: Aggregates | None
    _names: Mapping[str, str] = attrs.field(init=False, repr=False)

    @_names.default
    def _names_in_one_form(self) -> dict[str, str]:
        names = one_form([(row.name, row._params) for row in self.results])
        return {row.id: name for row, name in zip(self.results, names, strict=True)}

    def _task_cell(self, row: Row) -> Cell:
        return Cell(self._names[row.id], css="wide", details=_anchor(row))

    @property
    def any_value(self) -> bool:
        return any(row.stats for row in self.results if is_comparable(row))

    def best(self) -> Table | None:
        if not self.any_value:
            return None
        lines, has_unknown_mode = [], False
        for metric_key in self.metric_keys:
            mode = self.results.mode_of(metric_key.metric)
            has_unknown_mode = has_unknown_mode or mode is None
            modes: tuple[Mode, ...] = ("max", "min") if mode is None else (mode,)
            lines += [self._best_line(metric_key, shown) for shown in modes]
        heads = ["metric", "which" if has_unknown_mode else "best is"]
        if self.means is None:
            heads += ["value", "task"]
        else:  # a mean says more than the luckiest task
            heads += [f"mean ± std over {', '.join(self.means.over)}", "configuration", "single task", "task"]
        advice = (
            "Which values are better is not known for all metrics; set it by metrics=[Metric(…, mode=…)]."
        )
        return Table(
            "best values",
            [Column(head) for head in heads],
            [line for line in lines if line],
            "The last value of each task counts; failed, stopped and diverged tasks do not.",
            advice if has_unknown_mode else "",
        )

    def _best_line(self, metric_key: MetricKey, mode: Mode) -> Line | None:
        if not self.results._values(metric_key):
            return None
        row, value = self.results._best_row(metric_key, mode)
        which = {"max": "highest", "min": "lowest"}[mode]
        cells = [Cell(self.results.label(metric_key)), Cell(which)]
        if self.means is not None:
            config = self.means._best_row(metric_key, mode)
            mean = config.stats[metric_key].mean
            cells += [Cell(self._mean_texts(metric_key)[config.name], mean), Cell(config.name, css="wide")]
        return Line([*cells, _number_cell(value), self._task_cell(row)])

    def configurations(self) -> Table | None:
        if self.means is None or not self.any_value:
            return None
        names = list(dict.fromkeys(name for config in self.means for name in config.params))
        best = {metric_key: self._best_mean(metric_key) for metric_key in self.metric_keys}
        texts = {metric_key: self._mean_texts(metric_key) for metric_key in self.metric_keys}
        params = {
            name: _param_cells({config.name: config.params for config in self.means}, name) for name in names
        }
        first = self.metric_keys[0]
        mode = self.results.mode_of(first[0])
        lines = []
        for config in sorted(self.means, key=self._rank):
            means = []
            for metric_key in self.metric_keys:
                mean = config.stats.get(metric_key)
                if mean is None:
                    means.append(MISSING)
                    continue
                counts = "" if mean.n == config.n else f" (n={mean.n})"
                css = "best" if mean.mean == best[metric_key] else ""
                means.append(Cell(texts[metric_key][config.name] + counts, mean.mean, css))
            own = [params[name][config.name] for name in names] or [Cell(config.name)]
            lines.append(Line(_ordered(own, [Cell(str(config.n), config.n), *means])))
        columns = [Column(name) for name in names] or [Column("configuration")]
        left_out = sum(len(config.left_out) for config in self.means)
        caption = (
            f"Mean ± sample standard deviation over {', '.join(self.means.over)}, of each task's last value."
        )
        caption += f" {counted(left_out, 'failed or stopped task')} not counted in." if left_out else ""
        for metric_key, excluded in self.means.excluded.items():
            label = self.results.label(metric_key)
            caption += f" Not counted in, {label} diverged: {len(excluded)} ({some(excluded)})."
        heads = [Column("n"), *self._metric_columns(Decisive(first, mode) if mode else None)]
        return Table("configurations", _ordered(columns, heads), lines, caption)

    def _rank(self, config: AggregateRow) -> float:
        """Sorts configurations by their mean of the first metric, the best first."""
        if not self.metric_keys or self.metric_keys[0] not in config.stats:
            return math.inf
        sign = 1 if self.results.mode_of(self.metric_keys[0][0]) == "min" else -1
        return float(sign * config.stats[self.metric_keys[0]].mean)

    def _best_mean(self, metric_key: MetricKey) -> float | None:
        mode = self.results.mode_of(metric_key.metric)
        if self.means is None or mode is None or not self.results._values(metric_key):
            return None
        return self.means._best_row(metric_key, mode).stats[metric_key].mean

    def _best_value(self, metric_key: MetricKey) -> float | None:
        mode = self.results.mode_of(metric_key.metric)
        if mode is None or not self.results._values(metric_key):
            return None
        return self.results._best_row(metric_key, mode)[1]

    def tasks(self) -> Table:
        """All tasks; the column of their names is omitted if the other columns say the same."""
        results = self.results
        names = varying_parameters(results.rows) if len(results) > 1 else results.parameters
        same = [name for name in results.parameters if name not in names]
        has_names = not all(_is_named_by_parameters(row) for row in results)
        given = {row.id: row._params for row in results}
        params = [_param_cells(given, name) for name in names]
        values = [self._value_cells(metric_key) for metric_key in self.metric_keys]
        lines = []
        rows, decisive = best_first(results, self.metric_keys)
        for row in rows:
            place = Cell(str(row.index), row.index, "", _anchor(row), page_of(row.url))
            status = Cell(_words(row.status), css=row.status)
            own = [cells[row.id] for cells in params]
            lasts = [cells.get(row.id, MISSING) for cells in values]
            duration = Cell(time_text(row.duration), round(row.duration, 3))
            named = [Cell(self._names[row.id], css="name")] if has_names else []
            line = [place, *named, status, *_ordered(own, lasts), duration]
            lines.append(Line(line, "" if is_comparable(row) else "off"))
        columns = [Column("#"), *([Column("task")] if has_names else []), Column("status")]
        columns += _ordered([Column(name) for name in names], self._metric_columns(decisive))
        first = f" The {decisive.order} {results.label(decisive.metric_key)} is first." if decisive else ""
        constants = ", ".join(f"{name} = {value_text(results[0].params[name])}" for name in same)
        return Table(
            "all tasks",
            [*columns, Column("duration")],
            lines,
            "The last value of each metric; the best of the tasks that count is marked."
            f"{first} Click on a number to see a task's details, on a head to "
            "sort.",
            f"The same in all tasks: {constants}." if same else "",
        )

    def _value_cells(self, metric_key: MetricKey) -> dict[str, Cell]:
        """Formats each task's last value, with the same number of decimals in all tasks."""
        rows = [row for row in self.results if metric_key in row.stats or metric_key in row.diverged]
        best = self._best_value(metric_key)
        lasts = {row.id: row.stats[metric_key].last for row in rows if metric_key not in row.diverged}
        cells = {row.id: Cell("diverged", css="diverged") for row in rows}
        counting = {row.id for row in rows if is_comparable(row)}
        for (task, last), text in zip(lasts.items(), number_texts(list(lasts.values())), strict=True):
            css = "best" if last == best and task in counting else ""
            cells[task] = Cell(text, float(last), css) if math.isfinite(last) else MISSING
        return cells

    def _mean_texts(self, metric_key: MetricKey) -> dict[str, str]:
        """Formats each configuration's mean ± std, with the same number of decimals in all configurations."""
        means = {
            config.name: config.stats[metric_key] for config in self.means or () if metric_key in config.stats
        }
        texts = number_texts([mean.mean for mean in means.values()])
        found = {}
        for (name, mean), text in zip(means.items(), texts, strict=True):
            decimals = len(text.partition(".")[2])
            needs_digits = "e" in text or 0 < mean.std < 0.5 * 10**-decimals  # else it would read as 0
            std = f"{mean.std:.2g}" if needs_digits else f"{mean.std:.{decimals}f}"
            found[name] = text if mean.n < 2 else f"{text} ± {std}"
        return found

    def _metric_columns(self, decisive: Decisive | None = None) -> list[Column]:
        first = decisive and decisive.metric_key
        modes = {metric_key: self.results.mode_of(metric_key.metric) for metric_key in self.metric_keys}
        return [Column(self.results.label(one), mode == "max", one == first) for one, mode in modes.items()]

    def failures(self) -> Table | None:
        rows = [row for row in self.results if row.status in ("failed", "stopped") or row.status_reason]
        lines = [
            Line(
                [
                    self._task_cell(row),
                    Cell(_words(row.status), css=row.status),
                    Cell(row.status_reason or "no reason was given", css="reason"),
                ]
            )
            for row in rows
        ]
        columns = [Column("task"), Column("status"), Column("reason")]
        return Table("failures", columns, lines, "The status and its reason.") if lines else None

    def details(self) -> dict[str, Any]:
        """Returns what a click on a task shows, for the page's script."""
        parameters = self.results.parameters
        return {
            "parameters": parameters,
            "metrics": list(map(self.results.label, self.metric_keys)),
            "tasks": {_anchor(row): self._details_of(row, parameters) for row in self.results},
        }

    def _details_of(self, row: Row, parameters: Sequence[str]) -> dict[str, Any]:
        attempt = f", attempt {row.attempt}" if row.attempt > 1 else ""
        facts = {
            "status": _words(row.status) + (f": {row.status_reason}" if row.status_reason else ""),
            "duration": time_text(row.duration),
            "key": row.key,
            "ClearML id": row.id + attempt,
            "where": row.url or "–",
        }
        params = row._params
        all_skipped = "All values of the task were NaN, infinite or too large for a ClearML server."
        return {
            "name": row.name,
            "facts": facts,
            "page": page_of(row.url),
            "parameters": [value_text(params[name]) if name in params else None for name in parameters],
            "values": [
                [place, *_stats_numbers(row.stats[metric_key])]
                for place, metric_key in enumerate(self.metric_keys)
                if metric_key in row.stats
            ],
            "note": "" if row.stats else all_skipped if row.diverged else "The task has reported no values.",
        }


def comparison_table(compared: Comparison) -> Table:
    head, body, notes = shown_comparison(compared)
    lines = []
    for *texts, verdict in body:
        cells = [Cell(text) if text else MISSING for text in texts]
        css = f"verdict {verdict}" if verdict in ("better", "worse", "unclear") else "verdict"
        lines.append(Line([*cells, Cell(verdict, css=css)]))
    sentence = "; ".join(notes) + "."
    sentence = sentence[0].upper() + sentence[1:]
    return Table(f"comparison, {compared.label}", [Column(name) for name in head], lines, note=sentence)


def _ordered(params: Sequence[T], metrics: Sequence[T]) -> list[T]:
    """Puts what is of interest first: the metrics if there are many parameters."""
    return [*metrics, *params] if len(params) > MAX_PARAMETERS_FIRST else [*params, *metrics]


def _is_named_by_parameters(row: Row) -> bool:
    """Whether a task's name consists of its parameters, which have columns of their own."""
    rest = f",{row.name},"
    for name, value in row._params.items():
        rest = rest.replace(f",{name}={value_text(value)},", ",", 1)
    return rest == "," or row.name.endswith(f"~{row.key}")


def _param_cells(rows: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Cell]:
    """Formats a column of parameters: numbers exactly if all are short, else with the same decimals."""
    values = {row: as_number(params[name]) for row, params in rows.items() if name in params}
    numbers = {row: value for row, value in values.items() if is_number(value)}
    exact = [number_text(value) for value in numbers.values()]
    texts = exact if all(len(text) <= 9 for text in exact) else number_texts(list(numbers.values()))
    cells = {row: Cell(text, float(numbers[row])) for row, text in zip(numbers, texts, strict=True)}
    for row in rows:
        if row in values and row not in cells:
            text = value_text(values[row])
            cells[row] = Cell(text, css="wide" if len(text) > 16 else "")
    return {row: cells.get(row, MISSING) for row in rows}


def _number_cell(value: float) -> Cell:
    return Cell(number_texts([value])[0], float(value)) if math.isfinite(value) else MISSING


def _stats_numbers(stats: Stats) -> list[float | None]:
    """Returns first, last, min and where, max and where, mean and count; None for what is not known."""
    mean, count = (stats.mean, stats.count) if stats.is_counted else (None, None)
    values = [stats.first, stats.last, stats.min, stats.min_iteration, stats.max, stats.max_iteration, mean]
    return [*(None if value is None or not math.isfinite(value) else value for value in values), count]


def _anchor(row: Row) -> str:
    return f"task-{quote(row.id)}"


def _words(status: str) -> str:
    return status.replace("_", " ")


def time_text(seconds: float) -> str:
    if seconds < 0.01:
        return "< 0.01 s"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
