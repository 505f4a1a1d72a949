"""What is installed: pinned, explained, and without a word about where it came from."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import understudy
from tests.project.tree import ROOT, files, name_of, project

PIN = re.compile(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.+!]*)(; \w+ [!=<>]+ '[^']+')?")
CONSTRAINTS = [
    line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and not line.startswith("#")
]
REQUIREMENTS = [*project()["dependencies"], *project()["optional-dependencies"]["dev"]]


@pytest.mark.parametrize("line", CONSTRAINTS)
def test_a_constraint_is_a_name_and_a_version_and_nothing_else(line):
    assert PIN.fullmatch(line)


def test_every_requirement_is_pinned_once():
    pinned = [name_of(line) for line in CONSTRAINTS]
    assert len(pinned) == len(set(pinned))
    assert {name_of(requirement) for requirement in REQUIREMENTS} <= set(pinned)


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_a_dependency_has_its_reason(requirement):
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/dependencies.md").read_text("utf-8"), re.MULTILINE)
    assert name_of(requirement) in {name for row in rows for name in row.split(", ")}


def test_the_version_is_written_in_one_place():
    assert project()["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", understudy.__version__)


def machine_paths() -> list[str]:
    """Where this copy lies, and the folder of the person who runs the tests: in no file."""
    pwd = pytest.importorskip("pwd")
    home = pwd.getpwuid(os.getuid()).pw_dir
    return [str(ROOT), *([f"{home}/"] if len(home) > 1 and Path(home).is_dir() else [])]


def test_no_file_names_a_place_on_this_machine():
    needles = [path.encode() for path in machine_paths()]
    named = [str(file) for file in files() for needle in needles if needle in file.read_bytes()]
    assert named == []


def test_no_file_names_a_package_registry():
    needle = re.compile(rb"--(?:extra-)?index-url|find-links|file://|pypi\.org/simple")
    named = [str(f.relative_to(ROOT)) for f in files() if needle.search(f.read_bytes())]
    assert [name for name in named if not name.startswith("tests/project/")] == []
