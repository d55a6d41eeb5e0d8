"""What changed between two runs: configurations, values, statuses, code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from .._model.status import shown_status
from .._text import counted, natural, some
from .changed_parameters import change_text, distinct_labels, pair_changed
from .code_version import CodeVersion, code_changes, code_of, diff_lines
from .export import Tabular, column_names
from .filtering import has_value
from .rows import About, Of, Row, statistic, with_statistic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._model.metrics import MetricKey
    from .results import Results


@attrs.frozen
class DiffRow:
    """A configuration in one or both of two runs.

    Attributes:
        name: The task's name.
        params: The task's parameters.
        before: Its row in the other run; None if it was added.
        after: Its row in this run; None if it was removed.
        changed: The parameters that were changed between the runs; the others are the same.
    """

    name: str
    params: Mapping[str, Any]
    before: Row | None
    after: Row | None
    changed: tuple[str, ...] = ()

    @property
    def change(self) -> str:
        """`"added"`, `"removed"`, `"changed"`, or `"in both"`."""
        if self.changed:
            return "changed"
        return "added" if self.before is None else "removed" if self.after is None else "in both"

    @property
    def changes(self) -> str:
        """The parameters that were changed, with both values, `C 1 → 5`; empty if none was."""
        if self.before is None or self.after is None:
            return ""
        return change_text(self.before, self.after, self.changed)


@attrs.frozen(repr=False)
class RunDiff(Tabular[DiffRow]):
    """What changed from one run to another; returned by `results.diff`.

    Attributes:
        rows: A row per configuration of either run, those that were removed last.
        before: The other run.
        after: This run.
        code_before: The code of the other run; None if it is not known.
        code_after: The code of this run; None if it is not known.
        of: The statistic of each task that is compared.
    """

    rows: tuple[DiffRow, ...]
    before: About
    after: About
    code_before: CodeVersion | None
    code_after: CodeVersion | None
    of: Of
    _results: Results

    @property
    def added(self) -> list[Row]:
        """The tasks whose configuration only this run has."""
        return [row.after for row in self.rows if row.before is None and row.after is not None]

    @property
    def removed(self) -> list[Row]:
        """The tasks whose configuration only the other run has."""
        return [row.before for row in self.rows if row.after is None and row.before is not None]

    def code_changes(self) -> list[str]:
        """Lists what differs in commit, uncommitted changes and packages, a sentence for each."""
        return code_changes(self.code_before, self.code_after)

    def code_diff(self) -> str:
        """Returns how the uncommitted changes differ, in the unified format; empty if they do not."""
        if self.code_before is None or self.code_after is None:
            return ""
        return "\n".join(diff_lines(self.code_before, self.code_after))

    def to_records(self) -> list[dict[str, Any]]:
        """Returns a flat dict per configuration.

        The entries: `name`, `change`, `changes` (`C 1 → 5`), `status.before`, `status.after`, `params.C` for
        each parameter, and for each metric and context `accuracy[split=val].before`, `.after` and
        `.difference`. None for what a run does not have.
        """
        records, metric_keys = [], self._metric_keys
        for row in self.rows:
            record: dict[str, Any] = {"name": row.name, "change": row.change, "changes": row.changes}
            record |= {f"status.{when}": one and one.status for when, one in _both(row)}
            record |= {f"params.{name}": row.params[name] for name in sorted(row.params, key=natural)}
            for metric_key in metric_keys:
                before, after = (_value(one, metric_key, self.of) for _, one in _both(row))
                record[f"{metric_key!s}.before"], record[f"{metric_key!s}.after"] = before, after
                known = None if before is None or after is None else after - before
                record[f"{metric_key!s}.difference"] = known
            records.append(record)
        return records

    @property
    def _metric_keys(self) -> list[MetricKey]:
        rows = (one for row in self.rows for one in (row.after, row.before) if one is not None)
        return list(dict.fromkeys(metric_key for one in rows for metric_key in one.stats))

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        return column_names(
            ("name", "change", "changes", "status.before", "status.after"), self.rows, records
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        labels = [
            with_statistic(self._results.label(metric_key), self.of) for metric_key in self._metric_keys
        ]
        tasks = [one for row in self.rows if (one := row.after or row.before) is not None]
        names = distinct_labels([row.name for row in self.rows], tasks)
        names = [
            f"{name}: {row.changes}" if row.changed else name
            for name, row in zip(names, self.rows, strict=True)
        ]
        body = [
            [
                name,
                _status_text(row),
                *(_cell(row, metric_key, self.of) for metric_key in self._metric_keys),
            ]
            for name, row in zip(names, self.rows, strict=True)
        ]
        return ["task", "status", *labels], body

    def _notes(self) -> list[str]:
        both = [row for row in self.rows if row.before is not None and row.after is not None]
        changed = [row.changes for row in both if row.changed]
        same = self.before.group_id == self.after.group_id
        names = [f"run {one.run_number}" if same else str(one) for one in (self.before, self.after)]
        counts = f"{len(self.added)} added, {len(self.removed)} removed"
        if changed:
            counts = f"{len(changed)} changed ({some(list(dict.fromkeys(changed)))}), {counts}"
        same_parameters = counted(len(both) - len(changed), "configuration")
        notes = [f"{names[0]} → {names[1]}: {same_parameters} in both, {counts}"]
        for what, one, other in (("added", self.added, self.removed), ("removed", self.removed, self.added)):
            new = {name for row in one for name in row.parameter_names}
            old = {name for row in (*other, *(row.after for row in both if row.after)) for name in row.params}
            if old and new - old:
                notes.append(f"parameters {what}: {some(sorted(new - old))}")
        notes += filter(None, (self._summary(both, metric_key) for metric_key in self._metric_keys))
        return notes + self.code_changes()

    def _summary(self, rows: Iterable[DiffRow], metric_key: MetricKey) -> str:
        """Says of one metric how many configurations have become better."""
        pairs = [[_value(one, metric_key, self.of) for _, one in _both(row)] for row in rows]
        differences = [after - before for before, after in pairs if before is not None and after is not None]
        if not differences:
            return ""
        mode = self._results.mode_of(metric_key.metric)
        up, down = sum(one > 0 for one in differences), sum(one < 0 for one in differences)
        words = {"max": ("better", "worse"), "min": ("worse", "better"), None: ("higher", "lower")}[mode]
        mean = math.fsum(differences) / len(differences)
        counts = [f"{up} {words[0]}", f"{down} {words[1]}"]
        equal = f"{len(differences) - up - down} equal"
        listed = ", ".join([*(counts[::-1] if mode == "min" else counts), equal])
        return f"{self._results.label(metric_key)}: {listed}; mean difference {mean:+.3g}"


def _both(row: DiffRow) -> tuple[tuple[str, Row | None], tuple[str, Row | None]]:
    return ("before", row.before), ("after", row.after)


def _value(row: Row | None, metric_key: MetricKey, of: Of) -> float | None:
    """Returns a task's value; None if it has none that counts."""
    if row is None or not has_value(row, metric_key, of):
        return None
    return statistic(row.stats[metric_key], of)


