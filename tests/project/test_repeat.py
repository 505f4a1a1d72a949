"""`make repeat` runs the suite in other ways, says which failed with which seed, and finds what was left running."""

from __future__ import annotations

import sys
import uuid

from tests import repeat
from tests.waiting import eventually


def test_each_run_has_a_way_and_a_seed_and_failures_are_told(tmp_path, capsys):
    seen = []

    def run(way, seed, log, workers):
        seen.append((way, seed, workers))
        is_passed = seed != 1
        return repeat.Outcome(is_passed, "3 passed", () if is_passed else ("tests/x.py::test_y",), ())

    assert repeat.repeat(3, ["plain", "load"], tmp_path, 2, run=run) == 1
    assert seen == [(repeat.WAYS["plain"], 0, 2), (repeat.WAYS["load"], 1, 2), (repeat.WAYS["plain"], 2, 2)]
    told = capsys.readouterr().out
    assert "2/3 load    seed 1   FAILED" in told
    assert "tests/x.py::test_y" in told
    assert "2 of 3 runs passed" in told


def test_a_run_is_read_from_what_pytest_says():
    said = "....\nFAILED tests/a.py::b[1] - assert 0\nERROR tests/c.py::d\n1 failed, 2 passed in 3.21s\n"
    assert repeat._FAILED.findall(said) == ["tests/a.py::b[1]", "tests/c.py::d"]
    assert repeat._SUMMARY.findall(said) == ["1 failed, 2 passed in 3.21s"]


def test_what_a_run_leaves_behind_is_found_by_its_mark(tmp_path):
    mark = uuid.uuid4().hex
    orphan = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    with (tmp_path / "log").open("wb") as out:
        code = repeat.run_to_end([sys.executable, "-c", orphan], out, env={repeat.MARK: mark}, start_new_session=True)
    assert code == 0
    (left,) = eventually(lambda: repeat.left_over(mark))
    left.kill()
    eventually(lambda: not repeat.left_over(mark))
