"""docs/architecture.md: the modules and names on the page are those of the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "src" / "clearml_taskgroup"
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()
NOT_LISTED = ("__init__.py", "__main__.py")


def modules_on(page: str) -> set[str]:
    """Reads the first code block: folders end in /, modules begin a line, several if need be."""
    folder, found = "", set[str]()
    for line in page.split("```")[1].splitlines():
        if named := re.match(r"(\w+/)", line):
            folder = named[1]
        elif listed := re.match(r"( *)(\w+\.py(?: +\w+\.py)*)(?: |$)", line):
            found |= {(folder if listed[1] else "") + name for name in listed[2].split()}
    return found


def names_on(page: str) -> Iterator[tuple[str, str]]:
    """Finds modules followed by names: `_run/run.py`: `Run.end`, `Run.mark`."""
    for module, names in re.findall(r"`(\w+(?:/\w+)?\.py)`: ((?:`\w+(?:\.(?!py`)\w+)?`(?:, )?)+)", page):
        for name in re.findall(r"`([\w.]+)`", names):
            yield module, name


def names_in(path: Path) -> set[str]:
    """Lists the functions, classes and methods of a module."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)
            }
    return found


def test_page_lists_all_modules_and_no_others() -> None:
    listed = modules_on(PAGE)
    paths = [path for path in PACKAGE.rglob("*.py") if path.name not in NOT_LISTED]
    modules = {path.relative_to(PACKAGE).as_posix() for path in paths}
    assert sorted(modules - listed) == []
    assert sorted(listed - modules) == []


def test_names_on_the_page_are_in_their_modules() -> None:
    named = list(names_on(PAGE))
    assert len(named) >= 20
    missing = [
        f"{module}: {name}"
        for module, name in named
        if not (PACKAGE / module).exists() or name not in names_in(PACKAGE / module)
    ]
    assert missing == []
