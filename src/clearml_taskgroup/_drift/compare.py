"""Finds drift: logged names that mean one metric but are spelt differently. Pure.

Names are compared by their words, not as texts: the words that remain without case, separators,
well-known abbreviations and the split must be the same, or one of them misspelt. Names that the same
tasks report are rarely one metric, because one script rarely logs the same value twice.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import chain, combinations, product
from typing import Any, Literal

import attrs

from .._model.metric_words import QUALITY_WORDS, has_quality, is_typo, loose_form, mode_of, one_letter_less
from .._model.name_template import DEFAULT_TEMPLATE, NameTemplate
from .parse_name import (
    MONITOR,
    SUMMARY,
    Context,
    ParsedName,
    contradicts,
    is_common_heading,
    parse_name,
    validation_synonyms,
)

ALWAYS_TOGETHER_SHARE = 0.9
"""Two names do not drift if at least this share of the tasks that report either reports both."""
RARELY_TOGETHER_SHARE = 0.1
"""Two names count as reported separately if at most this share of the rarer one's tasks reports both."""

DEFAULT_PROJECT, DEFAULT_GROUP = "my project", "my group"
"""The names in generated code if the tasks are of several projects or groups, or of none."""

Names = Iterable[tuple[str, str]]
"""The titles and series that a task logged; a single value's title is `Summary`."""


@attrs.frozen
class Spelling:
    """One name under which a metric was logged.

    Attributes:
        title, series: The name, as ClearML has it.
        tasks: The tasks that logged it.
        context: The context in the name, `{"split": "train"}`.
        alias: What a script would give to `report` for it.
        carried: The part of the context that `alias` contains.
    """

    title: str
    series: str
    tasks: frozenset[str]
    context: Mapping[str, Any]
    alias: str
    carried: Mapping[str, Any]
    _parsed: ParsedName = attrs.field(repr=False, eq=False)

    def __str__(self) -> str:
        return str(self._parsed)


