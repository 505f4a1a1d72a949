"""A directory that gives an error (a dead mount, a broken disk) is a fault of the machine, never a defect of ours."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.worker.rules_hub import RulesHub
from understudy.daemon.life import main_loop
from understudy.worker.effects import Failed, Probe
from understudy.worker.untouched import AGAINST_MAX
from understudy.worker.workspaces import Workspaces

ODD = (errno.ENOTCONN, errno.ESTALE, errno.EIO, errno.EACCES, errno.ENAMETOOLONG)


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Directories that give this error, with all that is in them."""
    dead: dict[str, int] = {}
    look = Path.stat

    def stat(path: Path, **how: Any) -> os.stat_result:
        for place, number in dead.items():
            if path.is_relative_to(place):
                raise OSError(number, os.strerror(number), str(path))
        return look(path, **how)

    monkeypatch.setattr(Path, "stat", stat)
    return dead


@pytest.fixture
def hub(tmp_path: Path) -> RulesHub:
    """With the workspaces `here` and `there`."""
    hub = RulesHub()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    hub.stage.state.workspaces = Workspaces(root=str(tmp_path))
    hub.stage.state.executors["command"].readiness = lambda _: "ok"  # type: ignore[union-attr]
    hub.stage.start(main_loop(hub.stage.state))
    assert hub.stage.run_until(lambda: hub.stage.state.is_known)
    return hub


def go_on(hub: RulesHub, ms: int, **task: Any) -> None:
    """Time passes; what was given back stands first in the queue again."""
    for _ in range(ms // 1_000):
        hub.stage.run_for(1_000)
        back, hub.released = hub.released, []
        hub.queue[:0] = [{"id": task_id, "content": "", **task} for task_id, _ in back]


@pytest.mark.parametrize("number", ODD, ids=errno.errorcode.get)
def test_a_root_that_gives_an_error_is_gone(hub: RulesHub, tmp_path: Path, dead: dict[str, int], number: int) -> None:
    perform, asked = hub.stage._perform, []

    def answered(loop: Any, effect: Any) -> tuple[bool, Any]:
        if isinstance(effect, Probe):
            asked.append(effect.plan.cwd)
            return False, Failed("no such directory", "no_directory") if dead else None
        return perform(loop, effect)

    hub.stage._perform = answered  # type: ignore[method-assign]
    dead[str(tmp_path)] = number
    hub.submit("t1", workspace="here")
    go_on(hub, 3_600_000, workspace="here")
    assert (hub.results, hub.stage.started) == ({}, [])
    assert hub.stage.state.auth["command"] == "no_directory"
    assert set(asked) == {str(tmp_path)}
    assert not any("defect" in line for line in hub.stage.said)
    dead.clear()
    go_on(hub, 400_000, workspace="here")
    assert hub.results["t1"]["success"]


def test_one_workspace_that_gives_an_error_holds_back_no_other(
    hub: RulesHub, tmp_path: Path, dead: dict[str, int]
) -> None:
    dead[str(tmp_path / "there")] = errno.ESTALE
    hub.submit("t1", workspace="there")
    hub.submit("t2", workspace="here")
    go_on(hub, 60_000, workspace="there")
    assert (hub.results, hub.stage.state.auth["command"]) == ({}, "cannot_start")
    go_on(hub, 1_800_000, workspace="there")
    assert hub.results["t1"]["failure"] == {"class": "spawn_failed", "final": False}
    assert "Stale file handle" in hub.results["t1"]["error"]
    assert hub.results["t2"]["success"]
    assert sum("given back untouched" in line for line in hub.stage.said) == AGAINST_MAX


@pytest.mark.parametrize("is_back", [False, True])
def test_a_workspace_that_dies_while_a_task_starts_in_it_fails_no_task(
    hub: RulesHub, tmp_path: Path, dead: dict[str, int], *, is_back: bool
) -> None:
    perform = hub.stage._perform

    def dies(loop: Any, effect: Any) -> tuple[bool, Any]:
        if type(effect).__name__ == "Spawn":
            if not is_back:
                dead[str(tmp_path / "there")] = errno.EIO
            return False, Failed("Input/output error", "no_directory")
        return perform(loop, effect)

    hub.stage._perform = dies  # type: ignore[method-assign]
    hub.submit("t1", workspace="there")
    assert hub.stage.run_until(lambda: bool(hub.results or hub.released), within_ms=60_000)
    assert (hub.results, hub.released) == ({}, [("t1", "not_started")])
