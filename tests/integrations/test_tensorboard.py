"""`task.summary_writer()`: the calls of TensorBoard's writer, under the template's names."""

from __future__ import annotations

import inspect
import sys
import types
import warnings
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clearml_taskgroup import GroupTask, Metric
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
from clearml_taskgroup.integrations import _media
from clearml_taskgroup.integrations.tensorboard import _NO_PLACE, SummaryWriter
from clearml_taskgroup.testing import MemoryStore, MemoryTask
from tests.integrations.conftest import Opener
from tests.support.clearml_process import run


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
    """Graphs and the like are taken by every task, and told once for the group."""
    task = open_task()
    other = task.group.task({"C": 2})
    with pytest.warns(LeftOutWarning, match=r"left out of the group's tasks: 'add_graph\(\)'"):
        task.summary_writer().add_graph("model", verbose=True)
    other.summary_writer().add_graph("model")
    with pytest.warns(LeftOutWarning, match=r"add_embedding\(\)'; ClearML has no projector; add_tensor"):
        task.summary_writer().add_embedding(np.zeros((2, 3)), tag="tag")
    with pytest.warns(LeftOutWarning, match=r"add_custom_scalars\(\)'; .* titles"):
        task.summary_writer().add_custom_scalars({})
    with pytest.warns(
        LeftOutWarning, match=r"'export_scalars_to_json\(\)'; group\.results\(\) has the values"
    ):
        task.summary_writer().export_scalars_to_json("all.json")
    with pytest.raises(AttributeError, match="no attribute 'file_writer'; this writer has no event files"):
        task.summary_writer().file_writer  # noqa: B018
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
    image = _media.to_pixels(np.full(shape, 0.5), formats)
    assert (image.shape, image.dtype, int(image.max())) == (expected, np.uint8, 127)
    assert _media.to_pixels(np.full(shape, 2.0), formats).max() == 255
    assert _media.to_pixels(np.full(shape, 7, np.int64), formats).max() == 7
    with pytest.raises(ArgumentError, match="dataformats"):
        _media.to_pixels(np.zeros((2, 2)), "CHW")


def test_images_lose_their_opacity() -> None:
    """ClearML writes JPEG: what can be seen through becomes white."""
    image = np.full((4, 2, 2), 0.5)
    image[3] = [[0, 1], [1, 0.5]]
    found = _media.to_pixels(image, "CHW")
    assert (found.shape, found[:, :, 0].tolist()) == ((2, 2, 3), [[255, 127], [127, 191]])


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
        sound = np.sin(np.arange(800) / 8)
        writer.add_audio("sound/val", sound[None], 6, sample_rate=8000)
        writer.add_video("clip/val", np.linspace(0, 1, 3 * 64).reshape(1, 3, 1, 8, 8), 7, fps=10)
        writer.add_pr_curve("pr/val", np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.4, 0.6]), 8, 5)
        writer.add_pr_curve_raw("pr", [2, 1], [2, 0], [0, 2], [0, 1], [0.5, 1.0], [1.0, 0.5], 8)
        writer.add_histogram_raw("raw/val", 0.0, 2.0, 3, 4.0, 6.0, [1.0, 2.0], [1, 2], 9)
        picture, boxes = np.zeros((3, 9, 9), np.uint8), [[1, 1, 5, 5]]
        writer.add_image_with_boxes("boxes/val", picture, boxes, 10, labels=["a"])
        corners, white = np.eye(3)[None], np.full((1, 3, 3), 255)
        writer.add_mesh("mesh/val", corners, white, np.array([[[0, 1, 2]]]), None, 11)
        writer.add_mesh("points/val", np.zeros((2, 4, 3)), global_step=11)
        writer.add_tensor("weights", np.arange(3), 12)
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
import wave
from PIL import Image
media = {path.suffix: path for path in (session(task) / "data").rglob("*.*")}
with wave.open(str(media[".wav"])) as file:
    heard = np.frombuffer(file.readframes(800), "<i2")
    wav = [file.getnchannels(), file.getframerate(), bool(np.allclose(heard / 32767, sound, atol=1e-4))]
