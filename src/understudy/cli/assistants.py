"""From settings to the options of the two assistants; money and paths are checked here."""

from __future__ import annotations

import os
from pathlib import Path

from understudy import config
from understudy.coordinator.prices import Price, prices_from
from understudy.errors import ConfigError
from understudy.texts import t
from understudy.worker.executors.claude_code import ClaudeOptions
from understudy.worker.executors.codex import CodexOptions

WORD_CHARS_MAX = 1000  # a longer one names no file


def claude_options(settings: config.Settings) -> ClaudeOptions:
    """ConfigError for prices or a budget that are none."""
    return ClaudeOptions(
        cli=program_in_full(settings.claude_cli),
        permission_mode=settings.claude_permission_mode,
        allowed_tools=settings.claude_allowed_tools,
        model=settings.claude_model,
        budget_usd=_amount(settings.claude_budget_usd),
        has_owner_settings=settings.owner_settings,
        start_ms_max=settings.execution_start_ms,
        idle_ms_max=settings.execution_idle_ms,
        prices=_prices(settings),
    )


def codex_options(settings: config.Settings) -> CodexOptions:
    """ConfigError for prices that are none."""
    return CodexOptions(
        cli=program_in_full(settings.codex_cli),
        sandbox=settings.codex_sandbox,
        model=settings.codex_model,
        has_owner_settings=settings.owner_settings,
        start_ms_max=settings.execution_start_ms,
        idle_ms_max=settings.execution_idle_ms,
        prices=_prices(settings),
    )


def absolute(path: str) -> str:
    """Of a directory that a setting names; "" stays empty."""
    return str(Path(path).expanduser().absolute()) if path else ""


def absolute_command(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command with every file of this directory that it names in full: a service runs in another directory.

    The program, if a / is in its name; further words, if a file of that name is here.
    """
    here = Path.cwd() if words else Path()
    return tuple(_in_full(word, here, is_program=not at) for at, word in enumerate(words))


def program_in_full(name: str) -> str:
    """A program that a setting names: by a path it is made absolute, by its bare name it is searched for."""
    return absolute(name) if "/" in name else name


def _in_full(word: str, here: Path, *, is_program: bool) -> str:
    if word.startswith(("/", "-")) or (is_program and "/" not in word):
        return word
    path = here / word
    is_here = is_program or (len(word) < WORD_CHARS_MAX and _is_file(path))
    return os.path.normpath(path) if is_here else word


def _is_file(path: Path) -> bool:
    """False also for what no file can be called: long code after `-c`, a NUL."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _prices(settings: config.Settings) -> dict[str, Price]:
    try:
        return prices_from(settings.prices)
    except ValueError as error:
        raise ConfigError(f"prices: {error}") from None


def _amount(text: str) -> str:
    try:
        is_amount = not text or float(text) > 0
    except ValueError:
        is_amount = False
    if not is_amount:
        raise ConfigError(t("executors.bad_budget", value=text))
    return text
