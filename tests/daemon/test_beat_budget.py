"""A beat is never too large for ever: every run is named in each, what is long waits for its turn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from tests.worker.stage import Stage
from understudy.daemon.beat_budget import (
    BEAT_BYTES_MAX,
    BEAT_BYTES_MIN,
    GROWS_AFTER_MS,
    SAID_AGAIN_AFTER_MS,
    BeatBudget,
)
from understudy.daemon.heartbeat import HEARTBEAT, heartbeat_loop
from understudy.wire.daemons import HeartbeatBody
from understudy.wire.limits import BODY_BYTES_MAX, CHECKPOINT_BYTES_MAX
from understudy.worker.effects import Call, Failed, HubAnswer
from understudy.worker.executors import RunProgress, TaskToRun
from understudy.worker.state import PROVIDES_MAX, RUNNING_NAMED_MAX, Lease, Run

OK = HubAnswer(200, {"success": True, "nextInSec": 10, "lost": [], "cancel": []})
LONG = "\u4e16" * 21_000  # nearly as long as a checkpoint may be


def stage_with(runs: int, limit: int = BODY_BYTES_MAX, refusal: HubAnswer | None = None) -> tuple[Stage, list[Any]]:
    """A daemon with so many runs that have much to say, and the beats that its hub accepted."""
    accepted: list[Any] = []

    def hub(call: Call) -> tuple[int, HubAnswer]:
        raw = msgspec.json.encode(call.body)
        if call.path != HEARTBEAT or len(raw) > limit:
            return 1, refusal or HubAnswer(413, {"error": "Request body too large", "limitBytes": limit})
        msgspec.json.decode(raw, type=HeartbeatBody)
        accepted.append(msgspec.json.decode(raw))
        return 1, OK

    stage = Stage(hub)
    for nth in range(runs):
        run = Run(f"r{nth}", TaskToRun(id=f"t{nth}"), Lease(nth, "wait", 30_000, 30_000), 0, 0)
        run.progress = RunProgress(at=1, text="\u4e16" * 1_000, checkpoint=f"{nth} {LONG}")
        stage.state.runs[run.id] = run
    return stage, accepted


@pytest.mark.parametrize("limit", [BODY_BYTES_MAX, 300_000], ids=["the hub's limit", "a smaller one of a proxy"])
@pytest.mark.parametrize("runs", [1, 48, RUNNING_NAMED_MAX])
def test_all_that_runs_have_to_say_arrives_in_as_many_beats_as_it_needs(runs: int, limit: int) -> None:
    stage, accepted = stage_with(runs, limit)
    stage.start(heartbeat_loop(stage.state))
    told: set[str] = set()

    def everything() -> bool:
        told.update(entry["taskId"] for beat in accepted for entry in beat["running"] if "checkpoint" in entry)
        return len(told) == runs

    assert stage.run_until(everything, within_ms=300_000)
    assert all(len(beat["running"]) == runs for beat in accepted), "every beat is the whole truth of this boot"
    assert all(entry["token"] == nth for beat in accepted for nth, entry in enumerate(beat["running"]))
    stage.run_for(20_000)
    assert not any("checkpoint" in entry for entry in accepted[-1]["running"]), "what was told is told once"


@pytest.mark.parametrize("runs", [48, RUNNING_NAMED_MAX])
def test_no_beat_is_refused_even_where_a_megabyte_is_a_million_bytes(runs: int) -> None:
    """Some proxies count so; what is refused has already cost a renewal."""
    stage, accepted = stage_with(runs, 1_000_000)
    stage.start(heartbeat_loop(stage.state))
    assert stage.run_until(lambda: len(accepted) == 5, within_ms=60_000)
    assert [beat["seq"] for beat in accepted] == [1, 2, 3, 4, 5]
    largest = max(len(msgspec.json.encode(beat)) for beat in accepted)
    assert BEAT_BYTES_MAX - CHECKPOINT_BYTES_MAX < largest <= BEAT_BYTES_MAX


def test_names_count_in_the_budget_and_all_of_it_is_used() -> None:
    body = {"running": [{"taskId": "i" * 128} for _ in range(RUNNING_NAMED_MAX)]}
    details = [(place, {"checkpoint": "x" * 4_000}) for place in range(RUNNING_NAMED_MAX)]
    assert BeatBudget().fitted(body, details)
    assert BEAT_BYTES_MAX - 5_000 < len(msgspec.json.encode(body)) <= BEAT_BYTES_MAX


def test_beat_whose_content_is_refused_is_followed_by_a_bare_one() -> None:
    """A hub of another version may not understand a part: leases and liveness do not depend on it."""
    stage, accepted = stage_with(2, 1_000, HubAnswer(400, {"error": "Validation failed", "details": ["loops: no"]}))
    stage.start(heartbeat_loop(stage.state))
    assert stage.run_until(lambda: bool(accepted), within_ms=1_000)
    assert {"daemonId", "bootId", "seq", "running", "state"} <= accepted[0].keys()
    assert accepted[0].keys().isdisjoint({"loops", "auth", "provides", "directives"})


def test_budget_is_halved_down_to_nothing_and_grows_after_an_hour() -> None:
    budget, refusal = BeatBudget(), HubAnswer(413, {"error": "too large"})
    sizes = []
    while budget.cut(refusal, 0):
        sizes.append(budget.bytes_max)
    assert sizes[0] == BEAT_BYTES_MAX // 2
    assert (sizes[-1], sizes[-2] >= BEAT_BYTES_MIN) == (0, True)
    budget.accepted(GROWS_AFTER_MS - 1)
    assert budget.is_bare
    budget.accepted(GROWS_AFTER_MS)
    assert budget.bytes_max == BEAT_BYTES_MAX


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_other_refusals_cut_nothing(status: int) -> None:
    budget = BeatBudget()
    for answer in (HubAnswer(status, {"error": "x"}), Failed("not a JSON object", status=status), Failed("timeout")):
        assert not any(budget.cut(answer, 0) for _ in range(5))
    assert budget.bytes_max == BEAT_BYTES_MAX


PAGE_403 = Failed("status 403, not a JSON object", status=403)


def firewalled(stage: Stage, refusal: HubAnswer | Failed) -> list[Any]:
    """The beats that get through a firewall that does not like what a run says; in `stage.calls` are all."""
    accepted: list[Any] = []

    def hub(call: Call) -> tuple[int, HubAnswer | Failed]:
        if b"/etc/passwd" in msgspec.json.encode(call.body):
            return 1, refusal
        accepted.append(call.body)
        return 1, OK

    stage.hub = hub
    return accepted


def saying(stage: Stage, text: str, checkpoint: str | None = None) -> Run:
    run = Run("r0", TaskToRun(id="t0"), Lease(7, "wait", 300_000, 30_000), 0, 0)
    run.progress = RunProgress(at=1, text=text, checkpoint=checkpoint)
    stage.state.runs[run.id] = run
    return run


@pytest.mark.parametrize(
    "refusal",
    [
        PAGE_403,
        Failed("status 400, not a JSON object", status=400),
        Failed("status 406, …", status=406),
        HubAnswer(400, {"error": {"code": "bad_request"}}),
        HubAnswer(403, {"error": "No"}),
    ],
)
def test_beat_that_a_firewall_refuses_for_what_a_run_says_is_soon_a_bare_one(refusal: HubAnswer | Failed) -> None:
    """It was repeated unchanged for as long as the checkpoint kept the line: a false alarm, and leases ended."""
    stage = Stage(lambda _: (1, OK))
    accepted = firewalled(stage, refusal)
    saying(stage, "Bash: cat /etc/passwd; id", "- Bash: cat /etc/passwd; id")
    stage.start(heartbeat_loop(stage.state))
    assert stage.run_until(lambda: bool(accepted), within_ms=10_000)
    assert [entry["token"] for entry in accepted[0]["running"]] == [7]
    assert accepted[0].keys().isdisjoint({"loops", "provides"})
    stage.run_for(SAID_AGAIN_AFTER_MS - 60_000)
    assert len([line for line in stage.said if "get through only without progress" in line]) == 1
    assert len(stage.calls) == len(accepted) + 2


def test_what_a_firewall_refused_is_left_out_and_all_else_is_said_again_later() -> None:
    stage = Stage(lambda _: (1, OK))
    accepted = firewalled(stage, PAGE_403)
    run = saying(stage, "Bash: cat /etc/passwd; id")
    stage.start(heartbeat_loop(stage.state))
    assert stage.run_until(lambda: bool(accepted), within_ms=10_000)
    run.progress = RunProgress(at=2, text="Read: notes.txt")
    stage.run_for(SAID_AGAIN_AFTER_MS + 30_000)
    assert [beat["running"][0]["progress"] for beat in accepted if "progress" in beat["running"][0]] == [
        "Read: notes.txt"
    ]
    assert "loops" in accepted[-1]


@pytest.mark.parametrize("bits_a_ms", [200, 1_000])
def test_a_line_too_slow_for_the_details_carries_them_one_after_the_other(bits_a_ms: int) -> None:
    stage, accepted = stage_with(16)
    at: list[int] = []
    hub = stage.hub

    def slow(call: Call) -> tuple[int, HubAnswer | Failed]:
        delay_ms = len(msgspec.json.encode(call.body)) * 8 // bits_a_ms
        if delay_ms > call.timeout_ms:
            return delay_ms, OK
        at.append(stage.now_ms)
        return delay_ms, hub(call)[1]

    stage.hub = slow
    stage.start(heartbeat_loop(stage.state))
    stage.run_for(600_000)
    assert max(later - before for before, later in pairwise(at)) < 30_000, "every lease is held"
    assert {entry["taskId"] for beat in accepted for entry in beat["running"] if "checkpoint" in entry} == {
        f"t{nth}" for nth in range(16)
    }


def test_a_firewall_that_cuts_the_connection_for_what_a_run_says_ends_no_lease() -> None:
    stage = Stage(lambda _: (1, OK))
    accepted = firewalled(stage, Failed("connection reset"))
    saying(stage, "Bash: cat /etc/passwd; id")
    stage.start(heartbeat_loop(stage.state))
    for _ in range(20):
        count = len(accepted)
        stage.run_for(15_000)
        assert len(accepted) > count
    assert "loops" in accepted[0]


def test_after_an_absence_of_the_hub_the_details_come_a_second_later() -> None:
    stage, accepted = stage_with(1)
    hub, stage.hub = stage.hub, lambda _: (1, Failed("connection refused"))
    stage.start(heartbeat_loop(stage.state))
    stage.run_for(60_000)
    stage.hub = hub
    assert stage.run_until(lambda: len(accepted) == 2, within_ms=8_000)
    assert [("checkpoint" in beat["running"][0]) for beat in accepted] == [False, True]


def test_what_a_beat_says_once_is_said_by_a_bare_one_too() -> None:
    """It counts as said; an alarm would come for a machine that slept, and none for a daemon that starts for ever."""
    stage, accepted = stage_with(1, 1_000, HubAnswer(400, {"error": "Validation failed"}))
    stage.state.starts_last_hour = 6
    stage.state.slept_ms = lambda: 3_600_000
    stage.start(heartbeat_loop(stage.state))
    assert stage.run_until(lambda: len(accepted) == 2, within_ms=30_000)
    assert [(beat.get("sleptSec"), beat.get("startsLastHour")) for beat in accepted] == [(3600, 6), (None, None)]
    assert all("loops" not in beat for beat in accepted)


def test_one_page_with_400_leaves_the_beats_whole() -> None:
    """A proxy restarts: for an hour the beats said nothing of any run."""
    budget = BeatBudget()
    assert not budget.cut(Failed("status 400, not a JSON object", status=400), 0)
    assert (budget.accepted(0), budget.is_bare) == (False, False)


def test_refusals_that_a_bare_beat_meets_as_well_leave_the_beats_whole() -> None:
    """A wrong address, a key without its scope: nothing is to be left out for an hour after the fix."""
    budget = BeatBudget()
    assert [budget.cut(PAGE_403, 0) for _ in range(6)] == [False, True, False, False, True, False]
    assert budget.bytes_max == BEAT_BYTES_MAX
    assert not budget.accepted(0)


def test_the_largest_beat_without_details_fits_the_smallest_whole_budget() -> None:
    entry = {"taskId": "i" * 128, "token": 2**53, "progressAt": "x" * 24, "idleSec": 1.5, "idleLimitSec": 660.5}
    assert RUNNING_NAMED_MAX * len(msgspec.json.encode(entry)) < BEAT_BYTES_MAX // 8
    assert CHECKPOINT_BYTES_MAX < BEAT_BYTES_MAX // 8


def test_more_tags_than_a_beat_may_name_refuse_nothing() -> None:
    stage = Stage(lambda _: (1, OK), provides=(*(f"tag{n}" for n in range(400)), "x" * 65))
    assert len(stage.state.provides) == PROVIDES_MAX
    assert all(len(tag) <= 64 for tag in stage.state.provides)
