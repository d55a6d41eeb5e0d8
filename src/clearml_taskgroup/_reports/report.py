"""Writes the HTML report of a run: its sections, their order and the defaults of its arguments."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from .._model.arguments import checked_path
from .._plots.parameters import varying_parameters
from .._results.filtering import parameter_names
from .._text import counted
from ..errors import ArgumentError, MissingExtraError
from .figures import ReportFigures, report_figures
from .html import compressed, compressed_json, esc, is_page, link, note, page, section
from .tables import Tables, date_text, time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .._model.metrics import MetricKey
    from .._results.results import Results


REPEAT_PARAMETERS = (
    "seed",
    "random_state",
    "random_seed",
    "fold",
    "cv_fold",
    "split_seed",
    "repeat",
    "replicate",
)
"""Parameters over which means are taken by default."""
MAX_METRICS_WITH_FIGURES = 6
"""The number of metrics that have figures by default."""
VALIDATION_WORDS = {"val", "valid", "validation", "dev", "eval", "test"}
"""Words in the name or the context of metrics of data that was not trained on."""


def write_report(
    results: Results,
    path: str | Path,
    *,
    title: str | None = None,
    metrics: Sequence[str] | None = None,
    over: str | Sequence[str] | None = None,
) -> Path:
    """Writes the report; see `Results.save_html`."""
    file = checked_path("path", path)
    if title is not None and not isinstance(title, str):
        raise ArgumentError("title", title, "text")
    plotly_script = _plotly_script()
    metric_keys = sorted(results.metric_keys, key=lambda metric_key: _rank(results, metric_key))
    with_figures = (
        metric_keys[:MAX_METRICS_WITH_FIGURES]
        if metrics is None
        else _given_metrics(results, metric_keys, metrics)
    )
    names = _repeat_parameters(results) if over is None else parameter_names(over)
    tables = Tables(results, metric_keys, results.aggregate(names) if names else None)
    figures = report_figures(results, with_figures, names)
    title = title if title is not None else str(results.about)
    sections = [
        _head(results, title, tables),
        tables.best(),
        tables.configurations(),
        _figure_section(results, figures, len(metric_keys) - len(with_figures)),
        tables.tasks(),
        tables.failures(),
        tables.details(),
        f"<footer>Made by clearml-taskgroup, {date_text(datetime.now(UTC).timestamp())}.</footer>",
        '<noscript><p class="banner">Sorting and figures need JavaScript.</p></noscript>',
    ]
    data = []
    if figures.figures:
        data = [
            plotly_script,
            compressed_json("figure-data", list(figures.figures.values())),
        ]
    file.write_text(page(title, [part for part in sections if part], data), encoding="utf-8")
    return file


def _plotly_script() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingExtraError("plotly", "figures", "save_html()") from None
    return _compressed_script(get_plotlyjs)


@cache
def _compressed_script(get_plotlyjs: Callable[[], str]) -> str:
    """Compresses plotly's script, once per process because it takes half a second."""
    return compressed("plotly-js", get_plotlyjs())


def _head(results: Results, title: str, tables: Tables) -> str:
    about = results.about
    facts = {"project": about.project, "group": about.name, "run": str(about.run_number)}
    if about.started is not None:
        facts["started"] = date_text(about.started)
    if len(results):
        facts["total task time"] = time_text(sum(row.duration for row in results))
    facts["mode"] = f"{about.mode}, {about.where}" if is_page(about.where) else about.mode
    listed = "".join(f"<div><dt>{name}</dt> <dd>{esc(fact)}</dd></div>" for name, fact in facts.items())
    statuses = Counter(row.status for row in results)
    chips = [f"<li><b>{len(results)}</b> {'task' if len(results) == 1 else 'tasks'}</li>"]
    chips += [
        f'<li class="{esc(status)}"><b>{count}</b> {esc(status.replace("_", " "))}</li>'
        for status, count in statuses.items()
    ]
    pages = [link(about.url, "the run in ClearML ↗")] if is_page(about.url) else []
    pages += [
        link(url, f"compare the tasks{f' from {100 * at + 1} on' if at else ''} ↗")
        for at, url in enumerate(about.compare_urls)
        if is_page(url)
    ]
    contents = {
        "best": "Best values",
        "configurations": "Configurations" if tables.means is not None and tables.any_value else "",
        "figures": "Figures",
        "tasks": "All tasks",
        "failures": "Failed and stopped" if tables.ended_badly else "",
        "details": "Details",
    }
    partial = '<p class="banner">Some tasks are still open: the results are not final.</p>'
    parts = [
        f"<h1>{esc(title)}</h1>",
        f'<dl class="facts">{listed}</dl>',
        f'<ul class="chips">{"".join(chips)}</ul>',
        f"<p>{' · '.join(pages)}</p>" if pages else "",
        partial if results.partial else "",
        "<nav>",
        *(f'<a href="#{name}">{text}</a>' for name, text in contents.items() if text),
        "</nav>",
    ]
    return "<header>\n" + "\n".join(part for part in parts if part) + "\n</header>"


def _figure_section(results: Results, figures: ReportFigures, without: int) -> str:
    if not figures.figures:
        return section("figures", "Figures", note(figures.problem or "There are no values to draw."))
    tabs = [
        f'<button type="button" aria-pressed="false">{esc(results.label(metric_key))}</button>'
        for metric_key in figures.figures
    ]
    others = f"{counted(without, 'metric')} more without figures; save_html(…, metrics=[…]) selects them."
    return section(
        "figures",
        "Figures",
        note(figures.problem) if figures.problem else "",
        note(others) if without else "",
        f'<div class="tabs" role="group" aria-label="metric">{"".join(tabs)}</div>',
        '<div id="plots" class="plots"></div>',
    )


def _given_metrics(
    results: Results, metric_keys: Sequence[MetricKey], metrics: Sequence[str]
) -> list[MetricKey]:
    known = list(dict.fromkeys(metric for metric, _ in metric_keys))
    vocabulary = results._lookup.vocabulary
    found = []
    listed: tuple[Any, ...]
    try:
        listed = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    except TypeError:
        listed = (metrics,)
    for wanted in listed:
        if not isinstance(wanted, str):
            raise ArgumentError("metrics", metrics, "names of metrics")
        name = wanted
        if vocabulary is not None and wanted in vocabulary:
            name, _ = vocabulary.resolve(wanted, {})
        if name not in known:
            raise ArgumentError("metrics", wanted, f"metrics among {', '.join(known) or '(none)'}")
        found += [metric_key for metric_key in metric_keys if metric_key[0] == name]
    return list(dict.fromkeys(found))


def _rank(results: Results, metric_key: MetricKey) -> tuple[bool, bool]:
    """Sorts metrics whose mode is known first, among them those of validation."""
    words = {str(value).lower() for _, value in metric_key[1]}
    words |= set(metric_key[0].lower().replace("/", "_").split("_"))
    return results.mode_of(metric_key[0]) is None, not words & VALIDATION_WORDS


def _repeat_parameters(results: Results) -> tuple[str, ...]:
    """Finds the parameters that only repeat a configuration, as seed and fold."""
    names = tuple(
        name
        for name in varying_parameters(results.rows)
        if name.rpartition("/")[2].lower() in REPEAT_PARAMETERS
    )
    if not names:
        return ()
    repeated = any(row.n + len(row.left_out) > 1 for row in results.aggregate(names))
    return names if repeated else ()
