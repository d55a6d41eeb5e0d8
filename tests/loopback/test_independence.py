"""The server could be a package of its own: it imports nothing of the library under test."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.glob("*.py"))
DEPENDENCIES = {"attrs", "jsonschema"}
OF_TESTS = {"clearml", "hypothesis", "numpy", "pytest"}
"""What the tests beside it may import as well; `clearml` in scripts for processes of their own."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_are_its_own_or_its_dependencies(path: Path) -> None:
    allowed = set(sys.stdlib_module_names) | DEPENDENCIES
    if path.name.startswith("test_") or path.name == "conftest.py":
        allowed |= OF_TESTS
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1 or str(node.module).partition(".")[0] in allowed
