"""Error messages for the command line: with options and arguments in place of Python calls."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from .._clearml import login
from .._text import shortened, some
from ..errors import (
    AmbiguousResultError,
    AmbiguousRunError,
    ArgumentError,
    LoginError,
    NoHistoryError,
    RunInUseError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_SERVER = (
    "no ClearML server is configured; run clearml-init, or set CLEARML_API_HOST, CLEARML_API_ACCESS_KEY and "
    "CLEARML_API_SECRET_KEY"
)
_METRIC_WITH_CONTEXT = re.compile(r"(.+?)\[(.*=.*)\]")
_CREDENTIALS_REFUSED = re.compile(r"\b(40[13]|[Uu]nauthorized|[Ii]nvalid (?:key|credentials|token))\b")


def command_message(error: Exception, *, offline: bool = False) -> str:
    """Returns the message of an error, in terms of the command line.

    Args:
        error: The error.
        offline: Whether the command has the option `--offline`.
    """
    match error:
        case AmbiguousResultError():
            example = shlex.join(metric_arguments(error.candidates[0]))
            return f"{error.asked} may mean {some_distinct(error.candidates)}; choose one, as in: {example}"
        case AmbiguousRunError():
            runs = some_distinct(error.runs)
            return f"{error.asked!r} may mean the runs {runs}; give the id of one: --run {error.runs[0][:12]}"
        case LoginError():
            return _login_error(error, " To use this disk only: --offline" if offline else "")
        case RunInUseError():
            return f"the run {error.who} is still in use: {error.since}; wait until it has ended"
        case NoHistoryError():
            return f"the curves that were reported are not kept {error.where}"
        case ArgumentError(argument="where" | "over"):
            value = "" if error.given is None else f" {error.given!r}"
            problem = error.problem.replace("was not given, or is None", "was not given")
            return f"--{error.argument}{value} {problem}"
        case OSError(filename=str() as path, strerror=str() as reason):
            return f"{path}: {reason}"
    return str(error)


def _login_error(error: LoginError, hint: str) -> str:
    server = server_name()
    if are_credentials_refused(error):
        return (
            f"{server} refuses the credentials; check those in clearml.conf, or CLEARML_API_ACCESS_KEY and "
            f"CLEARML_API_SECRET_KEY.{hint}"
        )
    return f"{server}: {shortened(error.problem, 200)}; check its address in clearml.conf.{hint}"


def are_credentials_refused(error: LoginError) -> bool:
    return _CREDENTIALS_REFUSED.search(error.problem) is not None


def server_name() -> str:
    """The configured server, for messages."""
    return f"the ClearML server {login.api_server()[0]}"


def metric_arguments(metric_key: str) -> list[str]:
    """Converts `accuracy[split=val]` to arguments of a command: accuracy split=val."""
    found = _METRIC_WITH_CONTEXT.fullmatch(metric_key)
    return [found[1], *found[2].split(",")] if found else [metric_key]


def some_distinct(names: Iterable[str]) -> str:
    """Joins names, each once: the first few, then `and 5 more`."""
    return some(list(dict.fromkeys(names)))
