"""JSON events out of an assistant's stdout, one a line, parsed while they come; nothing of it is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from understudy.wire.foreign_json import object_of

LINE_BYTES_MAX = 8 << 20  # a longer one is no event that we need


class JsonLines:
    """Chunks in, objects out. Lines that are too long, not UTF-8 or no JSON object are survived, not believed."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._is_skipping = False
        self.skipped = 0  # lines

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """The objects of all lines that end in this chunk."""
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield from self._whole(line)
        self._add(rest)

    def end(self) -> Iterator[dict[str, Any]]:
        """The last line, if nobody ended it."""
        if self._rest or self._is_skipping:
            yield from self._whole(b"")

    def _add(self, part: bytes) -> None:
        if self._is_skipping or len(self._rest) + len(part) > LINE_BYTES_MAX:
            self._is_skipping = self._is_skipping or bool(part)
            self._rest.clear()
        else:
            self._rest += part

    def _whole(self, line: bytes) -> Iterator[dict[str, Any]]:
        self._add(line)
        raw, is_skipped = bytes(self._rest), self._is_skipping
        self._rest.clear()
        self._is_skipping = False
        event = object_of(raw) if raw.lstrip().startswith(b"{") and not is_skipped else None
        if event is not None:
            yield event
        elif is_skipped or raw.strip():
            self.skipped += 1


def text_in(event: Any, *path: str) -> str:
    """The text at a path of keys, "" if there is none."""
    found = value_in(event, *path)
    return found if isinstance(found, str) else ""


def number_in(event: Any, *path: str) -> int:
    """The whole number at a path of keys, 0 if there is none."""
    found = value_in(event, *path)
    return int(found) if isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found < 1 << 53 else 0


def value_in(event: Any, *path: str) -> Any:
    """Whatever is at a path of keys, None if nothing is."""
    for key in path:
        event = event.get(key) if isinstance(event, dict) else None
    return event


def list_in(event: Any, *path: str) -> list[Any]:
    """The list at a path of keys, empty if there is none."""
    found = value_in(event, *path)
    return found if isinstance(found, list) else []
