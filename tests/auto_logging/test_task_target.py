"""What a task takes of the bindings: names, values that cannot be stored, errors that are never raised."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from clearml_taskgroup import GroupTask, Metric, TaskGroup
from clearml_taskgroup._auto_logging.task_target import TaskTarget, _key_of_add_scalars
from clearml_taskgroup._model.frameworks import checked_frameworks
from clearml_taskgroup._model.specs import ForeignStatus
from clearml_taskgroup._run.state import Abort
from clearml_taskgroup.errors import LeftOutWarning, NameWarning, NonFiniteWarning, TaskAbortedError
from clearml_taskgroup.testing import MemoryStore, recording


@attrs.frozen
class Opened:
    """A task, and what a binding gives it."""

    task: GroupTask
    target: TaskTarget
    backend: MemoryStore

    def put(self, tag: str, value: float = 1.0, step: int = 1, logdir: str = "runs/a") -> None:
        title, _, series = tag.rpartition("/")
        self.target.put_scalar(logdir, tag, (title or tag, series), step, value)

    @property
    def scalars(self) -> dict[tuple[str, str], list[tuple[int, float]]]:
        self.task.flush()
        return self.backend.members[0].scalars


@pytest.fixture
def opened() -> Iterator[Callable[..., Opened]]:
    """Opens a group with one task."""
    groups = []

    with recording() as backend:

        def open_one(**options: Any) -> Opened:
            groups.append(TaskGroup("digits", "sweep", **options).open())
            frameworks = checked_frameworks(True)
            assert frameworks is not None
            task = groups[-1].task({"C": 1})
            return Opened(task, TaskTarget(task, frameworks), backend)

        yield open_one
        for group in groups:
            group.close()


def test_tags_are_read_as_by_the_summary_writer(opened: Callable[..., Opened]) -> None:
    """A split is the first or the last part of a tag; an alias is a metric of the vocabulary."""
    one = opened(metrics=["loss", Metric("accuracy", aliases={"acc": {}})])
    for tag in ("loss/train", "val/loss", "acc"):
        one.put(tag)
    expected = {("loss", "train"): [(1, 1.0)], ("loss", "val"): [(1, 1.0)], ("accuracy", "value"): [(1, 1.0)]}
    assert one.scalars == expected


def test_the_folder_of_a_writer_is_the_split(opened: Callable[..., Opened]) -> None:
    """As those of Keras, `train` and `validation`, with the same tags; a tag's own split is preferred."""
    one = opened()
    one.put("epoch_loss", 1.0, logdir="logs/train")
    one.put("epoch_loss", 2.0, logdir="logs\\validation\\")
    one.put("loss/test", 3.0, logdir="logs/train")
    assert set(one.scalars) == {("epoch_loss", "train"), ("epoch_loss", "validation"), ("loss", "test")}


def test_the_numbers_of_add_scalars(opened: Callable[..., Opened]) -> None:
    """Torch and tensorboardX have a writer for each number, whose folder has its name."""
    one = opened()
    one.put("acc/all", 1.0, logdir="runs/a/acc_all_train")
    one.put("acc/all", 2.0, logdir="runs/a/acc/all/own")
    one.put("of_all", 3.0, logdir="runs/a/of all/a part")
    assert one.scalars == {
        ("acc/all", "train"): [(1, 1.0)],
        ("acc/all", "own"): [(1, 2.0)],
        ("of_all", "a part"): [(1, 3.0)],
    }


@pytest.mark.parametrize("metric", ["logloss", "ndcg@10", "NDCG:top=10", "map@5-", "mean error"])
def test_the_set_of_an_evaluation_is_the_split(opened: Callable[..., Opened], metric: str) -> None:
    """Whatever the framework calls its sets and metrics."""
    one = opened()
    for at, split in enumerate(("validation_0", "train", "my set")):
        one.target.put_evaluation(split, metric, 1, at)
    assert one.scalars == {
        (metric, split): [(1, at)] for at, split in enumerate(("validation_0", "train", "my set"))
    }


@pytest.mark.parametrize(
    ("options", "tag", "why"),
    [
        ({"metrics": ["loss"]}, "los/train", "did you mean 'loss'"),
        ({"template": "{metric}/{fold}"}, "los/train", "fold"),
    ],
)
def test_what_the_template_cannot_name_keeps_clearmls_name(
    opened: Callable[..., Opened], options: dict[str, Any], tag: str, why: str
) -> None:
    """With one warning; the values arrive."""
    one = opened(**options)
    with pytest.warns(NameWarning, match=f"(?s)'{tag}' as ClearML does.*{why}"):
        one.put(tag, 0.0, 0)
    one.put(tag, 1.0, 1)
    one.put(tag, 2.0, 2)
    assert one.scalars == {("los", "train"): [(step, float(step)) for step in range(3)]}


def test_two_writers_with_one_tag_are_two_curves(opened: Callable[..., Opened]) -> None:
    """The second keeps the name by which ClearML tells them apart."""
    one = opened()
    one.put("loss/a", 1.0)
    with pytest.warns(NameWarning, match="the writer in 'runs/a' has that tag, too"):
        one.target.put_scalar("runs/b", "loss/a", ("loss", "b: a"), 1, 2.0)
    assert one.scalars == {("loss/a", "value"): [(1, 1.0)], ("loss", "b: a"): [(1, 2.0)]}
    assert one.task.group.results().best("loss/a", mode="max").value == 1.0


