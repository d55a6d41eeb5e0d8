"""Finding what was reported: metric and context as a user asks for them."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup import Best, GroupTask, Metric, Results, TaskGroup
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.name_template import NameTemplate
from clearml_taskgroup._model.vocabulary import Vocabulary
from clearml_taskgroup._results.find_metric import MetricLookup, split_rank
from clearml_taskgroup.errors import (
    AmbiguousResultError,
    ArgumentError,
    NoSuchResultError,
    ReportError,
)
from clearml_taskgroup.testing import recording
from tests.support.rows import LOSS, VAL_LOSS, lookup, metric_key

pytestmark = pytest.mark.usefixtures("backend")


def results_of(*reports: tuple[dict[str, float], dict[str, Any]], **options: Any) -> Results:
    """The results of one task that reported all of this, each with its context."""
    with TaskGroup("digits", "sweep", **options) as group:
        task: GroupTask = group.task({"C": 1})
        for values, context in reports:
            task.report(values, 1, **context)
    return group.results()


def test_a_metric_with_one_context_needs_none() -> None:
    """Fields that are left out match any context, as long as only one does."""
    (row,) = results_of(({"loss": 0.5}, {"split": "val"}))
    assert row.value("loss") == row.value("loss", split="val") == 0.5


def test_a_metric_with_several_contexts_needs_one() -> None:
    """Where several match, the error lists them, and context chooses."""
    (row,) = results_of(({"loss": 0.5}, {"split": "val"}), ({"loss": 0.25}, {"split": "train"}))
    with pytest.raises(AmbiguousResultError, match=r"loss\[split=val\], loss\[split=train\]"):
        row.value("loss")
    assert (row.value("loss", split="val"), row.value("loss", split="train")) == (0.5, 0.25)


def test_the_default_of_a_field_is_a_context_of_its_own() -> None:
    """Naming a field's default finds what was reported without the field, and only that."""
    (row,) = results_of(({"loss": 0.5}, {}), ({"loss": 0.25}, {"split": "val"}))
    with pytest.raises(AmbiguousResultError):
        row.value("loss")
    assert row.value("loss", split="value") == 0.5
    (row,) = results_of(({"loss": 0.25}, {"split": "val"}))
    with pytest.raises(NoSuchResultError):
        row.value("loss", split="value")


def test_part_of_a_context_is_enough() -> None:
    """Of several fields, those that tell the values apart need be given."""
    reports = [
        ({"loss": float(f)}, {"split": s, "fold": f}) for s, f in (("val", 1), ("val", 2), ("test", 3))
    ]
    (row,) = results_of(*reports, template="{metric}/{split}-{fold}")
    assert row.value("loss", split="test") == row.value("loss", fold=3.0) == 3.0
    with pytest.raises(AmbiguousResultError, match=r"loss\[fold=1,split=val\], loss\[fold=2,split=val\]"):
        row.value("loss", split="val")
    with pytest.raises(NoSuchResultError):
        row.value("loss", split="test", fold=1)
    with pytest.raises(NoSuchResultError):
        row.value("loss", fold="3")


@pytest.mark.parametrize(
    ("metric", "context"), [("los", {}), ("loss", {"split": "x"}), ("loss", {"fold": 1})]
)
def test_what_nobody_reported(metric: str, context: dict[str, Any]) -> None:
    """Asking for what there is not shows what there is."""
    (row,) = results_of(({"loss": 0.5}, {"split": "val"}))
    with pytest.raises(NoSuchResultError, match=r"there is: loss\[split=val\]$"):
        row.value(metric, **context)
    with pytest.raises(NoSuchResultError, match=r"nothing was reported$"):
        results_of().best("loss", mode="min")


def test_asking_speaks_the_vocabulary() -> None:
    """Aliases, with the context that they carry, and 'did you mean' work in questions, too."""
    metrics = [Metric("loss", aliases={"val_loss": {"split": "val"}}, mode="min")]
    results = results_of(({"val_loss": 0.5}, {}), ({"loss": 0.25}, {"split": "train"}), metrics=metrics)
    assert results[0].value("val_loss") == results[0].value("loss", split="val") == 0.5
    assert results.best("val_loss").value == 0.5
    with pytest.raises(
        NoSuchResultError, match=r"did you mean 'loss'\?\); there is: loss\[split=val\], loss"
    ) as caught:
        results.best("los")
    assert "metrics=" not in str(caught.value)  # which is for reports
    with pytest.raises(ReportError):
        results[0].value("val_loss", split="train")


