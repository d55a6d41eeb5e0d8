"""`task.metric(…)` logs what ClearML's own logger logs, offline and on a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loopback import LoopbackServer
from tests.support.clearml_process import run

CALLS = """
import io
import numpy as np
from clearml import Logger
from PIL import Image
from clearml_taskgroup import TaskGroup

table = open("table.csv", "w")
table.write("a,b\\n1,2\\n")
table.close()
matrix, layout = np.arange(6.0).reshape(2, 3), {"width": 300}
axes = {"xaxis": "x", "yaxis": "y", "extra_layout": layout}
names = {"xlabels": ["a", "b", "c"], "ylabels": ["d", "e"]}
plots = {
    "report_vector": dict(values=[1.0, 2.0], labels=["one"], xlabels=["a", "b"], mode="stack", **axes),
    "report_histogram": dict(values=[1, 2], xlabels=["a", "b"], data_args={"width": 0.5}, **axes),
    "report_table": dict(table_plot=[["a"], [1]], extra_layout=layout, extra_data={"columnwidth": [1]}),
    "report_scatter2d": dict(scatter=matrix.T, labels=["a", "b", "c"], mode="markers", comment="c", **axes),
    "report_scatter3d": dict(scatter=matrix, zaxis="z", labels=["a", "b"], mode="lines", comment="c", **axes),
    "report_confusion_matrix": dict(matrix=matrix, yaxis_reversed=True, comment="c", **names, **axes),
    "report_surface": dict(matrix=matrix, zaxis="z", camera=(1, 2, 3), comment="c", **names, **axes),
    "report_plotly": dict(figure={"data": [{"type": "bar", "y": [1, 2]}], "layout": {"title": "t"}}),
}
media = {
    "report_image": dict(image=np.zeros((4, 5, 3), np.uint8), max_image_history=-1),
    "report_media": dict(local_path="table.csv"),
}
lines = [Logger.SeriesInfo(name="a", data=matrix.T), {"name": "b", "data": [[1, 2]]}]

with TaskGroup("project", "group", provenance=False, template="{metric}/{split}") as group:
    ours, theirs = group.tasks({"C": [1, 2]})
    for place, (call, arguments) in enumerate({**plots, **media}.items()):
        getattr(ours.metric(call, split="val"), call)(iteration=place, **arguments)
        getattr(theirs.logger, call)(title=call, series="val", iteration=place, **arguments)
    for split in ("train", "val"):
        plot = ours.bind(split=split).metric("lines")
        plot.report_line_plot(lines, "x", "y", iteration=3, comment="of " + split)
    ours.metric("sound", split="val").report_media(4, stream=io.BytesIO(b"sound"), file_extension=".wav")
give(END)
"""


def drawn(events: list[dict[str, object]]) -> dict[tuple[object, ...], object]:
    """The plots among events, by title, series and iteration."""
    return {
        (one["metric"], one["variant"], one["iter"]): one["plot_str"]
        for one in events
        if one.get("plot_str") is not None
    }


def uploaded(events: list[dict[str, object]]) -> set[tuple[object, ...]]:
    return {(one["metric"], one["variant"], one["iter"]) for one in events if one.get("url")}


@pytest.mark.quick(1)
@pytest.mark.parametrize("online", [False, True], ids=["offline", "online"])
def test_each_call_logs_what_clearmls_own_does(online: bool, tmp_path: Path) -> None:
    """The same plots and files; only line plots have a series, so that those of two splits are both kept."""
    if online:
        with LoopbackServer() as server:
            done = run(CALLS.replace("END", "[ours.id, theirs.id]"), tmp_path, env=server.environment())
            ours, theirs = ([*server.plots(one), *server.images(one)] for one in done.result)
    else:
        script = CALLS.replace("END", '[told(session(one) / "metrics.jsonl") for one in (ours, theirs)]')
        done = run(script, tmp_path, env={"CLEARML_OFFLINE_MODE": "1"})
        ours, theirs = done.result
    assert done.trouble == []
    own = drawn(ours)
    lines = {name: own.pop(name) for name in list(own) if name[0] == "lines"}
    assert own == drawn(theirs)
    assert len(own) == 8
    assert set(lines) == {("lines", "train", 3), ("lines", "val", 3)}
    assert "of train" in str(lines["lines", "train", 3])
    assert uploaded(ours) - uploaded(theirs) == {("sound", "val", 4)}
    assert {name for name, *_ in uploaded(theirs)} == {"report_image", "report_media"}
