"""Answers about notices and channels."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, UnsetType

from understudy.clock import iso
from understudy.coordinator.nouns import Notice
from understudy.wire.answers.base import Answer, Instant, Yes, if_any, instant_if_any, one_of


class NoticeJson(Answer, frozen=True):
    """A message to one channel, and how it stands."""

    id: str
    channel: str
    kind: Annotated[str, one_of("notice", "progress", "answer", "test")]
    cause: str
    level: Annotated[str, one_of("info", "warning", "critical", "recovered")]
    state: Annotated[str, one_of("waiting", "sent", "dead", "folded")]
    attempts: int
    created_at: Instant
    due_at: Instant
    next_at: Instant | UnsetType = UNSET
    sent_at: Instant | UnsetType = UNSET
    incident_id: str | UnsetType = UNSET
    task_id: str | UnsetType = UNSET
    daemon_id: str | UnsetType = UNSET
    last_error: str | UnsetType = UNSET
    folded_into: str | UnsetType = UNSET


class NoticesAnswer(Answer, frozen=True):
    """Notices, newest first."""

    notices: list[NoticeJson]
    next: str | UnsetType = UNSET


class TestsAnswer(Answer, frozen=True):
    """One notice for each channel that is tested."""

    notices: list[NoticeJson]


class NoticeChanged(Answer, frozen=True):
    """The notice as it stands now."""

    success: Yes
    notice: NoticeJson


class ChannelJson(Answer, frozen=True):
    """A channel and what its outbox holds."""

    name: str
    configured: bool
    waiting: int
    oldest_sec: float
    dead: int
    last_error: str | UnsetType = UNSET


class ChannelsAnswer(Answer, frozen=True):
    """Those that are configured, and those that still have something to send or dead."""

    channels: list[ChannelJson]


def notice_json(notice: Notice) -> NoticeJson:
    """A notice; what is being sent is looked at next when its sender's time is over."""
    return NoticeJson(
        notice.id,
        notice.channel,
        notice.kind,
        notice.cause,
        notice.level,
        notice.state,
        notice.attempts,
        iso(notice.created_at),
        iso(notice.due_at),
        next_at=iso(max(notice.next_at, notice.taken_until)) if notice.state == "waiting" else UNSET,
        sent_at=instant_if_any(notice.sent_at),
        incident_id=if_any(notice.incident_id),
        task_id=if_any(notice.task_id),
        daemon_id=if_any(notice.daemon_id),
        last_error=if_any(notice.last_error),
        folded_into=if_any(notice.folded_into),
    )
