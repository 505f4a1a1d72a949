"""What others see of the environment of a process of ours."""

from __future__ import annotations

import psutil


def environment_seen_of(process: psutil.Process) -> dict[str, str]:
    """Nothing where it is hidden from everybody but root."""
    try:
        return dict(process.environ())
    except psutil.AccessDenied:
        return {}
