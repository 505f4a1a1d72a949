"""Delivery to one channel as a loop that yields what it wants done: operations, looks at the store, requests.

At least once: a message counts as sent only after the receiver said so and that is committed. Its key is the same
each time. What the receiver said is kept, and saved as soon as a store that fails takes it again. One channel never
waits for another; a receiver that fails is left alone for a while (the circuit).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from understudy.backoff import doubled_ms
from understudy.clock import Clock
from understudy.coordinator.jumps import Clocks, jump_ms
from understudy.coordinator.nouns import Hearing, Notice
from understudy.coordinator.outbox import RETRY_AFTER_MAX_MS, TAKEN_MS, has_changed
from understudy.coordinator.routes import Routes
from understudy.errors import StoreError, UnavailableError
from understudy.hub.messages import NoticeStory, message_of, plain_message_of, story_of
from understudy.hub.outbox import Outgoing, ReturnNotice, SettleNotice, TakeNotice
from understudy.hub.starts import RecordHearing
from understudy.hub.steps import Effect, Read, Sleep, Steps, asked, unless_over
from understudy.notify.base import Channel, ChannelSettings, Later, Message, Outcome, Refused, Sent
from understudy.notify.outcomes import hushed
from understudy.notify.requests import requests_of
from understudy.store.base import Reader
from understudy.wire.outbound import OutboundAnswer, OutboundRequest

LOOK_EVERY_MS = 30_000
LOOK_EVERY_MS_SHARED = 1_000  # of several hubs one may have died and left something
AGAIN_MS = 50  # nothing could be taken though something seemed due: another hub was faster
FAILURES_MAX = 3  # in a row, then the circuit opens
CIRCUIT_FIRST_MS = 1_000
CIRCUIT_MAX_MS = 60_000
SETTLE_TRIES_MS = 500  # between two tries to save what became of a message
PARTS_MAX = 50
CHANGES_MAX = 3  # of one message: plain text, without edit, without thread


def _story_of(reader: Reader, notice: Notice) -> tuple[NoticeStory | None, bool]:
    """The facts of the store about it, None if they cannot be read; and whether it has changed since it was taken.

    The row is read last: whatever has changed the facts of an answer has changed its row in the same transaction.
    """
    try:
        story = story_of(reader, notice)
        rows = reader.load_many(Notice, (notice.id,)) if notice.kind == "answer" else ()
        return story, any(has_changed(row, notice) for row in rows)
    except StoreError:
        raise
    except Exception:  # noqa: BLE001 - the notice itself is still sent
        return None, False


class Circuit:
    """After some failures in a row a channel is left alone, longer each time; a service may ask for a pause itself."""

    def __init__(self) -> None:
        self.failures = 0
        self.open_until = 0  # monotonic: a clock that is set back must not silence a channel

    def note(self, outcome: Outcome, now_ms: int) -> None:
        """Count the outcome of a request; `now_ms` is monotonic."""
        if not isinstance(outcome, Later):
            self.failures = 0
            return
        self.failures += 1
        doubled = doubled_ms(CIRCUIT_FIRST_MS, CIRCUIT_MAX_MS, self.failures - FAILURES_MAX)
        pause_ms = doubled if self.failures >= FAILURES_MAX else 0
        asked_ms = min(outcome.after_ms, RETRY_AFTER_MAX_MS)
        self.open_until = max(self.open_until, now_ms + max(pause_ms, asked_ms))


class Rendered(Struct, frozen=True):
    """A message in the form that its service takes: what it refused for one part is not tried with the next."""

    message: Message
    requests: tuple[OutboundRequest, ...]
    is_plain: bool = False

    @property
    def parts(self) -> int:
        """The number of requests it takes."""
        return min(len(self.requests), PARTS_MAX)


class Delivery:
    """One channel: `step` does what is due and returns how many ms may pass until the next one."""

    def __init__(
        self,
        settings: ChannelSettings,
        channel: Channel,
        routes: Routes,
        clock: Clock,
        clean: Callable[[str], str],
        *,
        look_every_ms: int = LOOK_EVERY_MS,
    ) -> None:
        self.settings = settings
        self.channel = channel
        self.routes = routes
        self.circuit = Circuit()
        self._clock = clock
        self._clean = clean
        self._look_every_ms = look_every_ms
        self._clocks: Clocks | None = None  # at the last look
        self._plain_key = ""  # of the last one that went out as plain text: what is left of it does so too

    def step(self) -> Steps:
        """One message at most."""
        closed_ms = self.circuit.open_until - self._clock.mono_ms()
        if closed_ms > 0:
            return min(closed_ms, LOOK_EVERY_MS)
        next_at, now_ms = yield Read(self._next)
        clocks = Clocks(now_ms, self._clock.mono_ms())
        if self._has_jumped(clocks) and next_at:
            yield RecordHearing()  # its batch moves what waits with the clock
            next_at, now_ms = yield Read(self._next)
        self._clocks = clocks
        if not next_at or next_at > now_ms:
            return min(next_at - now_ms, self._look_every_ms) if next_at else self._look_every_ms
        outgoing: Outgoing | None = yield TakeNotice(self.settings.name)
        if outgoing is None:
            return AGAIN_MS
        yield from self._deliver(outgoing)
        return 0

    def _next(self, reader: Reader) -> tuple[int, int]:
        """The instant at which the next notice is due, 0: none waits; and this instant."""
        return reader.next_notice_at(self.settings.name), reader.now_ms(self._clock)

    def _has_jumped(self, clocks: Clocks) -> bool:
        """True if the wall clock was moved since the last look, or may have been before the first one."""
        return self._clocks is None or jump_ms(self._clocks, clocks, Hearing()) != 0

    def _deliver(self, outgoing: Outgoing) -> Generator[Effect, Any, None]:
        row: Notice | None = outgoing.notice
        read_story = asked(Read(lambda reader: _story_of(reader, outgoing.notice)))
        story, has_new_facts = yield from unless_over(read_story, asked(ReturnNotice(outgoing.notice)))
        if has_new_facts:  # a result after a failure: the failure would be sent with the text of the result
            yield ReturnNotice(outgoing.notice)
            return
        try:
            message = self._message(outgoing, story)
            rendered = self._rendered(message, is_plain=message.key == self._plain_key)
        except Exception as bug:  # noqa: BLE001 - a message that cannot be written must not stop those after it
            reason = self._clean(f"it cannot be written: {type(bug).__name__}: {bug}")
            yield SettleNotice(outgoing.notice, Later(reason))
            return
        part = outgoing.notice.part
        while row is not None:
            sending = self._send(rendered, min(part, rendered.parts - 1))
            outcome, rendered = yield from unless_over(sending, asked(ReturnNotice(row)))
            self.circuit.note(outcome, self._clock.mono_ms())
            row = yield from self._settle(SettleNotice(row, outcome, rendered.parts))
            part += 1
            if part >= rendered.parts or not isinstance(outcome, Sent):
                return
            if row is not None and has_changed(row, outgoing.notice):
                return  # the rest of what it said before is not worth sending

    def _settle(self, said: SettleNotice) -> Generator[Effect, Any, Notice | None]:
        """Save what became of a part; a store that fails is asked again until another hub may send the message."""
        until_mono = self._clock.mono_ms() + TAKEN_MS
        while True:
            try:
                row: Notice | None = yield said
            except UnavailableError:
                if self._clock.mono_ms() >= until_mono:
                    raise
            else:
                return row
            yield Sleep(SETTLE_TRIES_MS)

    def _message(self, outgoing: Outgoing, story: NoticeStory | None) -> Message:
        """The message; if it cannot be worked out, a plain one from the row alone."""
        wall = self._clock.now_ms()
        try:
            story = story or NoticeStory()
            story = replace(story, asked=self._clean(story.asked))  # whole: half a secret is not recognised
            return self._cleaned(message_of(outgoing, story, self.settings, self.routes, wall))
        except Exception:  # noqa: BLE001 - a zone that is gone, facts that cannot be read: it is still sent
            return self._cleaned(plain_message_of(outgoing, self.settings.language, wall))

    def _rendered(self, message: Message, *, is_plain: bool) -> Rendered:
        requests, is_plain = requests_of(self.channel, self.settings, message, is_plain=is_plain)
        return Rendered(message, requests, is_plain)

    def _outcome(self, answer: OutboundAnswer) -> Outcome:
        try:
            return hushed(self.channel.outcome_of(self.settings, answer), self._clean)
        except Exception as bug:  # noqa: BLE001 - an answer that nobody understands
            return Later(f"its answer cannot be read: {type(bug).__name__}")

    def _send(self, rendered: Rendered, part: int) -> Generator[Effect, Any, tuple[Outcome, Rendered]]:
        """One part; what a service refuses for its form is changed and sent anew, each change once.

        Whatever the reason is for which it takes no change of a message: that one may be in a place that the channel
        has left, and the new one is not. So it is with the thread of a notice, which is one of ours.
        """
        outcome: Outcome = Refused("")
        for _ in range(CHANGES_MAX + 1):
            message = rendered.message
            request = rendered.requests[min(part, rendered.parts - 1)]
            outcome = self._outcome((yield request))
            if not isinstance(outcome, Refused):
                break
            if outcome.as_plain and not rendered.is_plain:
                self._plain_key = message.key
                rendered = self._rendered(message, is_plain=True)
            elif message.edits or (message.thread and (outcome.without_edit or message.kind == "notice")):
                message = replace(message, edits="", thread=message.thread if message.edits else "")
                rendered = self._rendered(message, is_plain=rendered.is_plain)
            else:
                break
        return outcome, rendered

    def _cleaned(self, message: Message) -> Message:
        """No secret that is known here leaves by any text."""
        return replace(
            message,
            title=self._clean(message.title),
            text=self._clean(message.text),
            facts=tuple((label, self._clean(value)) for label, value in message.facts),
        )
