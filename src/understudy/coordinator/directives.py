"""Directives: an owner's orders to a daemon. Each one is done once or expires, and its outcome can be read.

```
asked ──beat answered──> delivered ──beat says──> started ──beat says──> done | failed
  └──────── expires_h ───────┴─> expired               └── expires_h ──> failed
```
It is offered with every answer until a beat names it. `restart` and `update` are done only when a boot other than the
one that got them says so: the daemon came back, which is the proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator.changes import Change, Draft, Event, make_event
from understudy.coordinator.nouns import Daemon, Directive, Now

KINDS = ("drain", "resume", "restart", "update")
COMES_BACK = frozenset({"restart", "update"})
FINAL = frozenset({"done", "failed", "expired"})
OPEN_MAX = 8  # of one daemon
_ENDS = {
    "done": ("directive.done", "info"),
    "failed": ("directive.failed", "warning"),
    "expired": ("directive.expired", "warning"),
}
STARTED_MS_MAX = 900_000  # for the end of a started one, after its time: longer than any install and confirmation
INTERVALS_MAX = 4  # of a drain's daemon without a beat that says so


class Offer(Struct, frozen=True):
    """A daemon after what its beat says of its directives, and those that go out with the answer."""

    change: Change[Daemon]
    offered: list[Directive] = []
    comes_back: bool = False  # it stops because of a directive after which it comes back: its silence is judged


def offer(
    daemon: Daemon,
    open_ones: Sequence[Directive],
    reports: Mapping[str, tuple[str, str]],
    boot_id: str,
    now: Now,
    *,
    drains: bool = False,
) -> Offer:
    """Judge what a beat reports, as (state, detail) by directive; offer what no beat has named yet.

    `drains` is true if the beat says that its daemon is draining.
    """
    draft, after = Draft(), []
    offered: list[Directive] = []
    for known in open_ones:
        if known.id in reports:
            change = reported(known, *reports[known.id], boot_id, now)
        elif is_offered(known, now):
            change = delivered(known, boot_id, now)
            offered.append(change.noun)
        elif drains and (known.kind, known.state) == ("drain", "started"):
            change = goes_on(known, daemon, now)
        else:
            change = Change(known)
        after.append(draft.take(change) if change.noun != known else known)
    counted = replace(daemon, open_directives=open_count(after))
    return Offer(draft.change(counted), offered, comes_back(after))


def same_as(open_ones: Iterable[Directive], kind: str, arguments: str) -> Directive | None:
    """An unfinished directive that asks for the same; None if there is none."""
    alike = (one for one in open_ones if (one.kind, one.arguments) == (kind, arguments) and one.state not in FINAL)
    return next(alike, None)


def asked(directive: Directive, daemon: Daemon, now: Now) -> Change[Directive]:
    """A new directive; its daemon has one more open."""
    counted = replace(daemon, open_directives=daemon.open_directives + 1)
    return Change(directive, (counted,), (_event(directive, now, "directive.asked", "info"),))


def is_offered(directive: Directive, now: Now) -> bool:
    """True if the next answer to a beat brings it."""
    return directive.state in ("asked", "delivered") and now.h < directive.expires_h


def delivered(directive: Directive, boot_id: str, now: Now) -> Change[Directive]:
    """It is sent with an answer; the first time makes an event."""
    after = replace(directive, state="delivered", boot_id=boot_id)
    if directive.state == "delivered":
        return Change(after)
    return Change(after, (), (_event(after, now, "directive.delivered", "info"),))


def reported(directive: Directive, state: str, detail: str, boot_id: str, now: Now) -> Change[Directive]:
    """A beat names it: `started`, `done` or `failed`; what is final stays as it is."""
    if directive.state in FINAL or (state == "started" and directive.state == "started"):
        return Change(directive)
    if state == "started":
        ends_h = max(directive.expires_h, now.h) + STARTED_MS_MAX  # until its time is over, runs may go on
        return Change(replace(directive, state=state, expires_h=ends_h))
    if state == "done" and directive.kind in COMES_BACK and boot_id == directive.boot_id:
        return Change(directive)
    return _ended(directive, state, detail, now, bootId=boot_id)


def goes_on(directive: Directive, daemon: Daemon, now: Now) -> Change[Directive]:
    """A drain lasts as long as what runs, and has not failed while its daemon says that it is draining."""
    lasts_ms = max(STARTED_MS_MAX, INTERVALS_MAX * daemon.interval_ms)
    if directive.expires_h - now.h > lasts_ms // 2:  # so that not each beat writes it
        return Change(directive)
    return Change(replace(directive, expires_h=now.h + lasts_ms))


def rung(directive: Directive, now: Now) -> Change[Directive]:
    """Its time is over: the daemon did not take it, or took it and reported no outcome."""
    if directive.state in FINAL or now.h < directive.expires_h:
        return Change(directive)
    if directive.state == "started":
        return _ended(directive, "failed", "the daemon said nothing more about it", now)
    return _ended(directive, "expired", "the daemon did not take it in time", now)


def lapsed(directive: Directive, daemon: Daemon | None, now: Now) -> Change[Directive] | None:
    """The alarm's look at a directive: once its time is over it ends, and its daemon has one fewer open; else None."""
    after = rung(directive, now)
    if after.noun is directive:
        return None
    counted = (replace(daemon, open_directives=max(daemon.open_directives - 1, 0)),) if daemon is not None else ()
    return replace(after, save=counted)


def dropped(directive: Directive, now: Now) -> Change[Directive]:
    """Its daemon was forgotten."""
    return _ended(directive, "expired", "its daemon was forgotten", now)


def shown(directive: Directive) -> dict[str, str]:
    """Its arguments as readers see them: the URL of a wheel without its query, which may be a signature."""
    named: dict[str, str] = msgspec.json.decode(directive.arguments)
    return {name: value.partition("?")[0] if name == "wheel" else value for name, value in named.items()}


def open_count(directives: Sequence[Directive]) -> int:
    """The number of them that have no outcome yet."""
    return sum(directive.state not in FINAL for directive in directives)


def comes_back(directives: Sequence[Directive]) -> bool:
    """True if a daemon stops because of a directive after which it comes back: then its silence is judged."""
    return any(directive.kind in COMES_BACK and directive.state == "started" for directive in directives)


def _ended(directive: Directive, state: str, detail: str, now: Now, **fields: Any) -> Change[Directive]:
    after = replace(directive, state=state, detail=detail, ended_at=now.wall, expires_h=0)
    name, level = _ENDS[state]
    return Change(after, (), (_event(after, now, name, level, detail=detail or None, **fields),))


def _event(directive: Directive, now: Now, name: str, level: str, **fields: Any) -> Event:
    said = {
        "directiveId": directive.id,
        "daemonId": directive.daemon_id,
        "kind": directive.kind,
        "by": directive.asked_by,
        **shown(directive),
        **fields,
    }
    word = name.partition(".")[2]
    message = f"Directive {directive.kind} for {directive.daemon_id}: {word}"
    return make_event(now, name, message, said, level=level, daemon_id=directive.daemon_id)
