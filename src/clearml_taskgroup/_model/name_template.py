"""Name templates: metric and context → ClearML's title and series. Pure."""

from __future__ import annotations

import difflib
import enum
import math
import re
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from ..errors import (
    BlankNameError,
    ContextValueError,
    MissingFieldError,
    NameWarning,
    TemplateError,
    UnknownFieldError,
)
from .identity import number_text, typed

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TEMPLATE = "{metric}/{split=value}"
TASK_FIELDS = frozenset({"group", "task", "key", "index", "task_id"})
"""The fields that a group fills in by itself."""
PER_TASK_FIELDS = TASK_FIELDS - {"group"}
NAMES_WARNED_AT, NAMES_MOST = 1000, 2000
"""A server keeps the last values of 2,000 title/series pairs for each task."""

_WORDS: Mapping[str, Any] = {"True": True, "False": False, "None": None}
_PIECES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|/|[^{}/]+")
_TAKEN = dict.fromkeys(("self", "values", "iteration", "levels"), "report()") | dict.fromkeys(
    ("mode", "of"), "results().best()"
)


class Name(NamedTuple):
    """What a value is logged as: ClearML's title (the plot) and series (the curve)."""

    title: str
    series: str


@attrs.frozen
class _Field:
    name: str
    default: str | None = None

    def __str__(self) -> str:
        return "{" + self.name + ("" if self.default is None else f"={self.default}") + "}"


_Part = str | _Field


