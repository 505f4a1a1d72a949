"""The fixes of `doctor --fix`: they destroy nothing and need no other user's rights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from understudy.cli.findings import AutomaticFix, Here
from understudy.daemon.service import ServiceError, supervisor_of
from understudy.private import make_directory
from understudy.texts import t


def apply(fix: AutomaticFix, here: Here) -> str:
    """Do it → what was done, in a sentence. OSError, UnderstudyError if it could not be done."""
    return _ACTIONS[fix.kind](fix.target, here)


def _make_directory(target: str, _: Here) -> str:
    make_directory(Path(target))
    return t("cli.fix.directory", path=target)


def _make_private(target: str, _: Here) -> str:
    Path(target).chmod(0o600)
    return t("cli.fix.private", path=target)


def _start_service(role: str, here: Here) -> str:
    supervisor_of(role, here.environ, platform=here.platform, runner=here.run).start()
    return t(f"cli.fix.started.{role}")


def _let_linger(_: str, here: Here) -> str:
    ran = here.run(("loginctl", "enable-linger"))
    if ran.code:
        raise ServiceError(t("cli.fix.refused", said=ran.said))
    return t("cli.fix.lingers")


_ACTIONS: dict[str, Callable[[str, Here], str]] = {
    "make_directory": _make_directory,
    "make_private": _make_private,
    "start_service": _start_service,
    "let_linger": _let_linger,
}
