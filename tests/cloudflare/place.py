"""A real workerd with Python, from npm and PyPI alone, kept outside the repository for the next time.

`make_place` needs npm once (no Node when workerd runs) and takes half a minute; versions that fit together are named
here. What is made is 175 MB in the user's cache. `NotHereError` says why there is none.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.cloudflare.pyodide_message import write_message
from tests.project.tree import ROOT

WORKERD, PYODIDE = "1.20261117.1", "314.0.6"  # each workerd knows one version of Pyodide
PACKAGES = (f"workerd@{WORKERD}", f"pyodide@{PYODIDE}")
TEMPLATE = ROOT / "src" / "understudy" / "cloudflare" / "template"
WHEELS = tuple((TEMPLATE / "requirements.txt").read_text("utf-8").split())
FOR_PYODIDE = (
    *("--only-binary", ":all:", "--no-deps", "--platform", "pyemscripten_2026_0_wasm32"),
    *("--platform", "manylinux2014_x86_64"),  # markupsafe has a wheel for no other place, and Python of its own in it
    *("--python-version", "3.14", "--implementation", "cp", "--abi", "cp314"),
)
SNAPSHOT = "snapshot.bin"  # the name that workerd gives it
INSTALL_S_MAX, INSTALL_S_SHORT = 600, 90  # the ordinary suite waits no longer
PATIENCE = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000")  # of npm, where nobody answers
WITHOUT_ONE = "no workerd, so nobody sees whether a hub works as a Cloudflare Worker"
# taken now: the tests give every process an empty home
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy-tests"


class NotHereError(Exception):
    """There is no workerd, for this reason."""


class Place:
    """Where it all is; other wheels (of another branch) have another directory, beside the same workerd."""

    def __init__(self, root: Path) -> None:
        self.root = root
        digest = hashlib.sha256(" ".join((*WHEELS, *FOR_PYODIDE)).encode()).hexdigest()[:12]
        self.python_modules = root / f"python_modules-{digest}"

    @property
    def snapshot(self) -> Path:
        """Pyodide's memory after its own start; the first workerd that starts writes it (workerd.py)."""
        return self.root / SNAPSHOT

    @property
    def program(self) -> Path:
        """The binary itself: the `workerd` of the package is a script that needs Node."""
        found = sorted(self.root.glob("node_modules/@cloudflare/workerd-*/bin/workerd"))
        if not found:
            raise NotHereError("npm has no workerd for this machine")
        return found[0]


def make_place(cache: Path = _CACHE, within_s: float = INSTALL_S_MAX) -> Place:
    """The place, made at its first use; several sessions of tests may ask at the same time. NotHereError.

    `within_s`: of each program that fetches.
    """
    root = cache / f"workerd-{WORKERD}-{PYODIDE}"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotHereError(f"{root} cannot be made: {error}") from None
    place = Place(root)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _once(root / "made", " ".join(PACKAGES), lambda: _make_workerd(place, within_s))
        _once(place.python_modules / "made", "all", lambda: _make_wheels(place, within_s))
    return place


def _once(made: Path, recipe: str, make: Callable[[], None]) -> None:
    if not made.exists() or made.read_text() != recipe:
        make()
        made.write_text(recipe)


def _make_workerd(place: Place, within_s: float) -> None:
    if shutil.which("npm") is None:
        raise NotHereError("npm is needed to fetch workerd")
    (place.root / "package.json").write_text('{"private": true}')
    npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *PATIENCE, *PACKAGES]
    _run(npm, place.root, within_s)
    write_message(place.root / "node_modules" / "pyodide", place.root)


def _make_wheels(place: Place, within_s: float) -> None:
    shutil.rmtree(place.python_modules, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--target", str(place.python_modules), *FOR_PYODIDE, *WHEELS], place.root, within_s)


def _run(command: list[str], directory: Path, within_s: float) -> None:
    what = f"{command[0]} install"
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired:
        raise NotHereError(f"{what} took longer than {within_s:.0f} s") from None
    if done.returncode:
        raise NotHereError(f"{what} failed: {(done.stderr or done.stdout)[-500:]}")
