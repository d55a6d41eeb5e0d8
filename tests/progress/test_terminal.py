"""Progress in the last two lines of a terminal."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from pathlib import Path

import pytest

from clearml_taskgroup import _current
from clearml_taskgroup._progress import terminal
from clearml_taskgroup._progress.terminal import TerminalDisplay, _size, status_lines
from clearml_taskgroup._progress.tracker import Progress
from clearml_taskgroup._run import console
from clearml_taskgroup._text import width

SCRIPT = """
import sys
sys.modules["rich"] = None  # it is not needed
from clearml_taskgroup import TaskGroup
with TaskGroup("digits", "sweep", provenance=False) as group:
    for task in group.sweep({"C": [1, 2, 3]}, progress=True):
        with task:
            task.report({"accuracy": task.params["C"] / 4})
            print("printed by", task)
"""


class Terminal(io.StringIO):
    """A terminal of 80 columns that keeps what is written."""

    def isatty(self) -> bool:
        """It is one."""
        return True

    @property
    def lines(self) -> list[str]:
        """What it shows at the end: rows, as a terminal of any width has them."""
        rows, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[\d*[A-Za-z]|.|\n", self.getvalue()):
            number = int(token[2:-1] or 1) if token.startswith("\x1b[") else 0
            if token == "\n":
                row, column = row + 1, 0
                rows.extend([""] * (row + 1 - len(rows)))
            elif token == "\r":
                column = 0
            elif token.endswith("A") and number:
                row -= number
            elif token.endswith("C") and number:
                column += number
            elif token.endswith("J") and number:
                rows = [*rows[:row], rows[row][:column]]
            else:
                rows[row] = rows[row].ljust(column)[:column] + token + rows[row][column + 1 :]
                column += 1
        return rows


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Gives both streams a terminal; nothing is refreshed in the background.

    It is no fixture: pytest sets the streams once more between fixtures and test.
    """
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(TerminalDisplay, "_refresh", lambda display: None)
    monkeypatch.setattr(Progress, "clocks", "elapsed 0:00:00")
    monkeypatch.setenv("COLUMNS", "80")
    return stream


STATUS = ["━━━━━━━━──────── 1 done, 0 failed, 1 left · elapsed 0:00:00", "best loss 0.5 (C=1)"]


def test_what_is_printed_stands_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what logging handlers print that were made before."""
    screen = use_terminal(monkeypatch)
    handler = logging.StreamHandler()
    log = logging.getLogger("above")
    log.addHandler(handler)
    log.propagate = False
    display = TerminalDisplay()
    display.show(Progress(2, done=1, best="best loss 0.5 (C=1)"))
    print("one\ntwo", file=sys.stdout)
    assert screen.lines == ["one", "two", "", *STATUS]
    log.warning("three")
    print("no line break", end="")
    display.stop()
    assert screen.lines == ["one", "two", "three", "no line break", *STATUS, ""]
    assert sys.stdout is sys.stderr is handler.stream is screen
    log.removeHandler(handler)


def test_a_bar_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is drawn, and what it leaves is its last state."""
    screen = use_terminal(monkeypatch)
    display = TerminalDisplay()
    display.show(Progress(2, done=1, best="best loss 0.5 (C=1)"))
    bar = sys.stderr  # as tqdm keeps it
    for step in range(50):
        bar.write(f"\repochs {step}")
        bar.flush()
        display._draw()
        assert screen.lines == [f"epochs {step}", *STATUS]
    bar.write("\n")
    display.stop()
    assert screen.lines == ["epochs 49", *STATUS, ""]
    bar.write("later")
    assert screen.lines[-1] == "later"


def test_a_captured_console_gets_what_is_printed_and_not_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = use_terminal(monkeypatch)
    uninstall = console.install()
    captured: list[str] = []
    token = _current.console.set(console.Sink(captured.append))
    display = TerminalDisplay()
    display.show(Progress(2, done=1, best="best loss 0.5 (C=1)"))
    print("printed")
    display.stop()
    _current.console.reset(token)
    uninstall()
    assert captured == ["printed"]
    assert screen.lines == ["printed", *STATUS, ""]
    assert sys.stdout is screen


def test_a_forked_child_prints_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no thread that would draw, and leaves the last lines to its parent."""
    screen = use_terminal(monkeypatch)
    display = TerminalDisplay()
    display.show(Progress(2, done=1))
    before = screen.getvalue()
    with monkeypatch.context() as in_child:
        in_child.setattr(os, "getpid", lambda: 1)
        print("from a child")
        display.show(Progress(2, done=2))
        display.stop()
        assert screen.getvalue() == before + "from a child\n"
    display.stop()


def test_a_terminal_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script goes on."""
    screen = use_terminal(monkeypatch)
    display = TerminalDisplay()
    display.show(Progress(2))
    screen.close()
    print("nobody sees it")
    display.stop()


