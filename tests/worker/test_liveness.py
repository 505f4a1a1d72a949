"""The contact clock: what counts as time in which a loop could have succeeded."""

from __future__ import annotations

import pytest

from tests.worker.rules_hub import RulesHub
from understudy.daemon.life import main_loop
from understudy.worker.effects import Ended, HubAnswer
from understudy.worker.executors import Plan
from understudy.worker.liveness import Liveness

MINUTE_MS = 60_000
INTERVAL_MS = 10_000


def beaten(liveness: Liveness, *instants_ms: int) -> Liveness:
    for at_ms in instants_ms:
        liveness.heard(at_ms, 2 * INTERVAL_MS)
    return liveness


def test_contact_is_the_time_between_accepted_beats() -> None:
    assert beaten(Liveness(), 5_000, 15_000, 24_000).contact_ms == 19_000


def test_a_sleep_or_an_absent_hub_counts_as_two_intervals_at_most() -> None:
    assert beaten(Liveness(), 0, 8 * 3_600_000).contact_ms == 2 * INTERVAL_MS


def test_a_loop_is_stopped_beyond_its_limit() -> None:
    liveness = beaten(Liveness(), 0)
    liveness.begin("claim", 20_000)
    beaten(liveness, 20_000)
    assert liveness.stopped() == ()
    beaten(liveness, 20_001)
    assert liveness.stopped() == ("claim",)
    liveness.mark("claim")
    assert liveness.stopped() == ()


def test_a_loop_that_breaks_and_is_started_anew_has_not_succeeded() -> None:
    liveness = beaten(Liveness(), 0)
    liveness.begin("claim", 15_000)
    for at_ms in range(10_000, 40_000, 10_000):
        beaten(liveness, at_ms)
        liveness.begin("claim", 15_000)
    assert liveness.stopped() == ("claim",)


def test_of_several_runs_the_worst_is_told() -> None:
    liveness = beaten(Liveness(), 0)
    liveness.begin("run:a", 180_000)
    beaten(liveness, 10_000)
    liveness.begin("run:b", 180_000)
    assert liveness.report() == {"run": {"agoSec": 10, "limitSec": 180}}
    liveness.end("run:a")
    assert liveness.report() == {"run": {"agoSec": 0, "limitSec": 180}}


# ---- the loops of a daemon


def started(**stage: object) -> RulesHub:
    hub = RulesHub(**stage)
    hub.stage.start(main_loop(hub.stage.state))
    return hub


def loops(hub: RulesHub) -> dict[str, dict[str, float]]:
    said: dict[str, dict[str, float]] = next(c.body["loops"] for _, c in reversed(hub.stage.calls) if "loops" in c.body)
    return said


def over_limit(hub: RulesHub) -> set[str]:
    return {name for name, said in loops(hub).items() if said["agoSec"] > said.get("limitSec", 1e9)}


def test_no_loop_of_a_healthy_daemon_comes_near_its_limit() -> None:
    hub = started(capacity=2)
    hub.stage.play = lambda _: (10 * MINUTE_MS, Ended(code=0))
    hub.submit("t1")
    worst: dict[str, float] = {}
    for _ in range(120):
        hub.stage.run_for(INTERVAL_MS)
        for name, said in loops(hub).items():
            worst[name] = max(worst.get(name, 0), said["agoSec"] / said.get("limitSec", 1e9))
    assert {"claim", "report", "guard", "run", "heartbeat"} <= worst.keys()
    assert max(worst.values()) < 0.6, worst


def test_claims_that_fail_while_beats_get_through_show() -> None:
    hub = started()
    hub.stage.run_for(MINUTE_MS)
    hub.refuses["/claim"] = HubAnswer(502, {})
    hub.stage.run_for(5 * MINUTE_MS)
    assert over_limit(hub) == set()
    hub.stage.run_for(MINUTE_MS)
    assert over_limit(hub) == {"claim"}
    hub.refuses.clear()
    hub.stage.run_for(MINUTE_MS)
    assert over_limit(hub) == set()


def test_results_that_cannot_be_delivered_while_beats_get_through_show() -> None:
    hub = started()
    hub.refuses["/results"] = HubAnswer(503, {})
    hub.submit("t1")
    hub.stage.run_for(7 * MINUTE_MS)
    assert over_limit(hub) == {"report"}


def test_a_hub_that_was_away_for_hours_makes_no_loop_look_dead() -> None:
    hub = started()
    hub.stage.run_for(MINUTE_MS)
    hub.is_away = True
    hub.stage.run_for(60 * MINUTE_MS)
    hub.is_away = False
    for _ in range(30):
        hub.stage.run_for(1_000)
        assert over_limit(hub) == set()


def test_a_broken_guard_shows() -> None:
    hub = started()
    hub.stage.run_for(MINUTE_MS)
    hub.stage.guard_cannot_start, hub.stage.guard_is_alive = True, False
    hub.stage.state.signals.raise_("guard")
    hub.stage.run_for(2 * MINUTE_MS)
    assert over_limit(hub) == {"guard"}


@pytest.mark.parametrize(("idle_ms_max", "is_said"), [(600_000, True), (None, False)])
def test_a_run_that_must_show_signs_says_for_how_long_it_has_not(idle_ms_max: int | None, is_said: bool) -> None:
    hub = started()
    hub.stage.play = lambda _: (60 * MINUTE_MS, Ended(code=0))
    hub.stage.run_for(20 * MINUTE_MS)  # what was before the run does not count as its silence
    hub.submit("t1")
    assert hub.stage.run_until(lambda: bool(hub.stage.started))
    (run,) = hub.stage.state.runs.values()
    run.plan = Plan(argv=("x",), env={}, idle_ms_max=idle_ms_max)
    hub.stage.run_for(5 * MINUTE_MS)
    (entry,) = next(c.body["running"] for _, c in reversed(hub.stage.calls) if c.body.get("running"))
    assert ("idleSec" in entry) == is_said
    if is_said:
        assert 280 <= entry["idleSec"] <= 300
        assert entry["idleLimitSec"] == 660
