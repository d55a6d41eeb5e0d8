"""A task's results as a flat record: a line of a file or a data frame."""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._text import natural
from ..errors import MissingExtraError
from .rows import OF

if TYPE_CHECKING:
    import pandas

    from .._model.metrics import MetricKey
    from .rows import AggregateRow, Row


IDENTITY = ("key", "name", "index", "id", "attempt", "status", "status_reason", "duration")
PARTS = (*OF, "count", *(f"{part}_iteration" for part in ("first", "last", "min", "max")))


def flat_record(row: Row, metric_keys: Sequence[MetricKey]) -> dict[str, Any]:
    """Writes a row, with all of some measures; None for what it does not have or nobody knows."""
    record: dict[str, Any] = {name: getattr(row, name) for name in IDENTITY}
    record |= {f"params.{name}": row.params[name] for name in sorted(row.params, key=natural)}
    for metric_key in metric_keys:
        text, stats = str(metric_key), row.stats.get(metric_key)
        for part in PARTS:
            known = stats is not None and (stats.is_counted or part not in ("mean", "count"))
            record[f"{text}.{part}"] = getattr(stats, part) if known else None
    return record


def columns_of(
    identity: Sequence[str],
    rows: Sequence[Row | AggregateRow],
    records: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Gives the names that records have: what a row is, all parameters, what was reported."""
    params = sorted({f"params.{name}" for row in rows for name in row.params}, key=natural)
    return list(dict.fromkeys([*identity, *params, *(name for record in records for name in record)]))


MOST_LINES = 40
"""How many lines a table shows a person; the others are in the records."""


class Tabular:
    """Rows that can be taken elsewhere."""

    __slots__ = ()

    def to_records(self) -> list[dict[str, Any]]:
        """Gives a flat dict for each row."""
        raise NotImplementedError

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """Gives the names that records have, in the order of their first appearance."""
        return list(dict.fromkeys(name for record in records for name in record))

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Gives the head and the cells of what a person is shown."""
        raise NotImplementedError

    def _notes(self) -> list[str]:
        """What a person must know beside the table, a sentence each."""
        return []

    def to_pandas(self) -> pandas.DataFrame:
        """Gives a pandas data frame, a line for each row, with the columns of `to_records`.

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
        """Writes CSV with a line of column names, those of `to_records`.

        Args:
            path: The file to write; None for the text alone.

        Returns:
            The text.
        """
        records = self.to_records()
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns(records), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return _written(text.getvalue(), path)

    def to_json(self, path: str | Path | None = None) -> str:
        """Writes the records as a JSON list; what is not a number, or infinite, becomes null.

        Args:
            path: The file to write; None for the text alone.

        Returns:
            The text.
        """
        return _written(json.dumps(jsonable(self.to_records()), indent=2), path)

    def __repr__(self) -> str:
        head, body = self._table()
        return "\n".join((text_table(head, body), *self._notes()))

    def _repr_html_(self) -> str:
        head, body = self._table()
        notes = "".join(f"<div>{html.escape(note)}</div>" for note in self._notes())
        return html_table(head, body) + notes


def _written(text: str, path: str | Path | None) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def jsonable(value: Any) -> Any:
    """Brings a value into the forms that JSON knows."""
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def text_table(head: Sequence[str], body: Sequence[Sequence[str]], most: int | None = MOST_LINES) -> str:
    """Writes a table for people, its first lines; all of them where `most` is None."""
    shown = body[:most]
    widths = [max(len(line[column]) for line in [head, *shown]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, ["-" * width for width in widths], *shown]
    ]
    if len(body) > len(shown):
        lines.append(f"… and {len(body) - len(shown)} more")
    return "\n".join(lines)


def html_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Writes a table for a notebook, its first 40 lines."""
    shown = body[:MOST_LINES]

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    rows = "".join(line(cells, "td") for cells in shown)
    more = f"<div>… and {len(body) - len(shown)} more</div>" if len(body) > len(shown) else ""
    return f"<table><thead>{line(head, 'th')}</thead><tbody>{rows}</tbody></table>{more}"