gif = Image.open(media[".gif"])
give({
    "bars": bars, "images": images, "lr": lr, "logdir": logdir, "plots": [plot[:3] for plot in plots],
    "drawn": {name[0] + " " + name[1]: plot for *name, plot in plots}, "wav": wav,
    "gif": [gif.n_frames, gif.size, gif.info["duration"], gif.info["loop"]],
    "artifacts": [one["key"] for one in data["execution"]["artifacts"]],
})
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
        ["sound", "val", 6],
        ["clip", "val", 7],
        ["boxes", "val", 10],
    ]
    assert (done.result["lr"], done.result["logdir"]) == ("0.1", True)
    assert done.result["wav"] == [1, 8000, True]
    assert done.result["gif"] == [3, [8, 8], 100, 0]
    assert done.result["artifacts"] == ["weights 12"]
    drawn = done.result["drawn"]
    for curve in (drawn["pr val"], drawn["pr value"]):
        axes = [curve["layout"][axis]["title"] for axis in ("xaxis", "yaxis")]
        assert [one["text"] if isinstance(one, dict) else one for one in axes] == ["recall", "precision"]
    assert (drawn["pr value"]["data"][0]["x"], drawn["pr value"]["data"][0]["y"]) == ([1.0, 0.5], [0.5, 1.0])
    assert drawn["raw val"]["data"][0]["y"] == [1, 2]
    (triangle,) = drawn["mesh val"]["data"]
    assert (triangle["type"], triangle["i"], triangle["vertexcolor"][0]) == (
        "mesh3d",
        [0],
        "rgb(255,255,255)",
    )
    assert [drawn[f"points val {place}"]["data"][0]["type"] for place in (0, 1)] == ["scatter3d"] * 2
    assert all(isinstance(plot["layout"]["title"], (str, dict)) for plot in drawn.values())


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


@pytest.mark.frameworks
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


def test_sounds_and_videos_of_other_shapes() -> None:
    """Channels on either side, integers of 16 bits, values that are too large; videos in a grid."""

    def heard(sound: Any) -> tuple[int, list[int]]:
        with wave.open(_media.to_wav(np.asarray(sound), 100)) as file:
            return file.getnchannels(), np.frombuffer(file.readframes(9), "<i2").tolist()

    assert heard([0.0, 2.0, -2.0, float("nan")]) == (1, [0, 32767, -32767, 0])
    assert heard(np.array([[1, 2, 3], [4, 5, 6]], np.int16)) == (2, [1, 4, 2, 5, 3, 6])
    assert heard(np.array([[1, 4], [2, 5], [3, 6]], np.int16)) == (2, [1, 4, 2, 5, 3, 6])
    assert heard(0.5) == (1, [16383])
    for odd in (np.zeros((20, 30)), np.zeros((2, 3, 4)), np.zeros(0)):
        with pytest.raises(ArgumentError, match="snd_tensor"):
            heard(odd)
    for number, size in ((3, (24, 4)), (4, (12, 8))):
        video = np.zeros((number, 2, 3, 4, 6), np.uint8)
        assert Image.open(_media.to_gif(video, 4, "NTCHW")).size == size
    assert Image.open(_media.to_gif(np.zeros((1, 2, 4, 6, 3)), 4, "nthwc")).size == (6, 4)
    with pytest.raises(ArgumentError, match="vid_tensor"):
        _media.to_gif(np.zeros((2, 3, 4, 6)), 4, "NTCHW")
    with pytest.raises(ArgumentError, match=r"vid_tensor=.* 1, 3 or 4 colours"):
        _media.to_gif(np.zeros((1, 2, 5, 4, 6)), 4, "NTCHW")
    with pytest.raises(ArgumentError, match=r"img_tensor=\(4, 6, 2\) was given; expected 1, 3 or 4 colours"):
        _media.to_pixels(np.zeros((2, 4, 6)), "CHW")
    with pytest.raises(ArgumentError, match="fps"):
        _media.to_gif(np.zeros((1, 2, 3, 4, 6)), 0, "NTCHW")


