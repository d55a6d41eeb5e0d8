"""The report in a real browser: nothing is loaded, nothing goes wrong, tables sort, figures are drawn."""

from __future__ import annotations

import base64
import json
import random
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plotly.offline import get_plotlyjs
from threadpoolctl import threadpool_limits

from clearml_taskgroup import Metric, Results, TaskGroup
from clearml_taskgroup.testing import recording
from examples.digits_sweep import SPACE, train
from tests.support.browser import CHROMIUM, WHY_SKIPPED, Browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=WHY_SKIPPED)]

TABLE_PAGE = """<!DOCTYPE html><meta charset="utf-8"><div id="plot"></div><script>{script}</script>
<script>Plotly.newPlot("plot", {figure}).then(() => document.title = "drawn")</script>"""
"""A page with one figure, drawn by plotly as ClearML's web page does."""
NASTY = "</script><script>hacked=1</script><img src=x onerror=hacked=2>\u2028&lt;"
HEAD = "#tasks thead th:nth-child({})"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser of the test's own; at the end nothing may have been loaded or gone wrong."""
    with Browser(tmp_path) as browser:
        yield browser
        assert browser.complaints == []
        beyond = [url for url in browser.requests if not url.startswith(("file://", "data:", "blob:"))]
        assert beyond == []
        assert len([url for url in browser.requests if url.startswith("file://")]) <= 1


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the digits example: 45 tasks, four curves each."""
    metrics = [Metric("loss", mode="min"), Metric("accuracy", mode="max")]
    with recording(), warnings.catch_warnings(), threadpool_limits(1):  # other tests need the cores
        warnings.simplefilter("ignore")
        with TaskGroup("digits", "network-sweep", template="{metric}/{split}", metrics=metrics) as group:
            for task in group.sweep(SPACE):
                with task:
                    for epoch, scores in enumerate(train(**task.params)):
                        task.report(scores, epoch, levels=("split", "metric"))
        return group.results().save_html(tmp_path_factory.mktemp("digits") / "report.html")


def column(browser: Browser, place: int) -> list[str]:
    """What stands in a column of the table of all tasks, from above, without hidden lines."""
    cells = f"document.querySelectorAll('#tasks tbody tr:not([hidden]) td:nth-child({place})')"
    found: list[str] = browser.evaluate(f"Array.from({cells}, (cell) => cell.textContent)")
    return found


def sort_state(browser: Browser, place: int) -> Any:
    """What the head of a column says of how it is sorted."""
    return browser.evaluate(f"document.querySelector({HEAD.format(place)!r}).getAttribute('aria-sort')")


def test_the_digits_example(digits: Path, browser: Browser) -> None:
    """45 tasks: below 6 MB, six figures for each metric, all with something in them."""
    assert digits.stat().st_size < 6_000_000
    browser.open(digits)
    assert browser.evaluate("document.querySelectorAll('#tasks tbody tr').length") == 45
    for metric in range(4):
        browser.click(f".tabs button:nth-child({metric + 1})")
        pressed = (
            "Array.from(document.querySelectorAll('.tabs button'), (b) => b.getAttribute('aria-pressed'))"
        )
        assert browser.evaluate(pressed).index("true") == metric
        traces = "Array.from(document.querySelectorAll('.plot'), (plot) => plot.data.length)"
        assert browser.evaluate(traces) == [18, 46, 45, 1, 1, 3]
        paths = (
            "Array.from(document.querySelectorAll('.plot'), (p) => p.querySelectorAll('path, image').length)"
        )
        assert min(browser.evaluate(paths)) >= 5


def test_figures_are_there_when_the_page_has_loaded(digits: Path, browser: Browser) -> None:
    script = (
        "addEventListener('load', () => { plotsAtLoad = document.querySelectorAll('.main-svg').length; });"
    )
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=script)
    browser.open(digits)
    assert browser.evaluate("plotsAtLoad") >= 5


def test_sorting_by_a_click(digits: Path, browser: Browser) -> None:
    """A click on a head sorts, best first, a second one the other way round; the others lose their mark.

    The table is sorted by the most important metric already.
    """
    browser.open(digits)
    heads = browser.evaluate("Array.from(document.querySelectorAll('#tasks th'), (head) => head.textContent)")
    accuracy, loss = heads.index("accuracy[split=val]") + 1, heads.index("loss[split=val]") + 1
    losses = [float(text) for text in column(browser, loss)]
    assert (losses, sort_state(browser, loss)) == (sorted(losses), "ascending")
    browser.click(f"{HEAD.format(accuracy)} button")
    values = [float(text) for text in column(browser, accuracy)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]
    assert sort_state(browser, accuracy) == "descending"
    browser.click(f"{HEAD.format(accuracy)} button")
    assert [float(text) for text in column(browser, accuracy)] == sorted(values)
    assert sort_state(browser, accuracy) == "ascending"
    browser.click(f"{HEAD.format(loss)} button")
    assert [float(text) for text in column(browser, loss)] == losses
    assert (sort_state(browser, accuracy), sort_state(browser, loss)) == (None, "ascending")


def test_filter_and_links(digits: Path, browser: Browser) -> None:
    """The filter shows the tasks that have all of its words; a task's name leads to its details."""
    browser.open(digits)
    browser.click("#filter")
    browser.type("completed hidden=8, seed=3")
    assert len(column(browser, 2)) == 3
    assert browser.evaluate("document.getElementById('shown').textContent") == "3 of 45 tasks"
    browser.type(" failed")
    assert column(browser, 2) == []
    browser.evaluate("filter.value = ''; filter.dispatchEvent(new Event('input'))")
    assert len(column(browser, 2)) == 45
    browser.type("learning_rate=0.01 seed=2")
    assert column(browser, 4)[:3] == ["0.01"] * 3
    browser.evaluate("filter.value = 'hidden=8, seed=3'; filter.dispatchEvent(new Event('input'))")
    browser.click("#tasks tbody tr:not([hidden]) a")
    opened = "document.querySelector('dialog[open]')"
    shown = browser.evaluate(
        f"new Promise((done) => {opened} ? done() : addEventListener('hashchange', done))"
        f".then(() => {opened}.textContent)"
    )
    assert "hidden=8,learning_rate=0.01,seed=3" in shown
    assert "accuracy[split=val]" in shown
    browser.click("dialog > button")
    browser.evaluate("new Promise((done) => setTimeout(done))")  # the event of closing comes later
    assert browser.evaluate(f"[{opened}, location.hash]") == [None, ""]


