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


FILLING = "value"
"""The value of a template's field that neither the framework nor the user gives."""


@contextlib.contextmanager
def needs(package: str, module: str) -> Iterator[None]:
    """Around the import of a framework: says how to install it if it is missing.

    Args:
        package: The name that is imported.
        module: The integration's `__name__`, whose last part is the name of the extra.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:  # it is installed, but lacks a package itself
            raise
        raise MissingExtraError(package, module.rpartition(".")[2], module) from error


def filled(group: TaskGroup, metric: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the fields that the template needs to a context that a framework gives."""
    template, vocabulary, known = group.template, group.vocabulary, context
    if vocabulary is not None and metric in vocabulary:
        _, known = vocabulary.resolve(metric, context)
    present = (*template.defaults, *known)
    return {**{field: FILLING for field in template.context_fields if field not in present}, **context}
