"""A finding of `doctor`, its fix, and the surroundings that checks look at."""

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
class AutomaticFix:
    """A fix that `doctor --fix` applies by itself: it destroys nothing, and a second time changes nothing."""

    kind: str  # make_directory, make_private, start_service, let_linger
    target: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: its state, why that matters, and the fix."""

    name: str
    level: str
    what: str
    why: str = ""
    fix: str = ""
    automatic: AutomaticFix | None = None


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
        """True if this is a Mac."""
        return self.platform == "darwin"


def said(error: UnderstudyError) -> str:
    """The message of an error without its advice to run `doctor`, which is running."""
    before, advice, _ = error.message.partition("`understudy doctor`")
    return before[: max(before.rfind(end) for end in ".。") + 1] if advice else before