def mixed() -> Results:
    """Tasks with values that are easily sorted wrongly."""
    values: list[float | None] = [None, 10.0, 9.0, -3.0, 1e-5, -2e-5, 0.0, 1e10, None, 100.0]
    texts = ["b10", "b9", "a", "C", None, 2, 10, 1e-3, -5, "é"]
    with TaskGroup("digits", "mixed", metrics=["loss", "other"]) as group:
        for value, text in zip(values, texts, strict=True):
            params = {"id": str(text)} if text is None else {"id": str(text), "k": text}
            task = group.task(params, name=f"task {text}")
            task.report({"other": 1.0} if value is None else {"loss": value, "other": 1.0}, 1)
    return group.results()


def test_sorting_of_all_that_there_is(tmp_path: Path, browser: Browser) -> None:
    """Numbers go by size, then text with its numbers by size; what is missing is last both ways."""
    with recording():
        browser.open(mixed().save_html(tmp_path / "report.html"))
    heads = browser.evaluate("Array.from(document.querySelectorAll('#tasks th'), (head) => head.textContent)")
    loss, k = heads.index("loss") + 1, heads.index("k") + 1
    numbers = ["-3", "-2e-05", "0", "1e-05", "9", "10", "100", "1e+10"]
    assert column(browser, loss) == [*numbers, "–", "–"]
    browser.click(f"{HEAD.format(loss)} button")
    assert column(browser, loss) == [*reversed(numbers), "–", "–"]
    browser.click(f"{HEAD.format(k)} button")
    texts = ["-5", "0.001", "2", "10", "a", "b9", "b10", "C", "é", "–"]
    assert column(browser, k) == texts
    browser.click(f"{HEAD.format(k)} button")
    assert column(browser, k) == [*reversed(texts[:-1]), "–"]


