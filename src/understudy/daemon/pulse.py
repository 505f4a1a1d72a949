"""The progress of this daemon, for its supervisor (systemd), which restarts a daemon that makes none."""

from __future__ import annotations

from understudy.worker.state import IDLE, STOPPING, WorkerState

BEAT_MORE_MS = 60_000  # beyond the interval: an attempt may last 10 s, a refusal pauses 30 s


class Pulse:
    """Attempts count, not successes: no restart because the hub is absent, but one if a loop stands still."""

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._seq = -1
        self._moved_ms = 0  # awake

    def is_well(self) -> bool:
        """True if beats are attempted and no loop is beyond its limit.

        While runs go on, only the beats count, because a restart would end the runs.
        """
        state = self._state
        now_ms = state.awake_ms()
        if state.seq != self._seq:
            self._seq, self._moved_ms = state.seq, now_ms
        if state.is_stop_asked or state.mode in (IDLE, STOPPING):
            return True
        is_beating = now_ms - self._moved_ms <= state.duties.interval_ms + BEAT_MORE_MS
        return is_beating and (bool(state.runs) or not state.liveness.stopped())
