"""How a run begins: whose turn it is, what it takes up from before, and what is remembered of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.stage import Stage
from understudy.config import Settings
from understudy.daemon.machine import Machine
from understudy.daemon.sessions import SessionFile
from understudy.runtime.machine.children import END_S
from understudy.worker import turns
from understudy.worker.effects import SaveSessions, Wait
from understudy.worker.executors import AssistantSession, PlainReading, TaskToRun
from understudy.worker.executors.claude_code import ClaudeCode, ClaudeOptions
from understudy.worker.process_tree import KILL_MS_MAX
from understudy.worker.run import GRACE_MS
from understudy.worker.state import Lease, Run

TALK = {"channel": "slack", "user_id": "U1"}
CLAUDE = ClaudeCode(ClaudeOptions(), {})


class Spoke(PlainReading):
    """A reading that has seen a session."""

    def session(self) -> AssistantSession | None:
        return AssistantSession("s-9", {"input_tokens": 3})


@pytest.fixture
def stage() -> Stage:
    stage = Stage(lambda _: (0, None))  # type: ignore[arg-type,return-value]
    stage.state.executors = {"claude_code": CLAUDE}
    return stage


def add(stage: Stage, run_id: str, **task: Any) -> Run:
    lease = Lease(token=7, on_loss="wait", duration_ms=30_000, first_ms=30_000)
    run = Run(run_id, TaskToRun(id=run_id, content="x", **task), lease, stage.now_ms, 0)
    stage.state.runs[run_id] = run
    return run


def waits(stage: Stage, run: Run, *, ends: Run | None = None) -> tuple[bool, int]:
    """Whether its turn came, and after how long; `ends` is over after the first look."""
    began_ms = stage.now_ms
    loop = turns.turn(stage.state, run)
    while True:
        try:
            effect = next(loop)
        except StopIteration as done:
            return done.value, stage.now_ms - began_ms
        assert isinstance(effect, Wait)
        stage.clock.advance(effect.timeout_ms)
        if ends is not None:
            stage.state.runs.pop(ends.id, None)


def test_the_first_in_a_workspace_begins_and_the_next_waits_for_its_end(stage: Stage) -> None:
    first, second, beside = add(stage, "r1"), add(stage, "r2"), add(stage, "r3", workspace="other")
    assert waits(stage, first) == (True, 0)
    assert waits(stage, beside) == (True, 0)
    assert waits(stage, second, ends=first) == (True, turns.LOOK_MS)


def test_one_conversation_is_worked_on_by_one_run_also_in_two_workspaces(stage: Stage) -> None:
    first = add(stage, "r1", workspace="a", conversation=TALK)
    second = add(stage, "r2", workspace="b", conversation="slack:U1")
    assert waits(stage, second, ends=first) == (True, turns.LOOK_MS)


def test_who_waits_too_long_is_given_back_and_who_is_stopped_goes_at_once(stage: Stage) -> None:
    add(stage, "r1")
    second, third = add(stage, "r2"), add(stage, "r3")
    assert waits(stage, second) == (False, turns.WAIT_MS_MAX)
    third.stop = "cancelled"
    assert waits(stage, third) == (False, 0)


@pytest.mark.parametrize(("limit_s", "longest_s"), [(1, 40.166), (60, 50), (600, 140), (3_360, 600), (86_400, 600)])
def test_a_task_waits_for_its_turn_for_40_s_and_a_sixth_of_its_limit(
    stage: Stage, limit_s: int, longest_s: float
) -> None:
    add(stage, "r1")
    assert waits(stage, add(stage, "r2", timeout_sec=limit_s)) == (False, round(longest_s * 1000))


@pytest.mark.parametrize("limit_s", [1, 60, 600, 3_600, 86_400])
def test_a_run_that_begins_last_and_uses_its_limit_is_dead_before_the_hub_ends_its_lease(
    stage: Stage, limit_s: int
) -> None:
    run = add(stage, "r1", timeout_sec=limit_s)
    dead_ms = turns.ends_by_ms(run) + GRACE_MS + KILL_MS_MAX + round(END_S * 1000)
    assert turns.begins_by_ms(run) < turns.ends_by_ms(run)
    assert dead_ms <= run.counted_ms + limit_s * 1000 + Settings().overtime_ms - 5_000


def test_a_task_that_was_given_back_and_claimed_again_stands_where_it_stood(stage: Stage) -> None:
    first, second, third = (add(stage, name) for name in ("r1", "r2", "r3"))
    for run in (first, second, third):
        turns.line_up(stage.state, run)
    assert waits(stage, first) == (True, 0)
    del stage.state.runs["r2"]
    again = add(stage, "r2")
    turns.line_up(stage.state, again)
    del stage.state.runs["r1"]
    assert waits(stage, again) == (True, 0)
    assert waits(stage, third, ends=again) == (True, turns.LOOK_MS)


def test_who_has_the_turn_keeps_it_although_one_comes_again_that_stood_before_it(stage: Stage) -> None:
    """It may not have begun yet: its lease is being confirmed, say."""
    first, second = add(stage, "r1"), add(stage, "r2")
    for run in (first, second):
        turns.line_up(stage.state, run)
    del stage.state.runs["r1"]
    assert waits(stage, second) == (True, 0)
    again = add(stage, "r1")
    turns.line_up(stage.state, again)
    assert waits(stage, again, ends=second) == (True, turns.LOOK_MS)


def test_of_many_places_the_newest_are_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PLACES_MAX", 3)
    for nth in range(10):
        turns.line_up(stage.state, add(stage, f"r{nth}"))
    assert stage.state.places == {"r7": 8, "r8": 9, "r9": 10}


def test_the_end_of_a_run_wakes_those_who_wait_for_it(stage: Stage) -> None:
    first, second, beside = add(stage, "r1"), add(stage, "r2"), add(stage, "r3", workspace="other")
    del stage.state.runs["r1"]
    turns.pass_on(stage.state, first)
    assert stage.state.signals.take(second.signal)
    assert not stage.state.signals.take(beside.signal)


def start(stage: Stage, run: Run, **how: Any) -> Any:
    return turns.start_of(stage.state, run, CLAUDE, 0, **{"has_session": True, **how})


def test_a_checkpoint_is_taken_up_with_its_session_only_on_its_machine(stage: Stage) -> None:
    left = {"executor": "claude_code", "machine": "machine-1", "session": "s-1", "did": ["Bash: make"]}
    here = start(stage, add(stage, "r1", checkpoint=json.dumps(left)))
    assert (here.session, here.did, here.machine) == (AssistantSession("s-1"), ("Bash: make",), "machine-1")
    elsewhere = start(stage, add(stage, "r2", checkpoint={**left, "machine": "m-2"}))
    assert (elsewhere.session, elsewhere.did) == (None, ("Bash: make",))
    anew = start(stage, add(stage, "r3", checkpoint=left), has_session=False)
    assert (anew.session, anew.did) == (None, ("Bash: make",))


DEEP = '{"executor": "claude_code", "unknown": ' + "[" * 20_000  # its task was given back and claimed without end


@pytest.mark.parametrize(
    "left",
    [None, "", "no json", "[1]", 7, {"executor": "codex", "session": "s"}, {"x": 1}, DEEP, "\ud83d"],
    ids=lambda left: ascii(left)[:40],
)
def test_a_checkpoint_of_somebody_else_is_none(stage: Stage, left: Any) -> None:
    begun = start(stage, add(stage, "r1", checkpoint=left))
    assert (begun.session, begun.did) == (None, ())


def kept(stage: Stage, loop: Any) -> dict[str, AssistantSession]:
    sessions: dict[str, AssistantSession] = {}
    for effect in loop:
        assert isinstance(effect, SaveSessions)
        sessions = effect.sessions
    return sessions


def test_a_session_is_remembered_for_its_conversation_and_forgotten_when_it_is_lost(stage: Stage) -> None:
    run = add(stage, "r1", conversation=TALK)
    run.reading = Spoke()
    assert list(kept(stage, turns.remember(stage.state, run, CLAUDE))) == ["claude_code slack:U1"]
    again = start(stage, add(stage, "r2", conversation="SLACK:U1"))
    assert again.session is not None
    assert (again.session.id, again.session.counters) == ("s-9", {"input_tokens": 3})
    kept(stage, turns.forget(stage.state, run, CLAUDE))
    assert start(stage, run).session is None


def test_two_runs_that_end_together_are_both_remembered_whichever_reaches_the_disk_first(
    stage: Stage, tmp_path: Path
) -> None:
    """Each run saves in a thread of its own, after it has given way to the others."""
    file = SessionFile(tmp_path / "sessions.json")
    saving = []
    for run_id, user in (("r1", "U1"), ("r2", "U2")):
        run = add(stage, run_id, conversation={"channel": "slack", "user_id": user})
        run.reading = Spoke()
        saving += turns.remember(stage.state, run, CLAUDE)
    machine = Machine.__new__(Machine)
    machine.sessions = file
    for effect in reversed(saving):
        machine.perform(effect)
    assert list(file.load()) == ["claude_code slack:U1", "claude_code slack:U2"]


def test_without_a_conversation_nothing_is_remembered(stage: Stage) -> None:
    run = add(stage, "r1")
    run.reading = Spoke()
    assert kept(stage, turns.remember(stage.state, run, CLAUDE)) == {}
    assert stage.state.sessions == {}


def test_only_the_sessions_used_last_are_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SESSIONS_MAX", 2)
    for n in (1, 2, 3, 2):
        run = add(stage, f"r{n}", conversation=f"slack:U{n}")
        run.reading = Spoke()
        sessions = kept(stage, turns.remember(stage.state, run, CLAUDE))
    assert list(sessions) == ["claude_code slack:U3", "claude_code slack:U2"]


@pytest.mark.parametrize("name", ["--dangerously-skip-permissions", "-c", "", "a b", "x" * 200, "s\n"])
def test_a_session_that_looks_like_an_option_is_not_resumed_whoever_left_it(stage: Stage, name: str) -> None:
    left = {"executor": "claude_code", "machine": stage.state.identity.machine_id, "session": name}
    run = add(stage, "r1", checkpoint=json.dumps(left))
    assert turns.start_of(stage.state, run, CLAUDE, 0, has_session=True).session is None
