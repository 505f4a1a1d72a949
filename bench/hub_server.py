"""Runs one hub from its inputs as JSON in argv: the bare `serve()`, without the command line."""

from __future__ import annotations

import sys

import msgspec

from understudy.config.policy import HubInputs
from understudy.runtime.hub.server import serve


def inputs_of(text: str) -> HubInputs:
    """`HubInputs` from JSON; paths are texts there."""
    return msgspec.json.decode(text, type=HubInputs, dec_hook=lambda kind, value: kind(value))


if __name__ == "__main__":
    sys.exit(serve(inputs_of(sys.argv[1])))
