"""Lets scripts plot with pyplot in several threads, each in the block of a task of its own.

pyplot has one list of open figures and one current figure for the whole process: `plt.plot` in one thread
draws into the figure that another has just opened, and `plt.show` shows, and ClearML logs, those of all
threads. In a task's block, each thread except the main one gets a list of its own.

That list is `matplotlib._pylab_helpers.Gcf.figs`; `tests/clearml/test_thread_figures.py` tries it.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .bindings import Target

Figures = OrderedDict[Any, Any]
FIGURES = "figures of threads"
"""In a target's state: the figures of each thread, by its identifier."""


class ThreadFigures:
    """In place of pyplot's list of figures; outside of blocks, and in the main thread, it is that list."""

    def __init__(self, own: Figures, find: Callable[[], Target | None]) -> None:
        self._own, self._find = own, find

    @property
    def _figures(self) -> Figures:
        if threading.current_thread() is threading.main_thread():
            return self._own
        target = self._find()
        if target is None:
            return self._own
        threads: dict[int, Figures] = target.state.setdefault(FIGURES, {})
        return threads.setdefault(threading.get_ident(), OrderedDict())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._figures, name)

    def __contains__(self, number: object) -> bool:
        return number in self._figures

    def __iter__(self) -> Iterator[Any]:
        return iter(self._figures)

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def __getitem__(self, number: Any) -> Any:
        return self._figures[number]

    def __setitem__(self, number: Any, manager: Any) -> None:
        self._figures[number] = manager

    def __delitem__(self, number: Any) -> None:
        del self._figures[number]


def hook(imports: Any, find: Callable[[], Target | None]) -> Callable[[], None]:
    """Replaces the list, if matplotlib was imported, or once it is.

    Args:
        imports: ClearML's `PostImportHookPatching`.
        find: Gives the task whose block logs what matplotlib draws, else None.

    Returns:
        What replaces it, for imports that ClearML does not see.
    """

    def replace() -> None:
        if "matplotlib" in sys.modules:
            from matplotlib import _pylab_helpers

            managers: Any = _pylab_helpers.Gcf
            if type(managers.figs) is OrderedDict:
                managers.figs = ThreadFigures(managers.figs, find)

    replace()
    imports.add_on_import("matplotlib", replace)
    return replace
