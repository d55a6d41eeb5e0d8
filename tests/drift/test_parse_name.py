"""A logged name as words, split and period, and what a script gives to `report` for it."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._clearml.events import SINGLE_VALUE_TITLE
from clearml_taskgroup._drift.parse_name import (
    SUMMARY,
    contradicts,
    is_common_heading,
    is_split,
    parse_name,
    validation_synonyms,
)

SPLIT_VAL, SPLIT_TRAIN = (("split", "val"),), (("split", "train"),)


@pytest.mark.parametrize(
    ("name", "words", "context"),
    [
        ("val_loss", "loss", SPLIT_VAL),
        ("loss (train)", "loss", SPLIT_TRAIN),
        ("trainingloss", "loss", SPLIT_TRAIN),
        ("valLoss", "loss", SPLIT_VAL),
        ("trainning_loss", "loss", SPLIT_TRAIN),
        ("validaton loss", "loss", SPLIT_VAL),
        ("xraining_loss", "xraining loss", ()),
        ("trainninng_loss", "trainninng loss", ()),
        ("val2_loss", "loss", (("split", "val2"),)),
        ("fold_1_loss", "loss", (("fold", 1),)),
        ("seed 7 val loss", "loss", (("seed", 7), *SPLIT_VAL)),
        ("fold_loss", "fold loss", ()),
        ("fold_1.5_loss", "fold1.5 loss", ()),
        (f"fold_{'1' * 18}_loss", "loss", (("fold", int("1" * 18)),)),
        (f"fold_{'1' * 19}_loss", f"fold{'1' * 19} loss", ()),
        ("train_val_gap", "train val gap", ()),
        ("val", "val", ()),
        ("acc", "accuracy", ()),
        ("acc@5", "top5 accuracy", ()),
        ("acc5", "top5 accuracy", ()),
        ("acc_5", "accuracy5", ()),
        ("recall@5", "recall5", ()),
        ("mAP@0.5", "map50", ()),
        ("mAP50", "map50", ()),
        ("mAP@0.05", "map05", ()),
        ("mAP@0.5:0.95", "map50.95", ()),
        ("mAP@10.5", "map10.5", ()),
        ("loss@0.5", "loss0.5", ()),
        ("mean squared error", "mse", ()),
        ("mean squared error 2", "mse2", ()),
        ("mean2 squared error", "mean2 squared error", ()),
        ("root mean squared error", "rmse", ()),
        ("root mean absolute percentage error", "root mape", ()),
        ("r squared", "r2", ()),
        ("mIoU of x", "miou of x", ()),
        ("HTTPErrors", "http errors", ()),
        ("lossA", "loss a", ()),
        ("loss loss", "loss", ()),
        ("loss_value", "loss", ()),
        ("value_loss", "value loss", ()),
        ("value_x", "x", ()),
        ("value", "value", ()),
        ("metric_loss", "loss", ()),
        ("f1_score", "f1", ()),
        ("score", "score", ()),
        ("score2", "score2", ()),
        ("loss_value2", "loss value2", ()),
        ("err>0.1", "error > 0.1", ()),
        ("err>=0.1", "error >= 0.1", ()),
        ("pos-", "pos -", ()),
        ("pos+", "pos +", ()),
        ("a-b", "a b", ()),
        ("Précision", "précision", ()),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER L}oss", "loss", ()),
        ("…", "…", ()),
        (" … ", "…", ()),
        (" ", "", ()),
        ("", "", ()),
    ],
)
def test_words_and_context(name: str, words: str, context: Any) -> None:
    """Words are in full and in lower case; what is known as a split, a fold or the like is context."""
    parsed = parse_name(name, name)
    assert (" ".join(parsed.words), parsed.context, parsed.alias) == (words, context, name)
    assert parsed.carried == context
    assert (parsed.single, str(parsed)) == (False, name)


@pytest.mark.parametrize(
    ("name", "words", "period"),
    [
        ("epoch_loss", "loss", "epoch"),
        ("loss_iter", "loss", "iteration"),
        ("loss_step", "loss", "step"),
        ("step", "step", ""),
        ("epoch_x", "epoch x", ""),
        ("epoch_step_loss", "epoch step loss", ""),
        ("epoch_epoch_loss", "loss", "epoch"),
        ("epoch2_loss", "epoch2 loss", ""),
        ("epoch_loss_epoch2", "loss epoch2", "epoch"),
        ("time per epoch", "epoch_time", ""),
    ],
)
def test_periods(name: str, words: str, period: str) -> None:
    """Of what the value is; only beside a metric that is known, and if there is one."""
    parsed = parse_name(name, name)
    assert (" ".join(parsed.words), parsed.period) == (words, period)


@pytest.mark.parametrize(
    ("title", "series", "words", "context", "alias", "carried", "written"),
    [
        ("loss", "val", "loss", SPLIT_VAL, "loss", (), "val"),
        ("val", "loss", "loss", SPLIT_VAL, "loss", (), "val"),
        ("Loss", "val_loss", "loss", SPLIT_VAL, "val_loss", SPLIT_VAL, ""),
        ("loss", "Validation", "loss", SPLIT_VAL, "loss", (), "Validation"),
        ("loss", "fold_1", "loss", (("fold", 1),), "loss", (), ""),
        ("loss", "val fold_1", "loss", (("fold", 1), *SPLIT_VAL), "loss", (), "val"),
        ("train_acc", "val", "train acc", SPLIT_VAL, "train_acc", (), "val"),
        ("train_acc", "train", "accuracy", SPLIT_TRAIN, "train_acc", SPLIT_TRAIN, "train"),
        ("train", "val_loss", "train val loss", (), "train/val_loss", (), "val"),
        ("loss_fold_1", "loss_fold_2", "loss fold1 fold2", (), "loss_fold_1/loss_fold_2", (), ""),
        ("val", "val", "val", (), "val", (), ""),
        ("loss", "cls", "loss classification", (), "loss/cls", (), ""),
        ("val_loss", "cls", "loss classification", SPLIT_VAL, "val_loss/cls", SPLIT_VAL, ""),
        ("Metrics", "accuracy", "accuracy", (), "accuracy", (), ""),
        ("accuracy", "Metrics", "accuracy", (), "accuracy", (), ""),
        ("my run", "loss", "my run loss", (), "my run/loss", (), ""),
        ("f1", "score", "f1", (), "f1", (), ""),
        ("score", "f1", "f1", (), "f1", (), ""),
        ("loss step", "train", "loss", SPLIT_TRAIN, "loss step", (), "train"),
        ("", "x", "x", (), "x", (), ""),
        (SUMMARY, "acc", "accuracy", (), "acc", (), ""),
        (SUMMARY, "acc/val", "accuracy", SPLIT_VAL, "acc", (), ""),
        (SUMMARY, "val_acc", "accuracy", SPLIT_VAL, "val_acc", SPLIT_VAL, ""),
        (SUMMARY, "val/acc", "accuracy", SPLIT_VAL, "val/acc", SPLIT_VAL, ""),
        (SUMMARY, "train_acc/val", "train acc val", (), "train_acc/val", (), ""),
    ],
)
def test_titles_and_series(
    title: str, series: str, words: str, context: Any, alias: str, carried: Any, written: str
) -> None:
    """What one of both says of the metric is its alias; a split beside it is written by the script."""
    parsed = parse_name(title, series)
    assert (" ".join(parsed.words), parsed.context) == (words, context)
    assert (parsed.alias, parsed.carried) == (alias, carried)
    assert parsed.single == (title == SUMMARY)
    assert str(parsed) == (series if title == SUMMARY else f"{title}/{series}" if title != series else title)
    if title != SUMMARY:
        assert parsed.written_split == written


def test_a_heading_is_no_part_of_the_name() -> None:
    for heading, words, alias in ((True, ("loss",), "loss"), (False, ("my", "run", "loss"), "my run/loss")):
        parsed = parse_name("my run", "loss", heading=heading)
        assert (parsed.words, parsed.alias) == (words, alias)
    assert parse_name(SUMMARY, "loss/val", heading=True).context == SPLIT_VAL


def test_a_split_that_belongs_to_the_title() -> None:
    """If a title contradicts the split beside it somewhere, it is the metric's name everywhere."""
    for series, context in (("val", SPLIT_VAL), ("train_acc", ()), ("x", ())):
        parsed = parse_name("train_acc", series, opaque=True)
        assert (parsed.words, parsed.context, parsed.alias) == (("train", "acc"), context, "train_acc")
    for title, series, expected in (
        ("train_acc", "val", True),
        ("train_acc", "train", False),
        ("train_acc", "acc", False),
        ("acc", "val", False),
        ("train_acc", "val_acc", False),
        ("fold_1", "fold_2", True),
    ):
        assert contradicts(title, series) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([("run A", "loss"), ("run A", "x")], True),
        ([("run A", "loss"), (SUMMARY, "x")], True),
        ([("run A", "loss"), ("run B", "loss")], False),
        ([("run A", "x"), ("run A", "y")], False),
        ([("loss", "loss"), ("loss", "accuracy")], False),
        ([("val", "loss"), ("val", "accuracy")], False),
        ([(SUMMARY, "loss")], False),
        ([], False),
    ],
)
def test_a_heading_of_all_names(names: list[tuple[str, str]], expected: bool) -> None:
    """One title that is no metric and no split, above series of which some are."""
    assert is_common_heading(names) == expected


