"""What `task.params` gives: a dict that says how to change parameters, rather than forget it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from .errors import ReadOnlyParametersError


class Params(dict[str, Any]):
    """A copy of a task's parameters, to be read.

    A dict, as `json.dumps` and others ask for one. Copies of it, pickled ones too, are ordinary dicts.
    """

    __slots__ = ()

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        _tell_yaml()

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses the change.

        Raises:
            ReadOnlyParametersError: Always.
        """
        raise ReadOnlyParametersError(args[0] if args and isinstance(args[0], str) else None)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


def _tell_yaml() -> None:
    """Has PyYAML, if the script uses it, write `Params` like any dict: it goes by the very type."""
    representer = getattr(sys.modules.get("yaml"), "representer", None)
    if representer is not None and Params not in representer.SafeRepresenter.yaml_representers:
        for kind in (representer.SafeRepresenter, representer.Representer):
            kind.add_representer(Params, kind.represent_dict)
