"""Starts of the hub itself: a deployment row and an event."""

from __future__ import annotations

from understudy.coordinator import samples, starts
from understudy.coordinator.changes import Decision
from understudy.coordinator.nouns import Deployment, Hearing, Now
from understudy.coordinator.samples import Sample
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

    runs_alone = False

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Nothing to decide."""
        return Decision()


class ProbeStore(Operation):
    """Write something, to prove that the store can be written."""

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """The hearing row, as it is."""
        return Decision(save=(work.get(Hearing, 1) or Hearing(),))


class LogMinute(Operation):
    """Once a minute, what was too frequent to keep: a line for each kind, and a sample for plots."""

    def __init__(self, alarms: int, sample: Sample) -> None:
        self.alarms = alarms
        self.sample = sample

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """An event for each kind that happened at all; the store adds the sample to those of other hubs."""
        events = starts.minute(self.sample.beats, self.alarms, now)
        change = samples.taken(self.sample, now)
        return Decision(save=change.rows if change is not None else (), events=events)
