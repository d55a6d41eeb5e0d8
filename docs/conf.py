"""Sphinx configuration; `make docs` builds the documentation without network access."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

import attrs
import click
from docutils import nodes
from pygments.lexers import BashLexer
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.autodoc.mock import mock
from sphinx.roles import XRefRole
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

import clearml_taskgroup
from clearml_taskgroup._cli import main
from clearml_taskgroup.testing import MemoryStore

project = "clearml-taskgroup"
author = "The authors of clearml-taskgroup"
version = release = clearml_taskgroup.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"clearml-taskgroup {version}"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_copy_source = False
html_show_copyright = False
pygments_style = "friendly"

# Docstrings write `code` with single backticks; names that are documented become links.
default_role = "name"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
python_display_short_literal_types = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
add_module_names = False
maximum_signature_line_length = 88

# Unresolved names of this package are errors. Other packages have no inventory here: their names are ignored.
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),
    ("py:.*", r"(argparse|collections\.abc|concurrent\.futures|contextlib|io|os|pathlib|typing|types)\..*"),
    ("py:.*", r"(clearml|plotly|pandas|np|numpy)\..*"),
    ("py:.*", r"'.*'|Mode|Of|clearml_taskgroup\.(RunInfo|TaskSpec)"),
    ("py:.*", r"(clearml_taskgroup\.(\w+\.)*)?(T|ByMetric)|Number|Values|NestedValues"),  # annotations only
    ("py:.*", r"(Any|Callable|Iterable|Iterator|Literal|Mapping|Path|Sequence|SupportsIndex|Silent)"),
    ("py:.*", r"(str|int|float|bool|None|dict|list|tuple|type|object|ImportError|.*Error|optional)$"),
]


def import_for_types(package: Any) -> None:
    """Runs the imports under `if TYPE_CHECKING:`, so that autodoc can resolve annotations."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        source = Path(module.__file__ or "").read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                for statement in node.body:
                    if not isinstance(statement, (ast.Import, ast.ImportFrom)):
                        continue
                    with contextlib.suppress(ImportError):
                        exec(compile(ast.Module([statement], []), found.name, "exec"), vars(module))


# Frameworks that are too large to install for the documentation build.
frameworks = ("accelerate", "keras", "lightning", "ray", "transformers", "xgboost", "lightgbm", "catboost")
with mock([name for name in frameworks if importlib.util.find_spec(name) is None]):
    import_for_types(clearml_taskgroup)

# The class has another name inside the package, and autodoc describes an alias in one line only.
MemoryStore.__name__ = MemoryStore.__qualname__ = "MemoryStore"

INSTANTIATED_BY_USERS = ("TaskGroup", "Metric", "NameTemplate")


def hide_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returned: str
) -> tuple[str, str | None] | None:
    """Hides the constructor arguments of classes that users do not instantiate."""
    if signature and what in ("class", "exception") and name.rpartition(".")[2] not in INSTANTIATED_BY_USERS:
        return "", None
    return None


def add_attributes(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Lists the attributes of an exception class."""
    if what == "exception" and attrs.has(obj) and "__attrs_attrs__" in vars(obj):
        attributes = ", ".join(f"``{field.name}`` ({field.type})" for field in attrs.fields(obj))
        if attributes:
            lines += ["", f"Attributes: {attributes}.", ""]


COLON = "\ue000"


def keep_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Replaces colons that napoleon would read as the end of a type; the annotations have the types."""
    for number, line in enumerate(lines):
        of_value = number == 0 and what in ("property", "attribute")
        if of_value or (number and lines[number - 1].strip() in ("Returns:", "Yields:")):
            lines[number] = line.replace(":", COLON)


def show_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Restores the colons that `keep_colons` replaced."""
    lines[:] = [line.replace(COLON, ":") for line in lines]


def shorten_types(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Removes module names from the types of attributes."""
    lines[:] = [
        re.sub(r"\bclearml_taskgroup\.(?:\w+\.)*(\w+)", r"~clearml_taskgroup.\1", line)
        if ":type:" in line
        else line
        for line in lines
    ]


def find_public(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Any) -> Any:
    """Resolves a class by its name alone, because it is defined in another module than documented."""
    target = str(node.get("reftarget", "")).rpartition(".")[2]
    domain = env.domains.python_domain
    found = [
        name
        for name, entry in domain.objects.items()
        if name.rpartition(".")[2] == target and entry.objtype in ("class", "exception")
    ]
    if node.get("refdomain") != "py" or len(found) != 1:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, content)


class NameRole(XRefRole):
    """Code in docstrings: a link if it is a documented name, otherwise a literal."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Creates the reference or the literal."""
        if re.fullmatch(r"[A-Za-z_][\w.]*", self.text):
            self.name = "py:obj"
            return super().run()
        return [nodes.literal(self.rawtext, self.text)], []


class CommandHelp(SphinxDirective):
    """Inserts the output of a command's `--help`."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Renders the help text."""
        command, name = main, "clearml-taskgroup"
        if self.arguments:
            command = main.commands[self.arguments[0]]
            name += f" {self.arguments[0]}"
        with click.Context(command, info_name=name, max_content_width=88, terminal_width=88) as context:
            text = command.get_help(context)
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> None:
    """Registers the extensions of this file."""
    app.add_lexer("console", BashLexer)  # commands are shown without a prompt, so that they can be copied
    app.add_role("name", NameRole())
    app.add_directive("command-help", CommandHelp)
    app.connect("autodoc-process-signature", hide_signature)
    app.connect("autodoc-process-docstring", add_attributes)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-docstring", show_colons, priority=600)
    app.connect("autodoc-process-docstring", shorten_types, priority=600)
    app.connect("missing-reference", find_public)
