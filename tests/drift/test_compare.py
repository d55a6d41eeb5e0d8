"""Drift: which names look like one metric, which never do, and the vocabulary that cures it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clearml_taskgroup import Metric, NameTemplate
from clearml_taskgroup._drift.compare import (
    Spelling,
    _metric_code,
    contexts_apart,
    find_drift,
    find_metrics,
    mergeable_parts,
    reported_both,
    vocabulary_code,
)
from clearml_taskgroup._drift.parse_name import SUMMARY
from clearml_taskgroup._model.metric_words import edit_distance, is_typo
from clearml_taskgroup._model.vocabulary import Vocabulary

Name = str | tuple[str, str]


def pair(name: Name) -> tuple[str, str]:
    """A name that is given as one text has it as title and series."""
    return (name, name) if isinstance(name, str) else name


def project(*kinds: Iterable[Name], tasks: int = 10) -> dict[str, list[tuple[str, str]]]:
    """Makes a project with so many tasks of each kind, by the names that they log."""
    return {
        f"{kind}-{number}": [pair(name) for name in names]
        for kind, names in enumerate(kinds)
        for number in range(tasks)
    }


def sets(*kinds: Iterable[Name], tasks: int = 10) -> list[set[str]]:
    """Finds the sets of names that look alike, as they are shown."""
    return [{str(s) for s in metric.spellings} for metric in find_drift(project(*kinds, tasks=tasks))]


def vocabulary_of(code: str) -> Vocabulary:
    """Runs generated code up to its vocabulary, which is checked with its template."""
    seen: dict[str, Any] = {}

    def group(project: str, name: str, *, template: str, metrics: Any) -> None:
        seen["vocabulary"] = Vocabulary.of(metrics, NameTemplate(template))

    body = code.split("\n", 1)[1]
    exec(body, {"Metric": Metric, "TaskGroup": group})
    found = seen["vocabulary"]
    assert isinstance(found, Vocabulary)
    return found


# --- the bar -----------------------------------------------------------------------------------

ACCURACIES, LOSSES = ["acc", "accuracy", "Accuracy", "train_acc"], ["loss", "Loss"]
OTHERS = ["precision", "recall", "top1", "top5", "loss_a", "loss_b"]


@pytest.mark.parametrize("others", ["by all tasks", "by turns", "by chance"])
@pytest.mark.parametrize("seed", range(5))
def test_a_project_of_fifty_tasks(others: str, seed: int) -> None:
    """Two sets are found, whoever logs the names that look alike but are not."""
    chance = random.Random(seed)
    reported = {}
    for number in range(50):
        names = [ACCURACIES[number % 4], LOSSES[number % 2]]
        if others == "by all tasks":
            names += OTHERS
        elif others == "by turns":
            names += OTHERS[number % 2 :: 2]
        else:
            names += [name for name in OTHERS if chance.random() < 0.5]
        reported[f"t{number}"] = [(name, name) for name in names]
    found = find_drift(reported)
    assert {m.name: {str(s) for s in m.spellings} for m in found} == {
        "accuracy": set(ACCURACIES),
        "loss": set(LOSSES),
    }
    assert [m.mode for m in found] == ["max", "min"]


@pytest.mark.parametrize("seed", range(5))
def test_names_by_chance(seed: int) -> None:
    """Tasks that log several of the spellings side by side hide them from nobody."""
    chance = random.Random(seed)
    names = [*ACCURACIES, *LOSSES, *OTHERS]
    reported = {
        f"t{number}": [("the " + name, name) for name in names if chance.random() < 0.4]
        for number in range(50)
    }
    found = find_drift({task: [(series, "value") for _, series in names] for task, names in reported.items()})
    assert [{s.title for s in metric.spellings} for metric in found] == [set(ACCURACIES), set(LOSSES)]


# --- realistic pairs ---------------------------------------------------------------------------

ALIKE: list[tuple[Name, Name]] = [
    ("acc", "accuracy"),
    ("accuracy", "Accuracy"),
    ("loss", "Loss"),
    ("loss", "LOSS"),
    ("acc", "train_acc"),
    ("val_loss", "valLoss"),
    ("val_loss", "valid_loss"),
    ("val_loss", "validation_loss"),
    ("val_loss", "Validation Loss"),
    ("val_loss", "valloss"),
    ("val_loss", ("loss", "val")),
    ("val_loss", ("val", "loss")),
    ("val_loss", ("Loss", "val_loss")),
    (("loss", "train"), ("train", "loss")),
    (("acc", "val"), ("val", "acc")),
    (("acc", "val"), ("accuracy", "val")),
    (("epoch_accuracy", "validation: epoch_accuracy"), "val_accuracy"),
    (("epoch_loss", "epoch_loss"), "loss"),
    ("eval_loss", "val_loss"),
    ("dev_accuracy", "val_accuracy"),
    ("test_acc", "testAccuracy"),
    ("f1", "F1"),
    ("f1", "f1_score"),
    ("f1_score", "F1Score"),
    ("macro_f1", "f1_macro"),
    ("macro_f1", "f1-macro"),
    ("prec", "precision"),
    ("Precision", "val_precision"),
    ("lr", "learning_rate"),
    ("learning-rate", "LearningRate"),
    ("mse", "mean_squared_error"),
    ("MAE", "mean_absolute_error"),
    ("mAP", "map"),
    ("mAP50", "map_50"),
    ("mIoU", "mean_iou"),
    ("IoU", "iou"),
    ("roc_auc", "AUROC"),
    ("auc", "roc_auc"),
    ("R2", "r2_score"),
    ("dice", "dice_score"),
    ("top1_acc", "top1_accuracy"),
    ("top-1 accuracy", ("accuracy", "top1")),
    ("cls_loss", "loss_cls"),
    ("grad_norm", "gradient_norm"),
    ("mean_reward", "reward_mean"),
    ("ppl", "perplexity"),
    ("accuracy", "acuracy"),
    ("precision", "presicion"),
    ("validation_loss", "vaildation_loss"),
    ("throughput", "throughtput"),
    ("normalised_score", "normalized_score"),
    ("loss", "losss"),
    ("error", "eror"),
    ((SUMMARY, "accuracy"), (SUMMARY, "acc")),
    ((SUMMARY, "test/acc"), (SUMMARY, "test_accuracy")),
    (("metrics", "accuracy"), "accuracy"),
    (("loss", "value"), "Loss"),
    ("tr_loss", "train_loss"),
    ("time/epoch", "epoch_time"),
    ("Précision", "précision"),
    ("error", "Error rate"),
    ("mcc", "matthews_corrcoef"),
    ("cross_entropy", "CrossEntropyLoss"),
    (("losses", "train"), ("loss", "train")),
]

DIFFERENT: list[tuple[Name, Name]] = [
    ("precision", "recall"),
    ("top1", "top5"),
    ("loss_a", "loss_b"),
    ("mAP50", "mAP75"),
    ("mAP50", "mAP50-95"),
    ("map@0.5", "map@0.75"),
    ("min_reward", "max_reward"),
    ("micro_f1", "macro_f1"),
    ("mse", "mae"),
    ("mse", "rmse"),
    ("map", "mape"),
    ("loss", "total_loss"),
    ("loss", "cls_loss"),
    ("accuracy", "balanced_accuracy"),
    ("accuracy", "top5_accuracy"),
    ("precision", "average_precision"),
    ("accuracy", "best_accuracy"),
    ("acc@1", "acc@5"),
    ("hits@1", "hits@10"),
    ("g_loss", "d_loss"),
    ("loss_a2b", "loss_b2a"),
    ("loss_a_to_b", "loss_b_to_a"),
    ("image_to_text_recall", "text_to_image_recall"),
    ("l1_loss", "l2_loss"),
    ("beta1", "beta2"),
    ("bleu1", "bleu4"),
    ("rouge1", "rougeL"),
    (("lr", "pg0"), ("lr", "pg1")),
    (("loss", "resnet18"), ("loss", "resnet50")),
    ("encoder_loss", "decoder_loss"),
    ("weight", "height"),
    ("actor_loss", "factor_loss"),
    ("internal_loss", "interval_loss"),
    ("symmetric_kl", "asymmetric_kl"),
    ("correlation", "correction"),
    ("train_time", "time"),
    ("epoch_time", "batch_time"),
    ("train_loss_step", "train_loss_epoch"),
    ("true_positives", "false_positives"),
    ("err>0.1", "err<0.1"),
    ("err>=0.1", "err>0.1"),
    ("pos+", "pos-"),
    ("train_loss", "val_loss"),
    (("loss", "train"), ("loss", "val")),
    (("loss", "fold_1"), ("loss", "fold_2")),
    ("iou_car", "iou_cat"),
    ("sensitivity", "specificity"),
    ("validation_0-logloss", "validation_1-logloss"),
    ("reward", "return"),
    (":monitor:gpu", ":monitor:GPU"),
    ("epoch", "Step"),
    ("train_val_gap", "gap"),
    ("loss_scale", "loss"),
    ("samples_per_second", "steps_per_second"),
    ("value_loss", "loss"),
    ("accuracy_1", "accuracy_2"),
    ("acc_1", "top1_acc"),
    ("text_image_recall", "image_text_recall"),
    ("en_de_bleu", "de_en_bleu"),
    ("precision_at_recall", "recall_at_precision"),
    ("reward", "regard"),
    ("epoch", "epochs"),
    ("dice", "die"),
    ("generate_time", "generated_time"),
    (("loss_step", "train"), ("loss_epoch", "train")),
]


@pytest.mark.parametrize(("one", "other"), ALIKE, ids=str)
def test_names_that_are_alike(one: Name, other: Name) -> None:
    """Two spellings of one metric in different tasks are found, in either order, also of one task each."""
    for kinds in (([one], [other]), ([other, "x"], [one, "x"])):
        for tasks in (1, 10):
            (found,) = find_drift(project(*kinds, tasks=tasks))
            assert {(s.title, s.series) for s in found.spellings} == {pair(one), pair(other)}


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=str)
def test_names_that_are_not(one: Name, other: Name) -> None:
    """Two metrics are never taken for one, whether the same tasks report them or others."""
    assert sets([one], [other]) == []
    assert sets([one, other], [one], [other]) == []
    assert sets([one, other]) == []


# --- what tasks report together ----------------------------------------------------------------

KERAS = ["loss", "val_loss", "accuracy", "val_accuracy"]
LIGHTNING = ["train_loss_step", "train_loss_epoch", "train_loss", "val_loss", "epoch", "lr-Adam"]
HUGGING_FACE: list[Name] = [
    ("train", "loss"),
    ("eval", "loss"),
    ("train", "epoch"),
    ("train", "grad_norm"),
    ("train", "learning_rate"),
    ("eval", "runtime"),
    ("train", "runtime"),
    ("eval", "samples_per_second"),
    ("eval", "steps_per_second"),
]
DETECTION: list[Name] = [
    ("train", "box_loss"),
    ("val", "box_loss"),
    ("train", "cls_loss"),
    ("val", "cls_loss"),
    ("metrics", "mAP50(B)"),
    ("metrics", "mAP50-95(B)"),
    ("metrics", "precision(B)"),
    ("metrics", "recall(B)"),
    ("lr", "pg0"),
    ("lr", "pg1"),
]
OURS: list[Name] = [("loss", "train"), ("loss", "val"), ("accuracy", "val"), (SUMMARY, "accuracy/val")]


@pytest.mark.parametrize("names", [KERAS, LIGHTNING, HUGGING_FACE, DETECTION, OURS])
def test_one_script_does_not_drift(names: list[Name]) -> None:
    """Tasks of one framework are at peace, also if some of them stop early or leave something out."""
    assert sets(names) == []
    for _ in range(3):
        some = [[name for name in names if random.Random(n).random() < 0.8] for n in range(10)]
        assert sets(names, *some, tasks=3) == []


def test_two_frameworks_drift() -> None:
    """Keras beside Lightning: the losses and accuracies of both are one thing, and nothing else is."""
    lightning = ["train_loss", "valid_loss", "train_acc", "valid_acc", "epoch"]
    found = find_drift(project([*KERAS, "lr"], lightning))
    assert {m.name: {s.alias: dict(s.carried) for s in m.spellings} for m in found} == {
        "accuracy": {
            "accuracy": {},
            "val_accuracy": {"split": "val"},
            "train_acc": {"split": "train"},
            "valid_acc": {"split": "val"},
        },
        "loss": {
            "loss": {},
            "val_loss": {"split": "val"},
            "train_loss": {"split": "train"},
            "valid_loss": {"split": "val"},
        },
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("loss_cls", "cls_loss"),
        ("auc", "roc_auc"),
        ("loss", "epoch_loss"),
        ("accuracy", "acuracy"),
    ],
)
def test_what_a_task_reports_together_is_not_one_thing(one: str, other: str) -> None:
    """Names that only resemble each other are kept apart by tasks that report both."""
    assert sets([one, other], [one], [other]) == []
    assert sets([one], [other]) == [{one, other}]


def test_eval_is_not_val_where_a_task_has_both() -> None:
    """`eval` is the validation split by another name, but not beside `val`."""
    assert sets(["eval_loss", "val_loss"], ["eval_loss"], ["val_loss"]) == []
    assert sets(["eval_loss"], ["val_loss"]) == [{"eval_loss", "val_loss"}]
    assert sets(["eval_loss", "val_loss"], ["val_Loss"]) == [{"eval_loss", "val_loss", "val_Loss"}]


def test_all_tasks_log_both() -> None:
    """Names that always come together hide nothing, however alike they are."""
    assert sets(["acc", "accuracy"]) == []
    assert sets(["acc", "accuracy"], ["acc"]) == [{"acc", "accuracy"}]


def test_a_value_without_a_split_is_in_the_same_plot() -> None:
    """`loss/value` beside `loss/val` is one metric in one plot, whoever reports which."""
    assert sets([("loss", "value")], [("loss", "val")]) == []
    assert sets([("loss", "loss")], [("loss", "train"), ("loss", "val")]) == []
    assert sets([(SUMMARY, "loss")], [(SUMMARY, "loss/val")]) == []
    assert sets([("Loss", "value")], [("loss", "val")]) != []


def test_one_title_above_all_is_a_heading() -> None:
    """Where everything has one title, it is not of the metric's name; where there are two, it is."""
    names = [("run A", "acc"), ("run A", "accuracy"), ("run A", "epoch")]
    assert {m.name for m in find_metrics(project(names[:1], names[1:]))} == {"accuracy", "epoch"}
    assert sets([("resnet", "acc")], [("vgg", "acc")]) == []
    assert [m.name for m in find_metrics(project([("lr", "pg0")], [("lr", "pg1")]))] == ["lr/pg0", "lr/pg1"]


