"""Parses a logged name into the metric's words and its context, such as the split. Pure."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING, Any

import attrs

from .._model.metric_words import (
    ABBREVIATIONS,
    FILLER_WORDS,
    KNOWN_WORDS,
    MAX_PHRASE_WORDS,
    NUMBERED_CONTEXTS,
    PERCENT_METRICS,
    PERIODS,
    PHRASES,
    QUALITY_WORDS,
    SCORE_WORDS,
    SPLIT_WORDS,
    TOP_K_METRICS,
    VALIDATION_SYNONYMS,
    edit_distance,
    has_quality,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SUMMARY = "Summary"
"""The title of single values in ClearML; the series is the value's name."""
MONITOR = ":monitor:"
"""The prefix of the titles of ClearML's resource plots, which are ignored."""

_TOKENS = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)*|[<>]=?|\+|-(?=$|[\s/)])")
_CAMEL_CASE_PARTS = re.compile(r"[A-Z]{2,}(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^A-Za-z]+")

Context = tuple[tuple[str, Any], ...]
"""The context in a name, `(("split", "val"),)`."""


@attrs.frozen
class _Token:
    letters: str
    digits: str
    raw: str
    start: int
    end: int

    @property
    def words(self) -> tuple[str, ...]:
        """Its word, or two words for `acc@5`; but `acc_5` is the accuracy of a fifth thing."""
        word = ABBREVIATIONS.get(self.letters, self.letters)
        if word in TOP_K_METRICS and self.digits and re.fullmatch(r"[^\W\d_]+@?\d+", self.raw):
            return (f"top{self.digits}", word)
        return (_numbered(word, self.digits),)

    @property
    def context(self) -> tuple[str, Any] | None:
        """The split, the fold or another numbered context that the token stands for."""
        split = _split_of(self.letters)
        if split is not None:
            return ("split", split + self.digits)
        if self.letters in NUMBERED_CONTEXTS and self.digits.isdecimal() and len(self.digits) < 19:
            return (self.letters, int(self.digits))
        return None


@attrs.frozen
class _ParsedText:
    """A parsed title or series."""

    text: str
    plain: str
    tokens: tuple[_Token, ...]
    words: tuple[str, ...]
    period: str
    context: Context
    raw_words: tuple[str, ...]

    @property
    def layout(self) -> str:
        """The text with placeholders for its context: the same for `train_loss` and `val_loss`."""
        text = self.plain
        for token in reversed(self.tokens):
            if self.context and token.context in self.context:
                text = f"{text[: token.start]}\0{token.context[0]}\0{text[token.end :]}"
        return text


@attrs.frozen
class ParsedName:
    """A parsed logged name.

    Attributes:
        title, series: The name, as ClearML has it.
        words: The metric's words, in lower case and without abbreviations.
        period: The period that the value is of, `"epoch"`; empty if the name does not say.
        context: The context in the name, `(("split", "val"),)`.
        raw_words: The metric's words as they are written.
        layout: Title and series with placeholders for the context.
        alias: What a script would give to `report` for it.
        carried: The part of the context that `alias` contains.
    """

    title: str
    series: str
    words: tuple[str, ...]
    period: str
    context: Context
    raw_words: tuple[str, ...]
    layout: tuple[str, str]
    alias: str
    carried: Context

    @property
    def single(self) -> bool:
        """Whether it is a value without iterations."""
        return self.title == SUMMARY

    @property
    def name(self) -> str:
        """A name for the metric: its words, with numbers as they are written, `precision@1`."""
        parts = list(self.words)
        for at, raw in enumerate(self.raw_words if len(self.raw_words) == len(parts) else ()):
            stem = parts[at].rstrip("0123456789.")
            if stem != parts[at] and has_quality([stem]) and (set("@_") & set(raw) or "." in parts[at]):
                parts[at] = stem + re.sub(r"^[^\W\d_]+|\s", "", raw)
        return "_".join(parts)

    @property
    def written_split(self) -> str:
        """The split as it is written beside the metric."""
        text = next((text for text in (self.series, self.title) if text != self.alias), "")
        return " ".join(token.raw for token in _tokenize(text) if _split_of(token.letters) is not None)

    def __str__(self) -> str:
        if self.single or self.title == self.series:
            return self.series
        return f"{self.title}/{self.series}"


