"""What is told of ClearML's settings without importing it is what ClearML does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._clearml import settings
from tests.support.clearml_process import PRELUDE, start

CONFIGURATION = 'sdk.storage.cache.default_base_dir: "{folder}"\napi.credentials.access_key: "key"\n'
SCRIPT = """
from clearml_taskgroup._clearml import sdk, settings
for name in {unset}:
    os.environ.pop(name, None)
os.environ.update({environment})
known = [settings.task_mode(), settings.is_configured(), str(settings.cache_folder())]
told = [sdk.task_mode(), sdk.is_configured(), str(sdk.cache_folder())]
imported = "clearml" in sys.modules
os.environ.update({environment})  # a relative cache folder is made absolute
from clearml import Task
from clearml.config import config_obj, get_cache_dir
own = [
    "offline" if Task.is_offline() else "online",
    bool(config_obj.get("api.credentials.access_key", None) or os.environ.get("CLEARML_API_ACCESS_KEY")),
    str(Path(get_cache_dir()).absolute()),
]
give([known, told, own, imported])
"""
OURS = ["CLEARML_CONFIG_FILE", "CLEARML_CACHE_DIR", "CLEARML_OFFLINE_MODE"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["online", False, "~/.clearml/cache"]),
        (
            {"CLEARML_OFFLINE_MODE": "1", "CLEARML_CACHE_DIR": "~/a/$OF_TEST"},
            ["offline", False, "~/a/x"],
        ),
        ({"TRAINS_OFFLINE_MODE": "True", "TRAINS_CACHE_DIR": "relative"}, ["offline", False, "relative"]),
        ({"CLEARML_OFFLINE_MODE": "off", "CLEARML_API_ACCESS_KEY": "key"}, ["online", None, "None"]),
        ({"CLEARML_OFFLINE_MODE": "2.9"}, [None, False, "~/.clearml/cache"]),
        ({"CLEARML_OFFLINE_MODE": "1", "CLEARML_CONFIG_FILE": "no such"}, ["offline", None, "None"]),
    ],
)
@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.slow
def test_the_settings_are_those_of_clearml(
    tmp_path: Path, environment: dict[str, str], expected: list[Any], configured: bool
) -> None:
    environment = {**environment, "OF_TEST": "x"}
    home, set_up = tmp_path / "home", tmp_path / "set-up"
    home.mkdir()
    set_up.mkdir()
    if configured:
        (home / "clearml.conf").write_text(CONFIGURATION.format(folder=tmp_path / "other cache"))
    source = PRELUDE + SCRIPT.format(unset=OURS, environment=environment)
    known, told, own, imported = start(["-c", source], set_up, env={"HOME": str(home)}).result
    if not configured:
        assert known == [one.replace("~", str(home)) if isinstance(one, str) else one for one in expected]
    assert told == own
    assert imported == (
        (configured and "CLEARML_CACHE_DIR" not in environment) or None in known or "None" in known
    )


# --- in this process ---------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without a configuration, no variables, and ClearML not imported."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in [name for name in os.environ if name.startswith(("CLEARML_", "TRAINS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "clearml", raising=False)
    return home


def test_once_clearml_is_imported_it_is_asked(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read its settings then; a later change of a variable does not change them."""
    assert settings.task_mode() == "online"
    assert settings.is_configured() is False
    assert settings.cache_folder() == alone / ".clearml" / "cache"
    with monkeypatch.context() as imported:
        imported.setitem(sys.modules, "clearml", sys)
        assert (settings.task_mode(), settings.is_configured(), settings.cache_folder()) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("1", "offline"),
        (" YES ", "offline"),
        ("on", "offline"),
        ("0", "online"),
        ("off", "online"),
        ("2", None),
    ],
)
@pytest.mark.parametrize("prefix", ["CLEARML", "TRAINS"])
def test_the_offline_switch(
    alone: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, text: str, mode: str | None
) -> None:
    """As ClearML reads it; the newer name of the variable goes first, unless it is empty."""
    monkeypatch.setenv(f"{prefix}_OFFLINE_MODE", text)
    assert settings.task_mode() == mode
    monkeypatch.setenv("CLEARML_OFFLINE_MODE", "")
    assert settings.task_mode() == (mode if prefix == "TRAINS" else "online")


@pytest.mark.parametrize(
    "name",
    ["CONFIG_FILE", "CONFIG_PATH", "ENV", "API_ACCESS_KEY", "AUTH_TOKEN", "clearml.conf", "trains.conf"],
)
def test_where_there_may_be_a_configuration_clearml_is_asked(
    alone: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """For credentials and for the cache folder, unless that has a variable."""
    if name.endswith(".conf"):
        (alone / name).touch()
    else:
        monkeypatch.setenv(f"CLEARML_{name}", "x")
    assert settings.may_be_configured()
    assert (settings.is_configured(), settings.cache_folder()) == (None, None)
    monkeypatch.setenv("CLEARML_CACHE_DIR", "~/$OF_TEST/a")
    monkeypatch.setenv("OF_TEST", "x")
    assert settings.cache_folder() == alone / "x" / "a"
