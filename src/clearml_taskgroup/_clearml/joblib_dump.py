"""Lets `joblib.dump` be seen with joblib 1.5 and newer, where ClearML's binding stops halfway.

It patches `numpy_pickle._read_fileobject`, which those versions do not have, and swallows the error: files
that are written compressed are seen, others are not. Only the dumps of a group's tasks are added here; those
of the script's own main task stay as ClearML has them.
"""

from __future__ import annotations

import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_caching = threading.local()


def hook(clearml: Any, is_active: Callable[[], bool]) -> None:
    """Patches joblib, if it was imported, or once it is.

    Args:
        clearml: The package.
        is_active: Whether what joblib saves now is a model of a group's task.
    """
    patch = functools.partial(_patch, clearml.binding.joblib_bind, is_active)
    patch()
    clearml.binding.import_bind.PostImportHookPatching.add_on_import("joblib", patch)


def _patch(binding: Any, is_active: Callable[[], bool]) -> None:
    numpy_pickle, memory = sys.modules.get("joblib.numpy_pickle"), sys.modules.get("joblib.memory")
    if numpy_pickle is None or memory is None or hasattr(numpy_pickle, "_read_fileobject"):
        return
    pickler, function = numpy_pickle.NumpyPickler, memory.MemorizedFunc
    if not hasattr(pickler.__init__, "__wrapped__"):
        pickler.__init__ = _seen(pickler.__init__, binding, is_active)
        function._cached_call = _unseen(function._cached_call)


def _seen(init: Callable[..., None], binding: Any, is_active: Callable[[], bool]) -> Callable[..., None]:
    @functools.wraps(init)
    def seen(pickler: Any, file: Any, *args: Any, **options: Any) -> None:
        if getattr(_caching, "depth", 0) or not is_active():
            init(pickler, file, *args, **options)
        else:
            binding.PatchedJoblib._numpypickler(init, pickler, file, *args, **options)

    return seen


def _unseen(call: Callable[..., Any]) -> Callable[..., Any]:
    """What `joblib.Memory` stores is no model."""

    @functools.wraps(call)
    def unseen(*args: Any, **options: Any) -> Any:
        _caching.depth = getattr(_caching, "depth", 0) + 1
        try:
            return call(*args, **options)
        finally:
            _caching.depth -= 1

    return unseen
