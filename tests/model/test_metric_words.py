"""Words in metric names: qualities, which direction is better, misspellings."""

from __future__ import annotations

import pytest

from clearml_taskgroup._model.metric_words import (
    MAX_PHRASE_WORDS,
    edit_distance,
    has_quality,
    is_typo,
    loose_form,
    mode_of,
    one_letter_less,
    split_meant,
)


@pytest.mark.parametrize(
    ("words", "quality", "mode"),
    [
        ("accuracy", True, "max"),
        ("top5 accuracy", True, "max"),
        ("accuracy5", True, "max"),
        ("precision0.5", True, "max"),
        ("f1", True, "max"),
        ("r2", True, "max"),
        ("mse1.5", True, "min"),
        ("loss cls", True, "min"),
        ("loss accuracy", True, "min"),
        ("loss ratio", True, None),
        ("accuracy std", True, None),
        ("time", False, None),
        ("acc5", False, None),
        ("", False, None),
    ],
)
def test_qualities(words: str, quality: bool, mode: str | None) -> None:
    """A number behind a word does not matter; beside a ratio, a spread or the like nobody can say."""
    assert has_quality(words.split()) is quality
    assert mode_of(words.split()) == mode


@pytest.mark.parametrize(
    ("words", "form"),
    [
        ("cls loss", "loss cls"),
        ("loss cls", "loss cls"),
        ("auc", "roc_auc"),
        ("losses", "loss"),
        ("x precisions", "precision x"),
        ("errors rate", "error rate"),
        ("bce loss", "bce"),
        ("nll loss val", "nll val"),
        ("loss", "loss"),
        ("mse loss", "mse loss"),
        ("en de bleu", "bleu en de"),
        ("precision at recall", "precision at recall"),
        ("recall at precision", "recall at precision"),
        ("class bus", "class bus"),
        ("losss", "loss"),
        ("accuracys loss", "accuracy loss"),
    ],
)
def test_names_that_differ_in_details(words: str, form: str) -> None:
    assert loose_form(tuple(words.split())) == tuple(form.split())


TYPOS = [
    *(("loss", "los"), ("error", "eror"), ("error", "eroor"), ("accuracy", "acurracy")),  # double letters
    *(
        ("recall", "reclal"),
        ("kappa", "kapap"),
        ("rouge", "rouges"),
        ("recall", "rcall"),
        ("recall", "recal"),
    ),
    *(("accuracy", "accurac"), ("accuracy", "accurcay"), ("accuracy", "acucarcy"), ("accuracy", "accurasy")),
    *(("precision", "precigion"), ("perplexity", "perpelxtiy"), ("correlation", "correlaton")),
    *(("normalise", "normalize"), ("memorise", "memorize")),
    *(("gradient", "gradeint"), ("throughput", "througput"), ("throughput", "throughputt")),
]
OTHER_WORDS = [
    *(("loss", "loss"), ("loss1", "loss2"), ("loss", "loss2"), ("accuracy", "ccuracy")),
    *(("valid", "vali"), ("training", "train")),  # both are well known
    *(("loss", "lsos"), ("loss", "lose"), ("dice", "dcie"), ("bleu", "beu"), ("mse", "mes")),  # short
    *(("recall", "racall"), ("error", "erro"), ("accuracy", "acurasy"), ("precision", "pricigion")),
    *(("specificity", "specifity"), ("accuracy", "accuracies")),
    *(("analyse", "analyze"), ("zebrafish", "sebrafish"), ("abcdefg", "abcdfeg")),
    *(("gradient", "gradiant"), ("interval", "internal"), ("generate", "generated"), ("crosss", "cross")),
    *(("abcdefgh", "abcdefhg"), ("abcdefgh", "abdcfegh")),
]


@pytest.mark.parametrize(("one", "other"), TYPOS)
def test_misspelt_words(one: str, other: str) -> None:
    assert is_typo(one, other)
    assert is_typo(other, one)


@pytest.mark.parametrize(("one", "other"), OTHER_WORDS)
def test_words_of_their_own(one: str, other: str) -> None:
    assert not is_typo(one, other)
    assert not is_typo(other, one)


@pytest.mark.parametrize(
    ("text", "split"),
    [
        *(("vall", "val"), ("vla", "val"), ("trian", "train"), ("Tran", "train"), ("tset", "test")),
        *(("tes", "test"), ("teest", "test"), ("evla", "eval"), ("valdi", "valid"), ("trainng", "training")),
        *(("vaildation", "validation"), ("evaluaton", "evaluation")),
        *(("train", None), ("va", None), ("test1", None), ("vals", None), ("trains", None), ("text", None)),
        *(("vel", None), ("xval", None), ("valls", None), ("vallidaton", None)),
    ],
)
def test_misspelt_splits(text: str, split: str | None) -> None:
    """A letter more or less, or two swapped; another letter, a number or a plural is no mistake."""
    assert split_meant(text) == split


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        *(("", "", 0), ("", "ab", 2), ("a", "a", 0), ("ab", "ba", 1), ("abc", "acb", 1), ("abcd", "badc", 2)),
        *(("abc", "abd", 1), ("abc", "ab", 1), ("abc", "bc", 1), ("kitten", "sitting", 3), ("ca", "abc", 3)),
        *(("aab", "aba", 1), ("abcdef", "abdcfe", 2), ("aba", "bab", 2)),
    ],
)
def test_distance(one: str, other: str, distance: int) -> None:
    """Inserting, deleting, replacing a letter and swapping two neighbours are one step each."""
    assert edit_distance(one, other) == edit_distance(other, one) == distance


def test_words_without_one_letter() -> None:
    assert one_letter_less("abc") == {"abc", "bc", "ac", "ab"}
    assert one_letter_less("a") == {"a", ""}
    assert MAX_PHRASE_WORDS == 4
