"""The documents: nothing named in them is missing, and what they show was run."""

from __future__ import annotations

import re

import pytest

from tests.project.tree import ROOT, SOURCES, documents

ROOMS = sorted({p.name for p in SOURCES.iterdir() if p.is_dir() and (p / "__init__.py").exists()})
DECISIONS = sorted((ROOT / "docs/adr").glob("*.md"))


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "README.ja.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "LICENSE",
    ],
)
def test_the_root_has_what_a_visitor_looks_for(name):
    assert (ROOT / name).stat().st_size > 200


@pytest.mark.parametrize("name", documents())
def test_links_lead_somewhere(name):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", documents()[name])
    here = (ROOT / name).parent
    assert [t for t in targets if "://" not in t and not (here / t).exists()] == []


@pytest.mark.parametrize("name", documents())
def test_make_targets_in_documents_exist(name):
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", documents()[name])) - targets == set()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_its_line(room):
    assert re.search(rf"^\| .*`[^`]*\b{room}/", documents()["ARCHITECTURE.md"], re.MULTILINE) or room == "texts"


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_tells_its_price_and_its_alarm(decision):
    text = decision.read_text("utf-8")
    parts = re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)
    assert parts == ["Context", "Decision", "What we gave up", "How we would notice that it was wrong"]
    assert text.startswith(f"# {int(decision.stem[:4])}. ")


def test_decisions_are_numbered_without_gaps():
    assert [int(path.stem[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
