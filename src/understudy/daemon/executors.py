"""Which executors this daemon has, in their order: the first one takes the tasks that name none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from understudy.daemon.settings import DaemonSettings
from understudy.errors import ConfigError
from understudy.private import own_directory
from understudy.texts import t
from understudy.worker.executors import OK, Executor, codex
from understudy.worker.executors import claude_code as claude
from understudy.worker.executors.child_environment import child_env, credential
from understudy.worker.executors.command import Command
from understudy.worker.executors.diagnostic import Diagnostic
from understudy.worker.workspaces import Workspaces

AUTO = "auto"
ORDER = ("command", "claude_code", "codex", "diagnostic")  # a command was asked for, an assistant was only found


def executors_of(settings: DaemonSettings, ambient: Mapping[str, str]) -> dict[str, Executor]:
    """By name, the default first. An assistant that is not installed is left out, unless it is the chosen one.

    ConfigError if the command, or one that is chosen, cannot be.
    """
    env = child_env(ambient, settings.env_pass, (settings.api_key, *settings.secrets))
    have: dict[str, Executor] = {
        "claude_code": claude.ClaudeCode(settings.claude, _with(env, ambient, claude.ENV_KEPT, claude.CREDENTIALS)),
        "codex": codex.Codex(settings.codex, _with(env, ambient, codex.ENV_KEPT, codex.CREDENTIALS)),
        "diagnostic": Diagnostic(_with(env, ambient, ("PYTHONPATH",), ())),  # our package, where it is not installed
    }
    if settings.command:
        have["command"] = _command(settings, env)
    elif settings.executor == "command":
        raise ConfigError(t("executors.no_command"))
    chosen = settings.executor
    names = (chosen, *ORDER) if chosen != AUTO else ORDER
    return {
        name: have[name]
        for name in dict.fromkeys(names)
        if name in have and (name == chosen or have[name].readiness(None) != "missing")
    }


def workspaces_of(settings: DaemonSettings) -> Workspaces:
    """Where runs work. An assistant never works wherever the daemon happens to have been started."""
    commands = settings.command_cwd or ""
    assistants = commands or str(settings.data_dir.absolute() / "workspace")
    if not commands:
        own_directory(Path(assistants))
    return Workspaces(settings.workspaces, assistants, commands)


def _command(settings: DaemonSettings, env: Mapping[str, str]) -> Command:
    command = Command(settings.command, dict(env))
    if command.readiness(None) != OK:
        raise ConfigError(t("daemon.command_missing", command=settings.command[0]))
    return command


def _with(
    env: Mapping[str, str], ambient: Mapping[str, str], kept: tuple[str, ...], credentials: tuple[str, ...]
) -> dict[str, str]:
    """The environment of one executor: what it needs beyond the common part, and its own login."""
    more = {name: ambient[name] for name in kept if name in ambient}
    return {**env, **more, **credential(ambient, credentials)}
