"""The ordinary suite passes beside any load: what only ends a test that fails is long, and a page is asked again.

A limit of a few seconds is a test that fails on a busy machine. A line that means a short one (it polls, or the end of
the wait is what is tested) says so: `# short: why`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.tree import ROOT

LONG_S = 30
NUMBER = r"([0-9][0-9_.]*)\s*[,)]"
LIMIT = re.compile(rf"\.(?:result|join|wait|settimeout|communicate)\({NUMBER}|\b(?:timeout|timeout_s)={NUMBER}")
MOMENTS = "count|inner_text|all_inner_texts|text_content|get_attribute|is_visible|is_hidden"
MOMENTARY = re.compile(rf"\bassert\b.*\.(?:{MOMENTS})\(")
NOT_HERE = {"soak", "cli_real"}  # they measure time, each with its own limits


def sources() -> Iterator[tuple[Path, list[str]]]:
    """Files of the ordinary suite with their lines."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if not NOT_HERE & set(path.parts) and path != Path(__file__):
            yield path.relative_to(ROOT), path.read_text("utf-8").splitlines()


def is_too_short(line: str) -> bool:
    limits = [float(first or second) for first, second in LIMIT.findall(line)]
    return any(0 < limit < LONG_S for limit in limits) and "# short: " not in line


def test_no_wait_of_the_ordinary_suite_gives_up_soon() -> None:
    assert [f"{path}: {line.strip()}" for path, lines in sources() for line in lines if is_too_short(line)] == []


@pytest.mark.parametrize("line", ["thread.join(5)", "f(x, timeout=0.5)", "one.result(10)", "listener.settimeout(5)"])
def test_a_short_wait_is_seen_unless_it_says_why(line: str) -> None:
    assert is_too_short(line)
    assert not is_too_short(f"{line}  # short: it polls")


def test_no_test_of_pages_judges_them_at_one_moment() -> None:
    """`expect` asks again until it holds; what a script or a push changes may not be there yet."""
    pages = [(path, line) for path, lines in sources() if path.parent.name == "browser" for line in lines]
    assert pages
    assert [f"{path}: {line.strip()}" for path, line in pages if MOMENTARY.search(line)] == []


def test_a_page_that_is_judged_at_one_moment_is_seen() -> None:
    assert MOMENTARY.search('    assert page.locator("p").count() == 3')
