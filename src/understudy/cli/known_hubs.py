"""The hubs that this owner has used before: the first use of another is reported, and on a terminal confirmed."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from understudy.cli.exits import RefusedError
from understudy.cli.saved import keep
from understudy.cli.terminal import note, safe
from understudy.errors import ConfigError
from understudy.texts import t

FILE = "known-hubs"
HUBS_MAX = 100


def agree(url: str, origin: str, data_dir: Path, *, is_agreed: bool = False) -> None:
    """Once per hub: say that it is new, ask if a person is there, and remember. RefusedError if they say no."""
    known = _known(data_dir)
    if url in known:
        return
    note(t("cli.known_hubs.new", url=safe(url), origin=safe(origin)))
    if not is_agreed and _is_somebody_there() and not click.confirm(t("cli.known_hubs.ask"), err=True):
        raise RefusedError(t("cli.known_hubs.refused", url=url))
    with contextlib.suppress(ConfigError):  # a disk that cannot be written: asked again next time
        keep(data_dir / FILE, "".join(f"{one}\n" for one in (*known, url)[-HUBS_MAX:]))


def _known(data_dir: Path) -> tuple[str, ...]:
    try:
        return tuple((data_dir / FILE).read_text("utf-8", errors="replace").split())
    except OSError:
        return ()


def _is_somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