def test_the_mode_comes_from_the_call_the_vocabulary_or_a_word() -> None:
    """The call goes before the vocabulary, and that before a well-known word; the answer says it."""
    metrics: list[str | Metric] = [
        Metric("loss", mode="min"),
        "accuracy",
        Metric("error", mode="max"),
        "margin",
    ]
    with TaskGroup("digits", "sweep", metrics=metrics) as group:
        for c in (1, 2, 3):
            group.task({"C": c}).report({"loss": c, "accuracy": c, "error": c, "margin": c}, 1)
    results = group.results()
    assert results.best("loss").params == {"C": 1}
    assert results.best("loss", mode="max").params == {"C": 3}
    assert str(results.best("accuracy")) == "C=3: accuracy = 3, the greatest"
    assert str(results.best("accuracy", mode="min")) == "C=1: accuracy = 1, the least"
    assert results.best("error").params == {"C": 3}
    with pytest.raises(ArgumentError, match=r"mode= was not given.*Metric\('margin', mode=…\)"):
        results.best("margin")
    with pytest.raises(ArgumentError, match="mode='maximum' was given"):
        results.best("accuracy", mode="maximum")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="mode= was not given"):
        results_of(({"neg_loss": 1.0}, {})).best("neg_loss")


@pytest.mark.parametrize(
    ("of", "value"), [("first", 3.0), ("last", 2.0), ("min", 1.0), ("max", 4.0), ("mean", 2.5)]
)
def test_which_of_the_values(of: Any, value: float) -> None:
    """`of` chooses among first, last, min, max and mean."""
    with recording(), TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        for step, loss in enumerate((3.0, 1.0, 4.0, 2.0)):
            task.report({"loss": loss}, step)
        results = group.results()
    assert results[0].value("loss", of=of) == value
    assert results.best("loss", mode="max", of=of).value == value
    with pytest.raises(ArgumentError, match="'first', 'last', 'min', 'max' or 'mean'"):
        results[0].value("loss", of="median")  # type: ignore[arg-type]


def test_a_best_reads_well() -> None:
    """`str` of the best is one line: which task, which value; a mean with its spread."""
    best = results_of(({"loss": 0.123456789}, {"split": "val"})).best("loss", mode="min")
    assert str(best) == "C=1: loss[split=val] = 0.123457, the least"
    mean = Best("C=1", {"C": 1}, 0.5, "loss", "last", "min", std=0.12345, sem=0.1, n=3)
    assert str(mean) == "C=1: loss = 0.5 ± 0.1235 (mean ± std, n=3), the least"


@pytest.mark.parametrize(("number", "told"), [(1, "1 other task has"), (80, "80 other tasks have")])
def test_tasks_with_the_same_value_are_counted(number: int, told: str) -> None:
    """The first one is given; means are better if they differ in a seed or fold."""
    with TaskGroup("digits", "ties") as group:
        for task in group.tasks({"C": [1], "seed": range(number + 2)}):
            task.report({"loss": 0.5 if task.index <= number else 1.0}, 1)
    best = group.results().best("loss")
    assert (best.ties, best.value, best.params["seed"]) == (number + 1, 0.5, 0)
    assert str(best).endswith(f", the least; {told} the same value, see the means: aggregate(over='seed')")
    assert str(group.results().best("loss", mode="max")).endswith(", the greatest")


SPLITS: list[tuple[dict[str, float], dict[str, Any]]] = [
    ({"loss": 0.5}, {"split": "val"}),
    ({"loss": 0.25}, {"split": "train"}),
    ({"loss": 0.75}, {}),
    ({"top[k=1]": 0.125}, {"split": "a,b"}),
]


@pytest.mark.parametrize(
    ("spelt", "value"),
    [
        ("loss[split=val]", 0.5),
        ("loss[split=train]", 0.25),
        ("loss[ split = val ]", 0.5),
        ("loss[split=value]", 0.75),
        ("top[k=1]", 0.125),
        ("top[k=1][split=a,b]", 0.125),
    ],
)
def test_a_metric_is_understood_as_tables_spell_it(spelt: str, value: float) -> None:
    """A metric with its context in brackets, as a column is called, is understood everywhere."""
    results = results_of(*SPLITS)
    assert results[0].value(spelt) == results.best(spelt, mode="max").value == value
    assert results.sort(spelt, mode="min")[0].value(spelt, of="mean") == value
    assert results.history(spelt)[0].values == results[0].history(spelt).values == (value,)
    assert results.aggregate("C").sort(spelt, mode="min").best(spelt, mode="min").value == value
    assert results.find(spelt) in results.metric_keys


