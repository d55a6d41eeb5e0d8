"""Name templates: from metric and context to ClearML's title and series, and back. Pure."""

from __future__ import annotations

import enum
import functools
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from .._text import is_storable, spelt_like
from ..errors import (
    BlankNameError,
    ContextValueError,
    MissingFieldError,
    TemplateError,
    UnknownFieldError,
)
from .display_name import number_text
from .parameter_json import typed_json

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TEMPLATE = "{metric}/{split=value}"
TASK_FIELDS = frozenset({"group", "task", "key", "index", "task_id"})
"""The fields that a group fills in itself."""
PER_TASK_FIELDS = TASK_FIELDS - {"group"}
MANY_NAMES_PER_TASK, MAX_NAMES_PER_TASK = 1000, 2000
"""Names of one task: how many are warned about, and how many title/series pairs a server keeps."""

_LITERALS: Mapping[str, Any] = {"True": True, "False": False, "None": None}
_TOKENS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|/|[^{}/]+")
_ARGUMENT_NAMES = dict.fromkeys(("self", "values", "iteration", "levels"), "report()") | dict.fromkeys(
    ("mode", "of"), "results().best()"
)


class Name(NamedTuple):
    """The name of a logged value: ClearML's title (the plot) and series (the curve)."""

    title: str
    series: str


class _Field(NamedTuple):
    name: str
    default: str | None = None

    def __str__(self) -> str:
        return "{" + self.name + ("" if self.default is None else f"={self.default}") + "}"


_Part = str | _Field


@attrs.frozen(init=False)
class NameTemplate:
    """A template for the names of scalars, such as `"{metric}/{split=value}"`.

    A field is `{field}`, or `{field=default}` with a default. `{metric}` is required. The template is
    split at its first `/` into ClearML's title and series before the fields are filled in, so a `/` in
    a metric does not split it. A template without `/` is the series, and the title is the metric.
    `{{` and `}}` are literal braces.

    Args:
        text: The template.

    Attributes:
        text: The template.
        fields: The names of all fields, each once.
        defaults: The defaults of the fields that have one.

    Raises:
        TemplateError: The text is not a valid template.

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
        title, series = _parse_template(text)
        fields = [part for part in (*(title or ()), *series) if isinstance(part, _Field)]
        defaults: dict[str, str] = {}
        for field in fields:
            if field.default is not None and defaults.setdefault(field.name, field.default) != field.default:
                raise TemplateError(
                    text, f"gives {field.name!r} two defaults", "give it one, where it is first used"
                )
        names = tuple(dict.fromkeys(field.name for field in fields))
        if "metric" not in names:
            close = spelt_like("metric", names, cutoff=0.7)
            advice = f"did you mean {{metric}} where it has {{{close}}}?" if close else "add {metric} to it"
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
        """The fields that context fills in: all but the metric and those that the group fills in."""
        return tuple(f for f in self.fields if f != "metric" and f not in TASK_FIELDS)

    @property
    def title_fields(self) -> tuple[str, ...]:
        """The fields of the title."""
        return tuple(part.name for part in self._title if isinstance(part, _Field))

    def render(self, metric: str, **fields: Any) -> Name:
        """Fills in the template.

        Args:
            metric: The metric's name.
            **fields: A value for each other field: text, a number, a bool, an enum or None.

        Returns:
            Title and series.

        Raises:
            MissingFieldError: A field without a default was not given.
            UnknownFieldError: A field was given that the template does not have.
            ContextValueError: The metric is not text, or a field has a value of another type.
            BlankNameError: The title or the series is blank once it is filled in.
        """
        if not isinstance(metric, str) or not is_storable(metric):
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
        """Returns the name of a single value (one without iterations), which has no title of its own.

        Args:
            name: The name that `render` returned.
        """
        return f"{name.title}/{name.series}" if self._split else name.series

    def parse(self, title: str, series: str, own: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
        """Parses a rendered name back into metric and context.

        Args:
            title: The title.
            series: The series.
            own: The texts of the fields that the group filled in.

        Returns:
            Metric and context, with a number, bool or None where the text reads like one; None if the
            template cannot render this name.
        """
        seen: set[str] = set()
        pattern = f"{_regex(self._title, own, seen)}\0{_regex(self._series, own, seen)}"
        found = re.fullmatch(pattern, f"{title}\0{series}", re.DOTALL)
        if found is None:
            return None
        fields = found.groupdict()
        return fields.pop("metric"), {field: _parse_value(text) for field, text in fields.items()}

    def parse_single(self, name: str, own: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
        """Parses the name of a single value back into metric and context; see `parse`.

        Args:
            name: The name.
            own: The texts of the fields that the group filled in.
        """
        if not self._split:
            is_series = re.fullmatch(_regex(self._series, own, set()), name, re.DOTALL)
            return self._parse_unsplit(name, own) if is_series else None
        places = (place for place, letter in enumerate(name) if letter == "/")
        parsed = (self.parse(name[:place], name[place + 1 :], own) for place in places)
        found = [fields for fields in parsed if fields is not None]
        # "train/loss/value" is read as the metric "train/loss": defaults are likelier than a '/' in a field.
        likely = (one for one in found if self._is_at_default(one[1]))
        return next(likely, found[0] if found else None)

    def _is_at_default(self, fields: Mapping[str, Any]) -> bool:
        return all(fields.get(field) == _parse_value(default) for field, default in self.defaults.items())

    def _parse_unsplit(self, series: str, own: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
        """Parses a name of a template without '/': the series contains the title, which is the metric."""
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


def _regex(parts: tuple[_Part, ...], own: Mapping[str, str], seen: set[str]) -> str:
    """Returns the pattern of rendered parts, with a group for each field that is not `seen` yet."""
    pieces = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(re.escape(part))
        elif part.name in own:
            pieces.append(re.escape(own[part.name]))
        elif part.name in seen:
            pieces.append(f"(?P={part.name})")
        else:
            seen.add(part.name)
            pieces.append(f"(?P<{part.name}>.+?)")
    return "".join(pieces)


def _parse_value(text: str) -> Any:
    """Converts a field's text to a number, a bool or None if it reads like one."""
    if text in _LITERALS:
        return _LITERALS[text]
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if (kind is int or math.isfinite(value)) and number_text(value) == text:
            return value
    return text


