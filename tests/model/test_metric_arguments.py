"""Arguments of `task.metric(…)` in each other's place: the error says what to write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._model.metric_arguments import check_arguments, twice_error
from clearml_taskgroup.errors import ReportError


class Plotly:
    """A figure of plotly's."""

    def to_plotly_json(self) -> dict[str, Any]:
        return {}


class Matplotlib:
    """A figure of matplotlib's."""

    def savefig(self) -> None:
        pass


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"iteration": None, "local_path": None},
        {"iteration": 3, "local_path": "a.png"},
        {"iteration": 0.5},  # refused later, as an iteration
        {"local_path": Path("a.png")},
        {"figure": Plotly()},
    ],
)
def test_what_is_in_its_place(given: dict[str, Any]) -> None:
    check_arguments("report_plotly", ["figure", "iteration"], given)


@pytest.mark.parametrize(
    ("call", "names", "given", "told"),
    [
        (
            *("report_vector", ["iteration", "values"], {"iteration": [1, 2]}),
            "report_vector() was given iteration=<list>; write report_vector(values=…, iteration=…)",
        ),
        (
            *("report_image", ["local_path"], {"local_path": [[1]]}),
            "report_image() was given local_path=<list>; write report_image(image=…, iteration=…)",
        ),
        (
            *("report_image", ["local_path"], {"iteration": "a.png"}),
            "report_image() was given iteration='a.png'; write report_image(local_path=…, iteration=…)",
        ),
        (
            *("report_media", ["local_path"], {"local_path": b"a"}),
            "report_media() was given local_path=<bytes>; write report_media(stream=…, iteration=…)",
        ),
        (
            *("report_media", ["local_path"], {"local_path": 3}),
            "report_media() was given local_path=3; write report_media(stream=…, iteration=…)",
        ),
        (
            *("report_table", ["iteration"], {"iteration": [["a"]]}),
            "report_table() was given iteration=<list>; write report_table(table_plot=…, iteration=…)",
        ),
        (
            *("report_table", ["iteration"], {"iteration": Path("a.csv")}),
            (
                f"report_table() was given iteration=<{type(Path()).__name__}>; "
                "write report_table(csv=…, iteration=…)"
            ),
        ),
        (
            *("report_plotly", ["figure"], {"figure": Matplotlib()}),
            (
                "report_plotly() was given figure=<Matplotlib>; "
                "write report_matplotlib_figure(figure, iteration)"
            ),
        ),
        (
            *("report_image", ["local_path"], {"iteration": Plotly()}),
            "report_image() was given iteration=<Plotly>; write report_plotly(figure, iteration)",
        ),
    ],
)
def test_what_is_in_anothers_place(call: str, names: list[str], given: dict[str, Any], told: str) -> None:
    with pytest.raises(ReportError, match=f"^{re.escape(told)}$"):
        check_arguments(call, names, given)


def test_an_iteration_that_is_given_twice() -> None:
    assert str(twice_error("report_vector", ["values", "iteration"], [1])) == (
        "report_vector() was given <list> in the position of the iteration, and iteration= as well; "
        "write report_vector(values=…, iteration=…)"
    )