def test_a_loss_is_that_of_epochs_unless_there_is_one_of_steps() -> None:
    assert sets(["loss"], ["loss_epoch"]) == [{"loss", "loss_epoch"}]
    assert sets(["loss"], ["loss_step", "loss_epoch"]) == []


def test_contexts_of_which_tasks_have_one_alone() -> None:
    """A metric that some tasks report in one context only and others in another one cannot be compared."""
    train, val = ("loss", "train"), ("loss", "val")
    (metric,) = find_metrics({"a": [train], "b": [val], "c": [train, val]})
    found = contexts_apart(metric, {"a", "b", "c"})
    assert [[(s.series, sorted(s.tasks)) for s in same] for same in found] == [
        [("train", ["a"])],
        [("val", ["b"])],
    ]
    assert contexts_apart(metric, {"a", "c"}) == []
    assert contexts_apart(metric, {"c"}) == []


def test_monitors_are_no_metrics() -> None:
    """ClearML's resource plots are passed over."""
    names: list[Name] = [(":monitor:gpu", "gpu_0_temperature"), (":monitor:machine", "cpu_usage")]
    assert find_metrics(project(names)) == []


@pytest.mark.parametrize(
    ("both", "one", "other", "drift"),
    [
        (9, 1, 0, False),
        (8, 1, 1, True),
        (89, 11, 0, True),
        (90, 10, 0, False),
        (0, 1, 1, True),
        (1, 0, 0, False),
    ],
)
def test_how_many_tasks_report_two_spellings_together(both: int, one: int, other: int, drift: bool) -> None:
    """Two names of one curve do not drift if nine of ten tasks that report either report both."""
    reported = {f"both {at}": [pair("acc"), pair("accuracy")] for at in range(both)}
    reported |= {f"one {at}": [pair("acc")] for at in range(one)}
    reported |= {f"other {at}": [pair("accuracy")] for at in range(other)}
    assert bool(find_drift(reported)) == drift


