"""What the end of a run means: for its task, for its lease, and for what it left behind."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.worker.scene import Scene
from understudy.config import Settings
from understudy.worker.effects import (
    ArchiveResult,
    Call,
    Ended,
    Failed,
    RunProgress,
    Spawn,
    SpoolResult,
    StopRun,
    TellGuard,
    Wait,
)
from understudy.worker.ending import KILLED_MS, OWN_SIGNAL_MS
from understudy.worker.executors import NEW, Outcome, Plan, Start, TaskToRun
from understudy.worker.executors.command import CommandExecutor
from understudy.worker.guard_policy import Lost, RunDone
from understudy.worker.state import Lease

STOPS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LEFT = Ended(code=None, survivors=1)
DEAD = Ended(code=None)


def lasting(scene: Scene) -> Scene:
    """Its run waits for its machine, so that no lease ends while it is looked at."""
    scene.run.lease = Lease(token=7, on_loss="wait", duration_ms=300_000, first_ms=30_000)
    scene.run.is_named = True
    return scene


def fate(scene: Scene) -> tuple[list[str], list[str]]:
    """(failure classes of results, reasons of releases)."""
    results = [kept.result.failure_class for kept in scene.all(SpoolResult)]
    return results, [call.body["reason"] for call in scene.all(Call)]


def done(scene: Scene) -> bool:
    return any(isinstance(told.message, RunDone) for told in scene.all(TellGuard))


# ---- a machine that stops ----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [code for number in STOPS for code in (-number, 128 + number)])
def test_a_run_that_the_stop_of_its_machine_ends_is_a_loss_and_no_failure(code: int) -> None:
    scene = Scene()
    scene.state.ask_to_stop()
    scene.news = [Ended(code=code)]
    scene.play()
    assert fate(scene) == ([], ["daemon_gone"])


def test_a_run_that_dies_a_moment_before_its_daemon_hears_of_the_stop_is_a_loss() -> None:
    """A system that stops sends TERM to every process at once."""
    scene = Scene()
    scene.news = [Ended(code=-signal.SIGTERM)]

    def heard() -> None:
        if len(scene.all(Wait)) == 2:
            scene.state.ask_to_stop()

    scene.answers[Wait] = heard
    scene.play()
    assert fate(scene) == ([], ["daemon_gone"])


def test_a_run_that_three_signals_ended_at_once_is_a_loss() -> None:
    """They were read in one go: nobody drained, and everything was killed."""
    scene = Scene()

    def killed() -> Ended:
        for _ in range(3):
            scene.state.ask_to_stop()
        return Ended(code=-signal.SIGKILL)

    scene.news = [killed]
    scene.play()
    assert fate(scene) == ([], ["daemon_gone"])


def test_a_run_that_is_killed_with_a_life_that_broke_is_given_back() -> None:
    scene = Scene()

    def killed() -> Ended:
        scene.state.stop_run(scene.run, "drain")
        return Ended(code=-signal.SIGKILL)

    scene.news = [killed]
    scene.play()
    assert fate(scene) == ([], ["drain"])


def test_a_run_that_a_signal_ends_while_nobody_stops_has_failed() -> None:
    scene = Scene()
    scene.news = [Ended(code=-signal.SIGTERM)]
    began_ms = scene.clock.mono_ms()
    scene.play()
    assert fate(scene) == (["exit_code"], [])
    assert scene.clock.mono_ms() - began_ms == OWN_SIGNAL_MS


@pytest.mark.parametrize(
    ("ended", "failure"),
    [
        (Ended(code=1), "exit_code"),
        (Ended(code=-signal.SIGSEGV), "exit_code"),
        (Ended(code=-signal.SIGKILL, ran_away=True), "output_too_large"),
        (Ended(code=0), ""),
    ],
    ids=["failed", "crashed", "ran away", "succeeded"],
)
def test_what_a_run_came_to_by_itself_counts_also_while_its_machine_stops(ended: Ended, failure: str) -> None:
    scene = Scene()
    scene.state.ask_to_stop()
    scene.news = [ended]
    scene.play()
    assert fate(scene) == ([failure], [])


def test_a_verdict_that_is_final_counts_whatever_ended_the_run() -> None:
    class Blocked(CommandExecutor):
        def outcome(self, ended: Ended, reading: Any = None) -> Outcome:
            return Outcome(success=False, error="refused", failure_class="blocked", failure_final=True)

    scene = Scene(Blocked(("work",), {}))
    scene.state.ask_to_stop()
    scene.news = [Ended(code=-signal.SIGTERM)]
    scene.play()
    assert fate(scene) == (["blocked"], [])


# ---- what survives its run ---------------------------------------------------------------------------


def timed_out(*stops: Ended) -> Scene:
    scene = lasting(Scene())
    scene.news = [lambda: scene.clock.advance(3_600_000)]
    scene.answers[StopRun] = [*stops]
    return scene


def test_a_run_that_timed_out_is_reported_when_nothing_of_it_lives() -> None:
    """It may be tried again: not beside what is left of it. Until then it is named, and killed again."""
    scene = timed_out(LEFT, LEFT, DEAD)
    named: list[bool] = []
    scene.answers[Wait] = lambda: named.append("r1" in scene.state.runs)
    scene.play()
    order = [type(effect) for effect in scene.effects if isinstance(effect, StopRun | SpoolResult)]
    assert order == [StopRun, StopRun, StopRun, SpoolResult]
    assert named == [True, True]
    assert fate(scene) == (["timed_out"], [])


@pytest.mark.parametrize(
    ("code", "stops"), [(3, [StopRun, SpoolResult]), (0, [SpoolResult])], ids=["failed", "succeeded"]
)
def test_a_run_that_ended_by_itself_waits_for_what_is_left_only_if_it_may_be_tried_again(
    code: int, stops: list[type]
) -> None:
    scene = lasting(Scene())
    scene.news = [Ended(code=code, survivors=2)]
    scene.answers[StopRun] = DEAD
    scene.play()
    assert [type(effect) for effect in scene.effects if isinstance(effect, StopRun | SpoolResult)] == stops


def test_a_run_that_was_cancelled_is_reported_at_once() -> None:
    scene = lasting(Scene())
    scene.news = [lambda: scene.state.stop_run(scene.run, "cancelled")]
    scene.answers[StopRun] = LEFT
    scene.play()
    assert (fate(scene), len(scene.all(StopRun))) == ((["cancelled"], []), 1)


def test_a_run_that_is_lost_while_something_of_it_lives_is_no_failure_of_its_task() -> None:
    """As the hub says when the time limit of the task is over, a minute later."""
    scene = timed_out(LEFT)
    scene.answers[Wait] = lambda: scene.state.stop_run(scene.run, "lost")
    scene.answers[StopRun] = LEFT
    scene.play()
    assert fate(scene) == ([], [])
    assert [effect.reason for effect in scene.all(ArchiveResult)] == ["lost"]
    assert any(isinstance(told.message, Lost) for told in scene.all(TellGuard))


def test_a_drained_run_that_is_lost_while_something_of_it_lives_is_told_to_the_guard() -> None:
    scene = lasting(Scene())
    scene.news = [lambda: scene.state.stop_run(scene.run, "drain")]
    scene.answers[Wait] = lambda: scene.state.stop_run(scene.run, "lost")
    scene.answers[StopRun] = LEFT
    scene.play()
    assert (fate(scene), done(scene)) == (([], []), True)
    assert any(isinstance(told.message, Lost) for told in scene.all(TellGuard))


def test_a_failure_of_what_outlives_its_daemon_is_not_reported() -> None:
    scene = timed_out()
    scene.answers[StopRun] = LEFT
    scene.answers[Wait] = lambda: setattr(scene.state, "is_stopped", len(scene.all(Wait)) == 2)
    scene.play()
    assert (fate(scene), done(scene)) == (([], []), False)


def test_what_cannot_be_killed_is_killed_again_ever_more_rarely_and_its_loop_counts_as_alive() -> None:
    scene = timed_out(*[LEFT] * 40)
    late: list[tuple[str, ...]] = []

    def beat() -> None:
        scene.state.liveness.heard(scene.clock.mono_ms(), 60_000)
        late.append(scene.state.liveness.stopped())

    scene.answers[Wait] = beat
    scene.play()
    pauses = [wait.timeout_ms for wait in scene.all(Wait)]
    assert pauses[:-1] == sorted(pauses[:-1])
    assert (pauses[0] <= 1_000, max(pauses) >= 8_000, len(pauses) > 4) == (True, True, True)
    assert set(late) == {()}


def unkillable(scene: Scene) -> Scene:
    scene.answers[StopRun] = LEFT
    return scene


def test_a_failure_of_what_cannot_be_killed_is_reported_for_good_after_a_minute_and_frees_its_slot() -> None:
    scene = unkillable(lasting(Scene()))
    scene.news = [Ended(code=1, stderr=b"no such host", survivors=1)]
    began_ms = scene.clock.mono_ms()
    scene.play()
    result = scene.result()
    assert scene.clock.mono_ms() - began_ms == KILLED_MS
    assert (result.failure_class, result.failure_final) == ("exit_code", True)
    assert result.error.startswith("exit code 1: no such host (Some of its processes cannot be killed")
    assert scene.state.runs == {}


def test_a_time_limit_of_what_cannot_be_killed_is_reported_before_the_hub_ends_the_run() -> None:
    """The hub would try it again beside what is left."""
    scene = unkillable(timed_out())
    claimed_ms = scene.clock.mono_ms()
    scene.play()
    assert (scene.result().failure_class, scene.result().failure_final) == ("timed_out", True)
    assert scene.clock.mono_ms() - claimed_ms <= 3_600_000 + Settings().overtime_ms - 5_000


class Again(CommandExecutor):
    def outcome(self, ended: Ended, reading: Any = None) -> Outcome:
        return Outcome(success=False, error="no session", failure_class="session", again="session")


class Untouched(CommandExecutor):
    def outcome(self, ended: Ended, reading: Any = None) -> Outcome:
        return Outcome(success=False, error="log in", failure_class="auth", auth="logged_out", is_untouched=True)


@pytest.mark.parametrize(("executor", "failure"), [(Again, "session"), (Untouched, "auth")])
def test_a_run_is_neither_started_once_more_nor_given_back_beside_what_cannot_be_killed(
    executor: type[CommandExecutor], failure: str
) -> None:
    scene = unkillable(lasting(Scene(executor(("work",), {}))))
    scene.news = [Ended(code=1, survivors=1)]
    scene.play()
    assert (fate(scene), scene.result().failure_final, len(scene.all(Spawn))) == (([failure], []), True, 1)


def test_a_slow_start_that_cannot_be_killed_is_a_failure_for_good() -> None:
    scene = unkillable(lasting(Scene(Slow(("work",), {}))))
    scene.news = [lambda: scene.clock.advance(1_000)]
    scene.play()
    assert (fate(scene), scene.result().failure_final, len(scene.all(Spawn))) == ((["no_output"], []), True, 1)


def test_each_start_of_a_run_has_its_minute() -> None:
    scene = lasting(Scene(Slow(("work",), {})))
    scene.news = [lambda: scene.clock.advance(1_000), lambda: scene.clock.advance(120_000)]
    scene.answers[StopRun] = [LEFT, DEAD, LEFT, LEFT, LEFT, DEAD]
    scene.play()
    assert (fate(scene), scene.result().failure_final) == ((["no_output"], []), False)


def test_a_drained_run_that_cannot_be_killed_is_not_given_back() -> None:
    """Its daemon still waits for others."""
    scene = unkillable(lasting(Scene()))
    scene.news = [lambda: scene.state.stop_run(scene.run, "drain")]
    scene.play()
    assert (fate(scene), scene.result().failure_final) == ((["interrupted"], []), True)


class Slow(CommandExecutor):
    def plan(self, task: TaskToRun, run_id: str, start: Start = NEW) -> Plan:
        return Plan(argv=("work",), env={}, start_ms_max=1_000)


def test_a_run_is_not_started_once_more_beside_what_is_left_of_its_first_start() -> None:
    scene = lasting(Scene(Slow(("work",), {})))
    scene.news = [lambda: scene.clock.advance(1_000), RunProgress(at=1), Ended(code=0)]
    scene.answers[StopRun] = [LEFT, LEFT, DEAD]
    scene.play()
    order = [type(effect) for effect in scene.effects if isinstance(effect, StopRun | Spawn)]
    assert order == [Spawn, StopRun, StopRun, StopRun, Spawn]
    assert scene.result().success


def test_a_defect_is_reported_when_nothing_of_the_run_lives() -> None:
    class Broken(CommandExecutor):
        def outcome(self, ended: Ended, reading: Any = None) -> Outcome:
            raise RuntimeError("defect")

    scene = lasting(Scene(Broken(("work",), {})))
    scene.answers[StopRun] = [LEFT, DEAD]
    scene.play()
    order = [type(effect) for effect in scene.effects if isinstance(effect, StopRun | SpoolResult)]
    assert (order, fate(scene)) == ([StopRun, StopRun, SpoolResult], (["internal"], []))


def test_a_start_that_failed_has_left_nothing() -> None:
    scene = Scene()
    scene.answers[Spawn] = Failed("work: no such file")
    scene.play()
    assert fate(scene) == (["spawn_failed"], [])
