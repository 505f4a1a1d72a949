"""One run's loop, effect by effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.worker.scene import Scene
from understudy.clock import ManualClock
from understudy.worker.effects import (
    ArchiveResult,
    AskGuard,
    AwaitRun,
    Call,
    Ended,
    Failed,
    HubAnswer,
    Plan,
    RunProgress,
    Spawn,
    SpoolResult,
    StopRun,
    TellGuard,
    Wait,
    WriteLog,
)
from understudy.worker.executors import NEW, Outcome, Start, TaskToRun
from understudy.worker.executors.claude_code import ClaudeCode, ClaudeOptions
from understudy.worker.executors.command import CommandExecutor
from understudy.worker.guard_policy import Rooted, RunDone, Spawning
from understudy.worker.run import run_loop


def test_guard_knows_the_run_before_there_is_a_process_and_until_its_result_is_kept() -> None:
    scene = Scene().play()
    order = [
        type(effect.message) if isinstance(effect, TellGuard) else type(effect)
        for effect in scene.effects
        if isinstance(effect, TellGuard | Spawn | SpoolResult)
    ]
    assert order == [Spawning, Spawn, Rooted, SpoolResult, RunDone]
    assert (scene.result().success, scene.result().output, scene.result().token) == (True, "answer", 7)


def test_run_that_the_guard_killed_is_lost_even_if_its_lease_was_renewed_since() -> None:
    scene = Scene()
    scene.news = [Ended(code=-9)]
    scene.answers[AskGuard] = True
    scene.play()
    assert [effect.reason for effect in scene.all(ArchiveResult)] == ["lost"]
    assert scene.all(SpoolResult) == []


def test_run_that_failed_by_itself_is_a_failure_of_its_task() -> None:
    scene = Scene()
    scene.news = [Ended(code=3, stderr=b"no")]
    scene.play()
    assert (scene.result().success, scene.result().failure_class) == (False, "exit_code")


def test_success_counts_even_if_the_lease_was_over_by_then() -> None:
    """The hub judges by token whether anybody else had the task."""
    scene = Scene()
    scene.answers[AskGuard] = True
    scene.play()
    assert scene.result().success


def test_nothing_is_started_without_a_guard() -> None:
    scene = Scene()
    scene.answers[TellGuard] = False
    clock = scene.state.clock
    assert isinstance(clock, ManualClock)
    loop = run_loop(scene.state, scene.run)
    effect = loop.send(None)
    while not isinstance(effect, Call):
        assert not isinstance(effect, Spawn)
        clock.advance(1_000)
        effect = loop.send(False)
    assert (effect.path, effect.body["reason"]) == ("/api/queue/t1/release", "not_started")


def test_run_whose_daemon_drains_while_its_guard_is_told_is_given_back() -> None:
    scene = Scene()

    def told() -> bool:
        scene.state.begin_drain()
        return True

    scene.answers[TellGuard] = told
    scene.play()
    assert scene.all(Spawn) == []
    assert [call.body["reason"] for call in scene.all(Call)] == ["not_started"]


def test_process_that_cannot_be_started_fails_the_task_with_the_reason() -> None:
    scene = Scene()
    scene.answers[Spawn] = Failed("work: No such file or directory")
    scene.play()
    assert (scene.result().failure_class, scene.result().error) == (
        "spawn_failed",
        "work: No such file or directory",
    )


def test_defect_of_an_executor_leaves_no_process_and_a_result() -> None:
    class Broken(CommandExecutor):
        def outcome(self, ended: Ended) -> Any:
            raise RuntimeError("defect")

    scene = Scene(Broken(("work",), {})).play()
    assert scene.all(StopRun)
    assert scene.result().failure_class == "internal"
    assert "defect" in scene.result().error
    assert scene.state.runs == {}


def test_task_that_an_executor_cannot_do_is_failed_for_good() -> None:
    class Picky(CommandExecutor):
        def plan(self, task: TaskToRun, run_id: str, start: Start = NEW) -> Plan:
            raise ValueError("no such workspace")

    scene = Scene(Picky(("work",), {})).play()
    assert (scene.result().failure_class, scene.result().failure_final) == ("not_possible", True)


def test_task_for_an_executor_that_is_not_here_is_given_back() -> None:
    scene = Scene()
    scene.run.task = TaskToRun(id="t1", executor="codex")
    scene.play()
    assert [call.body["reason"] for call in scene.all(Call)] == ["no_executor"]
    assert scene.all(Spawn) == []


def test_output_without_end_is_its_own_failure() -> None:
    scene = Scene()
    scene.news = [Ended(code=-9, ran_away=True)]
    scene.play()
    assert scene.result().failure_class == "output_too_large"


def test_progress_is_kept_for_the_beats() -> None:
    scene = Scene()
    scene.news = [
        RunProgress(at=1, text="reading", checkpoint="session-1"),
        RunProgress(at=2),
        Ended(code=0),
    ]
    scene.play()
    assert scene.run.progress == RunProgress(at=2, text="reading · 0 s", checkpoint="session-1")


@pytest.mark.parametrize("set_by_ms", [-3_600_000, 30 * 86_400_000])
def test_the_time_in_progress_is_that_of_a_clock_that_nobody_sets(set_by_ms: int) -> None:
    """By the wall clock the run was an hour younger than its begin, or 30 days old."""
    reading = ClaudeCode(ClaudeOptions(), {}).reading()
    scene = Scene()
    clock = scene.state.clock
    assert isinstance(clock, ManualClock)
    clock.advance(1_000)
    begun = reading.feed(b'{"type":"system","subtype":"init","session_id":"s"}\n', clock.now_ms())
    later = reading.feed(b'{"type":"system"}\n', clock.now_ms() + 7_000 + set_by_ms)
    scene.news = [begun, later, Ended(code=0)]
    scene.play()
    assert scene.run.progress.text == "thinking · 0 s"


def test_no_secret_leaves_by_progress_checkpoint_or_result() -> None:
    scene = Scene()
    secret = "ghp_" + "a1" * 18
    scene.news = [
        RunProgress(at=1, text=f"cloning with {secret}", checkpoint=f'{{"token": "{secret}"}}'),
        Ended(code=1, stdout=secret.encode(), stderr=f"refused: {secret}".encode()),
    ]
    scene.play()
    assert scene.run.progress.text == "cloning with [REDACTED] · 0 s"
    assert scene.run.progress.checkpoint == '{"token": "[REDACTED]"}'
    assert scene.result().output == "[REDACTED]"
    assert "[REDACTED]" in (scene.result().error or "")
    assert secret not in repr(scene.result())


@pytest.mark.parametrize(("why", "grace_ms"), [("lost", 0), ("cancelled", 5_000), ("drain", 5_000)])
def test_run_is_asked_to_end_unless_it_is_lost(why: str, grace_ms: int) -> None:
    scene = Scene()
    scene.answers[StopRun] = Ended(code=-15)
    run = scene.run

    class AsItStarts(list[Any]):
        def pop(self, _: Any = 0) -> Any:
            scene.state.stop_run(run, why)

    scene.news = AsItStarts()
    scene.play()
    assert [effect.grace_ms for effect in scene.all(StopRun)] == [grace_ms]
    assert run.id not in scene.state.runs


class Forgetful(CommandExecutor):
    """Its sessions are never known: each start is worth another one."""

    def outcome(self, ended: Ended, reading: Any = None) -> Outcome:
        return Outcome(success=False, error="No such session", failure_class="session", again="session")


def meanwhile(scene: Scene, happens: Callable[[], object]) -> Scene:
    """Let something happen while the log is told that the run is started once more."""
    clock: Any = scene.state.clock

    class Answers(dict[type, Any]):
        def get(self, kind: type, default: Any = None) -> Any:
            if kind is WriteLog and scene.effects[-1].level == "warning":  # type: ignore[union-attr]
                happens()
            if kind is Wait:
                clock.advance(500)
            return super().get(kind, default)

    scene.answers = Answers(scene.answers)
    scene.news = [Ended(code=1)] * 2
    return scene.play()


@pytest.mark.parametrize("why", ["lost", "cancelled", "drain"])
def test_run_that_must_end_is_not_started_once_more(why: str) -> None:
    scene = Scene(Forgetful(("work",), {}))
    meanwhile(scene, lambda: scene.state.stop_run(scene.run, why))
    assert len(scene.all(Spawn)) == 1
    assert [effect.reason for effect in scene.all(ArchiveResult)] == ["lost"] * (why == "lost")
    assert [kept.result.failure_class for kept in scene.all(SpoolResult)] == ["cancelled"] * (why == "cancelled")
    assert [call.body["reason"] for call in scene.all(Call)] == ["drain"] * (why == "drain")


def test_run_whose_lease_is_over_is_not_started_once_more() -> None:
    scene = Scene(Forgetful(("work",), {}))
    clock = scene.state.clock
    assert isinstance(clock, ManualClock)
    meanwhile(scene, lambda: clock.advance(60_000))
    assert len(scene.all(Spawn)) == 1
    assert [effect.reason for effect in scene.all(ArchiveResult)] == ["lost"]


def test_run_is_not_started_once_more_before_a_guard_knows_it() -> None:
    scene = Scene(Forgetful(("work",), {}))
    meanwhile(scene, lambda: scene.answers.update({TellGuard: False}))
    assert len(scene.all(Spawn)) == 1
    assert [call.path for call in scene.all(Call)] == ["/api/queue/t1/release"]


def test_run_whose_lease_ends_while_it_waits_for_a_guard_is_not_started() -> None:
    scene = Scene()
    clock = scene.state.clock
    assert isinstance(clock, ManualClock)
    scene.answers[TellGuard] = False
    loop = run_loop(scene.state, scene.run)
    effect = loop.send(None)
    while not isinstance(effect, Wait):
        effect = loop.send(scene.answers.get(type(effect)))
    clock.advance(60_000)
    while not isinstance(effect, Call | Spawn):
        effect = loop.send(True)
    assert isinstance(effect, Call)


def test_result_that_cannot_be_kept_stays_the_guards_business() -> None:
    scene = Scene()
    scene.answers[SpoolResult] = Failed("disk full")
    scene.play()
    assert not any(isinstance(effect.message, RunDone) for effect in scene.all(TellGuard))
    assert scene.state.unkept == {"r1"}
    assert "r1" in scene.state.results


@pytest.mark.parametrize(
    ("answer", "is_known"),
    [
        (HubAnswer(200, {"success": True}), True),
        (HubAnswer(409, {"error": "Lease lost", "code": "lease_lost"}), True),
        (HubAnswer(404, {}), False),
        (HubAnswer(404, {"error": "Not found"}), False),  # of the path
        (HubAnswer(403, {"error": "Forbidden"}), False),
        (HubAnswer(302, {}), False),
        (Failed("status 404, not a JSON object"), False),
    ],
)
def test_only_the_hub_itself_ends_the_guards_care_for_a_lease(answer: HubAnswer | Failed, is_known: bool) -> None:
    scene = Scene(CommandExecutor(("work",), {}))
    scene.run.stop = "drain"
    scene.answers[Call] = answer
    scene.play()
    assert (RunDone in {type(effect.message) for effect in scene.all(TellGuard)}) == is_known


def test_lease_of_what_cannot_be_killed_is_not_given_back_while_it_lives() -> None:
    """It is killed again, and named in each beat, until it is dead."""
    scene = Scene()
    scene.news = [None]
    stops = iter([Ended(code=None, survivors=1), Ended(code=None, survivors=1), Ended(code=-9)])
    loop = run_loop(scene.state, scene.run)
    order: list[str] = []
    value: Any = None
    for _ in range(30):
        try:
            effect = loop.send(value)
        except StopIteration:
            break
        value = scene.answers.get(type(effect))
        if isinstance(effect, AwaitRun):
            scene.state.stop_run(scene.run, "drain")
            value = None
        if isinstance(effect, StopRun):
            value = next(stops)
            order.append("stop")
        if isinstance(effect, Call):
            order.append("release")
        if isinstance(effect, Wait):
            assert scene.run.id in scene.state.runs
    assert order == ["stop", "stop", "stop", "release"]


def test_lease_of_what_outlives_its_daemon_ends_by_itself() -> None:
    scene = Scene()
    scene.news = [None]
    scene.answers[StopRun] = Ended(code=None, survivors=1)
    scene.run.stop = ""
    loop = run_loop(scene.state, scene.run)
    value: Any = None
    waits = 0
    for _ in range(30):
        try:
            effect = loop.send(value)
        except StopIteration:
            break
        assert not isinstance(effect, Call)
        value = scene.answers.get(type(effect))
        if isinstance(effect, AwaitRun):
            scene.state.stop_run(scene.run, "drain")
            value = None
        if isinstance(effect, Wait):
            waits += 1
            scene.state.is_stopped = waits == 2
    assert waits == 2
    assert scene.run.id not in scene.state.runs


def test_nothing_of_a_run_that_has_ended_is_kept_in_memory() -> None:
    scene = Scene()
    scene.state.stop_run(scene.run, "cancelled")
    scene.play()
    assert not any(name.startswith("run:") for name in scene.state.signals._raised)
