"""Delivery to one channel as a loop that yields what it wants done: operations, looks at the store, requests.

At least once: a message counts as sent only after the receiver said so and that is committed. Its key is the same
each time. One channel never waits for another; a receiver that fails is left alone for a while (the circuit).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from understudy.coordinator.nouns import Notice
from understudy.coordinator.routes import Routes
from understudy.hub.messages import Story, message_of, story_of
from understudy.hub.operation import Operation
from understudy.hub.outbox import Parcel, Settle, Take
from understudy.notify.base import Channel, Later, Message, Outcome, Refused, Sent, Target
from understudy.store.base import Reader
from understudy.wire.outbound import OutboundRequest

LOOK_EVERY_MS = 30_000
AGAIN_MS = 50  # nothing could be taken though something seemed due: another hub was faster
FAILURES_MAX = 3  # in a row, then the circuit opens
CIRCUIT_FIRST_MS = 1_000
CIRCUIT_MAX_MS = 60_000
PARTS_MAX = 50
CHANGES_MAX = 3  # of one message: plain text, without edit, without thread


class Look(Struct, frozen=True):
    """Read something from the store, beside the writer."""

    show: Callable[[Reader], Any]


Effect = Operation | Look | OutboundRequest
Steps = Generator[Effect, Any, Any]


class Circuit:
    """After some failures in a row a channel is left alone, longer each time; a service may ask for a pause itself."""

    def __init__(self) -> None:
        self.failures = 0
        self.open_until = 0

    def note(self, outcome: Outcome, now_ms: int) -> None:
        """What came of a request."""
        if not isinstance(outcome, Later):
            self.failures = 0
            return
        self.failures += 1
        doubled = CIRCUIT_FIRST_MS << min(max(self.failures - FAILURES_MAX, 0), 10)
        pause_ms = min(doubled, CIRCUIT_MAX_MS) if self.failures >= FAILURES_MAX else 0
        self.open_until = max(self.open_until, now_ms + max(pause_ms, outcome.after_ms))


class Delivery:
    """One channel: `step` does what is due and returns how many ms may pass until the next one."""

    def __init__(
        self, target: Target, channel: Channel, routes: Routes, now_ms: Callable[[], int], clean: Callable[[str], str]
    ) -> None:
        self.target = target
        self.channel = channel
        self.routes = routes
        self.circuit = Circuit()
        self._now_ms = now_ms
        self._clean = clean

    def step(self) -> Steps:
        """One message at most."""
        now_ms = self._now_ms()
        if now_ms < self.circuit.open_until:
            return min(self.circuit.open_until - now_ms, LOOK_EVERY_MS)
        next_at = yield Look(lambda reader: reader.next_notice_at(self.target.name))
        if not next_at or next_at > now_ms:
            return min(next_at - now_ms, LOOK_EVERY_MS) if next_at else LOOK_EVERY_MS
        parcel: Parcel | None = yield Take(self.target.name)
        if parcel is None:
            return AGAIN_MS
        yield from self._deliver(parcel)
        return 0

    def _deliver(self, parcel: Parcel) -> Steps:
        story: Story = yield Look(lambda reader: story_of(reader, parcel.notice))
        row: Notice | None = parcel.notice
        try:
            message = self._cleaned(message_of(parcel, story, self.target, self.routes, self._now_ms()))
            requests = self.channel.requests_for(self.target, message)
        except Exception as bug:  # noqa: BLE001 - a message that cannot be written must not stop those after it
            yield Settle(parcel.notice, Refused(f"it cannot be written: {type(bug).__name__}: {bug}"))
            return
        parts = min(len(requests), PARTS_MAX)
        for part in range(min(parcel.notice.part, parts - 1), parts):
            outcome = yield from self._send(message, requests[part], part)
            self.circuit.note(outcome, self._now_ms())
            row = yield Settle(row or parcel.notice, outcome, parts)
            if not isinstance(outcome, Sent) or row is None:
                return

    def _send(self, message: Message, request: OutboundRequest, part: int) -> Generator[Effect, Any, Outcome]:
        """One part; what a service refuses for its form is changed and sent anew, each change once."""
        is_plain = False
        outcome: Outcome = Refused("")
        for _ in range(CHANGES_MAX + 1):
            outcome = self.channel.outcome_of(self.target, (yield request))
            if isinstance(outcome, Refused) and outcome.as_plain and not is_plain:
                is_plain = True
            elif isinstance(outcome, Refused) and outcome.without_edit and (message.edits or message.thread):
                message = replace(message, edits="", thread=message.thread if message.edits else "")
            else:
                return outcome
            requests = self.channel.requests_for(self.target, message, is_plain=is_plain)
            request = requests[min(part, len(requests) - 1)]
        return outcome

    def _cleaned(self, message: Message) -> Message:
        """No secret that is known here leaves by any text."""
        return replace(
            message,
            title=self._clean(message.title),
            text=self._clean(message.text),
            facts=tuple((label, self._clean(value)) for label, value in message.facts),
        )
