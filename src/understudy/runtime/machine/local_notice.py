"""Notices that a daemon sends itself, past a hub that is out of reach: a few tries, then only the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from understudy.clock import Clock
from understudy.ids import IdMaker
from understudy.log import Log
from understudy.notify.base import ChannelSettings, Later, Message, Outcome, Refused, Sent
from understudy.notify.channels import CHANNELS
from understudy.notify.outcomes import hushed
from understudy.notify.requests import requests_of
from understudy.runtime.stepper import Stepper
from understudy.runtime.transport import Transport

WAITING_MAX = 2  # for a channel; the oldest gives way
PAUSES_S = (1.0, 4.0, 15.0, 60.0, 240.0)  # after each try
IDLE_MS = 3_600_000  # it is woken by the next message


class LocalNotices:
    """The channels of this machine."""

    def __init__(
        self,
        channels: tuple[ChannelSettings, ...],
        transport: Transport,
        clock: Clock,
        log: Log,
        clean: Callable[[str], str],
    ) -> None:
        self._ids = IdMaker(clock)
        self._log = log
        self._clean = clean
        lines = [_Line(settings, transport, clock, log, clean) for settings in channels]
        self._lines = [(line, Stepper("local notice", line.step, clock, partial(self._broken, line))) for line in lines]
        for _, stepper in self._lines:  # now: when there is something to tell, the machine may have no thread to give
            stepper.start()

    def tell(self, level: str, title: str, text: str, about: str = "") -> None:
        """Send it by every channel; a channel that is still busy with an earlier message sends it next.

        It waits even then, because a lost network takes the hub and the channel together: an alarm that gets through
        late must be followed by the message that it is over.
        """
        key, title, text = self._ids.new("notice"), self._clean(title), self._clean(text)
        message = Message(key, "notice", level, title, text, about=about)
        for line, stepper in self._lines:
            line.waiting.append(message)
            stepper.wake()

    def stop(self) -> None:
        """Try no more."""
        for _, stepper in self._lines:
            stepper.stop()

    def _broken(self, line: _Line, bug: Exception) -> None:
        self._log.emit("critical", "Daemon", f"Nobody was told by {line.name}: {type(bug).__name__}: {bug}")


class _Line:
    """One channel: its messages in order, one try a step."""

    def __init__(
        self, settings: ChannelSettings, transport: Transport, clock: Clock, log: Log, clean: Callable[[str], str]
    ) -> None:
        self.name = settings.name
        self.waiting: deque[Message] = deque(maxlen=WAITING_MAX)
        self._settings = settings
        self._transport = transport
        self._clock = clock
        self._log = log
        self._clean = clean
        self._message: Message | None = None
        self._pauses_s: list[float] = []  # those that are left of this message
        self._next_mono = 0
        self._reason = ""

    def step(self) -> int:
        """A try, if it is time for one; how many ms may pass until the next. A message that breaks is given up."""
        left_ms = self._next_mono - self._clock.mono_ms()
        if left_ms > 0:
            return left_ms
        if self._message is None:
            if not self.waiting:
                return IDLE_MS
            self._message, self._pauses_s = self.waiting.popleft(), [*PAUSES_S]
        message, self._message = self._message, None
        if self._pauses_s:
            outcome = self._once(replace(message, at=self._clock.now_ms()))
            if isinstance(outcome, Sent):
                return 0
            self._reason = outcome.reason
            if isinstance(outcome, Later):
                self._message = message
                pause_s = max(self._pauses_s.pop(0), min(outcome.after_ms / 1000, PAUSES_S[-1]))
                self._next_mono = self._clock.mono_ms() + round(pause_s * 1000)
                return 0
        self._log.emit("warning", "Daemon", f"Nobody was told by {self.name}: {self._reason}")
        return 0

    def _once(self, message: Message) -> Outcome:
        """One try; what is refused for its form is sent once more, as plain text."""
        outcome = self._sent(message)
        if isinstance(outcome, Refused) and outcome.as_plain:
            outcome = self._sent(message, is_plain=True)
        return outcome

    def _sent(self, message: Message, *, is_plain: bool = False) -> Outcome:
        channel = CHANNELS[self._settings.kind]
        outcome: Outcome = Sent()
        for request in requests_of(channel, self._settings, message, is_plain=is_plain)[0]:
            answer = self._transport.send(request)
            try:
                outcome = hushed(channel.outcome_of(self._settings, answer), self._clean)
            except Exception as bug:  # noqa: BLE001 - an answer that nobody understands: it is tried again
                outcome = Later(f"its answer cannot be read: {type(bug).__name__}")
            if not isinstance(outcome, Sent):
                return outcome
        return outcome
