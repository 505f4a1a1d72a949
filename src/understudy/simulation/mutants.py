"""Planted bugs: a checker that does not find them proves nothing (facts/queues e)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {}
