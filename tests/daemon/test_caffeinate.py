"""A Mac is held awake while anything runs, by one process, as its owner wants it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from understudy.daemon.caffeinate import Awake, caffeinate


class Held:
    """Stands for a running `caffeinate`."""

    def __init__(self) -> None:
        self.is_ended = False

    def terminate(self) -> None:
        self.is_ended = True

    def wait(self, timeout: float | None = None) -> int:
        assert self.is_ended
        return 0


class Mac:
    """Starts what it is told to; remembers it."""

    def __init__(self) -> None:
        self.started: list[Held] = []

    def start(self, argv: Sequence[str]) -> Held:
        assert argv[0] == "caffeinate"
        self.started.append(Held())
        return self.started[-1]

    def held(self) -> int:
        return sum(not held.is_ended for held in self.started)


@pytest.mark.parametrize(
    ("mode", "flags"),
    [("ac-only", ["-s"]), ("always", ["-i", "-s"]), ("never", None)],
    ids=["ac-only", "always", "never"],
)
def test_the_command_is_that_of_the_mode_and_ends_with_us(mode: str, flags: list[str] | None) -> None:
    expected = () if flags is None else ("caffeinate", *flags, "-w", str(os.getpid()))
    assert caffeinate(mode, platform="darwin") == expected
    assert caffeinate(mode, platform="linux") == ()


def test_one_process_holds_for_all_runs_and_ends_with_the_last() -> None:
    mac = Mac()
    awake = Awake(caffeinate("always", platform="darwin"), mac.start)
    for run_id in ("a", "b"):
        awake.hold(run_id)
    assert (len(mac.started), mac.held()) == (1, 1)
    awake.let_go("a")
    assert mac.held() == 1
    for _ in range(2):
        awake.let_go("b")
    assert mac.held() == 0
    awake.hold("c")
    assert (len(mac.started), mac.held()) == (2, 1)


def test_nothing_is_started_where_nothing_is_to_be_held() -> None:
    mac = Mac()
    awake = Awake((), mac.start)
    awake.hold("a")
    awake.let_go("a")
    assert mac.started == []


def test_a_machine_without_the_command_runs_tasks_all_the_same() -> None:
    awake = Awake(("/nonexistent/caffeinate",))
    awake.hold("a")
    awake.let_go("a")
