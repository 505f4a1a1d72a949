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


CITED = re.compile(r"\b(?:docs|bench|tools)/[\w./-]+\.(?:md|py|sh)\b")
ABSENT = re.compile(r"\b(?:DESIGN|CONTRACT|STYLE)\b|\bfacts/\w+")  # papers that a reader has not
PROSE = sorted(
    path.relative_to(ROOT).as_posix()
    for folder, kind in (("src", "*.py"), ("bench", "*.py"), ("tests", "*.py"), ("docs", "*.md"))
    for path in (ROOT / folder).rglob(kind)
    if path.name != "test_documents.py"
)


def absent_in(text: str) -> list[str]:
    """Documents that a text cites and that are not in the repository."""
    gone = [cited for cited in CITED.findall(text) if not (ROOT / cited).exists()]
    return gone + ABSENT.findall(text)


def test_what_is_cited_is_in_the_repository():
    found = {name: absent_in((ROOT / name).read_text("utf-8")) for name in PROSE}
    assert {name: cited for name, cited in found.items() if cited} == {}


@pytest.mark.parametrize("sin", ["as DESIGN 3 says", "(CONTRACT 0)", "STYLE 17", "facts/queues e", "docs/nothing.md"])
def test_a_citation_of_an_absent_document_is_found(sin):
    assert absent_in(f'"""A rule ({sin})."""')