def test_more_names_than_a_server_keeps(
    opened: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names beyond the limit are ClearML's."""
    monkeypatch.setattr("clearml_taskgroup._run.naming.MAX_NAMES_PER_TASK", 1)
    one = opened()
    one.put("loss")
    with pytest.warns(NameWarning, match="as many as a ClearML server keeps"):
        one.put("more/loss")
    one.put("still/more")  # a second warning would be an error
    assert {("more", "loss"), ("still", "more")} <= one.scalars.keys()


def test_a_cause_that_all_tags_have_is_warned_of_once(opened: Callable[..., Opened]) -> None:
    """A script with 100 tags and a field that nobody gives has one warning, not 100."""
    one = opened(template="{metric}/{fold}")
    with pytest.warns(NameWarning, match="fold"):
        one.put("loss/a")
    one.put("accuracy/a")
    two = opened()
    for tag in ("loss", "accuracy"):
        two.put(tag)
    with pytest.warns(NameWarning, match="has that tag, too"):
        two.target.put_scalar("runs/b", "loss", ("b: loss", "loss"), 1, 2.0)
    two.target.put_scalar("runs/b", "accuracy", ("b: accuracy", "accuracy"), 1, 2.0)
    assert len(one.scalars) == 2
    two.task.flush()
    assert len(two.backend.members[1].scalars) == 4


def test_nan_is_skipped_and_counted(opened: Callable[..., Opened]) -> None:
    """So the task has diverged; also under `nonfinite="raise"` nothing is raised."""
    one = opened()
    one.put("loss", 1.0, 1)
    with pytest.warns(NonFiniteWarning):
        one.put("loss", math.nan, 2)
    assert one.scalars == {("loss", "value"): [(1, 1.0)]}
    assert one.target.last_iteration() == 2
    strict = opened(nonfinite="raise", metrics=["loss"])
    with pytest.warns(NonFiniteWarning):
        strict.put("loss", math.inf)
    strict.put("loss", math.inf)  # a second warning would be an error
    with pytest.warns((NonFiniteWarning, NameWarning)):
        strict.put("other", math.nan)


def test_after_its_end_a_task_takes_nothing(opened: Callable[..., Opened]) -> None:
    """With one warning; what somebody else has aborted is dropped quietly, and its own report raises."""
    one = opened()
    one.task.mark_completed()
    with pytest.warns(LeftOutWarning, match="is completed already"):
        one.put("loss")
    one.target.put_parameters({"lr": 1})
    one.target.clearml_task().get_logger().report_image("a", "b")
    two = opened()
    two.task._state.abort(Abort.of_task(two.task._state, ForeignStatus("stopped", "enough", "stopped")))
    two.put("loss")
    two.target.clearml_task()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TaskTarget, "_is_open", lambda self: True)  # aborted just after that question
        two.put("loss")
        two.target.put_named("loss", "value", 1, 1.0)
    assert not two.task._state.abort_seen
    with pytest.raises(TaskAbortedError):
        two.task.report({"loss": 1.0})


def test_parameters_are_those_of_the_task(opened: Callable[..., Opened]) -> None:
    """Without ClearML's section; one that contradicts the identity is left out with a warning."""
    one = opened()
    one.target.put_parameters({"TB_hparams/lr": 0.1, "TB_hparams/C": 1.0})
    assert one.task.params == {"C": 1, "lr": 0.1}
    with pytest.warns(LeftOutWarning, match="did not take a parameter"):
        one.target.put_parameters({"TB_hparams/C": 2.0, "TB_hparams/batch": 8})
    assert one.task.params == {"C": 1, "lr": 0.1, "batch": 8}


def test_parameters_are_sent_together(opened: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is asked once, not once for each."""
    one, sent = opened(), []
    monkeypatch.setattr(type(one.backend), "set_parameters", lambda self, task, params: sent.append(params))
    one.target.put_parameters({"TB_hparams/lr": 0.1, "TB_hparams/batch": 8, "TB_hparams/C": 1.0})
    assert sent == [{"lr": 0.1, "batch": 8}]


def test_nothing_is_raised_where_warnings_are_errors(opened: Callable[..., Opened]) -> None:
    """They become log lines, and the value arrives."""
    one = opened(metrics=["loss"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.put("other/train")
    assert one.scalars == {("other", "train"): [(1, 1.0)]}


def test_a_clearml_object_that_cannot_be_made_is_replaced(
    opened: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one that does nothing, with a warning: the disk may be full, or the server away."""
    one = opened()
    monkeypatch.setattr(MemoryStore, "clearml_task", lambda self, task_id: 1 / 0)
    with pytest.warns(LeftOutWarning, match="division by zero"):
        assert not one.target.clearml_task()._reporter


def test_clearml_s_object_is_given_as_the_backend_makes_it(
    opened: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time it is asked for."""
    one = opened()
    monkeypatch.setattr(MemoryStore, "clearml_task", lambda self, task_id: f"the object of {task_id}")
    for _ in range(2):
        assert one.target.clearml_task() == f"the object of {one.task.id}"


@pytest.mark.parametrize(
    ("logdir", "tag", "key"),
    [
        ("runs/a/acc_all_train", "acc/all", "train"),
        ("runs/a/acc_all_a part", "acc/all", "a part"),
        ("runs\\a\\acc_all_train", "acc/all", "train"),
        ("runs/a b/acc_x", "acc", "x"),
        ("runs/a/acc_all_", "acc/all", None),
        ("runs/a/acc_all", "acc/all", None),
        ("acc_train", "acc", None),
        ("runs/a/acc/all/own", "acc/all", "own"),
        ("runs/a/acc/all/", "acc/all", None),
        ("acc/own", "acc", None),
        ("runs/a", "acc", None),
    ],
)
def test_the_key_of_add_scalars(logdir: str, tag: str, key: str | None) -> None:
    """It is in a folder of the writer's own; a writer whose own folder is named like that has none."""
    assert _key_of_add_scalars(logdir, tag) == key
