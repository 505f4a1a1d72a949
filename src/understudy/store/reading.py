"""From rows of the store to nouns, in one place, with the defaults for details that cannot be read.

A row was readable when it was written. A later version, somebody's own SQL or a damaged file may make a value of it
unreadable. Such a row must not stop others: the value counts as its default, the row is reported once, and `/ready` and
`doctor` count it. Defaults are safe: a deadline that cannot be read is due now, a key that may be revoked is revoked,
and a budget is spent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import (
    FINISHED,
    Daemon,
    Directive,
    Incident,
    Key,
    Link,
    Memory,
    Notice,
    Progress,
    Result,
    Session,
    Task,
    TaskBody,
)
from understudy.coordinator.takeover_nouns import Budget, DaemonGroup, Reservation, TakeoverState, TaskTakeover
from understudy.store.base import UNREADABLE_SPEC, StoredEvent, Unreadable
from understudy.store.tables import TABLES

N = TypeVar("N", bound=Struct)
NUMBER_MAX = (1 << 53) - 1
SHORT_CHARS = 256
NOBODYS_NEEDS = r'["\u0000"]'  # a tag that nobody provides


class _Run(Struct):
    """The part of a run that is read from a daemon's row."""

    taskId: str  # noqa: N815 - as daemons send it


_STRINGS, _NAMED = list[str], dict[str, Any]
JSON: dict[type[Struct], dict[str, tuple[Any, str]]] = {  # column: its type, its stand-in
    Task: {"needs": (_STRINGS, NOBODYS_NEEDS)},
    TaskBody: {"spec": (_NAMED, UNREADABLE_SPEC)},
    Result: dict.fromkeys(("output", "error", "failure", "usage"), (Any, "")),
    Progress: {"progress": (Any, ""), "checkpoint": (Any, "")},
    TaskTakeover: {"provisional": (Any, "")},
    Daemon: {
        "capabilities": (_STRINGS, "[]"),
        "provides": (_STRINGS, '["machine"]'),
        "running": (list[_Run], "[]"),
        "loops": (_NAMED, "{}"),
        "auth": (_NAMED, "{}"),
        "expected_sleep": (list[Any], "[]"),
    },
    DaemonGroup: {"capabilities": (_STRINGS, "[]"), "provides": (_STRINGS, '["machine"]')},
    Directive: {"arguments": (dict[str, str], "{}")},
    Notice: {"facts": (_NAMED, "{}")},
    Event: {"fields": (_NAMED, "{}")},
}
WORDS: dict[type[Struct], dict[str, tuple[frozenset[str], str]]] = {  # column: what it may be, its stand-in
    Task: {"status": (frozenset(("queued", "leased", "done", "failed", "cancelled")), "failed")},
    Daemon: {
        "state": (
            frozenset(("new", "healthy", "late", "down", "stuck", "asleep", "paused", "draining", "stopped")),
            "healthy",  # its silence is judged
        )
    },
    Incident: {"state": (frozenset(("late", "down", "recovered")), "recovered")},
    Notice: {"level": (frozenset(("info", "warning", "critical", "recovered")), "critical")},
    Event: {"level": (frozenset(("debug", "info", "warning", "critical")), "warning")},
}
NUMBERS: dict[type[Struct], dict[str, int]] = {  # where 0 would not be safe
    Task: {"expires_h": 1, "token": 1},
    Daemon: {"deadline_h": 1},
    Directive: {"expires_h": 1},
    Reservation: {"expires_h": 1},
    Key: {"revoked_at": 1},
    Link: {"used_at": 1},
    Session: {"ended_at": 1},
    Memory: {"created_at": 1},
    Budget: {"spent_micro_usd": NUMBER_MAX},
    TaskTakeover: {"spent_micro_usd": NUMBER_MAX},
    TakeoverState: {"paused": 1},
}


