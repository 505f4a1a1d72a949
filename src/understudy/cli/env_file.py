"""Variables of the owner's shell that a service lacks: in a file, added to the environment at start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from understudy.config import assignments, read_given
from understudy.errors import ConfigError
from understudy.texts import t

ENV_FILE = "UNDERSTUDY_ENV_FILE"


def with_env_file(environ: Mapping[str, str], chosen: str | None) -> dict[str, str]:
    """The environment together with the file that `--env-file` or UNDERSTUDY_ENV_FILE names. ConfigError."""
    named = {**environ, **({ENV_FILE: str(Path(chosen).absolute())} if chosen else {})}
    return {**named, **read_env_file(named)}


def read_env_file(environ: Mapping[str, str]) -> dict[str, str]:
    """`NAME=value` lines of the file that UNDERSTUDY_ENV_FILE names; what the environment has, wins. ConfigError."""
    path = environ.get(ENV_FILE)
    if not path:
        return {}
    try:
        text = read_given(Path(path).expanduser(), path)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(t("config.secret_unreadable", name=ENV_FILE, path=path, reason=reason)) from None
    return {name: value for name, value in assignments(text, path).items() if name not in environ}


def read_anew(added: Mapping[str, str], environ: Mapping[str, str]) -> frozenset[str]:
    """The added variables, which the next life of a daemon reads from the file itself.

    None where the file is a pipe (`--env-file <(…)`) or a descriptor: those can be read only once.
    """
    path = added.get(ENV_FILE, "")
    can_be_read_again = not path.startswith("/dev/") and Path(path).expanduser().is_file()
    return frozenset(added) - frozenset(environ) if can_be_read_again else frozenset()
