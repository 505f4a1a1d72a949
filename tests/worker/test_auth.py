"""The auth loop: who is asked when, what a run shows counts for more, and the pause after it grows."""

from __future__ import annotations

from typing import Any

from tests.worker.stage import Stage
from understudy.worker.auth import EVERY_MS, HOLD_MS_FIRST, auth_loop, to_ask
from understudy.worker.effects import Failed, Probe, Wait, WriteLog
from understudy.worker.executors import Ended, Plan
from understudy.worker.executors.command import CommandExecutor
from understudy.worker.workspaces import Workspaces

LOGGED_IN, LOGGED_OUT = Ended(code=0), Ended(code=1)


class Assistant(CommandExecutor):
    """Asked by a process; the exit code tells."""

    name = "assistant"

    def probe(self) -> Plan | None:
        return Plan(argv=("assistant", "auth"), env={})

    def readiness(self, probed: Ended | None) -> str:
        return "unknown" if probed is None else "ok" if probed.code == 0 else "logged_out"


class Scene:
    """The loop alone, with its effects answered by hand."""

    def __init__(self) -> None:
        stage = Stage(lambda _: (0, None))  # type: ignore[arg-type,return-value]
        self.clock, self.state = stage.clock, stage.state
        self.state.executors = {"assistant": Assistant(("assistant",), {})}
        self.state.auth = {"assistant": "unknown"}
        self.answer: Any = LOGGED_IN
        self.asked = 0
        self.cwd: str | None = None  # of the last look
        self.said: list[str] = []
        self.loop = auth_loop(self.state)
        self.pause_ms = self.go_on(next(self.loop))

    def go_on(self, effect: Any) -> int:
        while not isinstance(effect, Wait):
            if isinstance(effect, WriteLog):
                self.said.append(f"{effect.level} {effect.message}")
            self.asked += isinstance(effect, Probe)
            self.cwd = effect.plan.cwd if isinstance(effect, Probe) else self.cwd
            effect = self.loop.send(self.answer if isinstance(effect, Probe) else None)
        return effect.timeout_ms

    def wait(self, ms: int | None = None) -> None:
        self.clock.advance(self.pause_ms if ms is None else ms)
        self.pause_ms = self.go_on(self.loop.send(None))

    @property
    def word(self) -> str:
        return self.state.auth["assistant"]


def test_everybody_is_asked_at_once_and_then_every_few_minutes() -> None:
    scene = Scene()
    assert (scene.asked, scene.word, scene.pause_ms) == (1, "ok", EVERY_MS)
    scene.wait()
    assert scene.asked == 2


def test_a_logout_is_said_once_with_its_mend_and_so_is_the_return() -> None:
    scene = Scene()
    scene.answer = LOGGED_OUT
    scene.wait()
    scene.wait()
    assert scene.word == "logged_out"
    scene.answer = LOGGED_IN
    scene.wait()
    assert [line.split()[0] for line in scene.said] == ["debug", "critical", "info"]


def test_after_a_refused_run_it_is_believed_again_only_after_a_growing_pause() -> None:
    scene = Scene()
    pauses = []
    for _ in range(4):
        scene.state.set_auth("assistant", "expired", is_shown_by_run=True)
        scene.wait(0)
        assert scene.word == "expired", "a probe that calls it good would be asked too early"
        began_ms = scene.clock.mono_ms()
        while scene.word != "ok":
            scene.wait()
        pauses.append(scene.clock.mono_ms() - began_ms)
    assert pauses == sorted(pauses)
    assert pauses[0] <= HOLD_MS_FIRST < pauses[-1]
    scene.state.set_auth("assistant", "ok", is_shown_by_run=True)
    scene.wait(0)
    scene.state.set_auth("assistant", "expired", is_shown_by_run=True)
    scene.wait(0)
    assert scene.pause_ms <= HOLD_MS_FIRST, "a run that succeeded makes the pause small again"


def test_a_probe_that_cannot_be_run_is_no_login() -> None:
    scene = Scene()
    scene.answer = Failed("no answer within 20000 ms")
    scene.wait()
    assert scene.word != "ok"


def test_after_a_start_without_the_directory_of_all_workspaces_the_look_begins_there() -> None:
    scene = Scene()
    scene.state.workspaces = Workspaces(root="/srv/repos")
    scene.state.start_faults = {"assistant": "/srv/repos"}
    scene.answer = Failed("/srv/repos: gone", "no_directory")
    scene.wait()
    assert (scene.cwd, scene.word) == ("/srv/repos", "no_directory")
    scene.state.start_faults = {"assistant": "/elsewhere"}
    scene.answer = LOGGED_IN
    scene.wait()
    assert (scene.cwd, scene.word) == (None, "ok")


def test_only_who_has_a_login_is_asked() -> None:
    state = Stage(lambda _: (0, None)).state  # type: ignore[arg-type,return-value]
    assert to_ask(state) == {}
    state.auth = {"command": "missing"}
    assert list(to_ask(state)) == ["command"]


def test_without_the_default_executor_nothing_is_claimed() -> None:
    state = Stage(lambda _: (0, None)).state  # type: ignore[arg-type,return-value]
    state.is_known = state.is_guarded = True
    assert state.may_claim()
    assert state.offers() == state.provides
    state.set_auth("command", "expired")
    assert not state.may_claim()
    assert "executor:command" not in state.offers()
    assert "executor:command" in state.provides
