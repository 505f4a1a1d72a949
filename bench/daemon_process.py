"""Runs one daemon from its inputs as JSON in argv, without the command line."""

from __future__ import annotations

import sys

import msgspec

from understudy.daemon.assembly import DaemonRuntime
from understudy.daemon.inputs import DaemonInputs


def main() -> int:
    """Live until SIGTERM."""
    given = msgspec.json.decode(sys.argv[1], type=DaemonInputs, dec_hook=lambda kind, value: kind(value))
    return DaemonRuntime(given).run()


if __name__ == "__main__":
    sys.exit(main())
