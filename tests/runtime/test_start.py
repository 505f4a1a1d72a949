"""What a hub imports at its start: no more than programs ask for; the rest comes with the first request for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HUB = "import understudy.runtime.hub.server, sys; print(*sys.modules)"
LATE = (
    *("starlette", "anyio", "jinja2", "markupsafe", "prometheus_client", "email.policy", "http.cookies"),
    *("understudy.dashboard", "understudy.api.routed", "understudy.api.pages", "understudy.api.openapi"),
    *("understudy.api.links", "understudy.api.metrics.table", "understudy.hub.takeover_loop"),
)
NEVER = (
    "psycopg",
    "apprise",
    "rich",
    "psutil",
    "understudy.cli",
    "understudy.daemon",
    "understudy.simulation",
)


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules of a fresh interpreter that has imported the server."""
    done = subprocess.run([sys.executable, "-c", HUB], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", [*LATE, *NEVER])
def test_a_start_imports_no_more_than_programs_ask_for(imported: set[str], name: str) -> None:
    assert "understudy.api.app" in imported
    assert name not in imported
