"""Results as flat records, CSV, JSON and pandas, and as tables of text and HTML for people."""

from __future__ import annotations

import csv
import functools
import html
import io
import json
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._model.arguments import checked_path
from .._model.parameter_json import literal
from .._text import natural, printable, storable
from ..errors import ArgumentError, MissingExtraError
from .frames import arrow_package, arrow_stream, polars_frame
from .row_collection import R, RowCollection
from .rows import OF, Row, statistic
from .text_table import MAX_LINES, encodable, terminal_width, text_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas
    import polars

    from .._model.metrics import MetricKey
    from .compare import ComparedRow
    from .rows import AggregateRow, Of
    from .run_diff import DiffRow


IDENTITY_COLUMNS = ("key", "name", "index", "id", "attempt", "status", "status_reason", "duration")
"""The columns of a task's record before those of the parameters."""
METRIC_COLUMNS = (*OF, "count", *(f"{name}_iteration" for name in ("first", "last", "min", "max")))
"""What a task's record has of each metric key: attributes of `Stats`."""


class Tabular(RowCollection[R]):
    """Base class of rows that can be exported and shown as a table."""

    __slots__ = ()
    _kept_column = ""
    """The column that a narrow terminal omits last."""

    def to_records(self) -> list[dict[str, Any]]:
        """Returns a flat dict per row."""
        raise NotImplementedError

    def to_pandas(self, *, of: Of | None = None) -> pandas.DataFrame:
        """Returns a pandas data frame with a line per row and the columns of `to_records`.

        Args:
            of: For `Results`: one column per metric instead, `accuracy[split=val]`, with its `"last"`,
                `"first"`, `"min"`, `"max"` or `"mean"` value.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "pandas", "to_pandas()") from None
        records = self._records(of)
        return pandas.DataFrame(records, columns=self._columns(records))

    def to_polars(self, *, of: Of | None = None) -> polars.DataFrame:
        """Returns a polars data frame with a line per row and the columns of `to_records`.

        A column of parameters of several types is text; integers and floats together are floats.

        Args:
            of: As for `to_pandas`.

        Raises:
            MissingExtraError: polars is not installed.
        """
        records = self._records(of)
        return polars_frame(self._columns(records), records)

    @property
    def __arrow_c_stream__(self) -> Callable[..., object]:
        """Arrow's C stream interface, with the columns of `to_polars`, if pyarrow or polars is installed.

        `polars.DataFrame(results)`, `pyarrow.table(results)` and the like use it.
        """
        if arrow_package() is None:
            raise AttributeError("__arrow_c_stream__ needs pyarrow or polars")

        def stream(requested_schema: object = None) -> object:
            records = self.to_records()
            return arrow_stream(self._columns(records), records, requested_schema)

        return stream

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Raises TypeError; else `pandas.DataFrame(results)` would be one column of rows."""
        raise TypeError("rows are no array; write to_pandas(), to_polars() or to_records()")

    def to_csv(self, path: str | Path | None = None, *, of: Of | None = None) -> str:
        """Writes CSV with the columns of `to_records`, their names in the first line.

        Args:
            path: The file to write; None to only return the text.
            of: As for `to_pandas`.

        Returns:
            The text.
        """
        records = self._records(of)
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns(records), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in record.items()} for record in records)
        return _save(storable(text.getvalue()), path)

    def to_json(self, path: str | Path | None = None, *, of: Of | None = None) -> str:
        """Writes the records as a JSON list; NaN and infinite numbers become null.

        Args:
            path: The file to write; None to only return the text.
            of: As for `to_pandas`.

        Returns:
            The text.
        """
        return _save(json.dumps(jsonable(self._records(of)), indent=2), path)

    def _records(self, of: Of | None) -> list[dict[str, Any]]:
        if of is not None:
            raise ArgumentError(
                "of", of, "none: only results, a row per task, have several values of a metric"
            )
        return self.to_records()

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        return list(dict.fromkeys(name for record in records for name in record))

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Returns the head and the cells of the table for people."""
        raise NotImplementedError

    def _notes(self) -> list[str]:
        """Returns the sentences below the table."""
        raise NotImplementedError

    def __repr__(self) -> str:
        head, body = self._table()
        table = text_table(
            head,
            body,
            room=terminal_width(),
            elsewhere="to_csv() and to_records() have all columns",
            kept=self._kept_column,
        )
        return "\n".join(map(encodable, (*table.splitlines(), *self._notes())))

    def _repr_html_(self) -> str:
        head, body = self._table()
        notes = "".join(f"<div>{html.escape(printable(note))}</div>" for note in self._notes())
        return html_table(head, body) + notes


def _parameter_names(row: Row | AggregateRow | ComparedRow | DiffRow) -> Iterable[str]:
    return row.parameter_names if isinstance(row, Row) else row.params  # those of a task are copied


def row_record(row: Row, columns: Mapping[MetricKey, Sequence[str]], of: Of | None = None) -> dict[str, Any]:
    """Builds the record of a task; None for values that the task does not have or that are unknown.

    Args:
        row: The task.
        columns: The columns of each metric, as of `metric_columns`.
        of: The statistic that is the only column of each metric; None for a column for each statistic.
    """
    record: dict[str, Any] = {name: getattr(row, name) for name in IDENTITY_COLUMNS}
    params = row.params
    record |= {column: params[name] for column, name in _parameter_columns(tuple(params))}
    for metric_key, texts in columns.items():
        stats, has_diverged = row.stats.get(metric_key), metric_key in row.diverged
        if of is not None:
            counts = stats is not None and not (of == "last" and has_diverged)
            record[texts[0]] = statistic(stats, of) if stats is not None and counts else None
            continue
        if stats is not None and stats.is_counted and not has_diverged:
            record |= zip(texts, _all_of(stats), strict=True)
            continue
        for text, column in zip(texts, METRIC_COLUMNS, strict=True):
            known = stats is not None and (stats.is_counted or column not in ("mean", "count"))
            known = known and not (column == "last" and has_diverged)
            record[text] = getattr(stats, column) if known else None
    for metric_key in row.diverged if of is None else ():
        record[f"{metric_key!s}.diverged"] = True
    return record


_all_of = operator.attrgetter(*METRIC_COLUMNS)


@functools.lru_cache(maxsize=1024)  # mostly the same for all tasks of a group
def _parameter_columns(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((f"params.{name}", name) for name in sorted(names, key=natural))


def metric_columns(metric_keys: Iterable[MetricKey], of: Of | None) -> dict[MetricKey, list[str]]:
    """Returns the columns of each metric: one for each statistic, or only one for the statistic `of`."""
    if of is not None:
        return {metric_key: [str(metric_key)] for metric_key in metric_keys}
    return {key: [f"{key!s}.{column}" for column in METRIC_COLUMNS] for key in metric_keys}


def column_names(
    identity: Sequence[str],
    rows: Sequence[Row | AggregateRow | ComparedRow | DiffRow],
    records: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Returns the columns of records in order: identity, all parameters, metrics."""
    params = sorted({f"params.{name}" for row in rows for name in _parameter_names(row)}, key=natural)
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


def html_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Writes a table as HTML for a notebook, its first 40 lines."""
    shown = body[:MAX_LINES]

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
