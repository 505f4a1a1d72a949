"""Identity and the one lock per name."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from understudy.clock import SystemClock
from understudy.daemon.home import Home, checked_daemon_id, default_daemon_id
from understudy.errors import ConfigError
from understudy.ids import IdMaker

IDS = IdMaker(SystemClock())


def test_machine_id_is_made_once_and_kept(tmp_path: Path) -> None:
    first = Home(tmp_path, "mini").machine_id(IDS)
    assert Home(tmp_path, "another").machine_id(IDS) == first
    assert stat.S_IMODE((tmp_path / "machine-id").stat().st_mode) == 0o600


def test_second_start_of_the_same_name_is_refused_with_the_process_that_has_it(tmp_path: Path) -> None:
    home = Home(tmp_path, "mini")
    lock = home.lock()
    with pytest.raises(ConfigError, match=r"mini is already running here \(process \d+\)"):
        home.lock()
    lock.release()
    home.lock().release()


def test_other_names_may_run_beside_it(tmp_path: Path) -> None:
    locks = [Home(tmp_path, name).lock() for name in ("a", "b")]
    for lock in locks:
        lock.release()


@pytest.mark.parametrize("daemon_id", ["", ".", "..", "a/b", "a b", "x" * 129, "naïve"])
def test_name_that_could_be_a_path_or_no_id_is_refused(daemon_id: str) -> None:
    with pytest.raises(ConfigError):
        checked_daemon_id(daemon_id)


def test_default_name_is_an_id() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", default_daemon_id())
