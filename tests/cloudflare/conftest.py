"""The real workerd, fetched once; loudly absent where npm or PyPI do not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cloudflare.place import INSTALL_S_MAX, INSTALL_S_SHORT, WITHOUT_ONE, NotHereError, Place, make_place


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, help="how often workerd is killed")


@pytest.fixture(scope="session")
def place(pytestconfig: pytest.Config) -> Place:
    """Where workerd, Pyodide and the wheels are."""
    is_short = not pytestconfig.getoption("markexpr").startswith("real_worker")
    try:
        made = make_place(within_s=INSTALL_S_SHORT if is_short else INSTALL_S_MAX)
        assert made.program.exists()
    except NotHereError as why:
        pytest.skip(f"{WITHOUT_ONE}: {why}")
    return made


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a space and no ASCII in its name, as homes have."""
    made = tmp_path / "Wörker dir"
    made.mkdir()
    return made
