"""The repository as its own tests see it: files, requirements, documents."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "src" / "understudy"


@cache
def files() -> tuple[Path, ...]:
    """Every file that git keeps or would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=30).stdout.decode()
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


@cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    """Every node of a source, the module first: each source is parsed once for all who ask."""
    return tuple(ast.walk(ast.parse(source)))


@cache
def project() -> dict[str, Any]:
    """The table `[project]` of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def name_of(requirement: str) -> str:
    """`uvloop>=0.21; sys_platform != 'win32'` is `uvloop`: the normalised name."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


@cache
def documents() -> dict[str, str]:
    """Text by path, relative to the repository, of every Markdown file."""
    return {str(p.relative_to(ROOT)): p.read_text("utf-8") for p in files() if p.suffix == ".md"}
