"""What values are of, found again: (metric, context) as a user asks for it; tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from ._drift.lexicon import mode_of
from ._drift.wording import read
from ._identity import typed
from ._names import Context, Measure, context_of, measure_text
from ._reporter import Stats
from ._template import NameTemplate
from ._vocabulary import Vocabulary
from .errors import AmbiguousResultError, ArgumentError, NoSuchResultError

Of = Literal["first", "last", "min", "max", "mean"]
Mode = Literal["max", "min"]
OF = ("first", "last", "min", "max", "mean")


@attrs.frozen
class Words:
    """What is needed to understand a metric and a context as `report` does."""

    template: NameTemplate
    vocabulary: Vocabulary | None

    def find(self, metric: str, context: Mapping[str, Any], known: Iterable[Measure]) -> Measure:
        """Finds the one (metric, context) that is meant; fields that are left out match any.

        Raises:
            NoSuchResultError: Nothing matches.
            AmbiguousResultError: More than one matches.
        """
        if self.vocabulary is not None:
            metric, context = self.vocabulary.resolve(metric, context)
        wanted = context_of(self.template, context)
        at_default = {field for field in context if field not in dict(wanted)}
        listed = list(dict.fromkeys(known))
        found = [
            measure for measure in listed if measure[0] == metric and _matches(measure[1], wanted, at_default)
        ]
        asked = measure_text((metric, wanted))
        if not found:
            raise NoSuchResultError(asked, [measure_text(measure) for measure in listed])
        if len(found) > 1:
            raise AmbiguousResultError(asked, [self._in_full(measure) for measure in found])
        return found[0]

    def _in_full(self, measure: Measure) -> str:
        """Writes a measure with the defaults of the template, by which it can be asked for."""
        context = dict(measure[1])
        left = [(field, text) for field, text in self.template.defaults.items() if field not in context]
        return measure_text((measure[0], tuple(sorted((*measure[1], *left)))))

    def label(self, measure: Measure) -> str:
        """Writes a measure for people, with the vocabulary's unit."""
        entry = self.vocabulary.metrics.get(measure[0]) if self.vocabulary is not None else None
        return measure_text(measure) + (f" ({entry.unit})" if entry is not None and entry.unit else "")

    def mode(self, metric: str, mode: Mode | None) -> Mode:
        """Gives which is better, from the call or the vocabulary.

        Raises:
            ArgumentError: Neither says.
        """
        if mode is None and self.vocabulary is not None:
            name, _ = self.vocabulary.resolve(metric, {})
            mode = self.vocabulary.metrics[name].mode
        if mode not in ("max", "min"):
            expected = f"'max' or 'min', which of them is better (or metrics=[Metric({metric!r}, mode=…)])"
            raise ArgumentError("mode", mode, expected)
        return mode

    def likely_mode(self, metric: str, mode: Mode | None = None) -> Mode | None:
        """Gives which is probably better, for what is only shown; None where nobody can tell."""
        if mode is not None:
            return self.mode(metric, mode)
        known = self.vocabulary
        if known is not None and metric in known:
            named: Mode | None = known.metrics[known.resolve(metric, {})[0]].mode
            if named is not None:
                return named
        return mode_of(read(metric, metric).words)


def _matches(context: Context, wanted: Context, at_default: set[str]) -> bool:
    have = dict(context)
    same = all(field in have and typed(have[field]) == typed(value) for field, value in wanted)
    return same and not at_default & have.keys()


def number(stats: Stats, of: Of) -> float:
    if of not in OF:
        raise ArgumentError("of", of, "one of " + ", ".join(map(repr, OF)))
    return float(getattr(stats, of))


@attrs.frozen
class Best:
    """The best task, or configuration, for one metric.

    Attributes:
        name: Which it is, for people.
        params: Its parameters.
        value: Its value, or its mean over several tasks.
        metric: What was asked, with its context, `accuracy[split=val]`.
        of: Which of a task's values it is: `"last"`, `"first"`, `"min"`, `"max"` or `"mean"`.
        mode: Which was taken for better, `"max"` or `"min"`.
        key: The task's key; None for a configuration.
        id: The ClearML task's id; None for a configuration.
        std: The sample standard deviation over the tasks of a configuration; None for a task.
        sem: The standard error of the mean; None for a task.
        n: How many tasks it is a mean over.
    """

    name: str
    params: Mapping[str, Any]
    value: float
    metric: str
    of: str
    mode: Mode
    key: str | None = None
    id: str | None = None
    std: float | None = None
    sem: float | None = None
    n: int = 1

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.4g} (mean ± std, n={self.n})"
        return f"{self.name}: {self.metric} = {self.value:.6g}{spread}"
