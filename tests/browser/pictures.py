"""`make screenshots`: the pictures of the READMEs, from a hub with a day behind it, in both languages and themes.

`--all FOLDER` makes pictures of every page instead, on a phone and on a desktop, to look at.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests import prepared
from tests.browser import chromium
from tests.browser.conftest import FLAGS
from tests.browser.visits import hub_with_a_day, log_in
from tests.browser.walk import pages_of
from tests.browser.watched import DESKTOP, PHONE, Look, WatchedPage
from tests.conftest import OURS
from tests.hub_process import HubProcess

ROOT = Path(__file__).resolve().parent.parent.parent
BYTES_MAX = 200_000
LANGS, THEMES = ("en", "ja"), ("light", "dark")
NOBODY = {"UNDERSTUDY_CLAUDE_CLI": "not-installed", "UNDERSTUDY_CODEX_CLI": "not-installed", "UNDERSTUDY_LANG": "en"}


class Picture(NamedTuple):
    """A picture of the READMEs: its name, and the page that it shows."""

    name: str
    path: str
    width: int = 1180
    height: int = 840


PICTURES = (Picture("home", "/"), Picture("takeover", "/tasks/task-1044"))


@contextmanager
def as_a_stranger(home: Path) -> Iterator[None]:
    """No setting of whoever makes the pictures is in them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(OURS)]:
            patch.delenv(name)
        for name, value in {**NOBODY, "HOME": str(home)}.items():
            patch.setenv(name, value)
        yield


@contextmanager
def chromium_running() -> Iterator[Browser]:
    """The browser. SystemExit if there is none."""
    found = chromium.find()
    if not found:
        raise SystemExit(chromium.WITHOUT_ONE.format(why=""))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


def shoot(page: Page, file: Path, *, is_whole: bool = False) -> None:
    """A picture of what is in sight, or of the whole page; without a caret, and with what moves at its end."""
    page.screenshot(path=file, full_page=is_whole, animations="disabled", caret="hide")
    print(f"{file}  {file.stat().st_size / 1000:.0f} kB")  # noqa: T201


def for_readmes(browser: Browser, hub: HubProcess, lang: str, folder: Path) -> None:
    """Each picture in this language."""
    for theme in THEMES:
        for picture in PICTURES:
            watched = WatchedPage(browser, hub.url, Look(lang, theme, picture.width, picture.height))
            log_in(watched, hub)
            page = watched.goto(picture.path)
            file = folder / f"{picture.name}-{lang}-{theme}.png"
            shoot(page, file)
            watched.context.close()
            assert file.stat().st_size <= BYTES_MAX, f"{file} is larger than {BYTES_MAX} bytes"


def of_every_page(browser: Browser, hub: HubProcess, lang: str, folder: Path) -> None:
    """Whole pages on a phone and on a desktop, and what is wrong with them."""
    for theme in THEMES:
        for size in (PHONE, DESKTOP):
            look = size._replace(lang=lang, theme=theme)
            watched = WatchedPage(browser, hub.url, look)
            watched.expects("404")
            shoot(watched.goto("/login"), folder / f"login-{look}.png", is_whole=True)
            log_in(watched, hub)
            for name, page in pages_of(watched):
                shoot(page, folder / f"{name}-{look}.png", is_whole=True)
            shoot(watched.goto("/nothing-here"), folder / f"missing-{look}.png", is_whole=True)
            for fault in watched.finish():
                print(f"{look}: {fault}")  # noqa: T201


def main() -> None:
    """Read the options, and make them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    parser.add_argument("--langs", nargs="*", default=LANGS, choices=LANGS)
    wanted = parser.parse_args()
    folder = wanted.all or ROOT / "docs/pictures"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, as_a_stranger(Path(scratch)), chromium_running() as browser:
        for lang in wanted.langs:
            with hub_with_a_day(Path(scratch) / lang, lang, hours=24) as hub:
                (of_every_page if wanted.all else for_readmes)(browser, hub, lang, folder)
    prepared.close()


if __name__ == "__main__":
    sys.exit(main())
