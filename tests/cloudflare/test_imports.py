"""What a hub imports at its start in a Worker: no more than its first request needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HUB = "import understudy.cloudflare.hub_object, understudy.store.durable, sys; print(*sys.modules)"
NEVER = (
    "uvicorn",
    "h11",
    "httptools",
    "sqlite3",
    "psycopg",
    "jinja2",
    "prometheus_client",
    "click",
    "rich",
    "argparse",
)
LATE = (
    *("starlette", "anyio", "email.policy", "importlib.resources"),
    *("understudy.api.routed", "understudy.api.metrics.table", "understudy.api.openapi", "understudy.api.links"),
    *("understudy.hub.takeover_loop", "understudy.notify.slack", "understudy.notify.email", "understudy.dashboard"),
)


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules of a fresh interpreter that has imported the hub of an object."""
    done = subprocess.run([sys.executable, "-c", HUB], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", NEVER)
def test_what_never_runs_there_is_not_imported(imported: set[str], name: str) -> None:
    assert name not in imported


@pytest.mark.parametrize("name", LATE)
def test_what_few_requests_need_is_imported_with_the_first_that_does(imported: set[str], name: str) -> None:
    assert name not in imported


def test_the_hub_itself_is_imported(imported: set[str]) -> None:
    assert {"understudy.api.app", "understudy.hub.batch", "msgspec"} <= imported