@pytest.mark.parametrize(("both", "other", "one_metric"), [(1, 9, True), (2, 9, False), (1, 8, False)])
def test_how_many_tasks_may_report_similar_names(both: int, other: int, one_metric: bool) -> None:
    """Names that only resemble each other are one metric if hardly any task has both."""
    reported = {f"both {at}": [pair("accuracy"), pair("acuracy")] for at in range(both)}
    reported |= {f"one {at}": [pair("accuracy")] for at in range(50)}
    reported |= {f"other {at}": [pair("acuracy")] for at in range(other)}
    assert (len(find_metrics(reported)) == 1) == one_metric


def test_metrics_are_sorted() -> None:
    """Those that drift first, then the most used, then by name; spellings by their tasks, then by name."""
    reported = project(["b", "a"], ["b", "a", "x_loss"], ["acc"], tasks=1) | {"t": [pair("Acc"), pair("b")]}
    assert [metric.name for metric in find_metrics(reported)] == ["accuracy", "b", "a", "x_loss"]
    (found,) = find_drift(project(["Loss"], ["loss"], ["LOSS"], ["loss"], tasks=1))
    assert [spelling.alias for spelling in found.spellings] == ["loss", "LOSS", "Loss"]
    assert found.tasks == {"0-0", "1-0", "2-0", "3-0"}


