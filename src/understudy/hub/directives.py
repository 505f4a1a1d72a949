"""Directives on their way: asked by an owner, offered with the answers to beats, ended by what beats say of them."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.coordinator import directives
from understudy.coordinator.changes import Decision
from understudy.coordinator.nouns import Daemon, Directive, Now
from understudy.errors import BadRequestError, ConflictError
from understudy.hub.daemons import known_daemon
from understudy.hub.operation import Operation
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.daemons import directive_asked
from understudy.wire.daemons import DirectiveBody

_NOT_ABLE = "This daemon takes no directives: it has never sent a heartbeat with machineId and bootId"
_TOO_MANY = "There are too many open directives for this daemon: wait until they are done or expire"


class OrderDirective(Operation):
    """`POST /api/daemons/{id}/directives`: asking for what is already on its way changes nothing."""

    def __init__(self, daemon_id: str, body: DirectiveBody, directive_id: str, by: str) -> None:
        check_directive(body)
        self.daemon_id = daemon_id
        self.body = body
        self.directive_id = directive_id
        self.by = by

    def needs(self, needs: Needs) -> None:
        """The daemon and its open directives."""
        needs.row(Daemon, self.daemon_id)
        needs.row(Directive, self.directive_id)
        needs.directives.add(self.daemon_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Write it down for its next beat."""
        daemon = known_daemon(work, self.daemon_id)
        if not daemon.boot_id:
            raise ConflictError(_NOT_ABLE, "not_able")
        arguments = _json({k: v for k, v in self._arguments().items() if v is not None})
        open_ones = work.open_directives(daemon.id)
        if other := directives.same_as(open_ones, self.body.kind, arguments):
            return Decision(directive_asked(other, created=False))
        if directives.open_count(open_ones) >= directives.OPEN_MAX:
            raise ConflictError(_TOO_MANY, "too_many")
        wanted = Directive(
            self.directive_id,
            daemon.id,
            self.body.kind,
            arguments,
            asked_by=self.by,
            asked_at=now.wall,
            expires_h=now.h + round(self.body.expires_sec * 1000),
        )
        change = directives.asked(wanted, daemon, now)
        return change.decision(directive_asked(change.noun, created=True))

    def _arguments(self) -> dict[str, str | None]:
        sha256 = self.body.sha256.lower() if self.body.sha256 else None
        return {"version": self.body.version, "wheel": self.body.wheel, "sha256": sha256}


def check_directive(body: DirectiveBody) -> None:
    """An update names a version, or a wheel with its hash; nothing else names either. BadRequestError."""
    wrong: list[str] = []
    if body.kind != "update":
        named = (("version", body.version), ("wheel", body.wheel), ("sha256", body.sha256))
        wrong += [f"{name}: Expected only with kind update" for name, value in named if value is not None]
    elif (body.version is None) == (body.wheel is None):
        wrong.append("version: Expected either version or wheel")
    elif body.wheel is not None:
        if body.sha256 is None:
            wrong.append("sha256: Expected the SHA-256 of the wheel")
        if not body.wheel.startswith(("http://", "https://", "/")):
            wrong.append("wheel: Expected an http or https URL, or an absolute path on the daemon's machine")
        elif "@" in body.wheel.partition("//")[2].partition("/")[0]:
            wrong.append("wheel: Expected a URL without user name and password")
    if wrong:
        raise BadRequestError("Validation failed", tuple(wrong))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
