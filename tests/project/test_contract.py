"""The contract names every endpoint of the table, and no other."""

from __future__ import annotations

import re

from tests.project.tree import ROOT
from understudy.api.app import ENDPOINTS

_CITED = re.compile(r"`(GET|POST|PUT|DELETE) (/[^\s`]*)`?")
PAGES = {("GET", "/metrics"), ("GET", "/health"), ("GET", "/ready"), ("GET", "/openapi.json"), ("GET", "/docs")}


def cited() -> set[tuple[str, str]]:
    text = (ROOT / "docs" / "contract.md").read_text("utf-8")
    return {(method, path) for method, path in _CITED.findall(text)}


def test_the_contract_names_each_endpoint_and_no_other():
    endpoints = {(e.method, e.path.replace(":path", "")) for e in ENDPOINTS}
    assert cited() == endpoints | PAGES
