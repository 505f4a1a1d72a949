"""What a service lacks that its owner's shell has: variables in a file, added to the environment at start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from understudy.errors import ConfigError
from understudy.texts import t

ENV_FILE = "UNDERSTUDY_ENV_FILE"


def read_env_file(environ: Mapping[str, str]) -> dict[str, str]:
    """`NAME=value` lines of the file that UNDERSTUDY_ENV_FILE names; what the environment has, wins. ConfigError."""
    path = environ.get(ENV_FILE)
    if not path:
        return {}
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(t("config.secret_unreadable", name=ENV_FILE, path=path, reason=reason)) from None
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value for name, _, value in pairs if name.strip() not in environ}
