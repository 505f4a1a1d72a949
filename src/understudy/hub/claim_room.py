"""The tasks that the claims of one batch may get, with what is sent along, within a bound in bytes."""

from __future__ import annotations

from understudy.coordinator.nouns import Task

BODIES_BYTES_MAX = 32 << 20  # of all claims of a batch: four full answers; the rest waits for the next batch


class ClaimRoom:
    """The tasks whose bodies are loaded for claims, and the sets of tags for which there may be more candidates."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.cut: set[frozenset[str]] = set()
        self._bytes = 0

    def take(self, *tasks: Task) -> bool:
        """True if there is room for all of these; always for the first ones, so that every batch gets on."""
        more = 0
        for task in tasks:
            more += task.size_bytes
        if self._bytes and self._bytes + more > BODIES_BYTES_MAX:
            return False
        for task in tasks:
            self.taken.add(task.id)
        self._bytes += more
        return True