def parse_name(title: str, series: str, *, heading: bool = False, opaque: bool = False) -> ParsedName:
    """Parses a logged name.

    Args:
        title: ClearML's title; for a single value `Summary`.
        series: ClearML's series; for a single value its name.
        heading: Whether the title is the same for all names, so that the series alone is the metric.
        opaque: Whether a split in the title belongs to the metric's name; see `contradicts`.
    """
    shown, _, rest = series.partition("/") if title == SUMMARY else (title, "", series)
    if heading and title != SUMMARY:
        shown, rest = series, ""
    first, second = _parse_text(shown), _parse_text(rest or shown)
    contexts = dict(first.context)
    if title != SUMMARY and (opaque or _contradict(first, second)):
        context = second.context if second.context and not second.words else ()
        return _unparsed(title, series, first, first, context)
    words, raw_words = _join_words(first, second)
    if not words or any(contexts.get(field, value) != value for field, value in second.context):
        return _unparsed(title, series, first, second if rest else first)
    context = tuple(sorted({**contexts, **dict(second.context)}.items()))
    whole = [half for half in (first, second) if sorted(half.words) == sorted(words)]
    half = max(whole, key=lambda half: len(half.context), default=None)
    if title == SUMMARY and rest and not first.words:
        half = None  # `val/acc` was written by hand; a group would have rendered `acc/val`
    return ParsedName(
        title,
        series,
        words,
        first.period or second.period,
        context,
        raw_words,
        (first.layout, second.layout),
        half.text if half is not None else f"{shown}/{rest}",
        half.context if half is not None else context,
    )


def is_common_heading(names: Iterable[tuple[str, str]]) -> bool:
    """Whether all names have the same title, which is only a heading, and the series are the metrics."""
    shown = [(title, series) for title, series in names if title != SUMMARY]
    if len({title for title, _ in shown}) != 1:
        return False
    half = _parse_text(shown[0][0])
    named = any(has_quality(_parse_text(series).words) for _, series in shown)
    return named and not half.context and not has_quality(half.words)


def is_split(text: str) -> bool:
    """Whether a text is a well-known split and nothing else: `val`, but not `holdout`."""
    half = _parse_text(text)
    return not half.words and [field for field, _ in half.context] == ["split"]


def contradicts(title: str, series: str) -> bool:
    """Whether a title has another split than a series that is only a split: `train_loss` and `val`."""
    return _contradict(_parse_text(title), _parse_text(series))


def _contradict(first: _ParsedText, second: _ParsedText) -> bool:
    if second.words or not second.context:
        return False
    own = dict(first.context)
    return any(own.get(field, value) != value for field, value in second.context)


def _unparsed(
    title: str, series: str, first: _ParsedText, second: _ParsedText, context: Context = ()
) -> ParsedName:
    """Returns a name that is only a split, or that has two splits, as a metric of its own."""
    texts = list(dict.fromkeys((first.text, second.text)))
    tokens = first.tokens if len(texts) == 1 else (*first.tokens, *second.tokens)
    words = tuple(dict.fromkeys(token.letters + token.digits for token in tokens))
    raw_words = tuple(token.raw for token in tokens)
    layout = (first.text, second.text)
    return ParsedName(title, series, words, "", context, raw_words, layout, "/".join(texts), ())


