"""The contract of the API holds inside a Durable Object: the same tests, by HTTP, against a hub inside workerd."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.cloudflare.place import Place
from tests.cloudflare.there import HubThere, asked_of_any_hub
from tests.cloudflare.workerd import Workerd, understudy

pytestmark = pytest.mark.real_worker
MODULES = sorted(path.stem for path in (Path(__file__).parents[1] / "api").glob("test_*.py"))
LEAST = 220  # so many tests asked by HTTP alone when this was written


@pytest.fixture(scope="module")
def worker(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workerd]:
    modules = {"worker.py": Path(__file__).parent / "contract_worker.py", **dict(understudy())}
    made = Workerd(place, tmp_path_factory.mktemp("contract"), modules)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def kept() -> dict[str, HubThere]:
    """The hub that the tests of a module share, as they do where it comes from; until another one takes its place."""
    return {}


@pytest.fixture
def hub(worker: Workerd, kept: dict[str, HubThere]) -> Iterator[HubThere]:
    kept.clear()
    made = HubThere(worker)
    yield made
    made.close()


@pytest.fixture
def shared_hub(worker: Workerd, kept: dict[str, HubThere], request: pytest.FixtureRequest) -> HubThere:
    module = request.function.__module__
    if module not in kept:
        kept.clear()
        kept[module] = HubThere(worker)
    return kept[module]


FOUND = [(name, test) for m in MODULES for name, test in asked_of_any_hub(import_module(f"tests.api.{m}")).items()]
globals().update(dict(FOUND))


def test_most_of_the_contract_is_asked() -> None:
    assert len(dict(FOUND)) == len(FOUND), "two tests have one name"
    assert len(FOUND) >= LEAST
