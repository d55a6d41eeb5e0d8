"""Well-known words of metric names: abbreviations, splits, which direction is better, misspellings. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "vali", "vld"), "val"),
    **dict.fromkeys(("eval", "evaluation", "evaluate"), "eval"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    "dev": "dev",
}
VALIDATION_SYNONYMS = ("eval", "dev")
"""Splits that are the validation split under another name, unless a project has both."""
PERIODS = {"epoch": "epoch", "step": "step", "batch": "batch", "iter": "iteration", "iteration": "iteration"}
NUMBERED_CONTEXTS = frozenset(("fold", "seed", "rank", "trial", "client", "run"))
FILLER_WORDS = frozenset(
    (
        *("value", "values", "metric", "metrics", "scalar", "scalars", "summary", "result", "results"),
        *("series", "curve", "curves", "plot", "plots", "history", "performance"),
    )
)
"""Words that do not distinguish metrics."""
SCORE_WORDS = frozenset(("score", "scores"))

PHRASES: dict[tuple[str, ...], str] = {
    ("root", "mean", "squared", "error"): "rmse",
    ("root", "mean", "square", "error"): "rmse",
    ("mean", "absolute", "percentage", "error"): "mape",
    ("mean", "squared", "error"): "mse",
    ("mean", "square", "error"): "mse",
    ("mean", "absolute", "error"): "mae",
    ("mean", "average", "precision"): "map",
    ("binary", "cross", "entropy"): "bce",
    ("binary", "crossentropy"): "bce",
    ("negative", "log", "likelihood"): "nll",
    ("intersection", "over", "union"): "iou",
    ("frames", "per", "second"): "fps",
    ("word", "error", "rate"): "wer",
    ("character", "error", "rate"): "cer",
    ("error", "rate"): "error",
    ("r", "squared"): "r2",
    ("matthews", "corrcoef"): "mcc",
    ("matthews", "correlation"): "mcc",
    ("matthews", "correlation", "coefficient"): "mcc",
    ("cohen", "kappa"): "kappa",
    ("cohens", "kappa"): "kappa",
    ("cohen", "s", "kappa"): "kappa",
    ("number", "of"): "num",
    ("mean", "iou"): "miou",
    ("average", "precision"): "ap",
    ("avg", "precision"): "ap",
    ("roc", "auc"): "roc_auc",
    ("auc", "roc"): "roc_auc",
    ("pr", "auc"): "pr_auc",
    ("auc", "pr"): "pr_auc",
    ("cross", "entropy"): "cross_entropy",
    ("learning", "rate"): "learning_rate",
    ("weight", "decay"): "weight_decay",
    ("dice", "coefficient"): "dice",
    ("dice", "coef"): "dice",
    ("kl", "divergence"): "kl",
    ("kl", "div"): "kl",
    **{(short, "time"): f"{period}_time" for short, period in PERIODS.items()},
    **{("time", short): f"{period}_time" for short, period in PERIODS.items()},
    **{("time", "per", short): f"{period}_time" for short, period in PERIODS.items()},
}
"""Phrases, and the one word that each is treated as."""
MAX_PHRASE_WORDS = max(map(len, PHRASES))
ABBREVIATIONS = {
    "acc": "accuracy",
    "accu": "accuracy",
    "prec": "precision",
    "rec": "recall",
    "err": "error",
    "avg": "mean",
    "average": "mean",
    "maximum": "max",
    "minimum": "min",
    "number": "num",
    "nb": "num",
    "tot": "total",
    "mem": "memory",
    "img": "image",
    "grad": "gradient",
    "recon": "reconstruction",
    "rew": "reward",
    "sens": "sensitivity",
    "spec": "specificity",
    "bal": "balanced",
    "cls": "classification",
    "seg": "segmentation",
    "gen": "generator",
    "disc": "discriminator",
    "ppl": "perplexity",
    "lr": "learning_rate",
    "wd": "weight_decay",
    "ce": "cross_entropy",
    "xent": "cross_entropy",
    "crossentropy": "cross_entropy",
    "auroc": "roc_auc",
    "rocauc": "roc_auc",
    "aucroc": "roc_auc",
    "auprc": "pr_auc",
    "aucpr": "pr_auc",
    "prauc": "pr_auc",
    "kld": "kl",
    "stddev": "std",
    "hits": "hit",
}


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


MORE_IS_BETTER = _set_of(
    "accuracy precision recall f1 auc roc_auc pr_auc ap map iou miou dice r2 psnr ssim bleu rouge reward "
    "specificity sensitivity ndcg mrr kappa mcc correlation spearman pearson"
)
LESS_IS_BETTER = _set_of(
    "loss error mse mae rmse mape nll bce cross_entropy perplexity wer cer fid lpips logloss brier"
)
NO_DIRECTION = _set_of(
    "weight scale std var variance threshold count num time gap delta diff difference ratio target neg "
    "negative coef coefficient lambda"
)
QUALITY_WORDS = MORE_IS_BETTER | LESS_IS_BETTER
"""Words that name a quality of a model, without abbreviations."""
LOSSES = _set_of("cross_entropy nll bce")
"""Metrics that are losses without the word: `bce_loss` is `bce`."""
TOP_K_METRICS = _set_of("accuracy error")
"""Metrics that may be followed by a number of guesses: `acc@5`, `acc5`, for `top5_accuracy`."""
PERCENT_METRICS = _set_of("map ap ar iou")
"""Metrics at a threshold that is written as a fraction or in percent: `mAP@0.5`, `mAP50`."""
KNOWN_WORDS = (
    QUALITY_WORDS
    | ABBREVIATIONS.keys()
    | SPLIT_WORDS.keys()
    | {word for phrase in PHRASES for word in phrase}
)


def has_quality(words: Iterable[str]) -> bool:
    """Whether one of the words names a quality of a model."""
    return any(word in QUALITY_WORDS or word.rstrip("0123456789.") in QUALITY_WORDS for word in words)


def mode_of(words: Iterable[str]) -> Literal["max", "min"] | None:
    """Returns which direction is better, `"max"` or `"min"`; None if the words are not clear about it."""
    plain = {word if word in QUALITY_WORDS else word.rstrip("0123456789.") for word in words}
    if plain & NO_DIRECTION:
        return None
    if plain & LESS_IS_BETTER:
        return "min"
    return "max" if plain & MORE_IS_BETTER else None


def loose_form(words: tuple[str, ...]) -> tuple[str, ...]:
    """Returns a form of a name's words that is the same for names that differ in details only.

    These are the position of the metric (`loss_cls`, `cls_loss`), AUC for ROC AUC, a plural, and
    `loss` beside a metric that is a loss. The order of other words counts: `en_de_bleu` is not
    `de_en_bleu`, and the precision at a recall is not the recall at a precision.
    """
    alike = tuple("roc_auc" if word == "auc" else _singular(word) for word in words)
    if LOSSES.intersection(alike):
        alike = tuple(word for word in alike if word != "loss")
    known = tuple(word for word in alike if has_quality([word]))
    return (*known, *(word for word in alike if word not in known)) if len(known) == 1 else alike


def _singular(word: str) -> str:
    for ending in ("es", "s"):
        if word.endswith(ending) and word.removesuffix(ending) in QUALITY_WORDS:
            return word.removesuffix(ending)
    return word


def is_typo(one: str, other: str) -> bool:
    """Whether two words are probably the same, one misspelt; never if they contain digits."""
    if one == other or not (one.isalpha() and other.isalpha()) or one[0] != other[0]:
        return False
    if (one in KNOWN_WORDS and other in KNOWN_WORDS) or abs(len(one) - len(other)) > 1:
        return False
    shorter, longer = sorted((one, other), key=len)
    # For words that are not metrics, a replaced letter makes another word (interval, internal), and
    # another ending another form (generate, generated): neither counts as misspelt.
    same_letters = _letters_apart(shorter, longer) <= 1
    if one in QUALITY_WORDS or other in QUALITY_WORDS:
        if _without_doubles(one) == _without_doubles(other):
            return True
        if len(longer) >= 8:
            return edit_distance(one, other) <= (2 if same_letters else 1)
        return len(shorter) >= 5 and same_letters and edit_distance(one, other) == 1
    british = "z" in one + other and one.replace("z", "s") == other.replace("z", "s")
    moved = same_letters and one[-1] == other[-1] and edit_distance(one, other) == 1
    return len(shorter) >= 8 and (moved or british)


def split_meant(text: str) -> str | None:
    """Returns the well-known split that a text misspells; None if there is none, or nobody can say.

    Misspelt means one letter more or less, or two swapped. A replaced letter makes another word (text),
    numbers count (val1, val2), and a plural is somebody's choice.
    """
    given = text.casefold()
    if given in SPLIT_WORDS or len(given) < 3 or not given.isalpha():
        return None
    for split in ("train", "val", "test", "eval", "valid", "validation", "training", "evaluation"):
        alike = given[0] == split[0] and abs(len(given) - len(split)) <= 1 and given != f"{split}s"
        if alike and _letters_apart(*sorted((given, split), key=len)) <= 1 == edit_distance(given, split):
            return split
    return None


def _without_doubles(word: str) -> str:
    return re.sub(r"(.)\1+", r"\1", word)


def one_letter_less(word: str) -> set[str]:
    """Returns a word, and each text that is left of it without one letter."""
    return {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}


def _letters_apart(shorter: str, longer: str) -> int:
    rest = list(longer)
    missing = 0
    for letter in shorter:
        if letter in rest:
            rest.remove(letter)
        else:
            missing += 1
    return missing + len(rest)


def edit_distance(one: str, other: str) -> int:
    """Counts the letters to insert, delete, replace or swap with a neighbour (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, its in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != its))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == its:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