@attrs.frozen(init=False)
class NameTemplate:
    """A template for names, as `"{metric}/{split=value}"`.

    A field is `{field}`, or `{field=default}` with a default. `{metric}` is required. The
    template, not what is filled in, is split at its first `/` into ClearML's title and series; a
    template without `/` is the series, and the title is the metric. `{{` and `}}` are braces.

    Args:
        text: The template.

    Raises:
        TemplateError: The text cannot be read.

    Examples:
        >>> NameTemplate("{metric}/{split=value}").render(metric="loss", split="val")
        Name(title='loss', series='val')
    """

    text: str
    fields: tuple[str, ...]
    defaults: Mapping[str, str] = attrs.field(eq=False)
    _title: tuple[_Part, ...] = attrs.field(repr=False)
    _series: tuple[_Part, ...] = attrs.field(repr=False)
    _split: bool = attrs.field(repr=False)

    def __init__(self, text: str) -> None:
        title, series = _parse(text)
        fields = [part for part in (*(title or ()), *series) if isinstance(part, _Field)]
        defaults: dict[str, str] = {}
        for field in fields:
            if field.default is not None and defaults.setdefault(field.name, field.default) != field.default:
                raise TemplateError(
                    text, f"gives {field.name!r} two defaults", "give it one, at its first place"
                )
        names = tuple(dict.fromkeys(field.name for field in fields))
        if "metric" not in names:
            close = difflib.get_close_matches("metric", names, n=1, cutoff=0.7)
            advice = (
                f"did you mean {{metric}} where it has {{{close[0]}}}?" if close else "add {metric} to it"
            )
            raise TemplateError(text, "has no field {metric}, so all metrics would share a name", advice)
        self.__attrs_init__(
            text=text,
            fields=names,
            defaults=defaults,
            title=title or (_Field("metric"),),
            series=series,
            split=title is not None,
        )

    @property
    def context_fields(self) -> tuple[str, ...]:
        """The fields that a report fills in, all but the metric and the task's own."""
        return tuple(f for f in self.fields if f != "metric" and f not in TASK_FIELDS)

    @property
    def title_fields(self) -> tuple[str, ...]:
        """The fields of the title's half."""
        return tuple(part.name for part in self._title if isinstance(part, _Field))

    def render(self, metric: str, **fields: Any) -> Name:
        """Fills the template in.

        Args:
            metric: The metric's name.
            **fields: A value for each other field: text, a number, a bool, an enum or None.

        Returns:
            The name, a pair of title and series.

        Raises:
            MissingFieldError: A field without a default is not given.
            UnknownFieldError: A field is given that the template does not have.
            ContextValueError: The metric is not text, or a field has a value of another kind.
            BlankNameError: The title or the series is blank once filled in.
        """
        if not isinstance(metric, str):
            raise ContextValueError("metric", metric)
        for field in fields:
            if field not in self.fields:
                raise UnknownFieldError(field, self.text, self.context_fields)
        texts = {field: field_text(field, value) for field, value in fields.items()}
        texts["metric"] = metric
        title, series = self._fill(self._title, texts), self._fill(self._series, texts)
        for what, text in (("title", title), ("series", series)):
            if not text.strip():
                raise BlankNameError(
                    self.text, f"gives a blank {what}", "fill it in with text that is not blank"
                )
        return Name(title, series)

    def single_value_name(self, name: Name) -> str:
        """Gives the one name of a value without iterations: the template as written, filled in.

        Args:
            name: What `render` gave.
        """
        return f"{name.title}/{name.series}" if self._split else name.series

    def parse(self, title: str, series: str, own: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
        """Reads a rendered name back, as far as that is possible.

        Args:
            title: The title.
            series: The series.
            own: The task's own fields, as they were filled in.

        Returns:
            Metric and context, with numbers, bools and None where the text is one; None if the template never
            gives this name.
        """
        pattern = f"{_pattern(self._title, own)}\0{_pattern(self._series, own)}"
        seen: set[str] = set()

        def once(match: re.Match[str]) -> str:
            name = match[1]
            if name in seen:
                return f"(?P={name})"
            seen.add(name)
            return f"(?P<{name}>.+?)"

        found = re.fullmatch(re.sub(r"\x01(\w+)\x01", once, pattern), f"{title}\0{series}", re.DOTALL)
        if found is None:
            return None
        fields = found.groupdict()
        return fields.pop("metric"), {field: _read(text) for field, text in fields.items()}

    def parse_single(self, name: str, own: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
        """Reads the name of a single value back; see `parse`.

        Args:
            name: The name.
            own: The texts of the task's own fields.
        """
        if not self._split:
            fields = _pattern(self._series, own)
            metric = re.fullmatch(re.sub(r"\x01(\w+)\x01", r"(.+?)", fields), name, re.DOTALL)
            return None if metric is None else self._parse_unsplit(name, own)
        places = (place for place, letter in enumerate(name) if letter == "/")
        parsed = (self.parse(name[:place], name[place + 1 :], own) for place in places)
        found = [fields for fields in parsed if fields is not None]
        # "train/loss/value" is the metric "train/loss": a default is likelier than a '/' in a field.
        likely = (one for one in found if self._is_at_default(one[1]))
        return next(likely, found[0] if found else None)

    def _is_at_default(self, fields: Mapping[str, Any]) -> bool:
        return all(fields.get(field) == _read(default) for field, default in self.defaults.items())

    def _parse_unsplit(self, series: str, own: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
        """Without a '/', the title is the metric, which the series has in it somewhere."""
        for start in range(len(series)):
            for end in range(len(series), start, -1):
                if found := self.parse(series[start:end], series, own):
                    return found
        return None

    def _fill(self, parts: tuple[_Part, ...], texts: Mapping[str, str]) -> str:
        filled = []
        for part in parts:
            if isinstance(part, str):
                filled.append(part)
                continue
            text = texts.get(part.name, self.defaults.get(part.name))
            if text is None:
                raise MissingFieldError(part.name, self.text)
            filled.append(text)
        return "".join(filled)


def _pattern(parts: tuple[_Part, ...], own: Mapping[str, str]) -> str:
    pieces = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(re.escape(part))
        elif part.name in own:
            pieces.append(re.escape(own[part.name]))
        else:
            pieces.append(f"\x01{part.name}\x01")
    return "".join(pieces)


def _read(text: str) -> Any:
    """Reads a field's text back: a number, a bool or None where one is written like this."""
    if text in _WORDS:
        return _WORDS[text]
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if math.isfinite(value) and number_text(value) == text:
            return value
    return text


def _parse(text: str) -> tuple[tuple[_Part, ...] | None, tuple[_Part, ...]]:
    if not isinstance(text, str):
        raise TemplateError(str(text), "is not text", "write it like '{metric}/{split=value}'")
    halves: list[list[_Part]] = [[]]
    for piece in _PIECES.finditer(text):
        token, inside = piece.group(), piece.group(1)
        if inside is not None:
            halves[-1].append(_field(text, inside))
        elif token in ("{", "}"):
            raise TemplateError(
                text, f"has a lone {token!r}", f"write {token * 2!r} for the character, or close the field"
            )
        elif token == "/" and len(halves) == 1:
            halves.append([])
        else:
            halves[-1].append(token[0] if token in ("{{", "}}") else token)
    if any(not "".join(map(str, half)).strip() for half in halves):
        raise TemplateError(
            text,
            "has nothing on one side of its first '/'",
            "write title and series, '{metric}/{split}', or leave the '/' out",
        )
    series = tuple(halves[-1])
    return (tuple(halves[0]) if len(halves) == 2 else None), series


def check_task_name(template: str) -> str:
    """Checks the template of the ClearML tasks' names, `"{group} {task}"`.

    Raises:
        TemplateError: It cannot be read, or has other fields than the task's own.
    """
    for field in _task_name_fields(template):
        if field.name not in TASK_FIELDS - {"task_id"} or field.default is not None:
            raise TemplateError(
                template,
                f"has {field}, which is not known when a task is made",
                "use {group}, {task}, {key}, {index}",
            )
    return template


def fill_task_name(template: str, fields: Mapping[str, str]) -> str:
    """Fills the template of the ClearML tasks' names in."""
    title, series = _parse(template)
    parts = (*title, "/", *series) if title is not None else series
    return "".join(part if isinstance(part, str) else fields[part.name] for part in parts)


def _task_name_fields(template: str) -> list[_Field]:
    title, series = _parse(template)
    return [part for part in (*(title or ()), *series) if isinstance(part, _Field)]


def _field(text: str, inside: str) -> _Field:
    name, equals, default = inside.partition("=")
    if not name.isidentifier():
        raise TemplateError(
            text,
            f"has the field {{{inside}}}, which is not a name",
            "a field is {field} or {field=default}; numbers are filled in as they are",
        )
    if name in _TAKEN:
        raise TemplateError(
            text,
            f"has the field {{{name}}}, which {_TAKEN[name]} takes as an argument of its own",
            "call the field something else, as {epoch} or {phase}",
        )
    if name in TASK_FIELDS or name == "metric":
        if equals:
            raise TemplateError(
                text, f"gives {{{name}}} a default, though it is always filled in", f"write {{{name}}}"
            )
        return _Field(name)
    if equals and not default.strip():
        raise TemplateError(text, f"gives {{{name}}} a blank default", f"write {{{name}=text}}")
    return _Field(name, default if equals else None)


def field_text(field: str, value: Any) -> str:
    """Writes a context value as it stands in a name; equal numbers read alike.

    Raises:
        ContextValueError: The value is not text, a number, a bool, an enum or None.
    """
    if type(value) is str:
        return value
    if isinstance(value, enum.Enum):
        return value.name if not isinstance(value.value, str) else value.value
    plain = canonical_context_value(field, value)
    if isinstance(plain, (int, float)) and not isinstance(plain, bool):
        return number_text(plain)
    return str(plain)


def canonical_context_value(field: str, value: Any) -> Any:
    """Brings a context value into the form by which contexts are compared.

    Raises:
        ContextValueError: The value is not text, a number, a bool, an enum or None.
    """
    try:
        plain = typed(value, field)
    except ValueError:
        raise ContextValueError(field, value) from None
    if isinstance(plain, dict) and "enum" in plain:
        return str.__str__(value) if isinstance(value, str) else plain["enum"]
    if plain is not None and not isinstance(plain, (str, bool, int, float)):
        raise ContextValueError(field, value)
    return plain


def check_context(template: NameTemplate, context: Mapping[str, Any]) -> None:
    """Checks that a template has a field for each entry of a context.

    Raises:
        UnknownFieldError: The template has no such field, or the group fills it in itself.
    """
    for field in context:
        if field in TASK_FIELDS or field == "metric":
            raise UnknownFieldError(field)
        if field not in template.fields:
            raise UnknownFieldError(field, template.text, template.context_fields)


def warn_of_titles(template: NameTemplate) -> None:
    own = [field for field in template.title_fields if field in PER_TASK_FIELDS]
    if own:
        warnings.warn(
            f"the template {template.text!r} has {{{own[0]}}} in its title, so each task gets a plot of its "
            "own and their curves cannot be laid over each other on ClearML's comparison page; put it after "
            "the '/', into the series",
            NameWarning,
            stacklevel=5,
        )
