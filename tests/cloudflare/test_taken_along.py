"""What the configuration leaves out of an upload is asked for by nothing that goes along."""

from __future__ import annotations

import ast
import importlib
import re
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from tests.cloudflare.place import WHEELS
from tests.cloudflare.workerd import understudy, worker_configuration
from tests.project.test_texts import Uses, texts
from tests.project.tree import ROOT

SOURCES = ROOT / "src" / "understudy"


@cache
def taken() -> dict[str, Path]:
    return dict(understudy())


def test_every_text_that_is_asked_for_goes_along() -> None:
    found = Uses()
    for name, path in taken().items():
        if name.endswith(".py") and "/texts/" not in name:
            found.read_module(path.read_text("utf-8"))
        elif name.endswith(".html"):
            found.read_template(path.read_text("utf-8"))
    patterns = [re.compile(pattern) for pattern in found.patterns if re.match(r"[a-z_]+\\\.", pattern)]
    stays = texts("en").keys() - _texts_taken("en")
    assert len(stays) > 100
    asked = {key for key in stays if key in found.strings or any(p.fullmatch(key) for p in patterns)}
    assert asked == set()
    assert {f"understudy/texts/ja/{path.name}" for path in _text_files("en")} <= taken().keys()


def _texts_taken(language: str) -> set[str]:
    names = [f"understudy.texts.{language}.{path.stem}" for path in _text_files(language)]
    return {key for name in names for key in getattr(importlib.import_module(name), "TEXTS", ())}


def _text_files(language: str) -> list[Path]:
    return [path for name, path in taken().items() if name.startswith(f"understudy/texts/{language}/")]


def test_every_module_that_is_imported_goes_along() -> None:
    missing = {
        (name, wanted)
        for name, path in taken().items()
        if name.endswith(".py")
        for wanted in _imported(path)
        if _is_ours(wanted) and f"{wanted.replace('.', '/')}.py" not in taken()
        if f"{wanted.replace('.', '/')}/__init__.py" not in taken()
    }
    assert missing == set()


def _is_ours(module: str) -> bool:
    return module.startswith("understudy.")


def _imported(path: Path) -> set[str]:
    return {
        node.module
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
    }


def test_time_zones_go_along_without_the_tables_that_nothing_reads() -> None:
    assert "tzdata" in {line.partition("==")[0] for line in WHEELS}
    left_out = worker_configuration()["python_modules"]["exclude"]
    names = ("Asia/Tokyo", "America/Indiana/Knox", "UTC", "__init__.py", "zone.tab", "tzdata.zi")
    assert [name for name in names if not any(fnmatch(f"tzdata/zoneinfo/{name}", pattern) for pattern in left_out)] == [
        *names[:4]
    ]


def test_pages_go_along_whole() -> None:
    for folder in ("static", "templates"):
        kept = {path for path in (SOURCES / "dashboard" / folder).rglob("*") if path.is_file()}
        licences = {path for path in kept if path.suffix in ("", ".LICENSE")}  # wrangler takes every file
        assert kept - licences <= set(taken().values())
