"""`task.summary_writer()`: the calls of TensorBoard's writer, under the template's names."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import GroupTask, Metric, TaskGroup
from clearml_taskgroup.errors import (
    ArgumentError,
    LeftOutWarning,
    MetricValueError,
    NameCollisionError,
    ParameterError,
    TaskClosedError,
    UnknownFieldError,
    UnknownMetricError,
)
from clearml_taskgroup.integrations.tensorboard import SummaryWriter, _image
from clearml_taskgroup.testing import MemoryStore, MemoryTask, recording
from tests.support.clearml_process import run


@pytest.fixture
def backend() -> Iterator[MemoryStore]:
    """Keeps in memory what the test's groups log."""
    with recording() as recorded:
        yield recorded


Opener = Callable[..., GroupTask]


@pytest.fixture
def open_task(backend: MemoryStore) -> Iterator[Opener]:
    """Opens groups with a task in each, and closes them at the end."""
    groups: list[TaskGroup] = []

    def opened(template: str = "{metric}/{split=value}", **options: Any) -> GroupTask:
        groups.append(TaskGroup("digits", "sweep", template=template, **options).open())
        return groups[-1].task({"C": 1})

    yield opened
    for group in groups:
        group.close()


def held(task: GroupTask, backend: MemoryStore) -> MemoryTask:
    """What the store holds of a task."""
    task.flush()
    return backend.tasks[task.id]


def placed(task: GroupTask, backend: MemoryStore, *tags: str, context: str | None = None) -> list[Any]:
    """Title and series of tags, in the order of reporting."""
    writer = task.summary_writer(context)
    for step, tag in enumerate(tags):
        writer.add_scalar(tag, 1.0, step)
    scalars = held(task, backend).scalars
    return [name for step in range(len(tags)) for name, points in scalars.items() if (step, 1.0) in points]


def test_a_tag_names_metric_and_split(open_task: Opener, backend: MemoryStore) -> None:
    """`loss/train` and `train/loss` are the metric `loss`; a tag without a split is a metric as it is."""
    tags = ("loss/train", "val/loss", "lr", "layer1/weight", "deep/acc/test", "train_loss")
    assert placed(open_task(), backend, *tags) == [
        ("loss", "train"),
        ("loss", "val"),
        ("lr", "value"),
        ("layer1/weight", "value"),
        ("deep/acc", "test"),
        ("train_loss", "value"),
    ]


def test_the_last_part_is_the_field_that_is_asked_for(open_task: Opener, backend: MemoryStore) -> None:
    """With `context=`, whatever stands behind a tag's last `/` fills that field in."""
    task = open_task("{metric}/{layer}")
    tags = ("grad/conv1", "a/b/c", "lr", "odd/", "/odd")
    assert placed(task, backend, *tags, context="layer") == [
        ("grad", "conv1"),
        ("a/b", "c"),
        ("lr", "value"),
        ("odd/", "value"),
        ("/odd", "value"),
    ]


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        (("loss/train", "train/loss"), [("loss", "train"), ("train/loss", "value")]),
        (("train/loss", "loss/train"), [("loss", "train"), ("loss/train", "value")]),
    ],
)
def test_no_two_tags_share_a_curve(
    open_task: Opener, backend: MemoryStore, tags: tuple[str, ...], names: list[Any]
) -> None:
    """A tag that would get the name of another one keeps its full text."""
    assert placed(open_task(), backend, *tags) == names


def test_a_tag_that_reads_as_the_default(open_task: Opener, backend: MemoryStore) -> None:
    """`lr` and `lr/value` are two curves, whichever comes first."""
    assert placed(open_task(), backend, "lr", "lr/value", context="split") == [
        ("lr", "value"),
        ("lr/value", "value"),
    ]


def test_tags_that_cannot_be_told_apart_are_an_error(open_task: Opener, backend: MemoryStore) -> None:
    """Where no name is left for a tag, it is an error that shows both tags."""
    task = open_task()
    writer = task.summary_writer("split")
    writer.add_scalar("a/value", 1.0, 1)
    writer.add_scalar("a/value/value", 1.0, 1)
    with pytest.raises(NameCollisionError, match="'a/value' and 'a'"):
        writer.add_scalar("a", 1.0, 1)


def test_a_template_without_a_split(open_task: Opener, backend: MemoryStore) -> None:
    """Where the template has no such field, tags are metrics as they are."""
    assert placed(open_task("{metric}"), backend, "loss/train", "train/loss") == [
        ("loss/train", "loss/train"),
        ("train/loss", "train/loss"),
    ]
    with pytest.raises(UnknownFieldError):
        open_task("{metric}").summary_writer("split")