def test_a_curve_and_a_single_value_of_one_name_do_not_drift() -> None:
    """Nor do two contexts of one script; other names, or other layouts that hardly a task shares, do."""
    for one, other, drift in (
        (("loss", "value"), (SUMMARY, "loss"), True),
        (("loss", "loss"), (SUMMARY, "loss"), False),
        (("loss", "val"), (SUMMARY, "loss/val"), False),
        (("loss", "val"), (SUMMARY, "loss/train"), False),
        (("Loss", "val"), (SUMMARY, "loss/train"), True),
        (("train_time", "x"), ("time", "x"), False),
        (("loss_train", "x"), ("val_loss", "x"), True),
        (("train_loss", "x"), ("val_loss", "x"), False),
        (("loss fold_1", "train"), ("loss fold_2", "val"), False),
    ):
        assert bool(sets([one], [other])) == drift, (one, other)


def test_lines_of_code_have_at_most_a_hundred_characters() -> None:
    """One of a hundred is in one line, one more and each alias has its own."""
    for length, lines in ((100, 1), (101, 3)):
        name = "loss_" + "x" * (length - len('    Metric("loss_", mode="min", aliases=["L"]),'))
        code = _metric_code(name, "min", {"L": {}})
        assert len(code) == lines
        assert max(map(len, code)) <= 100
    assert _metric_code("x" * 100, None, {}) == [f'    "{"x" * 100}",']
    assert _metric_code("x", None, {"y": {"fold": 1, "split": "a"}}) == [
        '    Metric("x", aliases={"y": {"fold": 1, "split": "a"}}),'
    ]


