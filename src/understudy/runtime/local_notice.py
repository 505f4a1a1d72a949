"""Notices that a daemon sends itself, past a hub that is out of reach: a few tries, then only the log."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from msgspec.structs import replace

from understudy.clock import Clock
from understudy.ids import IdMaker
from understudy.log import Log
from understudy.notify.base import Later, Message, Outcome, Sent, Target
from understudy.notify.channels import CHANNELS
from understudy.notify.letters import letters_of
from understudy.runtime.transport import Transport

WAITING_MAX = 2  # for a channel; the oldest gives way
PAUSES_S = (1.0, 4.0, 15.0, 60.0, 240.0)


class LocalNotices:
    """The channels of this machine."""

    def __init__(
        self, targets: tuple[Target, ...], transport: Transport, clock: Clock, log: Log, clean: Callable[[str], str]
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._ids = IdMaker(clock)
        self._log = log
        self._clean = clean
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._lines: dict[str, deque[Message]] = {target.name: deque(maxlen=WAITING_MAX) for target in targets}
        for target in targets:  # now: when there is something to tell, the machine may have no thread to give
            threading.Thread(target=self._serve, args=(target,), name="local notice", daemon=True).start()

    def tell(self, level: str, title: str, text: str) -> None:
        """Send it by every channel; one that is still busy with an earlier one gets it next.

        A network that is away takes the hub and the channel with it: an alarm that gets through at last must not
        stay without the word that it is over.
        """
        message = Message(self._ids.new("notice"), "notice", level, self._clean(title), self._clean(text))
        with self._changed:
            for line in self._lines.values():
                line.append(message)
            self._changed.notify_all()

    def stop(self) -> None:
        """Try no more."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    def _serve(self, target: Target) -> None:
        while (message := self._next(target)) is not None:
            try:
                self._send(target, message)
            except Exception as bug:  # noqa: BLE001 - a message that cannot be written must not stop the next one
                why = f"Nobody was told by {target.name}: {type(bug).__name__}: {bug}"
                self._log.emit("critical", "Daemon", why)

    def _next(self, target: Target) -> Message | None:
        """What is to be told next, as soon as there is something; None at the end."""
        with self._changed:
            line = self._lines[target.name]
            self._changed.wait_for(lambda: line or self._stopped.is_set())
            return None if self._stopped.is_set() else line.popleft()

    def _send(self, target: Target, message: Message) -> None:
        reason = ""
        for pause_s in PAUSES_S:
            outcome = self._once(target, replace(message, at=self._clock.now_ms()))
            if isinstance(outcome, Sent):
                return
            reason = outcome.reason
            if not isinstance(outcome, Later):
                break
            if self._stopped.wait(max(pause_s, min(outcome.after_ms / 1000, PAUSES_S[-1]))):
                return
        self._log.emit("warning", "Daemon", f"Nobody was told by {target.name}: {reason}")

    def _once(self, target: Target, message: Message) -> Outcome:
        channel = CHANNELS[target.kind]
        outcome: Outcome = Sent()
        for request in letters_of(channel, target, message)[0]:
            outcome = channel.outcome_of(target, self._transport.send(request))
            if not isinstance(outcome, Sent):
                return outcome
        return outcome
