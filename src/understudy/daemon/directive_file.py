"""The directives on a daemon's disk: which were done, whether it is drained, how updates ended."""

from __future__ import annotations

import contextlib

import msgspec

from understudy.daemon.home import Home
from understudy.daemon.installation import Installation
from understudy.daemon.saved_directives import saved_in
from understudy.private import write_durably
from understudy.wire.foreign_json import parsed
from understudy.worker.directives import SavedDirectives
from understudy.worker.effects import Failed, LoadedDirectives


class DirectiveFile:
    """Read at the start of a life and when it has arrived at the hub; written with each change."""

    def __init__(self, home: Home, boot_id: str) -> None:
        self._home = home
        self._boot_id = boot_id
        self.installation = Installation(home.data_dir)

    def load(self, *, has_arrived: bool) -> LoadedDirectives:
        """Load the directives of earlier lives, and note this start for the process that watches an update."""
        with contextlib.suppress(OSError):  # for the other daemons of this directory, which tidy up as well
            write_durably(self._home.environment, self.installation.running().encode())
        if has_arrived:
            with contextlib.suppress(OSError):
                write_durably(self._home.arrived, self._boot_id.encode())
            with contextlib.suppress(OSError):  # it is tried again in the next life
                self.installation.prune(self.installation.running(), self._verdicts())
        return LoadedDirectives(saved_in(self._home.directives), self._verdicts(), self.installation.running())

    def save(self, saved: SavedDirectives) -> Failed | None:
        """On disk when this returns."""
        try:
            write_durably(self._home.directives, msgspec.json.encode(saved))
        except OSError as error:
            return Failed(str(error))
        return None

    def _verdicts(self) -> dict[str, str]:
        try:
            verdicts: dict[str, str] = parsed(self._home.verdict.read_bytes(), dict[str, str])
        except (OSError, msgspec.MsgspecError, ValueError):
            return {}
        return verdicts
