"""Names of processes that share a run, and whether they are alive, as other processes can tell.

Of this machine's processes, the system knows. A process of another machine touches a file in the run's
folder now and then; its age is taken by the clock of the disk.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import platform
import time
import uuid
from pathlib import Path

from .append_file import open_file
from .shared_run import DEAD_AFTER_S

ALIVE = ".alive"
"""The end of the name of the file that a process touches."""

_numbers = itertools.count(1)


def this_process() -> str:
    """Makes a name for one opened group of this process: machine, pid, start of the process, a number."""
    pid = os.getpid()
    return f"{_machine()}-{pid}-{_started(pid) or 0}-{next(_numbers)}"


def readable(process: str) -> str:
    """Describes a process for people: `pid 1234 on this machine`."""
    pid, machine = pid_and_machine(process)
    return f"pid {pid} on {machine}"


def pid_and_machine(process: str) -> tuple[str, str]:
    """Gives the number of a process, and for people its machine: `this machine`."""
    machine, _, rest = process.partition("-")
    where = "this machine" if machine == _machine() else f"another machine ({machine})"
    return rest.partition("-")[0] or "?", where


def is_known_dead(process: str) -> bool:
    """Whether a process of this machine has ended; False if it is alive, or of another machine."""
    machine, *numbers = process.split("-")
    if machine != _machine() or os.name == "nt" or len(numbers) != 3 or not all(map(str.isdecimal, numbers)):
        return False
    pid, started = int(numbers[0]), int(numbers[1])
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    # A pid is used again after a while; a process that was killed keeps its own until its parent asks.
    return bool(started) and _started(pid) != started


def is_here(process: str) -> bool:
    """Whether a process runs, or ran, on this machine, so that `is_known_dead` can tell."""
    return process.partition("-")[0] == _machine() and os.name != "nt"


def is_alive(folder: Path, process: str) -> bool:
    """Whether a process is in the run of a folder, as far as another process can tell."""
    if (folder / f"dead.{process}.1").exists():  # for ever, also if it was only suspended
        return False
    if is_here(process):
        return not is_known_dead(process)
    return is_fresh(folder / f"{process}{ALIVE}")


def is_fresh(path: Path) -> bool:
    """Whether a process of another machine has touched a file within five minutes."""
    try:
        last = path.stat().st_mtime
    except OSError:
        return False
    return _now(path.parent) - last < DEAD_AFTER_S


def present(folder: Path) -> list[str]:
    """Names the processes in the run of a folder, alive or not."""
    return sorted(path.name.removesuffix(ALIVE) for path in folder.glob(f"*{ALIVE}"))


def living(path: Path) -> frozenset[str]:
    """Names the living processes in the shared run of a run log; none if it is not shared."""
    folder = path.with_suffix(".shared")
    return frozenset(process for process in present(folder) if is_alive(folder, process))


def _now(folder: Path) -> float:
    """The time by the clock of the disk, which may be another machine's."""
    probe = folder / f".{uuid.uuid4().hex}"
    try:
        os.close(open_file(probe, os.O_CREAT))
        os.utime(probe)
        return probe.stat().st_mtime
    except OSError:  # it can only be read
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


@functools.cache
def _machine() -> str:
    """Identifies this boot of this machine; containers see different processes, so they differ, too."""
    boot = namespace = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError):
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    return hashlib.sha256("\0".join((platform.node(), boot, namespace)).encode()).hexdigest()[:8]


def _started(pid: int) -> int | None:
    """When a process started, in the system's ticks since boot; None if it has ended or that is not known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name of the program, in parentheses, may itself contain spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