# --- what to call it, and the vocabulary


@pytest.mark.parametrize(
    ("names", "name", "mode"),
    [
        (["acc", "ACC"], "accuracy", "max"),
        (["lr", "learning_rate"], "learning_rate", None),
        (["Val Loss", "val_loss"], "loss", "min"),
        (["mean_squared_error", "MSE"], "mse", "min"),
        (["acuracy", "acuracy_", "accuracy"], "accuracy", "max"),
        (["Top1Acc", "top1_acc"], "top1_accuracy", "max"),
        (["epoch_loss", "Epoch Loss"], "loss_epoch", "min"),
        (["loss_scale", "LossScale"], "loss_scale", None),
        (["FooBar", "foo_bar"], "foo_bar", None),
        (["Précision", "précision"], "précision", None),
        (["accuracy_1", "Accuracy_1"], "accuracy_1", "max"),
        (["precision@5", "Prec@5"], "precision@5", "max"),
        (["mAP50", "mAP@0.5"], "map50", "max"),
        (["mAP@0.5", "map@0.5"], "map@0.5", "max"),
        (["iou 0.5-0.95", "IoU 0.5-0.95"], "iou0.5-0.95", "max"),
        (["loss-2", "Loss-2"], "loss2", "min"),
        (["layer_2", "Layer_2"], "layer2", None),
    ],
)
def test_what_a_metric_is_called(names: list[str], name: str, mode: str | None) -> None:
    """The name is in full and in lower case; the mode is guessed for well-known words alone."""
    (found,) = find_drift(project(*([name] for name in names)))
    assert (found.name, found.mode) == (name, mode)


