"""Checks of the key: it exists, the hub accepts it, and it has the scopes it needs."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from understudy.cli.client import HubClient
from understudy.cli.connection import HubAddress
from understudy.cli.exits import ClientError, RefusedError
from understudy.cli.findings.finding import NOTICE, OK, PROBLEM, Finding
from understudy.texts import t

# A body that no hub accepts shows whether the key has the scope: the key is judged before the body
SCOPES = {
    "read": ("GET", "/api/tasks?limit=1"),
    "submit": ("POST", "/api/queue"),
    "work": ("POST", "/api/results"),
    "memory": ("POST", "/api/memory/save"),
}


def look(hub: HubClient, place: HubAddress) -> Iterator[Finding]:
    """Each scope is tried with a request that changes nothing."""
    if not place.key:
        yield Finding("key", PROBLEM, t("cli.doctor.key.none"), t("cli.doctor.key.why"), t("cli.doctor.key.fix"))
        return
    missing = []
    for scope, (method, path) in SCOPES.items():
        try:
            hub.ask(method, path, None if method == "GET" else {}, repeatable=method == "GET")
        except RefusedError as error:
            if error.fields.get("status") == HTTPStatus.UNAUTHORIZED:
                what = t("cli.doctor.key.wrong", origin=place.key_from)
                yield Finding("key", PROBLEM, what, t("cli.doctor.key.why"), t("cli.doctor.key.fix"))
                return
            missing.append(scope)
        except ClientError as error:  # a refusal for its body: the key has the scope
            if error.fields.get("status") == HTTPStatus.TOO_MANY_REQUESTS:
                yield Finding("key", PROBLEM, error.message, t("cli.doctor.key.why"), t("cli.doctor.key.fix"))
                return
    if "read" in missing:
        what = t("cli.doctor.scope.what", scopes=", ".join(missing), origin=place.key_from)
        yield Finding("scope", PROBLEM, what, t("cli.doctor.scope.why"), t("cli.doctor.scope.fix"))
    elif missing:
        what = t("cli.doctor.scope.what", scopes=", ".join(missing), origin=place.key_from)
        yield Finding("scope", NOTICE, what, t("cli.doctor.scope.partial"), t("cli.doctor.scope.fix"))
    else:
        yield Finding("key", OK, t("cli.doctor.key.ok", origin=place.key_from))
