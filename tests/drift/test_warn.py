"""The warning of a group whose tasks report different metrics: short, and what looks alike is named."""

from __future__ import annotations

from clearml_taskgroup._drift.warn import drift_warning, partly_reported


def test_drift_names_a_few_tasks_of_many() -> None:
    """In a group of many tasks, the first two are named and the rest counted."""
    reported = {f"t{n}": ["loss"] if n else ["loss", "extra"] for n in range(100)}
    found = partly_reported(reported)
    assert found == {"extra": (["t0"], [f"t{n}" for n in range(1, 100)])}
    assert "'extra': in t0, not in t1, t2 and 97 more" in drift_warning(found)
    assert partly_reported({}) == partly_reported({"a": ["x"], "b": ["x"]}) == {}


def test_drift_hints_at_what_looks_alike() -> None:
    """Other spellings of a metric are named as such; names that only resemble it are not."""
    text = drift_warning(
        partly_reported({"a": ["acc", "loss_a"], "b": ["val_accuracy", "loss_b"], "c": ["Acc"]})
    )
    assert text.splitlines()[1:-1] == [
        "  'Acc', 'acc', 'val_accuracy' look like one metric",
        "  'loss_a': in a, not in b, c",
        "  'loss_b': in b, not in a, c",
    ]


def test_the_warning_stays_short_and_names_the_command() -> None:
    """However many metrics and spellings there are, a few lines are told, and where to see the rest."""
    words = [f"word{'x' * n}" for n in range(30)]
    spelt = [[f"{word}Loss", f"{word}_loss", f"{word}-loss"] for word in words]
    reported = {f"t{n}": [names[n % 3] for names in spelt] + [f"other_{n}"] for n in range(100)}
    text = drift_warning(partly_reported(reported), "digits/my sweep")
    assert len(text.splitlines()) < 10
    assert len(text) < 700
    assert "and 125 more" in text
    assert text.endswith("clearml-taskgroup drift --group 'digits/my sweep'")
