"""Installs the real `claude` and `codex` from npm below `var/`; without node or npm all of this is skipped, loudly."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.project.tree import ROOT

HOME = ROOT / "var" / "cli-real"
CLAUDE_FOR_NODE_22, CLAUDE_BEFORE = "2.1.330", "2.1.197"  # on an older node npm cannot run the newer one
CODEX = "0.169.0"
INSTALL_S_MAX = 900


def node_version() -> int:
    """The major version, 0 for none."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return 0
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return int(said.lstrip("v").split(".")[0] or 0)


def wanted(major: int) -> tuple[str, ...]:
    claude = CLAUDE_FOR_NODE_22 if major >= 22 else CLAUDE_BEFORE
    return (f"@anthropic-ai/claude-code@{claude}", f"@openai/codex@{CODEX}")


@pytest.fixture(scope="session")
def programs() -> Path:
    """The directory of both commands."""
    major = node_version()
    if not major:
        pytest.skip("NOT RUN: node and npm are needed for the real claude and codex")
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(wanted(major))
    return HOME / "node_modules" / ".bin"


def _install(packages: tuple[str, ...]) -> None:
    done = HOME / "installed"
    if done.exists() and done.read_text() == " ".join(packages):
        return
    (HOME / "package.json").write_text('{"private": true}')
    npm = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *packages]
    ended = subprocess.run(npm, cwd=HOME, capture_output=True, text=True, check=False, timeout=INSTALL_S_MAX)
    if ended.returncode:
        pytest.skip(f"NOT RUN: npm could not install {' '.join(packages)}: {ended.stderr[-500:]}")
    done.write_text(" ".join(packages))
