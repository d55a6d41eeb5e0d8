"""Makes a Linux process like one on Windows: run at the top of a script, before the package is imported.

What `os`, `signal` and `select` have on POSIX systems only is taken away from whatever imports them from here
on; `fcntl` and the like cannot be imported. Files are locked by `msvcrt`, whose lock of a byte keeps others
from reading it, and a file that is open can be neither deleted nor replaced.
"""

from __future__ import annotations

import errno
import fcntl
import importlib
import multiprocessing.popen_spawn_posix
import multiprocessing.resource_tracker
import os
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import types
import uuid
from collections.abc import Iterable
from typing import Any

MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty")
FLAGS = ("O_CLOEXEC", "O_DIRECTORY", "O_DSYNC", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "O_TMPFILE")
CALLS = """
chown chroot confstr ctermid fchdir fchmod fchown fdatasync fork forkpty fpathconf fstatvfs get_blocking
getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getresuid getsid getuid killpg
lchown lockf major makedev memfd_create minor mkfifo mknod nice openpty pathconf pidfd_open pipe2
posix_fadvise posix_fallocate posix_spawn posix_spawnp pread preadv pwrite pwritev readv register_at_fork
sched_getaffinity sched_setaffinity sched_yield sendfile set_blocking setegid seteuid setgid setgroups
setpgid setpriority setsid setuid splice statvfs sync sysconf tcgetpgrp tcsetpgrp ttyname uname wait wait3
wait4 waitid writev WEXITSTATUS WIFEXITED WIFSIGNALED WTERMSIG alarm getitimer pause pthread_kill
pthread_sigmask setitimer siginterrupt sigpending sigwait poll epoll
"""
SIGNALS = {"SIGINT", "SIGTERM", "SIGABRT", "SIGFPE", "SIGILL", "SIGSEGV"}
LK_UNLCK, LK_NBLCK, F_OFD_SETLK = 0, 2, 37
loaded: Any = (errno, multiprocessing, subprocess, tempfile, uuid)
"""Modules that are loaded before anything is taken away."""


def without(module: types.ModuleType, names: Iterable[str]) -> types.ModuleType:
    """A copy of a module that lacks some names."""
    copy = types.ModuleType(module.__name__)
    vars(copy).update({name: value for name, value in vars(module).items() if name not in set(names)})
    return copy


def locking(file: int, mode: int, length: int) -> None:
    """Locks bytes from the file's position on, for this open file; refuses bytes that somebody may read."""
    at = os.lseek(file, 0, os.SEEK_CUR)
    assert at > os.fstat(file).st_size + 2**30, "Windows would keep others from reading these bytes"
    kind = fcntl.F_UNLCK if mode == LK_UNLCK else fcntl.F_WRLCK
    try:
        fcntl.fcntl(file, F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, at, length, 0))
    except OSError:
        raise PermissionError(errno.EACCES, "Permission denied") from None


def refuse_open_files(name: str, places: tuple[int, ...]) -> None:
    """Makes a function of `os` raise if one of its arguments is a file that this process has open."""
    real = getattr(os, name)

    def function(*args: Any, **options: Any) -> Any:
        found = [os.path.realpath(f"/proc/self/fd/{file}") for file in os.listdir("/proc/self/fd")]
        for place in places:
            if os.path.realpath(args[place]) in found and os.path.isfile(args[place]):
                raise PermissionError(errno.EACCES, "it is open in a process", str(args[place]))
        return real(*args, **options)

    setattr(os, name, function)


def take_away() -> None:
    """Takes away what Windows lacks."""
    importlib.import_module("clearml")  # it knows Windows by `sys.platform`
    for name, places in (("unlink", (0,)), ("remove", (0,)), ("rename", (0, 1)), ("replace", (0, 1))):
        refuse_open_files(name, places)
    signals = [name for name in dir(signal) if re.match("SIG[A-Z]", name) and name not in SIGNALS]
    missing = {*CALLS.split(), *FLAGS, *signals}
    for module in (os, signal, select):
        sys.modules[module.__name__] = without(module, missing)
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    msvcrt: Any = types.ModuleType("msvcrt")
    msvcrt.locking, msvcrt.LK_NBLCK, msvcrt.LK_UNLCK = locking, LK_NBLCK, LK_UNLCK
    sys.modules["msvcrt"] = msvcrt