def test_a_split_alone() -> None:
    for text, expected in (("val", True), ("Val", True), ("val_loss", False), ("fold_1", False), ("", False)):
        assert is_split(text) == expected
    assert not is_split("val fold_1")


@pytest.mark.parametrize(
    ("names", "raw_words", "name"),
    [
        ("Val Loss", ("Loss",), "loss"),
        ("precision@5", ("precision@5",), "precision@5"),
        ("Prec 5", ("Prec 5",), "precision5"),
        ("accuracy_1", ("accuracy_1",), "accuracy_1"),
        ("mAP@0.5", ("mAP@0.5",), "map@0.5"),
        ("iou 0.5-0.95", ("iou 0.5-0.95",), "iou0.5-0.95"),
        ("layer_2", ("layer_2",), "layer2"),
        ("value_loss", ("value", "loss"), "value_loss"),
        ("mean squared error", ("mean", "squared", "error"), "mse"),
        ("precision@5 of x", ("precision@5", "of", "x"), "precision@5_of_x"),
    ],
)
def test_the_name_in_a_vocabulary(names: str, raw_words: tuple[str, ...], name: str) -> None:
    """Numbers of well-known metrics are as they are written."""
    parsed = parse_name(names, names)
    assert (parsed.raw_words, parsed.name) == (raw_words, name)


