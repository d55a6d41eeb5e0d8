"""`diff`: which runs are compared, and what is printed."""

from __future__ import annotations

import pytest

from tests.results.test_run_diff import COMMIT, SCRIPT, run
from tests.support.cli import as_json, command, told


def test_the_run_before_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run has none, so --to is needed; a number that does not exist is an error."""
    first = run([1, 2], SCRIPT, monkeypatch, mode="offline")
    assert "run 1 is the group's first one; --to names the other run" in told("diff", "digits/sweep", code=2)
    second, third = (run([1, 3], SCRIPT, monkeypatch, mode="offline") for _ in range(2))
    for arguments, before, after in (
        ((), second, third),
        (("--run", 2), first, second),
        (("--run", 1, "--to", 2), second, first),
        (("--to", first.run[:8]), first, third),
    ):
        found = as_json("diff", "digits/sweep", *arguments)
        assert (found["before"], found["after"], found["of"]) == (before.run, after.run, "last")
    assert "run 7" in told("diff", "digits/sweep", "--to", 7, code=1)


def test_values_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each configuration, then what else changed; --code adds the changed lines."""
    run([1, 2], SCRIPT, monkeypatch, mode="offline")
    run([1, 3], SCRIPT | {"diff": "+lr = 3\n"}, monkeypatch, mode="offline")
    plain, coded = (command("diff", "digits/sweep", *code).stdout for code in ((), ("--code",)))
    assert "0.1875 → 0.25 (+0.0625)" in plain
    assert plain.splitlines()[-1].startswith("uncommitted changes: they differ")
    assert coded.startswith(plain)
    assert "++lr = 3" in coded.splitlines()
    found = as_json("diff", "digits/sweep")
    assert [one["change"] for one in found["configurations"]] == ["in both", "added", "removed"]
    assert [found["code"][when]["commit"] for when in ("before", "after")] == [COMMIT, COMMIT]
    assert found["code_changes"] == [plain.splitlines()[-1]]


def test_code_that_is_not_known_or_did_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """--code prints nothing more then; as JSON it is null."""
    for _ in range(2):
        run([1], SCRIPT, monkeypatch, mode="offline")
    assert command("diff", "digits/sweep", "--code").stdout == command("diff", "digits/sweep").stdout
    run([1], {}, monkeypatch, mode="offline", provenance=False)
    found = as_json("diff", "digits/sweep")
    assert (found["code"]["before"]["commit"], found["code"]["after"]) == (COMMIT, None)


def test_another_value_than_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        run([1], SCRIPT, monkeypatch, mode="offline")
    assert "max of accuracy" in command("diff", "digits/sweep", "--of", "max").stdout
    assert as_json("diff", "digits/sweep", "--of", "max")["of"] == "max"