@pytest.mark.parametrize(
    ("alone", "together", "expected"),
    [
        (["acc", "Acc"], [["acc", "Acc"]], {"accuracy": {"Acc"}, "acc": set()}),
        (
            ["acc", "Acc", "aCC", "ACC"],
            [["acc", "Acc"], ["acc", "aCC"]],
            {"accuracy": {"acc", "ACC"}, "accuracy_": {"Acc", "aCC"}},
        ),
    ],
)
def test_what_tasks_report_both_of_has_two_names(
    alone: list[str], together: list[list[str]], expected: dict[str, set[str]]
) -> None:
    """The first part has the metric's name; another one that of its only spelling, or the same with a _."""
    reported = project(*([name] for name in alone), tasks=30)
    reported |= {f"both {number}": list(map(pair, names)) for number, names in enumerate(together)}
    metrics = vocabulary_of(vocabulary_code(find_metrics(reported))).metrics
    assert {name: set(metric.aliases) for name, metric in metrics.items()} == expected


def test_the_cure_is_code() -> None:
    """What is printed is a list of metrics with aliases and context, and a template that takes them."""
    code = vocabulary_code(
        find_metrics(project(["acc", "loss"], ["accuracy", "Loss", "epoch"], ["train_acc", "loss"]))
    )
    assert code == (
        "from clearml_taskgroup import Metric, TaskGroup\n"
        "\n"
        "metrics = [\n"
        '    Metric("accuracy", mode="max", aliases={"acc": {}, "train_acc": {"split": "train"}}),\n'
        '    Metric("loss", mode="min", aliases=["Loss"]),\n'
        '    "epoch",\n'
        "]\n"
        'group = TaskGroup("my project", "my group", template="{metric}/{split=value}", metrics=metrics)'
    )
    vocabulary = vocabulary_of(code)
    assert vocabulary.resolve("train_acc", {}) == ("accuracy", {"split": "train"})
    assert vocabulary.metrics["loss"].mode == "min"


def test_the_cure_keeps_apart_what_tasks_report_both_of() -> None:
    """Two spellings of one curve that a task reports both of stay two metrics, and a comment says so."""
    reported = project(["acc", "accuracy"], ["acc"], ["Accuracy"], ["val_acc"], tasks=3)
    code = vocabulary_code(find_metrics(reported))
    assert (
        '    Metric("accuracy", mode="max", aliases={"Accuracy": {}, "val_acc": {"split": "val"}}),\n'
        '    Metric("acc", mode="max"),\n'
        '    # tasks that report both "acc" and "accuracy": 3; they stay two metrics\n'
    ) in code
    (found,) = find_drift(reported)
    assert [[str(spelling) for spelling in part] for part in mergeable_parts(found)] == [
        ["accuracy", "Accuracy", "val_acc"],
        ["acc"],
    ]
    assert reported_both(found) == [("acc", "accuracy", 3)]
    vocabulary = vocabulary_of(code)
    assert vocabulary.resolve("acc", {}) == ("acc", {})
    assert vocabulary.resolve("val_acc", {}) == ("accuracy", {"split": "val"})


