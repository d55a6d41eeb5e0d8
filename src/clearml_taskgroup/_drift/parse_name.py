"""What a logged name says: its words, the split they are of, and the metric that is left. Pure."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING, Any

import attrs

from .._model.metric_words import (
    LIKE_VAL,
    LONGEST,
    NUMBERED,
    PERCENT,
    PERIODS,
    PHRASES,
    QUALITY,
    SCORE,
    SHORT,
    SPLITS,
    TOP,
    WORDS,
    WRAPPING,
    distance,
    has_quality,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SUMMARY = "Summary"
"""The title under which ClearML keeps single values, their names as the series."""
MONITOR = ":monitor:"
"""How the titles of ClearML's resource plots begin; they are no metrics."""

_PIECES = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)*|[<>]=?|\+|-(?=$|[\s/)])")
_CAMEL = re.compile(r"[A-Z]{2,}(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^A-Za-z]+")

Context = tuple[tuple[str, Any], ...]
"""What a name says beside the metric, `(("split", "val"),)`."""


@attrs.frozen
class _Token:
    letters: str
    digits: str
    raw: str
    start: int
    end: int

    @property
    def word(self) -> str:
        word = SHORT.get(self.letters, self.letters)
        return word + (_percent(self.digits) if word in PERCENT else self.digits)

    @property
    def words(self) -> tuple[str, ...]:
        """Its word, or two of them for `acc@5`; but `acc_5` is the accuracy of some fifth thing."""
        word = SHORT.get(self.letters, self.letters)
        if word in TOP and self.digits and re.fullmatch(r"[^\W\d_]+@?\d+", self.raw):
            return (f"top{self.digits}", word)
        return (self.word,)

    @property
    def context(self) -> tuple[str, Any] | None:
        """The split, or fold and the like, that the token stands for."""
        split = _split_of(self.letters)
        if split is not None:
            return ("split", split + self.digits)
        if self.letters in NUMBERED and self.digits.isdigit():
            return (self.letters, int(self.digits))
        return None


@attrs.frozen
class _Half:
    """What a title or a series says."""

    text: str
    plain: str
    tokens: tuple[_Token, ...]
    words: tuple[str, ...]
    period: str
    context: Context
    core: tuple[str, ...]

    @property
    def scheme(self) -> str:
        """The text with its context left open, so that `train_loss` and `val_loss` are alike."""
        text = self.plain
        for token in reversed(self.tokens):
            if self.context and token.context in self.context:
                text = f"{text[: token.start]}\0{token.context[0]}\0{text[token.end :]}"
        return text


@attrs.frozen
class Reading:
    """What one logged name says.

    Attributes:
        title, series: The name, as ClearML has it.
        words: The metric's words, in full and in lower case.
        period: Per what it was taken, `"epoch"`; empty where the name does not say.
        context: What else it says, `(("split", "val"),)`.
        core: The metric as it is written.
        scheme: How the whole name is written, its context left open.
        alias: What `report` would be given for it, and `carried`, the context that is in there.
    """

    title: str
    series: str
    words: tuple[str, ...]
    period: str
    context: Context
    core: tuple[str, ...]
    scheme: tuple[str, str]
    alias: str
    carried: Context

    @property
    def single(self) -> bool:
        """Whether it is a value without iterations."""
        return self.title == SUMMARY

    @property
    def name(self) -> str:
        """What to call the metric: its words, with numbers as they are written, `precision@1`."""
        parts = list(self.words)
        for at, raw in enumerate(self.core if len(self.core) == len(parts) else ()):
            stem = parts[at].rstrip("0123456789.")
            if stem != parts[at] and has_quality([stem]) and (set("@_") & set(raw) or "." in parts[at]):
                parts[at] = stem + re.sub(r"^[^\W\d_]+|\s", "", raw)
        return "_".join(parts)

    @property
    def written_split(self) -> str:
        """The split, as it is written beside the metric."""
        text = next((text for text in (self.series, self.title) if text != self.alias), "")
        return " ".join(token.raw for token in _tokens(text) if _split_of(token.letters) is not None)

    def __str__(self) -> str:
        if self.single or self.title == self.series:
            return self.series
        return f"{self.title}/{self.series}"


def read(title: str, series: str, *, heading: bool = False) -> Reading:
    """Reads a logged name.

    Args:
        title: ClearML's title; for a single value `Summary`.
        series: ClearML's series; for a single value its name.
        heading: Whether the title stands above everything, so that the series alone is the metric.
    """
    shown, _, rest = series.partition("/") if title == SUMMARY else (title, "", series)
    if heading and title != SUMMARY:
        shown, rest = series, ""
    first, second = _half(shown), _half(rest or shown)
    contexts = dict(first.context)
    words, core = _joined(first, second)
    if not words or any(contexts.get(field, value) != value for field, value in second.context):
        return _as_it_stands(title, series, first, second if rest else first)
    context = tuple(sorted({**contexts, **dict(second.context)}.items()))
    whole = [half for half in (first, second) if sorted(half.words) == sorted(words)]
    half = max(whole, key=lambda half: len(half.context), default=None)
    if title == SUMMARY and rest and not first.words:
        half = None  # somebody has written `val/acc`; a group would have made `acc/val` of it
    return Reading(
        title,
        series,
        words,
        first.period or second.period,
        context,
        core,
        (first.scheme, second.scheme),
        half.text if half is not None else f"{shown}/{rest}",
        half.context if half is not None else context,
    )


