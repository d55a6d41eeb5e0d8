"""Where parameters' values stand on an axis, how they are written, and the colours. Pure."""

from __future__ import annotations

import html
import math
import re
import statistics
from typing import TYPE_CHECKING, Any, Final

import attrs

from .._model.identity import display_name, typed_json

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG_FROM = 100
"""How many times the least the greatest of few values is where their axis becomes logarithmic."""
WIDE_FROM = 30
"""Likewise of many, if they lie as a search over the logarithm leaves them, whose ends it rarely meets."""
MOST_CELLS = 20
"""How many different numbers stand side by side before they are put into bins."""
MOST_ALIKE = 5
"""Up to how many different numbers are always side by side."""
BINS = 8
MOST = 1e150
"""Numbers beyond are no longer drawn as numbers."""
SQUEEZED = 8
"""How many times wider than the bulk of the values outliers must make an axis to be left beyond it."""
LONGEST = 28
"""How many characters of a value a tick shows; the hover text has all of it."""


class Missing:
    """The one value of a parameter that a task does not have."""

    def __repr__(self) -> str:
        return "not given"


MISSING: Final = Missing()

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""The colours of Okabe and Ito, which the colour-blind tell apart, without the yellow."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_WORDS = re.compile(r"[^\s\"\[\](){}]([^\"\[\](){}\n]*[^\s\"\[\](){}])?")
GREY = "#8a8f98"
SEQUENCE = (
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


def text_of(value: Any) -> str:
    """Writes a parameter's value for people; different values give different texts."""
    if value is MISSING:
        return repr(value)
    if isinstance(value, str) and _reads_as_text(value):
        return value
    try:
        return display_name({"v": value}, length=1000).removeprefix("v=")
    except ValueError:  # without a stable form, given with key=
        return repr(value)


def _reads_as_text(text: str) -> bool:
    """Tells whether a text needs no quotes, because it looks like no value of another kind."""
    if not _WORDS.fullmatch(text) or text in ("None", "True", "False", repr(MISSING)):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def safe(text: str) -> str:
    """Takes from a text what plotly would read as markup, as a template or as a formula."""
    flat = re.sub(r"\s+", " ", text)
    return html.escape(flat, quote=False).replace("%{", "%&#123;").replace("$", "&#36;")


def short(text: str, most: int = LONGEST) -> str:
    """Cuts a text to the length of a tick or of an entry in a legend."""
    return text if len(text) <= most else text[: most - 1] + "…"


def plain(value: Any) -> Any:
    """Gives numbers of other libraries as Python's; leaves all other values as they are."""
    try:
        known = typed_json(value)
    except ValueError:
        return value
    return known if isinstance(known, (int, float)) else value


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MOST


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Gives the range to draw: all of it, unless a few values would squeeze the rest into a line."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    quarter, three = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    fence = 3 * (three - quarter)
    inside = [value for value in ordered if quarter - fence <= value <= three + fence]
    squeezed = inside[0] < inside[-1] and (inside[-1] - inside[0]) * SQUEEZED < high - low
    return (inside[0], inside[-1]) if squeezed else (low, high)


def is_log(numbers: Sequence[float]) -> bool:
    """Tells whether numbers want a logarithmic axis: positive, and spanning about two decades or more.

    Of many numbers, those that are spread evenly, as seeds from 1 to 200 or a uniform search are, keep a
    linear one.
    """
    if not numbers or min(numbers) <= 0:
        return False
    different = sorted(set(numbers))
    least, most = different[0], different[-1]
    if len(different) <= BINS:
        return most >= LOG_FROM * least
    if most < WIDE_FROM * least:
        return False
    # Which is more likely: that a search drew them evenly by their logarithm, or by themselves?
    mean = statistics.fmean(map(math.log, different))
    if mean + math.log(math.log(most / least)) < math.log(most - least):
        return True
    # A search that went on around the best has few values elsewhere, but an even one hardly any there.
    low = sum(value * LOG_FROM <= most for value in different)
    return most >= 10 * LOG_FROM * least and low >= max(3, 0.04 * len(different))


def is_continuous(values: Sequence[Any]) -> bool:
    """Tells whether values are numbers that are nearly all different, as a search draws them."""
    found = distinct(values)
    numbers = [value for value in found if is_number(value)]
    others = [value for value in found if not is_number(value)]
    if not all(value is None or value is MISSING for value in others):
        return False
    return len(numbers) > MOST_ALIKE and 2 * len(numbers) > sum(map(is_number, values))


def distinct(values: Sequence[Any]) -> list[Any]:
    """Gives the different values: numbers ascending, then the others as they come, None and missing last."""
    found = {text_of(value): value for value in values}
    numbers = sorted(value for value in found.values() if is_number(value))
    others = [value for value in found.values() if not is_number(value)]
    others.sort(key=lambda value: (value is None) + 2 * (value is MISSING))
    return [*numbers, *others]


@attrs.frozen
class Cells:
    """Values side by side: one cell for each, or bins where there are too many numbers.

    Attributes:
        names: What each cell is called.
        places: For each value, the number of its cell.
        binned: Whether a cell holds a range of numbers.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    binned: bool = False


def tail(text: str, most: int = LONGEST) -> str:
    """Cuts a parameter's name at its beginning: what `optimizer.schedule.warmup` is stands at its end."""
    return text if len(text) <= most else "…" + text[1 - most :]


def number_texts(values: Sequence[float]) -> list[str]:
    """Writes numbers that stand below each other, all with the same decimals where that reads well."""
    finite = [abs(value) for value in values if math.isfinite(value)]
    most = max(finite, default=0.0)
    if not 1e-3 <= most < 1e6:
        return list(map(_four_digits, values))
    written = [f"{value:.4g}" for value in finite]
    needed = max(len(text.partition(".")[2]) for text in written)
    decimals = min(needed, max(0, 3 - math.floor(math.log10(most))))
    if any(0 < value < 10.0 ** (1 - decimals) for value in finite):  # they would lose all of their digits
        return list(map(_four_digits, values))
    return [f"{value:.{decimals}f}" for value in values]


def _four_digits(value: float) -> str:
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e6 else f"{value:.4g}"


def cells(values: Sequence[Any], most: int = MOST_CELLS) -> Cells:
    """Puts each value into its cell."""
    different = distinct(values)
    numbers = [value for value in different if is_number(value)]
    if len(numbers) <= most:
        texts = [text_of(value) for value in different]
        place = {text: at for at, text in enumerate(texts)}
        return Cells(tuple(texts), tuple(place[text_of(value)] for value in values))
    others = [value for value in different if not is_number(value)]
    to, back = (math.log, math.exp) if is_log(numbers) else (float, float)
    low, high = to(numbers[0]), to(numbers[-1])
    edges = [f"{back(low + (high - low) * at / BINS):.2g}" for at in range(BINS + 1)]
    texts = [*(f"{edges[at]}…{edges[at + 1]}" for at in range(BINS)), *map(text_of, others)]
    where = {text_of(value): BINS + at for at, value in enumerate(others)}
    places = tuple(
        min(BINS - 1, int((to(value) - low) / (high - low) * BINS))
        if is_number(value)
        else where[text_of(value)]
        for value in values
    )
    return Cells(tuple(texts), places, binned=True)


@attrs.frozen
class Scale:
    """An axis from 0 to 1 with its ticks, for values of any kind.

    Attributes:
        places: Where each value stands.
        ticks: Where there is a tick, and what it says.
        crowd: How many different places there are; 0 for an axis of numbers that differ freely.
        is_log: Whether numbers stand by their logarithm.
    """

    places: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]
    crowd: int
    is_log: bool = False


