"""100,000 tasks are copied while the copying process is killed again and again; memory does not grow with the store."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.cli.program import PROGRAM, environ
from tests.store.large import made

pytestmark = pytest.mark.soak
TASKS = 100_000
LARGE_ROWS = 200  # of a MiB each
KILLS = 12
PEAK_MIB_MAX = 250
GROWTH_MAX = 1.5  # of memory, with ten times the tasks


def run(*arguments: str, kill_after_s: float = 0) -> tuple[int, float, str]:
    """(exit code, highest memory seen in MiB, output) of one command, killed after a while if that is asked for."""
    began_s, peak = time.monotonic(), 0.0
    with subprocess.Popen([*PROGRAM, *arguments], env=environ(), stdout=subprocess.PIPE, text=True) as command:
        seen = psutil.Process(command.pid)
        while command.poll() is None:
            with suppress(psutil.Error):
                peak = max(peak, seen.memory_info().rss / (1 << 20))
            if kill_after_s and time.monotonic() - began_s > kill_after_s:
                command.kill()
            time.sleep(0.02)
        assert command.stdout is not None
        return command.returncode, peak, command.stdout.read()


def test_a_large_store_is_copied_through_many_kills(tmp_path: Path, report: Callable[[str], None]) -> None:
    old, new = made(tmp_path / "old.db", TASKS, large_rows=LARGE_ROWS), tmp_path / "new.db"
    rng, killed = random.Random(11), 0
    for _ in range(KILLS):
        code, _, _ = run("store", "copy", str(old), str(new), "--json", kill_after_s=rng.uniform(0.4, 3.0))
        killed += code == -9
    began_s = time.monotonic()
    code, peak, said = run("store", "copy", str(old), str(new), "--json")
    found = json.loads(said)
    assert (code, found["ok"]) == (0, True), said
    assert found["tables"]["task"]["rows"] == found["tables"]["event"]["rows"] == TASKS
    assert killed > KILLS // 2
    assert peak < PEAK_MIB_MAX
    report(f"{found['rows']:,} rows, {killed} kills, last run {time.monotonic() - began_s:.0f} s, {peak:.0f} MiB")


def test_memory_does_not_grow_with_the_store(tmp_path: Path, report: Callable[[str], None]) -> None:
    peaks = {}
    for tasks in (TASKS // 10, TASKS):
        old, new = made(tmp_path / f"{tasks}.db", tasks), tmp_path / f"{tasks}-new.db"
        code, copied, _ = run("store", "copy", str(old), str(new))
        began_s = time.monotonic()
        well, checked, _ = run("store", "check", str(new))
        assert (code, well) == (0, 0)
        peaks[tasks] = copied, checked
        report(f"{tasks:,} tasks: copy {copied:.0f} MiB, check {checked:.0f} MiB in {time.monotonic() - began_s:.1f} s")
    for small, large in zip(*peaks.values(), strict=True):
        assert large < GROWTH_MAX * small


def test_a_copy_to_postgresql_and_back_goes_through_kills(
    tmp_path: Path, postgres_url: str, report: Callable[[str], None]
) -> None:
    old, new = made(tmp_path / "old.db", TASKS // 2, large_rows=20), tmp_path / "new.db"
    rng, killed = random.Random(12), 0
    sums = {}
    for source, target in ((str(old), postgres_url), (postgres_url, str(new))):
        for _ in range(KILLS // 2):
            code, _, _ = run("store", "copy", source, target, "--json", kill_after_s=rng.uniform(0.5, 1.5))
            killed += code == -9
        code, _, said = run("store", "copy", source, target, "--json")
        found = json.loads(said)
        assert (code, found["ok"]) == (0, True), said
        sums[target] = found["tables"]
    there, back = sums.values()
    assert there == back
    assert killed >= KILLS // 2
    report(f"{killed} kills, {sum(found['rows'] for found in back.values()):,} rows each way")
