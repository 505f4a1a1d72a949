"""A hub whose store is another version's already when it starts: it ends by itself, as one does that runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
from tests.api.hubs import SharedSqlite
from understudy.config.policy import HubInputs
from understudy.config.table import Settings
from understudy.coordinator.nouns import Policy
from understudy.runtime.hub import server

class Misfit(SharedSqlite):
    def misfit(self) -> str:
        return "The store has schema 99"

server.open_store = lambda *_, **__: Misfit()
settings = Settings(port=0, hub_drain_ms=int(sys.argv[2]))
sys.exit(server.serve(HubInputs(policy=Policy(), settings=settings, data_dir=Path(sys.argv[1]))))
"""


@pytest.mark.parametrize("drain_ms", ["0", "50"])
def test_a_hub_that_finds_at_its_start_that_its_store_is_another_versions_ends(tmp_path: Path, drain_ms: str) -> None:
    """Another hub has migrated the store since this one opened it; nobody tells it a second time."""
    begun = [sys.executable, "-c", PROGRAM, str(tmp_path), drain_ms]
    done = subprocess.run(begun, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("This hub ends: The store has schema 99") == 1
    assert "Stopped" in done.stderr
