"""The ordinary suite is patient, because it must pass on a busy machine; here each of its limits is what it says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.project.tree import ROOT


@pytest.mark.soak
def test_every_limit_of_the_ordinary_suite_holds_where_time_is_measured():
    timed = sorted(str(p) for p in (ROOT / "tests").glob("*/test_*.py") if "allowed_s(" in p.read_text("utf-8"))
    assert len(timed) > 5
    command = [sys.executable, "-m", "pytest", *timed]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "TESTS_TIMED": "1"}, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()[-4_000:]
