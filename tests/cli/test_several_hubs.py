"""Commands that show which hubs run, when several share a store."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.cli.findings.daemons import _hubs
from understudy.cli.findings.finding import NOTICE, OK
from understudy.cli.status import screen

AT = "2026-02-02T02:40:00.000Z"


def hub(name: str, version: str = "1.0", settings: str = "abc") -> dict[str, Any]:
    return {"hub": name, "packageVersion": version, "configFingerprint": settings, "createdAt": AT, "running": True}


def shown(*hubs: dict[str, Any]) -> str:
    return screen(
        {
            "hub": {"url": "http://hub", "version": "1.0", "startedAt": AT},
            "hubs": list(hubs),
            "ready": {"ready": True},
            "claimable": 0,
            "daemons": [],
            "takeover": {},
            "channels": [],
            "openIncidents": [],
            "sharesMachine": False,
        }
    )


def test_status_lists_hubs_that_share_a_store() -> None:
    text = shown(hub("hub-a"), hub("hub-b", "1.1"))
    assert "hub-a  understudy 1.0" in text
    assert "hub-b  understudy 1.1" in text


def test_status_of_one_hub_has_no_list() -> None:
    assert "hub-a" not in shown(hub("hub-a"))


@pytest.mark.parametrize(
    ("other", "level"), [(hub("b"), OK), (hub("b", "1.1"), NOTICE), (hub("b", settings="other"), NOTICE)]
)
def test_doctor_names_hubs_that_differ(other: dict[str, Any], level: str) -> None:
    (found,) = _hubs([hub("a"), other])
    assert found.level == level
    assert "a" in found.what
    assert "b" in found.what


def test_doctor_has_nothing_to_say_of_one_hub() -> None:
    assert list(_hubs([hub("a")])) == []
