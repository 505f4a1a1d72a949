"""100 open pages of a busy hub with 500 daemons and 10,000 tasks: content comes soon, and heartbeats hardly notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.figures import Plan
from bench.pages import measure

pytestmark = pytest.mark.soak
ROUNDS = 20  # of heartbeats without and with pages; single rounds differ by a fifth


def test_a_hundred_open_pages_get_content_soon_and_add_little_to_heartbeats(
    tmp_path: Path, report: Callable[[str], None]
) -> None:
    figures = [*measure(Plan(tmp_path, ROUNDS))]
    for figure in figures:
        report(f"{figure.what}: {figure.median:.1f} {figure.unit} {figure.note}".rstrip())
    assert [figure.what for figure in figures if figure.holds is False] == []
