"""What `task.params` gives: a dict that says how to change parameters, rather than forget it."""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import ReadOnlyParametersError


class Params(dict[str, Any]):
    """A copy of a task's parameters, to be read.

    A dict, as `json.dumps` and others ask for one. Copies of it, pickled ones too, are ordinary dicts.
    """

    __slots__ = ()

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
