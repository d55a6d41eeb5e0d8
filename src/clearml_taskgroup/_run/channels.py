"""Reports as they wait, and how they become API events and statistics: a task's reports in one go."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from .._clearml.events import scalar_event_end, scalar_event_start
from .._model.downsample import CurveSample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._model.metric_data import MetricData
    from .._model.name_template import Name
    from .._model.stats import Stats


class Channel:
    """What the reporter needs of one name of one task: the head of its API events, statistics, sample.

    It refers to the objects of the task's `MetricData` directly, which saves time for each data point.
    `passes` is the number of next points that the sample skips.
    """

    __slots__ = ("data", "head", "name", "passes", "sample", "stats")
    name: Name
    data: MetricData
    stats: Stats
    sample: CurveSample
    passes: int
    head: str

    def __init__(self, task_id: str, name: Name, data: MetricData) -> None:
        self.name = name
        self.data = data
        self.stats = data.stats
        self.sample = data.sample if data.sample is not None else CurveSample()
        self.passes = 0
        self.head = scalar_event_start(task_id, name)

    def add(self, values: Sequence[float], iterations: Sequence[int | None], increase: bool) -> None:
        """Counts values.

        Args:
            values: The values.
            iterations: The iteration of each; None for a value without one.
            increase: Whether all have an iteration, and each is higher than the one before it.
        """
        if not increase:
            for value, iteration in zip(values, iterations, strict=True):
                self.stats.add(value, iteration)
                if iteration is not None:
                    self._add_to_sample((value,), (iteration,))
            return
        curve: Sequence[int] = iterations  # type: ignore[assignment] # none is None
        self.stats.add_curve(values, curve)
        self._add_to_sample(values, curve)

    def _add_to_sample(self, values: Sequence[float], iterations: Sequence[int]) -> None:
        at, count = self.passes, len(values)
        while at < count:
            at += 1 + self.sample.add(iterations[at], values[at])
        self.passes = at - count


Points = list[Any]
"""A report as it is made: the task's id, the iteration, the time, then the number of a channel, its value, ….

It waits as one tuple of texts and numbers, which the garbage collector passes over once it has seen it. As
objects that it looks at again and again, some thousand reports would cause full collections in the loop.
"""
Report = tuple[Any, ...]
"""A report as it waits: the points, or the task's id and an event as text."""
FIRST_POINT = 3
"""Where the points of a report begin."""
TEXT_LENGTH = 2
"""The length of a report that is an event as text."""


class Channels:
    """The channels that reports name by their numbers.

    Attributes:
        by_number: The channels.
        forgotten: Numbers that no later report has, until what was reported before has been encoded.
    """

    def __init__(self) -> None:
        self.by_number: dict[int, Channel] = {}
        self.forgotten: deque[list[int]] = deque()
        self._numbers = itertools.count(1)

    def add(self, channel: Channel) -> int:
        """Returns a channel's number."""
        number = next(self._numbers)
        self.by_number[number] = channel
        return number

    def forget(self, numbers: Iterable[int]) -> None:
        """Frees channels once the reports that wait now are encoded."""
        self.forgotten.append([*numbers])


def number_of_events(report: Sequence[Any]) -> int:
    """Returns how many API events a report becomes."""
    return 1 if len(report) == TEXT_LENGTH else (len(report) - FIRST_POINT) // 2


def encode(reports: Sequence[Report], by_number: Mapping[int, Channel], events: list[str]) -> None:
    """Adds reports of one task to its statistics, and to its events as text.

    Reports in a row that have the same metrics are counted at once: most of a loop's are. What has no channel
    any more is left out: another thread has ended the task while this one reported to it.

    Args:
        reports: The reports, in their order.
        by_number: The channels.
        events: Where the events are added.
    """
    first = 0
    while first < len(reports):
        report = reports[first]
        if len(report) == TEXT_LENGTH:
            events.append(report[1])
            first += 1
            continue
        numbers, end = report[FIRST_POINT::2], first + 1
        while end < len(reports) and reports[end][FIRST_POINT::2] == numbers:
            end += 1
        _encode_alike(reports[first:end], [by_number.get(number) for number in numbers], events)
        first = end


def _encode_alike(reports: Sequence[Report], channels: Sequence[Channel | None], events: list[str]) -> None:
    heads = [None if channel is None else channel.head for channel in channels]
    for report in reports:
        tail = scalar_event_end(report[1], report[2])
        for head, value in zip(heads, report[FIRST_POINT + 1 :: 2], strict=True):
            if head is not None:
                events.append(f"{head}{value!r}{tail}")
    _, iterations, _, *columns = zip(*reports, strict=True)
    increase = _increase(iterations)
    for channel, values in zip(channels, columns[1::2], strict=True):
        if channel is not None:
            channel.add(values, iterations, increase)


def _increase(iterations: Sequence[int | None]) -> bool:
    if None in iterations:
        return False
    later = iter(iterations)
    next(later)
    return all(map(int.__lt__, iterations, later))  # type: ignore[arg-type]