def test_numbers_of_any_kind(open_task: Opener, backend: MemoryStore) -> None:
    """Python's and numpy's numbers are reported, without a step as single values; text is an error."""
    task = open_task()
    with task.summary_writer() as writer:
        writer.add_scalar("loss/train", np.float32(0.5), np.int64(3), 1e9, new_style=True)
        writer.add_scalar("loss/train", 0.25)
        with pytest.raises(MetricValueError):
            writer.add_scalar("loss/train", "much", 1)
    writer.flush()
    assert held(task, backend).scalars == {("loss", "train"): [(3, 0.5)]}
    assert held(task, backend).single_values == {"loss/train": 0.25}


def test_the_writer_ends_nothing(open_task: Opener, backend: MemoryStore) -> None:
    """Closing the writer, or its block, leaves the task open, and the writer too."""
    task = open_task()
    with task.summary_writer() as writer:
        writer.add_scalar("a", 1.0, 0)
    writer.close()
    assert task.status == "in_progress"
    writer.add_scalar("a", 2.0, 1)
    assert held(task, backend).scalars == {("a", "value"): [(0, 1.0), (1, 2.0)]}
    task.mark_completed()
    with pytest.raises(TaskClosedError):
        writer.add_scalar("a", 3.0, 2)
    with pytest.raises(TaskClosedError):
        writer.add_text("a", "words", 2)


def test_several_scalars_in_one_plot(open_task: Opener, backend: MemoryStore) -> None:
    """`add_scalars` gives one plot, whatever its keys; without a split its keys go into the metric."""
    task, other = open_task(), open_task("{metric}")
    for one in (task, other):
        one.summary_writer().add_scalars("waves", {"sin": 0.5, "cos": 0.25}, 7)
        one.summary_writer().add_scalar("waves/sin", 0.75, 8)
    assert held(task, backend).scalars == {
        ("waves", "sin"): [(7, 0.5)],
        ("waves", "cos"): [(7, 0.25)],
        ("waves/sin", "value"): [(8, 0.75)],
    }
    assert set(held(other, backend).scalars) == {("waves/sin", "waves/sin"), ("waves/cos", "waves/cos")}


def test_hyperparameters(open_task: Opener, backend: MemoryStore) -> None:
    """`add_hparams` sets parameters and reports numbers; an identity cannot be changed by it."""
    task = open_task()
    writer = task.summary_writer()
    writer.add_hparams({"C": 1, "lr": 0.1}, {"hparam/accuracy": 0.9})
    assert task.params == {"C": 1, "lr": 0.1}
    assert held(task, backend).single_values == {"hparam/accuracy/value": 0.9}
    with pytest.raises(ParameterError):
        writer.add_hparams({"C": 2}, {})


def test_text_goes_to_the_console(open_task: Opener, backend: MemoryStore) -> None:
    """Text stands in the task's console behind its tag and step."""
    task = open_task()
    task.summary_writer().add_text("notes", "a *word*", 3)
    task.summary_writer().add_text("notes", "another")
    assert held(task, backend).console == "notes [3]: a *word*\nnotes: another"


def test_what_has_no_place_is_told_once(open_task: Opener, backend: MemoryStore) -> None:
    """Graphs, sound and the like are taken by every task, and told once for the group."""
    task = open_task()
    other = task.group.task({"C": 2})
    with pytest.warns(LeftOutWarning, match=r"left out of the group's tasks: 'add_graph\(\)'"):
        task.summary_writer().add_graph("model", verbose=True)
    other.summary_writer().add_graph("model")
    with pytest.warns(LeftOutWarning, match="add_audio"):
        task.summary_writer().add_audio("tag", [0.0], 1, sample_rate=8000)
    with pytest.raises(AttributeError, match="'SummaryWriter' object has no attribute 'ad_scalar'"):
        task.summary_writer().ad_scalar  # noqa: B018


def test_a_vocabulary_has_its_say(open_task: Opener, backend: MemoryStore) -> None:
    """Known metrics and aliases are reported; an unknown one is an error, as for `task.report`."""
    metrics = ["loss", Metric("accuracy", aliases={"Acc/valid": {"split": "val"}})]
    task = open_task("{metric}/{split}", metrics=metrics)
    writer = task.summary_writer()
    writer.add_scalar("loss/train", 0.5, 1)
    writer.add_scalar("Acc/valid", 0.75, 1)
    writer.add_scalar("loss", 0.25, 1)
    with pytest.raises(UnknownMetricError, match=r"'los' .* did you mean 'loss'"):
        writer.add_scalar("los/train", 0.5, 1)
    assert set(held(task, backend).scalars) == {("loss", "train"), ("accuracy", "val"), ("loss", "value")}


def test_a_bound_view(open_task: Opener, backend: MemoryStore) -> None:
    """A writer of `task.bind(…)` fills in what is bound; a tag's own split goes before it."""
    task = open_task("{metric}/{fold} {split}")
    writer = SummaryWriter(task.bind(fold=2))
    writer.add_scalar("loss/val", 0.5, 1)
    fixed = SummaryWriter(task.bind(fold=3, split="val"))
    fixed.add_scalar("loss", 0.5, 1)
    assert set(held(task, backend).scalars) == {("loss", "2 val"), ("loss", "3 val")}