def _join_words(first: _ParsedText, second: _ParsedText) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Joins the words of title and series, each once."""
    for one, other in ((first, second), (second, first)):
        if set(other.words) <= set(one.words) or (one.words and set(other.words) <= FILLER_WORDS):
            return one.words, one.raw_words
    for one, other in ((first, second), (second, first)):
        if set(one.words) <= SCORE_WORDS:
            return other.words, other.raw_words
    more = [word for word in second.words if word not in first.words]
    return (*first.words, *more), (*first.raw_words, *second.raw_words)


@functools.lru_cache(maxsize=4096)
def _parse_text(text: str) -> _ParsedText:
    plain = unicodedata.normalize("NFKC", text)
    tokens = tuple(_tokenize(plain))
    found = {token.context for token in tokens if token.context is not None}
    fields = [field for field, _ in found]
    context: Context = tuple(sorted(found)) if len(set(fields)) == len(fields) else ()
    rest = [token for token in tokens if token.context not in context]
    period = ""
    periods = {PERIODS[token.letters] for token in rest if token.letters in PERIODS and not token.digits}
    if len(periods) == 1 and has_quality(_full_words(rest)):
        (period,) = periods
        rest = [token for token in rest if token.letters not in PERIODS or token.digits]
    first = rest[:1]
    for filler in (FILLER_WORDS, SCORE_WORDS):
        rest = [token for token in rest if token.letters not in filler or token.digits] or rest
    if first and first[0].letters == "value" and has_quality(_full_words(rest)):
        rest = [*first, *rest]  # `value_loss` is not `loss`, as `loss_value` is
    words = _full_words(rest)
    if not tokens and text.strip():
        words = (text.strip(),)
    return _ParsedText(text, plain, tokens, words, period, context, tuple(token.raw for token in rest))


def _full_words(tokens: Iterable[_Token]) -> tuple[str, ...]:
    """Returns the words without abbreviations, known phrases as one word."""
    listed = list(tokens)
    found: list[str] = []
    at = 0
    while at < len(listed):
        for length in range(min(MAX_PHRASE_WORDS, len(listed) - at), 0, -1):
            part = listed[at : at + length]
            phrase = PHRASES.get(tuple(token.letters for token in part))
            if phrase is not None and not any(token.digits for token in part[:-1]):
                found.append(_numbered(phrase, part[-1].digits))
                at += length
                break
        else:
            found += listed[at].words
            at += 1
    return tuple(dict.fromkeys(found))


def _numbered(word: str, digits: str) -> str:
    """Joins a word and its number; fractions are percent in some: `0.5` is `50`, `0.5.0.95` is `50.95`."""
    if word in PERCENT_METRICS:
        digits = re.sub(r"(?<!\d)0\.(\d\d?)(?!\d)", lambda match: match[1].ljust(2, "0"), digits)
    return word + digits


def _tokenize(text: str) -> list[_Token]:
    found: list[_Token] = []
    for match in _TOKENS.finditer(text):
        piece, start = match[0], match.start()
        if piece[0].isdigit() and found and found[-1].letters.isalpha():
            last = found.pop()
            digits = f"{last.digits}.{piece}" if last.digits else piece
            raw = text[last.start : match.end()]
            found.append(_Token(last.letters, digits, raw, last.start, match.end()))
            continue
        for part in _split_into_words(piece):
            found.append(_Token(part.casefold(), "", part, start, start + len(part)))
            start += len(part)
    return found


def _split_into_words(piece: str) -> list[str]:
    """Splits letters into words: `valLoss`, `valloss`; known words such as `mAP` stay whole."""
    if piece.casefold() in KNOWN_WORDS or not piece.isascii():
        return [piece]
    parts: list[str] = []
    for part in _CAMEL_CASE_PARTS.findall(piece):
        lower = part.casefold()
        for split in sorted(SPLIT_WORDS, key=len, reverse=True):
            if lower.startswith(split) and lower[len(split) :] in (QUALITY_WORDS | ABBREVIATIONS.keys()):
                parts += [part[: len(split)], part[len(split) :]]
                break
        else:
            parts.append(part)
    return parts


@functools.lru_cache(maxsize=4096)
def _split_of(word: str) -> str | None:
    if word in SPLIT_WORDS:
        return SPLIT_WORDS[word]
    for known in ("training", "validation", "evaluation"):
        if word[0] == known[0] and edit_distance(word, known) <= 1:
            return SPLIT_WORDS[known]
    return None


def validation_synonyms(parsed_names: Iterable[Iterable[ParsedName]]) -> Mapping[str, str]:
    """Maps splits such as `eval` to `val`, unless a task has both."""
    same = dict.fromkeys(VALIDATION_SYNONYMS, "val")
    for task in parsed_names:
        splits = {value for parsed in task for field, value in parsed.context if field == "split"}
        for word in VALIDATION_SYNONYMS:
            if word in splits and "val" in splits:
                same.pop(word, None)
    return same
