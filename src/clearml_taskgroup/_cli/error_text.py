"""Errors in the command's own words: its options and arguments, not Python's."""

from __future__ import annotations

import difflib
import re
import shlex
from typing import TYPE_CHECKING

from .._clearml import sdk
from .._text import closest, some
from ..errors import (
    AmbiguousResultError,
    ArgumentError,
    LoginError,
    NoHistoryError,
    NoSuchParameterError,
    NoSuchResultError,
    RunInUseError,
    UnknownMetricError,
)
from . import server_check

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_SERVER = (
    "no ClearML server is configured; run clearml-init, or set CLEARML_API_HOST, CLEARML_API_ACCESS_KEY and "
    "CLEARML_API_SECRET_KEY"
)
_MEASURE = re.compile(r"(.+?)\[(.*=.*)\]")
_REFUSED = re.compile(r"\b(40[13]|[Uu]nauthorized|[Ii]nvalid (?:key|credentials|token))\b")


def plainly(error: Exception, *, offline: bool = False) -> str:
    """Writes an error as one line.

    Args:
        error: What went wrong.
        offline: Whether the command has the option `--offline`.
    """
    match error:
        case AmbiguousResultError():
            one = shlex.join(words_of(error.candidates[0]))
            return f"{error.asked} may mean {listing(error.candidates)}; say which, as in: {one}"
        case NoSuchResultError():
            names = {name: known for known in reversed(error.known) for name in (known, words_of(known)[0])}
            close = difflib.get_close_matches(error.asked, names, n=1)
            hint = f"did you mean {shlex.join(words_of(names[close[0]]))}? There is" if close else "there is"
            return f"no task has a value for {error.asked}; {hint}: {listing(error.known) or 'nothing'}"
        case LoginError():
            return _login(error, " To look at this disk alone: --offline" if offline else "")
        case RunInUseError():
            return f"the run {error.who} is still in use: {error.since}; wait until it has ended"
        case NoHistoryError():
            return f"the curves that were reported are not kept {error.where}"
        case UnknownMetricError():
            hint = f"did you mean {error.suggestion}? There" if error.suggestion else "there"
            return f"no metric of this run is called {error.metric}; {hint} is: {listing(error.known)}"
        case NoSuchParameterError(argument="where" | "over"):
            close = closest(error.given, error.known)
            hint = f"did you mean {close}? Expected" if close is not None else "expected"
            return f"--{error.argument}: {error.given!r} was given; {hint} {error.expected}"
        case ArgumentError(argument=("where" | "over") as argument):
            return f"--{argument}: {error.given!r} was given; expected {error.expected}"
        case OSError(filename=str() as path, strerror=str() as reason):
            return f"{path}: {reason}"
    return str(error)


def _login(error: LoginError, hint: str) -> str:
    if not sdk.is_configured():
        return NO_SERVER
    server = server_check.name()
    if _REFUSED.search(error.problem):
        return (
            f"{server} refuses the credentials; check those in clearml.conf, or CLEARML_API_ACCESS_KEY and "
            f"CLEARML_API_SECRET_KEY.{hint}"
        )
    told = " ".join(error.problem.split())
    return f"{server}: {told[:200]}{'…' if len(told) > 200 else ''}; check its address in clearml.conf.{hint}"


def words_of(metric_key: str) -> list[str]:
    """Splits `accuracy[split=val]` into the words by which a command is given it: accuracy split=val."""
    found = _MEASURE.fullmatch(metric_key)
    return [found[1], *found[2].split(",")] if found else [metric_key]


def listing(names: Iterable[str]) -> str:
    """Names the first few, each once, and counts the rest."""
    return some(list(dict.fromkeys(names)))
