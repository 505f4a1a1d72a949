"""Every test starts as a stranger: no setting, key or home of whoever runs it; and leaves no process."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing

import hypothesis
import psutil
import pytest

from tests import forgetful, postgres, prepared
from tests.browser import chromium
from tests.cloudflare import place
from tests.new_stores import copying
from tests.seeds import SEED, header
from tests.waiting import eventually
from understudy.store import sqlite

postgres_server, postgres_url = postgres.postgres_server, postgres.postgres_url  # fixtures for all tests
OURS = ("PG", "UNDERSTUDY_", "WORKERS_", "ASSISTANT_API", "QUEUE_API", "ADMIN_API", "ANTHROPIC_")
OLD_NAMES = ("CODEX_CLI", "WORK_DIR", "EXECUTION_TIMEOUT", "POLL_INTERVAL", "WORKER_ID", "LOG_DIR")

# Byte code is kept, whatever the environment says: without it each of the programs that the tests start compiles the
# whole of understudy anew (half a second of a core), and pytest rewrites each test file at each run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A suite that was started with signals ignored (`nohup make test &`, many CI runners) would hand that down to every
# program it starts; a handler that does nothing ignores them here and is the default again in a new program.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

forgetful.forget()

# `make test` tries the same examples every time, unless it is given a seed; `make soak` looks for new ones.
hypothesis.settings.register_profile("test", derandomize=SEED == 0, deadline=None, database=None, max_examples=50)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("test")
if SEED:
    hypothesis.core.global_force_seed = SEED  # what `--hypothesis-seed` sets


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", choices=("both", "postgres"), default="both", help="tests/stores.py")


# Nothing that is imported or collected is garbage before the end: looking through it again and again while it grows,
# and then after each few tests, costs a tenth of the suite.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on garbage is collected, of what the tests make alone."""
    gc.freeze()
    gc.enable()


def pytest_report_header() -> str:
    """The seed, at the head of every run."""
    return header()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The seed once more beside the failures, because `-q` prints no head; tests for which something is missing."""
    terminalreporter.write_line(header())
    skipped = terminalreporter.stats.get("skipped", [])
    of_browser = [report for report in skipped if "tests/browser/" in report.nodeid]
    of_postgres = [report for report in skipped if postgres.NOT_HERE in str(report.longrepr)]
    of_worker = [report for report in skipped if place.WITHOUT_ONE in str(report.longrepr)]
    if of_browser and not chromium.is_off():
        terminalreporter.section(f"{len(of_browser)} BROWSER TESTS DID NOT RUN", red=True, bold=True)
        terminalreporter.write_line(chromium.WITHOUT_ONE.format(why=""), red=True)
    if of_postgres:
        terminalreporter.section(f"{len(of_postgres)} TESTS ON POSTGRESQL DID NOT RUN", red=True, bold=True)
        terminalreporter.write_line(postgres.WITHOUT_ONE, red=True)
    if of_worker:
        terminalreporter.section(f"{len(of_worker)} TESTS INSIDE WORKERD DID NOT RUN", red=True, bold=True)
        terminalreporter.write_line(str(of_worker[0].longrepr[-1]), red=True)


@pytest.fixture(scope="session", autouse=True)
def a_stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty home, the English language and none of our environment variables, children included."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(OURS) or name in OLD_NAMES:
                patch.delenv(name)
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(home))
        for name, folder in (
            ("XDG_DATA_HOME", "data"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_STATE_HOME", "state"),
        ):
            patch.setenv(name, str(home / folder))
        for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
            patch.setenv(name, "C.UTF-8")
        for name in ("UNDERSTUDY_CLAUDE_CLI", "UNDERSTUDY_CODEX_CLI"):  # nobody's own assistant works for a test
            patch.setenv(name, "not-installed")
        yield


@pytest.fixture(scope="session", autouse=True)
def stores_begin_as_copies() -> Iterator[None]:
    """Each new store of this process; those of prepared programs are copies too."""
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as ready, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "migrate", copying(ready))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_process_left() -> Iterator[None]:
    """What a test starts, it ends: at the end of the session no child is left."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    prepared.close()
    eventually(
        lambda: not [p for p in psutil.Process().children(recursive=True) if p.pid not in before],
        within_s=10.0,
        what="the end of every process that a test started",
    )
