"""What a forked child renews, and what it must not lose meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys

from clearml_taskgroup import _fork
from clearml_taskgroup._fork import before_fork, in_child

SIGTERM_WHILE_RENEWING = """
import os, signal
from clearml_taskgroup import _fork
from clearml_taskgroup._run import signals

renew = signals.catch_terminations()
_fork._in_child.insert(0, lambda: os.kill(os.getpid(), signal.SIGTERM))
child = os.fork()
if child == 0:
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_a_sigterm_that_comes_right_after_a_fork_ends_the_child() -> None:
    script = [sys.executable, "-W", "error", "-c", SIGTERM_WHILE_RENEWING]
    done = subprocess.run(script, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [str(-signal.SIGTERM), "set()"]


def test_functions_are_registered_as_they_are() -> None:
    """So that both may decorate a function."""

    def renew() -> None: ...

    for register, registered in ((before_fork, _fork._before_fork), (in_child, _fork._in_child)):
        assert register(renew) is renew
        assert registered.pop() is renew
