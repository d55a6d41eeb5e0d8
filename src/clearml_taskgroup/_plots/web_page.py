"""Figures as ClearML's web page shows them well, in its light and in its dark theme.

The page draws a title as plain text in one line, and sorts by it. Its own font, background and grid suit its
theme; what a figure brings would stay as it is. Only plotly's annotations have markup and several lines.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from .layout import Figure, notes_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FULL_WIDTH_PX = 800
"""A width that makes the page show one figure in a row; with a greater one, a small page shows none."""
NOTE_HEIGHT_PX, TITLE_HEIGHT_PX, TABLE_HEIGHT_PX = 15, 62, 358
"""Heights on the page: of a line, of a plot's title with the tool bar, and of a table below that."""
MAX_NOTE_CHARS = 120
"""The number of characters in a line of notes."""


def web_figure(figure: Mapping[str, Any], title: str, notes: Sequence[str] = ()) -> Figure:
    """Returns a figure for ClearML's web page.

    Args:
        figure: The figure, as for a report. Its own notes are kept, its title is not.
        title: The title, as plain text.
        notes: More notes, escaped.
    """
    layout = {name: value for name, value in figure["layout"].items() if name not in ("template", "title")}
    annotations = list(layout.get("annotations", ()))
    lines = [
        line
        for note in (*notes_of(figure["layout"]), *notes)
        for line in textwrap.wrap(note, MAX_NOTE_CHARS, break_long_words=False, break_on_hyphens=False)
    ]
    data = list(figure["data"])
    if lines and data and data[0].get("type") == "table":  # whose upper margin the page sets
        below = min(0.5, (len(lines) + 1) * NOTE_HEIGHT_PX / TABLE_HEIGHT_PX)
        data[0] = data[0] | {"domain": {"y": [below, 1]}}
        annotations.append(_note(lines, below, "top"))
    elif lines:
        annotations.append(_note(lines, 1, "bottom"))
    if annotations:
        layout["annotations"] = annotations
    if "margin" in layout:  # the legend is below the plot
        bottom = 110 if layout.get("showlegend") else layout["margin"]["b"]
        top = TITLE_HEIGHT_PX + NOTE_HEIGHT_PX * len(lines)
        layout["margin"] = {**layout["margin"], "b": bottom, "t": top}
    return {"data": data, "layout": layout | {"title": title, "width": FULL_WIDTH_PX}}


def _note(lines: Sequence[str], y: float, anchor: str) -> Figure:
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": y, "xanchor": "left", "yanchor": anchor}
    font = {"size": 11}
    return {"text": "<br>".join(lines), "showarrow": False, "align": "left", "font": font} | place
