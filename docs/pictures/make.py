"""Makes the pictures of README and documentation from one run of `examples/digits_sweep.py`; `make pictures`.

The example runs offline in a terminal of its own, whose screen is drawn as SVG. The report and a figure are
shown by a browser; without a chromium on the path their pictures stay as they are.
"""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
EXAMPLE = HERE.parent.parent / "examples" / "digits_sweep.py"
COLUMNS, LINES = 92, 24
PROGRESS = re.compile(r"\b28 done.*\bnow\b", re.DOTALL)
"""What the screen shows when the picture of the progress is taken: another task begins."""
REPORT_SIZE = {"width": 1280, "height": 890, "deviceScaleFactor": 1}
"""The report down to its table of configurations."""
CURVES_SIZE = {"width": 900, "height": 430, "deviceScaleFactor": 1.4}
"""As wide as a page of the documentation, so that the text is not smaller there."""
QUALITY = 80
"""Of WebP, out of 100; a picture of a page takes some 50 kB then."""

_TOKEN = re.compile(r"\x1b\[(?P<count>\d*)(?P<command>[A-Za-z])|(?P<text>.)", re.DOTALL)


def main(folder: Path = HERE) -> None:
    """Makes all pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        os.environ |= {"CLEARML_OFFLINE_MODE": "1", "CLEARML_CACHE_DIR": temporary}
        # A copy, because the folder of a script is what a task's provenance is detected from.
        script = shutil.copy(EXAMPLE, temporary)
        shown = [screen for screen in screens([sys.executable, script]) if PROGRESS.search(screen)]
        text = f"$ python {EXAMPLE.name}\n{shown[0]}"
        (folder / "progress.svg").write_text(terminal_svg(text), encoding="utf-8")
        photograph(folder, Path(temporary))


def screens(command: list[str]) -> Iterator[str]:
    """Runs a command in a terminal, and yields what its screen shows after each piece of output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    decoder, screen = codecs.getincrementaldecoder("utf-8")(), Screen()
    while piece := _read(ours):
        screen.write(decoder.decode(piece))
        yield str(screen)
    os.close(ours)
    if process.wait():
        sys.exit(f"{command} failed:\n{screen}")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # Linux says so when the other side has been closed
        return b""


class Screen:
    """What a terminal shows, without colours: the few control sequences that the progress display uses."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = [[]]
        self.row = self.column = 0

    def __str__(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self.rows).rstrip()

    def write(self, text: str) -> None:
        """Adds output."""
        for token in _TOKEN.finditer(text):
            if token["command"]:
                self._control(token["command"], int(token["count"] or 1))
            elif token["text"] == "\n":
                self.row += 1
                if self.row == len(self.rows):
                    self.rows.append([])
            elif token["text"] == "\r":
                self.column = 0
            else:
                row = self.rows[self.row]
                row += " " * (self.column - len(row))
                row[self.column : self.column + 1] = token["text"]
                self.column += 1

    def _control(self, command: str, count: int) -> None:
        if command == "A":
            self.row = max(0, self.row - count)
        elif command == "C":
            self.column += count
        elif command in "JK":
            del self.rows[self.row][self.column :]
            if command == "J":
                del self.rows[self.row + 1 :]


def terminal_svg(text: str) -> str:
    """Draws a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(text))
    svg = console.export_svg(title="")
    # A page that shows the picture must load nothing else: the reader's own monospaced font is used.
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    # Lines and the whole are cut to the height of another font, in which underscores are higher.
    return re.sub(r' clip-path="[^"]*"', "", svg)


def photograph(folder: Path, temporary: Path) -> None:
    """Takes the pictures of the report and of a figure."""
    from clearml_taskgroup import Metric, TaskGroup, figures
    from tests.support.browser import CHROMIUM, Browser

    if CHROMIUM is None:
        print("no chromium, chromium-browser or google-chrome: report.webp and curves.webp stay as they are")
        return
    metrics = [Metric("loss", mode="min"), Metric("accuracy", mode="max")]
    results = TaskGroup.load("digits", "network-sweep", metrics=metrics)
    report, figure = temporary / "report.html", temporary / "figure.html"
    results.save_html(report)
    curves = figures.curves(results, "accuracy", split="val", over="seed")
    curves.write_html(figure, include_plotlyjs=True, config={"displayModeBar": False})
    with Browser(temporary) as browser:
        browser.call("Emulation.setScrollbarsHidden", hidden=True)
        for page, name, size in ((report, "report.webp", REPORT_SIZE), (figure, "curves.webp", CURVES_SIZE)):
            browser.call("Emulation.setDeviceMetricsOverride", **size, mobile=False)
            browser.open(page)
            time.sleep(2)  # figures are drawn after the page has loaded
            taken: dict[str, Any] = browser.call("Page.captureScreenshot", format="webp", quality=QUALITY)
            (folder / name).write_bytes(codecs.decode(taken["data"].encode(), "base64"))


if __name__ == "__main__":
    main()
