"""The text of a notice, in the receiver's language: everything that its reader needs to decide what to do now."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from understudy.clock import moment, parse_iso
from understudy.coordinator import answers, daily_windows, outbox
from understudy.coordinator.notices import DIGEST, FLAP_WINDOW_MS, FLAPPING, REMINDER, STUCK, read_facts
from understudy.coordinator.nouns import Daemon, Incident, Notice, Result, Task, TaskBody
from understudy.coordinator.routes import Routes
from understudy.hub.outbox import Outgoing
from understudy.notify.base import ChannelSettings, Message
from understudy.notify.channels import ANSWERABLE, EDITABLE
from understudy.spans import span
from understudy.store.base import Reader, StoredEvent
from understudy.store.queries import ABOUT_DAEMON_MAX, HELD_BY, INCIDENTS_OF, READY
from understudy.texts import catalogue, t

LOG_LINES = 8
LEVELS = frozenset({"info", "warning", "critical", "recovered"})
DEPTH_MAX = 1000
RUNNING_MAX = 5
ASKED_CHARS_MAX = 80
LINK_PATH = "/l/"
ABOUT_A_DAEMON = frozenset({"daemon.late", "daemon.down", "daemon.recovered", STUCK, REMINDER, FLAPPING, DIGEST})
# fields of events that the texts of notices may name
_SAID = (
    "executor",
    "state",
    "mend",
    "detail",
    "kind",
    "spentUsd",
    "limitUsd",
    "said",
    "by",
    "startsLastHour",
)
Facts = tuple[tuple[str, str], ...]


class NoticeStory(Struct, frozen=True):
    """The facts of the store about a notice that is about to be sent."""

    daemon: Daemon | None = None
    incident: Incident | None = None
    flaps: int = 0  # incidents since the digest was begun
    events: tuple[StoredEvent, ...] = ()
    running: tuple[str, ...] = ()
    queued: int = 0
    task: Task | None = None
    asked: str = ""
    result: Result | None = None


def story_of(reader: Reader, notice: Notice) -> NoticeStory:
    """Read it, each part only if the text needs it."""
    daemon = _one(reader, Daemon, notice.daemon_id)
    task = _one(reader, Task, notice.task_id)
    if notice.kind in ("answer", "progress"):
        if task is not None and not answers.is_about(notice, task):
            return NoticeStory(daemon)
        body = _one(reader, TaskBody, notice.task_id)
        asked = msgspec.json.decode(body.spec).get("content", "") if body else ""
        return NoticeStory(daemon, task=task, asked=asked, result=_one(reader, Result, notice.task_id))
    if notice.cause not in ABOUT_A_DAEMON or not notice.daemon_id:
        return NoticeStory(daemon, task=task)
    since_at = notice.created_at - FLAP_WINDOW_MS
    return NoticeStory(
        daemon,
        _one(reader, Incident, notice.incident_id),
        reader.count(INCIDENTS_OF, notice.daemon_id, since_at, limit=ABOUT_DAEMON_MAX) if notice.cause == DIGEST else 0,
        tuple(reader.last_events_of(notice.daemon_id, LOG_LINES)),
        tuple(task.id for task in reader.find(HELD_BY, (notice.daemon_id,))),
        reader.count(READY, limit=DEPTH_MAX),
    )


def _one(reader: Reader, noun: type[Any], key: str) -> Any:
    found = reader.load_many(noun, (key,)) if key else []
    return found[0] if found else None


def message_of(outgoing: Outgoing, story: NoticeStory, settings: ChannelSettings, routes: Routes, wall: int) -> Message:
    """The message, not yet redacted."""
    words = _Words(outgoing, story, settings.language, routes, wall)
    notice = outgoing.notice
    title, text = words.answer() if notice.kind in ("answer", "progress") else words.notice()
    secrets = dict(outgoing.links)
    return Message(
        _key_of(notice),
        "notice" if notice.kind == "test" else notice.kind,
        notice.level,
        title,
        text,
        words.facts() if notice.kind == "notice" else (),
        words.links(secrets),
        link_full=f"{routes.public_url}{LINK_PATH}{secrets['read']}" if "read" in secrets else "",
        chat=notice.chat,
        thread=outgoing.thread if notice.thread or settings.kind in ANSWERABLE else "",
        edits=outgoing.edits if settings.kind in EDITABLE else "",
        about=notice.incident_id or notice.task_id,
        at=wall,
    )


def plain_message_of(outgoing: Outgoing, language: str, wall: int) -> Message:
    """The same from the row alone, if the rest cannot be read: what happened, its level, and where."""
    row = outgoing.notice
    subject = row.daemon_id or row.task_id
    words = [t(f"notices.level.{row.level}", language) if row.level in LEVELS else row.level, row.cause]
    title = " · ".join([*words, *([subject] if subject else [])])
    listed = [f"{member.level}: {member.cause} {member.daemon_id or member.task_id}" for member in outgoing.members]
    text = "\n".join([str(read_facts(row).get("message", "")), *listed]).strip()
    kind = "notice" if row.kind == "test" else row.kind
    return Message(
        _key_of(row), kind, row.level, title, text, chat=row.chat, about=row.incident_id or row.task_id, at=max(wall, 0)
    )


def _key_of(notice: Notice) -> str:
    """The key over all tries. An answer that corrects an earlier one is the same row, but no repetition."""
    return f"{notice.id}:{notice.cause}" if read_facts(notice).get(answers.CORRECTS) else notice.id


class _Words:
    """One message in one language."""

    def __init__(self, outgoing: Outgoing, story: NoticeStory, language: str, routes: Routes, wall: int) -> None:
        self.outgoing = outgoing
        self.notice_row = outgoing.notice
        self.story = story
        self.language = language
        self.routes = routes
        self.wall = wall
        self.said = read_facts(outgoing.notice)

    def _t(self, key: str, **values: object) -> str:
        return t(key, self.language, **values)

    # ---- notices

    def notice(self) -> tuple[str, str]:
        """(title, text) of a notice."""
        row = self.notice_row
        if row.cause == outbox.STORM:
            return self._t("notices.storm", count=len(self.outgoing.members)), "\n".join(self._member_lines())
        key = f"notices.title.{row.cause}"
        if key not in catalogue(self.language):
            return self._t("notices.title.other", name=row.cause), str(self.said.get("message", ""))
        title = self._t(key, **self._values())
        text = self._t(f"notices.text.{self._cause()}", **self._values())
        return title, "\n\n".join(part for part in (text, self._log()) if part)

    def _cause(self) -> str:
        """The cause for the text; a daemon that was stopped and has not come back has its own."""
        return f"{self.notice_row.cause}.stopped" if self.said.get("stoppedAt") else self.notice_row.cause

    def _member_lines(self) -> list[str]:
        return [self._member_line(row) for row in self.outgoing.members]

    def _member_line(self, row: Notice) -> str:
        level = self._t(f"notices.level.{row.level}")
        return f"{level}: {title_of(row, self.language)}"

    def _values(self) -> dict[str, object]:
        values = _values(self.notice_row, self.said, self.language)
        incident = self.story.incident
        if incident is not None:
            values |= {
                "length": span(incident.length_ms, self.language),
                "missed": incident.missed_beats,
            }
        stopped_at = self.said.get("stoppedAt")
        values |= {"stopped": self._clock(parse_iso(stopped_at))} if stopped_at else {}
        return values | {"flaps": self.story.flaps}

    def _log(self) -> str:
        """The last lines of its story, as `understudy tail` shows them."""
        lines = [f"{self._clock(e.event.at)} {e.event.message}" for e in self.story.events]
        return "\n".join((self._t("notices.log"), *lines)) if lines else ""

    def facts(self) -> Facts:
        """The facts about the daemon and its work."""
        said, daemon = self.said, self.story.daemon
        found: list[tuple[str, object]] = []
        if daemon is not None and daemon.last_seen_at and self.notice_row.cause in ABOUT_A_DAEMON:
            ago = span(self.wall - daemon.last_seen_at, self.language)
            shown = self._t("notices.ago", at=self._clock(daemon.last_seen_at), span=ago)
            found.append(("last_seen", shown))
            running = self.story.running[:RUNNING_MAX]
            if self.notice_row.level != "recovered":
                found.append(("running", ", ".join(running) or self._t("notices.nothing")))
        if self.story.incident is not None and self.notice_row.level == "recovered":
            found.append(("length", span(self.story.incident.length_ms, self.language)))
            found.append(("missed", self.story.incident.missed_beats))
        if self.notice_row.cause in ABOUT_A_DAEMON:
            found.append(("queued", self.story.queued if self.story.queued < DEPTH_MAX else f"{DEPTH_MAX}+"))
        if said.get("takeover"):
            found.append(("takeover", self._t(f"takeover.doing.{said['takeover']}")))
        if said.get("reason"):
            found.append(("reason", _reason(said, self.language)))
        if self.notice_row.task_id:
            found.append(("task", self.notice_row.task_id))
        return tuple((self._t(f"notices.fact.{name}"), str(value)) for name, value in found)

    def links(self, secrets: dict[str, str]) -> tuple[tuple[str, str], ...]:
        """The links of a message: to the hub, and the ones that act."""
        url = self.routes.public_url
        if not url or self.notice_row.kind != "notice":
            return ()
        acts = tuple(
            (self._t(f"notices.link.{purpose}"), f"{url}{LINK_PATH}{secrets[purpose]}")
            for purpose in ("acknowledge", "snooze")
            if purpose in secrets
        )
        return ((self._t("notices.link.open"), url), *acts)

    def _clock(self, at: int) -> str:
        return instant_text(at, self.routes.zone)

    # ---- answers

    def answer(self) -> tuple[str, str]:
        """(title, text) for the submitter: a title only where the place does not show the question."""
        row, result = self.notice_row, self.story.result
        asked = " ".join(self.story.asked.split())[:ASKED_CHARS_MAX]
        title = "" if row.thread else asked
        if row.kind == "progress":
            return title, self._status()
        if row.cause not in ("task.done", "task.failed", "task.cancelled"):
            key = f"answers.{row.cause}"
            values = {
                "text": self.said.get("text", ""),
                "position": self.said.get("position", ""),
                "since": self._since(),
            }
            return title, self._t(key, **values) if key in catalogue(self.language) else str(self.said.get("text", ""))
        if row.cause == "task.cancelled":
            return title, self._t("answers.cancelled")
        if result is None:
            return title, self._t("answers.gone")
        if not result.success:
            return title, self._t("answers.failed", reason=text_of(result.error) or self.said.get("outcome", ""))
        said = text_of(result.output) or self._t("answers.empty")
        return title, f"{self._t('answers.degraded')}\n\n{said}" if result.degraded else said

    def _status(self) -> str:
        state = str(self.said.get("state", "started"))
        text = self._t(
            f"answers.state.{state}",
            daemon=self.said.get("waitingFor") or self.said.get("workerId") or self.notice_row.daemon_id,
        )
        return f"{text}\n{self.said['text']}" if self.said.get("text") else text

    def _since(self) -> str:
        since = self.said.get("since")
        try:
            return self._clock(parse_iso(since)) if isinstance(since, str) else ""
        except ValueError:
            return str(since)


def title_of(row: Notice, language: str) -> str:
    """The title of a notice, from its row alone; not yet redacted."""
    facts, key = read_facts(row), f"notices.title.{row.cause}"
    if key in catalogue(language):
        return t(key, language, **_values(row, facts, language))
    return str(facts.get("message") or row.cause)


def _values(row: Notice, facts: dict[str, Any], language: str) -> dict[str, object]:
    """The values that the texts of notices may contain."""
    elapsed_ms = round(float(facts.get("elapsedSec") or facts.get("lengthSec") or 0) * 1000)
    return {
        "daemon": row.daemon_id or facts.get("daemonId", ""),
        "task": row.task_id,
        "elapsed": span(elapsed_ms, language),
        "length": span(elapsed_ms, language),
        "missed": "–",
        "reason": _reason(facts, language),
        "count": facts.get("count") or facts.get("daemons") or 0,
        "nth": facts.get("nth", 0),
        "message": facts.get("message", ""),
        **{name: facts.get(name, "–") for name in _SAID},
        "period": _period(facts, language),
    }


def _period(facts: dict[str, Any], language: str) -> str:
    """The period of a budget: day or month, in the reader's language."""
    key = f"notices.period.{facts.get('period')}"
    return t(key, language) if key in catalogue(language) else str(facts.get("period") or "–")


