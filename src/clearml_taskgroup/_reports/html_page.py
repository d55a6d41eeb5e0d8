"""Writes the page of an HTML report with Jinja2, which escapes every text, and compresses its data."""

from __future__ import annotations

import base64
import json
import re
import secrets
import zlib
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .._text import printable
from ..errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    import jinja2

MIN_SHARED_CHARS = 24
"""Texts of figures from this length on are stored once, however often they occur."""


@attrs.frozen
class Packed:
    """Data for the page's script: compressed, and without characters of HTML.

    Attributes:
        text: Raw deflate as base64, a third of the size.
        size: The number of bytes before.
    """

    text: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> Packed:
        compressor = zlib.compressobj(5, wbits=-15)  # 6 takes 40 % longer for 0.7 % of the size
        return cls(base64.b64encode(compressor.compress(data) + compressor.flush()).decode(), len(data))

    @classmethod
    def json(cls, value: Any) -> Packed:
        return cls.of(json.dumps(value, separators=(",", ":"), allow_nan=False).encode())

    @classmethod
    def figures(cls, figures: Any) -> Packed:
        """Packs figures; those of several metrics have the same hover texts."""
        texts: dict[str, int] = {}
        return cls.json({"figures": _share_texts(figures, texts), "texts": list(texts)})


def _share_texts(value: Any, texts: dict[str, int]) -> Any:
    kind = type(value)
    if kind is str:
        return {"$": texts.setdefault(value, len(texts))} if len(value) >= MIN_SHARED_CHARS else value
    if kind is dict:
        return {name: _share_texts(item, texts) for name, item in value.items()}
    if kind in (list, tuple) and value and not isinstance(value[0], (int, float)):
        return [_share_texts(item, texts) for item in value]
    return value


def report_template() -> Callable[..., str]:
    """Returns the function that writes the page.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    try:
        import jinja2
        import markupsafe
    except ImportError:
        raise MissingExtraError("jinja2", "figures", "save_html()") from None
    page = _template(jinja2, markupsafe.Markup)
    assets = {name: _asset(f"report.{name}") for name in ("css", "js")}
    # Only scripts with the nonce run, so that a text could do nothing even if it were not escaped.
    return lambda **values: page.render(**assets, nonce=secrets.token_urlsafe(), **values)


@cache
def _template(jinja: Any, markup: Any) -> jinja2.Template:
    """Compiles the template, once per process."""

    def shown(value: Any) -> Any:
        return value if isinstance(value, markup) else _visible(str(value))

    def breakable(name: str) -> Any:
        """Allows line breaks in a name: `optimizer.`, `learning_`, `rate`; `C=1,`, `seed=0`."""
        parts = re.split(r"(?<=[._/,-])(?=\w)|(?<=\w)(?=\[)", _visible(name))
        return markup("<wbr>").join(parts)

    environment = jinja.Environment(
        autoescape=True, finalize=shown, trim_blocks=True, lstrip_blocks=True, undefined=jinja.StrictUndefined
    )
    environment.filters["breakable"] = breakable
    environment.globals["zip"] = zip
    found: jinja2.Template = environment.from_string(_asset("report.html.jinja"))
    return found


def _visible(text: str) -> str:
    """Shows what would turn or hide text; white space does nothing in HTML."""
    if text.isprintable():
        return text
    return "".join(part if part.isspace() else printable(part) for part in re.split(r"(\s+)", text))


def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text("utf-8")


def plotly_script() -> Packed:
    """Returns plotly's script.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    found = find_spec("plotly")  # it is not imported, which takes long
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("plotly", "figures", "save_html()")
    return _packed_script(Path(found.submodule_search_locations[0]))


@cache
def _packed_script(package: Path) -> Packed:
    """Compresses plotly's script, once per process because it takes long."""
    return Packed.of((package / "package_data" / "plotly.min.js").read_bytes())
