"""Names of processes that other processes, also on other machines, can check for being alive."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import platform
from pathlib import Path

_numbers = itertools.count(1)


def this_process() -> str:
    """Makes a name for one opened group of this process: machine, pid, start of the process, a number."""
    pid = os.getpid()
    return f"{_machine()}-{pid}-{_started(pid) or 0}-{next(_numbers)}"


def readable(process: str) -> str:
    """Describes a process for people: `pid 1234 on this machine`."""
    machine, _, rest = process.partition("-")
    pid = rest.partition("-")[0] or "?"
    where = "this machine" if machine == _machine() else f"another machine ({machine})"
    return f"pid {pid} on {where}"


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


@functools.cache
def _machine() -> str:
    """Identifies this boot of this machine; containers see different processes, so they differ, too."""
    parts = [platform.node()]
    for path in ("/proc/sys/kernel/random/boot_id",):
        try:
            parts.append(Path(path).read_text().strip())
        except OSError:
            parts.append("")
    try:
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    except OSError:
        parts.append("")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _started(pid: int) -> int | None:
    """When a process started, in the system's ticks since boot; None if it has ended or that is not known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name of the program, in parentheses, may itself contain spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
