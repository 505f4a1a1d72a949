"""The settings of a hub as people may see them: no secret leaves this room."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from understudy.config.reading import OF_LIBPQ, Loaded
from understudy.config.table import Setting, table
from understudy.redact import Redactor

OF_DAEMONS = frozenset({"daemon", "executors"})  # sections that the machine of a daemon reads
OF_THE_HUB_TOO = frozenset({"prices"})


class SettingShown(Struct, frozen=True):
    """One setting that is in force."""

    name: str
    section: str
    env: tuple[str, ...]  # its names in the environment, the one to use first
    value: str  # as it is written; "" if it is empty, or a secret
    default: str
    is_secret: bool
    is_set: bool  # it has a value at all
    origin: str  # default, file, environment, option, saved, or adapted: to fit the others
    place: str  # the variable, file, or option; "" for a default


def settings_shown(
    loaded: Loaded, secrets: tuple[str, ...], saved: Mapping[str, str] | None = None
) -> tuple[SettingShown, ...]:
    """Every setting of a hub; `saved` are the files of those that no setting gives, by name."""
    rows = (row for row in table().values() if row.of.section not in OF_DAEMONS or row.name in OF_THE_HUB_TOO)
    redactor = Redactor(secrets)
    return tuple(_shown(row, loaded, redactor, (saved or {}).get(row.name, "")) for row in rows)


def _shown(row: Setting, loaded: Loaded, redactor: Redactor, saved_in: str) -> SettingShown:
    held = getattr(loaded.settings, row.attribute)
    value = "" if row.is_secret else redactor.clean(row.of.kind.show(held))
    default = row.of.kind.show(row.default)
    origin, place = ("saved", saved_in) if saved_in else _origin(row, loaded)
    is_set = bool(held) or bool(value) or bool(saved_in)
    return SettingShown(row.name, row.of.section, row.env, value, default, row.is_secret, is_set, origin, place)


def _origin(row: Setting, loaded: Loaded) -> tuple[str, str]:
    place = loaded.origins.get(row.name, "")
    if row.name in loaded.adapted:
        return "adapted", place
    if not place:
        return "default", ""
    if place.startswith("--"):
        return "option", place
    names = {OF_LIBPQ, *(env for every in table().values() for env in every.env)}  # a password has several places
    return ("environment" if place.removesuffix("_FILE") in names else "file"), place