def test_sorting_by_the_keyboard(tmp_path: Path, browser: Browser) -> None:
    """The heads are buttons, which Enter presses."""
    with recording():
        browser.open(mixed().save_html(tmp_path / "report.html"))
    browser.evaluate(f"document.querySelector({HEAD.format(1) + ' button'!r}).focus()")
    browser.type("\n")
    assert sort_state(browser, 1) == "ascending"
    browser.type("\n")
    assert sort_state(browser, 1) == "descending"
    assert column(browser, 1) == [str(at) for at in range(9, -1, -1)]


def test_no_name_does_anything(tmp_path: Path, browser: Browser) -> None:
    """Names that look like scripts are text in the tables and in the figures."""
    with recording(), TaskGroup("digits", "nasty") as group:
        for at in range(30):
            task = group.task({NASTY: at, "b": [NASTY, "x"][at % 2]}, name=f"{NASTY}{at}")
            for step in range(3):
                task.report({NASTY: float(at)}, step, split=NASTY)
            if at > 27:
                task.mark_failed(NASTY)
    browser.open(group.results().save_html(tmp_path / "report.html", title=NASTY))
    assert browser.evaluate("typeof hacked") == "undefined"
    assert browser.evaluate("document.querySelector('h1').textContent") == NASTY
    assert browser.evaluate("document.querySelectorAll('.main-svg').length") >= 4
    title = browser.evaluate("document.querySelector('.gtitle').textContent")
    assert title.startswith("</script><script>hacked=1</script><img src=x onerror=hacked=2> &lt;")
    name = browser.evaluate(
        "new Promise((done) => { addEventListener('hashchange', done);"
        "location.hash = document.querySelector('#tasks tbody a').hash; })"
        ".then(() => document.querySelector('dialog[open] h2').textContent)"
    )
    assert name == f"{NASTY}0"
    assert browser.evaluate("typeof hacked") == "undefined"
    assert browser.evaluate("document.querySelectorAll('img').length") == 0


def test_only_the_pages_own_scripts_run(digits: Path, browser: Browser, tmp_path: Path) -> None:
    """Even if a text were not escaped, its script would not run."""
    page = tmp_path / "page.html"
    injected = "<script>hacked = 1</script><img src='data:,' onerror='hacked = 2'>"
    page.write_text(digits.read_text("utf-8").replace("<footer>", f"{injected}<footer>"), encoding="utf-8")
    browser.open(page)
    assert browser.evaluate("typeof hacked") == "undefined"
    assert browser.evaluate("document.querySelectorAll('.main-svg').length") >= 5
    assert all("Content Security Policy" in complaint for complaint in browser.complaints)
    browser.complaints.clear()


def test_on_a_phone(digits: Path, browser: Browser) -> None:
    """The page is as wide as the screen, captions are outside of what is scrolled, legends below plots."""
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.open(digits)
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    assert browser.evaluate("document.querySelectorAll('.scroll .caption, caption').length") == 0
    boxes = (
        "['.nsewdrag', '.legend', '.infolayer .cbfills'].map((part) => Array.from("
        "document.querySelectorAll(`.plot ${part}`), (found) => found.getBoundingClientRect().toJSON()))"
    )
    areas, legends, bars = browser.evaluate(boxes)
    assert (len(legends), len(bars)) == (1, 2)
    assert all(area["width"] > 200 for area in areas)
    assert legends[0]["top"] > areas[0]["bottom"]
    assert bars[0]["top"] > areas[1]["bottom"]


