"""The inputs of a hub in a Worker: what a start and `deploy cloudflare --check` judge, by the same names as everywhere.

A Worker has no files and no sockets, and everybody can reach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from understudy.config.policy import HubInputs, hub_inputs
from understudy.config.reading import environment_keys, load
from understudy.config.shown import settings_shown
from understudy.config.strength import is_easy_to_guess
from understudy.config.table import table
from understudy.errors import ConfigError
from understudy.texts import language_from, t

NO_FILES = Path("/no-data-directory")  # nothing is read from there or written
SOCKETS = frozenset({"email", "apprise"})  # channels that need what is not there


def inputs_of(environ: Mapping[str, str], language: str = "") -> HubInputs:
    """The inputs of this hub. ConfigError for those that cannot work in this place."""
    language = language or language_from(dict(environ))
    for name in _names_of_files():
        if environ.get(name):
            raise ConfigError(t("cloudflare.no_file", language, name=name))
    loaded = load(environ, NO_FILES)
    keys = environment_keys(loaded.settings)
    if not keys:
        raise ConfigError(t("cloudflare.no_key", language))
    if weak := [name for name, secret in keys.items() if is_easy_to_guess(secret)]:
        raise ConfigError(t("cloudflare.weak_key", language, names=", ".join(weak)))
    given = hub_inputs(loaded.settings, environ, NO_FILES, keys)
    for channel in given.channels:
        if channel.kind in SOCKETS:
            raise ConfigError(t("cloudflare.no_channel", language, name=channel.name, kind=channel.kind))
    return replace(given, shown=settings_shown(loaded, given.secrets), notes=(*loaded.notes, *given.notes))


def _names_of_files() -> list[str]:
    """Variables that name a file to read."""
    return ["UNDERSTUDY_CONFIG", *(f"{env}_FILE" for row in table().values() if row.is_secret for env in row.env)]
