"""What workers tell of tasks that were passed to them by hand, as lines in the run's record.

`map` takes a worker's counts back with each result. A task that a user hands to joblib or to a
pool has no such way, so its worker appends a line as it begins, and one with its counts as it
lets go; the process that opened the run folds them in.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import platform
import shutil
import time
import uuid
from typing import TYPE_CHECKING, Any

import attrs

from .._storage.append_file import append_to
from .recount import count_anew
from .worker_counts import Facts, fold, measures_of

if TYPE_CHECKING:
    from pathlib import Path

    from .run import Run
    from .state import TaskState


PATIENCE = 5.0
"""Seconds for which a group's end waits for a living worker to let go of a task."""
SOON = 1.0
"""The same for a look at the results, which may come while workers are busy."""
_PAUSE = 0.01


@attrs.define(eq=False)
class Guests:
    """Folds what workers tell into a run.

    Attributes:
        expected: Whether a task has been pickled, so that there may be something to fold.
        troubles: What workers could not deliver.
    """

    expected: bool = False
    troubles: list[Exception] = attrs.field(factory=list)
    _at: int = 0
    _known: dict[str, Facts] = attrs.field(factory=dict)
    _working: dict[str, tuple[str, str, int]] = attrs.field(factory=dict)

    def expect(self, run: Run) -> None:
        """Begins to look at the record, from its end on."""
        if not self.expected and run.run_log is not None:
            self._at = run.run_log.path.stat().st_size
            self.expected = True

    def fold(self, run: Run, patience: float) -> None:
        """Folds in what workers have told, after a moment for those that are just letting go."""
        if not self.expected or run.run_log is None or run.in_child:
            return
        deadline = time.monotonic() + patience
        while True:
            self._read(run, run.run_log.path)
            dead = [guest for guest, (_, host, pid) in self._working.items() if not lives(host, pid)]
            if dead:
                self._read(run, run.run_log.path)  # one that has told all since then and ended is not meant
                self._bury(run, dead)
            if not self._working or time.monotonic() >= deadline:
                return
            time.sleep(_PAUSE)

    def count(self, run: Run, patience: float) -> None:
        """Counts the values of workers that have died, as far as they are where they belong by now."""
        died = [state for state in run.states.values() if state.died and not state.finished]
        if died and not run.in_child:
            run.backend.flush(patience)
            count_anew(run, died, patience)

    def _bury(self, run: Run, dead: list[str]) -> None:
        for guest in dead:
            key, *_ = self._working.pop(guest, (None,))
            if key is not None:
                run.states[key].died = True

    def close(self, run: Run) -> None:
        """Takes away what lay on the disk for workers."""
        if run.run_log is not None and not run.in_child:
            for path in run.run_log.path.parent.glob(f"{run.run_log.path.stem}.*"):
                if path.suffix.endswith("-begun"):
                    shutil.rmtree(path, ignore_errors=True)
                elif path.suffix.startswith(".words"):
                    path.unlink(missing_ok=True)

    def _read(self, run: Run, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self._at += len(data)
        for line in data.splitlines():
            if b'"guest": ' in line:
                self._take(run, json.loads(line))

    def _take(self, run: Run, line: dict[str, Any]) -> None:
        guest, state = line["guest"], run.states.get(line["key"])
        if state is None or state.id != line["id"]:
            return
        if line["event"] == "guest":
            self._working[guest] = (line["key"], line["host"], line["pid"])
            return
        facts: Facts = pickle.loads(base64.b64decode(line["facts"]))
        fold(run, state, facts, self._known.get(guest))
        self._known[guest] = facts
        self._working.pop(guest, None)


def lives(host: str, pid: int) -> bool:
    """Whether a process lives, as far as that can be told from here."""
    if host != platform.node() or os.name == "nt":  # where the signal 0 ends a process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


# --- in the worker ---------------------------------------------------------------------------------


def present(run_log: Path | None, state: TaskState) -> str:
    """Tells that a worker has a task; gives the name under which it tells more."""
    guest = uuid.uuid4().hex
    _append(run_log, "guest", guest, state, host=platform.node(), pid=os.getpid())
    return guest


def tell(run_log: Path | None, guest: str, state: TaskState, facts: Facts) -> None:
    """Tells what a worker has counted of a task that it lets go of."""
    packed = base64.b64encode(pickle.dumps(facts, pickle.HIGHEST_PROTOCOL)).decode()
    ended: dict[str, Any] = {}
    if not state.is_open:  # what a resume needs to know, should the process that opened the run die
        ended = {"status": state.status, "reason": state.reason, "measures": measures_of(facts)}
    _append(run_log, "told", guest, state, facts=packed, **ended)


def _append(run_log: Path | None, event: str, guest: str, state: TaskState, **facts: Any) -> None:
    if run_log is None:
        return
    line = {"event": event, "guest": guest, "id": state.id, "key": state.spec.key, **facts}
    line["time"] = round(time.time(), 3)
    append_to(run_log, (json.dumps(line) + "\n").encode())
