"""Parts that figures share: layout, notes, hover texts, cell axes, colour bars, axis limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .._results.aggregate import standard_deviation
from .._results.scales import limits
from .._results.value_text import escape, number_texts, shorten, shorten_start, value_text
from .._text import counted
from .colours import DARK_IS_BEST, Ranks, colour_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .._results.rows import Mode, Row, RowValue

T = TypeVar("T")

Figure = dict[str, Any]
"""A figure in plotly's JSON form: `{"data": […], "layout": {…}}`."""
MAX_X_TITLE_CHARS, MAX_Y_TITLE_CHARS = 50, 34
"""The number of characters of a name along an axis."""
MAX_NOTE_CHARS = 80
"""The number of characters of a line below the title."""
_NOTES = "<br><sub>"
"""What stands between a title and its notes."""
MAX_HOVER_PARAMETERS = 14
"""The number of parameters in a hover text."""
MAX_LINES = 1_000
"""The number of lines of a figure. More hide each other, and a browser takes minutes to draw 10,000."""
MAX_AXIS_HEIGHTS = 1e12
"""Values are drawn at most this many axis heights away; plotly cannot draw coordinates beyond 1e21."""
AXIS_COLOUR = "#9aa0a8"


_LIGHT_AXIS = {"gridcolor": "#e6e8ec", "linecolor": AXIS_COLOUR, "showline": True, "ticks": ""}
_LIGHT_THEME: Figure = {
    "layout": {
        "font": {
            "family": "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
            "color": "#1f2630",
        },
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "namelength": -1},
        "xaxis": _LIGHT_AXIS,
        "yaxis": _LIGHT_AXIS,
        "annotationdefaults": {"bgcolor": "rgba(255,255,255,0.75)", "borderpad": 1},
    }
}
"""Plotly's template of all figures; another one can take its place, as ClearML's page does."""


