"""Contents of numpy's and pandas' objects as Python values; neither is imported here. Pure."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import date, datetime, timedelta

_DIGEST_CHARS = 16


def is_masked(value: Any) -> bool:
    """Whether a value is one of numpy's masked arrays."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ma.MaskedArray)


def masked_parts(value: Any) -> dict[str, Any]:
    """Returns which elements of a masked array are missing, and the others."""
    return {"mask": sys.modules["numpy"].ma.getmaskarray(value).tolist(), "values": value.tolist()}


def exact_moment(value: Any) -> date | datetime | timedelta | str | None:
    """Returns the equivalent of a numpy date or duration; its text if Python has none, None for NaT."""
    numpy = sys.modules["numpy"]
    if numpy.isnat(value):
        return None
    kind, (unit, _) = value.dtype.kind, numpy.datetime_data(value.dtype)
    moment = value.tolist()
    if isinstance(moment, int) and unit not in ("Y", "M", "generic"):
        shorter = value.astype(f"{kind}8[us]")
        moment = shorter.tolist() if shorter == value else moment
    return f"{value}" if isinstance(moment, int) else moment


def is_pandas(value: Any) -> bool:
    """Whether a value is of one of pandas' own classes or of a class derived from one."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not hasattr(pandas, "DataFrame"):  # it is being imported
        return False
    root = type(value).__module__.partition(".")[0]
    return root == "pandas" or isinstance(value, (pandas.DataFrame, pandas.Series, pandas.Index))


def missing_name(value: Any) -> str:
    """Returns the name of pandas' missing values; empty for others."""
    pandas = sys.modules["pandas"]
    return "NaT" if value is pandas.NaT else "NA" if value is pandas.NA else ""


def contents(value: Any) -> dict[str, Any] | None:
    """Returns all that a data frame, a series, an index or an array of pandas holds; else None."""
    pandas = sys.modules["pandas"]
    if isinstance(value, pandas.DataFrame):
        series = [value.iloc[:, column] for column in range(value.shape[1])]
        return {
            "columns": contents(value.columns),
            "index": contents(value.index),
            "values": [contents(one.array) for one in series],
        }
    if isinstance(value, pandas.Series):
        return {"name": value.name, "index": contents(value.index), "values": contents(value.array)}
    if isinstance(value, pandas.Index):
        return {"names": list(value.names), "values": value.tolist(), "dtype": _categories(value.dtype)}
    if isinstance(value, pandas.CategoricalDtype):
        return _categories(value)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return {"values": value.tolist(), "dtype": _categories(value.dtype)}
    return None


def _categories(dtype: Any) -> dict[str, Any] | None:
    if not isinstance(dtype, sys.modules["pandas"].CategoricalDtype):
        return None
    categories = None if dtype.categories is None else dtype.categories.tolist()
    return {"categories": categories, "ordered": dtype.ordered}


def description(value: Any, content: str) -> tuple[str, str]:
    """Returns class and text of an object of pandas.

    Args:
        value: The object.
        content: Its contents as text, of which the text has a digest.
    """
    cls = type(value)
    root = cls.__module__.partition(".")[0]
    digest = hashlib.sha256(content.encode()).hexdigest()[:_DIGEST_CHARS]
    size = " x ".join(f"{length:,}" for length in getattr(value, "shape", ()))
    name = "pandas" if root == "pandas" else cls.__module__
    return f"{name}.{cls.__qualname__}", f"{cls.__name__}({size}, sha256 {digest})"
