"""The loops of a whole daemon on the stage: simulated clock, played processes."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.worker.rules_hub import RulesHub
from tests.worker.stage import Hub
from understudy.clock import iso
from understudy.daemon.life import main_loop
from understudy.worker import run
from understudy.worker.claim import lease_of
from understudy.worker.effects import Call, Ended, Failed, HubAnswer, Spawn
from understudy.worker.results import RunResult
from understudy.worker.turns import FREE_MS
from understudy.worker.workspaces import Workspaces

MINUTE_MS = 60_000


def started(hub: RulesHub) -> RulesHub:
    hub.stage.start(main_loop(hub.stage.state))
    return hub


def late_claims(hub: RulesHub, late_ms: int = 24_000) -> Hub:
    """The hub with grants that come so late."""

    def call(call: Call) -> tuple[int, HubAnswer | Failed]:
        delay_ms, answer = hub.call(call)
        is_grant = call.path.endswith("/claim") and isinstance(answer, HubAnswer) and answer.body.get("success")
        return (late_ms if is_grant else delay_ms), answer

    return call


def test_task_goes_from_claim_to_result() -> None:
    hub = started(RulesHub())
    hub.submit("t1", content="2+2?")
    assert hub.stage.run_until(lambda: "t1" in hub.results)
    assert hub.results["t1"]["output"] == "answer"
    assert hub.stage.started == ["t1"]
    assert hub.stage.run_until(lambda: not hub.stage.spool, within_ms=100)


def test_first_beat_is_sent_at_once_and_then_every_interval() -> None:
    hub = started(RulesHub())
    hub.stage.run_for(60_000)
    beats = [at for at, call in hub.stage.calls if call.path.endswith("/heartbeat")]
    assert beats[0] - hub.stage.calls[0][0] < 10
    assert all(9_900 <= later - earlier <= 10_100 for earlier, later in itertools.pairwise(beats))


def test_every_sending_of_a_beat_has_a_new_seq() -> None:
    hub = started(RulesHub())
    hub.loses_answers = 5
    hub.stage.run_for(60_000)
    seqs = [call.body["seq"] for _, call in hub.stage.calls if call.path.endswith("/heartbeat")]
    assert seqs == list(range(1, len(seqs) + 1))


def test_claim_is_followed_by_a_beat_that_names_its_token() -> None:
    hub = started(RulesHub())
    hub.stage.play = lambda _: (120_000, Ended(code=0))
    hub.stage.run_for(1_000)
    hub.submit("t1")
    assert hub.stage.run_until(lambda: bool(hub.stage.state.runs))
    claimed_ms = hub.stage.now_ms
    assert hub.stage.run_until(lambda: all(run.is_named for run in hub.stage.state.runs.values()), within_ms=100)
    assert hub.stage.now_ms - claimed_ms < 20


def test_beats_come_every_third_of_the_shortest_lease() -> None:
    hub = started(RulesHub(on_loss="requeue", lease_ms=6_000))
    hub.stage.play = lambda _: (60_000, Ended(code=0))
    hub.submit("t1")
    hub.stage.run_for(40_000)
    beats = [at for at, call in hub.stage.calls if call.path.endswith("/heartbeat") and call.body["running"]]
    assert all(later - earlier <= 2_100 for earlier, later in itertools.pairwise(beats))
    assert hub.stage.living()


def test_wait_run_goes_on_while_the_hub_is_away_and_its_result_is_delivered_once() -> None:
    """Issue 2, it must show 3: the hub away for 10 minutes kills nothing, starts nothing twice."""
    hub = started(RulesHub())
    hub.stage.play = lambda _: (5 * MINUTE_MS, Ended(code=0, stdout=b"done meanwhile"))
    hub.submit("t1")
    assert hub.stage.run_until(lambda: any(run.is_named for run in hub.stage.state.runs.values()))
    hub.is_away = True
    hub.stage.run_for(4 * MINUTE_MS)
    assert len(hub.stage.living()) == 1
    hub.stage.run_for(6 * MINUTE_MS)
    assert len(hub.stage.spool) == 1
    hub.is_away = False
    assert hub.stage.run_until(lambda: "t1" in hub.results, within_ms=31_000)
    hub.stage.run_for(MINUTE_MS)
    assert hub.stage.started == ["t1"]
    assert hub.applied == ["t1"]
    assert sum(call.path.endswith("/api/results") for _, call in hub.stage.calls if not hub.is_away) >= 1
    assert hub.results["t1"]["output"] == "done meanwhile"
    assert hub.stage.spool == {}


def test_requeue_run_is_dead_before_its_lease_ends_at_a_silent_hub() -> None:
    hub = started(RulesHub(on_loss="requeue"))
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.submit("t1")
    assert hub.stage.run_until(lambda: any(run.is_named for run in hub.stage.state.runs.values()))
    hub.is_away = True
    ends_ms = hub.ends_ms["t1"]
    assert hub.stage.run_until(lambda: not hub.stage.living(), end_ms=ends_ms + 1)
    assert ends_ms - 1_010 <= hub.stage.now_ms < ends_ms
    hub.is_away = False
    hub.stage.run_for(MINUTE_MS)
    assert hub.results == {}, "what was killed for its lease is no failure of the task"
    assert hub.stage.evidence[0][1] == "lost"


def test_unnamed_wait_run_ends_with_its_first_lease() -> None:
    """A claim whose beat never got through blocks nothing (onLoss)."""
    hub = started(RulesHub())
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.stage.run_for(1_000)
    hub.refuses = {"/heartbeat": HubAnswer(503, {})}
    hub.submit("t1")
    assert hub.stage.run_until(lambda: bool(hub.stage.living()))
    ends_ms = hub.ends_ms["t1"]
    assert hub.stage.run_until(lambda: not hub.stage.living(), end_ms=ends_ms)
    assert hub.stage.now_ms < ends_ms


@pytest.mark.parametrize(("on_loss", "is_named"), [("requeue", True), ("wait", False)])
def test_daemon_ends_a_run_with_its_lease_even_if_the_guard_does_not(on_loss: str, *, is_named: bool) -> None:
    hub = started(RulesHub(on_loss=on_loss))
    hub.stage.guard_looks = False
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.stage.run_for(1_000)
    if not is_named:
        hub.refuses = {"/heartbeat": HubAnswer(503, {})}
    hub.submit("t1")
    assert hub.stage.run_until(lambda: bool(hub.stage.living()))
    hub.stage.run_for(50)
    hub.is_away = True
    ends_ms = hub.ends_ms["t1"]
    assert hub.stage.run_until(lambda: not hub.stage.living(), end_ms=ends_ms)
    assert ends_ms - 1_100 < hub.stage.now_ms < ends_ms


def test_cut_connections_lose_no_lease() -> None:
    """Issue 2, it must show 3: 50 cuts."""
    hub = started(RulesHub(on_loss="requeue"))
    hub.stage.play = lambda _: (3 * MINUTE_MS, Ended(code=0, stdout=b"whole"))
    hub.submit("t1")
    for second in range(2, 102, 2):
        hub.stage.after(second * 1_000, lambda: setattr(hub, "loses_answers", 1))
    assert hub.stage.run_until(lambda: "t1" in hub.results)
    assert hub.stage.started == ["t1"]
    assert hub.results["t1"]["success"]


def test_claim_with_a_lost_answer_is_sent_again_under_the_same_id() -> None:
    hub = started(RulesHub())
    granted: list[str] = []

    def losing_the_first_grant(call: Call) -> tuple[int, HubAnswer | Failed]:
        delay_ms, answer = hub.call(call)
        if call.path.endswith("/claim") and isinstance(answer, HubAnswer) and answer.body.get("success"):
            granted.append(call.body["requestId"])
            if len(granted) == 1:
                return delay_ms, Failed("connection cut")
        return delay_ms, answer

    hub.stage.hub = losing_the_first_grant
    hub.submit("t1")
    assert hub.stage.run_until(lambda: "t1" in hub.results)
    assert granted[0] == granted[1]
    assert hub.stage.started == ["t1"]


def test_claim_answer_older_than_its_lease_is_confirmed_by_a_beat_before_anything_starts() -> None:
    hub = started(RulesHub(on_loss="requeue", poll_wait_ms=15_000))
    hub.stage.run_for(1_000)
    hub.stage.hub = late_claims(hub)
    hub.submit("t1")
    assert hub.stage.run_until(lambda: bool(hub.stage.state.runs))
    run = next(iter(hub.stage.state.runs.values()))
    assert hub.stage.started == []
    assert hub.stage.run_until(lambda: bool(hub.stage.started), within_ms=1_000)
    assert run.is_named


def test_claim_answer_that_nobody_confirms_is_given_back_unstarted() -> None:
    hub = started(RulesHub(on_loss="requeue"))
    hub.stage.run_for(1_000)
    hub.stage.hub = late_claims(hub)
    hub.refuses = {"/heartbeat": HubAnswer(503, {})}
    hub.submit("t1")
    assert hub.stage.run_until(lambda: bool(hub.released), within_ms=120_000)
    assert hub.released == [("t1", "not_started")]
    assert hub.stage.started == []


def test_lost_run_is_killed_and_its_result_kept_as_evidence() -> None:
    hub = started(RulesHub())
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.submit("t1")
    hub.stage.run_for(5_000)
    hub.take_away("t1")
    assert hub.stage.run_until(lambda: not hub.stage.living(), within_ms=11_000)
    hub.stage.run_for(MINUTE_MS)
    assert [(result.task_id, reason) for result, reason in hub.stage.evidence] == [("t1", "lost")]
    assert hub.results == {}
    assert hub.stage.guard.runs == {}


def test_result_that_comes_too_late_is_refused_once_and_becomes_evidence() -> None:
    hub = started(RulesHub())
    hub.submit("t1")
    assert hub.stage.run_until(lambda: bool(hub.stage.started))
    hub.refuses = {"/heartbeat": HubAnswer(503, {})}
    hub.take_away("t1")
    assert hub.stage.run_until(lambda: bool(hub.stage.evidence))
    assert len(hub.refused) == 1
    assert hub.stage.evidence[0][1] == "lease_lost"
    assert hub.stage.spool == {}


def test_cancelled_run_is_ended_and_confirmed() -> None:
    hub = started(RulesHub())
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.submit("t1")
    hub.stage.run_for(5_000)
    hub.cancelled.add("t1")
    assert hub.stage.run_until(lambda: "t1" in hub.results, within_ms=12_000)
    assert hub.results["t1"]["failure"] == {"class": "cancelled", "final": False}
    assert not hub.stage.living()


def test_run_beyond_its_limit_is_reported_as_timed_out() -> None:
    hub = started(RulesHub())
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.submit("t1", timeoutSec=60)
    assert hub.stage.run_until(lambda: "t1" in hub.results, within_ms=61_000)
    assert hub.results["t1"]["failure"]["class"] == "timed_out"
    assert 60_000 <= hub.results["t1"]["durationMs"] < 60_100


@pytest.mark.parametrize("code", ["superseded", "id_taken"])
def test_daemon_whose_name_is_taken_ends_its_runs_and_falls_silent(code: str) -> None:
    hub = started(RulesHub())
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.submit("t1")
    hub.stage.run_for(5_000)
    hub.refuses = {"/heartbeat": HubAnswer(409, {"error": "?", "code": code})}
    assert hub.stage.run_until(lambda: not hub.stage.living(), within_ms=11_000)
    hub.stage.run_for(1_000)
    calls = len(hub.stage.calls)
    hub.stage.run_for(10 * MINUTE_MS)
    assert len(hub.stage.calls) == calls
    assert any(line.startswith("critical Daemon") and "mini" in line for line in hub.stage.said)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_key_is_said_with_its_mend_and_ends_no_run(status: int) -> None:
    hub = started(RulesHub())
    hub.stage.play = lambda _: (5 * MINUTE_MS, Ended(code=0, stdout=b"late"))
    hub.submit("t1")
    hub.stage.run_for(5_000)
    hub.refuses = {"": HubAnswer(status, {"error": "no"})}
    hub.stage.run_for(4 * MINUTE_MS)
    assert len(hub.stage.living()) == 1
    assert any("critical Heartbeat" in line and str(status) in line for line in hub.stage.said)
    hub.refuses = {}
    assert hub.stage.run_until(lambda: "t1" in hub.results, within_ms=3 * MINUTE_MS)


def test_unknown_boot_is_answered_with_a_beat_and_the_claim_is_repeated() -> None:
    hub = started(RulesHub())
    hub.stage.run_for(1_000)
    hub.boot = "another"
    hub.submit("t1")
    assert hub.stage.run_until(lambda: "t1" in hub.results, within_ms=20_000)


def test_result_spooled_by_an_earlier_life_is_delivered_before_the_first_beat() -> None:
    hub = RulesHub()
    hub.token["old"] = 7
    hub.stage.spool["run-0"] = RunResult(name="run-0", task_id="old", token=7, success=True, output="kept")
    started(hub)
    assert hub.stage.run_until(lambda: any(c.path.endswith("/heartbeat") for _, c in hub.stage.calls))
    assert hub.results["old"]["output"] == "kept"
    assert hub.stage.spool == {}


@pytest.mark.parametrize("batch_answer", [HubAnswer(400, {"error": "Validation failed"}), Failed("timeout")])
def test_a_hub_that_settles_nothing_holds_up_the_first_beat_for_a_bounded_time(batch_answer: Any) -> None:
    """Each result posted by itself may take its whole time limit: there were a hundred of them."""
    hub = RulesHub()
    for nth in range(100):
        name = f"run-{nth:03}"
        hub.stage.spool[name] = RunResult(name=name, task_id=f"old-{nth}", token=7, success=True)

    def slow(call: Call) -> tuple[int, HubAnswer | Failed]:
        if not call.path.endswith("/results"):
            return hub.call(call)
        return (1, batch_answer) if len(call.body["results"]) > 1 else (60_000, HubAnswer(200, {}))

    hub.stage.hub = slow
    began_ms = hub.stage.now_ms
    started(hub)
    assert hub.stage.run_until(lambda: any(c.path.endswith("/heartbeat") for _, c in hub.stage.calls))
    assert hub.stage.now_ms - began_ms < 15_000
    assert len(hub.stage.state.results) == 100


def test_undelivered_result_of_an_earlier_life_is_named_in_the_beats() -> None:
    hub = RulesHub()
    hub.token["old"] = 7
    hub.on_loss["old"] = "wait"
    hub.stage.spool["run-0"] = RunResult(name="run-0", task_id="old", token=7, success=True)
    hub.refuses = {"/results": HubAnswer(503, {})}
    started(hub)
    hub.stage.run_for(15_000)
    beats = [call.body for _, call in hub.stage.calls if call.path.endswith("/heartbeat")]
    assert [run["token"] for run in beats[0]["running"]] == [7]


def test_result_that_cannot_be_kept_is_delivered_all_the_same_and_stops_the_claiming() -> None:
    hub = started(RulesHub())
    hub.stage.disk_is_full = True
    hub.refuses = {"/results": HubAnswer(503, {})}
    hub.submit("t1")
    hub.submit("t2")
    assert hub.stage.run_until(lambda: bool(hub.stage.state.unkept))
    hub.stage.run_for(MINUTE_MS)
    assert hub.stage.started == ["t1"]
    assert set(hub.stage.guard.runs) == hub.stage.state.unkept, "the guard vouches for it meanwhile"
    hub.refuses = {}
    assert hub.stage.run_until(lambda: "t2" in hub.results, within_ms=120_000)


def test_drain_lets_a_run_finish_and_says_goodbye() -> None:
    hub = started(RulesHub())
    hub.stage.play = lambda _: (8_000, Ended(code=0, stdout=b"in time"))
    hub.submit("t1")
    hub.submit("t2")
    assert hub.stage.run_until(lambda: bool(hub.stage.started))
    hub.stage.state.ask_to_stop()
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped, within_ms=30_000)
    assert hub.results["t1"]["output"] == "in time"
    assert hub.stage.started == ["t1"]
    beats = [call.body for _, call in hub.stage.calls if call.path.endswith("/heartbeat")]
    assert [beats[-1]["state"], beats[-1]["running"]] == ["stopping", []]
    assert any(beat["state"] == "draining" for beat in beats)


def test_a_machine_that_cannot_start_processes_fails_no_task_and_works_again_when_it_can() -> None:
    hub = started(RulesHub())
    assert hub.stage.run_until(lambda: hub.stage.state.is_known)
    hub.stage.cannot_start = Failed("sh: No space left on device", "disk_full")
    hub.stage.state.executors["command"].readiness = lambda _: "ok"  # type: ignore[union-attr]
    for nth in range(5):
        hub.submit(f"t{nth}")
    hub.stage.run_for(60_000)
    assert hub.results == {}
    assert hub.released == [("t0", "not_started")]  # the played hub does not offer it again
    assert hub.stage.state.auth["command"] == "disk_full"
    hub.stage.cannot_start = None
    assert hub.stage.run_until(lambda: len(hub.results) == 4, within_ms=900_000)


@pytest.mark.parametrize(("planned_ms", "said"), [(None, None), (0, 0), (7_200_000, 7_200)])
def test_the_last_beat_says_whether_its_owner_announced_the_stop(planned_ms: int | None, said: int | None) -> None:
    hub = started(RulesHub())
    assert hub.stage.run_until(lambda: hub.stage.state.is_known)
    hub.stage.state.ask_to_stop(planned_ms)
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped, within_ms=30_000)
    beats = [call.body for _, call in hub.stage.calls if call.path.endswith("/heartbeat")]
    assert (beats[-1]["state"], beats[-1].get("plannedForSec")) == ("stopping", said)
    assert all("plannedForSec" not in beat for beat in beats[:-1])


def test_drain_cuts_what_does_not_finish_and_gives_it_back() -> None:
    hub = started(RulesHub())
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.submit("t1")
    assert hub.stage.run_until(lambda: bool(hub.stage.started))
    asked_ms = hub.stage.now_ms
    hub.stage.state.ask_to_stop()
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped, within_ms=60_000)
    assert 20_000 <= hub.stage.now_ms - asked_ms < 22_000
    assert hub.released == [("t1", "drain")]
    assert not hub.stage.living()


def test_second_signal_cuts_at_once() -> None:
    hub = started(RulesHub())
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.submit("t1")
    assert hub.stage.run_until(lambda: bool(hub.stage.started))
    hub.stage.state.ask_to_stop()
    hub.stage.run_for(1_000)
    asked_ms = hub.stage.now_ms
    hub.stage.state.ask_to_stop()
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped, within_ms=60_000)
    assert hub.stage.now_ms - asked_ms < 2_000


def test_drain_with_the_hub_away_ends_in_bounded_time_and_loses_no_result() -> None:
    hub = started(RulesHub())
    hub.submit("t1")
    assert hub.stage.run_until(lambda: bool(hub.stage.started))
    hub.is_away = True
    hub.stage.state.ask_to_stop()
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped, within_ms=60_000)
    assert len(hub.stage.spool) == 1


def test_guard_that_died_is_replaced_and_told_of_every_run() -> None:
    hub = started(RulesHub())
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.submit("t1")
    hub.stage.run_for(5_000)
    known = hub.stage.guard.runs
    hub.stage.guard_is_alive = False
    hub.stage.guard = type(hub.stage.guard)()
    hub.stage.state.signals.raise_("guard")
    hub.stage.after(0, lambda: None)
    hub.stage.run_for(1_000)
    assert known
    assert hub.stage.guard.runs.keys() == known.keys()
    assert all(run.is_named for run in hub.stage.guard.runs.values())


def test_daemon_claims_only_what_it_has_room_for() -> None:
    hub = started(RulesHub(capacity=2))
    hub.stage.play = lambda _: (30_000, Ended(code=0))
    for number in range(5):
        hub.submit(f"t{number}")
    hub.stage.run_for(20_000)
    assert len(hub.stage.living()) == 2
    hub.stage.run_for(90_000)
    assert sorted(hub.applied) == [f"t{number}" for number in range(5)]
    assert sorted(hub.stage.started) == sorted(hub.applied)


def test_what_a_hub_grants_beyond_the_room_that_there_is_is_given_back_unstarted() -> None:
    class Lavish(RulesHub):
        def _claim(self, body: dict[str, Any]) -> tuple[int, HubAnswer]:
            return super()._claim(body | {"max": 50})

    hub = Lavish(capacity=2)
    for n in range(5):
        hub.submit(f"t{n}")
    hub.stage.play = lambda _: (60_000, Ended(code=0))
    hub.stage.start(main_loop(hub.stage.state))
    hub.stage.run_for(30_000)
    assert hub.stage.started == ["t0", "t1"]
    assert hub.released == [(f"t{n}", "not_started") for n in (2, 3, 4)]


def test_a_task_that_meets_a_defect_before_its_start_is_not_claimed_in_a_frenzy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Again(RulesHub):
        def call(self, call: Call) -> tuple[int, HubAnswer | Failed]:
            if call.path.endswith("/release"):
                self.submit("t1")
            return super().call(call)

    def defect(*_: Any, **__: Any) -> None:
        raise RecursionError

    monkeypatch.setattr(run, "start_of", defect)
    hub = started(Again())
    hub.submit("t1")
    hub.stage.run_for(MINUTE_MS)
    assert 3 <= len(hub.released) <= 7
    assert {reason for _, reason in hub.released} == {"not_started"}


def test_tasks_that_nobody_here_can_read_are_given_back_and_asked_for_ever_more_rarely() -> None:
    class Later(RulesHub):
        def grant(self, task: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
            granted = super().grant(task, body)
            return granted | {"task": {**task, "content": None if task["id"] != "readable" else "x"}}

    hub = Later(capacity=4)
    for n in range(2_000):
        hub.submit(f"t{n}")
    hub.stage.start(main_loop(hub.stage.state))
    hub.stage.run_for(MINUTE_MS)
    assert 0 < len(hub.released) < 100
    assert hub.token == {}
    hub.queue.insert(0, {"id": "readable", "content": "x"})
    hub.stage.run_for(MINUTE_MS)
    assert hub.applied == ["readable"]


def test_a_hub_that_grants_the_same_again_and_again_is_not_asked_in_a_frenzy() -> None:
    class Same(RulesHub):
        def _claim(self, body: dict[str, Any]) -> tuple[int, HubAnswer]:
            if self.requests:
                body = body | {"requestId": next(iter(self.requests))}
            return super()._claim(body)

    hub = Same(capacity=4)
    hub.submit("t1")
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.stage.start(main_loop(hub.stage.state))
    hub.stage.run_for(MINUTE_MS)
    assert hub.stage.started == ["t1"]
    assert sum(call.path.endswith("/claim") for _, call in hub.stage.calls) < 50


def test_a_lease_with_a_word_of_any_length_reaches_the_guard() -> None:
    granted = {"durationSec": 60, "claimedAt": iso(0), "expiresAt": iso(60_000), "token": 1, "onLoss": "x" * 2_000_000}
    assert len(lease_of(granted).on_loss) < 100


def test_old_run_of_a_task_that_is_granted_anew_is_lost() -> None:
    hub = started(RulesHub(capacity=2))
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.submit("t1")
    hub.stage.run_for(3_000)
    hub.submit("t1")
    hub.stage.run_for(16_000)
    assert hub.stage.started == ["t1", "t1"]
    assert len(hub.stage.living()) == 1
    assert [run.lease.token for run in hub.stage.state.runs.values()] == [2]


def test_loops_say_when_they_made_their_last_step() -> None:
    hub = started(RulesHub())
    hub.stage.run_for(60_000)
    beats = [call.body for _, call in hub.stage.calls if call.path.endswith("/heartbeat")]
    assert {"claim", "heartbeat", "report", "guard"} <= beats[-1]["loops"].keys()


def test_sleep_is_told_with_the_first_beat_after_it() -> None:
    hub = RulesHub()
    slept = 0
    hub.stage.state.slept_ms = lambda: slept
    started(hub)
    hub.stage.run_for(12_000)
    slept = 3_600_000
    hub.stage.run_for(30_000)
    told = [c.body["sleptSec"] for _, c in hub.stage.calls if "sleptSec" in c.body]
    assert told == [3600]


def test_sent_successfully_is_said_aloud_once_a_minute() -> None:
    hub = started(RulesHub())
    hub.stage.run_for(5 * MINUTE_MS - 5_000)
    assert hub.stage.said.count("info Heartbeat Sent successfully") == 5
    assert hub.stage.said.count("info Heartbeat Waiting") == 5


def test_a_run_for_which_there_is_no_thread_is_given_back_and_its_executor_is_not_ready() -> None:
    hub = started(RulesHub())
    assert hub.stage.run_until(lambda: hub.stage.state.is_known)
    hub.stage.state.executors["command"].readiness = lambda _: "ok"  # type: ignore[union-attr]
    hub.stage.has_no_threads = True
    hub.stage.cannot_start = Failed("sh: can't start new thread", "no_processes")
    for nth in range(5):
        hub.submit(f"t{nth}")
    hub.stage.run_for(60_000)
    assert hub.released == [("t0", "not_started")]
    assert (hub.stage.state.runs, hub.results) == ({}, {})
    assert hub.stage.state.auth["command"] == "no_processes"
    hub.stage.has_no_threads, hub.stage.cannot_start = False, None
    assert hub.stage.run_until(lambda: len(hub.results) == 4, within_ms=900_000)


LOOPS = ("guard", "auth", "heartbeat", "report", "register", "claim", "directives")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_for_which_there_is_no_thread_yet_is_started_when_there_is(loop: str) -> None:
    hub = RulesHub()
    hub.stage.missing_threads = Counter({loop: 3})
    started(hub)
    hub.submit("t1")
    assert hub.stage.run_until(lambda: "t1" in hub.results, within_ms=60_000)
    assert sum("cannot start a thread" in line for line in hub.stage.said) == 3
    assert not hub.stage.missing_threads[loop]


def test_a_daemon_that_waits_for_a_thread_can_be_stopped() -> None:
    hub = RulesHub()
    hub.stage.missing_threads = Counter({"heartbeat": 1_000_000})
    started(hub)
    hub.stage.run_for(60_000)
    hub.stage.state.ask_to_stop()
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped, within_ms=30_000)


def in_workspaces(hub: RulesHub, root: Path) -> None:
    hub.stage.state.workspaces = Workspaces(root=str(root))
    hub.stage.state.executors["command"].readiness = lambda _: "ok"  # type: ignore[union-attr]
    for name in ("here", "gone"):
        (root / name).mkdir(parents=True)
    assert hub.stage.run_until(lambda: hub.stage.state.is_known)


def test_a_workspace_that_vanishes_while_a_task_starts_in_it_ends_that_task_alone(tmp_path: Path) -> None:
    hub = started(RulesHub())
    in_workspaces(hub, tmp_path)
    perform = hub.stage._perform

    def vanishes(loop: Any, effect: Any) -> tuple[bool, Any]:
        if isinstance(effect, Spawn) and effect.plan.cwd == str(tmp_path / "gone"):
            (tmp_path / "gone").rmdir()
            return False, Failed("no such directory", "no_directory")
        return perform(loop, effect)

    hub.stage._perform = vanishes  # type: ignore[method-assign]
    hub.submit("t1", workspace="gone")
    assert hub.stage.run_until(lambda: "t1" in hub.results, within_ms=60_000)
    assert hub.stage.state.auth["command"] == "ok"
    hub.submit("t2", workspace="here")
    hub.submit("t3")
    assert hub.stage.run_until(lambda: {"t2", "t3"} <= hub.results.keys(), within_ms=60_000)
    assert [hub.results[task]["success"] for task in ("t1", "t2", "t3")] == [False, True, True]


def test_without_the_directory_of_all_workspaces_no_task_fails(tmp_path: Path) -> None:
    hub = started(RulesHub())
    root, elsewhere = tmp_path / "root", tmp_path / "unmounted"
    in_workspaces(hub, root)
    root.rename(elsewhere)
    hub.stage.cannot_start = Failed("no such directory", "no_directory")
    for nth in range(4):
        hub.submit(f"t{nth}", workspace="here")
    hub.stage.run_for(60_000)
    assert (hub.results, hub.released) == ({}, [("t0", "not_started")])
    assert hub.stage.state.auth["command"] == "no_directory"
    assert hub.stage.state.start_faults["command"] == str(root)
    elsewhere.rename(root)
    hub.stage.cannot_start = None
    assert hub.stage.run_until(lambda: len(hub.results) == 3, within_ms=900_000)


def test_a_task_that_waits_for_its_turn_is_given_back_before_its_time_is_over_at_the_hub(tmp_path: Path) -> None:
    """The hub ends it a minute after its limit, counted from the claim; it had never begun, and that was its end."""
    hub = started(RulesHub(capacity=2))
    in_workspaces(hub, tmp_path)
    hub.stage.play = lambda _: (3 * MINUTE_MS, Ended(code=0))
    hub.submit("t1", workspace="here")
    hub.submit("t2", workspace="here", timeoutSec=60)
    assert hub.stage.run_until(lambda: len(hub.stage.state.runs) == 2)
    claimed_ms = hub.stage.now_ms
    assert hub.stage.run_until(lambda: bool(hub.released))
    assert (hub.released, hub.stage.started) == ([("t2", "not_started")], ["t1"])
    assert FREE_MS < hub.stage.now_ms - claimed_ms <= FREE_MS + 10_000
    assert hub.stage.run_until(lambda: "t1" in hub.results)
    hub.submit("t2", workspace="here", timeoutSec=60)
    assert hub.stage.run_until(lambda: hub.stage.started == ["t1", "t2"])


def test_a_task_that_waits_for_its_turn_is_given_back_when_its_daemon_drains(tmp_path: Path) -> None:
    hub = started(RulesHub(capacity=2))
    in_workspaces(hub, tmp_path)
    hub.stage.play = lambda _: (8_000, Ended(code=0, stdout=b"in time"))
    hub.submit("t1", workspace="here")
    hub.submit("t2", workspace="here")
    assert hub.stage.run_until(lambda: len(hub.stage.state.runs) == 2 and bool(hub.stage.started))
    asked_ms = hub.stage.now_ms
    hub.stage.state.ask_to_stop()
    assert hub.stage.run_until(lambda: bool(hub.released))
    assert hub.stage.now_ms - asked_ms < 1_000
    assert hub.stage.run_until(lambda: hub.stage.state.is_stopped, within_ms=30_000)
    assert (hub.stage.started, hub.applied, hub.released) == (["t1"], ["t1"], [("t2", "not_started")])


@pytest.mark.parametrize(("first_s", "releases"), [(60, 0), (110, 0), (630, 1), (700, 2)])
def test_tasks_that_wait_for_their_turn_begin_in_the_order_in_which_they_came(
    tmp_path: Path, first_s: int, releases: int
) -> None:
    class Again(RulesHub):
        def call(self, call: Call) -> tuple[int, HubAnswer | Failed]:
            if call.path.endswith("/release"):
                self.submit(call.path.split("/")[3], workspace="here")
            return super().call(call)

    hub = started(Again(capacity=3, poll_wait_ms=1_000))
    in_workspaces(hub, tmp_path)
    hub.stage.play = lambda task: (first_s * 1_000 if task.id == "t1" else 1_000, Ended(code=0))
    for name in ("t1", "t2", "t3"):
        hub.submit(name, workspace="here")
        hub.stage.run_for(20_000)
    assert hub.stage.run_until(lambda: len(hub.results) == 3, within_ms=20 * MINUTE_MS)
    assert hub.stage.started == ["t1", "t2", "t3"]
    assert len(hub.released) == releases


def test_what_a_task_waited_beyond_40_s_counts_to_its_limit(tmp_path: Path) -> None:
    """So it has ended before the hub ends it, a minute after its limit."""
    hub = started(RulesHub(capacity=2))
    in_workspaces(hub, tmp_path)
    hub.stage.play = lambda task: (2 * MINUTE_MS if task.id == "t1" else 60 * MINUTE_MS, Ended(code=0))
    hub.submit("t1", workspace="here")
    hub.submit("t2", workspace="here", timeoutSec=600)
    assert hub.stage.run_until(lambda: len(hub.stage.state.runs) == 2)
    claimed_ms = hub.stage.now_ms
    assert hub.stage.run_until(lambda: "t2" in hub.results, within_ms=20 * MINUTE_MS)
    assert 639_000 <= hub.stage.now_ms - claimed_ms <= 641_000
    assert (hub.results["t2"]["failure"]["class"], hub.released) == ("timed_out", [])
    assert "timed out after 520 s: it had waited 120 s" in hub.results["t2"]["error"]


def test_a_grant_that_may_be_too_old_is_given_back_and_claimed_anew() -> None:
    """The hub counts the time limit from its grant, and this one does not say how much of the lease is left."""
    hub = started(RulesHub())
    hub.says_left = False
    assert hub.stage.run_until(lambda: hub.stage.state.is_known)
    hub.is_away = True
    hub.stage.run_for(MINUTE_MS)
    hub.submit("t1", timeoutSec=30)
    hub.is_away = False
    assert hub.stage.run_until(lambda: bool(hub.released), within_ms=MINUTE_MS)
    assert (hub.released, hub.stage.started) == ([("t1", "not_started")], [])
    hub.submit("t1", timeoutSec=30)
    assert hub.stage.run_until(lambda: "t1" in hub.results, within_ms=MINUTE_MS)


@pytest.mark.parametrize("seconds", [60, 80, 120, 180, 900, 28_800])
@pytest.mark.parametrize("limit_s", [30, 3_600])
def test_what_is_granted_after_an_outage_begins_at_once_with_its_whole_limit(seconds: int, limit_s: int) -> None:
    hub = started(RulesHub())
    assert hub.stage.run_until(lambda: hub.stage.state.is_known)
    hub.is_away = True
    hub.stage.run_for(seconds * 1_000)
    hub.submit("t1", timeoutSec=limit_s)
    hub.stage.play = lambda _: (120 * MINUTE_MS, Ended(code=0))
    hub.is_away = False
    assert hub.stage.run_until(lambda: bool(hub.stage.started), within_ms=MINUTE_MS)
    assert hub.stage.run_until(lambda: "t1" in hub.results, within_ms=70 * MINUTE_MS)
    assert hub.released == []
    assert hub.results["t1"]["error"] == f"timed out after {limit_s} s"


def test_a_claim_keeps_its_id_until_it_is_answered_and_finds_what_it_was_granted() -> None:
    """The lease may last longer than the daemon has waited for the answer; its age counts to the limit of its task."""
    hub = started(RulesHub(on_loss="requeue", lease_ms=10 * MINUTE_MS, poll_wait_ms=1_000))
    assert hub.stage.run_until(lambda: hub.stage.state.is_known)

    def unheard(call: Call) -> tuple[int, HubAnswer | Failed]:
        delay_ms, answer = hub.call(call)
        return delay_ms, Failed("connection cut") if call.path.endswith("/claim") else answer

    hub.stage.hub = unheard
    hub.stage.run_for(2 * MINUTE_MS)
    hub.submit("t1", timeoutSec=600)
    assert hub.stage.run_until(lambda: "t1" in hub.token, within_ms=MINUTE_MS)
    hub.stage.run_for(MINUTE_MS)
    hub.stage.hub, hub.stage.play = hub.call, lambda _: (60 * MINUTE_MS, Ended(code=0))
    assert hub.stage.run_until(lambda: hub.stage.started == ["t1"], within_ms=MINUTE_MS)
    assert hub.stage.run_until(lambda: "t1" in hub.results)
    ran_ms = hub.stage.now_ms - hub.granted_ms["t1"]
    assert (hub.released, abs(ran_ms - 640_000) < 1_000) == ([], True)


@pytest.mark.parametrize("gap_ms", [125_000, 10 * MINUTE_MS])
@pytest.mark.parametrize("stepped_ms", [0, 200_000, -200_000])
@pytest.mark.parametrize("on_loss", ["wait", "requeue"])
def test_a_lease_that_outlived_an_absence_of_its_hub_ends_here_before_it_ends_there(
    on_loss: str, gap_ms: int, stepped_ms: int
) -> None:
    """Its answer was lost before; the hub's own absence, or a step of its clock, took nothing of it."""
    hub = started(RulesHub(on_loss=on_loss))
    hub.stage.play = lambda _: (60 * MINUTE_MS, Ended(code=0))
    assert hub.stage.run_until(lambda: hub.stage.state.is_known)
    hub.stage.run_for(20_000)
    hub.submit("t1", timeoutSec=3_600)
    hub.loses_answers = 100
    assert hub.stage.run_until(lambda: "t1" in hub.token, within_ms=MINUTE_MS)
    hub.absent(gap_ms, stepped_ms)
    hub.loses_answers, hub.refuses = 0, {"/heartbeat": HubAnswer(503, {})}
    assert hub.stage.run_until(lambda: bool(hub.stage.state.runs), within_ms=29_000)
    (run,) = hub.stage.state.runs.values()
    left_ms = hub.ends_ms["t1"] - hub.stage.now_ms
    assert left_ms - 1_100 <= run.deadline_ms - hub.stage.now_ms <= left_ms - 250
    hub.refuses = {}
    assert hub.stage.run_until(lambda: hub.stage.started == ["t1"], within_ms=10_000)


def test_a_line_on_which_no_long_poll_lives_brings_tasks_that_begin_at_once() -> None:
    """A proxy that answers for the hub before the hub does."""
    hub = started(RulesHub())

    def cut(call: Call) -> tuple[int, HubAnswer | Failed]:
        delay_ms, answer = hub.call(call)
        return (5_000, HubAnswer(504, {})) if delay_ms > 5_000 else (delay_ms, answer)

    hub.stage.hub = cut
    hub.stage.run_for(30 * MINUTE_MS)
    hub.submit("t1")
    assert hub.stage.run_until(lambda: "t1" in hub.results, within_ms=MINUTE_MS)
    assert hub.released == []


def test_a_grant_after_a_long_poll_is_as_good_as_any() -> None:
    hub = started(RulesHub(poll_wait_ms=60_000))
    assert hub.stage.run_until(lambda: hub.stage.state.is_known)
    hub.stage.run_for(MINUTE_MS)
    hub.stage.hub = late_claims(hub, 59_000)
    hub.submit("t1")
    assert hub.stage.run_until(lambda: "t1" in hub.results)
    assert (hub.released, hub.stage.started) == ([], ["t1"])