def test_every_column_can_be_asked_for() -> None:
    """Whatever stands before `.last` in a file's columns, or in a table's head, names its values."""
    metrics = [Metric("loss", mode="min", unit="nats", aliases={"val_loss": {"split": "val"}}), "top[k=1]"]
    reports = [
        ({"loss": 0.5, "top[k=1]": 0.1}, {"split": "val", "fold": fold})
        for fold in (1, True, "1 ", 2.5, None)
    ]
    results = results_of(*reports, metrics=metrics, template="{metric}/{split=value}-{fold=0}-{kind=x}")
    for column in results.to_records()[0]:
        if column.endswith(".last"):
            metric_key = results.find(column.removesuffix(".last"))
            assert f"{results._lookup.label(metric_key).partition(' (')[0]}.last" == column
    for metric_key in results.metric_keys:
        assert results.find(results.label(metric_key)) == metric_key
    assert results.best("loss[fold=2.5,split=val] (nats)").mode == "min"
    assert results.best("val_loss[fold=2.5]").mode == results.mode_of("val_loss[fold=2.5]") == "min"


@pytest.mark.parametrize(
    ("metric", "context", "hint"),
    [
        ("los", {}, "'loss'"),
        ("LOSS", {"split": "val"}, "'loss'"),
        ("loss", {"splt": "val"}, "split="),
        ("loss", {"split": "vla"}, "split='val'"),
        ("loss[split=vla]", {}, "split='val'"),
        ("loss", {"fold": "3"}, "fold=3"),
        ("loss", {"fold": True}, None),
        ("speed", {}, None),
        ("loss", {"split": "val", "fold": 4}, None),
    ],
)
def test_did_you_mean(metric: str, context: dict[str, Any], hint: str | None) -> None:
    """What is spelt almost like a metric, a field or a value there is said to be meant."""
    reports = [({"loss": 0.5}, {"split": "val", "fold": 3}), ({"loss": 0.5}, {"split": "train", "fold": 4})]
    results = results_of(*reports, template="{metric}/{split=value}-{fold=0}")
    with pytest.raises(NoSuchResultError) as caught:
        results.find(metric, **context)
    assert ("did you mean" in str(caught.value)) == (hint is not None)
    assert hint is None or f"(did you mean {hint}?)" in str(caught.value)


def test_all_metrics_that_match() -> None:
    """In the order in which they are known, each once; a context in brackets chooses among them."""
    x = metric_key("x", split="val")
    known = [VAL_LOSS, x, LOSS, VAL_LOSS]
    for asked, found in (("loss", [VAL_LOSS, LOSS]), ("loss[split=val]", [VAL_LOSS]), ("x", [x])):
        assert lookup().find_all(asked, known) == found
    with pytest.raises(NoSuchResultError):
        lookup().find_all("y", known)


def test_metrics_in_the_order_of_files() -> None:
    """That of the vocabulary, then by name in natural order."""
    y2, y10 = metric_key("y2"), metric_key("y10")
    given = [y10, y2, LOSS, VAL_LOSS, y10]
    assert lookup().sort(given) == [LOSS, VAL_LOSS, y2, y10]
    named = lookup(["y10", "loss"])
    assert named.sort(given) == [y10, LOSS, VAL_LOSS, y2]
    assert [named.place(metric) for metric in ("y10", "loss", "y2")] == [0, 1, 2]
    assert lookup().place("loss") == 0


def test_labels_have_units() -> None:
    known = lookup([Metric("loss", unit="nats"), "x"])
    assert [known.label(key) for key in (VAL_LOSS, metric_key("x"), metric_key("y"))] == [
        "loss[split=val] (nats)",
        "x",
        "y",
    ]
    assert lookup().label(VAL_LOSS) == "loss[split=val]"