class _Shape:
    """The types of a noun's columns: a fast test, and a slow one that names the wrong columns."""

    def __init__(self, noun: type[Struct]) -> None:
        self.noun = noun
        columns = list(enumerate(msgspec.structs.fields(noun)))
        self.names = [column.encode_name for _, column in columns]
        self.types = [str(column.type) for _, column in columns]
        self.numbers = [n for n, kind in enumerate(self.types) if kind == str(int)]
        self.texts = [n for n, kind in enumerate(self.types) if kind == str(str) or self.names[n] in JSON.get(noun, {})]
        self.others = [n for n, kind in enumerate(self.types) if kind == str(bytes)]
        self.json = [
            (n, _checked(JSON[noun][name][0]), JSON[noun][name][1])
            for n, name in enumerate(self.names)
            if name in JSON.get(noun, {})
        ]
        self.words = [
            (n, *WORDS.get(noun, {})[name]) for n, name in enumerate(self.names) if name in WORDS.get(noun, {})
        ]
        self._all_numbers = _getter(self.numbers)
        self._all_texts = _getter(self.texts)

    def is_sound(self, row: tuple[Any, ...]) -> bool:
        """True if all of it can be read; quick, because every row that is read is asked.

        Numbers are ms, and few: a sum within bounds has no part that is not.
        """
        try:
            total = sum(self._all_numbers(row))
            "".join(self._all_texts(row))
        except TypeError:
            return False
        if type(total) is not int or not -NUMBER_MAX <= total <= NUMBER_MAX:
            return False
        for n, is_json, instead in self.json:
            if row[n] != instead and not is_json(row[n]):
                return False
        for n, words, _ in self.words:
            if row[n] not in words:
                return False
        return not self.others or isinstance(row[self.others[0]], bytes)

    def with_defaults(self, row: tuple[Any, ...]) -> tuple[list[Any], list[str]]:
        """The row with stand-ins, and the names of the columns that have one."""
        sound = list(row)
        for n in self.texts:
            sound[n] = shown(row[n])
        for n in self.others:
            sound[n] = row[n] if isinstance(row[n], bytes) else b""
        for n in self.numbers:
            is_number = type(row[n]) is int and -NUMBER_MAX <= row[n] <= NUMBER_MAX
            sound[n] = row[n] if is_number else NUMBERS.get(self.noun, {}).get(self.names[n], 0)
        for n, is_json, instead in self.json:
            sound[n] = sound[n] if is_json(sound[n]) else instead
        for n, words, word in self.words:
            sound[n] = sound[n] if sound[n] in words else word
        if self.noun is Task:
            _keep_checks(self.names, sound)
        return sound, [name for name, was, now in zip(self.names, row, sound, strict=False) if was != now]


def _keep_checks(names: list[str], task: list[Any]) -> None:
    """Keep the schema's conditions for a finished task, so that it can be saved again."""
    is_finished = task[names.index("status")] in FINISHED
    finished_at = names.index("finished_at")
    task[finished_at] = (task[finished_at] or 1) if is_finished else 0


def _getter(columns: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Those columns of a row, as a tuple also when it is one or none."""
    if len(columns) > 1:
        return itemgetter(*columns)
    return itemgetter(slice(columns[0], columns[0] + 1) if columns else slice(0))


def shown(value: Any) -> str:
    """A text of whatever a column of texts holds."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def number_of(value: Any) -> int:
    """A number that is one, else 0."""
    return value if type(value) is int and -NUMBER_MAX <= value <= NUMBER_MAX else 0


def lenient(raw: bytes) -> str | bytes:
    """A text, or its bytes if they are not UTF-8, so that the row is read at all."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


@cache
def _checked(kind: Any) -> Callable[[str], bool]:
    """True if a text can be read as that and shown again; short ones are cached."""
    read, is_free = msgspec.json.Decoder(kind).decode, kind in (Any, _NAMED)

    def is_json(text: str) -> bool:
        try:
            found = read(text)
            if is_free:
                msgspec.json.encode(found)  # not of numbers above 64 bits
        except (ValueError, OverflowError, RecursionError):
            return False
        return True

    remembered = lru_cache(maxsize=4096)(is_json)
    return lambda text: remembered(text) if len(text) <= SHORT_CHARS else is_json(text)


@cache
def _shape(noun: type[Struct]) -> _Shape:
    return _Shape(noun)


@cache
def is_sound(noun: type[Struct]) -> Callable[[tuple[Any, ...]], bool]:
    """A function that is true if all of a row can be read."""
    return _shape(noun).is_sound


def row_of(noun: type[N], row: tuple[Any, ...], unreadable: Unreadable) -> N | None:
    """The noun that this row is; what cannot be read of it counts as its stand-in and is noted.

    None if its key cannot be read: saved under another one, it would be judged again and again.
    """
    shape = _shape(noun)
    if shape.is_sound(row):
        return noun(*row)
    sound, names = shape.with_defaults(row)
    keys = TABLES[noun].keys if noun in TABLES else ()
    if names:
        key = "/".join(shown(part) for part in sound[: len(keys)])
        unreadable.note(noun, key, f"cannot be read: {', '.join(names)}")
    return None if any(name in keys for name in names) else noun(*sound)


def event_of(row: tuple[Any, ...], unreadable: Unreadable) -> StoredEvent:
    """The event that this row is: its place, then the fields of `Event` that are stored, `fields` as JSON text."""
    place = row[0]
    kept = (*row[1:], 0)
    shape = _shape(Event)
    if not shape.is_sound(kept):
        sound, names = shape.with_defaults(kept)
        unreadable.note(Event, str(place), f"cannot be read: {', '.join(names)}")
        kept = tuple(sound)
    at, level, name, component, message, text, task_id, daemon_id, _ = kept
    fields = msgspec.json.decode(text)
    return StoredEvent(place, Event(at, level, name, component, message, fields, task_id, daemon_id))
