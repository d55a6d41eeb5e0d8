"""Names in a legend: short, and no two the same."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._plots.legend_names import MAX_LEGEND_CHARS, legend_names

LONG = "x" * (MAX_LEGEND_CHARS + 1)


@pytest.mark.parametrize("length", [MAX_LEGEND_CHARS - 1, MAX_LEGEND_CHARS])
def test_names_that_fit_stay(length: int) -> None:
    names = ["C=".ljust(length, "1"), "b"]
    assert legend_names([(name, {"C": at}) for at, name in enumerate(names)]) == names
    assert legend_names([]) == []


def test_a_long_name_becomes_the_parameters_that_vary() -> None:
    """In all names that consist of parameters; those that vary most are first, names of the user's stay."""
    tasks: list[tuple[str, dict[str, Any]]] = [
        (LONG, {"C": 1, "data": LONG, "lr": 0.1}),
        ("C=2,lr=0.2", {"C": 2, "data": LONG, "lr": 0.2}),
        ("mine", {"C": 2, "data": LONG, "lr": 0.3}),
        (f"C={LONG}", {"C": 2, "data": LONG}),
    ]
    assert legend_names(tasks) == ["lr=0.1,C=1", "lr=0.2,C=2", "mine", "C=2"]


def test_a_long_name_without_parameters_that_vary_is_cut() -> None:
    assert legend_names([(LONG, {"C": 1})]) == ["x" * (MAX_LEGEND_CHARS - 1) + "…"]


def test_names_that_are_the_same_have_numbers() -> None:
    """The first stays; a number that another one has by name is skipped."""
    tasks: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in ("a", "b", "a (1)", "a", "a")]
    assert legend_names(tasks) == ["a (2)", "b", "a (1)", "a (3)", "a (4)"]
    cut = "x" * (MAX_LEGEND_CHARS - 7) + "…"
    assert legend_names([(LONG, {})] * 2) == [f"{cut} (1)", f"{cut} (2)"]