@pytest.mark.parametrize("room", [29, 49, 79, 199])
@pytest.mark.parametrize("name", ["C=1", "kernel=rbf,[bold]gamma=" + "0123456789" * 12, "モデル" * 20])
def test_status_lines(room: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts are always there, the clocks are labelled, and the best value comes first."""
    monkeypatch.setattr(Progress, "clocks", "elapsed 0:00:00")
    progress = Progress(200, done=90, failed=9, current=[name, "other"], best="best loss 0.5 (C=1)")
    first, second = status_lines(progress, room)
    assert max(width(first), width(second)) <= room
    assert "90 done, 9 failed, 101 left" in first
    assert ("elapsed 0:00:00" in first) == (room >= 49)
    assert first.startswith("━━━") == (room >= 79)
    assert second.startswith("best loss 0.5 (C=1)")
    assert room < 49 or f"now {name[:5]}" in second


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (32, "1 done, 0 failed, 1 left"),
        (33, "━━━━──── 1 done, 0 failed, 1 left"),
        (41, "━━━━━━━━──────── 1 done, 0 failed, 1 left"),
        (42, "1 done, 0 failed, 1 left · elapsed 0:00:00"),
        (50, "1 done, 0 failed, 1 left · elapsed 0:00:00"),
        (51, "━━━━──── 1 done, 0 failed, 1 left · elapsed 0:00:00"),
        (58, "━━━━━━━──────── 1 done, 0 failed, 1 left · elapsed 0:00:00"),
        (80, "━━━━━━━━──────── 1 done, 0 failed, 1 left · elapsed 0:00:00"),
    ],
)
def test_what_a_line_has_room_for(room: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the clocks, then a bar of 8 to 16 columns."""
    monkeypatch.setattr(Progress, "clocks", "elapsed 0:00:00")
    (line,) = status_lines(Progress(2, done=1), room)
    assert line == expected


def test_a_sweep_without_tasks_has_an_empty_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Progress, "clocks", "elapsed 0:00:00")
    assert status_lines(Progress(0), 80)[0].startswith("─" * 16 + " 0 done")
    assert status_lines(Progress(1, done=1), 80)[0].startswith("━" * 16 + " 1 done")


@pytest.mark.parametrize(
    ("columns", "size", "expected"),
    [
        ("", (100, 30), (100, 30)),
        ("70", (100, 30), (70, 30)),
        ("0", (100, 30), (100, 30)),
        ("wide", (100, 30), (100, 30)),
        ("", (0, 0), (80, 24)),
        ("70", None, (70, 24)),
        ("", None, (80, 24)),
    ],
)
def test_the_size_of_a_terminal(
    columns: str,
    size: tuple[int, int] | None,
    expected: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`COLUMNS` takes precedence; what is not known is 80 columns and 24 lines."""
    monkeypatch.setenv("COLUMNS", columns)
    stream = io.StringIO()
    if size is not None:
        stream.fileno = lambda: 1  # type: ignore[method-assign]
        monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size(size))
    assert _size(stream) == expected


@pytest.mark.parametrize(
    ("height", "up", "shown"),
    [
        (5, "", ["c", "d"]),
        (5, "\x1b[3A", ["a", "b"]),
        (5, "\x1b[A", ["c", "d"]),
        (1, "", ["d"]),
        (24, "", [*"abcd"]),
    ],
)
def test_a_low_terminal_shows_the_rows_at_the_cursor(
    height: int, up: str, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the status, of which there are two lines, and a line to spare."""
    screen = use_terminal(monkeypatch)
    monkeypatch.setattr(terminal, "_size", lambda stream: (80, height))
    display = TerminalDisplay()
    display.show(Progress(2, done=1, best="best loss 0.5 (C=1)"))
    sys.stderr.write(f"\ra\nb\nc\nd{up}")
    display._draw()
    assert screen.lines == [*shown, *STATUS]
    sys.stderr.write("\rX")  # where the cursor was left
    display._draw()
    assert "X" in screen.lines
    before = screen.getvalue()
    display._draw()
    assert screen.getvalue() == before  # nothing has changed
    display.stop()
    assert screen.lines[-3:] == [*STATUS, ""]


def test_rows_and_cursor_stay_within_the_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last column is left free: a terminal would go on in the next line."""
    screen = use_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "30")
    display = TerminalDisplay()
    display.show(Progress(2, done=1))
    sys.stderr.write("\r" + "x" * 40)
    display._draw()
    assert screen.lines[0] == "x" * 29
    assert screen.getvalue().endswith("\x1b[1A\r\x1b[29C")
    sys.stderr.write("\r")
    display._draw()
    assert screen.getvalue().endswith("\x1b[1A\r")
    display.stop()


def test_a_redirected_stream_is_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = use_terminal(monkeypatch)
    display = TerminalDisplay()
    display.show(Progress(2))
    assert sys.stdout.write("four") == 4
    sys.stdout.writelines(["a", "b\n"])
    assert sys.stdout.isatty()
    kept = sys.stdout
    display.stop()
    assert screen.lines[0] == "fourab"
    assert kept.write("later") == 5


def test_only_old_consoles_are_told_to_understand_control_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    use_terminal(monkeypatch)
    told: list[str] = []
    monkeypatch.setattr(os, "system", told.append)
    TerminalDisplay()
    assert told == []
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        TerminalDisplay()
    assert told == [""]


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


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_script(tmp_path: Path, is_terminal: bool) -> None:
    """A terminal shows how far it came, without the extra; what a script prints to a pipe stays as it is."""
    import pty
    import subprocess

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    out = tmp_path / "out"
    ours, theirs = pty.openpty() if is_terminal else os.pipe()
    with out.open("w") as file:
        environment = {**os.environ, "CLEARML_OFFLINE_MODE": "1", "TERM": "xterm", "COLUMNS": "80"}
        process = subprocess.Popen(
            [sys.executable, str(script)], stdout=file, stderr=theirs, env=environment, cwd=tmp_path
        )
        os.close(theirs)
        told = read(ours).decode()
        assert process.wait() == 0, told
    assert out.read_text() == "printed by C=1\nprinted by C=2\nprinted by C=3\n"
    if is_terminal:
        assert "3 done, 0 failed, 0 left" in told
        assert "best accuracy 0.75 (C=3)" in told
    else:
        assert told == ""
