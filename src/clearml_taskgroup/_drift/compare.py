"""Drift: which of the names that tasks logged look like one metric, spelt differently. Pure.

Two names are never alike because they resemble each other as texts: the words that are left after
case, separators, well-known abbreviations and the split must be the same, or one a misspelling.
What tasks report together is what it is called by one script, and so rarely the same thing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations, product
from typing import Any, Literal

import attrs

from .._model.metric_words import QUALITY, has_quality, is_typo, loose, mode_of, shortened
from .parse_name import MONITOR, Context, Reading, is_heading, read, same_splits

ALWAYS_TOGETHER = 0.9
"""The share of tasks from which on two names that always come together do not drift."""
HARDLY_TOGETHER = 0.1
"""The share of the rarer one's tasks up to which two names count as never reported together."""

PROJECT, GROUP = "my project", "my group"
"""What code to paste has where nothing is known of the group's names."""

Names = Iterable[tuple[str, str]]
"""The titles and series that a task logged; a single value's title is `Summary`."""


@attrs.frozen
class Spelling:
    """One name under which a metric was logged.

    Attributes:
        title, series: The name, as ClearML has it.
        tasks: The tasks that logged it.
        context: What the name says beside the metric, `{"split": "train"}`.
        alias: What `report` would be given for it, and `carried`, the context that is in there.
    """

    title: str
    series: str
    tasks: frozenset[str]
    context: Mapping[str, Any]
    alias: str
    carried: Mapping[str, Any]
    _reading: Reading = attrs.field(repr=False, eq=False)

    def __str__(self) -> str:
        return str(self._reading)


