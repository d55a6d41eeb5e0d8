"""Names of one task, step by step: channels, names in use, and names that are read back otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup import Metric, Name, NameTemplate
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._model.vocabulary import Vocabulary
from clearml_taskgroup._run import naming
from clearml_taskgroup._run.naming import Names, check_aliases
from clearml_taskgroup.errors import NameCollisionError, ReportError

TEMPLATE = NameTemplate("{metric}/{split=value}")
FIELDS = {"task": "seed=0", "group": "the group", "key": "key", "index": "0", "task_id": "the id"}


def names_of(template: str = TEMPLATE.text, metrics: Any = None, **shared: Any) -> Names:
    parsed = NameTemplate(template)
    words = None if metrics is None else Vocabulary.of(metrics, parsed)
    return Names(parsed, words, "the id", FIELDS, set(), **shared)


def test_a_channel_is_made_once_and_found_in_the_cache() -> None:
    names = names_of()
    number = names.channel("loss", {"split": "val"}, False)
    assert names.channel("loss", {"split": "val"}, False) == number
    assert names.cache({"split": "val"}, False) == {"loss": number}
    assert names.cache({"split": "val"}, True) == {}
    single = names.channel("loss", {"split": "val"}, True)
    assert single != number
    assert names.channels.by_number[single].name.title == "Summary"
    assert names.channels.by_number[number].name == ("loss", "val")


def test_another_context_of_the_same_name_is_refused() -> None:
    names = names_of()
    number = names.channel("loss", {"split": "value"}, False)
    assert names.channel("loss", {}, False) == number  # the default that is named
    names = names_of("{metric}/{a}")
    names.channel("loss", {"a": 1}, False)
    with pytest.raises(NameCollisionError):
        names.channel("loss", {"a": "1"}, False)


def test_a_name_that_is_read_back_as_another_metric_is_to_be_stored() -> None:
    names = names_of("{metric}/{metric}")
    names.channel("loss", {}, False)
    assert (names.ambiguous, names.unstored) == ({}, [])
    odd = names_of("{metric}/{a}")
    odd.channel("loss", {"a": "1"}, False)
    odd.channel("loss", {"a": "1"}, False)
    name = Name("loss", "1")
    known = odd.ambiguous.get(name)
    assert odd.unstored == ([] if known is None else [name])
    again = names_of("{metric}/{a}")
    again.ambiguous = dict(odd.ambiguous)
    again.channel("loss", {"a": "1"}, False)
    assert again.unstored == []


def test_what_a_metric_stands_for_is_found_out_once_for_all_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "MAX_NAMINGS", 2)
    shared: dict[Any, Any] = {}
    for _ in range(2):
        names = names_of(namings=shared)
        for metric in ("a", "b", "c"):
            names.channel(metric, {}, False)
    assert len(shared) == 2
    own: dict[Any, Any] = {}
    names_of("{metric}/{task}", namings=own).channel("a", {}, False)
    assert own == {}  # each task has its own names


def test_a_restored_name_is_taken() -> None:
    key = MetricKey("loss", (("split", "val"),))
    names = names_of()
    old = names.channel("loss", {"split": "val"}, False)
    data = MetricData(Stats.of([(0, 1.0)]), (Name("loss", "val"), Name("a", "b-c")))
    names.restore({key: data})
    assert list(names.channels.forgotten) == [[old]]
    with pytest.raises(NameCollisionError):
        names.channel("a", {"split": "b-c"}, False)
    with pytest.raises(NameCollisionError):
        names.channel("a-b", {"split": "c"}, False)
    number = names.channel("loss", {"split": "val"}, False)
    assert names.channels.by_number[number].data is data
    assert data.sample is None  # it would lack the earlier attempt's points
    fresh = names_of()
    assert fresh.channels.by_number[fresh.channel("loss", {}, False)].data.sample is not None


def test_without_channels_nothing_is_forgotten() -> None:
    names = names_of()
    names.forget_channels()
    assert not names.channels.forgotten
    number = names.channel("loss", {}, False)
    names.forget_channels()
    assert list(names.channels.forgotten) == [[number]]
    assert names.cache({}, False) == {}


def test_a_name_that_the_template_has_not_given_has_a_channel() -> None:
    """Its values count if the template gives such names."""
    names = names_of()
    metric, context = names.named(Name("loss", "val"))
    assert (metric, names.named(Name("loss", "val"))) == ("loss", ("loss", context))
    number = names.cache(context, False)["loss"]
    assert len(names.channels.by_number) == 1
    assert names.channels.by_number[number].name == ("loss", "val")
    assert list(names.metrics) == [MetricKey("loss", (("split", "val"),))]
    fixed = names_of("all/{metric}")
    fixed.named(Name("loss", "val"))
    assert fixed.metrics == {}
    assert len(fixed.channels.by_number) == 1


def test_the_name_of_a_plot_may_be_no_metric() -> None:
    """Only the vocabulary's own names and aliases are its metrics."""
    names = names_of(metrics=["loss"])
    assert names.name("loss", {"split": "val"}) == ("loss", "val")
    assert names.name("confusion matrix", {}) == ("confusion matrix", "value")
    assert names_of().name("confusion matrix", {}) == ("confusion matrix", "value")


@pytest.mark.parametrize(
    ("points", "skipped", "parts", "refused"),
    [
        (["id", 1, 0, 5, 1.0, 6, 1.0], False, [({}, {"loss": 1, "loss2": 1})], False),
        (["id", 1, 0, 5, 1.0, 5, 1.0], False, [({}, {"loss": 1, "cost": 1})], True),
        (["id", 1, 0, 5, 1.0], True, [({}, {"loss": 1, "cost": 1})], True),
        (["id", 1, 0, 5, 1.0], False, [({}, {"loss": 1, "cost": 1})], False),
        (["id", 1, 0, 1.0, 5, 5, 1.0], False, [({}, {"loss": 1, "cost": 1})], False),
        (["id", 1, 0, 5, 1.0], True, [({"split": "val"}, {"loss": 1}), ({}, {"loss": 1})], False),
        (["id", 1, 0, 5, 1.0, 5, 1.0], False, [({}, {"loss": 1}), ({}, {"loss": 1})], False),
    ],
)
def test_a_metric_is_in_a_report_once(points: Any, skipped: bool, parts: Any, refused: bool) -> None:
    """By its name or by an alias; only what may be twice is looked at."""
    names = names_of(metrics=[Metric("loss", aliases=["cost"]), "loss2"])
    if not refused:
        check_aliases(names, points, skipped, parts)
        return
    with pytest.raises(ReportError, match="'loss' and 'cost' in one report both stand for loss"):
        check_aliases(names, points, skipped, parts)
