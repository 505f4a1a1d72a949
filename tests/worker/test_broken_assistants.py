"""An assistant that breaks fails no queue; what it answered is no error; no task is started without end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.rules_hub import RulesHub
from tests.worker.stubs import KINDS, Stub
from tests.worker.test_assistants import DONE, INIT, THREAD, judged
from understudy.daemon.life import main_loop
from understudy.worker.effects import Probe, Spawn
from understudy.worker.executors import AssistantSession, Ended
from understudy.worker.executors.claude_code import ClaudeCode, ClaudeOptions
from understudy.worker.executors.codex import Codex, CodexOptions
from understudy.worker.untouched import AGAINST_MAX, Untouched

BROKEN = [
    (Ended(code=127, stderr=b"/usr/bin/env: 'node': No such file or directory\n"), "missing"),
    (Ended(code=126, stderr=b"sh: 1: claude: Permission denied"), "not_runnable"),
    (Ended(code=1, stderr=b"Error: Cannot find module '/opt/claude/cli.js'\n"), "cannot_start"),
    (Ended(code=1, stderr=b"ENOSPC: no space left on device, write\n"), "disk_full"),
    (Ended(code=1, stderr=b"spawn EAGAIN"), "no_processes"),
    (Ended(code=101, stderr=b"panicked: Too many open files (os error 24)"), "no_descriptors"),
    (Ended(code=134, stderr=b"FATAL ERROR"), "cannot_start"),
    (Ended(code=-4), "cannot_start"),
]


@pytest.mark.parametrize(("ended", "word"), BROKEN, ids=[f"{word}-{ended.code}" for ended, word in BROKEN])
@pytest.mark.parametrize("kind", KINDS)
def test_a_start_that_breaks_before_the_assistant_says_anything_leaves_the_task_untouched(
    tmp_path: Path, kind: str, ended: Ended, word: str
):
    executor = Stub(tmp_path, kind).executor()
    outcome = executor.outcome(ended, executor.reading())
    assert (outcome.success, outcome.failure_final, outcome.auth, outcome.is_untouched) == (False, False, word, True)
    assert executor.readiness(ended) == word, "a check of the login that breaks in the same way says the same"


@pytest.mark.parametrize(("ended", "word"), BROKEN, ids=[f"{word}-{ended.code}" for ended, word in BROKEN])
def test_a_key_needs_no_login_but_a_codex_that_starts(tmp_path: Path, ended: Ended, word: str):
    stub = Stub(tmp_path, "codex")
    codex = Codex(CodexOptions(cli=str(stub.cli)), {"PATH": "/usr/bin:/bin", "OPENAI_API_KEY": "sk-1"})
    assert codex.readiness(ended) == word
    said = (None, Ended(code=0), Ended(code=None), Ended(code=-15), Ended(code=1, stderr=b"Not logged in"))
    assert {codex.readiness(probed) for probed in said} == {"ok"}
    assert codex.readiness(Ended(code=1, stderr=b"Error checking login status: no file")) == "ok"


@pytest.mark.parametrize(("ended", "word"), BROKEN[:6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_start_that_breaks_says_nothing_about_the_session(kind: str, ended: Ended, word: str):
    session = AssistantSession("s-1")
    outcome, _ = judged(kind, code=ended.code or 0, stderr=ended.stderr, session=session)
    assert (outcome.again, outcome.auth, outcome.is_untouched) == ("", word, True)


@pytest.mark.parametrize(("ended", "_word"), BROKEN[:4])
@pytest.mark.parametrize("kind", KINDS)
def test_what_has_begun_is_not_untouched(kind: str, ended: Ended, _word: str):
    begun = INIT if kind == "claude" else THREAD
    outcome, _ = judged(kind, begun, code=ended.code or 0, stderr=ended.stderr)
    assert (outcome.is_untouched, outcome.auth, outcome.failure_class) == (False, "", "exit_code")


@pytest.mark.parametrize("code", [-15, 137, 143, None])
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_that_stops_processes_shows_nothing_about_the_program(tmp_path: Path, kind: str, code: int | None):
    executor = Stub(tmp_path, kind).executor()
    outcome = executor.outcome(Ended(code=code), executor.reading())
    assert (outcome.failure_class, outcome.auth, outcome.is_untouched) == ("interrupted", "", False)
    assert executor.readiness(Ended(code=code)) == "unknown"


@pytest.mark.parametrize(
    "words", ["HTTP 401 means Unauthorized.", "The billing address is 5 Main St", "She refused the parcel."]
)
@pytest.mark.parametrize(("code", "name"), [(1, "exit_code"), (137, "interrupted"), (-15, "interrupted")])
def test_the_words_of_an_answer_are_no_error_of_the_api(words: str, code: int, name: str):
    outcome, _ = judged("claude", INIT, DONE | {"result": words}, code=code)
    assert (outcome.failure_class, outcome.failure_final, outcome.auth, outcome.is_untouched) == (
        name,
        False,
        "",
        False,
    )
    assert outcome.output == words
    said = {"type": "item.completed", "item": {"type": "agent_message", "text": words}}
    outcome, _ = judged("codex", THREAD, said, {"type": "turn.completed"}, code=1, stderr=words.encode())
    assert (outcome.failure_class, outcome.failure_final, outcome.auth, outcome.is_untouched) == (
        "exit_code",
        False,
        "",
        False,
    )


@pytest.mark.parametrize("words", ["Unable to connect to API (ECONNREFUSED)", "Connection refused (os error 111)"])
def test_a_refused_connection_is_no_refusal_of_the_model(words: str):
    failed = DONE | {"is_error": True, "result": words, "terminal_reason": "api_error"}
    outcomes = (
        judged("claude", INIT, failed, code=1)[0],
        judged("codex", THREAD, {"type": "turn.failed", "error": {"message": words}}, code=1)[0],
    )
    assert {(outcome.failure_class, outcome.failure_final) for outcome in outcomes} == {("api_error", False)}


def test_a_task_that_was_given_back_too_often_is_not_given_back_in_its_next_attempt():
    untouched = Untouched()
    said = [untouched.may_give_back("task-1", "claude_code", "missing") for _ in range(AGAINST_MAX + 3)]
    assert said == [True] * AGAINST_MAX + [False] * 3


# ---- what becomes of the queue -----------------------------------------------------------------

WELL = Ended(code=0, stdout=b'{"loggedIn":true}')
ANSWERED = b"".join(json.dumps(event).encode() + b"\n" for event in (INIT, DONE))


class Queue(RulesHub):
    """A queue for claude, which gives back what it is given back; checks of the login come out as `probed`."""

    def __init__(self, **stage: Any) -> None:
        super().__init__(**stage)
        state = self.stage.state
        state.executors = {"claude_code": ClaudeCode(ClaudeOptions(cli="sh"), {"PATH": "/bin:/usr/bin"})}
        state.auth = {"claude_code": "ok"}
        self.probed = WELL
        self.ends: dict[str, Ended] = {}  # of a task; any other succeeds
        perform = self.stage._perform

        def answered(loop: Any, effect: Any) -> tuple[bool, Any]:
            if isinstance(effect, Probe):
                return False, self.probed
            if isinstance(effect, Spawn):
                task = next(run.task.id for run in state.runs.values() if run.id == effect.run_id)
                effect.reading.feed(self._end(task).stdout, 0)
            return perform(loop, effect)

        self.stage._perform = answered  # type: ignore[method-assign]
        self.stage.play = lambda task: (100, self._end(task.id))
        self.stage.start(main_loop(state))
        assert self.stage.run_until(lambda: state.is_known)

    def _end(self, task_id: str) -> Ended:
        return self.ends.get(task_id, Ended(code=0, stdout=ANSWERED))

    def go_on(self, ms: int) -> None:
        """Time passes; what was given back stands first in the queue again."""
        for _ in range(ms // 1_000):
            self.stage.run_for(1_000)
            back, self.released = self.released, []
            self.queue[:0] = [{"id": task_id, "content": "hello"} for task_id, _ in back]


def test_an_assistant_that_breaks_while_the_daemon_runs_fails_no_task():
    hub = Queue()
    hub.probed = broken = Ended(code=127, stderr=b"/usr/bin/env: 'node': No such file or directory")
    hub.ends = {f"t{nth}": broken for nth in range(50)}
    for nth in range(50):
        hub.submit(f"t{nth}", content="hello")
    hub.go_on(7_200_000)
    assert (hub.results, hub.stage.started) == ({}, ["t0"])
    assert hub.stage.state.auth == {"claude_code": "missing"}
    hub.probed, hub.ends = WELL, {}
    hub.go_on(400_000)
    assert len(hub.results) == 50
    assert all(result["success"] for result in hub.results.values())


def test_a_task_that_breaks_each_start_of_a_sound_assistant_fails_and_lets_the_others_through():
    hub = Queue()
    hub.ends = {"t0": Ended(code=1, stderr=b"Error: settings.json is broken")}
    for nth in range(3):
        hub.submit(f"t{nth}", content="hello")
    hub.go_on(1_800_000)
    assert hub.stage.started.count("t0") == AGAINST_MAX + 1
    assert {task: result["success"] for task, result in hub.results.items()} == {"t0": False, "t1": True, "t2": True}
    assert hub.results["t0"]["failure"] == {"class": "exit_code", "final": False}
    assert hub.stage.state.auth == {"claude_code": "ok"}, "the failure was the task's own"


def test_a_task_whose_login_is_refused_while_others_succeed_fails_in_the_end():
    hub = Queue(capacity=2)
    refused = DONE | {"is_error": True, "api_error_status": 401, "result": "Unauthorized"}
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in (INIT, refused))
    hub.ends = {"odd": Ended(code=1, stdout=lines)}
    hub.submit("odd", content="hello")
    for nth in range(40):
        hub.go_on(600_000 if "odd" not in hub.results else 0)
        hub.submit(f"t{nth}", content="hello")
    assert hub.results["odd"]["failure"]["class"] == "auth"
    assert hub.stage.started.count("odd") > AGAINST_MAX


def test_a_login_that_is_lost_for_days_fails_no_task():
    hub = Queue()
    refused = DONE | {"is_error": True, "api_error_status": 401, "result": "Unauthorized"}
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in (INIT, refused))
    hub.ends = {"t0": Ended(code=1, stdout=lines)}
    hub.submit("t0", content="hello")
    hub.go_on(86_400_000)
    assert hub.results == {}
    assert hub.stage.started.count("t0") > AGAINST_MAX
