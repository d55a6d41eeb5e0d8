"""Results as data frames: one column of each metric on request; polars and Arrow where installed."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from clearml_taskgroup import Results, TaskGroup
from clearml_taskgroup._results.frames import typed_columns
from clearml_taskgroup.errors import ArgumentError, MissingExtraError, NonFiniteWarning

pytestmark = pytest.mark.usefixtures("backend")


def swept() -> Results:
    """Tasks whose parameters have several types; the accuracy of the last one diverges."""
    space = [{"C": c, "depth": depth, "sizes": [1, c]} for c in (1, 2.5) for depth in ("auto", 3, None)]
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks(space):
            task.report({"accuracy": 0.5 + task.index / 10, "loss": 1}, 1, split="val")
        with pytest.warns(NonFiniteWarning):
            task.report({"accuracy": math.nan}, 2, split="val")
        group.task({"C": True})
    return group.results()


def test_one_column_of_each_metric() -> None:
    """With `of` the columns are the parameters and the metrics; a diverged task has no last value."""
    results = swept()
    frame = results.to_pandas(of="last")
    identity = ["key", "name", "index", "id", "attempt", "status", "status_reason", "duration"]
    params = ["params.C", "params.depth", "params.sizes"]
    assert list(frame) == [*identity, *params, "accuracy[split=val]", "loss[split=val]"]
    assert frame["accuracy[split=val]"][:5].tolist() == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert frame["accuracy[split=val]"][5:].isna().all()
    assert results.to_pandas(of="max")["accuracy[split=val]"][5] == 1.0
    assert results.to_csv(of="mean").splitlines()[1].endswith(",0.5,1.0")
    assert '"loss[split=val]": 1.0' in results.to_json(of="first")
    with pytest.raises(ArgumentError, match="'first', 'last', 'min', 'max' or 'mean'"):
        results.to_pandas(of="median")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="only results"):
        results.aggregate("C").to_pandas(of="last")


def test_rows_by_position_and_by_nothing_else() -> None:
    """All kinds of results have what sequences have; a text is refused with what to write."""
    results = swept()
    for rows in (results, results.aggregate("C"), results.history("loss"), results.compare("loss", over="C")):
        first: Any = rows[0]
        assert list(reversed(rows))[-1] is first
        assert (first in rows, rows.index(first), rows.count(first)) == (True, 0, 1)
        assert type(rows[1:]) is type(rows)
        assert len(rows[1:]) == len(rows) - 1
        with pytest.raises(TypeError, match="position"):
            rows["C=1"]  # type: ignore[call-overload]
    with pytest.raises(
        TypeError, match=r"results\['C=1'\].*where\(C=1\), by their name with results.where\(name=…\)"
    ):
        results["C=1"]  # type: ignore[call-overload]


def test_a_row_has_its_values() -> None:
    """`row["loss"]` is the last value; a row is no container of metrics."""
    row = swept()[1]
    assert row["accuracy[split=val]"] == row["accuracy"] == row.value("accuracy") == 0.6
    with pytest.raises(TypeError, match="iterable"):
        "loss" in row  # type: ignore[operator]  # noqa: B015


def test_pandas_says_what_to_write() -> None:
    """The constructor would make a column of rows, so it raises."""
    import pandas

    with pytest.raises(TypeError, match=r"write to_pandas\(\)"):
        pandas.DataFrame(swept())


def test_without_polars_and_arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing claims to be an Arrow stream; `to_polars` names the extra."""
    results = swept()
    for package in ("polars", "pyarrow"):
        monkeypatch.setitem(sys.modules, package, None)
    assert not hasattr(results, "__arrow_c_stream__")
    with pytest.raises(MissingExtraError, match=r"clearml-taskgroup\[polars\]"):
        results.to_polars()


@pytest.mark.frameworks
def test_polars() -> None:
    """A column has one type: numbers stay numbers, several types are text; no value is null."""
    polars = pytest.importorskip("polars", reason="needs polars")
    results = swept()
    frame = results.to_polars(of="last")
    assert frame.shape == (7, 13)
    assert frame["accuracy[split=val]"].to_list() == [0.5, 0.6, 0.7, 0.8, 0.9, None, None]
    assert frame["params.depth"].to_list() == ["auto", "3", None, "auto", "3", None, None]
    assert frame["params.sizes"].to_list()[3] == "[1, 2.5]"
    assert frame["params.C"].to_list() == ["1", "1", "1", "2.5", "2.5", "2.5", "True"]
    assert results[:6].to_polars()["params.C"].to_list() == [1, 1, 1, 2.5, 2.5, 2.5]
    assert results.to_polars().columns == list(results.to_pandas())
    for rows in (results, results.aggregate("C"), results.history("loss"), results.compare("loss", over="C")):
        assert polars.DataFrame(rows).equals(rows.to_polars())
        assert polars.DataFrame(rows).shape == rows.to_pandas().shape


@pytest.mark.frameworks
def test_arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """With pyarrow alone, or polars alone, results are an Arrow stream."""
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    results = swept()
    assert pyarrow.table(results).column_names == list(results.to_pandas())
    polars = pytest.importorskip("polars", reason="needs polars")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert polars.DataFrame(results).equals(results.to_polars())


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([1, None, 2], [1, None, 2]),
        ([1, None, 0.5], [1.0, None, 0.5]),
        ([True, False], [True, False]),
        (["a", None], ["a", None]),
        ([True, 1], ["True", "1"]),
        (["a", 1, None, [1, "b"]], ["a", "1", None, "[1, 'b']"]),
        ([1, 2**63], ["1", str(2**63)]),
        ([1, 2**63 - 1], [1, 2**63 - 1]),
        ([0.5, -(2**70)], ["0.5", str(-(2**70))]),
        ([None], [None]),
    ],
)
def test_a_column_has_one_type(values: list[Any], column: list[Any]) -> None:
    """Integers and floats together are floats; other types together, and large integers, are text."""
    found = typed_columns(["x", "y"], [{"x": value} for value in values])
    assert found == {"x": column, "y": [None] * len(values)}
    assert list(map(type, found["x"])) == list(map(type, column))
