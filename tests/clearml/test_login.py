"""Logging in through ClearML's own session; its faults are in test_api."""

from __future__ import annotations

import re
from pathlib import Path

from clearml_taskgroup._clearml import login
from tests.loopback import LoopbackServer
from tests.support.clearml_process import run


def test_each_private_part_is_listed() -> None:
    """The list at the top of `login` names each part of ClearML's session that is used."""
    listed, code = login.__doc__ or "", Path(login.__file__).read_text().partition('"""\n\nfrom')[2]
    used = set(re.findall(r"\b(?:session|kind|_session|session_class\(\))\.([a-z_]\w*)", code))
    used |= set(re.findall(r"def (_send_request|_connect)\b", code))
    used -= {"answer_timeout"}  # our own
    assert len(used) > 7
    assert {name for name in used if name not in listed} == set()


def test_a_connection_tells_where_the_server_is(tmp_path: Path) -> None:
    """ClearML's `Session` logs in, tells both addresses, and gives a token that can be renewed."""
    script = """
        from clearml_taskgroup._clearml import login
        import requests
        from clearml.backend_api import Session
        own_limit = Session._session_timeout
        found = login.connect()
        def accepted():
            answer = requests.post(found.host + "/tasks.get_all", json={}, timeout=10.0,
                                   headers={"Authorization": "Bearer " + found.token()})
            return answer.status_code
        statuses = [accepted()]
        found.renew()
        statuses.append(accepted())
        give([found.host, found.web, found.files, found.verify, found.new_pages, statuses, len(own_limit)])
    """
    with LoopbackServer() as server:
        done = run(script, tmp_path, env=server.environment())
        files = server.files_url
        assert done.result == [server.url, files, files, True, True, [200, 200], 2]
        assert server.count("auth.login") == 2


def test_refused_credentials_are_a_login_error(tmp_path: Path) -> None:
    """Where the server refuses the key, `connect` raises a `LoginError` instead of ClearML's own."""
    script = """
        from clearml_taskgroup._clearml import login
        from clearml_taskgroup.errors import LoginError
        try:
            login.connect()
        except LoginError as error:
            give(str(error))
    """
    with LoopbackServer() as server:
        done = run(script, tmp_path, env={**server.environment(), "CLEARML_API_SECRET_KEY": "wrong"})
    assert "cannot log in" in done.result


def test_the_servers_address_is_read_without_asking_it(tmp_path: Path) -> None:
    """`Session.get_api_server_host` follows the file and the environment, and nobody is connected to."""
    (tmp_path / "clearml.conf").write_text(
        'api { api_server: "http://127.0.0.1:9/", verify_certificate: false }\n'
    )
    script = """
        from clearml_taskgroup._clearml import login
        found = [login.api_server()]
        os.environ["CLEARML_API_HOST"] = "http://127.0.0.1:10"
        give([*found, login.api_server()])
    """
    assert run(script, tmp_path).result == [["http://127.0.0.1:9", False], ["http://127.0.0.1:10", False]]
