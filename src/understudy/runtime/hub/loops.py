"""The hub's own loops in threads: each carries out what its steps ask for, see hub/steps.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from understudy.hub.batch import Committed
from understudy.hub.operation import Operation
from understudy.hub.outbox import ReclaimNotices
from understudy.hub.steps import Beside, Effect, Performance, Read, Sleep, Steps
from understudy.runtime.hub.writer import Writer
from understudy.runtime.stepper import Stepper
from understudy.runtime.transport import Transport
from understudy.runtime.wiring import Loop

STOP_WITHIN_S = 2.0  # a request on its way may take longer: it is not waited for


class HubLoop(Stepper):
    """One loop of the hub in a thread of its own."""

    def __init__(
        self,
        name: str,
        steps: Callable[[], Steps],
        writer: Writer,
        transport: Transport,
        on_trouble: Callable[[Exception], None],
    ) -> None:
        super().__init__(name, lambda: self.perform(steps()), writer.engine.clock, on_trouble)
        self._writer = writer
        self._transport = transport

    @property
    def is_over(self) -> bool:
        """True if the loop was stopped, or the hub takes nothing more from it."""
        return super().is_over or self._writer.is_stopping

    def perform(self, steps: Steps) -> int:
        """Carry out what the steps ask for, until they are over → what they returned."""
        performance = Performance(steps, lambda: self.is_over)
        while (effect := performance.next()) is not None:
            with performance:
                performance.answer = self._perform(effect)
        return performance.pause_ms

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Operation():
                return self._writer.decide_blocking(effect)
            case Read():
                return self._writer.engine.store.read(effect.show)
            case Sleep():
                return self.sleep(effect.ms)
            case Beside():
                return self._begin_beside(effect)
            case _:
                return self._transport.send(effect)

    def _begin_beside(self, effect: Beside) -> str:
        """No thread pool: the interpreter would wait for its threads at exit."""

        def run() -> None:
            try:
                self.perform(effect.steps)
            except Exception as trouble:  # noqa: BLE001 - the outermost place of a thread
                if not self.is_over:
                    self._on_trouble(trouble)
            self.wake()

        try:
            threading.Thread(target=run, name=effect.name, daemon=True).start()
        except RuntimeError as error:  # "can't start new thread"
            return str(error)
        return ""


def hub_loop(loop: Loop, writer: Writer, transport: Transport) -> HubLoop:
    """A loop in a thread."""
    return HubLoop(loop.name, loop.step, writer, transport, loop.on_trouble)


class Deliverers:
    """A loop for each channel of a hub, woken by the commit that brought it something."""

    def __init__(self, loops: Mapping[str, Loop], writer: Writer, transport: Transport) -> None:
        """`loops`: by the names of the channels."""
        self._writer = writer
        self._by_name = {name: hub_loop(loop, writer, transport) for name, loop in loops.items()}
        if self._by_name:
            writer.after_commit(self.look_at)

    def start(self) -> None:
        """Free what a hub that died had taken, then send."""
        is_shared = self._writer.engine.store.is_shared
        while self._writer.decide_blocking(ReclaimNotices(is_shared=is_shared)):
            pass
        for loop in self._by_name.values():
            loop.start()

    def look_at(self, committed: Committed) -> None:
        """After a commit: wake those whose channel has something."""
        for name in committed.due:
            if name in self._by_name:
                self._by_name[name].wake()

    def stop(self) -> None:
        """Send no more; what is on its way may still arrive, and is then sent again at the next start."""
        clock = self._writer.engine.clock
        until_mono = clock.mono_ms() + round(STOP_WITHIN_S * 1000)
        for loop in self._by_name.values():
            loop.stop()
        for loop in self._by_name.values():
            loop.join(max(until_mono - clock.mono_ms(), 0) / 1000)

    def longest_pause_ms(self) -> int:
        """Milliseconds since the last step of the channel whose last step is the oldest."""
        return max((loop.since_step_ms() for loop in self._by_name.values()), default=0)
