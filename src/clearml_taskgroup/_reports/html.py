"""Writes HTML: sortable tables, sections, links, compressed data and the whole page."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from .._results.export import jsonable
from .._text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
"""Makes the browser refuse every request, so that a report never needs the network."""


def esc(text: Any) -> str:
    words = re.split(r"(\s+)", str(text))  # white space does nothing in HTML
    return html.escape("".join(word if word.isspace() else printable(word) for word in words), quote=True)


def link(url: str | None, text: str) -> str:
    """Writes a link; only text if the URL is not a web page, as for a folder on a disk."""
    if not is_page(url):
        return esc(text)
    return f'<a href="{esc(url)}" target="_blank" rel="noopener noreferrer">{esc(text)}</a>'


def is_page(url: str | None) -> bool:
    try:
        return url is not None and urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


@attrs.frozen
class Cell:
    """A cell of a table.

    Attributes:
        html: The content, already escaped.
        number: The number to sort by; None for text.
        is_missing: Whether there is no value; such cells are sorted last.
        classes: CSS classes.
    """

    html: str
    number: float | None = None
    is_missing: bool = False
    classes: str = ""

    def to_html(self, numeric: bool) -> str:
        """Writes the cell, aligned to the right if its column has only numbers."""
        classes = [self.classes, "n" if numeric else "", "none" if self.is_missing else ""]
        joined = " ".join(name for name in classes if name)
        attribute = f' class="{joined}"' if joined else ""
        number = f' data-n="{self.number!r}"' if self.number is not None else ""
        return f"<td{attribute}{number}>{self.html}</td>"


MISSING = Cell("–", is_missing=True)


def text_cell(text: Any, classes: str = "") -> Cell:
    return Cell(esc(text), classes=classes) if str(text) else MISSING


@attrs.frozen
class Column:
    """The head of a column, and the order in which the first click sorts."""

    title: str
    first: str = "ascending"


@attrs.frozen
class Line:
    cells: Sequence[Cell]
    classes: str = ""

    def to_html(self, numeric: Sequence[bool]) -> str:
        attribute = f' class="{self.classes}"' if self.classes else ""
        cells = (cell.to_html(is_numeric) for cell, is_numeric in zip(self.cells, numeric, strict=True))
        return f"<tr{attribute}>{''.join(cells)}</tr>"


def breakable(name: str) -> str:
    """Writes a name with possible line breaks for a narrow column: `optimizer.`, `learning_`, `rate`."""
    return re.sub(r"(?<=[._/-])(?=\w)|(?<=\w)(?=\[)", "<wbr>", esc(name))


def table(
    columns: Sequence[Column], lines: Iterable[Line], *, sortable: bool = True, label: str, caption: str = ""
) -> str:
    """Writes a table.

    Args:
        columns: The columns.
        lines: The lines.
        sortable: Whether a click on a column's head sorts.
        label: The table's name for screen readers.
        caption: A sentence above the table.
    """
    lines, heads, numeric = list(lines), [], []
    for at, column in enumerate(columns):
        title = breakable(column.title)
        title = f'<button type="button">{title}</button>' if sortable else title
        first = ' data-first="descending"' if sortable and column.first == "descending" else ""
        cells = [line.cells[at] for line in lines if not line.cells[at].is_missing]
        numeric.append(all(cell.number is not None for cell in cells))
        kind = ' class="n"' if numeric[-1] else ""
        heads.append(f'<th scope="col"{kind}{first}>{title}</th>')
    body = "\n".join(line.to_html(numeric) for line in lines)
    above = f"<caption><span>{esc(caption)}</span></caption>" if caption else ""
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(label)}"><table{kind}>'
        f"{above}<thead><tr>{''.join(heads)}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def section(name: str, title: str, *parts: str) -> str:
    inside = "\n".join(part for part in parts if part)
    return f'<section id="{name}">\n<h2>{esc(title)}</h2>\n{inside}\n</section>'


def note(text: str) -> str:
    return f'<p class="note">{esc(text)}</p>'


def compressed(name: str, text: str) -> str:
    """Compresses text for the page's script: a third of the size, and without characters of HTML."""
    data = text.encode()
    compressor = zlib.compressobj(9, wbits=-15)
    inside = base64.b64encode(compressor.compress(data) + compressor.flush()).decode()
    return f'<script type="text/plain" id="{name}" data-size="{len(data)}">{inside}</script>'


def compressed_json(name: str, value: Any) -> str:
    return compressed(name, json.dumps(jsonable(value), separators=(",", ":")))


def page(title: str, sections: Sequence[str], data: Sequence[str]) -> str:
    """Writes the whole file.

    Args:
        title: The title of the browser's tab.
        sections: The visible content.
        data: Compressed scripts and figures.
    """
    assets = files(__package__) / "assets"
    style, script = ((assets / name).read_text("utf-8") for name in ("report.css", "report.js"))
    inside = "\n".join((*sections, *data))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="clearml-taskgroup">
<link rel="icon" href="data:,">
<title>{esc(title)}</title>
<style>
{style}</style>
</head>
<body>
{inside}
<script>
{script}</script>
</body>
</html>
"""