def scale(values: Sequence[Any]) -> Scale:
    """Lays values out between 0 and 1: numbers by size, others side by side.

    None and missing values of an axis of numbers get a lane of their own below it.
    """
    different = distinct(values)
    numbers = [value for value in different if is_number(value)]
    lanes = [value for value in different if value is None or value is MISSING]
    if not numbers or len(numbers) + len(lanes) < len(different):
        step = 1 / max(1, len(different) - 1)
        place = {
            text_of(value): (at * step if len(different) > 1 else 0.5) for at, value in enumerate(different)
        }
        ticks = tuple((place[text_of(value)], text_of(value)) for value in different)
        return Scale(tuple(place[text_of(value)] for value in values), ticks, len(different))
    floor = 0.12 * len(lanes)
    log = is_log(numbers)
    lane = {text_of(value): 0.12 * at for at, value in enumerate(lanes)}

    def at(value: float) -> float:
        low, high, here = (math.log(x) if log else x for x in (numbers[0], numbers[-1], value))
        return floor + (1 - floor) * ((here - low) / (high - low) if high > low else 0.5)

    ticks = tuple((lane[text_of(value)], text_of(value)) for value in lanes)
    marks = numbers if len(numbers) <= BINS else _round_numbers(numbers[0], numbers[-1], log)
    ticks += tuple((at(mark), f"{mark:.4g}") for mark in marks)
    places = tuple(at(value) if is_number(value) else lane[text_of(value)] for value in values)
    return Scale(places, ticks, len(different) if len(numbers) <= MOST_CELLS else 0, log)


def _round_numbers(low: float, high: float, log: bool) -> list[float]:
    """Gives round numbers within a range, for ticks."""
    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        return [10.0**power for power in range(first, last + 1, max(1, (last - first) // 6))]
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (5, 2, 1) if (high - low) / (step * factor) >= 3)
    count = math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1
    return [(math.ceil(low / step - 1e-9) + at) * step for at in range(count)]


def colour_scale(reverse: bool) -> list[list[Any]]:
    """Gives the sequence in plotly's form, the dark end at the greatest value unless reversed."""
    colours = SEQUENCE if reverse else SEQUENCE[::-1]
    return [[at / (len(colours) - 1), colour] for at, colour in enumerate(colours)]


def colour_of(share: float, reverse: bool) -> str:
    """Gives the colour at a share of the way from the least value to the greatest."""
    colours = SEQUENCE if reverse else SEQUENCE[::-1]
    at = min(max(share, 0.0), 1.0) * (len(colours) - 1)
    low = min(int(at), len(colours) - 2)
    parts = zip(_rgb(colours[low]), _rgb(colours[low + 1]), strict=True)
    return "#" + "".join(f"{round(one + (other - one) * (at - low)):02x}" for one, other in parts)


def ink_on(colour: str) -> str:
    """Gives the colour of a text that is read on this one."""
    red, green, blue = _rgb(colour)
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else "#ffffff"


def faint(colour: str, opacity: float) -> str:
    red, green, blue = _rgb(colour)
    return f"rgba({red},{green},{blue},{opacity})"


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
