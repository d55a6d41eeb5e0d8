"""Bars of how much each parameter explains."""

from __future__ import annotations

import pytest

from clearml_taskgroup import figures
from clearml_taskgroup._plots.importance import importance_figure
from clearml_taskgroup._plots.layout import notes_of
from clearml_taskgroup._results.importance import Importance, ParameterImportance
from clearml_taskgroup.errors import NoSuchResultError
from tests.support.figures import swept, words_of


def test_importance() -> None:
    """A bar per parameter that differs, the one that explains most on top; the rest has about none."""
    results = swept({"C": [1, 2, 3], "seed": range(4), "same": [1]}, lambda params, step: params["C"] ** 3)
    found = results.importance("loss", split="val")
    assert [(row.parameter, row.values) for row in found] == [("C", 3), ("seed", 4)]
    assert found[0].importance == pytest.approx(1)
    assert found[1].importance == 0
    assert "C          1.00        3" in repr(found)
    assert found.to_records()[1] == {"parameter": "seed", "importance": 0.0, "values": 4}
    figure = figures.importance(results, "loss", of="max")
    assert list(figure.data[0].y) == list(figure.layout.yaxis.categoryarray) == ["seed", "C"]
    assert figure.data[0].x[1] == pytest.approx(1)
    assert "max of loss" in words_of(figure)
    few = results.where(C=1)
    assert [row.importance for row in few.importance("loss")] == [0]  # all values are equal
    assert "only 4 tasks" in repr(few.importance("loss"))
    assert "no parameter differs" in repr(results[:1].importance("loss"))
    assert figures.importance(results[:1], "loss").data == ()
    with pytest.raises(NoSuchResultError):
        results.importance("f1")


def importance(shares: list[float]) -> Importance:
    rows = (ParameterImportance(f"p<{at}", share, at + 2) for at, share in enumerate(shares))
    return Importance(tuple(rows), "loss", tasks=12)


def test_what_the_bars_are_made_of() -> None:
    """Each has its number, its name and how many values there are; the axis has room for the longest."""
    figure = importance_figure(importance([0.8, 0.01234567]), "loss", "a note")
    (bars,) = figure["data"]
    assert (bars["x"], bars["y"]) == ([0.0123457, 0.8], ["p&lt;1", "p&lt;0"])
    assert bars["text"] == ["0.01", "0.80"]
    assert bars["hovertext"] == ["p&lt;1: 0.012, 3 values", "p&lt;0: 0.800, 2 values"]
    layout = figure["layout"]
    assert layout["title"]["text"].startswith("Importance for loss<br>")
    assert layout["xaxis"]["range"] == [0, pytest.approx(0.88)]
    assert (layout["yaxis"]["categoryarray"], layout["yaxis"]["showgrid"]) == (["p&lt;1", "p&lt;0"], False)
    share = "share of the variance of ranks that a parameter explains alone, 12 tasks"
    assert notes_of(layout) == [f"{share}; a note"]


def test_the_axis_of_short_bars() -> None:
    figure = importance_figure(importance([0.01]), "loss")
    assert figure["layout"]["xaxis"]["range"] == [0, 0.1]


@pytest.mark.parametrize(("parameters", "note"), [(20, []), (21, ["the first 20 of 21 parameters"])])
def test_twenty_parameters_have_a_bar(parameters: int, note: list[str]) -> None:
    figure = importance_figure(importance([1 - at / 100 for at in range(parameters)]), "loss")
    assert len(figure["data"][0]["y"]) == 20
    assert figure["data"][0]["y"][-1] == "p&lt;0"
    assert notes_of(figure["layout"])[1:] == note
