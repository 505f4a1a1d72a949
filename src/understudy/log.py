"""Log events are names with fields; this module alone turns them into lines, redacted."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from understudy import legible
from understudy.clock import Clock, iso
from understudy.line_queue import LineQueue
from understudy.redact import Redactor

LEVELS = ("debug", "info", "warning", "critical")
_WORDS = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "critical": "CRITICAL"}
_COLOURS = {"warning": "\x1b[33m", "critical": "\x1b[31;1m", "debug": "\x1b[2m"}


def levels_from(least: str) -> tuple[str, ...]:
    """The levels that are at least as grave as this one."""
    return LEVELS[LEVELS.index(least) :]


def pretty_line(
    at_ms: int, level: str, component: str, message: str, fields: Mapping[str, Any], *, colour: bool = False
) -> str:
    """`[2026-02-04T14:13:28.213Z] [INFO] [Heartbeat] Sent successfully key=value`."""
    tail = "".join(f" {pretty_field(name, value)}" for name, value in fields.items() if value is not None)
    line = f"[{iso(at_ms)}] [{_WORDS[level]}] [{legible.line(component)}] {legible.line(message)}{tail}"
    paint = _COLOURS.get(level) if colour else None
    return f"{paint}{line}\x1b[0m" if paint else line


def pretty_field(name: str, value: Any) -> str:
    """`key=value` as a line shows it."""
    return f"{legible.line(name)}={_value(value)}"


def _value(value: Any) -> str:
    """A value that is one printable word as it is, everything else as JSON."""
    if isinstance(value, str):
        word = value = legible.whole_characters(legible.without_sequences(value))
        if word and word.isprintable() and not any(c in ' "=' for c in word):
            return word
    return legible.json(_encoded(value))


def json_line(at_ms: int, level: str, component: str, message: str, fields: Mapping[str, Any]) -> str:
    """The same event as one JSON object, in which nothing steers a terminal; nothing is lost from it."""
    return legible.json(
        _encoded({"at": iso(at_ms), "level": level, "component": component, "message": message, "fields": fields})
    )


def _encoded(value: Any) -> str:
    """`value` as JSON, even if texts in it hold half a surrogate pair, as paths may that are no UTF-8."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


class Stream(Protocol):
    """A sink for lines."""

    def write(self, text: str, /) -> Any:
        """OSError or ValueError if it is closed."""
        ...

    def flush(self) -> Any:
        """The same."""
        ...


class Log:
    """Writes events to a stream, and to a copy if there is one; keeps the last lines for notices and `doctor`.

    One that has a queue never waits, and gets a line about those that are missing.
    """

    def __init__(
        self,
        clock: Clock,
        stream: Stream | None = None,
        *,
        level: str = "info",
        form: str = "pretty",
        redactor: Redactor | None = None,
        copy: Stream | None = None,
    ) -> None:
        self._clock = clock
        self._stream = stream if stream is not None else sys.stderr
        self.shown = frozenset(levels_from(level))
        self._form = json_line if form == "json" else pretty_line
        self.redactor = redactor or Redactor()
        self._copy = copy
        self.recent: deque[str] = deque(maxlen=50)
        for place in (self._stream, copy):
            queue = getattr(place, "queue", None)
            if isinstance(queue, LineQueue):
                queue.missing_line = self._missing_line

    def emit(self, level: str, component: str, message: str, /, **fields: Any) -> None:
        """Write one event that happens now, if its level is asked for."""
        self.emit_at(self._clock.now_ms(), level, component, message, fields)

    def emit_at(self, at_ms: int, level: str, component: str, message: str, fields: Mapping[str, Any]) -> None:
        """Write one event that was decided at `at_ms`."""
        if level not in self.shown:
            return
        line = self.redactor.clean(self._form(at_ms, level, component, message, fields))
        self.recent.append(line)
        self.write(line)
        if self._copy is not None:
            _put(line, self._copy)

    def write(self, line: str) -> None:
        """Write a bare line (the banner), to the stream only."""
        _put(line, self._stream)

    def _missing_line(self, count: int) -> str:
        said = "Lines are missing here: they could not be written"
        return self._form(self._clock.now_ms(), "warning", "Log", said, {"lines": count})


def _put(line: str, stream: Stream) -> None:
    with contextlib.suppress(OSError, ValueError):  # a closed terminal must not stop the work
        stream.write(line + "\n")
        stream.flush()
