"""The line of a hub that cannot work, for the log of a Worker; the entry imports it, so it imports nothing."""

from __future__ import annotations


def critical(error: Exception) -> str:
    """One line: our own errors are sentences, every other one is a defect."""
    said = getattr(error, "message", "") or f"Internal error: {type(error).__name__}: {error}"
    return f"[CRITICAL] [Hub] {said}"
