"""Parameter values that are more than a number or text -> the stored form of `parameter_json`.

Only imported for such values: most parameters are numbers and text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import inspect
import math
import re
import struct
import types
from collections import UserString
from collections.abc import Mapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from decimal import Decimal
from fractions import Fraction
from numbers import Complex, Number, Rational, Real
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import attrs

from .._text import is_storable, shown
from ..errors import ParameterError
from . import data_frames
from .object_names import complete_repr, name_of_class, name_of_object, why_unnamed
from .parameter_json import GIVE_KEY, MAX_DEPTH, MAX_TEXT_CHARS, canonical, dumped

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ELEMENTS = 1_000_000
"""The most elements of one value."""
MAX_DIGITS = 4_000
"""The most digits of an integer: Python itself refuses to write more than 4,300 as text."""
ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")  # which is another one in each process
_SMALL_FLOAT_FORMATS = {"float32": "f", "float16": "e"}


@attrs.define
class Converter:
    """Converts one value to its stored form.

    Attributes:
        lenient: Whether what has no identity is stored as its `repr`.
        nan_allowed: Whether NaN has an identity, as in data frames.
        left: How many more elements the value may have.
        depth: The level of the value that is being converted.
    """

    lenient: bool = False
    nan_allowed: bool = False
    left: int = MAX_ELEMENTS
    depth: int = 0

    def convert(self, value: Any, name: str) -> Any:
        self.spend(1, name)
        if value is None or isinstance(value, bool):
            return value
        if type(value) is str:
            return self.text(value, name)
        if type(value) in (int, float):
            return self.number(value, name)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ParameterError(
                name,
                f"is nested in more than {MAX_DEPTH} levels, or contains itself",
                "pass a value with fewer levels, or its text",
            )
        try:
            return self.other(value, name)
        except ParameterError:
            raise
        except Exception as error:  # of the value's own methods
            return self.refused(value, name, f"cannot be read ({type(error).__name__}: {shown(str(error))})")
        finally:
            self.depth -= 1

    def spend(self, count: int, name: str) -> None:
        self.left -= count
        if self.left < 0:
            raise ParameterError(
                name,
                f"has more than {MAX_ELEMENTS:,} elements",
                "pass what it was made from, such as a path or a seed",
            )

    def refused(self, value: Any, name: str, problem: str, advice: str = "") -> Any:
        """Stores the `repr` of a value that has no identity, or raises."""
        if not self.lenient:
            raise ParameterError(name, problem, advice or GIVE_KEY)
        return {"repr": [type(value).__qualname__, ADDRESS.sub("", shown(value, MAX_TEXT_CHARS))]}

    def unnamed(self, value: Any, thing: Any, name: str) -> Any:
        problem = why_unnamed(thing)
        movable = "defined inside" in problem
        return self.refused(value, name, problem, f"move it to a module, or {GIVE_KEY}" if movable else "")

    def other(self, value: Any, name: str) -> Any:
        if isinstance(value, enum.Enum):
            return self.member(value, name)
        if isinstance(value, str):
            return self.text(str.__str__(value), name)
        if isinstance(value, (bytes, bytearray)):
            self.spend(len(value), name)
            return {"bytes": bytes(value).hex()}
        if isinstance(value, PurePath):
            return {"path": self.text(value.as_posix(), name)}
        if isinstance(value, type) or callable(value):
            known = name_of_object(value)
            if known is not None:
                return {"class" if isinstance(value, type) else "function": known}
        if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
            return self.unnamed(value, value, name)
        if data_frames.is_pandas(value):
            return self.pandas(value, name)
        if hasattr(value, "dtype") and hasattr(value, "tolist"):
            return self.array(value, name)
        if isinstance(value, Number):
            return self.number(value, name)
        return self.composite(value, name)

    def text(self, value: str, name: str) -> str:
        if not is_storable(value):
            raise ParameterError(
                name,
                "has text with a lone surrogate (of a file name that is not UTF-8), which cannot be stored",
                "write text.encode('utf-8', 'backslashreplace').decode()",
            )
        return value

    def member(self, value: enum.Enum, name: str) -> Any:
        owner = name_of_class(type(value))
        if owner is None:
            return self.unnamed(value, type(value), name)
        if value.name is None:  # of a Flag: no bit, or bits without a name
            return {"enum": f"{owner}({self.number(value.value, name)})"}
        return {"enum": f"{owner}.{value.name}"}

    # --- numbers -----------------------------------------------------------------------------

    def number(self, value: Any, name: str) -> Any:
        if (isinstance(value, Decimal) and value.is_snan()) or value != value:
            return self.missing(name, "NaN", {"float": "nan"})
        if isinstance(value, Complex) and not isinstance(value, Real):
            return {"repr": [f"{type(value).__module__}.{type(value).__qualname__}", repr(value), str(value)]}
        if value in (math.inf, -math.inf):
            return {"float": "inf" if value > 0 else "-inf"}
        if _digits(value) > MAX_DIGITS:
            raise ParameterError(
                name, f"is a number of more than {MAX_DIGITS:,} digits", "pass a shorter one, or its text"
            )
        if isinstance(value, float):
            return float(value)
        if isinstance(value, int) or value == int(value):
            return int(value)
        try:
            nearest = float(value)
        except OverflowError:
            nearest = math.inf
        if nearest == value:
            return nearest
        if isinstance(value, (Decimal, Rational)):
            return {"number": str(Fraction(value))}
        if type(value).__module__ == "numpy":  # longdouble, whose text is complete
            return {"number": str(value)}
        return self.unknown(value, name)

    def missing(self, name: str, what: str, stored: Any) -> Any:
        if not (self.lenient or self.nan_allowed):
            raise ParameterError(name, f"is {what}, which is not equal to itself", GIVE_KEY)
        return stored

    # --- numpy, tensors, pandas --------------------------------------------------------------

    def array(self, value: Any, name: str) -> Any:
        """Converts scalars and arrays of numpy, torch and jax as if they were Python numbers and lists."""
        shape, cls = tuple(getattr(value, "shape", ())), type(value)
        self.spend(math.prod(shape), name)
        if data_frames.is_masked(value):
            return self.object("numpy.ma.MaskedArray", data_frames.masked_parts(value), name)
        if len(shape) > 1 and 0 in shape:
            return {"object": [f"{cls.__module__}.{cls.__qualname__}", {"shape": list(shape)}]}
        kind, fields = getattr(value.dtype, "kind", ""), getattr(value.dtype, "names", None)
        if shape and (fields or kind in ("O", "M", "m", "V")):
            return [self.convert(item, name) for item in value]
        if fields:
            return {"map": [[field, self.convert(value[field], name)] for field in sorted(fields)]}
        if kind in ("M", "m"):
            moment = data_frames.exact_moment(value)
            if moment is None:
                return self.missing(name, "NaT", {"repr": [f"numpy.{cls.__qualname__}", "NaT"]})
            is_text = isinstance(moment, str)
            return {"repr": [f"numpy.{cls.__qualname__}", moment]} if is_text else self.convert(moment, name)
        form = _SMALL_FLOAT_FORMATS.get(str(value.dtype).removeprefix("torch."))
        return self.element(value.tolist(), form, value, name)

    def element(self, item: Any, form: str | None, value: Any, name: str) -> Any:
        if isinstance(item, list):
            return [self.element(part, form, value, name) for part in item]
        if type(item) is float:
            return self.number(_shortest_decimal(item, form) if form else item, name)
        if type(item) is type(value):  # a number that Python does not have, as longdouble
            return self.number(item, name)
        return self.convert(item, name)

    def pandas(self, value: Any, name: str) -> Any:
        missing = data_frames.missing_name(value)
        if missing:
            return self.missing(name, missing, {"repr": [f"pandas.{missing}", missing]})
        parts = data_frames.contents(value)
        if parts is None:
            return self.unknown(value, name)
        with self.missing_values_allowed():
            content = dumped(canonical(self.convert(parts, name)))
        return {"repr": list(data_frames.description(value, content))}

    @contextlib.contextmanager
    def missing_values_allowed(self) -> Iterator[None]:
        before, self.nan_allowed = self.nan_allowed, True
        try:
            yield
        finally:
            self.nan_allowed = before

    # --- objects -----------------------------------------------------------------------------

    def composite(self, value: Any, name: str) -> Any:
        fields = _fields_of(value)
        if fields is not None:
            return self.fields(value, fields, name)
        if not hasattr(value, "shape") and not isinstance(value, UserString):  # of which each part is one
            if isinstance(value, Sized) and len(value) > self.left:
                self.spend(len(value), name)
            if isinstance(value, Mapping):
                pairs = [[self.convert(key, name), self.convert(item, name)] for key, item in value.items()]
                if len({_order(key) for key, _ in pairs}) < len(pairs):  # 0.1 and numpy's float32 of it
                    return self.refused(value, name, "has two keys that are the same once they are stored")
                return {"map": sorted(pairs, key=_order)}
            if isinstance(value, AbstractSet):
                members = {_order(item): item for item in (self.convert(item, name) for item in value)}
                return {"set": [members[order] for order in sorted(members)]}
            if isinstance(value, Sequence):
                return [self.convert(item, name) for item in value]
        return self.unknown(value, name)

    def fields(self, value: Any, fields: Sequence[str], name: str) -> Any:
        owner, more = name_of_class(type(value)), getattr(value, "__dict__", {}).keys() - set(fields)
        if owner is None:
            return self.unnamed(value, type(value), name)
        if more and not _declares_fields(type(value)):
            problem = f"is a {type(value).__qualname__}, which has attributes beside its fields"
            return self.refused(value, name, problem, f"make the class a dataclass itself, or {GIVE_KEY}")
        return self.object(owner, {field: getattr(value, field) for field in fields}, name)

    def object(self, owner: str, fields: Mapping[str, Any], name: str) -> Any:
        inside = {field: self.convert(value, f"{name}.{field}") for field, value in fields.items()}
        return {"object": [owner, inside]}

    def unknown(self, value: Any, name: str) -> Any:
        owner = name_of_class(type(value))
        if owner is not None and _is_estimator(value):
            with self.missing_values_allowed():  # which XGBoost has among its defaults
                return self.object(owner, self.changed_parameters(value, name), name)
        complete = complete_repr(value)
        if complete is not None:
            return {"repr": [*complete, str(value)]}
        return self.refused(
            value,
            name,
            f"is an object of {type(value).__qualname__}, which has no stable text form",
            f"{GIVE_KEY}, or pass text, numbers, a dataclass or an attrs class",
        )

    def changed_parameters(self, estimator: Any, name: str) -> dict[str, Any]:
        """Returns the parameters of an estimator that are not at their defaults, as its `repr` shows them."""
        arguments = inspect.signature(type(estimator).__init__).parameters
        changed = {}
        for field, value in sorted(estimator.get_params(deep=False).items()):
            default = arguments[field].default if field in arguments else None
            if len({_order(self.convert(one, name)) for one in (value, default)}) > 1:
                changed[field] = value
        return changed


def _order(item: Any) -> str:
    return dumped(canonical(item))


def _digits(value: Any) -> int:
    """Returns about how many digits a number has as text, without writing it."""
    if isinstance(value, Decimal):
        return abs(value.adjusted()) + len(value.as_tuple().digits)
    if isinstance(value, Rational):
        return max(int(value.numerator).bit_length(), int(value.denominator).bit_length()) * 3 // 10
    return 0


def _shortest_decimal(value: float, form: str) -> float:
    """Returns the shortest decimal that gives the same number in a float format of fewer bits."""
    if not math.isfinite(value):
        return value
    for digits in range(1, 10):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack(form, short) == struct.pack(form, value):
                return short
        except OverflowError:
            continue
    return value


def _fields_of(value: Any) -> list[str] | None:
    """Returns the names of the fields of a dataclass or an attrs class; None for other values."""
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    return [field.name for field in attrs.fields(type(value))] if attrs.has(type(value)) else None


def _declares_fields(cls: type) -> bool:
    """Whether a class is itself a dataclass or an attrs class, not only derived from one."""
    return not vars(cls).keys().isdisjoint(("__dataclass_fields__", "__attrs_attrs__"))


def _is_estimator(value: Any) -> bool:
    """Whether a value follows the convention of scikit-learn: its parameters are its identity."""
    return hasattr(value, "get_params") and hasattr(value, "set_params")
