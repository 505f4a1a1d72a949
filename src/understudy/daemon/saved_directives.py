"""Directives as daemons have saved them, for the next life and for their neighbours, which spare what they install."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from understudy.daemon.home import DAEMONS, DIRECTIVES
from understudy.wire.foreign_json import parsed
from understudy.worker.directives import STARTED, SavedDirectives


def saved_in(path: Path) -> SavedDirectives:
    """All that this file has; nothing if it cannot be read."""
    try:
        saved: SavedDirectives = parsed(path.read_bytes(), SavedDirectives)
    except (OSError, msgspec.MsgspecError, ValueError):
        return SavedDirectives()
    return saved


def updates_begun(data_dir: Path) -> set[str]:
    """The ids of updates that the daemons of a data directory have begun and not ended.

    A daemon that is becoming its new version holds no lock for a moment, so all of them count, living or not.
    """
    with contextlib.suppress(OSError):
        saved = [saved_in(home / DIRECTIVES) for home in (data_dir / DAEMONS).iterdir()]
        return {one.id for all_ in saved for one in all_.outcomes if one.kind == "update" and one.state == STARTED}
    return set()
