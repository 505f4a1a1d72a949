"""The store of a Durable Object passes the conformance exercise inside a real one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cloudflare.place import Place
from tests.cloudflare.workerd import Workerd, understudy
from tests.project.tree import ROOT

pytestmark = pytest.mark.real_worker
TESTS = ROOT / "tests"
EXERCISES = ("conformance", "paging", "searches", "sums")


def test_the_exercises_of_the_store_pass_inside_an_object(place: Place, directory: Path) -> None:
    modules = {
        "worker.py": TESTS / "cloudflare" / "store_worker.py",
        "pytest.py": TESTS / "cloudflare" / "pytest_there.py",
        **{f"tests/store/{name}.py": TESTS / "store" / f"{name}.py" for name in EXERCISES},
        **dict(understudy()),
    }
    worker = Workerd(place, directory, modules)
    worker.start()
    try:
        status, body = worker.ask("POST", "/run")
    finally:
        worker.stop()
    assert status == 200, worker.said()[-3000:]
    found = json.loads(body)
    assert found["failed"] == {}
    assert found["count"] > 100
