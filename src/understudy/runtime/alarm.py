"""The alarm: one loop that sleeps until the nearest deadline, and looks at what is due."""

from __future__ import annotations

import threading
from collections.abc import Callable

from understudy.coordinator.hearing import hear
from understudy.coordinator.nouns import Hearing, Now
from understudy.errors import UnavailableError
from understudy.hub.alarm import Rest, Ring
from understudy.hub.batch import Committed
from understudy.hub.retention import Purge, purge_plan
from understudy.hub.starts import Listen, Minute
from understudy.runtime.writer import Writer
from understudy.store.base import Reader

LISTEN_EVERY_MS = 1_000
LOOK_EVERY_MS = 60_000
PURGE_EVERY_MS = 600_000
PURGE_PAUSE_MS = 20
SURE_AFTER_MS = 86_400_000
RETRY_AFTER_MS = 500
NEVER = 1 << 62


class Alarm:
    """Rings when a deadline has come, at the latest every 60 s; woken when an earlier deadline appears."""

    def __init__(self, writer: Writer, on_trouble: Callable[[BaseException], None]) -> None:
        self._writer = writer
        self._clock = writer.engine.clock
        self._store = writer.engine.store
        self._on_trouble = on_trouble
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarm", daemon=True)
        self._lock = threading.Lock()
        self._next_mono = 0
        self._announced_mono = NEVER
        self._purge_mono = 0
        self._purges: list[tuple[str, int]] = []
        self._minute_mono = self._clock.mono_ms()
        self._is_watching = True
        self._is_left = False  # whether a deadline was still there after the last ring
        self.lag_ms = 0
        self.next_at = 0
        self.last_ring_mono = 0
        self.last_step_mono = self._clock.mono_ms()
        self.beats = 0
        self.rings = 0
        writer.after_commit(self.look_at)

    def start(self) -> None:
        """Start ringing."""
        self._thread.start()

    def stop(self) -> None:
        """Ring no more."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def look_at(self, committed: Committed) -> None:
        """After a commit: wake up if it brought an earlier deadline."""
        now = committed.now
        waits = [h - now.h for h in (committed.deadline_h,) if h]
        waits += [at - now.wall for at in (committed.available_at,) if at]
        for stored in committed.events:
            if stored.event.name == "heartbeat.recorded" and stored.event.component == "Queue API":
                self.beats += 1
        if committed.deadline_h and not self._is_watching:
            self._is_watching = True
            self._wake.set()
        if not waits:
            return
        with self._lock:
            self._announced_mono = min(self._announced_mono, self._clock.mono_ms() + min(waits))
            is_earlier = self._announced_mono < self._next_mono
        if is_earlier:
            self._wake.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            wait_ms = self.safe_step()
            self._wake.wait(wait_ms / 1000)
            self._wake.clear()

    def safe_step(self) -> int:
        """`step`, and when anything fails: say so and look at everything again soon. This loop never ends by itself."""
        self.last_step_mono = self._clock.mono_ms()
        try:
            return self.step()
        except Exception as trouble:  # noqa: BLE001 - the outermost place of the alarm
            self._next_mono = 0
            if not self._writer.is_stopping:
                self._on_trouble(trouble)
            return RETRY_AFTER_MS

    def step(self) -> int:
        """Do what is due; how many ms may pass until the next step."""
        mono = self._clock.mono_ms()
        if mono >= min(self._next_mono, self._announced_mono):
            self._ring(mono)
        elif self._is_watching:
            self._writer.decide_blocking(Listen())
        if mono - self._minute_mono >= LOOK_EVERY_MS:
            self._minute_mono = mono
            beats, self.beats = self.beats, 0
            rings, self.rings = self.rings, 0
            self._writer.decide_blocking(Minute(beats, rings))
        return min(self.pause_ms(), PURGE_PAUSE_MS) if self._purge_a_little(mono) else self.pause_ms()

    def is_turning(self) -> bool:
        """Whether its loop goes on, even if the store fails: that is what a supervisor can mend."""
        return self._clock.mono_ms() - self.last_step_mono <= 2 * LOOK_EVERY_MS

    def pause_ms(self) -> int:
        """How many ms may pass until the next step, as far as is known now."""
        until = max(min(self._next_mono, self._announced_mono) - self._clock.mono_ms(), 0)
        return min(until, LISTEN_EVERY_MS if self._is_watching else LOOK_EVERY_MS)

    def _ring(self, mono: int) -> None:
        self.lag_ms = max(mono - min(self._next_mono, self._announced_mono), 0) if self._next_mono else 0
        with self._lock:
            self._announced_mono = NEVER  # whatever is announced from here on may be missing in what is read below
        while self._writer.decide_blocking(Ring()) and not self._stopped.is_set():
            pass
        self.rings += 1
        self.last_ring_mono = mono
        deadlines, now = self._store.read(lambda reader: (reader.next_deadlines(), self._now(reader)))
        if not (deadlines.lease_h or deadlines.health_h or deadlines.directive_h):
            self._is_watching = False  # first: a commit from here on that brings a deadline makes it true again
            if not self._writer.decide_blocking(Rest()):
                self._is_watching = True
        waits = [h - now.h for h in (deadlines.lease_h, deadlines.health_h, deadlines.directive_h) if h]
        if deadlines.available_at:
            waits.append(deadlines.available_at - now.wall)
        is_left = any(wait <= 0 for wait in waits)  # it came meanwhile; twice: of a row that nobody can judge
        was_left, self._is_left = self._is_left, is_left
        if self._writer.engine.is_deaf or (is_left and was_left):  # to look again without a pause would bring nothing
            waits = [max(wait, LISTEN_EVERY_MS) for wait in waits]
        with self._lock:
            self._next_mono = self._clock.mono_ms() + max(min([*waits, LOOK_EVERY_MS]), 0)
        self.next_at = now.wall + max(min([*waits, LOOK_EVERY_MS]), 0)

    def _now(self, reader: Reader) -> Now:
        """The time as a batch would see it at this moment."""
        (hearing,) = reader.load_many(Hearing, (1,)) or [Hearing()]
        return hear(hearing, self._clock.now_ms())[1]

    def _purge_a_little(self, mono: int) -> bool:
        """One portion of what retention removes, so that no deadline waits for it; whether there is more."""
        if mono >= self._purge_mono:
            self._purge_mono = mono + PURGE_EVERY_MS
            self._purges = purge_plan(self._writer.engine.policy, self._clock.now_ms())
        if self._purges and self._is_sure_of_the_time(mono):
            try:
                is_more = self._writer.decide_blocking(Purge(*self._purges[-1]))
            except UnavailableError:
                raise
            except Exception as trouble:  # noqa: BLE001 - what cannot be removed must not keep the rest for ever
                self._on_trouble(trouble)
                is_more = False
            if not is_more:
                self._purges.pop()
            return bool(self._purges)
        return False

    def _is_sure_of_the_time(self, mono: int) -> bool:
        """Not for a day after the clock was set ahead by far: if that was wrong, everything would be too old."""
        ahead = self._writer.engine.moved_ahead_mono
        return not ahead or mono - ahead > SURE_AFTER_MS
