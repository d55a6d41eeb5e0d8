"""A run on disk that several processes share: small files whose creation one process wins.

They are in the folder `run-0001.shared` beside the run log:

- `<process>.alive`: the process is in the run, since the session in it (empty while joining). The time of the
  file is that of the latest sign of life.
- `<hash of the key>.<attempt>.<n>`: a claim, with the name of the process that made it. The claims with a
  lower `n` are of processes that died before they had created the task.
- `end.<session>.<n>`: a process that ends the run as the last one.
- `session.<s>`: the session s has begun, because the one before has ended.
- `dead.<process>.<n>`: a process that ends the tasks of one that died.
- `parent.id`: the id of the run's parent.

`<run>.number`, beside the run logs, holds the name of the run's log.

`os.link` gives a file its name only if nobody else has done so, and the file is complete from the start. On
NFS an answer may be lost, so the number of links decides.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
import uuid
from time import monotonic, sleep
from typing import TYPE_CHECKING

import attrs

from .._model.backoff import Backoff
from .append_file import OWNER_ONLY_FOLDER, disk_errors, open_file
from .past_runs import load
from .processes import ALIVE, is_alive, is_fresh, is_here, is_known_dead, present
from .run_log import RunLog
from .shared_run import BEAT_EVERY_S, PARENT, SharedRun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .._model.past import PastTask


def open_shared_log(folder: Path, run: str) -> Path:
    """Finds the run log of a shared run, which the first process creates, with a number of its own.

    Args:
        folder: The folder of the group's run logs.
        run: The run's id.

    Returns:
        Its path; it may still be empty.

    Raises:
        StoreError: The folder cannot be written to.
    """
    with disk_errors(folder):
        folder.mkdir(OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
        name = folder / f"{run}.number"
        while True:
            with contextlib.suppress(FileNotFoundError):
                path = folder / name.read_text()
                if path.exists():
                    return path
                name.unlink()  # the run was discarded
            log = RunLog.start(folder)
            won = _link(name, log.path.name)
            log.close()
            if won:
                return log.path
            log.path.unlink()


@attrs.define(eq=False)
class SharedOnDisk(SharedRun):
    """The processes of a shared run whose tasks are on a disk that all of them see.

    Attributes:
        path: The run log.
        process: This process.
    """

    path: Path
    process: str
    _last_beat: float = -BEAT_EVERY_S
    _end: Path | None = None
    _pid: int = attrs.field(factory=os.getpid)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    @property
    def folder(self) -> Path:
        """The folder of the small files."""
        return self.path.with_suffix(".shared")

    # --- who is in the run ---------------------------------------------------------------------

    def join(self) -> None:
        """Enters the run, once nobody is just ending it."""
        with disk_errors(self.folder):
            self.folder.mkdir(OWNER_ONLY_FOLDER, exist_ok=True)
            self._show_life("")
            pauses = Backoff(0.01, 1.0)
            while True:
                self.session = self._sessions()
                if not any(map(self._is_ending, self._ends())):
                    break
                sleep(pauses.next_pause())
            others = [one for one in present(self.folder) if _text(self._alive(one)) == str(self.session)]
            self.others_at_join = sum(map(self._is_alive, others))
            if others and not self.others_at_join:  # all of them have died: it was empty
                self._end_session()
            self._show_life(str(self.session))

    def _alive(self, process: str) -> Path:
        return self.folder / f"{process}{ALIVE}"

    def _sessions(self) -> int:
        return max(map(_number, self._numbered("session.*")), default=0)

    def _ends(self) -> list[Path]:
        return sorted(self._numbered(f"end.{self.session}.*"), key=_number)

    def _numbered(self, pattern: str) -> list[Path]:
        # Without what a tool that synchronises or backs up disks has added.
        return [path for path in self.folder.glob(pattern) if path.suffix[1:].isdecimal()]

    def beat(self) -> None:
        """Gives a sign of life every 30 seconds."""
        if self.withdrawn or os.getpid() != self._pid:  # a forked child says nothing of its parent
            return
        with self._lock, contextlib.suppress(OSError):
            if monotonic() - self._last_beat >= BEAT_EVERY_S:
                self._last_beat = monotonic()
                self.withdrawn = any(self.folder.glob(f"dead.{self.process}.*"))
                if not self.withdrawn:
                    os.utime(self._end or self._alive(self.process))
        if self.withdrawn and self.on_withdrawn is not None:
            self.on_withdrawn()

    def _show_life(self, session: str) -> None:
        self._last_beat = monotonic()
        _write(self._alive(self.process), session, os.O_TRUNC)

    def _is_ending(self, end: Path) -> bool:
        """Whether the process that ends the run is alive; it has left the run, and touches its own file."""
        process = _text(end)
        return not process or (not is_known_dead(process) if is_here(process) else is_fresh(end))

    def _is_alive(self, process: str) -> bool:
        # A file that has just been removed has no text: that was done by a process that is alive.
        return process in ("", self.process) or is_alive(self.folder, process)

    def claim_dead(self) -> Sequence[str]:
        """Finds processes that died; each is given to one process, which calls `remove_dead`."""
        dead = [process for process in present(self.folder) if not self._is_alive(process)]
        return [process for process in dead if self._inherits(process)]

    def _inherits(self, process: str) -> bool:
        return self._win(f"dead.{process}", lambda path: self._is_alive(_text(path))) is not None

    def _win(self, name: str, is_taken: Callable[[Path], bool]) -> Path | None:
        """Creates the next file of a name; None if that of another process has it, by the number before."""
        for number in range(1, 1000):
            path = self.folder / f"{name}.{number}"
            if _link(path, self.process):
                return path
            if is_taken(path):
                return None
        return None

    def remove_dead(self, process: str) -> None:
        """Removes a dead process, whose tasks have been ended."""
        self._alive(process).unlink(missing_ok=True)

    # --- claims --------------------------------------------------------------------------------

    def claim(self, key: str, attempt: int) -> bool:
        """Claims an attempt of a task, unless somebody else has, who is alive or has created it."""

        def is_taken(path: Path) -> bool:
            owner = _text(path)
            return self._is_alive(owner) or self._has_created(owner, key, attempt)

        with disk_errors(self.folder):
            return self._win(_claim_name(key, attempt), is_taken) is not None

    def release(self, key: str, attempt: int, task_id: str | None) -> bool:
        """Keeps the claim, which says for ever that the task has been created; without a task, removes it."""
        name = _claim_name(key, attempt)
        if task_id is None:
            for path in self.folder.glob(f"{name}.*"):
                if _text(path) == self.process:
                    path.unlink(missing_ok=True)
        elif key == PARENT:
            _link(self.folder / "parent.id", task_id)
        return True

    def is_being_created(self, key: str, attempt: int) -> bool:
        """Whether a living process has claimed an attempt of a task and not created it yet."""
        owners = [_text(path) for path in self.folder.glob(f"{_claim_name(key, attempt)}.*")]
        return any(
            self._is_alive(owner) and not self._has_created(owner, key, attempt) for owner in owners if owner
        )

    def _has_created(self, process: str, key: str, attempt: int) -> bool:
        if key == PARENT:
            return self.parent() is not None
        past = load(self.path, only=process)
        return past is not None and any(
            (task.key, task.attempt) == (key, attempt) for task in past.tasks.values()
        )

    # --- what is stored ------------------------------------------------------------------------

    def members(self) -> Sequence[PastTask]:
        """Reads the tasks of all processes from their run logs."""
        past = load(self.path)
        if past is None:
            return ()
        for task in past.tasks.values():
            if task.status is None and not self._is_alive(task.process):
                task.status, task.reason = task.final_status()
        return list(past.tasks.values())

    def parent(self) -> str | None:
        """Finds the run's parent."""
        return _text(self.folder / "parent.id") or None

    # --- the end -------------------------------------------------------------------------------

    def leave(self) -> bool:
        """Leaves the run; whether this process is the last one in it."""
        with disk_errors(self.folder):
            while True:
                self._alive(self.process).unlink(missing_ok=True)
                if self.withdrawn or self._has_others() or self._sessions() > self.session:
                    return False
                end = self._claim_end()
                if end is None:
                    return False
                if not self._has_others():  # nobody has joined before the claim, and who joins now waits
                    self._end = end
                    return True
                self._show_life(str(self.session))
                end.unlink(missing_ok=True)

    def _has_others(self) -> bool:
        return any(self._is_alive(process) for process in present(self.folder) if process != self.process)

    def _claim_end(self) -> Path | None:
        end = self._win(f"end.{self.session}", self._is_ending)
        return None if self._sessions() > self.session else end

    def ended(self) -> None:
        """Begins a new session: whoever joins finds an empty run."""
        with contextlib.suppress(OSError):
            self._end_session()

    def _end_session(self) -> None:
        self.session += 1
        with contextlib.suppress(FileExistsError):
            os.close(open_file(self.folder / f"session.{self.session}", os.O_CREAT | os.O_EXCL))


def _claim_name(key: str, attempt: int) -> str:
    """Names a claim; a key that the user gave may hold what a file's name may not."""
    return f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.{attempt}"


def _link(path: Path, text: str) -> bool:
    """Creates a file with a text; False if it exists already."""
    draft = path.with_name(f".{uuid.uuid4().hex}")
    file = open_file(draft, os.O_CREAT | os.O_EXCL)
    try:
        os.write(file, text.encode())
        try:
            os.link(draft, path)
        except FileExistsError:
            return os.fstat(file).st_nlink == 2  # made by us if the first answer of a file server was lost
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise
            return _create(path, text)
        return True
    finally:
        os.close(file)
        draft.unlink(missing_ok=True)


def _create(path: Path, text: str) -> bool:
    """The same where files cannot have two names; for a moment the file is empty."""
    try:
        _write(path, text, os.O_EXCL)
    except FileExistsError:
        return False
    return True


def _write(path: Path, text: str, flag: int) -> None:
    file = open_file(path, os.O_CREAT | flag)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int:
    return int(path.suffix[1:])