def _status_text(row: DiffRow) -> str:
    texts = [shown_status(one.status, one.status_reason) for _, one in _both(row) if one is not None]
    if len(texts) == 1:
        return f"{row.change} ({texts[0]})"
    return " → ".join(dict.fromkeys(texts))


def _cell(row: DiffRow, metric_key: MetricKey, of: Of) -> str:
    before, after = (_value(one, metric_key, of) for _, one in _both(row))
    texts = ["–" if value is None else f"{value:.4g}" for value in (before, after)]
    if row.before is None or row.after is None:
        return texts[0] if row.after is None else texts[1]
    if before is None or after is None:
        return " → ".join(texts) if texts[0] != texts[1] else "–"
    return f"{texts[1]} (=)" if before == after else f"{texts[0]} → {texts[1]} ({after - before:+.3g})"


def diff_results(after: Results, before: Results, of: Of) -> RunDiff:
    """Compares two runs; see `Results.diff`."""
    if of == "mean":
        before.with_means(), after.with_means()
    old: dict[str, Row] = {}
    for row in before:
        old.setdefault(row.key, row)
    new: dict[str, Row] = {}
    for row in after:
        new.setdefault(row.key, row)
    changed = {after.key: (before, names) for before, after, names in pair_changed(old, new)}
    paired = {before.key for before, _ in changed.values()}
    rows = []
    for key, row in new.items():
        one, names = changed.get(key, (old.get(key), ()))
        rows.append(DiffRow(row.name, row.params, one, row, names))
    gone = (row for key, row in old.items() if key not in new and key not in paired)
    rows += [DiffRow(row.name, row.params, row, None) for row in gone]
    return RunDiff(
        rows=tuple(rows),
        before=before.about,
        after=after.about,
        code_before=_code_of(before),
        code_after=_code_of(after),
        of=of,
        results=after,
    )


def _code_of(results: Results) -> CodeVersion | None:
    """Returns the code of a run; that of its latest attempts, if it was resumed with another."""
    latest = max(results, key=lambda row: row.attempt, default=None)
    return None if latest is None else code_of(results._reader.script(latest.id))