@pytest.mark.parametrize(
    ("one", "other", "comment"),
    [
        (("Loss", "val"), ("loss", "validation"), '"val", "validation": write split="val"'),
        (("loss", "val"), ("loss", "validation"), '"val", "validation": write split="val"'),
        (("loss", "Train"), ("loss", "training"), '"Train", "training": write split="train"'),
        ("val_loss", ("loss", "validation"), '"val", "validation": write split="val"'),  # the alias says val
        ("val_loss", ("loss", "val"), ""),
        ("val_loss", "validation_loss", ""),
        (("Loss", "val"), ("loss", "val"), ""),
        (("Loss", "val"), ("loss", "train"), ""),
    ],
)
def test_splits_that_the_cure_does_not_unify_have_a_comment(one: Name, other: Name, comment: str) -> None:
    """What scripts write beside the metric is not renamed, so a comment says which split to write."""
    code = vocabulary_code(find_metrics(project([one], [other])))
    told = [line for line in code.splitlines() if "has the splits" in line]
    assert told == ([f'    # "loss" has the splits {comment}'] if comment else [])
    vocabulary_of(code)


def test_splits_of_one_script_are_its_own() -> None:
    """A metric that does not drift has no comment."""
    code = vocabulary_code(find_metrics(project([("loss", "val"), ("loss", "validation")])))
    assert "has the splits" not in code


def test_a_title_that_contradicts_its_split_is_a_metric_of_its_own() -> None:
    """`train_acc` in the series `val` is none of `acc`, and is what a script reports, in any context."""
    names = [[("train_acc", "val"), ("train_acc", "train"), ("train_acc", "train_acc")], [("acc", "val")]]
    found = find_metrics(project(*names))
    assert [(metric.name, metric.drifts) for metric in found] == [("acc", False), ("train_acc", False)]
    vocabulary = vocabulary_of(vocabulary_code(found))
    assert vocabulary.resolve("train_acc", {"split": "val"}) == ("train_acc", {"split": "val"})


def test_the_code_has_the_template_of_the_group() -> None:
    """A field that its metrics or aliases need is added, also split."""
    found = find_metrics(project(["train_acc"], ["accuracy"]))
    for template, expected in [
        ("{metric}/{split=val}", "{metric}/{split=val}"),
        ("{split}/{metric} {layer}", "{split}/{metric} {layer}"),
        ("{task} {metric}", "{task} {metric} {split=value} fold={fold=all}"),
    ]:
        fields = ["fold"] if "fold" in expected else []
        code = vocabulary_code(found, fields=fields, template=template)
        assert f'template="{expected}", metrics=metrics)' in code
        assert vocabulary_of(code).resolve("train_acc", {})[1] == {"split": "train"}


def test_names_of_two_splits_are_merged_though_a_task_reports_both() -> None:
    """What a task reports of several splits does not clash."""
    code = vocabulary_code(find_metrics(project(["train_acc", "val_acc"], ["accuracy"])))
    vocabulary = vocabulary_of(code)
    assert vocabulary.resolve("train_acc", {}) == ("accuracy", {"split": "train"})
    assert vocabulary.resolve("val_acc", {}) == ("accuracy", {"split": "val"})
    assert "stay two metrics" not in code


def test_other_contexts_have_fields_in_the_template() -> None:
    """Folds, seeds and ranks that are part of a name become fields of their own."""
    code = vocabulary_code(
        find_metrics(project(["loss_fold_1", "Loss_fold2"], ["Loss_fold_1", "loss_fold2"]))
    )
    assert 'template="{metric}/{split=value} fold={fold=all}"' in code
    assert vocabulary_of(code).resolve("Loss_fold2", {}) == ("loss", {"fold": 2})


def test_long_entries_are_broken() -> None:
    """An entry that does not fit in a line has a line for each alias, and stays valid."""
    names = ["".join(letters) for letters in itertools.product("aA", "cC", "cC")]
    code = vocabulary_code(find_metrics(project(*([name] for name in names))))
    assert max(map(len, code.splitlines())) <= 100
    assert {vocabulary_of(code).resolve(name, {})[0] for name in names} == {"accuracy"}


# --- properties --------------------------------------------------------------------------------

