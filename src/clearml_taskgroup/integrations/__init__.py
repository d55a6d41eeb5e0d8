"""Integrations: one file per framework, importable with that framework alone.

What they share: `needs` for the import of the framework, `filled` for fields of the template that
it does not know, and `_metric_names.Relay` for the names that it logs metrics under.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._group import TaskGroup


_PLACES = {
    "TaskCallback": "huggingface, keras, xgboost, lightgbm or catboost",
    "TaskGroupCallback": "huggingface, hydra or ray_tune",
    "TaskLogger": "lightning",
    "TaskTracker": "accelerate",
    "SummaryWriter": "tensorboard",
    "Objective": "optuna",
    "log_search": "sklearn",
    "ray": "ray_tune (TaskGroupCallback)",
}
"""Names that are looked for here, and the modules to import in their place."""


def __getattr__(name: str) -> Any:
    if name in _PLACES:  # `from … import` would drop the text of an AttributeError
        raise ImportError(f"{__name__} has no {name!r}; import from its module {_PLACES[name]}", name=name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


FILLING = "value"
"""The value of a template's field that neither the framework nor the user gives."""


@contextlib.contextmanager
def needs(package: str, module: str, extra: str | None = None) -> Iterator[None]:
    """Around the import of a framework: says how to install it if it is missing.

    Args:
        package: The name that is imported.
        module: The integration's `__name__`.
        extra: The extra that installs it; None for the last part of the module's name.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:  # it is installed, but lacks a package itself
            raise
        raise MissingExtraError(package, extra or module.rpartition(".")[2], module) from error


def filled(group: TaskGroup, metric: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the fields that the template needs to a context that a framework gives."""
    template, vocabulary, known = group.template, group.vocabulary, context
    if vocabulary is not None and metric in vocabulary:
        _, known = vocabulary.resolve(metric, context)
    present = (*template.defaults, *known)
    return {**{field: FILLING for field in template.context_fields if field not in present}, **context}
