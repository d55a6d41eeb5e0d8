"""Calls about the server and its user."""

from __future__ import annotations

from .auth import API_VERSION, SERVER_VERSION
from .registry import Request, endpoint
from .state import COMPANY, USER, USER_NAME, Doc, State


@endpoint("server.info")
def info(state: State, request: Request) -> Doc:
    """What this server calls itself."""
    return {
        "version": SERVER_VERSION,
        "build": "0",
        "commit": "loopback",
        "uid": "loopback",
        "api_version": API_VERSION,
    }


@endpoint("server.config")
def config(state: State, request: Request) -> Doc:
    """The parts of the server's configuration that clients can do without."""
    return {}


@endpoint("debug.ping")
def ping(state: State, request: Request) -> Doc:
    """A sign of life, without credentials."""
    return {"msg": "Because it trains cats and dogs"}


def _user() -> Doc:
    return {
        "id": USER,
        "name": USER_NAME,
        "given_name": "Loopback",
        "family_name": "User",
        "company": {"id": COMPANY, "name": "loopback"},
        "role": "admin",
        "preferences": {},
    }


@endpoint("users.get_current_user")
def get_current_user(state: State, request: Request) -> Doc:
    """The user that the credentials belong to."""
    return {"user": _user(), "settings": {}, "getting_started": {}}


@endpoint("users.get_by_id")
def get_by_id(state: State, request: Request) -> Doc:
    """The one user."""
    return {"user": _user()}


@endpoint("users.get_all", "users.get_all_ex")
def get_all(state: State, request: Request) -> Doc:
    """The one user, as a list."""
    return {"users": [_user()]}


@endpoint("users.get_vaults")
def get_vaults(state: State, request: Request) -> Doc:
    """An open-source server has no vaults."""
    return {"vaults": []}
