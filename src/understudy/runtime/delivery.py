"""A thread for each channel that carries out what its delivery wants; woken by the commit that brought something."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from understudy.hub.batch import Committed
from understudy.hub.delivery import Delivery, Look, Steps
from understudy.hub.operation import Operation
from understudy.hub.outbox import Reclaim, Settle
from understudy.runtime.transport import Transport
from understudy.runtime.writer import Writer

TROUBLE_MS = 1_000
STOP_WITHIN_S = 2.0


class Deliverer:
    """One channel's thread."""

    def __init__(
        self, delivery: Delivery, writer: Writer, transport: Transport, on_trouble: Callable[[str, BaseException], None]
    ) -> None:
        self.delivery = delivery
        self._writer = writer
        self._transport = transport
        self._on_trouble = on_trouble
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"to {delivery.target.name}", daemon=True)
        self.last_step_mono = writer.engine.clock.mono_ms()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Something was committed for this channel."""
        self._wake.set()

    def stop(self) -> None:
        """Send no more; what is on its way may still arrive, and is then sent again at the next start."""
        self._stopped.set()
        self._wake.set()

    def join(self, within_s: float) -> None:
        """Wait for its end."""
        if self._thread.is_alive():
            self._thread.join(within_s)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            try:
                wait_ms = self.perform(self.delivery.step())
            except Exception as trouble:  # noqa: BLE001 - the outermost place of a channel: it never ends by itself
                if self._stopped.is_set() or self._writer.is_stopping:
                    return
                self._on_trouble(self.delivery.target.name, trouble)
                wait_ms = TROUBLE_MS
                self._stopped.wait(TROUBLE_MS / 1000)
            self.last_step_mono = self._writer.engine.clock.mono_ms()
            if wait_ms > 0:
                self._wake.wait(wait_ms / 1000)

    def perform(self, steps: Steps) -> int:
        """Carry out what the steps ask for, until they are over → what they returned."""
        answer: Any = None
        while True:
            try:
                effect = steps.send(answer)
            except StopIteration as end:
                return int(end.value or 0)
            if self._stopped.is_set() and not isinstance(effect, Settle):
                return 0  # what was sent is still settled, so that it is not sent again at the next start
            match effect:
                case Operation():
                    answer = self._writer.decide_blocking(effect)
                case Look():
                    answer = self._writer.engine.store.read(effect.show)
                case _:
                    answer = self._transport.send(effect)


class Deliverers:
    """All channels of a hub."""

    def __init__(
        self,
        deliveries: Sequence[Delivery],
        writer: Writer,
        transport: Transport,
        on_trouble: Callable[[str, BaseException], None],
    ) -> None:
        self._writer = writer
        self.by_name = {d.target.name: Deliverer(d, writer, transport, on_trouble) for d in deliveries}
        if self.by_name:
            writer.after_commit(self.look_at)

    def start(self) -> None:
        """Free what a hub that died had taken, then send."""
        while self._writer.decide_blocking(Reclaim()):
            pass
        for deliverer in self.by_name.values():
            deliverer.start()

    def look_at(self, committed: Committed) -> None:
        """After a commit: wake those whose channel has something."""
        for name in committed.due:
            deliverer = self.by_name.get(name)
            if deliverer is not None:
                deliverer.wake()

    def stop(self) -> None:
        """Send no more."""
        for deliverer in self.by_name.values():
            deliverer.stop()
        clock = self._writer.engine.clock
        until = clock.mono_ms() + round(STOP_WITHIN_S * 1000)
        for deliverer in self.by_name.values():
            deliverer.join(max(until - clock.mono_ms(), 0) / 1000)

    def longest_pause_ms(self) -> int:
        """How long ago the channel that has been quiet for longest made its last step."""
        mono = self._writer.engine.clock.mono_ms()
        return max((mono - deliverer.last_step_mono for deliverer in self.by_name.values()), default=0)
