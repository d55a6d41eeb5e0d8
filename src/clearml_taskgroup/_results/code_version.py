"""Which code a run was made with: commit, uncommitted changes and packages, as ClearML stores them."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

import attrs

from .._text import counted, natural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PACKAGE = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?\s*(?:===?|@)?\s*(.*)")


@attrs.frozen
class CodeVersion:
    """The code of a run.

    Attributes:
        repository: The address of the Git repository; empty if there is none.
        branch: The branch.
        commit: The commit, 40 hexadecimal digits.
        entry_point: The script, relative to `working_dir`.
        working_dir: The folder in the repository in which it was started.
        diff: The changes that were not committed; without a repository the script itself.
        packages: The version of each package that the script imports.
    """

    repository: str = ""
    branch: str = ""
    commit: str = ""
    entry_point: str = ""
    working_dir: str = ""
    diff: str = attrs.field(default="", repr=False)
    packages: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def code_of(script: Mapping[str, Any]) -> CodeVersion | None:
    """Reads a task's section `script`; None if it is empty, as without provenance."""
    names = ("repository", "branch", "entry_point", "working_dir", "diff")
    texts = {name: str(script.get(name) or "") for name in names}
    texts["commit"] = str(script.get("version_num") or "")
    requirements = script.get("requirements")
    pip = requirements.get("pip") if isinstance(requirements, dict) else requirements
    packages = _packages("\n".join(pip) if isinstance(pip, list) else str(pip or ""))
    return CodeVersion(**texts, packages=packages) if any(texts.values()) or packages else None


def _packages(text: str) -> dict[str, str]:
    lines = (line.strip() for line in text.splitlines())
    found = (_PACKAGE.fullmatch(line) for line in lines if line and not line.startswith("#"))
    return {match[1].lower().replace("_", "-"): match[2].strip() for match in found if match is not None}


def code_changes(before: CodeVersion | None, after: CodeVersion | None) -> list[str]:
    """Lists in sentences what differs."""
    if before is None or after is None:
        which = "both runs" if before is after else "the earlier run" if before is None else "the later run"
        return [f"code: not known for {which}"]
    changes = [
        f"{name}: {_shown(name, getattr(before, attribute))} → {_shown(name, getattr(after, attribute))}"
        for name, attribute in (
            ("repository", "repository"),
            ("branch", "branch"),
            ("commit", "commit"),
            ("script", "entry_point"),
            ("folder", "working_dir"),
        )
        if getattr(before, attribute) != getattr(after, attribute)
    ]
    if before.diff != after.diff:
        changes.append(_source_change(before, after))
    packages = sorted(before.packages.keys() | after.packages.keys(), key=natural)
    for name in packages:
        old, new = (code.packages.get(name, "none") or "?" for code in (before, after))
        if old != new:
            changes.append(f"package {name}: {old} → {new}")
    return changes or ["code: the same commit, uncommitted changes and packages"]


def _source_change(before: CodeVersion, after: CodeVersion) -> str:
    """Says how many lines of the diffs differ, or of the script where there is no repository."""
    lines = [line[:1] for line in list(diff_lines(before, after))[2:]]
    added, removed = lines.count("+"), lines.count("-")
    if before.commit or after.commit:
        return f"uncommitted changes: they differ ({counted(added + removed, 'line')} of their diffs)"
    return f"script: {counted(added, 'line')} added, {removed} removed"


def _shown(name: str, text: str) -> str:
    return (text[:12] if name == "commit" else text) or "none"


def diff_lines(before: CodeVersion, after: CodeVersion) -> Iterator[str]:
    """Yields the differences of the uncommitted changes, in the unified format."""
    lines = (before.diff.splitlines(), after.diff.splitlines())
    return difflib.unified_diff(*lines, "before", "after", lineterm="")
