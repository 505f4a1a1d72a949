"""What the end of a run means: for its task, for its lease, and for what it left behind."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.worker.scene import Scene
from understudy.worker.effects import (
    Call,
    Ended,
    SpoolResult,
    TellGuard,
    Wait,
)
from understudy.worker.ending import OWN_SIGNAL_MS
from understudy.worker.executors import Outcome
from understudy.worker.executors.command import CommandExecutor
from understudy.worker.guard_policy import RunDone
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
def test_a_run_that_the_stop_of_its_machine_ends_is_given_back_and_no_failure(code: int) -> None:
    scene = Scene()
    scene.state.ask_to_stop()
    scene.news = [Ended(code=code)]
    scene.play()
    assert fate(scene) == ([], ["drain"])


def test_a_run_that_dies_a_moment_before_its_daemon_hears_of_the_stop_is_given_back() -> None:
    """A system that stops sends TERM to every process at once."""
    scene = Scene()
    scene.news = [Ended(code=-signal.SIGTERM)]

    def heard() -> None:
        if len(scene.all(Wait)) == 2:
            scene.state.ask_to_stop()

    scene.answers[Wait] = heard
    scene.play()
    assert fate(scene) == ([], ["drain"])


def test_a_run_that_three_signals_ended_at_once_is_given_back() -> None:
    """They were read in one go: nobody drained, and everything was killed."""
    scene = Scene()

    def killed() -> Ended:
        for _ in range(3):
            scene.state.ask_to_stop()
        return Ended(code=-signal.SIGKILL)

    scene.news = [killed]
    scene.play()
    assert fate(scene) == ([], ["drain"])


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