def test_a_diverged_task(tmp_path: Path, browser: Browser) -> None:
    """Numbers at the end of what ClearML stores do not trouble the browser."""
    with recording(), TaskGroup("digits", "diverged") as group:
        for task in group.tasks({"lr": [10 ** (at / 3) for at in range(-12, 4)], "seed": [0, 1]}):
            for step in range(5):
                loss = 3e38 if task.params["lr"] > 8 and step else task.params["lr"] + 1 / (step + 1)
                task.report({"loss": loss}, step)
    browser.open(group.results().save_html(tmp_path / "report.html"))
    ends = browser.evaluate(
        "Array.from(document.querySelectorAll('.plot'), (p) => p._fullLayout.yaxis.range[1])"
    )
    assert len(ends) == 4
    assert ends[1] < 20


@pytest.mark.parametrize("level", [0, 1, 9])
def test_decompressing(level: int, tmp_path: Path, browser: Browser) -> None:
    """The page decompresses every kind of deflate block: stored, with fixed trees, with trees of its own."""
    with recording():
        browser.open(mixed().save_html(tmp_path / "report.html"))
    draw = random.Random(level)
    texts = ["", "a", "ab" * 9, "äöü €" * 1000, "".join(chr(draw.randrange(32, 126)) for _ in range(200_000))]
    texts += [" ".join(str(draw.random()) for _ in range(20_000)), "x" * 100_000]
    for text in texts:
        packer = zlib.compressobj(level, wbits=-15)
        packed = base64.b64encode(packer.compress(text.encode()) + packer.flush()).decode()
        browser.evaluate(
            f"document.body.insertAdjacentHTML('beforeend',"
            f"'<p id=probe data-size={len(text.encode())}>{packed}</p>')"
        )
        assert browser.evaluate("decompressed('probe')") == text
        browser.evaluate("document.getElementById('probe').remove()")


def test_dark_and_on_paper(digits: Path, tmp_path: Path, browser: Browser) -> None:
    """The page follows the reader's wish for darkness, and prints."""
    browser.open(digits)
    browser.picture(tmp_path / "dark.png", dark=True)
    dark = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    browser.picture(tmp_path / "light.png")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)" != dark
    paper = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert paper.startswith(b"%PDF")


def test_the_parents_table_is_drawn_as_text(tmp_path: Path, browser: Browser) -> None:
    """Of names with markup, entities, quotes and formulas, plotly draws what was given."""
    texts = [
        '"R&D"',
        "<b>bold</b> text",
        '<a href="https://x.y">l</a>',
        "&quot;&lt;&#36;",
        "$x$",
        "%{x}",
        "<br>",
    ]
    with recording() as backend, TaskGroup("digits", "the sweep", provenance=False) as group:
        for text in texts:
            group.task({text: text}, name=text)
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    event = next(event for event in parent.events if event.get("variant") == "tasks")
    figure = json.loads(event["plot_str"])
    figure["layout"] |= {"width": 2000, "height": 900}
    page = tmp_path / "page.html"
    code = json.dumps(figure).replace("<", "\\u003c")
    page.write_text(TABLE_PAGE.format(script=get_plotlyjs(), figure=code), encoding="utf-8")
    browser.open(page)
    browser.evaluate("new Promise((done) => setInterval(() => document.title == 'drawn' && done(), 50))")
    cells = browser.evaluate(
        "Array.from(document.querySelectorAll('.column-cell text'), (cell) => cell.textContent.trim())"
    )
    without_blanks = {"".join(cell.split()) for cell in cells}  # plotly breaks lines at blanks
    assert {"".join(text.split()) for text in texts} <= without_blanks
    assert not browser.evaluate("document.querySelectorAll('.column-cell a').length")
