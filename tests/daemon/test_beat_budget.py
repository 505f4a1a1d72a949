"""A beat is never too large for ever: every run is named in each, what is long waits for its turn."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.worker.stage import Stage
from understudy.daemon.beat_budget import BEAT_BYTES_MAX, BEAT_BYTES_MIN, GROWS_AFTER_MS, BeatBudget
from understudy.daemon.heartbeat import HEARTBEAT, heartbeat_loop
from understudy.wire.daemons import HeartbeatBody
from understudy.wire.limits import BODY_BYTES_MAX, CHECKPOINT_BYTES_MAX
from understudy.worker.effects import Call, HubAnswer
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


@pytest.mark.parametrize("status", [401, 403, 404, 409, 429, 500, 503])
def test_other_refusals_cut_nothing(status: int) -> None:
    assert not BeatBudget().cut(HubAnswer(status, {"error": "x"}), 0)


def test_the_largest_beat_without_details_fits_the_smallest_whole_budget() -> None:
    entry = {"taskId": "i" * 128, "token": 2**53, "progressAt": "x" * 24, "idleSec": 1.5, "idleLimitSec": 660.5}
    assert RUNNING_NAMED_MAX * len(msgspec.json.encode(entry)) < BEAT_BYTES_MAX // 8
    assert CHECKPOINT_BYTES_MAX < BEAT_BYTES_MAX // 8


def test_more_tags_than_a_beat_may_name_refuse_nothing() -> None:
    stage = Stage(lambda _: (1, OK), provides=(*(f"tag{n}" for n in range(400)), "x" * 65))
    assert len(stage.state.provides) == PROVIDES_MAX
    assert all(len(tag) <= 64 for tag in stage.state.provides)
