"""Chromium for the browser tests: finds it, and run as a program installs Debian's where that is possible.

`python tests/browser/chromium.py` is a step of `make check`. It is quiet when a Chromium is there, installs the
packages `chromium` and `fonts-noto-cjk` where it runs as root beside apt-get, and otherwise says what to do.
`UNDERSTUDY_BROWSER_TESTS` decides what follows without one: `required` (also where `CI` is set) fails, `off` installs
nothing and skips, anything else skips with a paragraph that nobody overlooks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ON_MACOS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
PACKAGES = ("chromium", "fonts-noto-cjk")
APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30")
INSTALL = (*APT, "install", "--yes", "--no-install-recommends", *PACKAGES)
INSTALL_S_MAX = 600
WITHOUT_ONE = (
    "NO BROWSER TEST RUNS: there is no Chromium on this machine{why}. Nobody sees whether the pages of the hub work. "
    "Install it (Debian, Ubuntu: `sudo apt install chromium fonts-noto-cjk`; macOS: `brew install --cask chromium`) "
    "and run the tests again. UNDERSTUDY_BROWSER_TESTS=off leaves them out without this paragraph."
)


def find() -> str:
    """The path of a Chromium; empty where there is none."""
    found = (shutil.which(name) for name in NAMES)
    on_macos = (path for path in ON_MACOS if Path(path).exists())
    return next(filter(None, found), "") or next(on_macos, "")


def is_required() -> bool:
    """True where a browser test that does not run is a failure."""
    wanted = os.environ.get("UNDERSTUDY_BROWSER_TESTS", "")
    return wanted == "required" or (wanted != "off" and bool(os.environ.get("CI")))


def is_off() -> bool:
    """True where nobody wants browser tests."""
    return os.environ.get("UNDERSTUDY_BROWSER_TESTS") == "off"


def install() -> str:
    """Install it → why that was not possible; empty where it was."""
    if shutil.which("apt-get") is None:
        return ""
    if os.geteuid() != 0:
        return " (it is installed by `make test` only for root)"
    print("installing chromium and fonts-noto-cjk …", flush=True)
    return _installed_by_apt()


def _installed_by_apt() -> str:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    lines = ["nothing was said"]
    for command in (INSTALL, (*APT, "update"), INSTALL):  # the lists of packages may be missing or old
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=INSTALL_S_MAX, check=False)
        except subprocess.TimeoutExpired:
            return f" (apt-get took longer than {INSTALL_S_MAX} s)"
        if done.returncode == 0 and command is INSTALL:
            return ""
        lines = (done.stderr or done.stdout).splitlines() or lines
    return f" (apt-get install: {lines[-1]})"


def main() -> int:
    """Install what is missing → 1 where it is missing still, and required."""
    if find() or is_off():
        return 0
    why = install()
    if found := find():
        done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        print(done.stdout.strip() or done.stderr.strip())
        return 0
    print(WITHOUT_ONE.format(why=why))
    return int(is_required())


if __name__ == "__main__":
    sys.exit(main())