@pytest.mark.parametrize(
    ("shape", "formats", "expected"),
    [
        ((3, 4, 5), "CHW", (4, 5, 3)),
        ((4, 5, 3), "HWC", (4, 5, 3)),
        ((5, 4, 3), "whc", (4, 5, 3)),
        ((1, 4, 5), "CHW", (4, 5)),
        ((4, 5), "HW", (4, 5)),
    ],
)
def test_images_are_brought_into_form(
    shape: tuple[int, ...], formats: str, expected: tuple[int, ...]
) -> None:
    """Any order of dimensions becomes rows, columns and colours; floats are scaled and cut."""
    image = _image(np.full(shape, 0.5), formats)
    assert (image.shape, image.dtype, int(image.max())) == (expected, np.uint8, 127)
    assert _image(np.full(shape, 2.0), formats).max() == 255
    assert _image(np.full(shape, 7, np.int64), formats).max() == 7
    with pytest.raises(ArgumentError, match="dataformats"):
        _image(np.zeros((2, 2)), "CHW")


REAL = """
import numpy as np
from clearml_taskgroup import TaskGroup

template = "{metric}/{split}"
with TaskGroup("project", "group", mode="offline", provenance=False, template=template) as group:
    with group.task({"C": 1}) as task:
        writer = task.summary_writer()
        writer.add_scalar("loss/train", 0.5, 1)
        writer.add_histogram("weights/train", np.array([0.0, 0.0, 1.0, np.nan]), 3, bins=2)
        writer.add_histogram("weights/val", range(1000), 3)
        writer.add_image("digits/val", np.zeros((3, 8, 8)), 4)
        writer.add_images("batch", np.zeros((2, 1, 8, 8), np.uint8), 5)
        writer.add_hparams({"lr": 0.1}, {})
        FIGURE
        logdir = writer.log_dir == writer.get_logdir() == task.url
events = told(session(task) / "metrics.jsonl")
def named(e):
    return [e["metric"], e["variant"], e["iter"]]
plots = [(*named(e), json.loads(e["plot_str"])) for e in events if e["type"] == "plot"]
images = [named(e) for e in events if "url" in e]
data = json.loads((session(task) / "task.json").read_text())
lr = data["hyperparams"]["General"]["lr"]["value"]
bars = [(*name, [sum(d["y"]) for d in plot["data"]]) for *name, plot in plots if name[0] == "weights"]
give({"bars": bars, "images": images, "lr": lr, "logdir": logdir, "plots": [plot[:3] for plot in plots]})
"""


def test_everything_else_goes_to_clearmls_logger(tmp_path: Path) -> None:
    """Histograms and images are in the real session, under the template's names."""
    done = run(REAL.replace("FIGURE", ""), tmp_path)
    assert done.trouble == []
    assert done.result["bars"] == [["weights", "train", 3, [3]], ["weights", "val", 3, [1000]]]
    assert done.result["images"] == [
        ["digits", "val", 4],
        ["batch", "value 0", 5],
        ["batch", "value 1", 5],
    ]
    assert (done.result["lr"], done.result["logdir"]) == ("0.1", True)


FIGURE = """
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot
        figures = [pyplot.figure(), pyplot.figure()]
        for figure in figures:
            figure.gca().plot([1, 2, 3])
        writer.add_figure("curve/val", figures[0], 6, close=False)
        assert len(pyplot.get_fignums()) == 2
        writer.add_figure("curves/val", figures, 6)
        assert pyplot.get_fignums() == []
"""


def test_figures(tmp_path: Path) -> None:
    """Figures of matplotlib are plots, and are closed unless that is not wanted."""
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    done = run(REAL.replace("FIGURE", FIGURE.strip()), tmp_path)
    found = done.result["plots"] + done.result["images"]
    assert {tuple(name) for name in found} >= {
        ("curve", "val", 6),
        ("curves", "val 0", 6),
        ("curves", "val 1", 6),
    }


def test_the_calls_are_those_of_the_original(open_task: Opener) -> None:
    """Every call of torch's `SummaryWriter` is taken, with its own parameters in its own order."""
    pytest.importorskip("tensorboard", reason="needs tensorboard and torch, which CI does not install")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        original = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    writer = open_task().summary_writer()
    for name, call in inspect.getmembers(original, inspect.isfunction):
        if name.startswith("_"):
            continue
        ours = getattr(writer, name)
        if name in vars(SummaryWriter):
            assert list(inspect.signature(ours).parameters) == [*inspect.signature(call).parameters][1:]
        else:
            assert name.startswith("add_")
