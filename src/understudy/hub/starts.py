"""Starts of the hub itself: a deployment row and an event."""

from __future__ import annotations

from understudy.coordinator.changes import Decision, make_event
from understudy.coordinator.nouns import Deployment, Hearing, Now
from understudy.hub.operation import Operation
from understudy.hub.working_set import WorkingSet


class Start(Operation):
    """Written once, before the hub serves."""

    def __init__(self, version_id: str, package_version: str, config_fingerprint: str, host: str) -> None:
        self.version_id = version_id
        self.package_version = package_version
        self.config_fingerprint = config_fingerprint
        self.host = host

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Keep the start."""
        row = Deployment(self.version_id, now.wall, self.package_version, self.config_fingerprint, self.host)
        fields = {"version": self.package_version, "host": self.host, "versionId": self.version_id}
        event = make_event(now, "hub.started", f"Hub {self.package_version} started", fields, component="Hub")
        return Decision(row.version_id, (row,), (event,))


class Listen(Operation):
    """Nothing but being heard: the batch itself writes the hearing row."""

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Nothing to decide."""
        return Decision()


class Probe(Operation):
    """Write something, to prove that the store can be written."""

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """The hearing row, as it is."""
        return Decision(save=(work.get(Hearing, 1) or Hearing(),))


class Minute(Operation):
    """Once a minute, what was too frequent to keep, in one line each."""

    def __init__(self, beats: int, alarms: int) -> None:
        self.counts = (
            ("heartbeat.recorded", "Heartbeat recorded", beats),
            ("alarm.triggered", "Alarm triggered", alarms),
        )

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """An event for each kind that happened at all."""
        events = tuple(
            make_event(now, name, message, {"timesLastMinute": count}) for name, message, count in self.counts if count
        )
        return Decision(events=events)
