"""The script of an open run, which is detected while its first tasks run; see `script_detection`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .._log import warn
from ..errors import ProvenanceWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._model.specs import RunInfo
    from .._storage.script_detection import Detected
    from .run import Run

TIMEOUT_S = 10.0
"""Seconds that the end of a run waits for the script; later it is still logged, and uploaded with the run."""


def with_script(info: RunInfo, detected: Detected) -> RunInfo:
    """Adds what was detected to a run, and warns of what could not be stored."""
    for text in detected.warnings:
        warn(text, ProvenanceWarning)
    return attrs.evolve(info, script=detected.script or {})


def detect(run: Run) -> None:
    """Starts to detect the script of an offline run, or takes what is known of it already."""
    from .._storage.script_detection import Detection, start  # imports `subprocess`

    assert run.run_log is not None
    found = start(run.run_log.path)
    if isinstance(found, Detection):
        run.detection = found
    else:
        run.info = with_script(run.info, found)


def give_up(run: Run) -> None:
    """Ends the detection for a run that cannot be opened."""
    if run.detection is not None:
        run.detection.stop()


def look(run: Run) -> None:
    """Takes over the script if it is known by now: later tasks are created with it."""
    if run.detection is not None and run.detection.is_done:
        detection, run.detection = run.detection, None
        run.info = with_script(run.info, detection.result())


def complete(run: Run, timeout: float, is_interrupted: Callable[[], bool]) -> None:
    """Waits for the script, and adds it to the tasks that were created without."""
    script_of(run, timeout, is_interrupted)
    if run.detection is not None:
        run.detection.leave()
    if run.info.script:
        run.backend.add_script(run.info.script)


def script_of(
    run: Run, timeout: float = TIMEOUT_S, is_interrupted: Callable[[], bool] = lambda: False
) -> Mapping[str, Any] | None:
    """Waits for the script of a run; None if it is not known."""
    if run.detection is not None:
        run.detection.wait(min(timeout, TIMEOUT_S), is_interrupted)
        look(run)
    return run.info.script
