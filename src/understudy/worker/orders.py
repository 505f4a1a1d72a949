"""Directives as a daemon has them: what the hub offers, and what is remembered so that each is done once."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

RECORDS_MAX = 32
REPORTS_MAX = 16  # in one beat (wire limits)
DETAIL_CHARS_MAX = 1_000
EXPIRES_SEC_MAX = 1e9
STARTED, DONE, FAILED = "started", "done", "failed"


class Order(msgspec.Struct, frozen=True, rename="camel"):
    """A directive as the answer to a beat brings it; `until_ms` is elapsed time here, made from its duration."""

    id: str
    kind: str
    version: str | None = None
    wheel: str | None = None
    sha256: str | None = None
    expires_in_sec: Annotated[float, msgspec.Meta(ge=0, le=EXPIRES_SEC_MAX)] = 600
    until_ms: int = 0


class Record(msgspec.Struct, frozen=True):
    """The outcome of a directive; kept on disk."""

    id: str
    kind: str
    state: str  # started | done | failed
    boot_id: str  # the life that took it up
    detail: str = ""
    environment: str = ""  # of an update: where its version was installed
    is_told: bool = False  # a beat that named this state was accepted


def report_of(record: Record) -> dict[str, Any]:
    """As a beat says it."""
    said = {"id": record.id, "state": record.state}
    return said | ({"detail": record.detail[:DETAIL_CHARS_MAX]} if record.detail else {})


class DirectiveMemory(msgspec.Struct, frozen=True):
    """The directives on disk, kept across lives."""

    records: tuple[Record, ...] = ()
    is_held: bool = False
