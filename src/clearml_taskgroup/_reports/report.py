"""Writes the HTML report of a run: its sections, their order and the defaults of its arguments."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .._clearml.pages import page_of
from .._model.arguments import checked_path
from .._results.filtering import parameter_names
from .._text import counted
from ..errors import ArgumentError, NoSuchResultError
from .comparison import best_sentence, compare_to_best, repeat_parameters
from .figures import report_figures
from .html_page import Packed, plotly_script, report_template
from .metric_order import metric_rank
from .tables import Tables, comparison_table, time_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .._model.metrics import MetricKey
    from .._results.results import Results
    from .._results.rows import About


MAX_METRICS_WITH_FIGURES = 6
"""The number of metrics that have figures by default."""


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
    render, plotly = report_template(), plotly_script()
    metric_keys = sorted(results.metric_keys, key=lambda metric_key: metric_rank(results, metric_key))
    with_figures = (
        metric_keys[:MAX_METRICS_WITH_FIGURES]
        if metrics is None
        else _given_metrics(results, metric_keys, metrics)
    )
    names = repeat_parameters(results) if over is None else parameter_names(over)
    tables = Tables(results, metric_keys, results.aggregate(names) if names else None)
    figures, problem = report_figures(results, with_figures, names)
    about = results.about
    comparisons = compare_to_best(results, with_figures, names)
    text = render(
        title=title if title is not None else str(about),
        facts=_facts(results),
        count=len(results),
        statuses=Counter(row.status for row in results),
        pages=_pages(about),
        partial=results.partial,
        best=tables.best(),
        configurations=tables.configurations(),
        verdict=best_sentence(comparisons[0]) if comparisons else "",
        comparisons=list(map(comparison_table, comparisons)),
        figures=Packed.figures(list(figures.values())) if figures else None,
        figure_labels=list(map(results.label, figures)),
        figure_notes=list(_figure_notes(bool(figures), problem, len(metric_keys) - len(with_figures))),
        plotly=plotly,
        tasks=tables.tasks(),
        failures=tables.failures(),
        details=Packed.json(tables.details()),
        now=_date_text(datetime.now(UTC).timestamp()),
    )
    file.write_text(text, encoding="utf-8")
    return file


def _facts(results: Results) -> dict[str, str]:
    about = results.about
    text = f" (run={about.shared!r})" if about.shared else ""
    facts = {"project": about.project, "group": about.name, "run": f"{about.run_number}{text}"}
    if about.started is not None:
        facts["started"] = _date_text(about.started)
    if len(results):
        facts["total task time"] = time_text(sum(row.duration for row in results))
    facts["mode"] = f"{about.mode}, {about.where}" if page_of(about.where) else about.mode
    return facts


def _pages(about: About) -> dict[str, str]:
    """Returns the text and the address of links to ClearML's pages."""
    pages = {"the run in ClearML": page_of(about.url)}
    for at, url in enumerate(about.compare_urls):
        pages[f"compare the tasks{f' from {100 * at + 1} on' if at else ''}"] = page_of(url)
    return {text: address for text, address in pages.items() if address}


def _figure_notes(has_figures: bool, problem: str, without: int) -> Iterator[str]:
    if problem:
        yield problem
    elif not has_figures:
        yield "There are no values to draw."
    if has_figures and without:
        yield f"{counted(without, 'metric')} more without figures; save_html(…, metrics=[…]) selects them."


def _date_text(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _given_metrics(
    results: Results, metric_keys: Sequence[MetricKey], metrics: Sequence[str]
) -> list[MetricKey]:
    found = []
    listed: tuple[Any, ...]
    try:
        listed = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    except TypeError:
        listed = (metrics,)
    for wanted in listed:
        if not isinstance(wanted, str):
            raise ArgumentError("metrics", metrics, "names of metrics")
        try:
            found += results._lookup.find_all(wanted, metric_keys)
        except NoSuchResultError as error:
            hint = f" (did you mean {error.suggestion}?)" if error.suggestion else ""
            expected = f"metrics among {', '.join(error.known) or '(none)'}{hint}"
            raise ArgumentError("metrics", wanted, expected) from None
    return list(dict.fromkeys(found))
