"""A real workerd with Python, from npm and PyPI alone, kept outside the repository for the next time.

`make_place` needs npm once (no Node when workerd runs) and takes half a minute; versions that fit together are named
here. What is made is 175 MB in the user's cache. `NotHereError` says why there is none.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cloudflare.pyodide_message import write_message
from tests.project.tree import ROOT

WORKERD, PYODIDE = "1.20261117.1", "314.0.6"  # each workerd knows one version of Pyodide
PACKAGES = (f"workerd@{WORKERD}", f"pyodide@{PYODIDE}")
TEMPLATE = ROOT / "src" / "understudy" / "cloudflare" / "template"
WHEELS = tuple((TEMPLATE / "requirements.txt").read_text("utf-8").split()[1:])  # all but understudy itself
FOR_PYODIDE = (
    *("--only-binary", ":all:", "--no-deps", "--platform", "pyemscripten_2026_0_wasm32"),
    *("--platform", "manylinux2014_x86_64"),  # markupsafe has a wheel for no other place, and Python of its own in it
    *("--python-version", "3.14", "--implementation", "cp", "--abi", "cp314"),
)
INSTALL_S_MAX = 600
# taken now: the tests give every process an empty home
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy-tests"


class NotHereError(Exception):
    """There is no workerd, for this reason."""


class Place:
    """Where it all is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.python_modules = root / "python_modules"

    @property
    def program(self) -> Path:
        """The binary itself: the `workerd` of the package is a script that needs Node."""
        found = sorted(self.root.glob("node_modules/@cloudflare/workerd-*/bin/workerd"))
        if not found:
            raise NotHereError("npm has no workerd for this machine")
        return found[0]


def make_place(cache: Path = _CACHE) -> Place:
    """The place, made at its first use; several sessions of tests may ask at the same time. NotHereError."""
    root = cache / f"workerd-{WORKERD}-{PYODIDE}"
    root.mkdir(parents=True, exist_ok=True)
    place, made = Place(root), root / "made"
    recipe = " ".join((*PACKAGES, *WHEELS))
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists() or made.read_text() != recipe:
            _make(place)
            made.write_text(recipe)
    return place


def _make(place: Place) -> None:
    if shutil.which("npm") is None:
        raise NotHereError("npm is needed to fetch workerd")
    (place.root / "package.json").write_text('{"private": true}')
    shutil.rmtree(place.python_modules, ignore_errors=True)
    npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *PACKAGES]
    _run(npm, place.root)
    write_message(place.root / "node_modules" / "pyodide", place.root)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--target", str(place.python_modules), *FOR_PYODIDE, *WHEELS], place.root)


def _run(command: list[str], directory: Path) -> None:
    what = f"{command[0]} install"
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=INSTALL_S_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotHereError(f"{what} took longer than {INSTALL_S_MAX} s") from None
    if done.returncode:
        raise NotHereError(f"{what} failed: {(done.stderr or done.stdout)[-500:]}")
