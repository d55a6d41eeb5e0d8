"""Progress: what is counted, and where it is shown."""

from __future__ import annotations

import os
import re
import sys
import types
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup import Metric, TaskGroup, _progress
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.name_template import NameTemplate
from clearml_taskgroup._model.vocabulary import Vocabulary
from clearml_taskgroup._progress import Progress, choose_metric
from clearml_taskgroup._results.find_metric import MetricLookup
from clearml_taskgroup.errors import MissingExtraError
from clearml_taskgroup.testing import recording


@attrs.define
class Shown:
    """A display that remembers what it was to show."""

    standings: list[str] = attrs.field(factory=list)
    stops: int = 0

    def show(self, progress: Progress) -> None:
        """Remembers."""
        if not self.standings or self.standings[-1] != str(progress):
            self.standings.append(str(progress))

    def stop(self) -> None:
        """Remembers."""
        self.stops += 1


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What a sweep shows."""
    display = Shown()
    monkeypatch.setattr(_progress, "choose_display", lambda redirect: display)
    return display


def test_each_turn_is_counted(shown: Shown) -> None:
    """Done, failed and left add up, the task under way is named, the best value is kept."""
    metrics = [Metric("loss", mode="min"), Metric("accuracy", mode="max")]
    with recording(), TaskGroup("digits", "sweep", catch=ValueError, metrics=metrics) as group:
        for task in group.sweep({"C": [1, 2, 3]}, progress=True):
            with task:
                task.report({"accuracy": 0.5, "loss": abs(2 - task.params["C"])}, 1, split="val")
                if task.params["C"] == 2:
                    raise ValueError("bad")
    assert shown.standings == [
        "0 done, 0 failed, 3 left",
        "0 done, 0 failed, 3 left · now C=1",
        "1 done, 0 failed, 2 left · best loss[split=val] 1 (C=1)",
        "1 done, 0 failed, 2 left · now C=2 · best loss[split=val] 1 (C=1)",
        "1 done, 1 failed, 1 left · best loss[split=val] 1 (C=1)",
        "1 done, 1 failed, 1 left · now C=3 · best loss[split=val] 1 (C=1)",
        "2 done, 1 failed, 0 left · best loss[split=val] 1 (C=1)",
    ]
    assert shown.stops == 1


def test_a_loop_that_is_left(shown: Shown) -> None:
    """However a loop is left, the display stops with the group."""
    with recording(), pytest.raises(ValueError, match="bad"), TaskGroup("digits", "sweep") as group:
        for task in group.sweep({"C": [1, 2, 3]}, progress=True):
            if task.params["C"] == 2:
                raise ValueError("bad")
    assert shown.standings[-1] == "1 done, 1 failed, 1 left"
    assert shown.stops == 1


def test_what_was_done_before_counts(shown: Shown) -> None:
    """Under `resume`, tasks that were completed earlier count as done."""
    for _ in range(2):
        with TaskGroup("digits", "sweep", mode="offline", provenance=False, resume=True) as group:
            for task in group.sweep({"C": [1, 2]}, progress=True):
                if task.params["C"] == 2 and len(shown.standings) < 6:
                    task.mark_failed()
    assert shown.standings[-1] == "2 done, 0 failed, 0 left"
    assert "1 done, 0 failed, 1 left" in shown.standings[-3:]


@pytest.mark.parametrize(
    ("metrics", "measures", "expected"),
    [
        (None, [("speed", "val"), ("loss", "train"), ("loss", "val"), ("accuracy", "val")], ("loss", "val")),
        (None, [("speed", "val")], None),
        (
            [Metric("accuracy", mode="max"), "loss"],
            [("loss", "val"), ("accuracy", "test")],
            ("accuracy", "test"),
        ),
        ([Metric("speed", mode="max"), "loss"], [("loss", "val"), ("speed", "train")], ("speed", "train")),
        (["speed"], [("speed", "val")], None),
        (None, [], None),
    ],
)
def test_the_measure_that_tells(metrics: Any, measures: Any, expected: Any) -> None:
    """The first metric with a mode tells which task is best, in the split that validates."""
    template = NameTemplate("{metric}/{split}")
    words = MetricLookup(template, None if metrics is None else Vocabulary.of(metrics, template))
    found = choose_metric(words, [MetricKey(metric, (("split", split),)) for metric, split in measures])
    assert found == (None if expected is None else (expected[0], (("split", expected[1]),)))


SCRIPT = """
import sys
from clearml_taskgroup import TaskGroup
with TaskGroup("digits", "sweep", provenance=False) as group:
    for task in group.sweep({"C": [1, 2, 3]}, progress=True):
        with task:
            task.report({"accuracy": task.params["C"] / 4})
            print("printed by", task)
