"""Checks of the key: it exists, the hub accepts it, and it has the scopes it needs."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from understudy.cli.client import HubClient
from understudy.cli.connection import HubAddress
from understudy.cli.exits import AbsentError, ClientError, RejectedError
from understudy.cli.findings.finding import NOTICE, OK, PROBLEM, Finding, said
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
    missing, not_judged = [], None
    for scope in SCOPES:
        error = _refusal(hub, scope)
        if error is not None and error.fields.get("code") != "scope":
            not_judged = _not_judged(place, scope, error)
            yield not_judged
            break
        if error is not None:
            missing.append(scope)
    if "read" in missing:
        what = t("cli.doctor.scope.what", scopes=", ".join(missing), origin=place.key_from)
        yield Finding("scope", PROBLEM, what, t("cli.doctor.scope.why"), t("cli.doctor.scope.fix"))
    elif missing:
        what = t("cli.doctor.scope.what", scopes=", ".join(missing), origin=place.key_from)
        yield Finding("scope", NOTICE, what, t("cli.doctor.scope.partial"), t("cli.doctor.scope.fix"))
    elif not_judged is None:
        yield Finding("key", OK, t("cli.doctor.key.ok", origin=place.key_from))


def _refusal(hub: HubClient, scope: str) -> ClientError | None:
    """The error that says nothing good of the key; None if the hub has accepted it for this scope."""
    method, path = SCOPES[scope]
    try:
        hub.ask(method, path, None if method == "GET" else {}, repeatable=method == "GET")
    except (RejectedError, AbsentError):  # for its body, after the key; an older hub may not have the path
        return None
    except ClientError as error:
        return error
    return None


def _not_judged(place: HubAddress, first: str, error: ClientError) -> Finding:
    """The hub does not know the key, or nobody has judged it: a firewall, a hub that cannot work, no answer."""
    why, fix = t("cli.doctor.key.why"), t("cli.doctor.key.fix")
    match error.fields.get("status"):
        case HTTPStatus.UNAUTHORIZED:
            return Finding("key", PROBLEM, t("cli.doctor.key.wrong", origin=place.key_from), why, fix)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Finding("key", PROBLEM, error.message, why, fix)
    scopes = ", ".join(list(SCOPES)[list(SCOPES).index(first) :])
    what = t("cli.doctor.scope.unasked", scopes=scopes, origin=place.key_from, reason=said(error))
    return Finding("key", NOTICE, what)
