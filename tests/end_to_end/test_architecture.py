"""docs/architecture.md: the tree on the page is that of the package."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "src" / "clearml_taskgroup"
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


def test_architecture_page_lists_all_modules_and_no_others() -> None:
    listed = modules_on((REPOSITORY / "docs" / "architecture.md").read_text())
    paths = [path for path in PACKAGE.rglob("*.py") if path.name not in NOT_LISTED]
    modules = {path.relative_to(PACKAGE).as_posix() for path in paths}
    assert sorted(modules - listed) == []
    assert sorted(listed - modules) == []
