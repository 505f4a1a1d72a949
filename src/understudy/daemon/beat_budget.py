"""The bytes of a heartbeat: each one names every run; long details are spread over as many as they need.

The hub takes 1 MiB; a proxy before it may take less. A beat that is too large for either is cut, never repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from understudy.wire.limits import BODY_BYTES_MAX
from understudy.worker.effects import HubAnswer

BEAT_BYTES_MAX = BODY_BYTES_MAX - (256 << 10)  # fits also where a proxy's megabyte is a million bytes
BEAT_BYTES_MIN = 16 << 10  # below it nothing long is said at all
GROWS_AFTER_MS = 3_600_000  # a hub or proxy that was changed is tried again with the whole size


class BeatBudget:
    """The bytes that one heartbeat may have; halved when one was refused for its size or its content."""

    def __init__(self) -> None:
        self.bytes_max = BEAT_BYTES_MAX
        self._cut_ms = 0

    def cut(self, answer: HubAnswer, mono_ms: int) -> bool:
        """After a refusal → whether the next beat is smaller, so that it may be sent at once."""
        is_too_large = answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        is_not_understood = answer.status == HTTPStatus.BAD_REQUEST
        if self.bytes_max == 0 or not (is_too_large or is_not_understood):
            return False
        self._cut_ms = mono_ms
        half = self.bytes_max // 2
        self.bytes_max = half if is_too_large and half >= BEAT_BYTES_MIN else 0
        return True

    def accepted(self, mono_ms: int) -> None:
        """A beat got through; long after a cut the whole size is tried again."""
        if self.bytes_max < BEAT_BYTES_MAX and mono_ms - self._cut_ms >= GROWS_AFTER_MS:
            self.bytes_max = BEAT_BYTES_MAX

    @property
    def is_bare(self) -> bool:
        """True if only what keeps leases and the daemon alive is said."""
        return self.bytes_max == 0

    def fitted(self, body: dict[str, Any], details: Iterable[tuple[int, dict[str, Any]]]) -> frozenset[int]:
        """Add details to the entries of `running` (by their place) while there is room → places left out."""
        room = self.bytes_max - len(msgspec.json.encode(body))
        left: set[int] = set()
        running: Sequence[dict[str, Any]] = body["running"]
        for place, said in details:
            size = len(msgspec.json.encode(said))
            if size <= room:
                room -= size
                running[place].update(said)
            elif said:
                left.add(place)
        return frozenset(left)
