"""The script of an open run: when it is taken over, waited for and added to tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from clearml_taskgroup._model.specs import RunInfo
from clearml_taskgroup._run import provenance
from clearml_taskgroup._run.provenance import TIMEOUT_S
from clearml_taskgroup._storage import script_detection
from clearml_taskgroup._storage.script_detection import Detected, Detection
from clearml_taskgroup.errors import ProvenanceWarning

SCRIPT = {"entry_point": "train.py"}


@attrs.define
class Played:
    """A detection that is done at once, after a wait, or never."""

    done: bool = False
    done_after_wait: bool = False
    calls: list[Any] = attrs.field(factory=list)

    @property
    def is_done(self) -> bool:
        return self.done

    def wait(self, timeout: float, is_interrupted: Callable[[], bool]) -> None:
        self.calls.append(("wait", timeout, is_interrupted()))
        self.done = self.done or self.done_after_wait

    def result(self) -> Detected:
        return Detected(SCRIPT)

    def leave(self) -> None:
        self.calls.append("leave")

    def stop(self) -> None:
        self.calls.append("stop")


def a_run(detection: Played | None, script: Mapping[str, Any] | None = None) -> Any:
    added: list[Mapping[str, Any]] = []
    return SimpleNamespace(
        info=RunInfo("id", "the project", "the group", "", script=script),
        detection=detection,
        run_log=SimpleNamespace(path=Path("run-0001.jsonl")),
        backend=SimpleNamespace(add_script=added.append),
        added=added,
    )


@pytest.mark.parametrize(("script", "stored"), [(SCRIPT, SCRIPT), ({}, {}), (None, {})])
def test_a_script_that_was_looked_for_is_known_from_then_on(script: Any, stored: Any) -> None:
    """Also if there is none, so that nobody looks again."""
    assert provenance.with_script(a_run(None).info, Detected(script)).script == stored


def test_what_could_not_be_stored_is_warned_of() -> None:
    with pytest.warns(ProvenanceWarning) as told:
        provenance.with_script(a_run(None).info, Detected(None, ("too large", "no git")))
    assert [str(one.message) for one in told] == ["too large", "no git"]


def test_what_is_known_already_is_taken_and_else_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(None)
    process: Any = object.__new__(Detection)
    for found in (process, Detected(SCRIPT)):
        answers = {run.run_log.path: found}
        monkeypatch.setattr(script_detection, "start", answers.__getitem__)
        provenance.detect(run)
    assert (run.detection, run.info.script) == (process, SCRIPT)


def test_a_run_that_cannot_be_opened_ends_its_detection() -> None:
    detection = Played()
    provenance.give_up(a_run(detection))
    provenance.give_up(a_run(None))
    assert detection.calls == ["stop"]


@pytest.mark.parametrize("done", [True, False])
def test_later_tasks_have_the_script_once_it_is_known(done: bool) -> None:
    run = a_run(Played(done))
    provenance.look(run)
    assert (run.detection is None, run.info.script) == (done, SCRIPT if done else None)
    without = a_run(None)
    provenance.look(without)
    assert without.info.script is None


@pytest.mark.parametrize(("timeout", "waited"), [(3.0, 3.0), (math.inf, TIMEOUT_S)])
def test_the_end_waits_for_the_script_and_adds_it(timeout: float, waited: float) -> None:
    detection = Played(done_after_wait=True)
    run = a_run(detection)
    provenance.complete(run, timeout, lambda: True)
    assert detection.calls == [("wait", waited, True)]
    assert run.added == [SCRIPT]


def test_a_script_that_comes_too_late_is_left_to_the_run_log() -> None:
    detection = Played()
    run = a_run(detection)
    provenance.complete(run, 3.0, lambda: False)
    assert detection.calls == [("wait", 3.0, False), "leave"]
    assert run.added == []


@pytest.mark.parametrize(("script", "added"), [(SCRIPT, [SCRIPT]), ({}, []), (None, [])])
def test_a_script_that_is_known_is_not_waited_for(script: Any, added: list[Any]) -> None:
    run = a_run(None, script)
    assert provenance.script_of(run) == script
    provenance.complete(run, 0.0, lambda: False)
    assert run.added == added


def test_who_needs_the_script_waits_for_it_without_an_interrupt() -> None:
    detection = Played(done_after_wait=True)
    assert provenance.script_of(a_run(detection)) == SCRIPT
    assert detection.calls == [("wait", TIMEOUT_S, False)]