def test_layouts() -> None:
    """The same for names that differ in the context alone."""
    for one, other, same in (
        (("train_loss", "x"), ("val_loss", "x"), True),
        (("loss", "train"), ("loss", "valid"), True),
        (("loss_fold_1", "a"), ("loss_fold_2", "a"), True),
        (("train_loss", "x"), ("loss_val", "x"), False),
        (("train_loss", "x"), ("loss", "x"), False),
        (("train_val_gap", "x"), ("val_train_gap", "x"), False),
    ):
        assert (parse_name(*one).layout == parse_name(*other).layout) == same
    assert parse_name("train loss fold_1", "y").layout == ("\0split\0 loss \0fold\0", "y")


def test_validation_under_another_name() -> None:
    """`eval` and `dev` are `val`, but where a task has both."""
    one, val, dev = (parse_name(name, name) for name in ("eval_loss", "val_loss", "dev_loss"))
    assert validation_synonyms([[one], [val]]) == {"eval": "val", "dev": "val"}
    assert validation_synonyms([[one, val], [dev]]) == {"dev": "val"}
    assert validation_synonyms([[one, val], [dev, val], [one, val]]) == {}
    assert validation_synonyms([[one, dev]]) == {"eval": "val", "dev": "val"}
    assert validation_synonyms([]) == {"eval": "val", "dev": "val"}


def test_single_values_are_told_by_clearmls_title() -> None:
    assert SUMMARY == SINGLE_VALUE_TITLE
    assert str(parse_name(SUMMARY, "acc")) == "acc"
