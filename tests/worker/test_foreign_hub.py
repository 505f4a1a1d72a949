"""A hub that grants leases without tokens: everything is given back, and it is asked again now and then."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worker.rules_hub import RulesHub
from understudy.clock import iso
from understudy.daemon.life import main_loop
from understudy.worker.claim import claim_body
from understudy.worker.effects import Call, Failed, HubAnswer

HOUR_MS = 3_600_000


class OldHub:
    """Grants as the hub before understudy did: one at a time, no token; releases by the holder's name."""

    def __init__(self, hub: RulesHub, count: int) -> None:
        self.waiting = [f"t{nth}" for nth in range(count)]
        self.leased: dict[str, str] = {}
        self.was_upgraded = False
        self._hub = hub
        hub.stage.hub = self.call
        hub.stage.start(main_loop(hub.stage.state))

    def call(self, call: Call) -> tuple[int, HubAnswer | Failed]:
        if self.was_upgraded or call.path.split("/")[-1] not in ("claim", "release"):
            return self._hub.call(call)
        return 4, HubAnswer(200, self._claimed(call.body) if call.path.endswith("claim") else self._released(call))

    def _claimed(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.waiting:
            return {"success": False, "message": "No tasks available", "pending": 0}
        task_id = self.waiting.pop(0)
        self.leased[task_id] = body["workerId"]
        lease = {"workerId": body["workerId"], "claimedAt": iso(0), "expiresAt": iso(300_000)}
        return {"success": True, "taskId": task_id, "task": {"id": task_id, "content": "?"}, "lease": lease}

    def _released(self, call: Call) -> dict[str, Any]:
        task_id = call.path.split("/")[3]
        if self.leased.get(task_id) == call.body["workerId"]:
            self.waiting.append(task_id)
            del self.leased[task_id]
        return {"success": True}


def claims(hub: RulesHub) -> list[int]:
    return [at for at, call in hub.stage.calls if call.path.endswith("/claim")]


def test_what_has_no_token_is_given_back_and_the_claiming_stops() -> None:
    hub = RulesHub(capacity=8)
    old = OldHub(hub, 20)
    hub.stage.run_for(30_000)
    assert (old.leased, len(old.waiting), hub.stage.started) == ({}, 20, [])
    assert len(claims(hub)) == 1
    assert hub.stage.state.is_hub_foreign
    assert any("without the tokens" in said for said in hub.stage.said)
    assert len([told for told in hub.stage.reported if "cannot work for this hub" in told]) == 1


def test_it_is_asked_for_one_task_ever_more_rarely_and_its_owner_told_once() -> None:
    hub = RulesHub(capacity=8)
    old = OldHub(hub, 20)
    hub.stage.run_for(6 * HOUR_MS)
    assert (old.leased, len(old.waiting), hub.stage.started) == ({}, 20, [])
    assert 10 <= len(claims(hub)) <= 40
    assert claim_body(hub.stage.state, "r")["max"] == 1
    assert len([told for told in hub.stage.reported if "cannot work for this hub" in told]) == 1


def test_a_hub_that_was_upgraded_is_worked_for_again() -> None:
    hub = RulesHub(capacity=8)
    old = OldHub(hub, 1)
    hub.stage.run_for(30_000)
    old.was_upgraded = True
    hub.submit("new")
    assert hub.stage.run_until(lambda: "new" in hub.results, within_ms=HOUR_MS)
    assert not hub.stage.state.is_hub_foreign
    assert any("works for the hub again" in told for told in hub.stage.reported)


def test_an_alarm_of_an_earlier_life_about_the_hub_is_ended_by_the_first_good_lease() -> None:
    hub = RulesHub()
    hub.stage.state.open_alarms.add("hub-foreign:mini")
    hub.submit("new")
    hub.stage.start(main_loop(hub.stage.state))
    assert hub.stage.run_until(lambda: "new" in hub.results, within_ms=HOUR_MS)
    assert ["works for the hub again" in line for line in hub.stage.reported] == [True]
    assert not hub.stage.state.open_alarms


@pytest.mark.parametrize("grant", [{"success": True}, {"success": True, "tasks": [None, 7, {"task": {"id": "a/b"}}]}])
def test_what_names_no_task_is_not_given_back_and_breaks_nothing(grant: dict[str, Any]) -> None:
    hub = RulesHub()
    hub.refuses["/claim"] = HubAnswer(200, grant)
    hub.stage.start(main_loop(hub.stage.state))
    hub.stage.run_for(30_000)
    assert len(claims(hub)) == 1
    assert not [call for _, call in hub.stage.calls if call.path.endswith("/release")]


def test_a_single_task_that_only_we_cannot_read_does_not_stop_the_claiming() -> None:
    hub = RulesHub()
    hub.submit("odd", content=7.5, timeoutSec="soon")
    hub.submit("t1")
    hub.stage.start(main_loop(hub.stage.state))
    assert hub.stage.run_until(lambda: "t1" in hub.results, within_ms=60_000)
    assert not hub.stage.state.is_hub_foreign


ODD_LEASE = {"token": 1, "durationSec": 30, "claimedAt": iso(0), "expiresAt": iso(30_000)}


@pytest.mark.parametrize(
    "odd", [{"durationSec": 1e308}, {"leftSec": 1e308}, {"token": 1e308}, {"token": -1}, {"expiresAt": 5}], ids=str
)
def test_numbers_that_no_hub_means_end_neither_beats_nor_claims(odd: dict[str, Any]) -> None:
    hub = RulesHub()

    def call(call: Call) -> tuple[int, HubAnswer | Failed]:
        if call.path.endswith("/claim"):
            entry = {"taskId": "t1", "task": {"id": "t1", "content": "?"}, "lease": ODD_LEASE | odd}
            return 4, HubAnswer(200, {"success": True, "tasks": [entry]})
        if call.path.endswith("/heartbeat"):
            order = {"id": "d1", "kind": "drain", "expiresInSec": 1e308}
            return 4, HubAnswer(200, {"success": True, "nextInSec": 1e308, "directives": [order]})
        if call.path.endswith("/release"):
            return 4, HubAnswer(200, {"success": True})
        return hub.call(call)

    hub.stage.hub = call
    hub.stage.start(main_loop(hub.stage.state))
    hub.stage.run_for(60_000)
    beats = [call for _, call in hub.stage.calls if call.path.endswith("/heartbeat")]
    assert len(beats) >= 5
    assert not any(beat.body["running"] for beat in beats)
    assert hub.stage.started == []
