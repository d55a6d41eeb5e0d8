"""Finds the best row, without looking again at rows that an earlier call has looked at.

In a loop over tasks that asks for the best so far, most rows are those of the iteration before. So rows are
looked at in blocks, and a block of the same rows keeps what was found in it.
"""

from __future__ import annotations

import itertools
import operator
from typing import TYPE_CHECKING

import attrs

from .filtering import counting_stats, in_other_contexts, is_comparable
from .rows import best_of, metric_keys_of, statistic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model.metrics import MetricKey
    from .rows import Mode, Of, Row, RowValue

BLOCK_SIZE = 64
"""Rows of a block. Each call looks at all blocks, and at the rows of those that have changed."""


@attrs.frozen(eq=False)
class RowBlock:
    """Rows next to each other.

    Attributes:
        rows: The rows.
        comparable: Those whose values count.
        diverged: Those of `comparable` in which some metric has diverged.
        metric_keys: The metrics of `comparable`.
    """

    rows: tuple[Row, ...]
    comparable: Sequence[Row] = attrs.field(init=False)
    diverged: Sequence[Row] = attrs.field(init=False)
    metric_keys: Sequence[MetricKey] = attrs.field(init=False)
    _best: dict[tuple[MetricKey, Of, Mode], RowValue | None] = attrs.field(init=False, factory=dict)
    _ties: dict[tuple[MetricKey, Of, Mode], int] = attrs.field(init=False, factory=dict)
    _elsewhere: dict[MetricKey, dict[str, list[MetricKey]]] = attrs.field(init=False, factory=dict)

    @comparable.default
    def _comparable_rows(self) -> list[Row]:
        return [row for row in self.rows if is_comparable(row)]

    @diverged.default
    def _diverged_rows(self) -> list[Row]:
        return [row for row in self.comparable if row.diverged]

    @metric_keys.default
    def _metric_keys(self) -> list[MetricKey]:
        return metric_keys_of(self.comparable)

    def best(self, metric_key: MetricKey, mode: Mode, of: Of) -> RowValue | None:
        """Returns the best row, the first one of several, and its value; None if no value counts."""
        asked = (metric_key, of, mode)
        if asked in self._best:
            return self._best[asked]
        rows, stats = counting_stats(self.comparable, metric_key, of)
        values = [(row, statistic(of_row, of)) for row, of_row in zip(rows, stats, strict=True)]
        found = best_of(values, operator.itemgetter(1), mode) if values else None
        self._ties[asked] = 0 if found is None else sum(value == found[1] for _, value in values)
        if of != "mean":  # means may still have to be read from a server
            self._best[asked] = found
        return found

    def ties(self, asked: tuple[MetricKey, Of, Mode], value: float) -> int:
        """Counts the rows with a value that is as good as the best of all rows."""
        metric_key, of, mode = asked
        own = self.best(metric_key, mode, of)
        return 0 if own is None or own[1] != value else self._ties[asked]

    def elsewhere(self, metric_key: MetricKey) -> dict[str, list[MetricKey]]:
        """Returns the tasks that have the metric in other contexts only; see `in_other_contexts`."""
        if metric_key not in self._elsewhere:
            self._elsewhere[metric_key] = in_other_contexts(self.comparable, metric_key, self.metric_keys)
        return self._elsewhere[metric_key]


@attrs.define(eq=False, repr=False)
class RowBlocks:
    """The blocks of the rows that were looked at last; the results of a run share one object.

    Attributes:
        in_order: The rows of the latest results.
    """

    in_order: tuple[Row, ...] = ()
    _last: tuple[tuple[Row, ...], tuple[RowBlock, ...]] = ((), ())

    def of(self, rows: tuple[Row, ...]) -> tuple[RowBlock, ...]:
        """Returns the blocks of rows, known ones where the rows are the same."""
        last, known = self._last
        if rows is last:
            return known
        before = itertools.chain(known, itertools.repeat(None))
        parts = (rows[first : first + BLOCK_SIZE] for first in range(0, len(rows), BLOCK_SIZE))
        blocks = tuple(
            block if block is not None and block.rows == part else RowBlock(part)
            for part, block in zip(parts, before, strict=False)
        )
        self._last = (rows, blocks)
        return blocks

    def diverged(self, rows: tuple[Row, ...], metric_key: MetricKey) -> tuple[str, ...]:
        """Returns the names of the tasks in which the metric has diverged."""
        found = (row for block in self.of(rows) for row in block.diverged)
        return tuple(row.name for row in found if metric_key in row.diverged)

    def ties(self, rows: tuple[Row, ...], asked: tuple[MetricKey, Of, Mode], value: float) -> int:
        """Counts the rows with the best value."""
        return sum(block.ties(asked, value) for block in self.of(rows))

    def elsewhere(self, rows: tuple[Row, ...], metric_key: MetricKey) -> dict[str, list[MetricKey]]:
        """Returns the tasks that have the metric in other contexts only, with what they have."""
        found = [block.elsewhere(metric_key) for block in self.of(rows)]
        return {name: have for of_block in found for name, have in of_block.items()}
