"""Directives on the stage: each is done once, remembered across lives, and told until the hub has heard it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.worker.rules_hub import RulesHub
from understudy.daemon.directives import directive_loop, take_directives
from understudy.daemon.life import main_loop
from understudy.texts import t
from understudy.worker.directives import DirectiveOutcome, SavedDirectives
from understudy.worker.effects import (
    Call,
    Ended,
    Failed,
    HubAnswer,
    Installed,
    LoadDirectives,
    LoadedDirectives,
    Wait,
    WriteLog,
)
from understudy.worker.workspaces import Workspaces

MINUTE_MS = 60_000
LATER = "boot-2"


class OwnersHub(RulesHub):
    """Offers directives with the answers to beats until one names them."""

    def __init__(self, **stage: Any) -> None:
        super().__init__(**stage)
        self.offered: dict[str, dict[str, Any]] = {}
        self.reports: list[dict[str, Any]] = []
        self.loses_reports = 0  # the answers to the next n beats with a report do not arrive

    def ask(self, directive_id: str, kind: str, **more: Any) -> None:
        self.offered[directive_id] = {"id": directive_id, "kind": kind, "expiresInSec": 600, **more}

    def call(self, call: Call) -> tuple[int, HubAnswer | Failed]:
        delay_ms, answer = super().call(call)
        if self.loses_reports and "directives" in call.body:
            self.loses_reports -= 1
            return delay_ms, Failed("connection cut")
        return delay_ms, answer

    def _beat(self, body: dict[str, Any]) -> HubAnswer:
        answer = super()._beat(body)
        for report in body.get("directives", ()):
            self.reports.append(report)
            self.offered.pop(report["id"], None)
        return HubAnswer(200, answer.body | {"directives": list(self.offered.values())})

    def reported(self, directive_id: str) -> list[str]:
        """The states that beats named, each once."""
        states = [report["state"] for report in self.reports if report["id"] == directive_id]
        return [state for n, state in enumerate(states) if n == 0 or states[n - 1] != state]

    def detail(self, directive_id: str) -> str:
        return [r.get("detail", "") for r in self.reports if r["id"] == directive_id][-1]


def begun(hub: OwnersHub) -> OwnersHub:
    hub.stage.start(main_loop(hub.stage.state))
    hub.stage.run_for(500)
    return hub


def reborn(hub: OwnersHub, *, boot_id: str = LATER, **found: Any) -> OwnersHub:
    """The next life of the same daemon, with what the disk keeps."""
    after = OwnersHub()
    after.offered, after.reports = hub.offered, hub.reports
    after.stage.remembered = replace(hub.stage.remembered, **found)
    state = after.stage.state
    state.identity = replace(state.identity, boot_id=boot_id)
    return begun(after)


def claims(hub: OwnersHub) -> int:
    return sum(call.path.endswith("/claim") for _, call in hub.stage.calls)


def test_a_drained_daemon_finishes_what_runs_and_claims_nothing_until_it_is_resumed() -> None:
    hub = begun(OwnersHub())
    hub.stage.play = lambda _: (30_000, Ended(code=0, stdout=b"done"))
    hub.submit("t1")
    assert hub.stage.run_until(lambda: hub.stage.started == ["t1"])
    hub.ask("d1", "drain")
    assert hub.stage.run_until(lambda: hub.reported("d1") == ["started"])
    assert hub.stage.run_until(lambda: hub.reported("d1") == ["started", "done"])
    assert hub.applied == ["t1"]
    hub.submit("t2")
    hub.stage.run_for(5 * MINUTE_MS)
    assert hub.stage.started == ["t1"]
    assert hub.stage.calls[-1][1].body["state"] == "draining"
    hub.ask("d2", "resume")
    assert hub.stage.run_until(lambda: "t2" in hub.results)
    assert hub.reported("d2") == ["done"]


def test_a_task_that_has_not_begun_when_its_daemon_is_drained_is_given_back(tmp_path: Path) -> None:
    hub = begun(OwnersHub(capacity=2))
    (tmp_path / "here").mkdir()
    hub.stage.state.workspaces = Workspaces(root=str(tmp_path))
    hub.stage.play = lambda _: (MINUTE_MS, Ended(code=0, stdout=b"done"))
    for name in ("t1", "t2"):
        hub.submit(name, workspace="here")
    assert hub.stage.run_until(lambda: len(hub.stage.state.runs) == 2 and bool(hub.stage.started))
    hub.ask("d1", "drain")
    assert hub.stage.run_until(lambda: hub.released == [("t2", "not_started")], within_ms=30_000)
    assert hub.stage.run_until(lambda: hub.reported("d1") == ["started", "done"])
    assert (hub.stage.started, hub.applied) == (["t1"], ["t1"])


def test_a_drained_daemon_stays_so_in_its_next_life() -> None:
    hub = begun(OwnersHub())
    hub.ask("d1", "drain")
    assert hub.stage.run_until(lambda: hub.reported("d1")[-1:] == ["done"])
    after = reborn(hub)
    after.submit("t1")
    after.stage.run_for(MINUTE_MS)
    assert claims(after) == 0
    after.ask("d2", "resume")
    assert after.stage.run_until(lambda: "t1" in after.results)


def test_resuming_ends_a_drain_that_still_waits() -> None:
    hub = begun(OwnersHub())
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.submit("t1")
    assert hub.stage.run_until(lambda: hub.stage.started == ["t1"])
    hub.ask("d1", "drain")
    assert hub.stage.run_until(lambda: hub.reported("d1") == ["started"])
    hub.ask("d2", "resume")
    assert hub.stage.run_until(lambda: hub.reported("d2") == ["done"])
    assert hub.reported("d1") == ["started", "failed"]


def test_a_directive_is_done_once_however_often_it_is_offered() -> None:
    hub = begun(OwnersHub())
    hub.ask("d1", "drain")
    assert hub.stage.run_until(lambda: hub.reported("d1")[-1:] == ["done"])
    hub.ask("d2", "resume")
    assert hub.stage.run_until(lambda: hub.reported("d2") == ["done"])
    heard = len(hub.reports)
    hub.ask("d1", "drain")  # the hub has lost the report: it is told again, not done again
    assert hub.stage.run_until(lambda: len(hub.reports) > heard)
    assert hub.reports[-1]["id"] == "d1"
    assert hub.reports[-1]["state"] == "done"
    assert hub.stage.state.mode == "running"


@pytest.mark.parametrize("kind", ["drain", "resume", "restart", "update", "dance"])
def test_a_directive_that_is_offered_while_it_is_being_done_is_not_done_again(kind: str) -> None:
    """A beat may be answered between any two steps of it, and offers what no beat has reported yet."""
    state = OwnersHub(may_update=False).stage.state
    state.is_known = True
    offered = [{"id": "d1", "kind": kind, "version": "1", "expiresInSec": 600}]
    take_directives(state, offered, ())
    loop, effects = directive_loop(state), []
    answer: Any = None
    with suppress(StopIteration):  # a restart ends it
        while not isinstance(effect := loop.send(answer), Wait):
            effects.append(effect)
            answer = LoadedDirectives() if isinstance(effect, LoadDirectives) else None
            take_directives(state, offered, ())
    taken = t("directives.taken", kind=kind)
    assert [effect.message for effect in effects if isinstance(effect, WriteLog)].count(taken) == 1
    assert state.directives == {}


def test_a_report_is_repeated_until_a_beat_with_it_is_accepted() -> None:
    hub = begun(OwnersHub())
    hub.ask("d1", "resume")
    hub.loses_reports = 3
    hub.stage.run_for(MINUTE_MS)
    assert len(hub.reports) == 4
    assert hub.reported("d1") == ["done"]
    heard = len(hub.reports)
    hub.stage.run_for(MINUTE_MS)
    assert len(hub.reports) == heard


def test_a_directive_that_came_too_late_is_not_done() -> None:
    hub = begun(OwnersHub())
    hub.ask("d1", "drain", expiresInSec=0)
    hub.stage.run_for(MINUTE_MS)
    assert hub.stage.state.mode == "running"
    assert hub.reports == []


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "d9"},
        {"kind": "drain"},
        7,
        None,
        {"id": 1, "kind": "drain"},
        {"id": "d9", "kind": "k" * 1_000},
        {"id": "d9", "kind": "drain", "wheel": "w" * 10_000},
    ],
    ids=lambda entry: str(entry)[:40],
)
def test_what_is_no_directive_is_left_alone(entry: Any) -> None:
    hub = begun(OwnersHub())
    hub.offered["d9"] = entry
    hub.stage.run_for(MINUTE_MS)
    assert hub.stage.state.mode == "running"


def test_a_directive_of_a_later_version_fails_and_says_so() -> None:
    hub = begun(OwnersHub())
    hub.ask("d1", "dance")
    assert hub.stage.run_until(lambda: hub.reported("d1") == ["failed"])
    assert "dance" in hub.detail("d1")


# ---- restart


def test_restart_drains_says_goodbye_and_is_done_by_word_of_the_next_life() -> None:
    hub = begun(OwnersHub())
    hub.ask("d1", "restart")
    state = hub.stage.state
    assert hub.stage.run_until(lambda: state.is_stopped)
    assert state.successor == "restart"
    assert hub.reported("d1") == ["started"]
    assert hub.stage.calls[-1][1].body["state"] == "stopping"
    after = reborn(hub)
    assert after.stage.run_until(lambda: after.reported("d1") == ["started", "done"])
    assert LATER in after.detail("d1")
    assert not after.stage.state.is_stop_asked


def test_runs_may_go_on_before_a_restart_as_long_as_was_asked() -> None:
    hub = begun(OwnersHub(drain_ms=1_000))
    hub.stage.play = lambda _: (8 * MINUTE_MS, Ended(code=0, stdout=b"late"))
    hub.submit("t1")
    assert hub.stage.run_until(lambda: hub.stage.started == ["t1"])
    hub.ask("d1", "restart")
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped, within_ms=20 * MINUTE_MS)
    assert hub.applied == ["t1"]


def test_what_does_not_end_in_time_is_cut_before_a_restart() -> None:
    hub = begun(OwnersHub(drain_ms=1_000))
    hub.stage.play = lambda _: (60 * MINUTE_MS, Ended(code=0))
    hub.submit("t1")
    assert hub.stage.run_until(lambda: hub.stage.started == ["t1"])
    asked_ms = hub.stage.now_ms
    hub.ask("d1", "restart")
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped, within_ms=20 * MINUTE_MS)
    assert hub.stage.now_ms - asked_ms < 10 * MINUTE_MS
    assert hub.released == [("t1", "drain")]


@pytest.mark.parametrize("kind", ["restart", "update"])
def test_a_daemon_that_cannot_write_down_why_does_not_end(kind: str) -> None:
    hub = begun(OwnersHub())
    hub.stage.disk_is_full = True
    hub.ask("d1", kind, version="1")
    assert hub.stage.run_until(lambda: hub.reported("d1") == ["failed"])
    assert "No space left" in hub.detail("d1")
    assert not hub.stage.state.is_stop_asked


def test_a_drain_that_the_disk_does_not_take_holds_says_so_and_is_kept_later() -> None:
    hub = begun(OwnersHub())
    hub.stage.disk_is_full = True
    hub.ask("d1", "drain")
    assert hub.stage.run_until(lambda: hub.reported("d1")[-1:] == ["done"])
    assert "No space left" in hub.detail("d1")
    assert hub.stage.state.mode == "draining"
    assert not hub.stage.remembered.saved.is_drained
    hub.stage.disk_is_full = False
    hub.stage.run_for(2 * MINUTE_MS)
    after = reborn(hub)
    after.submit("t1")
    after.stage.run_for(MINUTE_MS)
    assert claims(after) == 0


def test_a_resume_that_the_disk_does_not_take_is_kept_later() -> None:
    hub = begun(OwnersHub())
    hub.ask("d1", "drain")
    assert hub.stage.run_until(lambda: hub.reported("d1")[-1:] == ["done"])
    hub.stage.disk_is_full = True
    hub.ask("d2", "resume")
    assert hub.stage.run_until(lambda: hub.reported("d2") == ["done"])
    assert "No space left" in hub.detail("d2")
    hub.stage.disk_is_full = False
    hub.stage.run_for(2 * MINUTE_MS)
    after = reborn(hub)
    after.submit("t1")
    assert after.stage.run_until(lambda: "t1" in after.results)


def running(run_ms: int) -> OwnersHub:
    """A daemon that has just begun a run of so many ms."""
    hub = begun(OwnersHub())
    hub.stage.play = lambda _: (run_ms, Ended(code=0, stdout=b"done"))
    hub.submit("t1")
    assert hub.stage.run_until(lambda: hub.stage.started == ["t1"])
    return hub


def restart(hub: OwnersHub) -> None:
    """It waits for its run before it starts anew."""
    hub.ask("d1", "restart")
    assert hub.stage.run_until(lambda: hub.stage.state.is_stop_asked)


def test_a_signal_outranks_a_restart() -> None:
    hub = running(60 * MINUTE_MS)
    restart(hub)
    hub.stage.state.ask_to_stop()
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped, within_ms=MINUTE_MS)
    assert hub.stage.state.successor == ""


def test_the_first_signal_during_a_restart_lets_runs_go_on_as_any_first_signal_does() -> None:
    hub = running(60_000)
    began_ms = hub.stage.now_ms
    restart(hub)
    hub.stage.run_for(began_ms + 50_000 - hub.stage.now_ms)
    assert hub.stage.living(), "it needs 10 s more"
    hub.stage.state.ask_to_stop()
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped, within_ms=MINUTE_MS)
    assert hub.applied == ["t1"]


def test_the_second_signal_during_a_restart_cuts_at_once() -> None:
    hub = running(60 * MINUTE_MS)
    restart(hub)
    for _ in range(2):
        hub.stage.state.ask_to_stop()
    assert hub.stage.run_until(lambda: not hub.stage.living(), within_ms=2_000)


# ---- update


def updating(install: Any) -> OwnersHub:
    hub = begun(OwnersHub())
    hub.stage.install = install
    hub.ask("d1", "update", version="0.2.0")
    return hub


def test_an_update_is_installed_first_and_then_given_way_to() -> None:
    hub = updating(lambda order: Installed(f"{order.version}-env", order.version))
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped)
    assert hub.stage.state.successor == "0.2.0-env"
    after = reborn(hub, environment="0.2.0-env")
    assert after.stage.run_until(lambda: after.reported("d1") == ["started", "done"])
    assert after.stage.has_arrived


def test_an_update_that_cannot_be_installed_changes_nothing() -> None:
    hub = updating(lambda _: Failed("its SHA-256 is another"))
    assert hub.stage.run_until(lambda: hub.reported("d1") == ["failed"])
    assert hub.detail("d1") == "its SHA-256 is another"
    assert not hub.stage.state.is_stop_asked


def test_an_update_is_refused_where_its_owner_has_switched_it_off() -> None:
    hub = OwnersHub(may_update=False)
    hub.stage.install = lambda _: pytest.fail("installed")
    begun(hub)
    hub.ask("d1", "update", version="0.2.0")
    assert hub.stage.run_until(lambda: hub.reported("d1") == ["failed"])


def test_an_update_that_was_taken_back_is_told_by_the_old_version_with_the_reason() -> None:
    hub = updating(lambda _: Installed("0.2.0-env", "0.2.0"))
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped)
    after = reborn(hub, verdicts={"d1": "no heartbeat within 60 s"})
    assert after.stage.run_until(lambda: after.reported("d1") == ["started", "failed"])
    assert after.detail("d1") == "no heartbeat within 60 s"


def test_an_update_that_was_cut_short_is_no_success() -> None:
    hub = updating(lambda _: Installed("0.2.0-env", "0.2.0"))
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped)
    after = reborn(hub)  # the machine was switched off: the service has started the old version
    assert after.stage.run_until(lambda: after.reported("d1") == ["started", "failed"])


def test_an_update_that_a_crash_cut_short_while_it_was_installed_is_no_success() -> None:
    """Both lives run in the first installation, which has no name; the update has no environment yet."""
    at_the_crash: list[LoadedDirectives] = []
    hub = updating(lambda _: at_the_crash.append(hub.stage.remembered) or Failed("killed"))
    assert hub.stage.run_until(lambda: bool(at_the_crash))
    hub.stage.remembered = at_the_crash[0]
    after = reborn(hub)
    assert after.stage.run_until(lambda: after.reported("d1")[-1:] == ["failed"])
    assert after.detail("d1") == "it was stopped before the new version was started"


def test_a_life_that_no_hub_has_heard_of_proves_nothing() -> None:
    hub = OwnersHub()
    record = DirectiveOutcome("d1", "update", "started", "boot-0", environment="0.2.0-env")
    hub.stage.remembered = LoadedDirectives(SavedDirectives((record,)), environment="0.2.0-env")
    hub.is_away = True
    begun(hub)
    hub.stage.run_for(5 * MINUTE_MS)
    assert not hub.stage.has_arrived
    hub.is_away = False
    assert hub.stage.run_until(lambda: hub.reported("d1") == ["started", "done"])
    assert hub.stage.has_arrived


def test_a_life_that_ends_before_any_hub_has_heard_of_it_has_not_arrived() -> None:
    hub = OwnersHub()
    hub.is_away = True
    begun(hub)
    hub.stage.state.ask_to_stop()
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped)
    assert not hub.stage.has_arrived


def test_no_more_directives_wait_than_outcomes_are_kept() -> None:
    hub = OwnersHub()
    begun(hub)
    offered = [{"id": f"d{n}", "kind": "resume"} for n in range(1_000)]
    take_directives(hub.stage.state, offered, ())
    assert len(hub.stage.state.directives) == 32


def test_only_the_latest_records_are_kept() -> None:
    hub = begun(OwnersHub())
    for n in range(40):
        hub.ask(f"d{n}", "resume")
    assert hub.stage.run_until(lambda: len(hub.reports) >= 40)
    assert len(hub.stage.remembered.saved.outcomes) == 32


def test_orders_survive_an_answer_that_was_lost() -> None:
    hub = begun(OwnersHub())
    hub.ask("d1", "drain")
    hub.loses_answers = 4
    assert hub.stage.run_until(lambda: hub.reported("d1")[-1:] == ["done"])