def base_layout(title: str, notes: Sequence[str] = (), *, x: str = "", y: str = "") -> Figure:
    axis = {"zeroline": False, "automargin": True}
    place = {"x": 0.01, "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 14}}
    layout: Figure = {
        "template": _LIGHT_THEME,
        "title": {"text": escape(title), "font": {"size": 16}} | place,
        "margin": {"l": 64, "r": 24, "t": 56, "b": 60},
        "xaxis": {**axis, "title": {"text": escape(shorten_start(x, MAX_X_TITLE_CHARS)), "standoff": 10}},
        "yaxis": {**axis, "title": {"text": escape(shorten_start(y, MAX_Y_TITLE_CHARS)), "standoff": 10}},
        "showlegend": False,
    }
    for note in notes:
        add_note(layout, note)
    return layout


def empty_figure(title: str, note: str) -> Figure:
    """Returns a figure with nothing but a note why it is empty."""
    layout = base_layout(title)
    layout["xaxis"] |= {"visible": False}
    layout["yaxis"] |= {"visible": False}
    place = {"showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    return {"data": [], "layout": layout | {"annotations": [{"text": escape(note)} | place]}}


def add_note(layout: Figure, note: str) -> None:
    """Adds a sentence below the title, in a new line if the last one has no room."""
    lines = notes_of(layout)
    if lines and len(lines[-1]) + len(note) <= MAX_NOTE_CHARS:
        lines[-1] += f"; {escape(note)}"
    else:
        lines.append(escape(note))
    title = layout["title"]["text"].partition(_NOTES)[0]
    layout["title"]["text"] = f"{title}{_NOTES}{'<br>'.join(lines)}</sub>"
    layout["margin"]["t"] = 52 + 16 * len(lines)
    layout["title"]["pad"] = {"t": 24}  # plotly moves the first line up with each further line


def notes_of(layout: Mapping[str, Any]) -> list[str]:
    """Returns the lines below the title, escaped."""
    title = layout.get("title")
    notes = str(title["text"]).partition(_NOTES)[2] if isinstance(title, dict) else ""
    return notes.removesuffix("</sub>").split("<br>") if notes else []


def skipped_note(skipped: int) -> str:
    return f"without {counted(skipped, 'task')} (failed, stopped or no value)" if skipped else ""


def title_by(label: str, *names: str) -> str:
    """Writes a figure's title, `loss by C and seed`, short enough for a narrow figure."""
    label, room = shorten(label, 26), 48 - 5 * (len(names) - 1)
    fits = len(label) + sum(map(len, names)) <= room
    max_chars = room if fits else max(12, (room - len(label)) // len(names))
    return f"{label} by {' and '.join(shorten_start(name, max_chars) for name in names)}"


def category_axis(names: Sequence[str], shorter: Callable[[str], str] = shorten) -> Figure:
    """Returns an axis of texts in this order, which are shortened at the ticks only."""
    return {
        "type": "category",
        "categoryarray": list(map(escape, names)),
        "labelalias": {escape(name): escape(shorter(name)) for name in names if shorter(name) != name},
        "range": [-0.5, len(names) - 0.5],
    }


def spread_text(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "1 task"
    return (
        f"± {standard_deviation(values):.3g} (std), n = {len(values)}, {min(values):.4g} … {max(values):.4g}"
    )


def row_hover_text(row: Row) -> str:
    """Writes the hover text of a task: its name, status and parameters. It is made once for all figures."""
    if (known := row._texts.get("hover")) is None:
        status = "" if row.status == "completed" else f" ({row.status.replace('_', ' ')})"
        known = row._texts["hover"] = hover_text(row.name + status, row._params)
    return known


def task_hover(row_values: Sequence[RowValue], label: str) -> Figure:
    """Returns the hover texts of points, one for each task; the tasks' own are the same everywhere."""
    return {
        "hovertext": [row_hover_text(row) for row, _ in row_values],
        "customdata": [f"{value:.5g}" for _, value in row_values],
        "hovertemplate": f"%{{hovertext}}<br>{escape(label)} = %{{customdata}}<extra></extra>",
    }


def hover_text(name: str, params: Mapping[str, Any]) -> str:
    shown = list(params.items())[:MAX_HOVER_PARAMETERS]
    lines = [
        f"{escape(shorten(name, 50))} = {escape(shorten(value_text(value), 50))}" for name, value in shown
    ]
    more = [f"and {len(params) - len(shown)} more"] if len(params) > len(shown) else []
    return "<br>".join([f"<b>{escape(shorten(name, 80))}</b>", *lines, *more])


def rank_colour_bar(
    values: Sequence[float], label: str, mode: Mode | None, ranks: Ranks = DARK_IS_BEST
) -> Figure:
    """Returns a trace that draws only the colour bar of ranks, with the values at the quartiles."""
    ordered = sorted(values)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    bar = colour_bar(label, mode, ranks) | {
        "tickvals": ticks,
        "ticktext": number_texts([ordered[round(tick * (len(ordered) - 1))] for tick in ticks]),
    }
    scale = colour_scale(mode == "min", ranks)
    marker = {"color": [0], "cmin": 0, "cmax": 1, "colorscale": scale, "colorbar": bar}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "marker": marker | {"showscale": True},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def best_colour(mode: Mode | None, ranks: Ranks = DARK_IS_BEST) -> str:
    """Says what the one end of the colour scale is: `dark is best`."""
    return f"{ranks.best} is {'greatest' if mode is None else 'best'}"


def colour_bar(label: str, mode: Mode | None, ranks: Ranks = DARK_IS_BEST) -> Figure:
    return {
        "title": {"text": f"{escape(shorten(label, 40))}<br>{best_colour(mode, ranks)}", "side": "right"},
        "thickness": 14,
        "outlinewidth": 0,
    }


def rounded(values: Sequence[float]) -> list[float]:
    """Rounds to six digits, which is more than a screen shows and makes figures smaller."""
    return [float(f"{value:.6g}") for value in values]


def limit_y_axis(figure: Figure, values: Sequence[float]) -> None:
    """Excludes outliers from the y axis if they would compress the rest to a line.

    Args:
        figure: The figure, with the values as `y` of its traces. It is changed in place.
        values: The values that the axis must show unless they are outliers.
    """
    low, high = limits(values)
    if (low, high) == (min(values), max(values)):
        return
    layout, height = figure["layout"], high - low
    layout["yaxis"]["range"] = [low - 0.05 * height, high + 0.05 * height]
    add_note(layout, "some values are outside of the axis: a double click shows them")
    lowest, highest = low - MAX_AXIS_HEIGHTS * height, high + MAX_AXIS_HEIGHTS * height
    if min(values) < lowest or max(values) > highest:
        add_note(layout, f"those beyond {MAX_AXIS_HEIGHTS * height:.0e} are drawn there")
        for trace in figure["data"]:
            trace["y"] = [y if y is None else min(max(y, lowest), highest) for y in trace["y"]]


def drawn_lines(order: Sequence[T]) -> list[T]:
    """Picks the lines that are drawn, the best one last: of too many, the best half and some others."""
    half = MAX_LINES // 2
    return [*evenly_spaced(order[:-half], half), *order[-half:]] if len(order) > MAX_LINES else list(order)


def lines_text(number: int, what: str) -> str:
    """Writes the number of lines, and which of them are drawn."""
    half = MAX_LINES // 2
    drawn = f" (drawn: the best {half} and {half} others)" if number > MAX_LINES else ""
    return f"{number:,} {what}{drawn}"


def evenly_spaced(items: Sequence[T], max_items: int) -> list[T]:
    """Picks items at even distances in the list, the first and the last among them."""
    if len(items) <= max_items:
        return list(items)
    return [items[round(at * (len(items) - 1) / (max_items - 1))] for at in range(max_items)]


def join_sentences(*sentences: str) -> str:
    """Joins sentences that are not empty."""
    return "; ".join(sentence for sentence in sentences if sentence)
