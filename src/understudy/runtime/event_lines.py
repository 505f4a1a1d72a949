"""The lines of a hub's log for the events that it has committed, whichever way the hub is hosted."""

from __future__ import annotations

from understudy.hub.batch import Committed
from understudy.log import Log

QUIET_COMPONENTS = frozenset({"TaskQueue"})  # each task's story is in the event log; the process log keeps health


def log_events(log: Log, committed: Committed) -> None:
    """A line for each event."""
    for stored in committed.events:
        event = stored.event
        level = "debug" if event.level == "info" and event.component in QUIET_COMPONENTS else event.level
        if level in log.shown:
            log.emit_at(event.at, level, event.component, event.message, event.fields)
