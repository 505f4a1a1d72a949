"""Plans and verdicts of the executors, and what a run may see of its daemon's environment."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from understudy.worker.executors import Ended, TaskToRun, tag
from understudy.worker.executors.child_environment import child_env
from understudy.worker.executors.command import CommandExecutor
from understudy.worker.executors.diagnostic import Diagnostic, report

TASK = TaskToRun(id="t1", content="line one\n\ttab \\ 質問 \x00 end")


def test_command_gets_the_prompt_on_stdin_and_nowhere_else() -> None:
    plan = CommandExecutor(("claude", "-p"), {"PATH": "/bin"}).plan(TASK, "run-1")
    assert plan.argv == ("claude", "-p")
    assert plan.stdin == TASK.content.encode()
    assert plan.env == {"PATH": "/bin", "UNDERSTUDY_RUN_ID": "run-1", "UNDERSTUDY_TASK_ID": "t1"}


def test_exit_code_zero_is_success_and_stdout_the_answer() -> None:
    outcome = CommandExecutor(("x",), {}).outcome(Ended(code=0, stdout=b"4\n", stderr=b"noise"))
    assert (outcome.success, outcome.output, outcome.error) == (True, "4\n", None)


@pytest.mark.parametrize(
    ("code", "error"), [(3, "exit code 3: no"), (-9, "ended by signal 9: no"), (None, "exit code unknown: no")]
)
def test_any_other_end_is_a_failure_that_keeps_what_was_said(code: int | None, error: str) -> None:
    outcome = CommandExecutor(("x",), {}).outcome(Ended(code=code, stdout=b"half", stderr=b"no\n"))
    assert (outcome.success, outcome.output, outcome.error) == (False, "half", error)
    assert outcome.failure_class == "exit_code"


def test_output_that_is_not_utf8_is_replaced_not_refused() -> None:
    assert CommandExecutor(("x",), {}).outcome(Ended(code=0, stdout=b"\xff\xfe ok")).output == "\ufffd\ufffd ok"


def test_command_touches_the_machine_and_diagnostic_does_not() -> None:
    assert (CommandExecutor(("x",), {}).on_loss, Diagnostic({}).on_loss) == ("wait", "requeue")
    assert tag(Diagnostic({})) == "executor:diagnostic"


def test_missing_command_is_seen_before_it_is_needed() -> None:
    env = {"PATH": "/usr/bin:/bin"}
    assert CommandExecutor(("cat",), env).readiness(None) == "ok"
    assert CommandExecutor(("no-such-command",), env).readiness(None) == "missing"


def test_child_sees_an_allowlist_and_none_of_our_secrets_by_name_or_value() -> None:
    key = "usk_0123456789abcdefghjkmnpqrstvwxyz"
    ambient = {
        "PATH": "/bin",
        "LC_TIME": "C",
        "HOME": "/home/x",
        "UNDERSTUDY_API_KEY": key,
        "ASSISTANT_API_KEY": key,
        "SLACK_BOT_TOKEN": "xoxb-1",
        "DATABASE_URL": "postgres://u:p@h/",
        "CLAUDECODE": "1",
        "ANTHROPIC_API_KEY": "sk-ant-mine",
        "SMUGGLED": f"--key={key}",
        "SHELL": f"/bin/sh {key}",
    }
    env = child_env(ambient, ("ANTHROPIC_API_KEY", "SMUGGLED"), (key,))
    assert env == {"PATH": "/bin", "LC_TIME": "C", "HOME": "/home/x", "ANTHROPIC_API_KEY": "sk-ant-mine"}


def test_diagnostic_answers_with_what_it_received_and_where() -> None:
    plan = Diagnostic({}).plan(TASK, "run-1")
    done = subprocess.run(plan.argv, input=plan.stdin, env=plan.env, capture_output=True, check=True)
    output = Diagnostic({}).outcome(Ended(code=0, stdout=done.stdout)).output or ""
    assert f"received: {TASK.content}" in output
    assert socket.gethostname() in output
    assert f"python: {sys.version.split()[0]}" in output
    assert "task: t1" in output
    assert "disk: " in output


def test_diagnostic_does_not_repeat_more_than_it_must() -> None:
    text = report("x" * 5_000, "t1")
    assert "and 3000 more characters" in text
    assert "characters: 5000" in text