@attrs.frozen
class LoggedMetric:
    """One metric with all the names under which it was logged.

    Attributes:
        name: A name for it in a vocabulary.
        spellings: The names under which it was logged, the most used first.
        mode: Which direction is better; None if its words do not say so.
        drifts: Whether tasks spell it differently.
    """

    name: str
    spellings: tuple[Spelling, ...]
    mode: Literal["max", "min"] | None
    drifts: bool

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks that logged it, under any name."""
        return tasks_of(self.spellings)


def tasks_of(spellings: Iterable[Spelling]) -> frozenset[str]:
    """Returns the tasks that logged any of the names."""
    return frozenset().union(*(spelling.tasks for spelling in spellings))


def find_metrics(reported: Mapping[str, Names]) -> list[LoggedMetric]:
    """Groups the names that tasks logged by metric.

    Args:
        reported: The names that each task logged, by an id of the task.

    Returns:
        All metrics: those that drift first, then the most used first.
    """
    tasks: dict[tuple[str, str], set[str]] = {}
    for task, names in reported.items():
        for title, series in names:
            if not title.startswith(MONITOR):
                tasks.setdefault((title, series), set()).add(task)
    heading = is_common_heading(tasks)
    opaque = {name[0] for name in tasks if not heading and name[0] != SUMMARY and contradicts(*name)}
    parsed_names = {name: parse_name(*name, heading=heading, opaque=name[0] in opaque) for name in tasks}
    by_task: dict[str, list[ParsedName]] = {}
    for name, having in tasks.items():
        for task in having:
            by_task.setdefault(task, []).append(parsed_names[name])
    same = validation_synonyms(by_task.values())
    groups: dict[tuple[str, str], list[Spelling]] = {}
    for name, having in tasks.items():
        parsed = parsed_names[name]
        spelling = Spelling(
            *name,
            tasks=frozenset(having),
            context=_with_one_validation_split(parsed.context, same),
            alias=parsed.alias,
            carried=_with_one_validation_split(parsed.carried, same),
            parsed=parsed,
        )
        groups.setdefault(("".join(parsed.words), parsed.period), []).append(spelling)
    found = [
        _logged_metric(spellings) for spellings in _merge_groups([groups[key] for key in sorted(groups)])
    ]
    found.sort(key=lambda metric: (not metric.drifts, -len(metric.tasks), metric.name))
    return found


def find_drift(reported: Mapping[str, Names]) -> list[LoggedMetric]:
    """Returns the metrics that tasks spell differently; see `find_metrics`."""
    return [metric for metric in find_metrics(reported) if metric.drifts]


def _with_one_validation_split(context: Context, same: Mapping[str, str]) -> dict[str, Any]:
    return {field: same.get(value, value) if field == "split" else value for field, value in context}


def _count_with_both(one: Spelling, other: Spelling) -> int:
    return len(one.tasks & other.tasks)


def _rarely_together(one: Spelling, other: Spelling) -> bool:
    """Whether hardly any task reports both."""
    return _count_with_both(one, other) <= RARELY_TOGETHER_SHARE * min(len(one.tasks), len(other.tasks))


def _often_separate(one: Spelling, other: Spelling) -> bool:
    """Whether enough tasks report one of two names without the other."""
    return _count_with_both(one, other) < ALWAYS_TOGETHER_SHARE * len(one.tasks | other.tasks)


# --- which names are of one metric -------------------------------------------------------------


def _merge_groups(groups: list[list[Spelling]]) -> list[list[Spelling]]:
    """Merges groups of similar names, unless tasks report names of both groups."""
    homes = list(groups)
    for at, other in _similar_pairs([group[0]._parsed for group in groups]):
        one, two = homes[at], homes[other]
        if one is not two and _can_merge(one, two):
            one += two
            homes = [one if home is two else home for home in homes]
    return list({id(home): home for home in homes}.values())


def _similar_pairs(parsed_names: list[ParsedName]) -> Iterable[tuple[int, int]]:
    """Yields the indices of pairs of similar names, whose words are not all the same."""
    places: dict[tuple[Any, ...], list[int]] = {}
    for at, parsed in enumerate(parsed_names):
        words, period = parsed.words, parsed.period
        places.setdefault(("loose", loose_form(words), period), []).append(at)
        if period in ("", "epoch"):
            places.setdefault(("epoch", words), []).append(at)
        for number, word in enumerate(words):
            if word.isalpha():
                rest = (number, words[:number], words[number + 1 :], period)
                places.setdefault(("quality", *rest), []).append(at)
                for shorter in one_letter_less(word):  # words at distance one share such a form
                    places.setdefault(("typo", *rest, shorter), []).append(at)
    by_step = {parsed.words for parsed in parsed_names if parsed.period not in ("", "epoch")}
    for (kind, what, *_), found in places.items():
        if len(found) == 1 or (kind == "epoch" and what in by_step):
            continue
        known = {at for at in found if kind == "quality" and parsed_names[at].words[what] in QUALITY_WORDS}
        pairs = product(sorted(known), (at for at in found if at not in known))
        for one, other in combinations(found, 2) if kind != "quality" else pairs:
            if kind in ("loose", "epoch") or is_typo(
                parsed_names[one].words[what], parsed_names[other].words[what]
            ):
                yield one, other


@functools.lru_cache(maxsize=4096)  # results ask for each metric of their tasks, again and again
def look_alike(one: str, other: str) -> bool:
    """Whether two metrics look like one, spelt in two ways: `acc` and `accuracy`, or one misspelt."""
    first, second = parse_name(one, one), parse_name(other, other)
    return first.context == second.context and next(iter(_similar_pairs([first, second])), None) is not None


def _can_merge(one: list[Spelling], other: list[Spelling]) -> bool:
    return all(_rarely_together(a, b) for a in one for b in other if a.context == b.context)


# --- whether they drift ------------------------------------------------------------------------


def _drifts(spellings: list[Spelling]) -> bool:
    return any(_is_drift(one, other) for one, other in combinations(spellings, 2))


def _is_drift(one: Spelling, other: Spelling) -> bool:
    """Whether two names of one metric cannot be compared in ClearML because they differ."""
    first, second = one._parsed, other._parsed
    if first.single != second.single and _curve_name(first) == _curve_name(second):
        return False
    if one.context == other.context:
        return _often_separate(one, other)
    if ("split" in one.context) != ("split" in other.context) and not has_quality(first.words):
        return False  # `train_time` is not `time`
    if first.layout[0] == second.layout[0] == one.alias == other.alias:
        return False  # both are in the plot with the metric's name: `loss/value` and `loss/val`
    if {k: v for k, v in one.context.items() if k != "split"} != {
        k: v for k, v in other.context.items() if k != "split"
    }:
        return False
    if first.raw_words != second.raw_words:
        return _often_separate(one, other)
    return first.single == second.single and first.layout != second.layout and _rarely_together(one, other)


def _curve_name(parsed: ParsedName) -> tuple[str, str]:
    """Returns title and series, for a single value those of a curve with its name."""
    if not parsed.single:
        return parsed.title, parsed.series
    title, _, series = parsed.series.partition("/")
    return title, series or title


# --- its name ---------------------------------------------------------------------------


def _logged_metric(spellings: list[Spelling]) -> LoggedMetric:
    spellings = sorted(spellings, key=lambda spelling: (-len(spelling.tasks), str(spelling)))
    best = max(spellings, key=lambda spelling: (has_quality(spelling._parsed.words), len(spelling.tasks)))
    words, drifts = best._parsed.words, _drifts(spellings)
    periods = {spelling._parsed.period for spelling in spellings}
    names = {spelling.alias for spelling in spellings}
    if not drifts and len(names) == 1 and not spellings[0].carried:
        (name,) = names  # all tasks call it the same
    else:
        name = best._parsed.name if drifts else "_".join(best._parsed.raw_words)
        if len(periods) == 1 and periods != {""}:
            name = f"{name}_{periods.pop()}"
    if not name.strip():  # names of blanks only
        name = next((alias for alias in sorted(names) if alias.strip()), "")
    mode: Any = mode_of(words)
    return LoggedMetric(name, tuple(spellings), mode, drifts)


def contexts_apart(metric: LoggedMetric, tasks: Collection[str]) -> list[list[Spelling]]:
    """Returns the contexts in which alone some tasks report a metric, if there are several.

    Args:
        metric: The metric.
        tasks: The tasks that count.

    Returns:
        For each such context the names that have it, with only the tasks that report no other context.
    """
    by_context: dict[str, list[Spelling]] = {}
    for spelling in metric.spellings:
        by_context.setdefault(repr(sorted(spelling.context.items())), []).append(spelling)
    times = Counter(chain.from_iterable(map(tasks_of, by_context.values())))
    alone = {task for task, number in times.items() if number == 1 and task in tasks}
    apart = [
        [attrs.evolve(each, tasks=each.tasks & alone) for each in same if each.tasks & alone]
        for same in by_context.values()
    ]
    found = [names for names in apart if names]
    return found if len(found) > 1 else []


# --- the vocabulary


def reported_both(metric: LoggedMetric) -> list[tuple[str, str, int]]:
    """Lists pairs of names of one curve that some tasks report both of, with the number of these tasks.

    They cannot be merged, because a vocabulary refuses two names of one metric in one report.
    """
    return [
        (one.alias, other.alias, _count_with_both(one, other))
        for one, other in combinations(metric.spellings, 2)
        if _reported_together(one, other)
    ]


def mergeable_parts(metric: LoggedMetric) -> list[list[Spelling]]:
    """Splits the names of a metric into parts that can be merged: no task reports two names of one part."""
    spelt: dict[str, list[Spelling]] = {}
    for spelling in sorted(metric.spellings, key=lambda spelling: spelling.alias != metric.name):
        spelt.setdefault(spelling.alias, []).append(spelling)
    parts: list[list[Spelling]] = []
    for own in spelt.values():
        for part in parts:
            if not any(_reported_together(one, other) for one in own for other in part):
                part += own
                break
        else:
            parts.append(list(own))
    return parts


def _reported_together(one: Spelling, other: Spelling) -> bool:
    named = one.alias.strip() and other.alias.strip() and one.alias != other.alias
    return bool(named) and one.context == other.context and _count_with_both(one, other) > 0


def vocabulary_code(
    metrics: Iterable[LoggedMetric],
    project: str = DEFAULT_PROJECT,
    name: str = DEFAULT_GROUP,
    fields: Iterable[str] = (),
    template: str = DEFAULT_TEMPLATE,
) -> str:
    """Returns code to paste: a vocabulary that gives each metric one name.

    Names of one metric that some tasks report both of stay separate metrics.

    Args:
        metrics: The metrics that `find_metrics` returned.
        project: The project of the group in the code.
        name: The name of that group.
        fields: Further context fields for the template, beside those found in the names.
        template: The template of the tasks' group; what it lacks of the fields is added.
    """
    listed = [metric for metric in metrics if metric.name.strip()]
    taken = {spelling.alias for metric in listed for spelling in metric.spellings}
    used: set[str] = set()
    lines, needed = [], set(fields)
    for metric in listed:
        for number, part in enumerate(mergeable_parts(metric)):
            own = {spelling.alias for spelling in part}
            chosen = metric.name if number == 0 or len(own) > 1 else part[0].alias
            while chosen in used or (chosen in taken and chosen not in own):
                chosen += "_"
            aliases = {
                spelling.alias: spelling.carried
                for spelling in part
                if spelling.alias.strip() and spelling.alias not in used and spelling.alias != chosen
            }
            if number and not aliases and chosen not in own:
                continue  # its names are all used by other metrics
            used |= {chosen, *aliases}
            lines += _metric_code(chosen, metric.mode, aliases)
            if metric.drifts:
                lines += _split_comments(chosen, part)
        needed |= {field for spelling in metric.spellings for field in spelling.context}
        lines += _unmerged_comments(metric)
    needed -= {*NameTemplate(template).fields}
    template += " {split=value}" if "split" in needed else ""
    template += "".join(f" {field}={{{field}=all}}" for field in sorted(needed - {"split"}))
    head = ["from clearml_taskgroup import Metric, TaskGroup", "", "metrics = ["]
    names = f"{_string_code(project)}, {_string_code(name)}"
    group = f"group = TaskGroup({names}, template={_string_code(template)}, metrics=metrics)"
    return "\n".join([*head, *lines, "]", group])


def _metric_code(name: str, mode: str | None, aliases: Mapping[str, Mapping[str, Any]]) -> list[str]:
    parts = [_string_code(name)]
    if mode is not None:
        parts.append(f"mode={_string_code(mode)}")
    if any(aliases.values()):
        entries = [f"{_string_code(alias)}: {_dict_code(carried)}" for alias, carried in aliases.items()]
        parts.append("aliases={" + ", ".join(entries) + "}")
    elif aliases:
        entries = [_string_code(alias) for alias in aliases]
        parts.append("aliases=[" + ", ".join(entries) + "]")
    line = f"    Metric({', '.join(parts)})," if len(parts) > 1 else f"    {parts[0]},"
    if len(line) <= 100 or not aliases:
        return [line]
    start, end = parts[-1][: len("aliases={")], parts[-1][-1]
    parts[-1] = start
    return [f"    Metric({', '.join(parts)}", *(f"        {entry}," for entry in entries), f"    {end}),"]


def _unmerged_comments(metric: LoggedMetric) -> list[str]:
    return [
        f"    # tasks that report both {_string_code(one)} and {_string_code(other)}: {count}; "
        "they stay two metrics"
        for one, other, count in reported_both(metric)
    ]


def _split_comments(name: str, part: Iterable[Spelling]) -> list[str]:
    """Comments on splits that no alias can fix, so that scripts have to change.

    Args:
        name: The name of the metric in the vocabulary.
        part: The names that it unifies.
    """
    by_split: dict[Any, list[str]] = {}
    for spelling in part:
        if "split" in spelling.context:
            split = spelling.context["split"]
            # What an alias contains is what the vocabulary says of it; what is beside it, scripts write.
            written = split if "split" in spelling.carried else spelling._parsed.written_split
            by_split.setdefault(split, []).append(written)
    lines = []
    for split, texts in by_split.items():
        if len(written := sorted(dict.fromkeys(texts))) > 1:
            names = ", ".join(map(_string_code, written))
            lines.append(
                f"    # {_string_code(name)} has the splits {names}: write split={_string_code(split)}"
            )
    return lines


def _dict_code(carried: Mapping[str, Any]) -> str:
    inside = (
        f"{_string_code(field)}: {_string_code(value) if isinstance(value, str) else value}"
        for field, value in carried.items()
    )
    return "{" + ", ".join(inside) + "}"


def _string_code(text: str) -> str:
    """Returns a string literal, with double quotes if possible."""
    plain = repr(text)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in text and "\\'" not in plain else plain
