"""Several hubs on one store, in one process: each hears at once of what the others did."""

from __future__ import annotations

from pathlib import Path

from tests.hub_process import running_hub


def test_the_hub_that_serves_and_the_one_that_ended_are_listed(tmp_path: Path) -> None:
    with running_hub(tmp_path, hub_name="hub-a") as hub:
        (running,) = hub.get("/api/overview")["hubs"]
        assert running["name"] == "hub-a"
        hub.stop()
        hub.start()
        second, first = hub.get("/api/deployments")["deployments"]
        assert (second["hub"], second["running"], "endedAt" in second) == ("hub-a", True, False)
        assert (first["running"], "endedAt" in first) == (False, True)
