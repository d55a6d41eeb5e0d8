"""The tables of an HTML report: best values, configurations, tasks, failures, details of each task."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs

from .._model.display_name import number_text
from .._plots.parameters import varying_parameters
from .._plots.scales import is_number
from .._plots.value_text import as_number, number_texts, value_text
from .._results.filtering import is_comparable
from .._text import counted, some
from .html import MISSING, Cell, Column, Line, esc, is_page, link, note, section, table, text_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._model.metrics import MetricKey
    from .._model.stats import Stats
    from .._results.aggregate import Aggregates
    from .._results.results import Results
    from .._results.rows import AggregateRow, Mode, Row


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

    @property
    def any_value(self) -> bool:
        return any(row.stats for row in self.results if is_comparable(row))

    @property
    def ended_badly(self) -> list[Row]:
        return [row for row in self.results if row.status in ("failed", "stopped") or row.status_reason]

    def best(self) -> str:
        if not self.any_value:
            return section("best", "Best values", note("No completed or open task has reported a value."))
        lines, has_unknown_mode = [], False
        for metric_key in self.metric_keys:
            mode = self.results.mode_of(metric_key[0])
            has_unknown_mode = has_unknown_mode or mode is None
            modes: tuple[Mode, ...] = ("max", "min") if mode is None else (mode,)
            lines += [self._best_line(metric_key, shown) for shown in modes]
        columns = [
            Column("metric"),
            Column("which" if has_unknown_mode else "best is"),
            Column("value"),
            Column("task"),
        ]
        if self.means is not None:
            over = ", ".join(self.means.over)
            columns += [Column(f"mean ± std over {over}"), Column("configuration")]
        advice = (
            "Which values are better is not known for all metrics; set it by metrics=[Metric(…, mode=…)]."
        )
        found = table(
            columns,
            [line for line in lines if line],
            sortable=False,
            label="best values",
            caption="The last value of each task counts; failed, stopped and diverged tasks do not.",
        )
        return section("best", "Best values", found, note(advice) if has_unknown_mode else "")

    def _best_line(self, metric_key: MetricKey, mode: Mode) -> Line | None:
        if not self.results._values(metric_key):
            return None
        row, value = self.results._best_row(metric_key, mode)
        which = {"max": "highest", "min": "lowest"}[mode]
        cells = [text_cell(self.results.label(metric_key)), text_cell(which), _number_cell(value)]
        cells.append(Cell(_link_to_details(row), classes="wide"))
        if self.means is not None:
            config = self.means._best_row(metric_key, mode)
            mean = config.stats[metric_key]
            cells += [Cell(esc(self._mean_texts(metric_key)[config.name]), mean.mean)]
            cells.append(Cell(_breakable_task_name(config.name), classes="wide"))
        return Line(cells)

    def configurations(self) -> str:
        if self.means is None or not self.any_value:
            return ""
        names = list(dict.fromkeys(name for config in self.means for name in config.params))
        best = {metric_key: self._best_mean(metric_key) for metric_key in self.metric_keys}
        texts = {metric_key: self._mean_texts(metric_key) for metric_key in self.metric_keys}
        params = {
            name: _param_cells({config.name: config.params for config in self.means}, name) for name in names
        }
        lines = []
        for config in sorted(self.means, key=self._rank):
            cells = [params[name][config.name] for name in names] or [text_cell(config.name)]
            cells.append(Cell(str(config.n), config.n))
            for metric_key in self.metric_keys:
                mean = config.stats.get(metric_key)
                good = "best" if mean is not None and mean.mean == best[metric_key] else ""
                if mean is None:
                    cells.append(MISSING)
                else:
                    counts = "" if mean.n == config.n else f" (n={mean.n})"
                    cells.append(Cell(esc(texts[metric_key][config.name] + counts), mean.mean, classes=good))
            lines.append(Line(cells))
        columns = [Column(name) for name in names] or [Column("configuration")]
        columns += [Column("n"), *self._metric_columns()]
        left_out = sum(len(config.left_out) for config in self.means)
        over = ", ".join(self.means.over)
        caption = f"Mean ± sample standard deviation over {over}, of each task's last value."
        caption += f" {counted(left_out, 'failed or stopped task')} not counted in." if left_out else ""
        for metric_key, excluded in self.means.excluded.items():
            label = self.results.label(metric_key)
            caption += f" Not counted in, {label} diverged: {len(excluded)} ({some(excluded)})."
        found = table(columns, lines, label="configurations", caption=caption)
        return section("configurations", "Configurations", found)

    def _rank(self, config: AggregateRow) -> float:
        """Sorts configurations by their mean of the first metric, the best first."""
        if not self.metric_keys or self.metric_keys[0] not in config.stats:
            return math.inf
        sign = 1 if self.results.mode_of(self.metric_keys[0][0]) == "min" else -1
        return float(sign * config.stats[self.metric_keys[0]].mean)

    def _best_mean(self, metric_key: MetricKey) -> float | None:
        mode = self.results.mode_of(metric_key[0])
        if self.means is None or mode is None or not self.results._values(metric_key):
            return None
        return self.means._best_row(metric_key, mode).stats[metric_key].mean

    def _best_value(self, metric_key: MetricKey) -> float | None:
        mode = self.results.mode_of(metric_key[0])
        if mode is None or not self.results._values(metric_key):
            return None
        return self.results._best_row(metric_key, mode)[1]

    def tasks(self) -> str:
        results = self.results
        names = varying_parameters(results.rows) if len(results) > 1 else results.parameters
        same = [name for name in results.parameters if name not in names]
        best = {metric_key: self._best_value(metric_key) for metric_key in self.metric_keys}
        given = {row.id: row.params for row in results}
        params = {name: _param_cells(given, name) for name in names}
        texts = {metric_key: self._last_texts(metric_key) for metric_key in self.metric_keys}
        lines = []
        for row in results:
            page_link = f" {link(row.url, '↗')}" if is_page(row.url) else ""
            cells = [
                Cell(str(row.index), row.index),
                Cell(f'<a href="#{_anchor(row)}" title="{esc(row.name)}">{esc(row.name)}</a>{page_link}'),
                text_cell(row.status.replace("_", " "), row.status),
                *(params[name][row.id] for name in names),
            ]
            for metric_key in self.metric_keys:
                stats = row.stats.get(metric_key)
                good = stats is not None and is_comparable(row) and stats.last == best[metric_key]
                if metric_key in row.diverged:
                    cells.append(text_cell("diverged", "diverged"))
                elif stats is None or not math.isfinite(stats.last):
                    cells.append(MISSING)
                else:
                    text = texts[metric_key][row.id]
                    cells.append(Cell(text, float(stats.last), classes="best" if good else ""))
            cells.append(Cell(esc(time_text(row.duration)), round(row.duration, 3)))
            lines.append(Line(cells, "" if is_comparable(row) else "off"))
        columns = [Column("#"), Column("task"), Column("status")]
        columns += [Column(name) for name in names] + self._metric_columns()
        columns.append(Column("duration"))
        search = (
            '<div class="filter"><label for="filter">Filter</label><input id="filter" type="search" '
            'placeholder="failed, lr=0.1 …" autocomplete="off">'
            f'<span id="shown" class="soft" aria-live="polite">{counted(len(results), "task")}</span>'
            '<span class="soft">Click a column head to sort.</span></div>'
        )
        caption = "The last value of each metric; the best of the tasks that count is marked."
        constants = ", ".join(f"{name} = {value_text(results[0].params[name])}" for name in same)
        return section(
            "tasks",
            "All tasks",
            search,
            table(columns, lines, label="all tasks", caption=caption),
            note(f"The same in all tasks: {constants}.") if same else "",
        )

    def _last_texts(self, metric_key: MetricKey) -> dict[str, str]:
        """Formats each task's last value, with the same number of decimals in all tasks."""
        lasts = {row.id: row.stats[metric_key].last for row in self.results if metric_key in row.stats}
        return dict(zip(lasts, number_texts(list(lasts.values())), strict=True))

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

    def _metric_columns(self) -> list[Column]:
        return [
            Column(
                self.results.label(metric_key),
                first="descending" if self.results.mode_of(metric_key[0]) == "max" else "ascending",
            )
            for metric_key in self.metric_keys
        ]

    def failures(self) -> str:
        rows = self.ended_badly
        if not rows:
            return ""
        lines = [
            Line(
                [
                    Cell(_link_to_details(row), classes="wide"),
                    text_cell(row.status.replace("_", " "), row.status),
                    text_cell(row.status_reason or "no reason was given", "reason"),
                ]
            )
            for row in rows
        ]
        columns = [Column("task"), Column("status"), Column("reason")]
        found = table(columns, lines, label="failures", caption="The status and its reason.")
        return section("failures", "Failed and stopped", found)

    def details(self) -> str:
        return section("details", "Details", *map(self._details_of, self.results))

    def _details_of(self, row: Row) -> str:
        status = row.status.replace("_", " ")
        facts = [
            ("status", esc(status + (f": {row.status_reason}" if row.status_reason else ""))),
            ("duration", esc(time_text(row.duration))),
            ("key", esc(row.key)),
            ("ClearML id", esc(row.id + (f", attempt {row.attempt}" if row.attempt > 1 else ""))),
            ("where", link(row.url, row.url or "–")),
            *((esc(name), esc(value_text(value))) for name, value in row.params.items()),
        ]
        shown = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in facts)
        head = ["metric", "first", "last", "min", "at", "max", "at", "mean", "values"]
        lines = [
            Line([text_cell(self.results.label(metric_key)), *_stats_cells(row.stats[metric_key])])
            for metric_key in self.metric_keys
            if metric_key in row.stats
        ]
        columns = [Column(name) for name in head]
        values = table(columns, lines, sortable=False, label=row.name) if lines else note(_why_no_values(row))
        return (
            f'<details id="{_anchor(row)}"><summary>{esc(row.name)} '
            f'<span class="{esc(row.status)}">{esc(status)}</span></summary>'
            f"<div><dl>{shown}</dl>{values}</div></details>"
        )


