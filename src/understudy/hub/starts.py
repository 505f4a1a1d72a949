"""Starts of the hub itself: a deployment row and an event."""

from __future__ import annotations

from understudy.coordinator import starts
from understudy.coordinator.changes import Decision
from understudy.coordinator.nouns import Deployment, Hearing, Now
from understudy.hub.operation import Operation
from understudy.hub.working_set import WorkingSet


class RecordStart(Operation):
    """Written once, before the hub serves."""

    def __init__(self, version_id: str, package_version: str, config_fingerprint: str, host: str) -> None:
        self.version_id = version_id
        self.package_version = package_version
        self.config_fingerprint = config_fingerprint
        self.host = host

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Keep the start."""
        row = Deployment(self.version_id, now.wall, self.package_version, self.config_fingerprint, self.host)
        return starts.start(row, now).decision(row.version_id)


class RecordHearing(Operation):
    """An empty operation: its batch writes the hearing row, which is all that is wanted."""

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Nothing to decide."""
        return Decision()


class ProbeStore(Operation):
    """Write something, to prove that the store can be written."""

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """The hearing row, as it is."""
        return Decision(save=(work.get(Hearing, 1) or Hearing(),))


class LogMinute(Operation):
    """Once a minute, what was too frequent to keep, in one line each."""

    def __init__(self, beats: int, alarms: int) -> None:
        self.beats = beats
        self.alarms = alarms

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """An event for each kind that happened at all."""
        return Decision(events=starts.minute(self.beats, self.alarms, now))
