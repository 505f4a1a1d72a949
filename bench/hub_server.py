"""Runs one hub from the settings given as JSON in argv: the bare `serve()`, without the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from understudy.api.server import HubSettings, serve


def main() -> int:
    """Serve until SIGTERM; the settings are `HubSettings` as JSON."""
    settings = msgspec.json.decode(sys.argv[1], type=HubSettings, dec_hook=lambda kind, value: kind(value))
    assert isinstance(settings.data_dir, Path)
    return serve(settings)


if __name__ == "__main__":
    sys.exit(main())
