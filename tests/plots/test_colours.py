"""Colours: different for each line, and dark for the best values."""

from __future__ import annotations

import pytest

from clearml_taskgroup import figures
from clearml_taskgroup._plots.colours import (
    DARK_IS_BEST,
    ORANGE_IS_BEST,
    Ranks,
    colour_of,
    colour_scale,
    line_style,
    with_opacity,
)
from clearml_taskgroup._results.rows import Mode
from tests.support.figures import swept


def test_line_styles() -> None:
    """A dash where the palette is used up; 42 lines have 42 styles."""
    styles = list(map(line_style, range(42)))
    assert [dash for _, dash in styles[:8]] == ["solid"] * 7 + ["dash"]
    assert len(set(styles)) == 42


@pytest.mark.parametrize(("mode", "lowest"), [("min", "#440154"), ("max", "#6ece58")])
def test_dark_is_best(mode: Mode, lowest: str) -> None:
    """Lines, markers and cells have one scale, from pale to dark, whose dark end is at the best value."""
    results = swept({"C": range(14), "k": [0, 1]}, lambda params, _: params["C"] + params["k"] / 4)
    heat = figures.heat_map(results, "loss", mode=mode).data[0]
    marker = figures.scatter(results, "loss", mode=mode).data[0].marker
    for scale in (heat.colorscale, marker.colorscale):
        assert [place for place, _ in scale] == [at / 7 for at in range(8)]
        assert scale[0 if mode == "min" else 7][1] == "#440154"
        assert scale[7 if mode == "min" else 0][1] == "#6ece58"
    for draw in (figures.curves, figures.parallel_coordinates):
        figure = draw(results, "loss", mode=mode)
        lines = [trace for trace in figure.data if trace.hovertext]
        assert next(line.line.color for line in lines if "<b>C=0,k=0</b>" in line.hovertext) == lowest
        assert lines[-1].line.color == "#440154"


def test_styles_begin_again() -> None:
    assert (line_style(0), line_style(7)) == (("#0072b2", "solid"), ("#0072b2", "dash"))
    assert (line_style(41), line_style(42)) == (("#8f6b4a", "longdashdot"), ("#0072b2", "solid"))


@pytest.mark.parametrize(
    ("share", "reverse", "ranks", "colour"),
    [
        (0, True, DARK_IS_BEST, "#440154"),
        (0, False, DARK_IS_BEST, "#6ece58"),
        (1, False, DARK_IS_BEST, "#440154"),
        (-0.5, True, ORANGE_IS_BEST, "#d55e00"),
        (0.25, True, ORANGE_IS_BEST, "#c47334"),
        (0.5, True, ORANGE_IS_BEST, "#b28868"),
        (0.75, True, ORANGE_IS_BEST, "#a09e9c"),
        (1.5, True, ORANGE_IS_BEST, "#8fb3cf"),
    ],
)
def test_colours_between_the_ends(share: float, reverse: bool, ranks: Ranks, colour: str) -> None:
    """Each part of a colour is interpolated; beyond the ends there is no other colour."""
    assert colour_of(share, reverse, ranks) == colour


def test_a_scale_is_from_the_least_value_to_the_greatest() -> None:
    assert colour_scale(True, ORANGE_IS_BEST) == [[0, "#d55e00"], [0.5, "#b28868"], [1, "#8fb3cf"]]
    assert colour_scale(False, ORANGE_IS_BEST) == [[0, "#8fb3cf"], [0.5, "#b28868"], [1, "#d55e00"]]
    assert with_opacity("#d55e01", 0.5) == "rgba(213,94,1,0.5)"
