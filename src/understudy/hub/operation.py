"""One request as data: what it needs, in up to three rounds, and how it decides once that is loaded."""

from __future__ import annotations

from understudy.coordinator.changes import Decision
from understudy.coordinator.nouns import Now
from understudy.hub.working_set import Needs, WorkingSet

HEAVY = 1 << 20  # more than any batch: it is alone in its batch, and never decided on the event loop


class Operation:
    """The base of all operations; each overrides the rounds that it needs, and `decide`."""

    is_last_word = False  # it reports how something outside the hub ended: a hub that is stopping still takes it
    runs_alone = True  # on a store that several hubs share; False only by the rules of docs/adr/0015-beside-or-alone.md
    takes_from_queue = False  # True: of one hub, two batches that have it are never open at once
    weight = 1  # how much of a batch it fills: about the number of tasks that it touches, HEAVY if that can be many

    def needs(self, needs: Needs) -> None:
        """State what must be loaded first."""

    def more(self, work: WorkingSet, needs: Needs) -> None:
        """State what else is needed, now that the first round is here."""

    def details(self, work: WorkingSet, needs: Needs) -> None:
        """State what else is needed, now that the second round is here."""

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Decide, purely; raising an UnderstudyError refuses and writes nothing."""
        raise NotImplementedError
