"""What is told of ClearML's settings without importing it is what ClearML does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
