"""`status`: one screen of what a hub says."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.cli.client import HubClient
from understudy.cli.connection import HubAddress
from understudy.cli.exits import AbsentError
from understudy.cli.status import INCIDENTS_SHOWN, look, screen

AT = "2026-02-02T02:40:00.000Z"


def incident(number: int, state: str = "down") -> dict[str, Any]:
    return {"id": f"incident-{number}", "daemonId": f"d{number}", "state": state, "openedAt": AT}


class ScriptedHub(HubClient):
    """A hub with these incidents, newest first; an old one has no overview."""

    def __init__(self, *incidents: dict[str, Any], is_old: bool = False) -> None:
        super().__init__("http://hub:1")
        self._incidents, self._is_old = incidents, is_old

    def get(self, path: str, **query: Any) -> Any:
        if path == "/api/incidents":
            return {"incidents": self._incidents[: query["limit"]]}
        if path == "/api/overview":
            if self._is_old:
                raise AbsentError("Not found")
            return {"openIncidents": [row for row in self._incidents if row["state"] != "recovered"]}
        return {"version": "1.0", "startedAt": AT} if path == "/health" else {}

    def status_of(self, path: str) -> tuple[int, Any]:
        return 200, {"ready": True}


def seen_of(hub: HubClient) -> dict[str, Any]:
    return look(hub, HubAddress(hub.url, ""))


def test_an_open_incident_is_shown_however_many_have_ended_since() -> None:
    ended = [incident(number, "recovered") for number in range(INCIDENTS_SHOWN)]
    assert "incident incident-99 of d99" in screen(seen_of(ScriptedHub(*ended, incident(99))))


@pytest.mark.parametrize("is_old", [False, True])
def test_what_has_ended_is_no_open_incident(is_old: bool) -> None:
    seen = seen_of(ScriptedHub(incident(1), incident(2, "recovered"), is_old=is_old))
    assert [row["id"] for row in seen["openIncidents"]] == ["incident-1"]


def test_of_many_open_incidents_the_rest_is_counted() -> None:
    lines = screen(seen_of(ScriptedHub(*map(incident, range(INCIDENTS_SHOWN + 3))))).split("\n")
    assert sum("incident-" in line for line in lines) == INCIDENTS_SHOWN
    assert "… and 3 more" in lines