def _why_no_values(row: Row) -> str:
    if not row.diverged:
        return "The task has reported no values."
    return "All values of the task were NaN, infinite or too large for a ClearML server."


def _param_cells(rows: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Cell]:
    """Formats a column of parameters: numbers exactly if all are short, else with the same decimals."""
    values = {row: as_number(params[name]) for row, params in rows.items() if name in params}
    numbers = {row: value for row, value in values.items() if is_number(value)}
    exact = [number_text(value) for value in numbers.values()]
    texts = exact if all(len(text) <= 9 for text in exact) else number_texts(list(numbers.values()))
    cells = {row: Cell(esc(text), float(numbers[row])) for row, text in zip(numbers, texts, strict=True)}
    for row in rows:
        if row in values and row not in cells:
            text = value_text(values[row])
            cells[row] = text_cell(text, "wide" if len(text) > 16 else "")
    return {row: cells.get(row, MISSING) for row in rows}


def _number_cell(value: float, classes: str = "") -> Cell:
    return Cell(number_texts([value])[0], float(value), classes=classes) if math.isfinite(value) else MISSING


def _stats_cells(stats: Stats) -> list[Cell]:
    known = stats.is_counted
    return [
        _number_cell(stats.first),
        _number_cell(stats.last),
        _number_cell(stats.min),
        _at_cell(stats.min_iteration),
        _number_cell(stats.max),
        _at_cell(stats.max_iteration),
        _number_cell(stats.mean) if known else MISSING,
        Cell(str(stats.count), stats.count) if known else MISSING,
    ]


def _at_cell(iteration: int | None) -> Cell:
    return MISSING if iteration is None else Cell(str(iteration), iteration)


def _anchor(row: Row) -> str:
    return f"task-{quote(row.id)}"


def _link_to_details(row: Row) -> str:
    return f'<a href="#{_anchor(row)}">{_breakable_task_name(row.name)}</a>'


def _breakable_task_name(name: str) -> str:
    """Writes a task's name with possible line breaks between its parameters."""
    return ",<wbr>".join(esc(name).split(","))


def date_text(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def time_text(seconds: float) -> str:
    if seconds < 0.01:
        return "< 0.01 s"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
