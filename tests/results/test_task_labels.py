"""What tasks are called in tables: in one form, as their names need not be."""

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._plots.legend_names import legend_names
from clearml_taskgroup._reports.page_tables import tasks_table
from clearml_taskgroup._reports.tables import Tables
from clearml_taskgroup._results.task_labels import one_form


def test_one_form() -> None:
    """Names that consist of parameters get those that others of the table have; other names stay."""
    tasks: list[tuple[str, dict[str, object]]] = [
        ("seed=0", {"C": 2, "seed": 0}),
        ("C=3,seed=0", {"C": 3, "seed": 0}),
        ("seed=1,C=4", {"C": 4, "seed": 1}),
        ("baseline", {"C": 2, "seed": 0}),
        ("seed=7 again", {"C": 2, "seed": 7}),
        ("candidate-0001", {}),
    ]
    expected = ["C=2,seed=0", "C=3,seed=0", "C=4,seed=1", "baseline", "seed=7 again", "candidate-0001"]
    assert one_form(tasks) == expected
    assert one_form(tasks[:1]) == ["seed=0"]
    assert one_form([]) == []
    unstable: list[tuple[str, dict[str, object]]] = [
        ("lr=1", {"lr": 1, "f": lambda: 0}),
        ("f=a,lr=1", {"lr": 1, "f": "a"}),
    ]
    assert one_form(unstable) == ["lr=1", "f=a,lr=1"]  # a value without a stable form


def test_a_resumed_sweep_with_more_values() -> None:
    """Tasks keep their names; tables show what varies in the whole run."""
    with TaskGroup("digits", "more values", mode="offline", provenance=False) as group:
        for task in group.sweep({"C": [1, 10], "seed": [0]}):
            task.report({"loss": 1.0})
    with TaskGroup("digits", "more values", mode="offline", provenance=False, resume=True) as group:
        for task in group.sweep({"C": [1, 10], "seed": [0, 1]}):
            task.report({"loss": 1.0})
    expected = ["C=1,seed=0", "C=10,seed=0", "C=1,seed=1", "C=10,seed=1"]
    results = group.results()
    assert [row.name for row in results] == ["C=1", "C=10", "C=1,seed=1", "C=10,seed=1"]
    _, *lines = str(results).splitlines()
    assert [line.split()[0] for line in lines if "completed" in line][:4] == expected
    assert legend_names([(row.name, row.params) for row in results]) == expected
    keys = results.metric_keys
    table = tasks_table(results, keys, dict.fromkeys(keys, "loss"))
    assert set(table["data"][0]["cells"]["values"][0]) == set(expected)
    best = Tables(results, keys, None).best()
    assert best is not None
    assert best.lines[0].cells[3].text == "C=1,seed=0"
