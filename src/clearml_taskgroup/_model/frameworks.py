"""The argument `auto_connect_frameworks`: which frameworks' logging goes to the active task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from .._text import did_you_mean
from ..errors import ArgumentError

ARGUMENT = "auto_connect_frameworks"
MODELS = ("pytorch", "tensorflow", "xgboost", "lightgbm", "catboost", "scikit", "joblib")
"""The frameworks whose saved models are logged; these take wildcards for the files, too."""
ROUTED = ("matplotlib", "tensorboard", *MODELS)
"""What can be logged to the active task, in the words of `Task.init`."""
NOT_ROUTED = {
    "fastai": "ClearML's binding keeps what it logs for the whole process; report in a fastai callback",
    "megengine": "ClearML's binding has not been tried with several tasks; use task.clearml_task",
    "gradio": "an app belongs to the script, not to one of its tasks",
    "hydra": "a configuration belongs to the script; use clearml_taskgroup.integrations.hydra",
    "tfdefines": "flags belong to the script; give them to group.task(params)",
}
"""What cannot, and why; it stays as ClearML does it without a group."""
ELSEWHERE = "detect_repository"
"""A key of `Task.init` that is about something else: here the argument `provenance`."""
_EXPECTED = "True, False, or a dict as for Task.init, {'matplotlib': False, 'pytorch': '*.pt'}"


@attrs.frozen
class Frameworks:
    """What a group logs automatically.

    Attributes:
        on: The names of the frameworks that are on.
        report_hparams: Whether TensorBoard's `add_hparams` sets parameters.
        wildcards: For frameworks that have some: only saved models whose path matches one are logged.
        not_routed: What was asked for and cannot be logged to a task.
    """

    on: frozenset[str]
    report_hparams: bool = True
    wildcards: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    not_routed: tuple[str, ...] = ()


def checked_frameworks(value: Any) -> Frameworks | None:
    """Reads the argument; a framework that a dict does not name is on, as for `Task.init`.

    Returns:
        What is on; None if nothing is.

    Raises:
        ArgumentError: It is neither a flag nor such a dict.
    """
    if isinstance(value, bool) or (isinstance(value, Mapping) and not value):
        return Frameworks(frozenset(ROUTED)) if value else None
    if not isinstance(value, Mapping):
        raise ArgumentError(ARGUMENT, value, _EXPECTED)
    for key, wanted in value.items():
        _check(key, wanted)
    on = frozenset(key for key in ROUTED if value.get(key, True))
    if "scikit" not in on:  # for ClearML, the two are one
        on -= {"joblib"}
    tensorboard = value.get("tensorboard", True)
    hparams = tensorboard.get("report_hparams", True) if isinstance(tensorboard, Mapping) else True
    texts = {key: value[key] for key in MODELS if value.get(key) and not isinstance(value[key], bool)}
    wildcards = {key: (text,) if isinstance(text, str) else tuple(text) for key, text in texts.items()}
    not_routed = tuple(key for key in NOT_ROUTED if value.get(key))
    return Frameworks(on, hparams, wildcards, not_routed) if on else None


def _check(key: Any, wanted: Any) -> None:
    known = (*ROUTED, *NOT_ROUTED, ELSEWHERE)
    if key not in known:
        expected = f"keys that are known{did_you_mean(key, known)}: {', '.join(known)}"
        raise ArgumentError(ARGUMENT, {key: wanted}, expected)
    name = f"{ARGUMENT}[{key!r}]"
    if key == "tensorboard" and isinstance(wanted, Mapping):
        for option, flag in wanted.items():
            if option != "report_hparams" or not isinstance(flag, bool):
                raise ArgumentError(name, wanted, "True, False or {'report_hparams': False}")
    elif key in MODELS and not isinstance(wanted, bool):
        texts = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            raise ArgumentError(name, wanted, "True, False, or wildcards for paths, ['*.pt']")
    elif not isinstance(wanted, bool):
        raise ArgumentError(name, wanted, "True or False")
