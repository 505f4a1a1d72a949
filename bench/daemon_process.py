"""Runs one daemon from the settings given as JSON in argv, without the command line."""

from __future__ import annotations

import sys

import msgspec

from understudy.daemon.assembly import Daemon
from understudy.daemon.settings import DaemonSettings


def main() -> int:
    """Live until SIGTERM."""
    settings = msgspec.json.decode(sys.argv[1], type=DaemonSettings, dec_hook=lambda kind, value: kind(value))
    return Daemon(settings).run()


if __name__ == "__main__":
    sys.exit(main())
