"""The event log: the newest line first, so that what is new is seen without scrolling, on a phone too.

A line is what `understudy tail` shows, in parts: instant, level, component and message, and its fields folded away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from understudy.clock import parse_iso
from understudy.dashboard.page import Fragment, Given, Page
from understudy.dashboard.render import line, path_of, whole
from understudy.errors import BadRequestError
from understudy.hub.views import View
from understudy.log import LEVELS, levels_from, pretty_field, pretty_line
from understudy.store.base import EventFilter
from understudy.wire.answers.events import EventJson

SHOWN = 200
NEIGHBOURS = 25  # of one line, on each side
MESSAGE_CHARS_MAX = 400
FIELD_CHARS_MAX = 2_000
FIELDS_MAX = 40
ID_DIGITS_MAX = 15
CHOICES = ("", "warning", "critical")  # of levels: nothing of level debug is kept
# whatever may begin the name of an event that is kept, but for heartbeats, which would come without end
NOUNS = frozenset(
    {
        "hub",
        "daemon",
        "directive",
        "task",
        "lease",
        "result",
        "takeover",
        "budget",
        "incident",
        "notice",
        "key",
        "session",
    }
)
PATHS = {"taskId": "/tasks/{id}", "daemonId": "/daemons/{id:path}"}


class Piece(Struct, frozen=True):
    """A part of a message: a text, and the page that it leads to ("": none)."""

    text: str
    path: str = ""


class EventLine(Struct, frozen=True):
    """One event as its row shows it."""

    event: EventJson
    pieces: list[Piece]
    fields: list[str]  # `key=value`, as the log has them; without those that are links
    whole: str = ""  # as `understudy tail` shows it; of the line that was looked for


def _log(given: Given, view: View) -> Mapping[str, Any]:
    around = _number(given["around"], "around")
    wanted = EventFilter(given["search"], _levels(given["level"]), before_id=_number(given["cursor"], "cursor"))
    found = _around(view, around) if around else _last(view, wanted)
    lines = [line_of(event, is_found=event.id == around) for event in reversed(found)]
    return {
        "lines": lines,
        "around": around,
        "is_gone": bool(around) and not any(one.whole for one in lines),
        "older": _path(given, cursor=found[0].id) if len(found) == SHOWN and not around else "",
        "newest": _path(given) if given["cursor"] else "",
        "is_filtered": bool(given["search"] or given["level"]),
    }


def _path(given: Given, **more: int) -> str:
    """The address of a page of the log with the same filters."""
    kept = {name: given[name] for name in ("search", "level") if given[name]}
    query = urlencode(kept | more)
    return f"/log?{query}" if query else "/log"


def _last(view: View, wanted: EventFilter) -> list[EventJson]:
    found = EventFilter(wanted.text, wanted.levels, before_id=wanted.before_id, limit=SHOWN)
    return view.events(found, []).events


def _around(view: View, event_id: int) -> list[EventJson]:
    """A line with its neighbours, whatever they are about; oldest first."""
    before = view.events(EventFilter(before_id=event_id + 1, limit=NEIGHBOURS + 1), [])
    return [*before.events, *view.events(EventFilter(after_id=event_id, limit=NEIGHBOURS), []).events]


def line_of(event: EventJson, *, is_found: bool = False) -> EventLine:
    """An event as a row."""
    shown = [(name, value) for name, value in event.fields.items() if value is not None and not _is_link(name, value)]
    fields = [whole(pretty_field(name, value), FIELD_CHARS_MAX) for name, value in shown[:FIELDS_MAX]]
    return EventLine(event, list(_pieces(event)), fields, _tail_line(event) if is_found else "")


def _tail_line(event: EventJson) -> str:
    level = event.level if event.level in LEVELS else "info"
    return pretty_line(parse_iso(event.at), level, event.component, event.message, event.fields)


def _is_link(name: str, value: object) -> bool:
    return name in PATHS and isinstance(value, str) and bool(value)


def _pieces(event: EventJson) -> Iterator[Piece]:
    """The message with its task and daemon as links; after it those that it does not name."""
    subjects = {line(event.fields[name], 128): name for name in PATHS if _is_link(name, event.fields.get(name))}
    pieces = [Piece(line(event.message, MESSAGE_CHARS_MAX))]
    for subject, name in sorted(subjects.items(), key=lambda pair: -len(pair[0])):
        path = path_of(PATHS[name], {"id": str(event.fields[name])})
        pieces = [*_linked(pieces, subject, path)]
    return iter(pieces)


def _linked(pieces: list[Piece], subject: str, path: str) -> Iterator[Piece]:
    """The first mention of a subject becomes a link; without any it comes last."""
    is_open = True
    for piece in pieces:
        before, found, after = piece.text.partition(subject) if is_open and not piece.path else (piece.text, "", "")
        if not found:
            yield piece
            continue
        is_open = False
        yield from (one for one in (Piece(before), Piece(subject, path), Piece(after)) if one.text)
    if is_open:
        yield from (Piece(" "), Piece(subject, path))


def _levels(least: str) -> tuple[str, ...]:
    if least and least not in LEVELS:
        raise BadRequestError("Validation failed", (f"level: Expected one of {', '.join(LEVELS)}",))
    return levels_from(least) if least else ()


def _number(text: str, name: str) -> int:
    if text and not (text.isascii() and text.isdecimal() and len(text) <= ID_DIGITS_MAX):
        raise BadRequestError("Validation failed", (f"{name}: Expected an integer",))
    return int(text or 0)


def _is_search(given: Given) -> bool:
    """True if every event may have to be read."""
    return bool(given["search"] or given["level"]) and not given["around"]


def _frame(given: Given, _: View) -> Mapping[str, Any]:
    return {"choices": CHOICES, "is_live": not (given["around"] or given["cursor"])}


PAGE = Page(
    "/log",
    "log",
    (Fragment("log", _log, NOUNS, every_s=10, pace_s=0.5, searches=_is_search),),
    show=_frame,
    query=("search", "level", "cursor", "around"),
)
