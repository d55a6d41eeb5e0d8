"""What all commands print: names of users, records and servers do nothing to a terminal."""

from __future__ import annotations

import unicodedata

import pytest

from clearml_taskgroup import TaskGroup
from tests.support.cli import command

ODD = "\x1b[31m\x9b2J\u202e\r\n"
"""An escape sequence, a control character of the second kind, an override of the direction, a line break."""


@pytest.fixture
def group() -> TaskGroup:
    """A run with odd names everywhere, of which a task failed with an odd reason."""
    with TaskGroup(
        f"odd{ODD}project", f"odd{ODD}group", mode="offline", provenance=False, catch=ValueError
    ) as group:
        for task in group.sweep({f"p{ODD}q": [f"v{ODD}w", 1]}):
            with task:
                task.report({f"Loss{ODD}": 1.0, f"m{ODD}": 2.0}, 1, split=f"val{ODD}")
                task.report({f"loss{ODD}" if task.index else f"Loss{ODD}": 1.0}, 1, split="val")
                if task.index:
                    raise ValueError(f"bad{ODD}value")
    return group


@pytest.mark.quick(17)
@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("list", "--project", f"odd{ODD}projec"),
        ("show", "RUN"),
        ("show", "RUN", "--over", f"p{ODD}q"),
        ("show", "RUN", "--sort", "lass", "--mode", "min"),
        ("show", "odd"),
        ("show", f"odd{ODD}project/other"),
        ("best", "RUN", f"m{ODD}", f"split=val{ODD}", "--mode", "min"),
        ("best", "RUN", f"m{ODD}", "--where", "p=1"),
        ("drift", "--group", "RUN"),
        ("drift", "--project", f"odd{ODD}projec"),
        ("pending",),
        ("report", "RUN", "-o", "report.html"),
        ("upload", "RUN"),
        ("discard", "odd"),
        ("discard", "RUN"),
        ("discard", "RUN", "--yes"),
    ],
    ids=lambda arguments: " ".join(arguments).encode("ascii", "ignore").decode().replace("\x1b", ""),
)
@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_do_nothing_to_a_terminal(
    group: TaskGroup,
    arguments: tuple[str, ...],
    is_terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """No command prints a control character but the end of a line, nor one that turns text."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "300")
    result = command(*(group.run if argument == "RUN" else argument for argument in arguments), answer="n\n")
    printed = result.stdout + result.stderr
    own = ("\x1b[1m", "\x1b[0m", "\x1b[3m", "\x1b[2m") if is_terminal else ()  # rich's bold headings
    for sequence in own:
        printed = printed.replace(sequence, "")
    assert {char for char in printed if unicodedata.category(char) in ("Cc", "Cf")} <= {"\n"}
    assert r"\x1b" in printed or arguments[0] == "upload"
