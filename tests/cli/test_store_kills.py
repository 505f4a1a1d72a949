"""`understudy store copy` as a real process, killed with SIGKILL in the middle and run again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cli.program import environ, understudy
from tests.store.large import made
from understudy.store import walk

# The program, but each page is announced, and after the last one that is named it waits to be killed.
WAITING = """
import sys
from understudy.cli import store_copy
from understudy.cli.start import run
from understudy.cli.progress import ProgressLine
class Announced(ProgressLine):
    pages = 0
    def ahead(self, table, rows):
        Announced.pages += 1
        if Announced.pages == int(sys.argv[1]):
            print("here", flush=True)
            sys.stdin.read()
store_copy._progress = Announced
run(sys.argv[2:])
"""


def test_a_copy_that_is_killed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    old, new = made(tmp_path / "old.db", walk.ROWS_A_PAGE + 100), tmp_path / "new.db"
    command = ("store", "copy", str(old), str(new))
    for pages in (3, 2):  # the second run is killed too
        with subprocess.Popen(
            [sys.executable, "-c", WAITING, str(pages), *command],
            env=environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as run:
            assert run.stdout is not None
            assert run.stdout.readline() == b"here\n"
            run.kill()
    done = understudy(*command, env=environ())
    assert (done.code, "An earlier run was interrupted" in done.err) == (0, True), done.err
    assert "every invariant holds" in done.out
