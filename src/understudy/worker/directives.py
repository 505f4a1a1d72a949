"""Directives as a daemon has them: those that the hub offers, and the outcomes that are kept so that each is done once.

On disk the fields keep the keys that earlier versions wrote (`rename`).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

OUTCOMES_MAX = 32
REPORTS_MAX = 16  # in one beat (wire limits)
DETAIL_CHARS_MAX = 1_000
EXPIRES_SEC_MAX = 1e9
KIND_CHARS_MAX, VERSION_CHARS_MAX, WHEEL_CHARS_MAX, SHA256_CHARS_MAX = 64, 128, 4_096, 128
STARTED, DONE, FAILED = "started", "done", "failed"


class ReceivedDirective(msgspec.Struct, frozen=True, rename="camel"):
    """A directive as the answer to a beat brings it; `until_ms` is elapsed time here, made from its duration.

    Its texts are logged and kept on disk, so they have limits, larger than the hub's own.
    """

    id: str
    kind: Annotated[str, msgspec.Meta(max_length=KIND_CHARS_MAX)]
    version: Annotated[str, msgspec.Meta(max_length=VERSION_CHARS_MAX)] | None = None
    wheel: Annotated[str, msgspec.Meta(max_length=WHEEL_CHARS_MAX)] | None = None
    sha256: Annotated[str, msgspec.Meta(max_length=SHA256_CHARS_MAX)] | None = None
    expires_in_sec: Annotated[float, msgspec.Meta(ge=0, le=EXPIRES_SEC_MAX)] = 600
    until_ms: int = 0


class DirectiveOutcome(msgspec.Struct, frozen=True, rename={"is_reported": "is_told"}):
    """The outcome of a directive; kept on disk."""

    id: str
    kind: str
    state: str  # started | done | failed
    boot_id: str  # the life that took it up
    detail: str = ""
    environment: str = ""  # of an update: where its version was installed
    is_reported: bool = False  # a beat that named this state was accepted


def report_of(outcome: DirectiveOutcome) -> dict[str, Any]:
    """As a beat says it."""
    said = {"id": outcome.id, "state": outcome.state}
    return said | ({"detail": outcome.detail[:DETAIL_CHARS_MAX]} if outcome.detail else {})


class SavedDirectives(msgspec.Struct, frozen=True, rename={"outcomes": "records", "is_drained": "is_held"}):
    """The directives on disk, kept across lives."""

    outcomes: tuple[DirectiveOutcome, ...] = ()
    is_drained: bool = False
