"""Planting: product code is changed in place, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


@contextmanager
def planted(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Replace attributes, each given as owner, name and value, and put them back."""
    with ExitStack() as undo:
        for owner, name, value in changes:
            undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield
