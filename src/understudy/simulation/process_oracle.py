"""The oracle's part about processes: a run must be dead before another run of its task starts."""

from __future__ import annotations

from understudy.simulation.ledger import Ledger
from understudy.simulation.world import ViolationError


class LiveProcess:
    """One live process of a run."""

    def __init__(self, machine: str, task_id: str, token: int, started_ms: int) -> None:
        self.machine = machine
        self.task_id = task_id
        self.token = token
        self.started_ms = started_ms
        self.is_excused = False  # its machine slept, or its guard is dead: nobody could end it in time


class Bodies:
    """All live processes of real daemons."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._alive: list[LiveProcess] = []

    def started(self, machine: str, task_id: str, token: int) -> None:
        """A second body for the same task is wrong, unless an owner wanted it or the first could not be ended."""
        for other in self._alive:
            if other.task_id == task_id and not other.is_excused and not self._is_wanted(other):
                said = f"{task_id} {token} on {machine} while {other.token} lives on {other.machine}"
                raise ViolationError("a run is dead before another starts", said, task_id)
        self._alive.append(LiveProcess(machine, task_id, token, self._ledger.world.now_ms))

    def stopped(self, machine: str, task_id: str, token: int) -> None:
        """One process less."""
        me = (machine, task_id, token)
        self._alive = [body for body in self._alive if (body.machine, body.task_id, body.token) != me]

    def excuse(self, machine: str) -> None:
        """The runs on this machine cannot be ended in time."""
        for body in self._alive:
            if body.machine == machine:
                body.is_excused = True

    def _is_wanted(self, other: LiveProcess) -> bool:
        entry = self._ledger.tasks.get(other.task_id)
        return entry is not None and entry.hand_ms >= other.started_ms