@attrs.frozen
class LoggedMetric:
    """One metric, by all the names under which it was logged.

    Attributes:
        name: What to call it.
        spellings: Its names, the most used first.
        mode: Which is better, where the words say so.
        drifts: Whether tasks spell it differently.
    """

    name: str
    spellings: tuple[Spelling, ...]
    mode: Literal["max", "min"] | None
    drifts: bool

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks that logged it, by whatever name."""
        return frozenset().union(*(spelling.tasks for spelling in self.spellings))


def metrics_of(reported: Mapping[str, Names]) -> list[LoggedMetric]:
    """Finds which names are of which metric.

    Args:
        reported: The names that each task logged, by something that tells the tasks apart.

    Returns:
        All metrics, those that drift first, the most used first.
    """
    tasks: dict[tuple[str, str], set[str]] = {}
    for task, names in reported.items():
        for title, series in names:
            if not title.startswith(MONITOR):
                tasks.setdefault((title, series), set()).add(task)
    heading = is_heading(tasks)
    readings = {name: read(*name, heading=heading) for name in tasks}
    by_task: dict[str, list[Reading]] = {}
    for name, having in tasks.items():
        for task in having:
            by_task.setdefault(task, []).append(readings[name])
    same = same_splits(by_task.values())
    groups: dict[tuple[tuple[str, ...], str], list[Spelling]] = {}
    for name, having in tasks.items():
        reading = readings[name]
        spelling = Spelling(
            *name,
            tasks=frozenset(having),
            context=_unified(reading.context, same),
            alias=reading.alias,
            carried=_unified(reading.carried, same),
            reading=reading,
        )
        groups.setdefault((("".join(reading.words),), reading.period), []).append(spelling)
    found = [_metric(spellings) for spellings in _merged([groups[key] for key in sorted(groups)])]
    found.sort(key=lambda metric: (not metric.drifts, -len(metric.tasks), metric.name))
    return found


def drifting(reported: Mapping[str, Names]) -> list[LoggedMetric]:
    """Finds the metrics that tasks spell differently; see `metrics_of`."""
    return [metric for metric in metrics_of(reported) if metric.drifts]


def _unified(context: Context, same: Mapping[str, str]) -> dict[str, Any]:
    return {field: same.get(value, value) if field == "split" else value for field, value in context}


def _together(one: Spelling, other: Spelling) -> int:
    return len(one.tasks & other.tasks)


def _apart(one: Spelling, other: Spelling) -> bool:
    """Tells whether hardly any task reports both."""
    return _together(one, other) <= HARDLY_TOGETHER * min(len(one.tasks), len(other.tasks))


def _vary(one: Spelling, other: Spelling) -> bool:
    """Tells whether there are tasks that report one of two names without the other."""
    return _together(one, other) < ALWAYS_TOGETHER * len(one.tasks | other.tasks)


# --- which names are of one metric -------------------------------------------------------------


def _merged(groups: list[list[Spelling]]) -> list[list[Spelling]]:
    """Joins groups of names that resemble each other, as far as no task contradicts."""
    homes = list(groups)
    for at, other in _resembling([group[0]._reading for group in groups]):
        one, two = homes[at], homes[other]
        if one is not two and _fit(one, two):
            one += two
            homes = [one if home is two else home for home in homes]
    return list({id(home): home for home in homes}.values())


def _resembling(readings: list[Reading]) -> Iterable[tuple[int, int]]:
    """Gives the places of pairs that resemble each other, though not in all of their words."""
    places: dict[tuple[Any, ...], list[int]] = {}
    for at, reading in enumerate(readings):
        words, period = reading.words, reading.period
        places.setdefault(("loose", loose(words), period), []).append(at)
        if period in ("", "epoch"):
            places.setdefault(("epoch", words), []).append(at)
        for number, word in enumerate(words):
            if word.isalpha():
                rest = (number, words[:number], words[number + 1 :], period)
                places.setdefault(("quality", *rest), []).append(at)
                for shorter in shortened(word):  # two words that are one letter apart share such a form
                    places.setdefault(("typo", *rest, shorter), []).append(at)
    by_step = {reading.words for reading in readings if reading.period not in ("", "epoch")}
    for (kind, what, *_), found in places.items():
        if len(found) == 1 or (kind == "epoch" and what in by_step):
            continue
        known = {at for at in found if kind == "quality" and readings[at].words[what] in QUALITY}
        pairs = product(sorted(known), (at for at in found if at not in known))
        for one, other in combinations(found, 2) if kind != "quality" else pairs:
            if kind in ("loose", "epoch") or is_typo(readings[one].words[what], readings[other].words[what]):
                yield one, other


def _fit(one: list[Spelling], other: list[Spelling]) -> bool:
    return all(_apart(a, b) for a in one for b in other if a.context == b.context)


# --- whether they drift ------------------------------------------------------------------------


def _drifts(spellings: list[Spelling]) -> bool:
    return any(_conflict(one, other) for one, other in combinations(spellings, 2))


def _conflict(one: Spelling, other: Spelling) -> bool:
    """Tells whether two names of one metric hide from each other that they are."""
    first, second = one._reading, other._reading
    if first.single != second.single and _curve(first) == _curve(second):
        return False
    if one.context == other.context:
        return _vary(one, other)
    if ("split" in one.context) != ("split" in other.context) and not has_quality(first.words):
        return False  # `train_time` is not `time`
    if first.scheme[0] == second.scheme[0] == one.alias == other.alias and not (one.carried or other.carried):
        return False  # they are in one plot, under the metric's name: `loss/value` beside `loss/val`
    if {k: v for k, v in one.context.items() if k != "split"} != {
        k: v for k, v in other.context.items() if k != "split"
    }:
        return False
    if first.core != second.core:
        return _vary(one, other)
    return first.single == second.single and first.scheme != second.scheme and _apart(one, other)


def _curve(reading: Reading) -> tuple[str, str]:
    """The title and series of a curve with the name of a single value."""
    if not reading.single:
        return reading.title, reading.series
    title, _, series = reading.series.partition("/")
    return title, series or title


# --- what to call it ---------------------------------------------------------------------------


def _metric(spellings: list[Spelling]) -> LoggedMetric:
    spellings = sorted(spellings, key=lambda spelling: (-len(spelling.tasks), str(spelling)))
    best = max(spellings, key=lambda spelling: (has_quality(spelling._reading.words), len(spelling.tasks)))
    words, drifts = best._reading.words, _drifts(spellings)
    periods = {spelling._reading.period for spelling in spellings}
    names = {spelling.alias for spelling in spellings}
    if not drifts and len(names) == 1 and not spellings[0].carried:
        (name,) = names  # it is called one thing, and may stay so
    else:
        name = best._reading.name if drifts else "_".join(best._reading.core)
        if len(periods) == 1 and periods != {""}:
            name = f"{name}_{periods.pop()}"
    if not name.strip():  # names of blanks and nothing else
        name = next((alias for alias in sorted(names) if alias.strip()), "")
    mode: Any = mode_of(words)
    return LoggedMetric(name, tuple(spellings), mode, drifts)


# --- the cure ----------------------------------------------------------------------------------


def reported_both(metric: LoggedMetric) -> list[tuple[str, str, int]]:
    """Finds the names of one curve that some tasks report both of, with how many these are.

    A vocabulary refuses two names of one metric in one report: such names cannot be merged.
    """
    return [
        (one.alias, other.alias, _together(one, other))
        for one, other in combinations(metric.spellings, 2)
        if _clash(one, other)
    ]


def parts_of(metric: LoggedMetric) -> list[list[Spelling]]:
    """Divides the names of a metric into as many as no task reports two of; mostly that is one part."""
    spelt: dict[str, list[Spelling]] = {}
    for spelling in sorted(metric.spellings, key=lambda spelling: spelling.alias != metric.name):
        spelt.setdefault(spelling.alias, []).append(spelling)
    parts: list[list[Spelling]] = []
    for own in spelt.values():
        for part in parts:
            if not any(_clash(one, other) for one in own for other in part):
                part += own
                break
        else:
            parts.append(list(own))
    return parts


def _clash(one: Spelling, other: Spelling) -> bool:
    named = one.alias.strip() and other.alias.strip() and one.alias != other.alias
    return bool(named) and one.context == other.context and _together(one, other) > 0


def cure(
    metrics: Iterable[LoggedMetric], project: str = PROJECT, name: str = GROUP, fields: Iterable[str] = ()
) -> str:
    """Writes the vocabulary under which each metric has one name, as code to paste.

    Names of one metric that some tasks report both of stay metrics of their own there.

    Args:
        metrics: What `metrics_of` found.
        project: The project of the group that the code makes.
        name: Its name.
        fields: Fields of contexts that the template must have beside those of the names.
    """
    listed = [metric for metric in metrics if metric.name.strip()]
    taken = {spelling.alias for metric in listed for spelling in metric.spellings}
    told: set[str] = set()
    lines, needed = [], {field for field in fields if field != "split"}
    for metric in listed:
        for number, part in enumerate(parts_of(metric)):
            own = {spelling.alias for spelling in part}
            chosen = metric.name if number == 0 or len(own) > 1 else part[0].alias
            while chosen in told or (chosen in taken and chosen not in own):
                chosen += "_"
            aliases = {
                spelling.alias: spelling.carried
                for spelling in part
                if spelling.alias.strip() and spelling.alias not in told and spelling.alias != chosen
            }
            if number and not aliases and chosen not in own:
                continue  # another metric has all of its names
            told |= {chosen, *aliases}
            lines += _entry(chosen, metric.mode, aliases)
        needed |= {field for spelling in metric.spellings for field in spelling.context if field != "split"}
        lines += [*_twice(metric), *_by_hand(metric)]
    more = "".join(f" {field}={{{field}=all}}" for field in sorted(needed))
    template = "{metric}/{split=value}" + more
    head = ["from clearml_taskgroup import Metric, TaskGroup", "", "metrics = ["]
    names = f"{_quoted(project)}, {_quoted(name)}"
    group = f"group = TaskGroup({names}, template={_quoted(template)}, metrics=metrics)"
    return "\n".join([*head, *lines, "]", group])


def _entry(name: str, mode: str | None, aliases: Mapping[str, Mapping[str, Any]]) -> list[str]:
    parts = [_quoted(name)]
    if mode is not None:
        parts.append(f"mode={_quoted(mode)}")
    if any(aliases.values()):
        entries = [f"{_quoted(alias)}: {_context(carried)}" for alias, carried in aliases.items()]
        parts.append("aliases={" + ", ".join(entries) + "}")
    elif aliases:
        entries = [_quoted(alias) for alias in aliases]
        parts.append("aliases=[" + ", ".join(entries) + "]")
    line = f"    Metric({', '.join(parts)})," if len(parts) > 1 else f"    {parts[0]},"
    if len(line) <= 100 or not aliases:
        return [line]
    start, end = parts[-1][: len("aliases={")], parts[-1][-1]
    parts[-1] = start
    return [f"    Metric({', '.join(parts)}", *(f"        {entry}," for entry in entries), f"    {end}),"]


def _twice(metric: LoggedMetric) -> list[str]:
    """Tells of names of one curve that stay apart."""
    return [
        f"    # tasks that report both {_quoted(one)} and {_quoted(other)}: {both}; they stay two metrics"
        for one, other, both in reported_both(metric)
    ]


def _by_hand(metric: LoggedMetric) -> list[str]:
    """Tells of splits that scripts have to spell alike, as no alias stands for them."""
    known: dict[tuple[str, Any], list[Spelling]] = {}
    for spelling in metric.spellings if metric.drifts else ():
        if "split" in spelling.context and "split" not in spelling.carried:
            known.setdefault((spelling.alias, spelling.context["split"]), []).append(spelling)
    lines = []
    for (_, split), spellings in known.items():
        written = list(dict.fromkeys(spelling._reading.written_split for spelling in spellings))
        if len(written) > 1:
            names = ", ".join(map(_quoted, written))
            lines.append(f"    # {_quoted(metric.name)} has the splits {names}: write split={_quoted(split)}")
    return lines


def _context(carried: Mapping[str, Any]) -> str:
    inside = (
        f"{_quoted(field)}: {_quoted(value) if isinstance(value, str) else value}"
        for field, value in carried.items()
    )
    return "{" + ", ".join(inside) + "}"


def _quoted(text: str) -> str:
    """Writes text as Python does, in the double quotes of code for people."""
    plain = repr(text)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in text and "\\'" not in plain else plain
