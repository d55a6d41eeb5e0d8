"""Where progress is shown."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._progress import displays
from clearml_taskgroup._progress.displays import NoDisplay, NotebookDisplay, PlainDisplay, choose_display
from clearml_taskgroup._progress.terminal import TerminalDisplay
from clearml_taskgroup._progress.tracker import Progress
from clearml_taskgroup.testing import recording


def test_a_notebook_shows_one_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """The output is there with its first state, and is renewed in place; names are no markup."""
    shown: list[tuple[str, Any]] = []

    class Output:
        """What IPython gives for an output that can be renewed."""

        def update(self, data: Any, raw: bool) -> None:
            """Keeps it."""
            shown.append(("update", data))

    def display(data: Any, raw: bool, display_id: bool) -> Output:
        assert raw
        assert display_id
        shown.append(("display", data))
        return Output()

    module = types.ModuleType("IPython.display")
    monkeypatch.setattr(module, "display", display, raising=False)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    notebook = NotebookDisplay()
    notebook.show(Progress(4))
    notebook.show(Progress(4, done=1, failed=1, current=["a<b"]))
    notebook.stop()
    assert [(kind, data["text/plain"]) for kind, data in shown] == [
        ("display", "0 done, 0 failed, 4 left"),
        ("update", "1 done, 1 failed, 2 left · now a<b"),
    ]
    assert '<progress value="2" max="4"></progress> 1 done' in shown[1][1]["text/html"]
    assert "a&lt;b" in shown[1][1]["text/html"]


def test_a_terminal_without_a_cursor_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One every ten seconds, and one at the end."""
    now = [0.0]
    monkeypatch.setattr(displays, "monotonic", lambda: now[0])
    monkeypatch.setenv("TERM", "dumb")
    with recording(), TaskGroup("digits", "sweep") as group:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        assert isinstance(choose_display(), PlainDisplay)
        for task in group.sweep({"C": [1, 2, 3]}, progress=True):
            with task:
                task.report({"accuracy": task.params["C"]})
                now[0] += 6.0
    lines = capsys.readouterr().err.splitlines()
    counts = [line.partition(" · ")[0] for line in lines]
    assert counts == ["2 done, 0 failed, 1 left", "3 done, 0 failed, 0 left"]
    assert lines[-1].endswith(" · best accuracy 3 (C=3)")


def test_where_progress_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook's kernel only, not in IPython's shell; nowhere if stderr is a file or there is none."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    assert isinstance(choose_display(), NoDisplay)
    monkeypatch.setattr(stream, "isatty", lambda: True)
    for name, kind in (("dumb", PlainDisplay), ("unknown", PlainDisplay), ("xterm", TerminalDisplay)):
        monkeypatch.setenv("TERM", name)
        assert type(choose_display()) is kind
    monkeypatch.delenv("TERM")
    assert type(choose_display()) is TerminalDisplay
    shell, module, display = types.SimpleNamespace(), types.ModuleType("IPython"), types.ModuleType("display")
    monkeypatch.setattr(module, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setattr(display, "display", None, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    assert type(choose_display()) is TerminalDisplay
    shell.kernel = None
    assert type(choose_display()) is NotebookDisplay
    monkeypatch.delitem(sys.modules, "IPython")
    monkeypatch.setattr(sys, "stderr", None)
    assert type(choose_display()) is NoDisplay


def test_a_line_after_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(displays, "monotonic", lambda: now[0])
    monkeypatch.setattr(Progress, "clocks", "elapsed 0:00:00")
    plain = PlainDisplay()
    for seconds, lines in ((9.9, 0), (10.0, 1), (19.9, 0), (20.0, 1)):
        now[0] = seconds
        plain.show(Progress(2, done=1))
        assert capsys.readouterr().err == "1 done, 0 failed, 1 left · elapsed 0:00:00\n" * lines
