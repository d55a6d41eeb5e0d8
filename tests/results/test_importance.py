"""The importance of parameters, as rows and as text."""

from __future__ import annotations

from clearml_taskgroup._results.importance import importance_of
from tests.support.rows import made_row


def test_parameters_by_what_they_explain() -> None:
    """The greatest first, from 0 to 1, each with the number of its values."""
    tasks = [
        (made_row(f"{a}{b}{c}", {"b": b, "a": a, "same": 1}), float(100 * a + c))
        for a in range(3)
        for b in "xy"
        for c in range(2)
    ]
    found = importance_of(tasks, "loss")
    assert [(row.parameter, row.values) for row in found] == [("a", 3), ("b", 2)]
    assert 0.8 < found[0].importance <= 1
    assert found[1].importance == 0  # chance alone gives less
    assert (found.metric, found.tasks) == ("loss", 12)
    assert found.to_records()[1] == {"parameter": "b", "importance": 0.0, "values": 2}
    lines = str(found).splitlines()
    assert [line.split() for line in (lines[0], lines[3])] == [
        ["parameter", "importance", "values"],
        ["b", "0.00", "2"],
    ]
    (note,) = lines[4:]
    assert note.startswith(
        "importance: the share of the variance of loss (its ranks) that a parameter explains"
    )


def test_few_tasks_have_a_note() -> None:
    tasks = [(made_row(str(at), {"a": at % 2}), float(at)) for at in range(10)]
    assert "chance" not in str(importance_of(tasks, "loss"))
    assert str(importance_of(tasks[1:], "loss")).endswith("only 9 tasks: chance may decide")


def test_no_parameter_differs() -> None:
    found = importance_of([(made_row("a", {"C": 1}), 1.0), (made_row("b", {"C": 1}), 2.0)], "loss")
    assert len(found) == 0
    assert str(found).endswith("\nno parameter differs between the tasks that have loss")
