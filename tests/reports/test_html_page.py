"""The page: it loads nothing, and takes every name as text."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import jinja2
import markupsafe
import pytest

from clearml_taskgroup import Metric, Results, TaskGroup
from clearml_taskgroup._model.metrics import ByMetric, MetricKey
from clearml_taskgroup._model.vocabulary import Vocabulary
from clearml_taskgroup._reports.html_page import MIN_SHARED_CHARS, Packed, _template
from clearml_taskgroup._results.history import Reader
from clearml_taskgroup._results.rows import Curve, Row
from clearml_taskgroup._text import printable
from clearml_taskgroup.errors import MissingExtraError
from clearml_taskgroup.testing import recording
from tests.support.report_page import (
    Page,
    data_in,
    details_in,
    figures_in,
    swept,
    written,
)

pytestmark = pytest.mark.usefixtures("backend")


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


def unpacked(packed: Packed) -> Any:
    data = zlib.decompress(base64.b64decode(packed.text), wbits=-15)
    assert len(data) == packed.size
    return json.loads(data)


def test_texts_of_figures_are_packed_once() -> None:
    """Long ones, wherever they are; lists of numbers stay as they are."""
    long, short = "x" * MIN_SHARED_CHARS, "y" * (MIN_SHARED_CHARS - 1)
    figures = [{"a": [long, short, long], "b": (1, long), "c": [], "d": {"e": [None, "z" * 99]}}]
    assert unpacked(Packed.figures(figures)) == {
        "figures": [
            {"a": [{"$": 0}, short, {"$": 0}], "b": [1, long], "c": [], "d": {"e": [None, {"$": 1}]}}
        ],
        "texts": [long, "z" * 99],
    }


def test_what_is_no_number_cannot_be_packed() -> None:
    assert unpacked(Packed.json({"a": [1.5, None]})) == {"a": [1.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        Packed.json(float("nan"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("optimizer.learning_rate", "optimizer.<wbr>learning_<wbr>rate"),
        ("a/b-c,d[split=val]", "a/<wbr>b-<wbr>c,<wbr>d<wbr>[split=val]"),
        ("C=0.1", "C=0.<wbr>1"),
        ("a. b", "a. b"),
        ("a<b", "a&lt;b"),
        ("a\x1bb", "a\\x1bb"),
        ("a\x1b \n b", "a\\x1b \n b"),
    ],
)
def test_names_may_break(name: str, shown: str) -> None:
    """After a separator within a name; what cannot be seen is shown, but white space is not."""
    environment = _template(jinja2, markupsafe.Markup).environment
    assert environment.from_string("{{ name | breakable }}").render(name=name) == shown
