"""Views of channels and notices for people, beyond the answers of the API; read from a snapshot."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from understudy.coordinator.nouns import Notice
from understudy.coordinator.outbox import STORM
from understudy.hub.messages import title_of
from understudy.hub.views import View
from understudy.store.queries import NOTICES_FOLDED_INTO, NOTICES_LISTED_SINCE, NOTICES_SENT
from understudy.texts import t
from understudy.wire.answers.notices import ChannelJson, NoticeJson, notice_json

RECENT_MS = 86_400_000
RECENT_MAX = 1_000
TEST_SHOWN_MS = 3_600_000
STORM_MAX = 1_000


class ChannelStory(Struct, frozen=True):
    """A channel, and what it has taken."""

    channel: ChannelJson
    oldest_at: int  # since when the oldest waits; 0: none
    sent_at: int  # the last success: of notices at any time, of answers and tests within the last day; 0: none
    test: NoticeJson | None  # the last one, of the last hour

    @property
    def state(self) -> str:
        """In one word: removed, failing (nothing arrives), dead (something was given up), works or untried."""
        last_error, last_test = bool(self.channel.last_error), self.test
        if not self.channel.configured:
            return "removed"
        if last_test is not None and last_test.state == "dead":
            return "failing"
        if self.channel.waiting and last_error:
            return "failing"
        if self.channel.dead:
            return "dead"
        return "works" if self.sent_at else "untried"


def channel_stories(view: View) -> list[ChannelStory]:
    """Those that are configured, and those that still have something to send or dead."""
    recent = view.reader.find(NOTICES_LISTED_SINCE, view.now.wall - RECENT_MS, limit=RECENT_MAX)
    return [_story(view, channel, recent) for channel in view.channels().channels]


def _story(view: View, channel: ChannelJson, recent: list[Notice]) -> ChannelStory:
    own = [row for row in recent if row.channel == channel.name]
    last = view.reader.find(NOTICES_SENT, channel.name, 0, limit=1)
    tests = [row for row in own if row.kind == "test" and row.created_at > view.now.wall - TEST_SHOWN_MS]
    return ChannelStory(
        channel,
        view.now.wall - round(channel.oldest_sec * 1000) if channel.oldest_sec else 0,
        max((row.sent_at for row in (*own, *last)), default=0),
        notice_json(tests[0]) if tests else None,
    )


def notice_titles(view: View, ids: Collection[str], language: str) -> dict[str, str]:
    """The titles of notices as their receivers read them, in one language, without secrets."""
    rows = view.reader.load_many(Notice, ids)
    return {row.id: view.redactor.clean(_title(view, row, language)) for row in rows if row.kind == "notice"}


def _title(view: View, row: Notice, language: str) -> str:
    if row.cause != STORM:
        return title_of(row, language)
    count = view.reader.count(NOTICES_FOLDED_INTO, (row.id,), limit=STORM_MAX)
    return t("notices.storm", language, count=count)