def test_tasks_that_have_a_metric_elsewhere() -> None:
    """Up to three of the contexts are named, each once."""
    others = [metric_key("loss", split=split) for split in "abcd"]
    text = lookup().elsewhere_text
    assert text(LOSS, {}, "3 tasks") == ""
    assert text(VAL_LOSS, {"a": [LOSS]}, "3 tasks") == (
        "1 of 3 tasks has no loss[split=val], but loss[split=value]"
    )
    assert text(VAL_LOSS, {"a": others[:2], "b": others}, "3 tasks") == (
        "2 of 3 tasks have no loss[split=val], but loss[split=a], loss[split=b], loss[split=c] and 1 more"
    )


def test_the_order_of_splits() -> None:
    """By the context or a word of the name; training data is last."""
    ranks = [
        split_rank(key)
        for key in (
            metric_key("loss", split="valid"),
            metric_key("dev_loss"),
            metric_key("loss", split="Eval"),
            metric_key("loss", split="test"),
            metric_key("loss", split="x"),
            metric_key("train/loss"),
        )
    ]
    assert ranks == [0, 1, 2, 3, 4, 5]
    assert split_rank(metric_key("train_loss", split="val")) == 0


@pytest.mark.parametrize(
    ("metrics", "metric", "mode", "expected"),
    [
        (None, "loss", None, "min"),
        (None, "val_acc", None, "max"),
        (None, "x", None, None),
        (None, "loss", "max", "max"),
        (None, "loss[split=val]", None, "min"),
        ([Metric("loss", mode="max")], "loss", None, "max"),
        ([Metric("loss", mode="max", aliases=["l"])], "l", None, "max"),
        ([Metric("loss", mode="max")], "loss[split=val]", None, "max"),
        (["loss"], "loss", None, "min"),
        (["x"], "loss", None, "min"),
    ],
)
def test_the_mode(metrics: Any, metric: str, mode: Any, expected: Any) -> None:
    """That of the call, else of the vocabulary, else of a well-known word."""
    found = lookup(metrics)
    assert found.likely_mode(metric, mode) == expected
    if expected is not None:
        assert found.require_mode(metric, mode) == expected
    else:
        with pytest.raises(ArgumentError, match="'max' or 'min', whichever is better"):
            found.require_mode(metric, mode)


@pytest.mark.parametrize(
    ("metrics", "measures", "expected"),
    [
        (None, [("speed", "val"), ("loss", "train"), ("loss", "val"), ("accuracy", "val")], ("loss", "val")),
        (None, [("speed", "val")], None),
        (
            [Metric("accuracy", mode="max"), "loss"],
            [("loss", "val"), ("accuracy", "test")],
            ("accuracy", "test"),
        ),
        ([Metric("speed", mode="max"), "loss"], [("loss", "val"), ("speed", "train")], ("speed", "train")),
        (None, [("loss", "train"), ("loss", "test"), ("error", "x"), ("loss", "valid")], ("loss", "valid")),
        (None, [("loss", "train"), ("error", "x")], ("error", "x")),
        (["speed"], [("speed", "val")], None),
        (None, [], None),
    ],
)
def test_the_main_metric(metrics: Any, measures: Any, expected: Any) -> None:
    """The first metric with a mode tells which task is best, in the split that validates."""
    template = NameTemplate("{metric}/{split}")
    words = MetricLookup(template, None if metrics is None else Vocabulary.of(metrics, template))
    found = words.main_metric([MetricKey(metric, (("split", split),)) for metric, split in measures])
    assert found == (None if expected is None else (expected[0], (("split", expected[1]),)))


def test_a_flag_is_suggested_as_one() -> None:
    results = results_of(({"loss": 0.5}, {"final": True}), template="{metric}/{final=False}")
    with pytest.raises(NoSuchResultError, match=r"did you mean final=True\?"):
        results.find("loss", final="True")


def test_a_spelt_context_and_a_given_one_both_hold() -> None:
    """A context in brackets and one of another value contradict each other, so that nothing matches."""
    results = results_of(*SPLITS)
    assert results.best("loss[split=val]", mode="min", split="val").value == 0.5
    with pytest.raises(NoSuchResultError):
        results.best("loss[split=val]", mode="min", split="train")
    with pytest.raises(ArgumentError, match="metric=3 was given"):
        results.best(3, mode="min")  # type: ignore[arg-type]


def test_the_hint_of_an_ambiguous_question_fits_every_call() -> None:
    """It says the context by which one of the candidates is chosen, not a call."""
    results = results_of(*SPLITS)
    for ask in (results.history, results.find, results[0].value, results[0].history):
        with pytest.raises(AmbiguousResultError, match=r"choose one, as with split='val'$"):
            ask("loss")
