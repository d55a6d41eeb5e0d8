"""Colours of figures: a palette, a scale from worse to better.

All are distinguishable for colour-blind people.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8f6b4a")
"""The colours of Okabe and Ito without yellow, which is hard to see on white, and black, on dark grey."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
"""The patterns of lines: the next one where all colours are used up."""
GREY = "#8a8f98"
PRUNED = "#b0764a"
"""The colour of the curves of pruned trials."""
COLOUR_SEQUENCE = (
    "#440154",
    "#482878",
    "#3e4989",
    "#31688e",
    "#26828e",
    "#1f9e89",
    "#35b779",
    "#6ece58",
)
"""Viridis without its pale end, which is hard to see on white."""


def line_style(at: int) -> tuple[str, str]:
    """Returns colour and dash of one of several lines, different for the first 42."""
    rounds, place = divmod(at, len(PALETTE))
    return PALETTE[place], DASHES[rounds % len(DASHES)]


class Ranks(NamedTuple):
    """Colours of ranks.

    Attributes:
        colours: The colours, the best first.
        best: The word for the best one.
    """

    colours: Sequence[str]
    best: str


DARK_IS_BEST = Ranks(COLOUR_SEQUENCE, "dark")
ORANGE_IS_BEST = Ranks(("#d55e00", "#b28868", "#8fb3cf"), "orange")
"""These can be seen on white and on dark grey."""


def colour_scale(reverse: bool, ranks: Ranks = DARK_IS_BEST) -> list[list[Any]]:
    """Returns plotly's colour scale; its best end is at the greatest value unless reversed."""
    colours = ranks.colours if reverse else ranks.colours[::-1]
    return [[at / (len(colours) - 1), colour] for at, colour in enumerate(colours)]


def colour_of(share: float, reverse: bool, ranks: Ranks = DARK_IS_BEST) -> str:
    """Interpolates the colour scale: share 0 is the colour of the smallest value, 1 of the greatest."""
    colours = ranks.colours if reverse else ranks.colours[::-1]
    at = min(max(share, 0.0), 1.0) * (len(colours) - 1)
    low = min(int(at), len(colours) - 2)
    parts = zip(_rgb(colours[low]), _rgb(colours[low + 1]), strict=True)
    return "#" + "".join(f"{round(one + (other - one) * (at - low)):02x}" for one, other in parts)


def with_opacity(colour: str, opacity: float) -> str:
    red, green, blue = _rgb(colour)
    return f"rgba({red},{green},{blue},{opacity})"


@functools.lru_cache(maxsize=64)
def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