def _reason(facts: dict[str, Any], language: str) -> str:
    """The reason why a daemon is stuck, in the reader's language if that is known."""
    key = f"liveness.{facts.get('code')}"
    if key not in catalogue(language):
        return str(facts.get("reason") or "")
    reason = t(key, language, what=facts.get("what"), state=facts.get("state"), limit=facts.get("limitSec"))
    fix = facts.get("mend")
    return t("liveness.fix", language, reason=reason, fix=fix) if fix else reason


def text_of(value: str) -> str:
    """JSON text of a result as words: a string as it is, `text` or `result` of an object, else the JSON itself."""
    if not value:
        return ""
    said = msgspec.json.decode(value)
    if isinstance(said, dict):
        said = next(
            (said[name] for name in ("text", "result", "answer", "message") if isinstance(said.get(name), str)), said
        )
    return said if isinstance(said, str) else msgspec.json.format(msgspec.json.encode(said), indent=2).decode()


def instant_text(at: int, zone: str) -> str:
    """The instant in the owner's zone, to the second, with the zone's name; in UTC if that zone is unknown here."""
    utc = moment(at)
    local = utc.astimezone(daily_windows.zone_of(zone)) if zone and daily_windows.is_zone(zone) else utc
    return f"{local:%Y-%m-%d %H:%M:%S} {local:%Z}"