def is_heading(names: Iterable[tuple[str, str]]) -> bool:
    """Tells whether all names have one title that is no more than a heading above series, the metrics."""
    shown = [(title, series) for title, series in names if title != SUMMARY]
    if len({title for title, _ in shown}) != 1:
        return False
    half = _half(shown[0][0])
    named = any(has_quality(_half(series).words) for _, series in shown)
    return named and not half.context and not has_quality(half.words)


def is_split(text: str) -> bool:
    """Tells whether a text is a well-known split and nothing else: `val`, not `holdout`."""
    half = _half(text)
    return not half.words and [field for field, _ in half.context] == ["split"]


def _as_it_stands(title: str, series: str, first: _Half, second: _Half) -> Reading:
    """Reads a name that is nothing but a split, or says two, as a metric of its own."""
    texts = list(dict.fromkeys((first.text, second.text)))
    tokens = first.tokens if len(texts) == 1 else (*first.tokens, *second.tokens)
    words = tuple(dict.fromkeys(token.letters + token.digits for token in tokens))
    core = tuple(token.raw for token in tokens)
    return Reading(title, series, words, "", (), core, (first.text, second.text), "/".join(texts), ())


def _joined(first: _Half, second: _Half) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Joins the words of title and series, without what is said twice."""
    for one, other in ((first, second), (second, first)):
        if set(other.words) <= set(one.words) or (one.words and set(other.words) <= WRAPPING):
            return one.words, one.core
    if set(first.words) <= SCORE or set(second.words) <= SCORE:
        best = second if set(first.words) <= SCORE else first
        return best.words, best.core
    more = [word for word in second.words if word not in first.words]
    return (*first.words, *more), (*first.core, *second.core)


@functools.lru_cache(maxsize=4096)
def _half(text: str) -> _Half:
    plain = unicodedata.normalize("NFKC", text)
    tokens = tuple(_tokens(plain))
    found = {token.context for token in tokens if token.context is not None}
    fields = [field for field, _ in found]
    context: Context = tuple(sorted(found)) if len(set(fields)) == len(fields) else ()
    rest = [token for token in tokens if token.context not in context]
    period = ""
    periods = {PERIODS[token.letters] for token in rest if token.letters in PERIODS and not token.digits}
    if len(periods) == 1 and has_quality(_words(rest)):
        (period,) = periods
        rest = [token for token in rest if token.letters not in PERIODS or token.digits]
    for needless in (WRAPPING, SCORE):
        kept = [token for token in rest if token.letters not in needless or token.digits]
        if rest and rest[0].letters == "value" and has_quality(_words(kept)):
            kept.insert(0, rest[0])  # `value_loss` is not `loss`, as `loss_value` is
        rest = kept or rest
    words = _words(rest)
    if not tokens and text.strip():
        words = (text.strip(),)
    return _Half(text, plain, tokens, words, period, context, tuple(token.raw for token in rest))


def _words(tokens: Iterable[_Token]) -> tuple[str, ...]:
    """Writes the words out in full, known phrases as one."""
    listed = list(tokens)
    found: list[str] = []
    at = 0
    while at < len(listed):
        for length in range(min(LONGEST, len(listed) - at), 0, -1):
            part = listed[at : at + length]
            phrase = PHRASES.get(tuple(token.letters for token in part))
            if phrase is not None and not any(token.digits for token in part[:-1]):
                digits = part[-1].digits
                found.append(phrase + (_percent(digits) if phrase in PERCENT else digits))
                at += length
                break
        else:
            found += listed[at].words
            at += 1
    return tuple(dict.fromkeys(found))


def _percent(digits: str) -> str:
    """Writes fractions in percent: `0.5` as `50`, `0.5.0.95` as `50.95`."""
    return re.sub(r"(?<!\d)0\.(\d\d?)(?!\d)", lambda match: match[1].ljust(2, "0"), digits)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    for match in _PIECES.finditer(text):
        piece, start = match[0], match.start()
        if piece[0].isdigit() and found and found[-1].letters.isalpha():
            last = found.pop()
            digits = f"{last.digits}.{piece}" if last.digits else piece
            raw = text[last.start : match.end()]
            found.append(_Token(last.letters, digits, raw, last.start, match.end()))
            continue
        for part in _parts(piece):
            found.append(_Token(part.casefold(), "", part, start, start + len(part)))
            start += len(part)
    return found


def _parts(piece: str) -> list[str]:
    """Splits a run of letters into words: `valLoss`, `valloss`; known ones as `mAP` stay whole."""
    if piece.casefold() in WORDS or not piece.isascii():
        return [piece]
    parts: list[str] = []
    for part in _CAMEL.findall(piece):
        lower = part.casefold()
        for split in sorted(SPLITS, key=len, reverse=True):
            if lower.startswith(split) and lower[len(split) :] in (QUALITY | SHORT.keys()):
                parts += [part[: len(split)], part[len(split) :]]
                break
        else:
            parts.append(part)
    return parts


@functools.lru_cache(maxsize=4096)
def _split_of(word: str) -> str | None:
    if word in SPLITS:
        return SPLITS[word]
    if len(word) >= 7 and word not in WORDS:
        for known in ("training", "validation", "evaluation"):
            if word[0] == known[0] and distance(word, known) <= 1:
                return SPLITS[known]
    return None


def same_splits(readings: Iterable[Iterable[Reading]]) -> Mapping[str, str]:
    """Finds the splits that are the validation split by another name: no task has both."""
    same = dict.fromkeys(LIKE_VAL, "val")
    for task in readings:
        splits = {value for reading in task for field, value in reading.context if field == "split"}
        for word in LIKE_VAL:
            if word in splits and "val" in splits:
                same.pop(word, None)
    return same
