"""The bytes of a heartbeat: each one names every run; long details are spread over as many as they need.

The hub takes 1 MiB; a proxy before it may take less. A beat that is too large for either is cut, never repeated. One
that a firewall refuses, for what a run says of its work, is followed by one with names and numbers only. If beats get
no answer at all, the details wait: the line may be too slow for them, or be cut because of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from understudy.wire.limits import BODY_BYTES_MAX
from understudy.wire.refusals import has_words
from understudy.worker.effects import Failed, HubAnswer, may_mean_the_content

BEAT_BYTES_MAX = BODY_BYTES_MAX - (256 << 10)  # fits also where a proxy's megabyte is a million bytes
BEAT_BYTES_MIN = 16 << 10  # below it nothing long is said at all
GROWS_AFTER_MS = 3_600_000  # a hub or proxy that was changed is tried again with the whole size
SAID_AGAIN_AFTER_MS = 600_000  # what was refused for its content: a run says something else by then
REFUSALS_MAX = 2  # in a row, of whatever 4xx may mean the content
UNANSWERED_MAX = 2  # in a row
LINE_BYTES_FIRST = 96 << 10  # once a beat without details was answered


class BeatBudget:
    """The bytes that one heartbeat may have; fewer when one was refused for its size or its content, or unanswered."""

    def __init__(self) -> None:
        self.bytes_max = BEAT_BYTES_MAX
        self._grows_ms = 0  # mono
        self._refusals = 0  # in a row
        self._before_trial = 0  # bytes, while it is tried whether the content is to blame; 0: it is not
        self._unanswered = 0  # in a row
        self._line_max = BEAT_BYTES_MAX  # bytes, beyond which details wait

    def cut(self, answer: HubAnswer | Failed, mono_ms: int) -> bool:
        """After a beat that was not accepted → whether the next one is smaller, so that it may be sent at once."""
        self._unanswered = 0 if answer.status else self._unanswered + 1
        if self._unanswered >= UNANSWERED_MAX:
            self._line_max = 0
        is_too_large = answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if not is_too_large and not _is_not_understood(answer):
            return self._suspected(answer)
        if self.bytes_max == 0:
            return False
        self._grows_ms = mono_ms + GROWS_AFTER_MS
        half = self.bytes_max // 2
        self.bytes_max = half if is_too_large and half >= BEAT_BYTES_MIN else 0
        return True

    def accepted(self, mono_ms: int) -> bool:
        """A beat got through → whether it did so only because it was bare. Long after a cut all is said again."""
        self._refusals = self._unanswered = 0
        self._line_max = min(BEAT_BYTES_MAX, max(LINE_BYTES_FIRST, 2 * self._line_max))
        if self._before_trial:
            self._before_trial = 0
            self._grows_ms = mono_ms + SAID_AGAIN_AFTER_MS
            return True
        if self.bytes_max < BEAT_BYTES_MAX and mono_ms >= self._grows_ms:
            self.bytes_max = BEAT_BYTES_MAX
        return False

    def _suspected(self, answer: HubAnswer | Failed) -> bool:
        """Try a bare beat after two refusals that may mean the content; if it is refused too, they did not."""
        self._refusals = self._refusals + 1 if may_mean_the_content(answer) else 0
        if self._before_trial and self._refusals:
            self.bytes_max, self._before_trial, self._refusals = self._before_trial, 0, 0
        elif self.bytes_max and self._refusals >= REFUSALS_MAX:
            self.bytes_max, self._before_trial = 0, self.bytes_max
            return True
        return False

    @property
    def is_bare(self) -> bool:
        """True if only what keeps leases and the daemon alive is said."""
        return self.bytes_max == 0

    def fitted(self, body: dict[str, Any], details: Iterable[tuple[int, dict[str, Any]]]) -> frozenset[int]:
        """Add details to the entries of `running` (by their place) while there is room → places left out."""
        room = min(self.bytes_max, self._line_max) - len(msgspec.json.encode(body))
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


def _is_not_understood(answer: HubAnswer | Failed) -> bool:
    """True if the hub itself refuses what the beat says, and so would refuse it again; a firewall's 400 may not."""
    return isinstance(answer, HubAnswer) and answer.status == HTTPStatus.BAD_REQUEST and has_words(answer.body)
