"""The code of a run as ClearML stores it, and what differs between two."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from clearml_taskgroup import CodeVersion
from clearml_taskgroup._results.code_version import code_changes, code_of, diff_lines

KNOWN = CodeVersion("git@host:me", "main", "0123456789abcdef", "train.py", ".", "+a\n", {"numpy": "1.26"})


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ({}, None),
        ({"repository": None, "diff": "", "requirements": {}}, None),
        ({"requirements": None}, None),
        ({"branch": "main"}, CodeVersion(branch="main")),
        ({"version_num": "abc"}, CodeVersion(commit="abc")),
        ({"requirements": "a==1\n"}, CodeVersion(packages={"a": "1"})),
        ({"requirements": {"pip": ["A_b[x] == 1.0", "# c"]}}, CodeVersion(packages={"a-b": "1.0"})),
        ({"requirements": {"pip": "a\n\n  b @ git+https://x  \n-e ."}}, {"a": "", "b": "git+https://x"}),
    ],
)
def test_the_section_script(script: dict[str, Any], expected: Any) -> None:
    """Requirements are text, a list or a dict with one of both; without anything it is not known."""
    found = code_of(script)
    assert found == (CodeVersion(packages=expected) if isinstance(expected, dict) else expected)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ["code: the same commit, uncommitted changes and packages"]),
        ({"repository": "other", "branch": ""}, ["repository: git@host:me → other", "branch: main → none"]),
        ({"commit": "f" * 40}, ["commit: 0123456789ab → ffffffffffff"]),
        ({"entry_point": "fit.py", "working_dir": "src"}, ["script: train.py → fit.py", "folder: . → src"]),
        ({"diff": "+a\n+b\n-c\n"}, ["uncommitted changes: they differ (2 lines of their diffs)"]),
        ({"diff": "+a\n+b\n"}, ["uncommitted changes: they differ (1 line of their diffs)"]),
        ({"packages": {"a10": "", "a9": "2"}}, ["a9: none → 2", "a10: none → ?", "numpy: 1.26 → none"]),
    ],
)
def test_what_differs(changes: dict[str, Any], told: list[str]) -> None:
    if "packages" in changes:
        told = [f"package {one}" for one in told]
    assert code_changes(KNOWN, attrs.evolve(KNOWN, **changes)) == told


def test_code_that_is_not_known() -> None:
    assert code_changes(None, None) == ["code: not known for both runs"]
    assert code_changes(None, CodeVersion()) == ["code: not known for the earlier run"]
    assert code_changes(CodeVersion(), None) == ["code: not known for the later run"]


def test_a_script_without_a_repository_is_compared_itself() -> None:
    scripts = [CodeVersion(diff=text) for text in ("a\nb\n", "a\n-c\n+d\n")]
    assert code_changes(*scripts) == ["script: 2 lines added, 1 removed"]
    assert list(diff_lines(*scripts))[:2] == ["--- before", "+++ after"]
    with_commit = attrs.evolve(scripts[1], commit="f" * 40)
    for one, other in ((scripts[0], with_commit), (with_commit, scripts[0])):
        assert code_changes(one, other)[1] == "uncommitted changes: they differ (3 lines of their diffs)"
