"""The common part of `claude_code` and `codex`: one prompt, events as they come, progress, a checkpoint."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any

import msgspec

from understudy.texts import t
from understudy.worker.executors import KIB, AssistantSession, Ended, RunProgress, Start, TaskToRun
from understudy.worker.executors.events import JsonLines
from understudy.worker.executors.prompt import prompt_of

ANSWER_BYTES_MAX = 512 * KIB  # head and tail of what is longer
DID_MAX = 50  # things done that a checkpoint keeps
DID_CHARS_MAX = 200
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")  # it becomes an argument: never an option


class Checkpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """The checkpoint for the next attempt, as JSON text: a session, valid on its machine only, and what was done."""

    executor: str
    machine: str = ""
    session: str = ""
    counters: dict[str, int] = {}
    did: tuple[str, ...] = ()


def is_session(name: str) -> bool:
    """True if an assistant may have given a session this id."""
    return _SESSION.fullmatch(name) is not None


def checked_prompt(task: TaskToRun, start: Start) -> bytes:
    """The prompt for an assistant; ValueError for one that it cannot take."""
    if not task.content.strip():
        raise ValueError(t("executors.empty_prompt"))
    if "\0" in task.content:
        raise ValueError(t("executors.nul_in_prompt"))
    return prompt_of(task, with_context=start.session is None, did=start.did)


class AssistantReading(ABC):
    """Reads one start of an assistant; the subclass knows its events."""

    executor = ""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.session_id = ""
        self.has_begun = False
        self.text = ""  # the last thing it said
        self.did: list[str] = [*start.did]
        self.acts = 0  # how often a tool was used
        self._events = JsonLines()
        self._progress = ""
        self._reported = ("", 0)

    @property
    def has_acted(self) -> bool:
        """True if it may have changed anything."""
        return self.acts > 0

    @abstractmethod
    def heed(self, event: dict[str, Any]) -> None:
        """Take one event in."""

    @abstractmethod
    def counters(self) -> dict[str, int]:
        """Usage by session so far, where the assistant counts so."""

    @abstractmethod
    def usage(self) -> dict[str, Any] | None:
        """The usage of this run so far."""

    def feed(self, chunk: bytes, at: int) -> RunProgress | None:
        """Only whole events are signs of life: a run that spits bytes without end is not alive."""
        seen = 0
        for event in self._events.feed(chunk):
            seen += 1
            self.heed(event)
        if not seen:
            return None
        return RunProgress(at=at, text=self._progress or None, checkpoint=self._new_checkpoint())

    def finish(self) -> None:
        """The process is gone: what it said last counts too."""
        for event in self._events.end():
            self.heed(event)

    def works_in(self, name: str) -> None:
        """The session that an event names; what is no id of one is passed over."""
        if is_session(name):
            self.session_id = name

    def tool(self, name: str, what: str) -> None:
        """It uses a tool."""
        self.has_begun = True  # also if the line that says so was lost
        self.acts += 1
        line = " ".join(f"{name}: {what}".split())[:DID_CHARS_MAX]
        self.did = [*self.did, line][-DID_MAX:]
        self._progress = line

    def has_used_tool(self) -> None:
        """A tool has ended: it was used, even if the line that it began with was lost."""
        self.has_begun = True
        self.acts = max(self.acts, 1)

    def note(self, words: str) -> None:
        """Something else that is worth showing meanwhile."""
        self._progress = words

    def said(self, ended: Ended) -> str | None:
        self.finish()
        return self.text or None

    def session(self) -> AssistantSession | None:
        return AssistantSession(self.session_id, self.counters()) if self.session_id else None

    def checkpoint(self) -> str:
        """As the next attempt gets it."""
        kept = Checkpoint(self.executor, self.start.machine, self.session_id, self.counters(), tuple(self.did))
        return msgspec.json.encode(kept).decode()

    def _new_checkpoint(self) -> str | None:
        now = (self.session_id, self.acts)
        if now == self._reported or not self.session_id:
            return None
        self._reported = now
        return self.checkpoint()


def answer_of(text: str) -> str:
    """An answer as it is kept: what is too long loses its middle."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= ANSWER_BYTES_MAX:
        return text
    half = ANSWER_BYTES_MAX // 2
    head, tail = raw[:half].decode("utf-8", "ignore"), raw[-half:].decode("utf-8", "ignore")
    return f"{head}\n… {len(raw) - 2 * half} bytes left out …\n{tail}"
