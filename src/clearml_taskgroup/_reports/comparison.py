"""Comparisons with the best configuration, for the HTML report and the parent task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._plots.web_page import web_figure
from .._results.compare import CHOOSE_BEFORE, CONFIDENCE, NO_SPREAD, compare, configurations
from .._results.parameters import is_repeat, varying_parameters
from .._results.value_text import escape
from .._text import some
from .page_tables import table_plot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._model.metrics import MetricKey
    from .._plots.layout import Figure
    from .._results.compare import ComparedRow, Comparison
    from .._results.results import Results

MAX_NAMES = 3
"""The number of configurations that a sentence names of each kind."""
_VERDICT_WORDS = {
    "worse": ("is worse", "are worse"),
    "equal": ("is equal in all pairs", "are equal in all pairs"),
    NO_SPREAD: ("differs by the same amount in all pairs", "differ by the same amount in all pairs"),
    "better": ("is better in the pairs that both have", "are better in the pairs that both have"),
    "too few pairs": ("has too few pairs to tell", "have too few pairs to tell"),
}
MAX_LINES = 30
"""The number of configurations in a comparison's table, those with the best means."""


def repeat_parameters(results: Results) -> tuple[str, ...]:
    """Finds the parameters that only repeat a configuration, as seed and fold."""
    known = list(filter(is_repeat, results.parameters))
    names = tuple(name for name in varying_parameters(results.rows, known)) if known else ()
    if not names:
        return ()
    repeated = any(len(one.rows) > 1 for one in configurations(results.rows, names))
    return names if repeated else ()


def compare_to_best(
    results: Results, metric_keys: Iterable[MetricKey], over: tuple[str, ...]
) -> list[Comparison]:
    """Compares all configurations with the best one, for each metric of which the best is known.

    A metric for which no configuration has two pairs with the best is skipped.
    """
    known = configurations(results.rows, over) if over else []
    found = []
    for metric_key in metric_keys:
        mode, values = results.mode_of(metric_key.metric), results._values(metric_key)
        if mode is None or not values or len(known) < 2:
            continue
        label = results.label(metric_key)
        compared = compare(known, values, metric=str(metric_key), label=label, mode=mode, over=over)
        if any(row.n > 1 for row in compared):
            found.append(compared)
    return found


def shown_comparison(compared: Comparison) -> tuple[list[str], list[list[str]], list[str]]:
    """Returns heading, lines and notes of a table."""
    head, body = compared._table()
    notes = [note.removesuffix(CHOOSE_BEFORE) for note in compared._notes()]  # a report has no to=
    if len(body) > MAX_LINES:
        notes.insert(0, f"the best {MAX_LINES} of {len(body)} configurations; results.compare(…) has all")
    return head, body[:MAX_LINES], notes


def best_sentence(compared: Comparison) -> str:
    """Says which configuration is the best, and how certain that is.

    Args:
        compared: Configurations, compared with the best one.
    """
    unclear = [row for row in compared if row.verdict == "unclear"]
    text = f"{compared.reference.name} with {compared.reference.mean} is best"
    if unclear:
        text += f", but not clearly better than {_difference(unclear[0])}"
        text += f" and {some([row.name for row in unclear[1:]], MAX_NAMES)}" if unclear[1:] else ""
    parts = [text]
    for verdict, words in _VERDICT_WORDS.items():
        names = [row.name for row in compared if row.verdict == verdict]
        if names:
            parts.append(f"{some(names, MAX_NAMES)} {words[len(names) > 1]}")
    return f"{compared.label}: {'; '.join(parts)}."


def _difference(row: ComparedRow) -> str:
    """Returns the name of a configuration and the difference of the best one to it."""
    low, high = row.interval or (math.nan, math.nan)  # of an unclear difference it is known
    interval = f"{CONFIDENCE:.0%} interval".replace("%", " %")
    numbers = (
        f"{-row.difference:+.3g}, {interval} {-high:.3g} to {-low:.3g}, p (Holm) = {row.p_corrected:.2g}"
    )
    return f"{row.name} ({numbers})"


def comparison_plot(compared: Comparison, title: str) -> Figure:
    """Builds the table for the parent's page."""
    head, body, notes = shown_comparison(compared)
    return web_figure(table_plot(head, body), title, [escape("; ".join(notes))])
