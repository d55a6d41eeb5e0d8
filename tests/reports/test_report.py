"""The report: one file that loads nothing, shows everything, and takes every name as text."""

from __future__ import annotations

import base64
import json
import math
import random
import re
import subprocess
import sys
import warnings
import zlib
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup import Metric, Results, TaskGroup
from clearml_taskgroup._model.metrics import ByMetric, MetricKey
from clearml_taskgroup._model.vocabulary import Vocabulary
from clearml_taskgroup._reports.tables import time_text
from clearml_taskgroup._results.history import Reader
from clearml_taskgroup._results.rows import Curve, Row
from clearml_taskgroup._storage.memory import MemoryBackend
from clearml_taskgroup._text import printable
from clearml_taskgroup.errors import ArgumentError, MissingExtraError, NoHistoryError, ServerError
from clearml_taskgroup.testing import recording

NASTY = "</script><script>alert('x')</script><img src=x onerror=alert(1)>\u2028&amp;\"'"
METRICS: list[str | Metric] = [Metric("loss", mode="min", unit="nats"), Metric("accuracy", mode="max"), "f1"]


pytestmark = pytest.mark.usefixtures("backend")


class Page(HTMLParser):
    """A page as a reader of HTML sees it: its tags, its text, its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._table: list[list[str]] | None = None
        self._silent = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Keeps a tag; begins a table, a line or a cell."""
        self.tags.append((tag, dict(attributes)))
        self._silent = tag in ("script", "style")
        if tag == "table":
            label = self.tags[-2][1]["aria-label"]
            self._table = self.tables.setdefault(str(label), [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th") and self._table is not None:
            self._table[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Ends a table, a script or a style sheet."""
        self._silent = False
        if tag == "table":
            self._table = None

    def handle_data(self, data: str) -> None:
        """Keeps what is read."""
        if self._silent:
            return
        self.words.append(data)
        if self._table and self._table[-1]:
            self._table[-1][-1] += data.strip("\n")

    @property
    def text(self) -> str:
        """What is read."""
        return " ".join(" ".join(self.words).split())


def written(results: Results, folder: Path, **options: Any) -> tuple[str, Page]:
    """A report as its text and as a page."""
    path = results.save_html(folder / "report.html", **options)
    text = path.read_text("utf-8")
    return text, Page(text)


def data_in(text: str, name: str) -> Any:
    """Data of the page's script, unpacked."""
    found = re.search(rf'id="{name}" data-size="(\d+)">([^<]*)<', text)
    assert found is not None
    data = zlib.decompress(base64.b64decode(found[2]), wbits=-15)
    assert len(data) == int(found[1])
    return json.loads(data)


def figures_in(text: str) -> list[list[dict[str, Any]]]:
    """The figures of each metric, unpacked."""
    packed = data_in(text, "figure-data")

    def with_texts(value: Any) -> Any:
        if isinstance(value, dict):
            shared = packed["texts"][value["$"]] if "$" in value else None
            return shared or {name: with_texts(item) for name, item in value.items()}
        return [with_texts(item) for item in value] if isinstance(value, list) else value

    figures: list[list[dict[str, Any]]] = with_texts(packed["figures"])
    return figures


def details_in(text: str) -> list[dict[str, Any]]:
    """What a click on each task shows."""
    return list(data_in(text, "task-data")["tasks"].values())


def titles(text: str) -> list[list[str]]:
    """The titles of all figures, without their notes."""
    return [
        [f["layout"]["title"]["text"].partition("<br>")[0] for f in figures] for figures in figures_in(text)
    ]


def swept() -> Results:
    """Two configurations with three seeds; a failed task and a stopped one."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for at, task in enumerate(group.tasks({"C": [1, 10], "seed": range(3), "data": ["digits"]})):
            for step in range(4):
                loss = task.params["C"] + task.params["seed"] / 10 - step / 100
                task.report({"loss": loss, "accuracy": 1 - loss / 20}, step, split="val")
            if at == 1:
                task.mark_failed("CUDA out of memory")
            if at == 5:
                task.mark_stopped("pruned")
    return group.results()


def test_a_report_loads_nothing(tmp_path: Path) -> None:
    """No tag names anything to load, and the page forbids all requests."""
    _, page = written(swept(), tmp_path)
    policy = next(tag["content"] for name, tag in page.tags if tag.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'; ")
    loading = [(name, tag) for name, tag in page.tags if {"src", "srcset", "data", "action"} & tag.keys()]
    assert loading == []
    assert [tag["href"] for name, tag in page.tags if name == "link"] == ["data:,"]
    assert not {"iframe", "img", "object", "embed", "form", "base"} & {name for name, _ in page.tags}
    assert page.tags[2] == ("meta", {"charset": "utf-8"})


def test_what_a_report_says(tmp_path: Path) -> None:
    """Title, run, counts by status, the best of each metric, and the reasons of the failures."""
    results = swept()
    _, page = written(results, tmp_path)
    assert [words for words in page.words if words == "digits/sweep, run 1"] == ["digits/sweep, run 1"] * 2
    assert "4 completed" in page.text
    assert "1 failed" in page.text
    assert "still open" not in page.text
    assert page.tables["best values"] == [
        ["metric", "best is", "mean ± std over seed", "configuration", "single task", "task"],
        ["loss[split=val] (nats)", "lowest", "1.07 ± 0.14", "C=1,data=digits", "0.97", results[0].name],
        ["accuracy[split=val]", "highest", "0.9465 ± 0.0071", "C=1,data=digits", "0.9515", results[0].name],
    ]
    assert page.tables["failures"] == [
        ["task", "status", "reason"],
        ["C=1,seed=1", "failed", "CUDA out of memory"],
        ["C=10,seed=2", "stopped", "pruned"],
    ]


def test_the_table_of_all_tasks(tmp_path: Path) -> None:
    """Each task is a line with the parameters that differ and its last values; the best are marked."""
    text, page = written(swept(), tmp_path)
    head, *lines = page.tables["all tasks"]
    assert head == [
        *("#", "status", "C", "seed"),
        *("loss[split=val] (nats)", "accuracy[split=val]", "duration"),
    ]
    assert [line[1:6] for line in lines] == [
        ["completed", "1", "0", "0.97", "0.9515"],
        ["completed", "1", "2", "1.17", "0.9415"],
        ["completed", "10", "0", "9.97", "0.5015"],
        ["completed", "10", "1", "10.07", "0.4965"],
        ["failed", "1", "1", "1.07", "0.9465"],
        ["stopped", "10", "2", "10.17", "0.4915"],
    ]
    assert "The same in all tasks: data = digits." in page.text
    sorted_heads = [attributes["aria-sort"] for _, attributes in page.tags if "aria-sort" in attributes]
    assert sorted_heads == ["ascending", "ascending"]  # of the configurations, too
    assert "marked. The least loss[split=val] (nats) is first. Click" in page.text
    tasks = text[text.index('<section id="tasks">') : text.index('<section id="failures">')]
    assert re.findall(r'<td class="n best" data-n="([\d.]+)"', tasks) == ["0.97", "0.9515"]


def test_configurations_are_sorted_and_leave_out_who_does_not_count(tmp_path: Path) -> None:
    """Means over seeds, the best first, with the number of tasks and who is left out."""
    _, page = written(swept(), tmp_path)
    lines = [line[:4] for line in page.tables["configurations"]]
    assert lines == [
        ["C", "data", "n", "loss[split=val] (nats)"],
        ["1", "digits", "2", "1.07 ± 0.14"],
        ["10", "digits", "2", "10.02 ± 0.07"],
    ]
    assert "2 failed or stopped tasks not counted in" in page.text


def test_a_small_spread_does_not_read_as_none(tmp_path: Path) -> None:
    with TaskGroup("digits", "sweep") as group:
        for task, loss in zip(
            group.tasks({"C": [1, 2, 3], "seed": [0, 1]}), (0.5, 0.5 + 2e-6, 1, 2, 3, 3), strict=True
        ):
            task.report({"loss": loss}, 1)
    lines = written(group.results(), tmp_path)[1].tables["configurations"]
    assert [line[-1] for line in lines[1:]] == ["0.5 ± 1.4e-06", "1.5 ± 0.7", "3 ± 0"]


def test_what_diverged_is_named(tmp_path: Path) -> None:
    """A mean says of how many tasks it is, and the caption which do not count in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with TaskGroup("the project", "the group") as group:
            for task in group.sweep({"lr": [0.1], "seed": range(3)}):
                with task:
                    task.report({"loss": math.nan if task.index == 2 else 1.0}, 1)
    text, page = written(group.results(), tmp_path)
    (line,) = page.tables["configurations"][1:]
    assert line[1:] == ["3", "1 ± 0 (n=2)"]
    assert "Not counted in, loss diverged: 1 (seed=2)." in page.text
    assert "failed, stopped and diverged tasks do not" in page.text
    assert "All values of the task were NaN" in details_in(text)[2]["note"]


def test_over(tmp_path: Path) -> None:
    """`over` says what the means are over; without it only seeds and folds that repeat something."""
    results = swept()
    assert "configurations" not in written(results, tmp_path, over=())[1].tables
    assert len(written(results, tmp_path, over=["C", "seed"])[1].tables["configurations"]) == 2
    with pytest.raises(ArgumentError, match="over='fold'"):
        results.save_html(tmp_path / "report.html", over="fold")
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks([{"C": 1, "seed": 3}, {"C": 2, "seed": 4}]):
            task.report({"loss": 1.0}, 1)
    assert "configurations" not in written(group.results(), tmp_path)[1].tables


def test_comparison(tmp_path: Path) -> None:
    """Configurations with several seeds are compared with the best one; names stay text."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for task in group.tasks({"C": [NASTY, "b"], "seed": range(3)}):
            task.report({"loss": task.params["seed"] + (task.params["C"] == "b") / 8, "f1": 0.5}, 1)
    text, page = written(group.results(), tmp_path)
    lines = page.tables["comparison, loss (nats)"]
    assert [line[3] for line in lines] == ["difference", "reference", "+0.125"]
    assert lines[2][-2:] == ["–", "no spread"]
    assert "Paired over seed, less is better; t test, Holm-corrected over 1 comparison; " in page.text
    assert "was chosen as the best of these values" in page.text
    assert "to=" not in page.text  # a report has no such argument
    assert "alert('x')</script>" not in text
    assert 'href="#comparison"' not in written(group.results(), tmp_path, over=())[0]


ANSWERS: list[tuple[dict[str, list[float]], str]] = [
    (
        {"a": [0.9, 0.8, 0.9], "b": [0.8, 0.9, 0.8], "c": [0.2, 0.11, 0.2], "d": [0.1, 0.01, 0.1]},
        (
            "model=a with 0.8667 ± 0.058 is best, but not clearly better than model=b (+0.0333, 95 % "
            "interval -0.254 to 0.32, p = 0.67); model=c, model=d are worse."
        ),
    ),
    (
        {"a": [0.9, 0.8, 0.9], "b": [0.2, 0.11, 0.2]},
        "model=a with 0.8667 ± 0.058 is best; model=b is worse.",
    ),
    (
        {"a": [0.5, 0.25], "b": [0.25, 0.0], "c": [0.5, 0.25], "d": [0.125]},
        (
            "model=a with 0.375 ± 0.18 is best; model=c is equal in all pairs; model=b differs by the same "
            "amount in all pairs; model=d has too few pairs to tell."
        ),
    ),
]


@pytest.mark.parametrize(("scores", "sentence"), ANSWERS)
def test_the_answer_is_a_sentence(scores: dict[str, list[float]], sentence: str, tmp_path: Path) -> None:
    """At the top: the best configuration, what it is clearly better than, and what not."""
    space = [{"model": model, "seed": at} for model, values in scores.items() for at in range(len(values))]
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks(space):
            task.report({"accuracy": scores[task.params["model"]][task.params["seed"]]}, split="val")
    text, page = written(group.results(), tmp_path)
    assert f"accuracy[split=val]: {sentence}" in page.words
    assert text.index('class="answer"') < text.index('id="best"')
    assert ('class="verdict worse">worse<' in text) == (" worse" in sentence)
    assert 'class="answer"' not in written(group.results(), tmp_path, over=())[0]


def test_folds_are_compared_by_the_corrected_test(tmp_path: Path) -> None:
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for task in group.tasks({"C": [1, 2], "fold": range(3)}):
            task.report({"loss": task.params["C"] + task.params["fold"] ** task.params["C"]}, 1)
    assert "t test corrected for folds" in written(group.results(), tmp_path)[1].text


def test_the_figures_of_a_report(tmp_path: Path) -> None:
    """For each metric: means and curves, parallel coordinates, and boxes."""
    text, page = written(swept(), tmp_path)
    label = "loss[split=val] (nats)"
    assert titles(text)[0] == [
        f"{label}, mean ± std over seed",
        label,
        f"Parameters and {label}",
        f"{label} by C",
    ]
    assert len(titles(text)) == 2
    buttons = [tag for name, tag in page.tags if name == "button" and "aria-pressed" in tag]
    assert len(buttons) == 2
    assert text.count('id="plotly-js"') == 1


def test_a_search_has_points_for_boxes(tmp_path: Path) -> None:
    """Where a search draws its values freely, points stand for them, on a logarithmic axis if they do."""
    draw = random.Random(1)
    with TaskGroup("digits", "search", metrics=METRICS) as group:
        for _ in range(16):
            params = {"rate": 10 ** draw.uniform(-4, -1), "dropout": draw.random()}
            group.task(params).report({"loss": math.log10(params["rate"]) ** 2}, 1)
    _, _, pair, single = figures_in(written(group.results(), tmp_path)[0])[0]
    assert [trace["type"] for trace in (*pair["data"], *single["data"])] == ["scatter", "scatter"]
    assert single["layout"]["title"]["text"] == "loss (nats) by rate"
    assert single["layout"]["xaxis"]["type"] == pair["layout"]["xaxis"]["type"] == "log"
    assert len(single["data"][0]["x"]) == 16


@pytest.mark.parametrize(("values", "kind"), [(20, "heatmap"), (21, "scatter")])
def test_a_grid_of_up_to_twenty_values_is_a_heat_map(values: int, kind: str, tmp_path: Path) -> None:
    with TaskGroup("digits", "grid", metrics=METRICS) as group:
        for task in group.tasks({"C": range(values), "k": [0, 1, 2]}):
            task.report({"loss": float(task.params["C"] + task.params["k"])}, 1)
    text, _ = written(group.results(), tmp_path)
    pair = figures_in(text)[0][-2]
    assert pair["layout"]["title"]["text"].endswith("by C and k")
    assert pair["data"][0]["type"] == kind


def test_means_are_not_drawn_by_what_they_are_over(tmp_path: Path) -> None:
    with TaskGroup("digits", "grid", metrics=METRICS) as group:
        for task in group.tasks({"C": [1, 2], "k": [0, 1, 2], "seed": [0, 1]}):
            task.report({"loss": float(task.params["C"] + 9 * task.params["k"])}, 1)
    (with_k,) = titles(written(group.results(), tmp_path)[0])
    assert with_k[-2:] == ["loss (nats) by k and C", "loss (nats) by k"]
    (without,) = titles(written(group.results(), tmp_path, over=["k", "seed"])[0])
    assert without[-1] == "loss (nats) by C"


def test_the_head_has_facts_and_no_path(tmp_path: Path) -> None:
    """Project, group, run, start, time and mode are told; a folder of this disk is not, a server is."""
    results = swept()
    disk = attrs.evolve(results.about, mode="offline", where="/home/me/.clearml", started=1_700_000_000.0)
    _, page = written(attrs.evolve(results, about=disk), tmp_path)
    assert "project digits group sweep run 1 started 2023-11-14 22:13 UTC total task time" in page.text
    assert "mode offline" in page.text
    assert "/home/me" not in page.text
    shared = attrs.evolve(results.about, shared="july <b>")
    _, page = written(attrs.evolve(results, about=shared), tmp_path)
    assert "run 1 (run='july <b>') " in page.text
    server = attrs.evolve(disk, mode="online", where="https://app.example")
    _, page = written(attrs.evolve(results, about=server), tmp_path)
    assert "mode online, https://app.example" in page.text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.009, "< 0.01 s"),
        (0.01, "0.01 s"),
        (9.994, "9.99 s"),
        (10, "10.0 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_durations_are_read_easily(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_tables_have_captions_and_columns(tmp_path: Path) -> None:
    """Each table says what it shows; a dash in a column of numbers stands where they do."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        group.task({"C": 1}).report({"loss": 1.0}, 1)
        group.task({"C": "one"}).report({"loss": 0.25, "f1": 0.5}, 1)
    text, page = written(group.results(), tmp_path)
    assert text.count('<p class="caption">') == text.count('role="region"')
    head, _, one = page.tables["all tasks"]
    assert one[head.index("f1")] == "–"
    assert '<td class="n none">–</td>' in text
    assert one[head.index("loss (nats)")] == "1.00"
    assert re.search(r'<td data-n="1.0">1</td>', text)  # beside "one", a number stands as text does


def test_metrics_are_chosen(tmp_path: Path) -> None:
    """`metrics` says which have figures, in this order; by default it is six, validation first."""
    text, _ = written(swept(), tmp_path, metrics=["accuracy"])
    assert [figures[-1] for figures in titles(text)] == ["accuracy[split=val] by C"]
    spelt = ["accuracy[split=val]", "loss[split=val] (nats)", "loss[split=val]"]
    text, _ = written(swept(), tmp_path, metrics=spelt)
    assert [figures[-1] for figures in titles(text)] == [
        "accuracy[split=val] by C",
        "loss[split=val] (nats) by C",
    ]
    with pytest.raises(
        ArgumentError, match=r"metrics='f2' was given.*loss\[split=val\], accuracy\[split=val\]"
    ):
        swept().save_html(tmp_path / "report.html", metrics=["f2"])
    with pytest.raises(ArgumentError, match=r"metrics='los' was given.*did you mean 'loss'\?"):
        swept().save_html(tmp_path / "report.html", metrics=["los"])
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"C": [1, 2]}):
            for split in ("train", "val"):
                task.report({f"m{at}": 1.0 for at in range(5)}, 1, split=split)
    text, page = written(group.results(), tmp_path)
    firsts = [figures[0] for figures in titles(text)]
    assert firsts == [*(f"m{at}[split=val]" for at in range(5)), "m0[split=train]"]
    assert "4 metrics more without figures" in page.text


PAYLOADS = (
    "<script>alert('x')</script>",
    "</script><script>alert(1)</script>",
    "<ScRiPt\n>alert(1)</sCrIpT\t>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    '"><b onmouseover=alert(1)>',
    "' onfocus='alert(1)' autofocus='",
    "<a href=javascript:alert(1)>l</a>",
    "javascript:alert(1)",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<!-- --><!--",
    "]]><![CDATA[<p>",
    "</textarea></style></title></td></table><h1>x",
    "&lt;script&gt;alert(1)&lt;/script&gt;&#60;b&#62;",
    "{{ 7 * 7 }}{% raw %}{# x #}${7 * 7}",
    "%{hovertext}$x$%{y:.5g}",
    "\u202egnp.exe\u2028\u2029\x1b[31m\x00",
    "<meta http-equiv=refresh content='0;url=http://evil.example'>",
    "<form action=http://evil.example><input name=q><base href=http://evil.example>",
)


def full_of(text: str, address: str | None = None) -> Results:
    """Results in which everything that is text is this text."""
    with recording(), TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"k": ["a", "b"], "seed": range(3)}):
            task.report({"loss": task.params["seed"] / 8 + (task.params["k"] == "b")}, 1)
    results = group.results()
    (loss,) = results.metric_keys
    other = MetricKey(text, (("split", text),))
    vocabulary = Vocabulary.of([Metric(text, mode="max", unit=text), "loss"], results._lookup.template)
    rows = [
        attrs.evolve(
            row,
            name=f"{text}{row.index}",
            id=f"{text}{row.index}",
            key=text,
            url=address or text,
            status_reason=text,
            params={text: [text, "b"][row.index // 3], "seed": row.params["seed"], "same": text},
            stats=ByMetric({loss: row.stats[loss], other: row.stats[loss]}),
            status="failed" if row.index == 4 else "completed",
        )
        for row in results
    ]
    pages: dict[str, Any] = {"where": address or text, "url": address or text}
    pages["compare_urls"] = (address or text,)
    about = attrs.evolve(results.about, project=text, name=text, mode=text, **pages)
    lookup = attrs.evolve(results._lookup, vocabulary=vocabulary)
    return attrs.evolve(results, rows=tuple(rows), about=about, lookup=lookup)


@pytest.fixture(scope="module")
def plain_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of results without a payload."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reader, "curves_of", drawn_curves)
        return written(
            full_of("plain", "http://x.example/"), tmp_path_factory.mktemp("plain"), title="plain"
        )[1]


def drawn_curves(_: Reader, rows: Sequence[Row], metric_keys: Sequence[MetricKey]) -> Any:
    """Curves of tasks whose names are not those of stored ones."""
    return [(key, Curve(row, (0, 1), (0.5, row.index))) for row in rows for key in metric_keys]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_is_markup(
    payload: str, plain_page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a text looks like, in every cell it is shown as it is, and the page has the same tags."""
    monkeypatch.setattr(Reader, "curves_of", drawn_curves)
    address = f"http://x.example/{payload}"
    text, page = written(full_of(payload, address), tmp_path, title=payload)
    names, plain_names = ([name for name, _ in one.tags if name != "wbr"] for one in (page, plain_page))
    assert names == plain_names
    used, plain_used = ({(name, key) for name, tag in one.tags for key in tag} for one in (page, plain_page))
    assert used == plain_used
    assert page.text.count(" ".join(map(printable, payload.split()))) > 20
    targets = {str(tag["href"]) for name, tag in page.tags if name == "a"}
    assert all(target.startswith(("#task-", "#", "http://x.example/")) for target in targets)
    drawn = json.dumps(figures_in(text))
    assert not re.search(r"<(?!/?(b|br|sub|extra)>)", drawn)
    assert [task["name"] for task in details_in(text)] == [f"{payload}{at}" for at in range(6)]
    without_links, _ = written(full_of(payload), tmp_path, title=payload)
    assert "target=" not in without_links.partition("<script")[0]


def test_only_pages_are_linked(tmp_path: Path) -> None:
    """Addresses of a server are links that keep the page to themselves; folders and scripts are text."""
    results = swept()
    urls = [
        "https://app.example/tasks/1?a=1&b=2",
        "javascript:alert(1)",
        "file:///tmp/a",
        None,
        "//x.example",
        "ftp://x.example",
    ]
    rows = tuple(attrs.evolve(row, url=url) for row, url in zip(results, urls, strict=True))
    about = attrs.evolve(
        results.about, url="http://localhost/run", compare_urls=("http://localhost/compare",)
    )
    text, page = written(attrs.evolve(results, rows=rows, about=about), tmp_path)
    links = [tag for name, tag in page.tags if name == "a" and not str(tag["href"]).startswith("#")]
    assert [tag["href"] for tag in links] == [
        "http://localhost/run",
        "http://localhost/compare",
        urls[0],
    ]
    assert {tag["rel"] for tag in links} == {"noopener noreferrer"}
    assert [task["page"] for task in details_in(text)] == [urls[0], "", "", "", "", ""]
    assert [task["facts"]["where"] for task in details_in(text)] == [url or "–" for url in urls]
    anchors = {str(tag["href"])[1:] for name, tag in page.tags if str(tag.get("href")).startswith("#")}
    known = {str(tag["id"]) for _, tag in page.tags if "id" in tag} | data_in(text, "task-data")[
        "tasks"
    ].keys()
    assert anchors <= known


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    """While tasks are open, the report says that there is more to come."""
    with TaskGroup("digits", "sweep") as group:
        group.task({"C": 1}).report({"loss": 1.0}, 1)
        text, page = written(group.results(), tmp_path)
    assert "Some tasks are still open" in page.text
    assert titles(text) == [["loss"]]


@pytest.mark.parametrize(
    "error", [NoHistoryError("in the mode 'disabled'", "do this"), ServerError("away"), OSError("gone")]
)
def test_without_curves(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where curves cannot be read the report is made without them, and says why."""

    def refused(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(Reader, "curves_of", refused)
    text, page = written(swept(), tmp_path)
    assert f"Curves over the iterations are missing: {error}." in page.text
    assert titles(text)[0] == ["Parameters and loss[split=val] (nats)", "loss[split=val] (nats) by C"]


def test_curves_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored data of a task is read once, however many metrics have figures."""
    results, asked = swept(), []
    read = MemoryBackend.read_curves

    def counted(self: MemoryBackend, wanted: Any) -> Any:
        asked.append(wanted)
        return read(self, wanted)

    monkeypatch.setattr(MemoryBackend, "read_curves", counted)
    written(results, tmp_path)
    (wanted,) = asked
    assert [len(names) for names in wanted.values()] == [2] * 6


def test_plotly_is_not_imported(tmp_path: Path) -> None:
    """Its script is read, which takes a fraction of the time."""
    code = (
        "import sys\n"
        "from clearml_taskgroup import TaskGroup\n"
        "from clearml_taskgroup.testing import recording\n"
        "with recording(), TaskGroup('digits', 'sweep') as group:\n"
        "    group.task({'C': 1}).report({'loss': 1.0}, 1)\n"
        f"    group.results().save_html({str(tmp_path / 'report.html')!r})\n"
        "print('plotly' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_a_group_without_tasks_and_tasks_without_values(tmp_path: Path) -> None:
    """Where there is nothing to show, the report says so."""
    with TaskGroup("digits", "sweep") as group:
        text, page = written(group.results(), tmp_path)
        assert "0 tasks" in page.text
        group.task({"C": 1})
    text, page = written(group.results(), tmp_path)
    assert "There are no values to draw" in page.text
    assert "The task has reported no values" in details_in(text)[0]["note"]
    assert 'id="plotly-js"' not in text


def test_single_values_have_no_curves(tmp_path: Path) -> None:
    """Metrics without iterations have the figures of parameters alone."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for task in group.tasks({"C": [1, 2], "k": ["a", "b"]}):
            task.report({"accuracy": task.params["C"] / 4})
    text, _ = written(group.results(), tmp_path)
    assert titles(text) == [["Parameters and accuracy", "accuracy by C and k", "accuracy by C"]]
    first = details_in(text)[0]
    assert (first["name"], first["parameters"]) == ("C=1,k=a", ["1", "a"])
    assert first["values"] == [[0, 0.25, 0.25, 0.25, None, 0.25, None, 0.25, 1]]


def test_unlike_tasks(tmp_path: Path) -> None:
    """What a task lacks is a dash that sorts last, and a parameter of any kind is text."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        first = group.task({"C": -1e-5, "k": None})
        first.report({"loss": 1e-5}, 1)
        group.task({"layers": [1, 2], "path": Path("a/b"), "on": True}).report({"f1": 0.5}, 1)
    text, page = written(group.results(), tmp_path)
    _, one, two = page.tables["all tasks"]
    assert one[3:10] == ["-1e-05", "None", "–", "–", "–", "1e-05", "–"]
    assert two[3:10] == ["–", "–", "[1,2]", "a/b", "True", "–", "0.5"]
    assert 'data-n="-1e-05"' in text


@pytest.mark.slow
def test_two_hundred_tasks_with_five_metrics_stay_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 tasks × 5 metrics × 1,000 noisy points are below 6 MB."""
    draw = random.Random(1)
    space = [
        {
            "lr": 10 ** -draw.uniform(1, 5),
            "dropout": draw.random(),
            "depth": draw.choice([2, 3, None]),
            "seed": at,
        }
        for at in range(200)
    ]
    with TaskGroup("digits", "sweep", metrics=["a", "b", "c", "d", "e"]) as group:
        for task in group.tasks(space):
            task.report({metric: draw.random() for metric in "abcde"}, 999, split="val")
    iterations = tuple(range(1000))

    def curves(_: Reader, rows: Sequence[Row], metric_keys: Sequence[MetricKey]) -> Any:
        for row in rows:
            for metric_key in metric_keys:
                noise = tuple(math.exp(-at / 300) + draw.gauss(0, 0.1) for at in iterations)
                yield metric_key, Curve(row, iterations, noise)

    monkeypatch.setattr(Reader, "curves_of", curves)
    text, page = written(group.results(), tmp_path)
    assert len(text.encode()) < 6_000_000
    assert len(page.tables["all tasks"]) == 201
    lines = [trace for trace in figures_in(text)[0][0]["data"] if trace["x"] != [None]]
    assert len(lines) == 200
    assert {len(line["x"]) for line in lines} == {120}


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
def test_without_a_package(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without plotly or Jinja2, the error says what to install, and no file is begun."""
    results = swept()
    written(results, tmp_path)  # what is kept of an earlier report must not hide it
    (tmp_path / "report.html").unlink()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"save_html\(\) needs {package}.*\[figures\]"):
        results.save_html(tmp_path / "report.html")
    assert list(tmp_path.glob("*.html")) == []
