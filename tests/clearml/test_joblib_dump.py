"""`joblib.dump` as ClearML's binding sees it, with modules in place of joblib's."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._clearml import joblib_dump


class Joblib:
    """Takes the place of joblib: its pickler, and the function that `joblib.Memory` makes of another.

    Attributes:
        made: The picklers that were made, as joblib or as ClearML makes them.
    """

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []
        own = self

        class NumpyPickler:
            def __init__(self, file: Any, protocol: int = 0) -> None:
                own.made.append(("joblib", file, protocol))

        class MemorizedFunc:
            def _cached_call(self, value: Any, *, shelving: bool = False) -> Any:
                NumpyPickler("cache")
                if value == "fails":
                    raise ValueError(value)
                return (value, shelving)

        self.pickler, self.memorized = NumpyPickler, MemorizedFunc

    def modules(self) -> dict[str, Any]:
        """The modules that have them."""
        return {
            "joblib.numpy_pickle": SimpleNamespace(NumpyPickler=self.pickler),
            "joblib.memory": SimpleNamespace(MemorizedFunc=self.memorized),
        }


class ClearML:
    """Takes the place of the package; `imported` is called once joblib is imported."""

    def __init__(self, joblib: Joblib) -> None:
        def numpypickler(init: Any, pickler: Any, file: Any, *args: Any, **options: Any) -> None:
            joblib.made.append(("seen", file))
            init(pickler, file, *args, **options)

        self.imported: list[Any] = []
        bind = SimpleNamespace(PatchedJoblib=SimpleNamespace(_numpypickler=numpypickler))
        hooks = SimpleNamespace(
            PostImportHookPatching=SimpleNamespace(
                add_on_import=lambda name, patch: self.imported.append((name, patch))
            )
        )
        self.binding = SimpleNamespace(joblib_bind=bind, import_bind=hooks)


@pytest.fixture
def joblib(monkeypatch: pytest.MonkeyPatch) -> Joblib:
    """Joblib, imported."""
    joblib = Joblib()
    for name, module in joblib.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return joblib


def test_what_is_dumped_in_a_block_is_seen(joblib: Joblib) -> None:
    """With all of its arguments; elsewhere it is joblib's own."""
    active = [True]
    joblib_dump.hook(ClearML(joblib), lambda: active[0])
    joblib.pickler("a", protocol=5)
    assert joblib.made == [("seen", "a"), ("joblib", "a", 5)]
    active[0] = False
    joblib.pickler("b", 4)
    assert joblib.made[2:] == [("joblib", "b", 4)]


def test_what_memory_stores_is_no_model(joblib: Joblib) -> None:
    """Also where one cached function calls another, or fails; afterwards a dump is seen again."""
    joblib_dump.hook(ClearML(joblib), lambda: True)
    function = joblib.memorized()
    assert function._cached_call(3, shelving=True) == (3, True)
    with pytest.raises(ValueError, match="fails"):
        function._cached_call("fails")
    assert {kind for kind, *_ in joblib.made} == {"joblib"}
    joblib.made.clear()
    joblib.pickler("a")
    assert [kind for kind, *_ in joblib.made] == ["seen", "joblib"]


def test_joblib_is_patched_once(joblib: Joblib) -> None:
    clearml = ClearML(joblib)
    joblib_dump.hook(clearml, lambda: True)
    ((name, patch),) = clearml.imported
    patch()
    joblib.pickler("a")
    assert (name, joblib.made) == ("joblib", [("seen", "a"), ("joblib", "a", 0)])


@pytest.mark.parametrize("missing", ["joblib.numpy_pickle", "joblib.memory"])
def test_joblib_is_patched_once_it_is_imported(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """With both of the modules that are needed."""
    joblib = Joblib()
    modules = joblib.modules()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, missing)
    clearml = ClearML(joblib)
    joblib_dump.hook(clearml, lambda: True)
    joblib.pickler("a")
    assert joblib.made == [("joblib", "a", 0)]
    monkeypatch.setitem(sys.modules, missing, modules[missing])
    clearml.imported[0][1]()
    joblib.pickler("b")
    assert joblib.made[1:] == [("seen", "b"), ("joblib", "b", 0)]


def test_older_versions_are_left_to_clearml(joblib: Joblib) -> None:
    """They have the function that it patches."""
    sys.modules["joblib.numpy_pickle"]._read_fileobject = None  # type: ignore[attr-defined]
    joblib_dump.hook(ClearML(joblib), lambda: True)
    joblib.pickler("a")
    assert joblib.made == [("joblib", "a", 0)]
