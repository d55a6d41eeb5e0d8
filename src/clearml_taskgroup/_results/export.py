"""Results as flat records, CSV, JSON and pandas, and as tables of text and HTML for people."""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._model.arguments import checked_path
from .._model.parameter_json import literal
from .._text import natural, printable, storable
from ..errors import MissingExtraError
from .rows import OF

if TYPE_CHECKING:
    from pathlib import Path

    import pandas

    from .._model.metrics import MetricKey
    from .rows import AggregateRow, Row


IDENTITY_COLUMNS = ("key", "name", "index", "id", "attempt", "status", "status_reason", "duration")
"""The columns of a task's record before those of the parameters."""
METRIC_COLUMNS = (*OF, "count", *(f"{name}_iteration" for name in ("first", "last", "min", "max")))
"""What a task's record has of each metric key: attributes of `Stats`."""
MAX_TABLE_LINES = 40
"""The number of lines that a table shows; the records have all of them."""


class Tabular:
    """Base class of sequences of rows that can be exported and shown as a table."""

    __slots__ = ()

    def to_records(self) -> list[dict[str, Any]]:
        """Returns a flat dict per row."""
        raise NotImplementedError

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a pandas data frame with a line per row and the columns of `to_records`.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "pandas", "to_pandas()") from None
        records = self.to_records()
        return pandas.DataFrame(records, columns=self._columns(records))

    def to_csv(self, path: str | Path | None = None) -> str:
        """Writes CSV with the columns of `to_records`, their names in the first line.

        Args:
            path: The file to write; None to only return the text.

        Returns:
            The text.
        """
        records = self.to_records()
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns(records), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in record.items()} for record in records)
        return _save(storable(text.getvalue()), path)

    def to_json(self, path: str | Path | None = None) -> str:
        """Writes the records as a JSON list; NaN and infinite numbers become null.

        Args:
            path: The file to write; None to only return the text.

        Returns:
            The text.
        """
        return _save(json.dumps(jsonable(self.to_records()), indent=2), path)

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        return list(dict.fromkeys(name for record in records for name in record))

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Returns the head and the cells of the table for people."""
        raise NotImplementedError

    def _notes(self) -> list[str]:
        """Returns the sentences below the table."""
        return []

    def __repr__(self) -> str:
        head, body = self._table()
        return "\n".join((text_table(head, body), *map(printable, self._notes())))

    def _repr_html_(self) -> str:
        head, body = self._table()
        notes = "".join(f"<div>{html.escape(printable(note))}</div>" for note in self._notes())
        return html_table(head, body) + notes


def row_record(row: Row, metric_keys: Sequence[MetricKey]) -> dict[str, Any]:
    """Builds the record of a task; None for values that the task does not have or that are unknown."""
    record: dict[str, Any] = {name: getattr(row, name) for name in IDENTITY_COLUMNS}
    params = row.params
    record |= {f"params.{name}": params[name] for name in sorted(params, key=natural)}
    for metric_key in metric_keys:
        text, stats = str(metric_key), row.stats.get(metric_key)
        for column in METRIC_COLUMNS:
            known = stats is not None and (stats.is_counted or column not in ("mean", "count"))
            known = known and not (column == "last" and metric_key in row.diverged)
            record[f"{text}.{column}"] = getattr(stats, column) if known else None
    for metric_key in row.diverged:
        record[f"{metric_key!s}.diverged"] = True
    return record


def column_names(
    identity: Sequence[str],
    rows: Sequence[Row | AggregateRow],
    records: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Returns the columns of records in order: identity, all parameters, metrics."""
    params = sorted({f"params.{name}" for row in rows for name in row.params}, key=natural)
    return list(dict.fromkeys([*identity, *params, *(name for record in records for name in record)]))


def jsonable(value: Any) -> Any:
    """Converts a value to JSON's types: NaN and infinite numbers to None, unknown objects to text."""
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [jsonable(item) for item in sorted(value, key=literal)]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def text_table(
    head: Sequence[str], body: Sequence[Sequence[str]], max_lines: int | None = MAX_TABLE_LINES
) -> str:
    """Writes a table as text, its first `max_lines` lines; all of them if that is None."""
    head, *shown = ([printable(cell) for cell in line] for line in [head, *body[:max_lines]])
    widths = [max(len(line[column]) for line in [head, *shown]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, ["-" * width for width in widths], *shown]
    ]
    if len(body) > len(shown):
        lines.append(f"… and {len(body) - len(shown)} more")
    return "\n".join(lines)


def html_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Writes a table as HTML for a notebook, its first 40 lines."""
    shown = body[:MAX_TABLE_LINES]

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(printable(cell))}</{tag}>" for cell in cells) + "</tr>"

    rows = "".join(line(cells, "td") for cells in shown)
    more = f"<div>… and {len(body) - len(shown)} more</div>" if len(body) > len(shown) else ""
    return f"<table><thead>{line(head, 'th')}</thead><tbody>{rows}</tbody></table>{more}"


def _cell(value: Any) -> Any:
    return literal(value) if isinstance(value, (list, dict, set)) else value


def _save(text: str, path: str | Path | None) -> str:
    if path is not None:
        checked_path("path", path).write_text(text, encoding="utf-8")
    return text
