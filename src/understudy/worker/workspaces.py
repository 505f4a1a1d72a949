"""Workspaces: the directory that a task names, and the order of runs in it."""

from __future__ import annotations

import contextlib
import re
import stat
from pathlib import Path

import msgspec

from understudy.private import own_directory
from understudy.texts import t
from understudy.worker.executors import TaskToRun
from understudy.worker.executors.prompt import conversation_of

ASSISTANTS = ("claude_code", "codex")  # they change files and keep sessions: one at a time
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


class Workspaces(msgspec.Struct, frozen=True):
    """Directories; "" is none. A workspace is a directory right below `root`, made by the owner."""

    root: str = ""
    assistants: str = ""  # where an assistant works if its task names no workspace
    commands: str = ""  # where the command works then; none: the daemon's own
    own: str = ""  # the one that this daemon makes itself

    def directory(self, task: TaskToRun, executor: str) -> str | None:
        """The directory for this task; ValueError with the fix, OSError if this machine cannot look at it."""
        if not task.workspace:
            found = self.assistants if executor in ASSISTANTS else self.commands
            if found and found == self.own:
                with contextlib.suppress(OSError):  # it could not be made before, or it was removed
                    own_directory(Path(found))
            return found or None
        if not _NAME.fullmatch(task.workspace):
            raise ValueError(t("executors.bad_workspace", name=task.workspace[:80]))
        if not self.root:
            raise ValueError(t("executors.no_workspaces", name=task.workspace))
        path = Path(self.root) / task.workspace
        if not _is_directory(path):
            raise ValueError(t("executors.no_workspace", name=task.workspace, path=path))
        return str(path)

    def is_root_gone(self) -> bool:
        """True if the directory of all workspaces is not there (not mounted, or a dead mount): no task's fault."""
        try:
            return bool(self.root) and not _is_directory(Path(self.root))
        except OSError:
            return True

    def turns(self, task: TaskToRun, executor: str) -> frozenset[str]:
        """Resources for one run at a time: its workspace, and its conversation if there is a session."""
        names = set()
        if task.workspace or executor in ASSISTANTS:
            names.add(f"workspace {task.workspace or ''}")
        if executor in ASSISTANTS and (conversation := conversation_of(task)):
            names.add(f"conversation {conversation}")
        return frozenset(names)


def is_missing(path: str) -> bool:
    """True if there certainly is no directory; a dead mount or no permission leaves that open."""
    try:
        return not _is_directory(Path(path))
    except OSError:
        return False


def _is_directory(path: Path) -> bool:
    """True for a directory, False if there is none; OSError for anything else (`Path.is_dir` hides some of them)."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
