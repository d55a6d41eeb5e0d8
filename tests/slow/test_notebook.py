"""Notebooks: progress and tables as a real kernel shows them."""

from __future__ import annotations

from typing import Any

import pytest

CELL = """
from clearml_taskgroup import TaskGroup
group = TaskGroup("digits", "in a notebook", mode="offline", provenance=False).open()
for task in group.sweep({"C": [1, 2, 3]}, progress=True):
    with task:
        task.report({"accuracy": task.params["C"] / 4}, 1, split="val")
group.close()
group.results()
"""


@pytest.mark.slow
def test_a_notebook_shows_progress_and_results() -> None:
    """A cell has one output for the progress, in its last state, and the results as a table."""
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
    nbformat: Any = pytest.importorskip("nbformat")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    outputs = book.cells[0].outputs
    pages = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(pages) == 2
    assert '<progress value="3" max="3"></progress> 3 done, 0 failed, 0 left' in pages[0]
    assert "best accuracy[split=val] 0.75 (C=3)" in pages[0]
    assert "<td>C=3</td><td>completed</td><td>0.75</td>" in pages[1]
    assert [output for output in outputs if output.get("name") == "stderr"] == []
