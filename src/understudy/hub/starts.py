"""Starts of the hub itself: a deployment row and an event."""

from __future__ import annotations

from understudy.coordinator import samples, starts
from understudy.coordinator.changes import Change, Decision
from understudy.coordinator.hearing import promised_anew
from understudy.coordinator.nouns import Deployment, Hearing, Now
from understudy.coordinator.samples import Sample
from understudy.hub.operation import Operation
from understudy.hub.working_set import Needs, WorkingSet


class RecordStart(Operation):
    """Written once, before the hub serves."""

    def __init__(
        self, version_id: str, package_version: str, config_fingerprint: str, host: str, name: str = ""
    ) -> None:
        self.version_id = version_id
        self.package_version = package_version
        self.config_fingerprint = config_fingerprint
        self.host = host
        self.name = name

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Keep the start."""
        given = self.version_id, now.wall, self.package_version, self.config_fingerprint, self.host, self.name
        row = Deployment(*given, seen_at=now.wall)
        return starts.start(row, now).decision(row.version_id)


class SeeHub(Operation):
    """A hub says to the others that it runs. The answer says whether its start is known."""

    runs_alone = False

    def __init__(self, version_id: str) -> None:
        self.version_id = version_id

    def needs(self, needs: Needs) -> None:
        """Its start."""
        needs.row(Deployment, self.version_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Note it."""
        row = work.get(Deployment, self.version_id)
        return self._change(row, now).decision(answer=True) if row is not None else Decision(answer=False)

    def _change(self, row: Deployment, now: Now) -> Change[Deployment]:
        return starts.seen(row, now)


class EndHub(SeeHub):
    """A hub that stops says so; alone, so that nothing it has said before comes after it."""

    runs_alone = True
    is_last_word = True

    def _change(self, row: Deployment, now: Now) -> Change[Deployment]:
        return starts.ended(row, now)


class RecordHearing(Operation):
    """An empty operation: its batch writes the hearing row, which is all that is wanted."""

    runs_alone = False

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Nothing to decide."""
        return Decision()


class PromiseToListen(Operation):
    """The alarm of a hub that may be put to sleep knows when it will be rung."""

    def __init__(self, within_ms: int) -> None:
        self.within_ms = within_ms

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Keep the promise."""
        return promised_anew(work.get(Hearing, 1) or Hearing(), now, self.within_ms).decision(None)


class ProbeStore(Operation):
    """Write something, to prove that the store can be written."""

    runs_alone = False

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
