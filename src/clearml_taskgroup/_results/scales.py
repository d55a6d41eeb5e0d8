"""Positions of parameter values on an axis: numeric, logarithmic, by category or in bins."""

from __future__ import annotations

import bisect
import itertools
import math
import statistics
from typing import TYPE_CHECKING, Any

import attrs

from .value_text import MISSING, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence


MIN_LOG_RATIO_OF_FEW = 100
"""The ratio of the greatest to the smallest of few numbers from which their axis is logarithmic."""
MIN_LOG_RATIO_OF_MANY = 30
"""The same for many numbers, if they are spread as by a search over the logarithm.

It is smaller because such a search rarely reaches the ends of its range.
"""
MIN_DOUBLED = 3
"""So many integers, each at least twice the one before, have a logarithmic axis: 8, 16, 64."""
MAX_CELLS = 20
"""The number of different numbers that get a cell each; more are put into bins."""
MAX_DISCRETE_NUMBERS = 5
"""Up to this many different numbers are always treated as categories."""
NUMBER_OF_BINS = 8
MAX_MAGNITUDE = 1e150
"""Numbers of a larger magnitude are not drawn as numbers."""
OUTLIER_RATIO = 8
"""Outliers are excluded from an axis if they would make it this many times longer."""


@attrs.frozen
class Cells:
    """An axis of cells: one per value, or bins if there are too many numbers.

    Attributes:
        names: The name of each cell.
        places: For each value, the index of its cell.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]


def assign_cells(values: Sequence[Any], max_cells: int = MAX_CELLS) -> Cells:
    different = distinct(values)
    numbers = [value for value in different if is_number(value)]
    if len(numbers) <= max_cells:
        place = {_identity(value): at for at, value in enumerate(different)}
        places = tuple(place[_identity(value)] for value in values)
        return Cells(tuple(map(value_text, different)), places)
    others = [value for value in different if not is_number(value)]
    to, back = (math.log, math.exp) if is_log(numbers) else (float, float)
    low, high = to(numbers[0]), to(numbers[-1])
    edges = [f"{back(low + (high - low) * at / NUMBER_OF_BINS):.2g}" for at in range(NUMBER_OF_BINS + 1)]
    texts = [*(f"{edges[at]}…{edges[at + 1]}" for at in range(NUMBER_OF_BINS)), *map(value_text, others)]
    where = {value_text(value): NUMBER_OF_BINS + at for at, value in enumerate(others)}
    places = tuple(
        min(NUMBER_OF_BINS - 1, int((to(value) - low) / (high - low) * NUMBER_OF_BINS))
        if is_number(value)
        else where[value_text(value)]
        for value in values
    )
    return Cells(tuple(texts), places)


@attrs.frozen
class Scale:
    """An axis from 0 to 1 with its ticks, for values of any type.

    Attributes:
        places: The position of each value.
        ticks: The position and text of each tick.
        number_of_places: The number of different positions; 0 for an axis of many different numbers.
        is_log: Whether numbers are placed by their logarithm.
    """

    places: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]
    number_of_places: int
    is_log: bool = False


def axis_scale(values: Sequence[Any]) -> Scale:
    """Places values between 0 and 1: numbers by size, other values at equal distances.

    On a numeric axis, None and missing values each have a lane of their own below the numbers.
    """
    different = distinct(values)
    numbers = [value for value in different if is_number(value)]
    lanes = [value for value in different if value is None or value is MISSING]
    if not numbers or len(numbers) + len(lanes) < len(different):
        step = 1 / max(1, len(different) - 1)
        place = {
            _identity(value): (at * step if len(different) > 1 else 0.5) for at, value in enumerate(different)
        }
        ticks = tuple((place[_identity(value)], value_text(value)) for value in different)
        return Scale(tuple(place[_identity(value)] for value in values), ticks, len(different))
    floor = 0.12 * len(lanes)
    log = is_log(numbers)
    lane = {value_text(value): 0.12 * at for at, value in enumerate(lanes)}

    low, high = (math.log(x) if log else x for x in (numbers[0], numbers[-1]))

    def at(value: float) -> float:
        here = math.log(value) if log else value
        return floor + (1 - floor) * ((here - low) / (high - low) if high > low else 0.5)

    ticks = tuple((lane[value_text(value)], value_text(value)) for value in lanes)
    marks = numbers if len(numbers) <= NUMBER_OF_BINS else _round_numbers(numbers[0], numbers[-1], log)
    ticks += tuple((at(mark), f"{mark:.4g}") for mark in marks)
    places = tuple(at(value) if is_number(value) else lane[value_text(value)] for value in values)
    return Scale(places, ticks, len(different) if len(numbers) <= MAX_CELLS else 0, log)


def is_number(value: Any) -> bool:
    if type(value) in (float, int):  # most are, and it is asked often
        return bool(-MAX_MAGNITUDE < value < MAX_MAGNITUDE)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MAX_MAGNITUDE


def is_continuous(values: Sequence[Any]) -> bool:
    """Whether values are numbers that are nearly all different, as those of a random search."""
    found = distinct(values)
    numbers = [value for value in found if is_number(value)]
    others = [value for value in found if not is_number(value)]
    if not all(value is None or value is MISSING for value in others):
        return False
    return len(numbers) > MAX_DISCRETE_NUMBERS and 2 * len(numbers) > sum(map(is_number, values))


def is_log(numbers: Sequence[float]) -> bool:
    """Whether numbers should have a logarithmic axis: positive, and spanning about two decades or more.

    Few integers that double, as 8, 16, 64, have one as well. Many numbers that are spread evenly, as seeds
    from 1 to 200 or a uniform search, keep a linear axis.
    """
    if not numbers or min(numbers) <= 0:
        return False
    different = sorted(set(numbers))
    least, most = different[0], different[-1]
    integers = all(float(value).is_integer() for value in different)
    doubling = integers and all(other >= 2 * one for one, other in itertools.pairwise(different))
    if doubling and len(different) >= MIN_DOUBLED:
        return True
    if len(different) <= NUMBER_OF_BINS:
        return most >= MIN_LOG_RATIO_OF_FEW * least
    if most < MIN_LOG_RATIO_OF_MANY * least:
        return False
    # Likelihood of a uniform distribution of the logarithms against one of the numbers themselves.
    mean = statistics.fmean(map(math.log, different))
    if mean + math.log(math.log(most / least)) < math.log(most - least):
        return True
    # A search over the logarithm that concentrated on large values has still tried some small ones; an even
    # search hardly any.
    low = sum(value * MIN_LOG_RATIO_OF_FEW <= most for value in different)
    return most >= 10 * MIN_LOG_RATIO_OF_FEW * least and low >= max(3, 0.04 * len(different))


def distinct(values: Sequence[Any]) -> list[Any]:
    """Returns the different values: numbers ascending, then others as they come, None and missing last."""
    found = {_identity(value): value for value in values}
    numbers = sorted(value for value in found.values() if is_number(value))
    others = [value for value in found.values() if not is_number(value)]
    others.sort(key=lambda value: (value is None) + 2 * (value is MISSING))
    return [*numbers, *others]


def _identity(value: Any) -> Any:
    """Returns what is the same for the same values: a number itself, which is faster, else the text."""
    return value if is_number(value) else value_text(value)


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Returns the range to draw: all values, or all but outliers that would compress the rest to a line."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    quarter, three = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    fence = 3 * (three - quarter)
    inside = [value for value in ordered if quarter - fence <= value <= three + fence]
    squeezed = inside[0] < inside[-1] and (inside[-1] - inside[0]) * OUTLIER_RATIO < high - low
    return (inside[0], inside[-1]) if squeezed else (low, high)


def rank_shares(values: Sequence[float]) -> list[float]:
    """Returns each value's rank as a number from 0 to 1; equal values have the same rank."""
    ordered = sorted(values)
    steps = max(1, len(ordered) - 1)
    first, last = bisect.bisect_left, bisect.bisect_right
    return [(first(ordered, value) + last(ordered, value) - 1) / 2 / steps for value in values]


def _round_numbers(low: float, high: float, log: bool) -> list[float]:
    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        return [10.0**power for power in range(first, last + 1, max(1, (last - first) // 6))]
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (5, 2, 1) if (high - low) / (step * factor) >= 3)
    count = math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1
    return [(math.ceil(low / step - 1e-9) + at) * step for at in range(count)]
