"""The messages whose payloads are kept in `golden/`, in both languages, written by the hub's own renderer."""

from __future__ import annotations

import msgspec

from tests.notify.channels import AT
from understudy.coordinator import outbox
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Daemon, Incident, Notice, Result, Task
from understudy.coordinator.routes import Routes
from understudy.hub.messages import NoticeStory, message_of
from understudy.hub.outbox import Outgoing
from understudy.notify.base import ChannelSettings, Message
from understudy.store.base import StoredEvent

ROUTES = Routes(public_url="https://hub.example.org", zone="Asia/Tokyo")
MINI = Daemon("mini-1", state="down", last_seen_at=AT - 312_000, running='[{"taskId":"task-01J9"}]')
INCIDENT = Incident("inc-01J9", "mini-1", "down", AT - 132_000, AT - 132_000)
OVER = Incident("inc-01J9", "mini-1", "recovered", AT - 900_000, AT - 900_000, length_ms=754_000, missed_beats=75)
LOG = (
    StoredEvent(1, Event(AT - 320_000, "info", "lease.granted", "leases", "mini-1 claimed task-01J9", {})),
    StoredEvent(2, Event(AT - 132_000, "warning", "daemon.late", "health", "mini-1 is late <!channel> @everyone", {})),
)
LINKS = (("acknowledge", "secret-a"), ("snooze", "secret-s"), ("read", "secret-r"))
SHORT = {"en": "The answer is 4.", "ja": "答えは 4 です。"}
CODE = "```python\n" + "\n".join(f"print({n}, 'line {n} of the program & <more>')" for n in range(60)) + "\n```"
LONG = {
    "en": "\n\n".join(
        ["# Report", *(f"{n}. " + "The build went through, the tests did not. " * 6 for n in range(12)), CODE]
    ),
    "ja": "\n\n".join(
        ["# 報告", *(f"{n}. " + "ビルドは通りましたが、テストが失敗しました。" * 8 for n in range(16)), CODE]
    ),
}


def notice(cause: str, level: str, story: NoticeStory, facts: str, edits: str = "") -> tuple[Outgoing, NoticeStory]:
    row = Notice(
        f"{cause}:1", "t", "notice", cause, level, "inc-01J9", daemon_id="mini-1", facts=facts, created_at=AT - 1000
    )
    return Outgoing(row, edits=edits, links=LINKS), story


def answer(
    kind: str, cause: str, story: NoticeStory, facts: str = "{}", thread: str = ""
) -> tuple[Outgoing, NoticeStory]:
    row = Notice(
        f"{cause}:2",
        "t",
        kind,
        cause,
        task_id="task-01J9",
        daemon_id="mini-1",
        facts=facts,
        thread=thread,
        created_at=AT,
    )
    return Outgoing(row, thread=thread, links=LINKS), story


def storm() -> tuple[Outgoing, NoticeStory]:
    members = tuple(
        Notice(
            f"m:{n}", "t", "notice", "daemon.down", "critical", daemon_id=f"office-{n:02}", facts='{"elapsedSec":300}'
        )
        for n in range(1, 8)
    )
    row = Notice("storm:1", "t", "notice", outbox.STORM, "critical", created_at=AT)
    return Outgoing(row, members=members, links=LINKS), NoticeStory()


def done(text: str, *, success: bool = True, degraded: bool = False) -> NoticeStory:
    said = msgspec.json.encode(text).decode()
    result = Result("task-01J9", int(success), said if success else "", "" if success else said, degraded=int(degraded))
    return NoticeStory(task=Task("task-01J9"), asked="What is 2 + 2?\nPlease.", result=result)


def outgoing_by_name(language: str) -> dict[str, tuple[Outgoing, NoticeStory]]:
    """What is told, by name of the golden."""
    silent = NoticeStory(MINI, INCIDENT, events=LOG, queued=3)
    return {
        "warning": notice("daemon.late", "warning", silent, '{"elapsedSec":180}'),
        "critical": notice("daemon.down", "critical", silent, '{"elapsedSec":312.4}'),
        "recovered": notice(
            "daemon.recovered", "recovered", NoticeStory(MINI, OVER, queued=1), '{"lengthSec":754}', edits="EDIT"
        ),
        "storm": storm(),
        "answer-short": answer("answer", "task.done", done(SHORT[language])),
        "answer-degraded": answer("answer", "task.done", done(SHORT[language], degraded=True)),
        "answer-long": answer("answer", "task.done", done(LONG[language])),
        "answer-cut": answer("answer", "task.done", done(LONG[language] * 8)),
        "answer-failed": answer("answer", "task.failed", done("the program ended with 1", success=False)),
        "progress": answer("progress", "task.progress", done(""), '{"state":"started","workerId":"mini-1"}'),
    }


def messages(language: str, ref: str = "") -> dict[str, Message]:
    """Every message of one language; `ref` is what the edits change."""
    settings = ChannelSettings("t", "slack", language=language)
    made = {
        name: message_of(outgoing, story, settings, ROUTES, AT)
        for name, (outgoing, story) in outgoing_by_name(language).items()
    }
    made["progress-edit"] = msgspec.structs.replace(made["progress"], key="progress:2", edits="EDIT")
    return {
        name: msgspec.structs.replace(message, edits=ref if message.edits == "EDIT" else "")
        for name, message in made.items()
    }
