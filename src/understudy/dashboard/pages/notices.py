"""Notices and answers: what was sent, what waits, what could not be sent; and each channel with a test of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.api.app import endpoint_named
from understudy.api.notices import STATES
from understudy.dashboard.page import Act, Fragment, Given, Page
from understudy.errors import BadRequestError
from understudy.hub.channel_story import channel_stories, notice_titles
from understudy.hub.views import View, cursor_of
from understudy.notify.fixes import fix_of
from understudy.wire.answers.notices import NoticeJson

SHOWN = 50


def _notices(given: Given, view: View) -> Mapping[str, Any]:
    state = given["state"]
    if state and state not in STATES:
        raise BadRequestError("Validation failed", (f"state: Expected one of {', '.join(STATES)}",))
    found = view.notices(state, *cursor_of(given["cursor"]), SHOWN)
    configured = view.policy.routes.channels
    return {
        "rows": found.notices,
        "titles": notice_titles(view, [row.id for row in found.notices], given.language),
        "fixes": _fixes(found.notices),
        "resendable": {row.id for row in found.notices if row.state == "dead" and row.channel in configured},
        "next": found.next or "",
        "state": state,
        "states": ("", *STATES),
    }


def _fixes(rows: Iterable[NoticeJson]) -> dict[str, str]:
    """The words for what helps, by id, of those whose last try went wrong; what is folded has a reason, no error."""
    return {row.id: fix_of(row.last_error) for row in rows if row.last_error and row.state != "folded"}


def _channels(_: Given, view: View) -> Mapping[str, Any]:
    stories = channel_stories(view)
    return {
        "stories": stories,
        "fixes": _fixes(story.test for story in stories if story.test is not None),
        "fixes_of": {s.channel.name: fix_of(s.channel.last_error) for s in stories if s.channel.last_error},
    }


_NOUNS = frozenset({"notice", "daemon", "incident", "hub"})
PAGE = Page(
    "/notices",
    "notices",
    (
        Fragment("notices_channels", _channels, _NOUNS, every_s=1, pace_s=0.5),  # what was sent makes no event
        Fragment("notices", _notices, _NOUNS, every_s=2, pace_s=0.5),
    ),
    query=("state", "cursor"),
)
ACTS = (
    Act("notices.resend", "/notices/{notice_id}/resend", endpoint_named("POST", "/api/notices/{notice_id}/resend")),
    Act("channels.test", "/channels/test", endpoint_named("POST", "/api/channels/test"), {"channel": str}),
)