def _parse_template(text: str) -> tuple[tuple[_Part, ...] | None, tuple[_Part, ...]]:
    if not isinstance(text, str):
        raise TemplateError(text, "is not text", "write it like '{metric}/{split=value}'")
    if not is_storable(text):
        raise TemplateError(text, "has a lone surrogate, which cannot be stored", "write it as proper text")
    halves: list[list[_Part]] = [[]]
    for piece in _TOKENS.finditer(text):
        token, inside = piece.group(), piece.group(1)
        if inside is not None:
            halves[-1].append(_parse_field(text, inside))
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
        TemplateError: It is not a valid template, or has a field that is not known in advance.
    """
    title, series = _parse_template(template)
    for part in (*(title or ()), *series):
        if isinstance(part, _Field) and part.name not in TASK_FIELDS - {"task_id"}:
            raise TemplateError(
                template,
                f"has {part}, which is not known when a task is created",
                "use {group}, {task}, {key}, {index}",
            )
    return template


def fill_task_name(template: str, fields: Mapping[str, str]) -> str:
    """Fills in the template of the ClearML tasks' names."""
    return "".join(
        part if isinstance(part, str) else fields[part.name] for part in _task_name_parts(template)
    )


@functools.lru_cache(maxsize=8)  # filled in for each task
def _task_name_parts(template: str) -> tuple[_Part, ...]:
    title, series = _parse_template(template)
    return series if title is None else (*title, "/", *series)


def _parse_field(text: str, inside: str) -> _Field:
    name, equals, default = inside.partition("=")
    if not name.isidentifier():
        raise TemplateError(
            text,
            f"has the field {{{inside}}}, which is not a name",
            "write {field} or {field=default}; format specifications are not supported",
        )
    if name in _ARGUMENT_NAMES:
        raise TemplateError(
            text,
            f"has the field {{{name}}}, which is the name of an argument of {_ARGUMENT_NAMES[name]}",
            "choose another name, such as {epoch} or {phase}",
        )
    if name in TASK_FIELDS or name == "metric":
        if equals:
            raise TemplateError(
                text, f"gives {{{name}}} a default, but it is always filled in", f"write {{{name}}}"
            )
        return _Field(name)
    if equals and not default.strip():
        raise TemplateError(text, f"gives {{{name}}} a blank default", f"write {{{name}=text}}")
    return _Field(name, default if equals else None)


def field_text(field: str, value: Any) -> str:
    """Returns the text of a context value in names, the same for equal numbers.

    Raises:
        ContextValueError: The value is not text, a number, a bool, an enum or None.
    """
    if type(value) is str and is_storable(value):
        return value
    if isinstance(value, enum.Enum):
        has_name = value.name is not None and not isinstance(value.value, str)  # some flags have none
        return value.name if has_name else str(value.value)
    plain = canonical_context_value(field, value)
    if isinstance(plain, (int, float)) and not isinstance(plain, bool):
        return number_text(plain)
    return str(plain)


def canonical_context_value(field: str, value: Any) -> Any:
    """Returns the form of a context value by which contexts are compared.

    Raises:
        ContextValueError: The value is not text, a number, a bool, an enum or None.
    """
    try:
        plain = typed_json(value, field)
    except ValueError:
        raise ContextValueError(field, value) from None
    if isinstance(plain, dict) and "enum" in plain:
        return str.__str__(value) if isinstance(value, str) else plain["enum"]
    if plain is not None and not isinstance(plain, (str, bool, int, float)):
        raise ContextValueError(field, value)
    return plain


def check_context(template: NameTemplate, context: Mapping[str, Any]) -> None:
    """Raises `UnknownFieldError` if the template lacks a field of the context, or the group fills it in."""
    for field in context:
        if field in TASK_FIELDS or field == "metric":
            raise UnknownFieldError(field)
        if field not in template.fields:
            raise UnknownFieldError(field, template.text, template.context_fields)


def title_problem(template: NameTemplate) -> str:
    """Returns what a title with a field of each task's own means for plots; empty if it has none."""
    own = [field for field in template.title_fields if field in PER_TASK_FIELDS]
    if not own:
        return ""
    return (
        f"the template {template.text!r} has {{{own[0]}}} in its title, so each task gets a plot of its "
        "own, and ClearML's comparison page cannot show the curves of several tasks in one plot; put it "
        "after the '/', into the series"
    )