PARTS = [
    "acc",
    "Accuracy",
    "loss",
    "train",
    "val",
    "eval",
    "epoch",
    "step",
    "a",
    "b",
    "1",
    "2",
    "f1",
    "score",
]
TEXTS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).flatmap(
    lambda parts: st.sampled_from(["_", "/", " ", "-", ""]).map(lambda sep: sep.join(parts))
)
NAMES = st.tuples(
    st.one_of(TEXTS, st.just(SUMMARY), st.text(max_size=8)), st.one_of(TEXTS, st.text(max_size=8))
)
PROJECTS = st.dictionaries(st.text(max_size=3), st.lists(NAMES, max_size=6), max_size=6)


def meant(vocabulary: Vocabulary, spelling: Spelling) -> Any:
    """What a report would be taken for that gives a spelling, and the context that is not in its name."""
    given = {name: value for name, value in spelling.context.items() if name not in spelling.carried}
    return vocabulary.resolve(spelling.alias, given)


@example({"t": [("lr", "lr"), ("learning_rate", "learning_rate")], "u": [("lr", "lr")]})
@example({"t": [(SUMMARY, ""), ("", " ")]})
@given(PROJECTS)
def test_the_cure_is_always_valid(reported: dict[str, list[tuple[str, str]]]) -> None:
    """Whatever a project logs, each name is in one metric, and the printed vocabulary takes it."""
    found = find_metrics(reported)
    spellings = [(s.title, s.series) for metric in found for s in metric.spellings]
    logged = {name for names in reported.values() for name in names if not name[0].startswith(":monitor:")}
    assert sorted(spellings) == sorted(logged)
    vocabulary = vocabulary_of(vocabulary_code(found))
    for metric in found:
        for spelling in metric.spellings:
            assert not spelling.alias.strip() or spelling.alias in vocabulary
        for one, other in itertools.combinations(metric.spellings, 2):
            if (
                one.alias != other.alias
                and one.tasks & other.tasks
                and one.alias.strip()
                and other.alias.strip()
            ):
                assert meant(vocabulary, one) != meant(vocabulary, other)


@given(PROJECTS, st.randoms())
def test_the_order_of_tasks_does_not_matter(
    reported: dict[str, list[tuple[str, str]]], chance: random.Random
) -> None:
    """Which sets are found depends on what tasks log, not on the order in which they come."""
    shuffled = list(reported.items())
    chance.shuffle(shuffled)
    again = {task: chance.sample(names, len(names)) for task, names in shuffled}

    def found(given: dict[str, list[tuple[str, str]]]) -> set[frozenset[tuple[str, str]]]:
        return {frozenset((s.title, s.series) for s in metric.spellings) for metric in find_drift(given)}

    assert found(reported) == found(again)


@given(st.text("abcdefgh0123", min_size=3, max_size=12), st.text("abcdefgh0123", min_size=3, max_size=12))
def test_digits_are_never_typos(one: str, other: str) -> None:
    """Names that differ in their digits are never taken for one."""
    digits = ["".join(filter(str.isdigit, name)) for name in (one, other)]
    if digits[0] != digits[1]:
        assert sets([one], [other]) == []


@given(st.sampled_from([one for pair in ALIKE for one in pair if isinstance(one, str)]))
def test_case_and_separators_never_matter(name: str) -> None:
    """A name in capitals, or with another separator, is the same metric."""
    for other in (name.upper(), name.replace("_", "-"), name.replace("_", " ")):
        if other != name and not any(letter.isupper() for letter in name):
            assert sets([name], [other]) == [{name, other}]


def test_many_names_take_no_time() -> None:
    """A project of 2,000 names, as a class-wise evaluation logs them, is looked through."""
    names = [f"iou_class{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}x" for i in range(2000)]
    assert find_drift(project(names, names[:1000], tasks=1)) == []


@pytest.mark.parametrize(("one", "other", "apart"), [("loss", "loss", 0), ("abc", "acb", 1), ("a", "xyz", 3)])
def test_distance(one: str, other: str, apart: int) -> None:
    """Inserting, dropping, changing a letter and swapping two neighbours are one step each."""
    assert edit_distance(one, other) == edit_distance(other, one) == apart


def test_short_words_have_no_typos() -> None:
    """Among short words each letter makes another word."""
    assert not is_typo("lose", "loss")
    assert not is_typo("mse", "mse_")
    assert not is_typo("lost", "loss")
    assert is_typo("los", "loss")
    assert is_typo("eror", "error")
