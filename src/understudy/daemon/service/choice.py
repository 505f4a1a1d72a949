"""The supervisor of this platform."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from understudy.clock import Clock, SystemClock
from understudy.daemon.service.base import Supervisor
from understudy.daemon.service.commands import Run, run
from understudy.daemon.service.launchd import Launchd
from understudy.daemon.service.systemd import Systemd


def supervisor_of(
    role: str,
    environ: Mapping[str, str],
    *,
    platform: str = sys.platform,
    runner: Run = run,
    clock: Clock | None = None,
) -> Supervisor:
    """The supervisor for this user's hub or daemon."""
    home = Path(environ.get("HOME") or Path.home())
    used = clock or SystemClock()
    if platform == "darwin":
        return Launchd(role, home, os.getuid(), runner, used)
    config = environ.get("XDG_CONFIG_HOME", "")
    folder = (Path(config) if config.startswith("/") else home / ".config") / "systemd" / "user"
    return Systemd(role, folder, runner, used)
