"""Where a run's data goes: a new run log, or that of the run that is resumed."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearml_taskgroup._model.past import Prior
from clearml_taskgroup._run.run_storage import Resume, RunStorage, open_run_log
from clearml_taskgroup._storage.run_log import RunLog
from clearml_taskgroup.errors import RunInUseError
from clearml_taskgroup.testing import MemoryStore


def prior(path: Path | None) -> Prior:
    return Prior("the run", 3, None, owns_parent=False, attempts={}, path=path)


def test_without_a_log_of_an_earlier_run_a_new_one_begins(tmp_path: Path) -> None:
    """A run that another machine began has none on this disk."""
    for number, earlier in enumerate((None, prior(None)), start=1):
        log = open_run_log(tmp_path, earlier, Resume())
        assert (log.path.name, log.number) == (f"run-000{number}.jsonl", number)
        log.close()


@pytest.mark.parametrize("resume", [None, Resume(), Resume(takeover=True)])
def test_the_log_of_the_earlier_run_goes_on(tmp_path: Path, resume: Resume | None) -> None:
    first = RunLog.start(tmp_path)
    first.close()
    log = open_run_log(tmp_path, prior(first.path), resume)
    assert log.path == first.path
    log.close()


def test_only_a_takeover_goes_on_with_the_log_of_a_living_process(tmp_path: Path) -> None:
    living = RunLog.start(tmp_path)
    for resume in (None, Resume()):
        with pytest.raises(RunInUseError):
            open_run_log(tmp_path, prior(living.path), resume)
    log = open_run_log(tmp_path, prior(living.path), Resume(takeover=True))
    assert log.path == living.path
    log.close()
    living.close()


def test_a_storage_without_more_is_a_new_first_run() -> None:
    backend = MemoryStore()
    assert RunStorage(backend) == (backend, None, None, 1, None)
    assert Resume() == ("new", False)
