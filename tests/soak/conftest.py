"""Every soak test says what it measured; the figures stand together at the end of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_FIGURES: list[str] = []


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Keep one sentence for the summary."""
    return lambda sentence: _FIGURES.append(f"{request.node.name}: {sentence}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was kept."""
    if _FIGURES:
        terminalreporter.section("what the soak measured")
        for line in _FIGURES:
            terminalreporter.write_line(line)
