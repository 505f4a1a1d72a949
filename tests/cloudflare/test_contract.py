"""The contract of the API holds inside a Durable Object: the same tests, by HTTP, against a hub inside workerd."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.cloudflare.place import Place
from tests.cloudflare.there import SETTINGS, HubThere, asked_of_any_hub
from tests.cloudflare.workerd import Workerd, understudy

pytestmark = pytest.mark.real_worker
MODULES = sorted(path.stem for path in (Path(__file__).parents[1] / "api").glob("test_*.py"))
LEAST = 220  # so many tests asked by HTTP alone when this was written


@pytest.fixture(scope="module")
def worker(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workerd]:
    modules = {"worker.py": Path(__file__).parent / "contract_worker.py", **dict(understudy())}
    made = Workerd(place, tmp_path_factory.mktemp("contract"), modules, SETTINGS)
    made.start()
    yield made
    made.stop()


class Kept:
    """The hub that the tests of a module share, as they do where they come from, until another one takes its place."""

    def __init__(self, worker: Workerd) -> None:
        self._worker = worker
        self._module = ""
        self._hub: HubThere | None = None

    def of(self, module: str) -> HubThere:
        if self._hub is None or module != self._module:
            self.end()
            self._hub, self._module = HubThere(self._worker), module
        return self._hub

    def end(self) -> None:
        if self._hub is not None:
            self._hub.close()
            self._hub = None


@pytest.fixture(scope="module")
def kept(worker: Workerd) -> Iterator[Kept]:
    made = Kept(worker)
    yield made
    made.end()


@pytest.fixture
def hub(worker: Workerd, kept: Kept) -> Iterator[HubThere]:
    kept.end()
    made = HubThere(worker)
    yield made
    made.close()


@pytest.fixture
def shared_hub(kept: Kept, request: pytest.FixtureRequest) -> HubThere:
    return kept.of(request.function.__module__)


FOUND = [(name, test) for m in MODULES for name, test in asked_of_any_hub(import_module(f"tests.api.{m}")).items()]
globals().update(dict(FOUND))


def test_most_of_the_contract_is_asked() -> None:
    assert len(dict(FOUND)) == len(FOUND), "two tests have one name"
    assert len(FOUND) >= LEAST
