"""Each row of the measured tables of `claude -p` and `codex exec` gives the right outcome (real processes)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.stubs import KINDS, TASK, Stub
from understudy.worker.executors import AssistantSession, Ended, Start, TaskToRun
from understudy.worker.executors.claude_code import ClaudeCode, ClaudeOptions
from understudy.worker.executors.codex import Codex, CodexOptions

OK = ("done", False, "")
# mode → (class, final, what it shows about the login); docs/measured.md
ROWS = {
    "no_login": ("auth", False, "logged_out"),
    "credit": ("credit", False, "no_credit"),
    "401": ("auth", False, "expired"),
    "429": ("rate_limited", False, ""),
    "500": ("api_error", False, ""),
    "529": ("overloaded", False, ""),
    "denied": ("blocked", True, ""),
    "nothing": ("no_output", False, ""),
    "begun_then_nothing": ("no_output", False, ""),
    "sigint": ("no_output", False, ""),
    "143": ("interrupted", False, ""),
    "bad_flag": ("usage", True, "cannot_start"),
    "crash": ("exit_code", False, ""),
}
CLAUDE_ROWS = {
    "refusal": ("refused", True, ""),
    "max_tokens": ("max_tokens", True, ""),
    "budget": ("budget", True, ""),
    "deferred": ("blocked", True, ""),
    "aborted": ("interrupted", False, ""),
    "unknown_session": ("session", False, ""),
    "id_in_use": ("session", False, ""),
}
CODEX_ROWS = {"untrusted": ("usage", True, "cannot_start")}
CASES = [
    *((kind, mode, row) for mode, row in ROWS.items() for kind in KINDS),
    *(("claude", mode, row) for mode, row in CLAUDE_ROWS.items()),
    *(("codex", mode, row) for mode, row in CODEX_ROWS.items()),
]


@pytest.mark.parametrize(("kind", "mode", "row"), CASES, ids=[f"{kind}-{mode}" for kind, mode, _ in CASES])
def test_an_end_that_is_no_answer_has_its_class(tmp_path: Path, kind: str, mode: str, row: tuple[str, bool, str]):
    outcome = Stub(tmp_path, kind, mode).run()
    assert not outcome.success
    assert (outcome.failure_class, outcome.failure_final, outcome.auth) == row
    assert outcome.error


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_completed_run_with_an_answer_is_a_success(tmp_path: Path, kind: str):
    outcome = Stub(tmp_path, kind, "ok").run()
    assert (outcome.success, outcome.output, outcome.failure_class) == (True, "answer", "")


@pytest.mark.parametrize("change", [{"is_error": True}, {"terminal_reason": "api_error"}, {"subtype": "error_x"}])
def test_a_result_line_that_is_not_completed_is_no_success_whatever_the_exit_code(tmp_path: Path, change):
    result = {"type": "result", "subtype": "success", "is_error": False, "result": "x", "permission_denials": []}
    whole = result | ({} if "subtype" in change else {"terminal_reason": "completed"}) | change
    executor = Stub(tmp_path).executor()
    reading = executor.reading()
    reading.feed(json.dumps(whole).encode() + b"\n", 0)
    assert not executor.outcome(Ended(code=0), reading).success


def test_a_result_line_with_another_exit_code_is_no_success(tmp_path: Path):
    executor = Stub(tmp_path).executor()
    reading = executor.reading()
    reading.feed(b'{"type":"result","is_error":false,"terminal_reason":"completed","result":"x"}', 0)
    assert executor.outcome(Ended(code=0), reading).success, "a last line without its end counts"
    assert not executor.outcome(Ended(code=1), reading).success


@pytest.mark.parametrize("kind", KINDS)
def test_a_denied_tool_names_itself(tmp_path: Path, kind: str):
    outcome = Stub(tmp_path, kind, "denied").run()
    assert ("Write(/etc/x)" if kind == "claude" else "command_execution(rm x)") in outcome.error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["no_login", "credit", "401"])
def test_a_refused_login_that_did_nothing_leaves_the_task_untouched(tmp_path: Path, kind: str, mode: str):
    assert Stub(tmp_path, kind, mode).run().is_untouched
    assert not Stub(tmp_path / "late", kind, "401_after_tool").run().is_untouched, "a tool was used before"


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_are_not_utf8_and_lines_that_are_not_json_are_survived(tmp_path: Path, kind: str):
    outcome = Stub(tmp_path, kind, "bad_utf8").run()
    assert outcome.success
    assert outcome.output == ("answer" if kind == "claude" else "a\ufffdb")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["huge", "huge_line"])
def test_a_flood_of_output_does_not_hide_the_answer(tmp_path: Path, kind: str, mode: str):
    outcome = Stub(tmp_path, kind, mode).run()
    assert outcome.success
    assert outcome.output in ("answer", "after the flood")


def test_a_long_answer_keeps_its_head_and_tail(tmp_path: Path):
    output = Stub(tmp_path, "claude", "long_answer").run().output or ""
    assert 512 * 1024 < len(output) < 513 * 1024
    assert (output[0], output[-1]) == ("a", "z")
    assert "bytes left out" in output


# ---- how it is asked ---------------------------------------------------------------------------


def test_claude_gets_its_permissions_and_a_session_of_our_choice_on_each_start(tmp_path: Path):
    executor = Stub(tmp_path).executor(
        allowed_tools="Bash(git *),Read", model="m", budget_usd="2.50", has_owner_settings=False
    )
    first = executor.plan(TASK, "run-1").argv
    resumed = executor.plan(TASK, "run-2", Start(session=AssistantSession("s-1"))).argv
    flags = "--permission-mode acceptEdits --allowedTools=Bash(git *),Read --setting-sources  --strict-mcp-config "
    for argv in (first, resumed):
        assert flags + "--model m --max-budget-usd 2.50" in " ".join(argv)
        assert "-p --output-format stream-json --verbose" in " ".join(argv)
    assert first[-2] == "--session-id"
    assert resumed[-2:] == ("--resume", "s-1")
    assert executor.plan(TASK, "run-1", Start(nth=1)).argv[-1] != first[-1], "an id that may be in use is not used"


def test_codex_gets_its_sandbox_before_resume_on_each_start(tmp_path: Path):
    executor = Stub(tmp_path, "codex").executor(sandbox="workspace-write", model="m")
    first = executor.plan(TASK, "run-1", Start(cwd="/w")).argv
    resumed = executor.plan(TASK, "run-2", Start(session=AssistantSession("th-1"), cwd="/w")).argv
    for argv in (first, resumed):
        assert argv[1:7] == ("exec", "--json", "--color", "never", "-s", "workspace-write")
        assert argv[argv.index("-C") : argv.index("-C") + 4] == ("-C", "/w", "-m", "m")
        assert 'shell_environment_policy.inherit="core"' in argv
    assert first[-1] == "-"
    assert resumed[-3:] == ("resume", "th-1", "-")


def test_the_owners_settings_are_the_assistant_unless_told_otherwise(tmp_path: Path):
    assert "--setting-sources" not in Stub(tmp_path).executor().plan(TASK, "r").argv


@pytest.mark.parametrize("kind", KINDS)
def test_memory_comes_first_the_question_last_and_whole(tmp_path: Path, kind: str):
    question = "-q\tthe \\ question\n" * 500
    task = TaskToRun(id="t", content=question, context="[user] before\n" * 50_000)
    stub = Stub(tmp_path, kind, "ok")
    stub.run(task=task)
    (prompt,) = stub.prompts()
    assert prompt.endswith(question.encode())
    assert b"[user] before" in prompt
    assert len(prompt) < len(question) + 70_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_session_knows_its_memory_already(tmp_path: Path, kind: str):
    stub = Stub(tmp_path, kind, "ok")
    stub.run(task=TaskToRun(id="t", content="more?", context="[user] before"), session=AssistantSession("s-1"))
    assert stub.prompts() == [b"more?"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("content", "why"), [("", "no text"), (" \n", "no text"), ("a\0b", "NUL")])
def test_what_no_assistant_takes_is_refused_clearly(tmp_path: Path, kind: str, content: str, why: str):
    with pytest.raises(ValueError, match=why):
        Stub(tmp_path, kind).executor().plan(TaskToRun(id="t", content=content), "run-1")


# ---- sessions, usage, progress -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mode"), [("claude", "dies_on_resume"), ("claude", "no_conversation"), ("codex", "no_rollout")]
)
def test_a_session_that_is_not_known_any_more_is_begun_anew(tmp_path: Path, kind: str, mode: str):
    outcome = Stub(tmp_path, kind, mode).run(session=AssistantSession("gone"))
    assert (outcome.failure_class, outcome.again) == ("session", "session")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [None, -1, -15, 129, 130, 137, 143])
def test_a_resumed_run_that_a_signal_ends_before_it_begins_has_lost_no_session(
    tmp_path: Path, kind: str, code: int | None
):
    executor = Stub(tmp_path, kind).executor()
    reading = executor.reading(Start(session=AssistantSession("s-1")))
    outcome = executor.outcome(Ended(code=code), reading)
    assert (outcome.failure_class, outcome.again) == ("interrupted", "")


def test_a_start_without_a_session_that_fails_is_not_repeated(tmp_path: Path):
    assert Stub(tmp_path, "claude", "bad_flag").run().again == ""


def test_claude_usage_is_of_the_run_and_has_its_price(tmp_path: Path):
    used = Stub(tmp_path, "claude", "ok").run().usage
    assert used is not None
    assert (used["model"], used["inputTokens"], used["outputTokens"]) == ("claude-haiku-4-5", 12, 5)
    assert used["costMicroUsd"] == 12 * 1 + 5 * 5


def test_codex_counts_by_thread_and_we_count_by_run(tmp_path: Path):
    stub = Stub(tmp_path, "codex", "ok")
    inputs = []
    session = None
    for _ in range(3):
        outcome = stub.run(session=session, model="gpt-5")
        session = stub.reading.session()
        assert outcome.usage is not None
        inputs.append(outcome.usage["inputTokens"])
    assert inputs[1:] == [11, 11]
    assert session is not None
    assert session.counters["input_tokens"] == 44
    outcome = stub.run(session=AssistantSession("thread-1", {"input_tokens": 9_999}))
    assert (outcome.usage or {})["inputTokens"] == 55, "counters that went down have begun anew"


@pytest.mark.parametrize("kind", KINDS)
def test_progress_names_the_tool_and_leaves_a_checkpoint(tmp_path: Path, kind: str):
    stub = Stub(tmp_path, kind, "tool_then_ok")
    stub.run()
    seen = stub.executor().reading(Start(machine="m-1"))
    begin, tool = stub.reading, json.dumps({"type": "item.started", "item": {"type": "mcp", "tool": "x"}})
    assert begin.did[-1].endswith("git status")
    if kind == "codex":
        seen.feed(b'{"type":"thread.started","thread_id":"th-1"}\n', 1_000)
    else:
        seen.feed(b'{"type":"system","subtype":"init","session_id":"th-1"}\n', 1_000)
        content = [{"type": "tool_use", "name": "mcp", "input": {"query": "x"}}]
        tool = json.dumps({"type": "assistant", "message": {"content": content}})
    progress = seen.feed(tool.encode() + b"\n", 43_000)
    assert progress is not None
    assert progress.text == "mcp: x"
    left = json.loads(progress.checkpoint or "{}")
    assert (left["machine"], left["session"], left["did"]) == ("m-1", "th-1", ["mcp: x"])
    again = seen.feed(b'{"type":"other"}\n', 44_000)
    assert again is not None
    assert again.checkpoint is None, "told once"


def test_bytes_without_a_whole_event_are_no_sign_of_life(tmp_path: Path):
    reading = Stub(tmp_path).executor().reading()
    assert reading.feed(b'{"type":"system"', 0) is None
    assert reading.feed(b"noise\nnoise\n", 0) is None
    assert reading.feed(b'{"type":"system"}\n', 0) is not None


# ---- lines that are lost, or have another shape ----------------------------------------------------


def judged(
    kind: str, *events: dict[str, Any], code: int = 1, stderr: bytes = b"", session: AssistantSession | None = None
):
    """The outcome of a run that said this, and the session that it leaves behind."""
    env = {"PATH": "/usr/bin:/bin"}
    executor = ClaudeCode(ClaudeOptions(), env) if kind == "claude" else Codex(CodexOptions(model="gpt-5"), env)
    reading = executor.reading(Start(session=session))
    reading.feed(b"".join(json.dumps(event).encode() + b"\n" for event in events), 0)
    return executor.outcome(Ended(code=code, stderr=stderr), reading), reading.session()


THREAD = {"type": "thread.started", "thread_id": "th-1"}
SAID = {"type": "item.completed", "item": {"type": "agent_message", "text": "hi"}}
INIT = {"type": "system", "subtype": "init", "session_id": "s", "model": "claude-haiku-4-5"}
DONE = {"type": "result", "subtype": "success", "is_error": False, "terminal_reason": "completed", "result": "ok"}
USED_TOOL = {
    "codex": (THREAD, {"type": "item.completed", "item": {"type": "command_execution", "command": "make install"}}),
    "claude": (INIT, {"type": "user", "message": {"content": [{"type": "tool_result", "content": "installed"}]}}),
}
REFUSED = {
    "codex": {"type": "turn.failed", "error": {"message": "401 Unauthorized"}},
    "claude": DONE | {"is_error": True, "api_error_status": 401, "result": "Unauthorized"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_a_tool_whose_begin_was_lost_shows_that_something_was_done(kind: str):
    """Given back as untouched, the task would do it a second time."""
    outcome, _ = judged(kind, USED_TOOL[kind][0], REFUSED[kind])
    assert (outcome.failure_class, outcome.is_untouched) == ("auth", True)
    outcome, _ = judged(kind, *USED_TOOL[kind], REFUSED[kind])
    assert (outcome.failure_class, outcome.is_untouched) == ("auth", False)


BEGINS_TOOL = {
    "codex": {"type": "item.started", "item": {"type": "command_execution", "command": "make install"}},
    "claude": {
        "type": "assistant",
        "message": {"content": [{"type": "tool_use", "name": "Bash", "input": {"command": "make install"}}]},
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_over", [False, True])
def test_a_resumed_run_whose_first_line_was_lost_is_not_repeated_once_it_has_used_a_tool(kind: str, is_over: bool):
    used = USED_TOOL[kind][1] if is_over else BEGINS_TOOL[kind]
    outcome, _ = judged(kind, used, session=AssistantSession("th-1"))
    assert (outcome.success, outcome.again, outcome.failure_class) == (False, "", "exit_code")


@pytest.mark.parametrize("usage", [None, [], "none"])
def test_a_turn_that_tells_no_usage_leaves_the_counters_of_its_thread(usage: Any):
    """With counters of 0 the next run of this thread would be charged for the whole of it."""
    before = AssistantSession("th-1", {"input_tokens": 1_000, "output_tokens": 100})
    outcome, session = judged("codex", THREAD, SAID, {"type": "turn.completed", "usage": usage}, code=0, session=before)
    assert (outcome.success, outcome.usage) == (True, None)
    assert session is not None
    assert session.counters == before.counters


def test_another_thread_counts_from_the_beginning():
    used = {"type": "turn.completed", "usage": {"input_tokens": 1_500, "output_tokens": 150}}
    before = AssistantSession("another", {"input_tokens": 1_000, "output_tokens": 100})
    outcome, _ = judged("codex", THREAD, SAID, used, code=0, session=before)
    assert (outcome.usage or {})["inputTokens"] == 1_500


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", ["x" * 1_000_000, "--help", "a\0b", "a b", "../up", "セッション"])
def test_what_cannot_be_resumed_is_no_session(kind: str, odd: str):
    """A megabyte of it in the file of sessions cost all conversations theirs."""
    begin = THREAD | {"thread_id": odd} if kind == "codex" else INIT | {"session_id": odd}
    _, session = judged(kind, begin, code=0)
    assert session is None
    outcome, _ = judged(kind, begin)
    assert outcome.failure_class == "exit_code", "it has begun"


@pytest.mark.parametrize("denied", [{"tool_name": "Bash"}, "Bash", 1, True, ["Bash"], [None]])
def test_a_denial_in_another_shape_is_one(denied: Any):
    outcome, _ = judged("claude", INIT, DONE | {"permission_denials": denied}, code=0)
    assert (outcome.success, outcome.failure_class) == (False, "blocked")


@pytest.mark.parametrize("denied", [[], {}, None, 0, False, ""])
def test_no_denial_is_none(denied: Any):
    assert judged("claude", INIT, DONE | {"permission_denials": denied}, code=0)[0].success


# ---- login -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_readiness_is_one_word(tmp_path: Path, kind: str):
    executor = Stub(tmp_path, kind).executor()
    logged_out = Ended(code=1, stdout=b'{"loggedIn": false}', stderr=b"Not logged in")
    assert executor.readiness(None) == "unknown"
    assert executor.readiness(Ended(code=0, stdout=b'{"loggedIn": true}', stderr=b"Logged in")) == "ok"
    assert executor.readiness(logged_out) == "logged_out"
    assert executor.readiness(Ended(code=1, stderr=b"the keychain is locked")) == "keychain_locked"
    assert executor.readiness(Ended(code=1, stderr=b"your token has expired")) == "expired"
    assert executor.readiness(Ended(code=None)) == "unknown"
    missing = Stub(tmp_path / "gone", kind)
    missing.cli.unlink()
    assert (missing.executor().readiness(None), missing.executor().probe()) == ("missing", None)
