"""Records as columns, for polars and Arrow: each column has one type."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from .._model.parameter_json import literal
from ..errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars

ARROW_PACKAGES = ("pyarrow", "polars")
"""The packages that make an Arrow stream, the first one that is installed."""
MAX_INTEGER = 2**63


def polars_frame(names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> polars.DataFrame:
    """Builds a polars data frame.

    Raises:
        MissingExtraError: polars is not installed.
    """
    try:
        import polars
    except ImportError:
        raise MissingExtraError("polars", "polars", "to_polars()") from None
    return polars.DataFrame(typed_columns(names, records))


def arrow_package() -> str | None:
    """Returns the name of a package that makes an Arrow stream; None if none is installed."""
    return next((name for name in ARROW_PACKAGES if importlib.util.find_spec(name) is not None), None)


def arrow_stream(names: Sequence[str], records: Sequence[Mapping[str, Any]], schema: object) -> object:
    """Builds an Arrow stream, the PyCapsule of Arrow's C stream interface."""
    if arrow_package() == "polars":
        return polars_frame(names, records).__arrow_c_stream__(schema)
    import pyarrow

    stream: object = pyarrow.table(typed_columns(names, records)).__arrow_c_stream__(schema)
    return stream


def typed_columns(names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Returns the values of each column, in one type."""
    return {name: _one_type([record.get(name) for record in records]) for name in names}


def _one_type(values: list[Any]) -> list[Any]:
    """Converts a column whose values have several types: numbers to floats, anything else to text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool} or kinds <= {str} or kinds <= {float}:
        return values
    if kinds <= {int, float}:
        fit = all(value is None or abs(value) < MAX_INTEGER for value in values if isinstance(value, int))
        if fit:
            return values if kinds == {int} else [None if value is None else float(value) for value in values]
    return [value if value is None or isinstance(value, str) else literal(value) for value in values]
