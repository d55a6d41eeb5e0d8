"""One HTML file that loads nothing: tables that can be sorted, links, packed scripts and figures."""

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

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
"""Tells the browser to refuse every request, so that nothing can be loaded by accident."""


def esc(text: Any) -> str:
    """Makes text harmless inside HTML, between tags and in attributes."""
    return html.escape(str(text), quote=True)


def link(url: str | None, text: str) -> str:
    """Links to a page; what is no page, as a folder on a disk, stays text."""
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
        html: What it shows, already escaped.
        number: What it is sorted by; None for text.
        is_missing: Whether there is no value; such cells are sorted last.
        classes: Words for the style sheet.
    """

    html: str
    number: float | None = None
    is_missing: bool = False
    classes: str = ""

    def written(self, numeric: bool) -> str:
        """Writes it, to the right if its column has nothing but numbers."""
        lookup = [self.classes, "n" if numeric else "", "none" if self.is_missing else ""]
        joined = " ".join(word for word in lookup if word)
        kind = f' class="{joined}"' if joined else ""
        number = f' data-n="{self.number!r}"' if self.number is not None else ""
        return f"<td{kind}{number}>{self.html}</td>"


MISSING = Cell("–", is_missing=True)


def text_cell(text: Any, classes: str = "") -> Cell:
    return Cell(esc(text), classes=classes) if str(text) else MISSING


@attrs.frozen
class Column:
    """The head of a column: what it is called, and which way a first click sorts."""

    title: str
    first: str = "ascending"


@attrs.frozen
class Line:
    """A line of a table."""

    cells: Sequence[Cell]
    classes: str = ""

    def written(self, numeric: Sequence[bool]) -> str:
        kind = f' class="{self.classes}"' if self.classes else ""
        cells = (cell.written(is_numeric) for cell, is_numeric in zip(self.cells, numeric, strict=True))
        return f"<tr{kind}>{''.join(cells)}</tr>"


def breakable(name: str) -> str:
    """Writes a name so that a narrow column may break it: `optimizer.` and `learning_` and `rate`."""
    return re.sub(r"(?<=[._/-])(?=\w)|(?<=\w)(?=\[)", "<wbr>", esc(name))


def table(
    columns: Sequence[Column], lines: Iterable[Line], *, sortable: bool = True, label: str, caption: str = ""
) -> str:
    """Writes a table; the heads of a sortable one are buttons.

    Args:
        columns: Its columns.
        lines: Its lines.
        sortable: Whether a click on a head sorts.
        label: What it is, for those who hear it.
        caption: What it shows, in a sentence above it.
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
    body = "\n".join(line.written(numeric) for line in lines)
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


def packed(name: str, text: str) -> str:
    """Packs a text for the page's script: a third of the size, and nothing in it is markup."""
    data = text.encode()
    packer = zlib.compressobj(9, wbits=-15)
    inside = base64.b64encode(packer.compress(data) + packer.flush()).decode()
    return f'<script type="text/plain" id="{name}" data-size="{len(data)}">{inside}</script>'


def packed_json(name: str, value: Any) -> str:
    return packed(name, json.dumps(jsonable(value), separators=(",", ":")))


def page(title: str, sections: Sequence[str], data: Sequence[str]) -> str:
    """Writes the whole file.

    Args:
        title: What the browser's tab says.
        sections: What is seen, as HTML.
        data: Packed scripts and figures.
    """
    assets = files(__package__) / "assets"
    style, script = ((assets / name).read_text("utf-8") for name in ("report.css", "report.js"))
    inside = "\n".join((*sections, *data))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
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
