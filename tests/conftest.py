"""What all tests share: no test sees the user's own ClearML set-up or reaches beyond loopback."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import random
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import hypothesis
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model import limits
from clearml_taskgroup._run import signals as _signals
from clearml_taskgroup.testing import MemoryStore, recording
from tests.loopback import LoopbackServer
from tests.support.server_view import View

SHARED = {"attached", "digits", "imported", "made", "offline", "online", "parts"}
"""Fixtures that run scripts once for all tests of their module."""
for profile, examples in {"tests": 40, "thorough": 200}.items():  # `--hypothesis-profile thorough`
    # Without limits in time: a loaded machine is slow at any moment.
    hypothesis.settings.register_profile(
        profile,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        max_examples=examples,
    )
hypothesis.settings.load_profile("tests")

SETTINGS = "sdk.development.report_use_subprocess: false\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--server`, `--examples` and `--seed`."""
    parser.addoption(
        "--server",
        action="store_true",
        help="run the online tests against the server that ClearML's environment variables name",
    )
    parser.addoption("--examples", type=int, help="how many groups, or sets of parameters, tests generate")
    parser.addoption("--seed", type=int, help="the first seed that tests generate them from")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Each process compiles its share of the test modules first, and finds those of others in the cache.

    With pytest's own asserts that takes longer than anything else in a new checkout.
    """
    of_worker = getattr(session.config, "workerinput", None)
    if of_worker is None or session.config.args != session.config.getini("testpaths"):
        return
    number, count = int(of_worker["workerid"].removeprefix("gw")), of_worker["workercount"]
    modules = sorted(Path(__file__).parent.rglob("test_*.py"))
    for path in modules[number::count]:
        with contextlib.suppress(BaseException):  # which is raised again as the module is collected
            importlib.import_module(".".join(path.relative_to(session.config.rootpath).with_suffix("").parts))


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that look at the same scripts' results run in one process of `--dist loadgroup`."""
    for item in items:
        if SHARED & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("quick"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for of_one_test in cases.values():
        mark = of_one_test[0].get_closest_marker("quick")
        assert mark is not None
        (number,) = mark.args
        for place, item in enumerate(of_one_test):
            if place * number % len(of_one_test) >= number:  # spread evenly over the test's parameters
                item.add_marker(pytest.mark.slow)


@pytest.fixture
def backend() -> Iterator[MemoryStore]:
    """Keeps in memory what the test's groups log."""
    with recording() as recorded:
        yield recorded


@pytest.fixture
def group(backend: MemoryStore) -> Iterator[TaskGroup]:
    """An open group, in memory."""
    with TaskGroup("digits", "sweep") as opened:
        yield opened


@pytest.fixture(scope="session")
def users_environment() -> dict[str, str]:
    """ClearML's variables as they were before the tests."""
    return {name: value for name, value in os.environ.items() if name.startswith("CLEARML_")}


class Seeds(Protocol):
    """Gives the seeds of what a test generates: `count` of them, or a share of those of `--examples`."""

    def __call__(self, count: int, share: float = 1.0) -> range: ...


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> Seeds:
    """Other seeds each time, unless `--seed` gives the first."""

    def seeds(count: int, share: float = 1.0) -> range:
        asked, first = (request.config.getoption(name) for name in ("--examples", "--seed"))
        start = random.randrange(10**9) if first is None else first
        return range(start, start + (count if asked is None else math.ceil(asked * share)))

    return seeds


@pytest.fixture(autouse=True)
def isolated(
    users_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Hides the user's configuration, and gives each test a cache folder of its own.

    A group that a test leaves open on purpose must not keep its signal handler for the next one. A shell's
    background job ignores SIGINT, and `nohup` SIGHUP, which tests raise.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in users_environment:
        monkeypatch.delenv(name, raising=False)
    # Tests that count calls and events take the pages of parents as they are at the end.
    monkeypatch.setattr(limits, "LIVE_FIRST_LOOK_S", 1e6)
    settings = tmp_path / "clearml.conf"
    settings.write_text(SETTINGS)
    monkeypatch.setenv("CLEARML_CONFIG_FILE", str(settings))
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "cache"))
    handler = signal.getsignal(signal.SIGTERM)
    yield
    _signals._users.clear()
    signal.signal(signal.SIGTERM, handler)
    _disconnect_clearml()


def _disconnect_clearml() -> None:
    """ClearML's own connection lasts as long as the process, and each test's server for the test only."""
    if "clearml" in sys.modules:
        from clearml.backend_interface.base import InterfaceBase

        InterfaceBase._default_session = None


@pytest.fixture
def loopback(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    """A loopback server that ClearML is configured for; every request must fit ClearML's schemas."""
    if request.config.getoption("--server"):
        pytest.skip("looks into the loopback server")
    with LoopbackServer() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(limits, "LOGIN_TIMEOUT_S", 60.0)  # a loaded machine may stand still for a while
        yield server
        assert server.violations == []
        assert server.crashes == []


@pytest.fixture
def server(
    request: pytest.FixtureRequest, users_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[View]:
    """A ClearML server: the loopback one, or with `--server` the one that the environment names."""
    from clearml_taskgroup._clearml import login

    real = request.config.getoption("--server")
    if real:
        for name, value in users_environment.items():
            monkeypatch.setenv(name, value)
    else:
        request.getfixturevalue("loopback")
    project = f"taskgroup tests/{uuid.uuid4().hex}"
    view = View(login.connect(), project, patience=30.0 if real else 0.0)
    yield view
    view.clean_up()
