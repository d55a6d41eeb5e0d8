"""Results as records, CSV, JSON and HTML."""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

import attrs
import pytest

from clearml_taskgroup._results.export import (
    METRIC_COLUMNS,
    column_names,
    html_table,
    jsonable,
    metric_columns,
    row_record,
)
from clearml_taskgroup.errors import ArgumentError
from tests.support.rows import LOSS, VAL_LOSS, made_results, made_row


def test_columns_of_metrics() -> None:
    """One for each statistic, or only one."""
    assert metric_columns([LOSS, VAL_LOSS], "max") == {LOSS: ["loss"], VAL_LOSS: ["loss[split=val]"]}
    assert metric_columns([LOSS], None) == {LOSS: [f"loss.{name}" for name in METRIC_COLUMNS]}
    assert METRIC_COLUMNS[5:] == (
        "count",
        "first_iteration",
        "last_iteration",
        "min_iteration",
        "max_iteration",
    )


def values_of(record: dict[str, Any], metric: str = "loss") -> list[Any]:
    """What a record has of a metric: the statistics, the count and the iterations."""
    return [record[f"{metric}.{name}"] for name in METRIC_COLUMNS]


def test_the_record_of_a_task() -> None:
    """Identity, parameters in natural order, the statistics of each metric."""
    row = made_row(
        "a", {"layer10": 1, "layer2": [1]}, {LOSS: [2, 1, 3]}, status="failed", status_reason="why"
    )
    record = row_record(row, metric_columns([LOSS, VAL_LOSS], None))
    assert list(record)[:10] == [
        *("key", "name", "index", "id", "attempt", "status", "status_reason", "duration"),
        *("params.layer2", "params.layer10"),
    ]
    assert list(record.values())[:10] == ["key of a", "a", 0, "id of a", 1, "failed", "why", 1.0, [1], 1]
    assert values_of(record) == [2, 3, 1, 3, 2, 3, 0, 2, 1, 2]
    assert values_of(record, "loss[split=val]") == [None] * 10
    assert row_record(row, metric_columns([LOSS, VAL_LOSS], "min"), "min")["loss"] == 1
    assert row_record(row, metric_columns([LOSS, VAL_LOSS], "min"), "min")["loss[split=val]"] is None


def test_the_record_of_a_task_that_diverged() -> None:
    """It has no last value, and says so."""
    row = made_row("a", {}, {LOSS: [2, 1, math.nan], VAL_LOSS: math.nan})
    record = row_record(row, metric_columns([LOSS], None))
    assert values_of(record) == [2, None, 1, 2, 1.5, 2, 0, None, 1, 0]
    assert (record["loss.diverged"], record["loss[split=val].diverged"]) == (True, True)
    of_one: Any
    for of_one, expected in (("last", None), ("max", 2)):
        record = row_record(row, metric_columns([LOSS, VAL_LOSS], of_one), of_one)
        assert (record["loss"], record["loss[split=val]"]) == (expected, None)
        assert "loss.diverged" not in record


def test_the_record_of_a_task_whose_curve_was_not_read() -> None:
    """Of statistics that come from a server, mean and count are not known."""
    row = made_row("a", {}, {LOSS: [2, 1]})
    row.stats[LOSS].total, row.stats[LOSS].last_iteration = math.nan, None
    record = row_record(row, metric_columns([LOSS], None))
    assert values_of(record) == [2, 1, 1, 2, None, None, 0, None, 1, 0]
    assert row_record(row, metric_columns([LOSS], "last"), "last")["loss"] == 1


def test_the_order_of_columns() -> None:
    """Identity, the parameters of all rows, then what the records have."""
    rows = [made_row("a", {"b10": 1}), made_row("b", {"b2": 1, "a": 2})]
    records: list[dict[str, Any]] = [{"key": 1, "params.b10": 1, "y": 1}, {"z": 1, "y": 2}]
    assert column_names(["name", "key"], rows, records) == [
        *("name", "key", "params.a", "params.b2", "params.b10", "y", "z")
    ]


def test_files(tmp_path: pathlib.Path) -> None:
    """They have what is returned: missing values are empty, lists and dicts are text, NaN is null."""
    results = made_results(made_row("a", {"C": [1, "x"]}, {LOSS: 1}), made_row("é", {"d": {"x": 1}}))
    text = results.to_csv(tmp_path / "table.csv", of="last")
    assert (tmp_path / "table.csv").read_text("utf-8") == text
    assert text.splitlines() == [
        "key,name,index,id,attempt,status,status_reason,duration,params.C,params.d,loss",
        "key of a,a,0,id of a,1,completed,,1.0,\"[1, 'x']\",,1.0",
        "key of é,é,0,id of é,1,completed,,1.0,,{'x': 1},",
    ]
    whole = results.to_json(tmp_path / "table.json")
    assert (tmp_path / "table.json").read_text("utf-8") == whole
    assert [record["name"] for record in json.loads(whole)] == ["a", "é"]
    assert '\n    "key": "key of a",' in whole
    diverged = attrs.evolve(results, rows=(made_row("a", {"C": math.nan}),))
    assert json.loads(diverged.to_json())[0]["params.C"] is None
    with pytest.raises(ArgumentError, match="of='last' was given; expected none: only results"):
        results.aggregate("C").to_csv(of="last")


def test_tables_in_a_notebook() -> None:
    """Names are no markup; of more than forty rows the first ones, with the number of the others."""
    assert html_table(["a", "<b>"], [["1", "x\n&"]]) == (
        "<table><thead><tr><th>a</th><th>&lt;b&gt;</th></tr></thead>"
        r"<tbody><tr><td>1</td><td>x\n&amp;</td></tr></tbody></table>"
    )
    assert html_table(["a"], [["1"]] * 40).endswith("</table>")
    assert html_table(["a"], [["1"]] * 42).endswith("</table><div>… and 2 more</div>")
    assert html_table(["a"], [["1"]] * 42).count("<td>") == 40
    shown = made_results(made_row("<a>", {}, {LOSS: 1}))._repr_html_()
    assert "<td>&lt;a&gt;</td>" in shown
    assert shown.endswith("<div>1 task: 1 completed</div>")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({1: (2, [None])}, {"1": [2, [None]]}),
        ([math.nan, -math.inf, 0.5, True, "x"], [None, None, 0.5, True, "x"]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        ([None, 1, math.inf], [None, 1, None]),
    ],
)
def test_what_json_cannot_have(value: Any, expected: Any) -> None:
    assert jsonable(value) == expected
