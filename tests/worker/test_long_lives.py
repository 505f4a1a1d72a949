"""What a daemon and its runs remember does not grow with how long they live."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.clock import ManualClock
from understudy.daemon import guard_link
from understudy.daemon.guard_link import GuardLink
from understudy.worker import process_tree
from understudy.worker.executors import Start
from understudy.worker.executors.claude_reading import MESSAGES_MAX, ClaudeReading
from understudy.worker.executors.codex_reading import DECLINED_MAX, CodexReading
from understudy.worker.guard_policy import Hello, Killed
from understudy.worker.process_tree import Process, ProcessTree

ROOT = 5_000_000  # no process of any machine: one of these numbers could be that of the tests


def test_the_use_of_many_messages_is_summed() -> None:
    reading = ClaudeReading(Start(), {})
    usage = {"input_tokens": 3, "output_tokens": 2}
    for nth in range(10 * MESSAGES_MAX):
        for _ in range(2):
            reading.heed({"type": "assistant", "message": {"id": f"m{nth}", "usage": usage, "content": []}})
    assert len(reading._used) <= MESSAGES_MAX
    told: Any = reading.usage()
    assert (told["inputTokens"], told["outputTokens"]) == (30 * MESSAGES_MAX, 20 * MESSAGES_MAX)


def test_few_of_many_declined_tools_are_remembered() -> None:
    reading = CodexReading(Start(), "", {})
    item = {"type": "command_execution", "command": "rm", "status": "declined"}
    for _ in range(10 * DECLINED_MAX):
        reading.heed({"type": "item.completed", "item": item})
    assert reading.declined == ["command_execution(rm)"] * DECLINED_MAX


def test_processes_that_are_gone_are_forgotten_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree, "SEEN_MAX", 10)
    tree = ProcessTree("run", ManualClock())
    tree.root(ROOT, 1.0)
    long_lived = Process(ROOT + 1, ROOT, ROOT, ROOT, 2.0, lives=True)
    for nth in range(200):
        child = Process(ROOT + 2 + nth, ROOT + 1, ROOT, ROOT, 3.0 + nth, lives=True)
        root = Process(ROOT, 1, ROOT, ROOT, 1.0, lives=nth < 100)
        now = {found.pid: found for found in (root, long_lived, child)}
        monkeypatch.setattr(process_tree, "processes", lambda now=now: now)
        tree.note()
        assert child.pid in tree._seen
    assert len(tree._seen) <= 11
    assert tree._seen[ROOT + 1] == 2.0
    assert tree._seen[ROOT] == 1.0


def test_runs_that_a_guard_killed_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_link, "KILLED_MAX", 10)
    link = GuardLink(Hello("http://127.0.0.1", "k", "w"), {}, lambda: None)
    for nth in range(100):
        link._heed(None, Killed(f"run-{nth}"))  # type: ignore[arg-type]
    assert link.has_killed("run-99")
    assert link.has_killed("run-90")
    assert len(link._killed) == 10
