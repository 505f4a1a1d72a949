"""Each start of a daemon has a name that sorts after all before it."""

from __future__ import annotations

import pytest

from understudy.clock import ManualClock
from understudy.daemon.home import Home
from understudy.ids import IdMaker


def test_a_later_start_sorts_later_though_the_clock_was_set_back(tmp_path):
    clock = ManualClock()
    ids = IdMaker(clock)
    first = Home(tmp_path, "mini").new_boot_id(ids)
    clock.jump(-86_400_000)
    second = Home(tmp_path, "mini").new_boot_id(ids)
    assert second > first


def test_a_broken_boot_file_is_no_reason_not_to_start(tmp_path):
    home = Home(tmp_path, "mini")
    (home.root / "boot-id").write_bytes(b"\xff\x00")
    assert home.new_boot_id(IdMaker(ManualClock())).startswith("boot-")


@pytest.mark.parametrize("spoilt", ["boot-Z", "boot-ZZZ", "boot-" + "Z" * 26, "boot-" + "Z" * 300_000])
def test_a_spoilt_boot_file_makes_no_spoilt_name(tmp_path, spoilt):
    """The names were empty or older ones, which no hub takes; and a long file was read for minutes."""
    home = Home(tmp_path, "mini")
    (home.root / "boot-id").write_text(spoilt)
    made = home.new_boot_id(IdMaker(ManualClock()))
    assert len(made) == len("boot-") + 26
    assert set(made.removeprefix("boot-")) != {"0"}