"""


def read(end: int) -> bytes:
    """Reads all that comes out of a pipe or a terminal, and closes it."""
    told = b""
    while True:
        try:
            data = os.read(end, 65536)
        except OSError:  # how a terminal ends
            break
        if not data:
            break
        told += data
    os.close(end)
    return told


def run(tmp_path: Path, *, terminal: bool, width: int = 150) -> tuple[str, str]:
    """Runs the script; gives what it wrote to standard output and to standard error."""
    import pty
    import subprocess

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    out = tmp_path / "out"
    ours, theirs = pty.openpty() if terminal else os.pipe()
    with out.open("w") as file:
        environment = {**os.environ, "CLEARML_OFFLINE_MODE": "1", "TERM": "xterm", "COLUMNS": str(width)}
        process = subprocess.Popen(
            [sys.executable, str(script)], stdout=file, stderr=theirs, env=environment, cwd=tmp_path
        )
        os.close(theirs)
        told = read(ours)
        assert process.wait() == 0, told.decode()
    return out.read_text(), told.decode()


def test_a_terminal_shows_it(tmp_path: Path) -> None:
    """On a terminal the last line says how far it came; what the script prints stays where it goes."""
    out, told = run(tmp_path, terminal=True)
    assert "3 done, 0 failed, 0 left" in told
    assert "best accuracy 0.75 (C=3)" in told
    assert out == "printed by C=1\nprinted by C=2\nprinted by C=3\n"


@pytest.mark.parametrize("width", [30, 50, 80, 200])
@pytest.mark.parametrize("name", ["C=1", "kernel=rbf,[bold]gamma=" + "0123456789" * 12])
def test_counts_are_shown_whatever_the_width(
    width: int, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Long names are cut, and in narrow terminals bar and times are left out: each line has the counts."""
    pytest.importorskip("rich")
    import pty
    import termios

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        display = _progress.TerminalDisplay(redirect=False)
        display.show(Progress(200, done=90, failed=9, current=[name, "other"], best="best loss 0.5 (C=1)"))
        display.stop()
    told = read(ours).decode()
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", told).replace("\r", "\n").split("\n")
    shown = [line for line in lines if line.strip()]
    assert all("90 done, 9 failed, 101 left" in line and len(line) <= width for line in shown), shown
    assert ("━" in shown[-1]) == (width >= 80)
    assert ("0:00:00" in shown[-1]) == (width >= 50)
    assert width < 80 or name[:5] in shown[-1]


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
    notebook = _progress.NotebookDisplay()
    notebook.show(Progress(4))
    notebook.show(Progress(4, done=1, failed=1, current=["a<b"]))
    notebook.stop()
    assert [(kind, data["text/plain"]) for kind, data in shown] == [
        ("display", "0 done, 0 failed, 4 left"),
        ("update", "1 done, 1 failed, 2 left · now a<b"),
    ]
    assert '<progress value="2" max="4"></progress> 1 done' in shown[1][1]["text/html"]
    assert "a&lt;b" in shown[1][1]["text/html"]


def test_names_do_nothing_to_a_terminal(shown: Shown) -> None:
    """Names of tasks and metrics are text."""
    with recording(), TaskGroup("digits", "sweep", metrics=[Metric("loss\x1b[31m", mode="min")]) as group:
        for task in group.sweep({"C": ["\x1b[2J"]}, progress=True):
            with task:
                task.report({"loss\x1b[31m": 1.0}, 1)
    assert shown.standings[-1].endswith(r"best loss\x1b[31m 1 (C=" + '"' + r"\u001b[2J" + '")')


def test_a_pipe_shows_nothing(tmp_path: Path) -> None:
    out, told = run(tmp_path, terminal=False)
    assert told == ""
    assert out == "printed by C=1\nprinted by C=2\nprinted by C=3\n"


def test_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal without rich, one line says what to install; on a pipe nothing is needed."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with recording(), TaskGroup("digits", "sweep") as group:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        with pytest.raises(MissingExtraError, match=r"progress=True needs rich: pip install .*\[cli\]"):
            group.sweep({"C": [1]}, progress=True)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
        assert len(list(group.sweep({"C": [2]}, progress=True))) == 1
