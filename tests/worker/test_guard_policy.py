"""What the guard decides, on values alone."""

from __future__ import annotations

import pytest

from understudy.worker.guard_policy import (
    Drop,
    EndGuard,
    Gone,
    Guard,
    Held,
    Hello,
    Kill,
    Lost,
    Rooted,
    RunDone,
    Spawning,
    WatchTree,
    Will,
)


def spawning(on_loss: str = "requeue", *, is_named: bool = False) -> Spawning:
    return Spawning("r1", "t1", 7, on_loss, deadline_ms=30_000, is_named=is_named)


def guard(*messages: object) -> Guard:
    rules = Guard()
    for message in (Hello("http://hub", "key", "mini"), *messages):
        rules.step(0, message)  # type: ignore[arg-type]
    return rules


def names(actions: tuple[object, ...]) -> list[str]:
    return [type(action).__name__ for action in actions]


def test_requeue_run_is_killed_at_its_deadline_and_not_before() -> None:
    rules = guard(spawning())
    assert rules.step(29_999) == ()
    (kill,) = rules.step(30_000)
    assert isinstance(kill, Kill)
    assert (kill.run.run_id, kill.reason) == ("r1", "lease_over")
    assert rules.step(30_001) == ()


def test_accepted_renewal_moves_the_deadline() -> None:
    rules = guard(spawning(), Held("r1", 60_000))
    assert rules.step(59_999) == ()
    assert names(rules.step(60_000)) == ["Kill"]


def test_older_renewal_does_not_move_the_deadline_back() -> None:
    rules = guard(spawning(), Held("r1", 60_000), Held("r1", 40_000))
    assert rules.next_due_ms() == 60_000


@pytest.mark.parametrize("on_loss", ["wait", "ask"])
def test_named_wait_run_has_no_deadline(on_loss: str) -> None:
    rules = guard(spawning(on_loss), Held("r1", 60_000))
    assert rules.next_due_ms() is None
    assert rules.step(10**9) == ()


@pytest.mark.parametrize("on_loss", ["wait", "ask"])
def test_unnamed_wait_run_is_treated_as_requeue(on_loss: str) -> None:
    assert names(guard(spawning(on_loss)).step(30_000)) == ["Kill"]


def test_lost_run_is_killed_at_once_and_leaves_no_will() -> None:
    rules = guard(spawning("wait", is_named=True))
    (kill,) = rules.step(1, Lost("r1"))
    assert isinstance(kill, Kill)
    assert kill.reason == "lost"
    assert Will not in map(type, rules.step(2, Gone()))


def test_end_of_the_pipe_kills_first_and_releases_afterwards() -> None:
    rules = guard(spawning("wait", is_named=True), Rooted("r1", 42, 1.0))
    actions = rules.step(5, Gone())
    assert names(actions) == ["Kill", "Will", "EndGuard"]
    assert isinstance(actions[0], Kill)
    assert (actions[0].reason, actions[0].run.pid) == ("daemon_gone", 42)
    assert rules.runs == {}


def test_end_of_the_pipe_without_runs_is_just_the_end() -> None:
    assert guard().step(5, Gone()) == (EndGuard(),)


def test_finished_run_is_forgotten() -> None:
    rules = guard(spawning())
    assert rules.step(1, RunDone("r1")) == (Drop("r1"),)
    assert rules.step(10**9) == ()
    assert names(rules.step(10**9, Gone())) == ["EndGuard"]


def test_root_makes_a_run_watched() -> None:
    rules = guard(spawning())
    assert names(rules.step(1, Rooted("r1", 42, 1.0))) == ["WatchTree"]


def test_root_that_becomes_known_after_the_kill_is_killed_again() -> None:
    rules = guard(spawning())
    rules.step(30_000)
    assert names(rules.step(30_001, Rooted("r1", 42, 1.0))) == ["Kill"]


def test_message_about_an_unknown_run_is_nothing() -> None:
    rules = guard()
    for message in (Held("x", 1), Lost("x"), RunDone("x"), Rooted("x", 1, 1.0)):
        assert rules.step(1, message) == ()


def test_run_killed_for_its_lease_is_released_too_when_the_daemon_is_gone() -> None:
    rules = guard(spawning())
    rules.step(30_000)
    assert "Will" in names(rules.step(30_001, Gone()))


def test_watch_names_the_root() -> None:
    (watch,) = guard(spawning()).step(1, Rooted("r1", 42, 1.0))
    assert isinstance(watch, WatchTree)
    assert watch.run.pid == 42
