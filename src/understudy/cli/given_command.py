"""The command after `--`, made independent of the directory in which it was typed."""

from __future__ import annotations

import os
from pathlib import Path

from understudy.errors import ConfigError
from understudy.texts import t

WORD_CHARS_MAX = 1000  # a longer one names no file


def absolute_command(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command with every file of this directory that it names in full: a service runs in another directory.

    The program, if a / is in its name; further words, if a file of that name is here. ConfigError without a program.
    """
    refuse_empty(words)
    here = Path.cwd() if words else Path()
    return tuple(_in_full(word, here, is_program=not at) for at, word in enumerate(words))


def refuse_empty(words: tuple[str, ...]) -> None:
    """ConfigError for a command without a program."""
    if words and not words[0].strip():
        raise ConfigError(t("cli.daemon.empty_command"))


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
