"""Runs one hub from the settings given as JSON in argv: the bare `serve()`, without the command line."""

from __future__ import annotations

import sys

import msgspec

from understudy.runtime.server import HubSettings, serve


def settings_of(text: str) -> HubSettings:
    """`HubSettings` from JSON; paths are texts there."""
    return msgspec.json.decode(text, type=HubSettings, dec_hook=lambda kind, value: kind(value))


if __name__ == "__main__":
    sys.exit(serve(settings_of(sys.argv[1])))