ORIGINALS = ["torch.utils.tensorboard", "tensorboardX"]


def original_of(module: str) -> Any:
    """A real `SummaryWriter`, where it is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(module, reason=f"needs {module}").SummaryWriter


@pytest.mark.frameworks
@pytest.mark.parametrize("module", ORIGINALS)
def test_the_calls_are_those_of_the_original(open_task: Opener, module: str) -> None:
    """Every call of a real `SummaryWriter` is taken, with its own parameters in its own order."""
    original = original_of(module)
    writer = open_task().summary_writer()
    left_out = set()
    for name, call in inspect.getmembers(original, inspect.isfunction):
        if name.startswith("_") or name == "use_metadata":
            continue
        if name not in vars(SummaryWriter):
            left_out.add(name)
            continue
        theirs = [*inspect.signature(call).parameters][1:]
        ours = [*inspect.signature(getattr(writer, name)).parameters]
        if module == "tensorboardX":  # its own parameters stand behind those of torch
            assert {*theirs} - {"kwargs"} <= {*ours}, name
        else:
            assert ours[: len(theirs)] == theirs, name
    of_x = {"add_openvino_graph", "export_scalars_to_json"}
    assert left_out == set(_NO_PLACE) - (of_x if module != "tensorboardX" else set())


@pytest.mark.frameworks
@pytest.mark.parametrize("weighted", [False, True])
def test_precision_and_recall_are_those_of_tensorboard(weighted: bool) -> None:
    original_of("torch.utils.tensorboard")
    from torch.utils.tensorboard.summary import compute_curve

    random = np.random.default_rng(0)
    labels, predictions = random.integers(0, 2, 300), random.random(300)
    weights = random.random(300) if weighted else None
    theirs = compute_curve(labels, predictions, 50, weights)
    found, wrong, precision, recall = _media.pr_curve(labels, predictions, 50, weights)
    assert np.allclose((found, wrong, precision, recall), theirs[[0, 1, 4, 5]])


@pytest.mark.frameworks
def test_tensors_on_any_device_and_of_any_type() -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    for tensor in (torch.ones(2, requires_grad=True), torch.ones(2, dtype=torch.bfloat16)):
        assert _media.as_array(tensor).tolist() == [1.0, 1.0]


def test_a_call_that_no_writer_has(open_task: Opener) -> None:
    """A name that is spelt wrongly is an error, not a call that is left out."""
    with pytest.raises(AttributeError, match=r"no attribute 'add_scaler' \(did you mean 'add_scalar'\?\)"):
        open_task().summary_writer().add_scaler("lr", 0.1)


def test_folders_and_other_arguments_of_tensorboards(open_task: Opener) -> None:
    task = open_task()
    for one in (task, task.bind()):
        for args, kwargs in ((["runs/x"], {}), ([], {"log_dir": "runs"}), ([], {"log_dir": None})):
            with pytest.raises(ArgumentError, match=r"log_dir=.*no folder .* summary_writer\(\) logs to the"):
                one.summary_writer(*args, **kwargs)
        with pytest.raises(ArgumentError, match="flush_secs=5 was given"):
            one.summary_writer(flush_secs=5)  # type: ignore[arg-type]


def test_the_writer_of_a_bound_task(open_task: Opener, backend: MemoryStore) -> None:
    """What is bound stays."""
    task = open_task()
    task.bind(split="val").summary_writer().add_scalar("loss", 0.5, 1)
    assert held(task, backend).scalars == {("loss", "val"): [(1, 0.5)]}


@pytest.mark.parametrize(("close", "has_pyplot"), [(True, True), (False, True), (True, False)])
def test_figures_are_closed(
    close: bool, has_pyplot: bool, open_task: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TensorBoard does it, unless that is not wanted, or nobody has drawn with pyplot."""
    closed: list[object] = []
    pyplot = types.SimpleNamespace(close=closed.append) if has_pyplot else None
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
    figures = [object(), object()]
    open_task().summary_writer().add_figure("a", figures, 1, close=close)
    assert closed == (figures if close and has_pyplot else [])
