"""The executors of this daemon, in their order: the first one takes the tasks that name none."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from understudy.config import Settings
from understudy.config.policy import prices_of
from understudy.daemon.inputs import DaemonInputs
from understudy.errors import ConfigError
from understudy.money import micro_usd_of, usd_text
from understudy.private import own_directory
from understudy.texts import t
from understudy.worker.executors import OK, Executor, codex
from understudy.worker.executors import claude_code as claude
from understudy.worker.executors.child_environment import child_env, credential
from understudy.worker.executors.command import CommandExecutor
from understudy.worker.executors.diagnostic import Diagnostic
from understudy.worker.workspaces import Workspaces

AUTO = "auto"
ORDER = ("command", "claude_code", "codex", "diagnostic")  # a command was asked for, an assistant was only found


def executors_of(given: DaemonInputs, ambient: Mapping[str, str]) -> dict[str, Executor]:
    """By name, the default first. An assistant that is not installed is left out, unless it is the chosen one.

    ConfigError if the command, or the chosen executor, cannot be used.
    """
    settings = given.settings
    env = child_env(ambient, settings.task_env_pass, given.secrets)
    have: dict[str, Executor] = {
        "claude_code": claude.ClaudeCode(
            claude_options(settings), _with(env, ambient, claude.ENV_KEPT, claude.CREDENTIALS)
        ),
        "codex": codex.Codex(codex_options(settings), _with(env, ambient, codex.ENV_KEPT, codex.CREDENTIALS)),
        "diagnostic": Diagnostic(_with(env, ambient, ("PYTHONPATH",), ())),  # our package, where it is not installed
    }
    chosen = settings.executor
    if given.command:
        have["command"] = _command(given.command, env)
    elif chosen == "command":
        raise ConfigError(t("executors.no_command"))
    names = (chosen, *ORDER) if chosen != AUTO else ORDER
    return {
        name: have[name]
        for name in dict.fromkeys(names)
        if name in have and (name == chosen or have[name].readiness(None) != "missing")
    }


def workspaces_of(given: DaemonInputs) -> Workspaces:
    """The directories of runs. An assistant never works in the directory in which the daemon was started."""
    commands = given.settings.task_cwd
    own = "" if commands else str(given.data_dir.absolute() / "workspace")
    if own:
        with contextlib.suppress(OSError):  # on a disk that is full or gone: what is spooled is delivered all the same
            own_directory(Path(own))
    return Workspaces(given.settings.workspaces, commands or own, commands, own)


def claude_options(settings: Settings) -> claude.ClaudeOptions:
    """The owner's options for `claude`. ConfigError for malformed prices or a malformed budget."""
    return claude.ClaudeOptions(
        cli=settings.claude_cli,
        permission_mode=settings.claude_permission_mode,
        allowed_tools=settings.claude_allowed_tools,
        model=settings.claude_model,
        budget_usd=_amount(settings.claude_budget_usd),
        has_owner_settings=settings.owner_settings,
        start_ms_max=settings.execution_start_ms,
        idle_ms_max=settings.execution_idle_ms,
        prices=prices_of(settings),
    )


def codex_options(settings: Settings) -> codex.CodexOptions:
    """The owner's options for `codex`. ConfigError for malformed prices."""
    return codex.CodexOptions(
        cli=settings.codex_cli,
        sandbox=settings.codex_sandbox,
        model=settings.codex_model,
        has_owner_settings=settings.owner_settings,
        start_ms_max=settings.execution_start_ms,
        idle_ms_max=settings.execution_idle_ms,
        prices=prices_of(settings),
    )


def _amount(text: str) -> str:
    """An amount as the assistant takes it: one that it refuses would fail every task. ConfigError."""
    try:
        micro_usd = micro_usd_of(text) if text else 0
    except ValueError:
        micro_usd = 0
    if text and not micro_usd:
        raise ConfigError(t("executors.bad_budget", value=text))
    return usd_text(micro_usd) if text else ""


def _command(argv: tuple[str, ...], env: Mapping[str, str]) -> CommandExecutor:
    command = CommandExecutor(argv, dict(env))
    if command.readiness(None) != OK:
        raise ConfigError(t("daemon.command_missing", command=argv[0]))
    return command


def _with(
    env: Mapping[str, str], ambient: Mapping[str, str], kept: tuple[str, ...], credentials: tuple[str, ...]
) -> dict[str, str]:
    """The environment of one executor: what it needs beyond the common part, and its own login."""
    more = {name: ambient[name] for name in kept if name in ambient}
    return {**env, **more, **credential(ambient, credentials)}
