"""The story as a list of steps, each with what must be seen.

To add a step, write a function that returns the values of its sentence `drill.NAME.done`, and add its line in STEPS
and its two sentences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil

from understudy.cli.client import path_of
from understudy.cli.drill.assistant import WAITS
from understudy.cli.drill.stage import Stage
from understudy.cli.drill.steps import Values, require, wanted
from understudy.clock import parse_iso
from understudy.texts import t

BY_HUB = "hub/claude-api"
LAST_WILL_MS = 3_000
ASKED_WHILE_AWAY = 2
EACH_ONCE = ("warning", "critical", "recovered")


class DrillStory:
    """One drill: what was handed in, and when the daemon was killed."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.tasks: dict[str, str] = {}  # name → id
        self.killed_ms = 0
        self.boot_id = ""

    def until(self, ask: Callable[[], Any], what: str, within_ms: int = 0) -> Any:
        """See `Stage.until`."""
        return self.stage.until(ask, what, within_ms)

    def finished(self, name: str) -> dict[str, Any]:
        """The record of a task, once it ended well."""
        task_id = self.tasks[name]
        record = self.until(lambda: wanted(self.stage.task(task_id), status="done"), f"{task_id}: done")
        return dict(record)


def _hub(story: DrillStory) -> Values:
    story.stage.start_hub()
    story.until(story.stage.is_ready, "/ready")
    return {"url": story.stage.url}


def _daemon(story: DrillStory) -> Values:
    story.stage.start_daemon()
    state = story.until(lambda: wanted(story.stage.state(), state="healthy"), "healthy")
    story.boot_id = state["bootId"]
    return {"daemon": story.stage.daemon_id}


def _tasks(story: DrillStory) -> Values:
    story.tasks["text"] = story.stage.submit("A question that needs no machine", needs=[])
    story.tasks["machine"] = story.stage.submit("A question for this machine")
    for name in ("text", "machine"):
        require(story.finished(name)["result"]["output"].startswith("A QUESTION"), name)
    return {"count": 2}


def _work(story: DrillStory) -> Values:
    story.tasks["long"] = task_id = story.stage.submit(f"{WAITS} for me: work on this machine")
    pid_file = story.stage.gate.with_suffix(".pid")
    story.until(lambda: pid_file.exists() and pid_file.read_text(), "pid")
    story.until(lambda: any(run["taskId"] == task_id for run in story.stage.state()["running"]), "running")
    return {"task": task_id}


def _kill(story: DrillStory) -> Values:
    pid = int(story.stage.gate.with_suffix(".pid").read_text())
    story.stage.kill_daemon()
    story.killed_ms = story.stage.clock.mono_ms()
    story.until(lambda: not _lives(pid), f"pid {pid}: gone", LAST_WILL_MS)
    return {"after_ms": story.stage.clock.mono_ms() - story.killed_ms}


def _questions(story: DrillStory) -> Values:
    for number in range(ASKED_WHILE_AWAY):
        story.tasks[f"away-{number}"] = story.stage.submit(f"Question {number} while nobody is there", needs=[])
    return {"count": ASKED_WHILE_AWAY}


def _warning(story: DrillStory) -> Values:
    return _alarmed(story, "daemon.late", "warning", story.stage.limits.late_ms)


def _critical(story: DrillStory) -> Values:
    return _alarmed(story, "daemon.down", "critical", story.stage.limits.down_ms)


def _alarmed(story: DrillStory, name: str, level: str, limit_ms: int) -> Values:
    """The event at the hub, not before its time, and its notice at the receiver."""
    (event, *_) = story.until(lambda: story.stage.events(name), name, limit_ms)
    silent_ms = round(event["fields"]["elapsedSec"] * 1000)
    require(silent_ms >= limit_ms, f"{name}: {silent_ms} ms < {limit_ms} ms")
    _noticed(story, level, limit_ms)
    return {"silent_ms": silent_ms}


def _noticed(story: DrillStory, level: str, within_ms: int = 0) -> None:
    word = t(f"channel.level.{level}")
    story.until(lambda: story.stage.discord.said(word, story.stage.daemon_id), f"Discord: {word}", within_ms)


def _takeover(story: DrillStory) -> Values:
    for number in range(ASKED_WHILE_AWAY):
        result = story.finished(f"away-{number}")["result"]
        require(result["output"] == story.stage.claude.REPLY, "output")
        require((result.get("executor"), result.get("degraded")) == (BY_HUB, True), "executor, degraded")
    replies = "Discord: answers"
    story.until(lambda: len(story.stage.discord.said(story.stage.claude.REPLY)) == ASKED_WHILE_AWAY, replies)
    return {"count": ASKED_WHILE_AWAY}


def _kept(story: DrillStory) -> Values:
    record = story.stage.task(story.tasks["long"])
    require(record["status"] == "pending", record["status"])
    require(not any(WAITS in question for question in story.stage.claude.questions), "the API was asked")
    words = t("answers.takeover.kept", since="\0", position="\0").split("\0")
    story.until(lambda: story.stage.discord.said(*words), "Discord: kept")
    return {"task": record["id"]}


def _back(story: DrillStory) -> Values:
    story.stage.gate.touch()
    story.stage.start_daemon()
    before = story.boot_id
    story.until(lambda: wanted(story.stage.state(), state="healthy").get("bootId", before) != before, "bootId")
    return {}


def _hand_back(story: DrillStory) -> Values:
    asked = len(story.stage.claude.questions)
    record = story.finished("long")
    require(record["result"]["output"].startswith(WAITS.upper()), "output")
    story.tasks["after"] = story.stage.submit("A question after the return", needs=[])
    require("executor" not in story.finished("after")["result"], "executor")
    require(len(story.stage.claude.questions) == asked, "the API was asked")
    return {"task": record["id"]}


def _recovered(story: DrillStory) -> Values:
    _noticed(story, "recovered")
    (event, *_) = story.until(lambda: story.stage.events("daemon.recovered"), "daemon.recovered")
    incident = story.stage.client.get(path_of("incidents"))["incidents"][0]
    require(incident["state"] == "recovered", incident["state"])
    return {"silent_ms": parse_iso(event["at"]) - parse_iso(incident["openedAt"])}


def _once(story: DrillStory) -> Values:
    """Every task one answer, every level one message, however often anything was tried."""
    for name, task_id in story.tasks.items():
        ended = [event for event in story.stage.events("task.done") if event["fields"].get("taskId") == task_id]
        require(len(ended) == 1, f"{name}: {len(ended)} × task.done")
    for level in EACH_ONCE:
        count = len(story.stage.discord.said(t(f"channel.level.{level}"), story.stage.daemon_id))
        require(count == 1, f"{count} × {level}")
    return {"count": len(story.tasks)}


def _end(story: DrillStory) -> Values:
    codes = story.stage.stop()
    require(not any(codes.values()), str(codes))
    return {}


STEPS: tuple[tuple[str, Callable[[DrillStory], Values]], ...] = (
    ("hub", _hub),
    ("daemon", _daemon),
    ("tasks", _tasks),
    ("work", _work),
    ("kill", _kill),
    ("questions", _questions),
    ("warning", _warning),
    ("critical", _critical),
    ("takeover", _takeover),
    ("kept", _kept),
    ("back", _back),
    ("hand_back", _hand_back),
    ("recovered", _recovered),
    ("once", _once),
    ("end", _end),
)


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
