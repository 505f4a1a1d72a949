"""One thing that was looked at, and where looking happens."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from understudy.daemon.service import Run

OK, NOTICE, PROBLEM = "ok", "notice", "problem"


@dataclass(frozen=True, slots=True)
class Remedy:
    """What `doctor --fix` may do by itself: it destroys nothing, and doing it twice is doing it once."""

    kind: str  # make_directory, make_private, start_service, let_linger
    target: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is, why that matters, what mends it."""

    name: str
    level: str
    what: str
    why: str = ""
    mend: str = ""
    remedy: Remedy | None = None


def _run() -> Run:
    from understudy.daemon.service import run

    return run


@dataclass(frozen=True, slots=True)
class Here:
    """This machine and this shell, as far as `doctor` looks at them."""

    environ: Mapping[str, str]
    cwd: Path
    platform: str = field(default_factory=lambda: sys.platform)
    run: Run = field(default_factory=_run)
    uid: int = field(default_factory=os.getuid)

    @property
    def home(self) -> Path:
        """Of the user."""
        return Path(self.environ.get("HOME") or Path.home())

    @property
    def is_darwin(self) -> bool:
        """Whether this is a Mac."""
        return self.platform == "darwin"


def said(error: UnderstudyError) -> str:
    """What an error says, without its advice to run `doctor`: that is what runs."""
    before, advice, _ = error.message.partition("`understudy doctor`")
    return before[: max(before.rfind(end) for end in ".。") + 1] if advice else before
