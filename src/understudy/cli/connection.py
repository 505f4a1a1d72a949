"""The hub and key of a client: from environment and settings, from what `up` saved, or from a `.env` here.

Daemon and services never look into a `.env` of the directory that they were started in: it may have come with
somebody's repository, and they would work for that person.

A key goes only to an address from a source that is trusted at least as much as the key's own. So an address out of a
`.env` never gets a key of the environment, and a saved key only if that was saved for the same hub.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from understudy import config
from understudy.addresses import is_loopback, is_web_address
from understudy.cli.client import HubClient
from understudy.cli.exits import RefusedError
from understudy.cli.known_hubs import agree
from understudy.cli.saved import Saved, load_saved
from understudy.cli.terminal import note, safe
from understudy.config.reading import beside
from understudy.errors import ConfigError
from understudy.texts import t

API_KEYS = ("api_key", "assistant_api_key", "queue_api_key", "workers_api_key")
ADMIN_KEYS = ("admin_api_key",)
_OF_HUB = frozenset({"hub", *API_KEYS, *ADMIN_KEYS})
_NAMES = _OF_HUB | {"ca_file", "port"}
DOT_ENV = ".env"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class HubAddress:
    """The hub's address and key, and the origin of each."""

    url: str
    url_from: str
    key: str = ""
    key_from: str = ""
    ca_file: str = ""
    data: Path | None = None  # of a hub that ran on this machine

    @property
    def is_loopback(self) -> bool:
        """True if the hub is on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")


@dataclass(frozen=True, slots=True)
class Source:
    """One place to look: the values by setting, and how each is called in a message."""

    values: Mapping[str, str]
    origins: Mapping[str, str]

    def first(self, names: tuple[str, ...]) -> tuple[str, str]:
        """(value, origin) of the first of these that is set; ("", "") if none is."""
        return next(((self.values[n], self.origins[n]) for n in names if self.values.get(n)), ("", ""))


def find_place(
    environ: Mapping[str, str], here: Path | None, *, admin: bool = False, data_dir: Path | None = None
) -> HubAddress:
    """The hub to speak to; with `here` also by a `.env` there. ConfigError if none is known; the key may be missing.

    `data_dir` is the data directory of this start, if it is not the user's.
    """
    known = _known(environ, data_dir or config.user_data_dir(environ))
    values, kept = known.values, known.saved
    near = _near(here, is_needed=not (values.get("hub") or kept))
    ours, dot_env = Source(values, known.origins), Source(near, dict.fromkeys(near, DOT_ENV))
    saved = _saved_source(kept, str(known.saved_in))
    url, url_from, sources = _address(ours, dot_env, saved)
    if not is_same_hub(saved.values.get("hub", ""), url):
        sources = tuple(source for source in sources if source is not saved)
    key, key_from = _key(sources, admin=admin)
    if here and url_from == DOT_ENV:
        if not key and (other := ours.first(API_KEYS + ADMIN_KEYS))[0]:
            raise RefusedError(t("cli.connection.mixed", url=url, key_from=other[1]))
        note(t("cli.connection.in_use", url=url, origin=here / DOT_ENV))
    elif here and (stranger := near.get("hub")) and not is_same_hub(str(stranger), url):
        note(t("cli.connection.not_in_use", other=safe(stranger), path=here / DOT_ENV, url=url, origin=url_from))
    data = Path(kept.data) if kept and kept.data and is_same_hub(kept.hub, url) else None
    return HubAddress(url, url_from, key, key_from, _ca_file(values), data)


def _ca_file(values: Mapping[str, Any]) -> str:
    """The path in full: an env file knows no `~` of a shell."""
    return str(beside(Path(), config.table()["ca_file"], values.get("ca_file", "")))


@dataclass(frozen=True, slots=True)
class Known:
    """A hub as a data directory knows it: settings with their origins, the values that `up` saved, and their place."""

    values: dict[str, Any]
    origins: dict[str, str]
    saved: Saved | None
    saved_in: Path


def _known(environ: Mapping[str, str], data_dir: Path) -> Known:
    """The hub of this directory, completed from the user's directory where it has none of its own."""
    values, origins = config.read(environ, data_dir, _NAMES)
    saved = load_saved(data_dir)
    has_own = any(origin not in environ for name, origin in origins.items() if name in _OF_HUB)
    if saved or (has_own and not values.get("hub")):  # a key of its own means the hub of this machine
        return Known(values, origins, saved, data_dir)
    home = config.user_data_dir(environ)
    if not has_own:
        more_values, more_origins = config.read(environ, home, _NAMES)
        values, origins = more_values | values, more_origins | origins
    return Known(values, origins, load_saved(home), home)


def _near(here: Path | None, *, is_needed: bool) -> dict[str, str]:
    """The values of a `.env` here. ConfigError if it cannot be read and the command knows no other hub."""
    try:
        return config.read(_dot_env(here / DOT_ENV) if here else {}, None, _NAMES)[0]
    except ConfigError as error:
        if is_needed:
            raise
        note(f"understudy: {error.message}")
        return {}


def _address(ours: Source, dot_env: Source, saved: Source) -> tuple[str, str, tuple[Source, ...]]:
    """(address, where it is from, whose keys it may be sent), the strongest first."""
    for source, trusted in ((ours, (ours, dot_env, saved)), (saved, (ours, saved)), (dot_env, (dot_env, saved))):
        url, origin = source.first(("hub",))
        if url:
            return checked_url(url, origin), origin, trusted
    if ours.first(API_KEYS + ADMIN_KEYS)[0]:
        port = ours.values.get("port", config.Settings().port)
        return f"http://127.0.0.1:{port}", t("cli.connection.default"), (ours,)
    raise ConfigError(t("cli.connection.none"))


def _key(sources: tuple[Source, ...], *, admin: bool) -> tuple[str, str]:
    """The right kind of key from the strongest source that has one, else the other kind."""
    for names in (ADMIN_KEYS, API_KEYS) if admin else (API_KEYS, ADMIN_KEYS):
        for source in sources:
            if (found := source.first(names))[0]:
                return found
    return "", ""


def _saved_source(kept: Saved | None, origin: str) -> Source:
    values = {"hub": kept.hub, "api_key": kept.api_key, "admin_api_key": kept.admin_key} if kept else {}
    return Source(values, dict.fromkeys(values, origin))


def connect_place(*, admin: bool = False) -> HubAddress:
    """The hub and key that this shell means. ConfigError, RefusedError if no key is known."""
    place = with_key(find_place(os.environ, here(), admin=admin))
    if place.url_from == DOT_ENV:
        agree(place.url, DOT_ENV, config.user_data_dir(os.environ))
    return place


def place_to_serve(environ: Mapping[str, str], data_dir: Path, *, is_agreed: bool) -> HubAddress:
    """The hub whose tasks a daemon will run: never one of a `.env`. ConfigError, RefusedError (key, consent)."""
    place = with_key(find_place(environ, None, data_dir=data_dir))
    saved = _known(environ, data_dir).saved
    if not (saved and is_same_hub(saved.hub, place.url)):
        agree(place.url, place.url_from, data_dir, is_agreed=is_agreed)
    return place


def with_key(place: HubAddress) -> HubAddress:
    """The place itself. RefusedError if no key is known for it."""
    if not place.key:
        raise RefusedError(t("cli.connection.no_key", url=place.url, origin=place.url_from))
    return place


def here() -> Path | None:
    """The current directory; None if it is gone."""
    try:
        return Path.cwd()
    except OSError:
        return None


def connect(*, admin: bool = False) -> HubClient:
    """A client of that hub."""
    place = connect_place(admin=admin)
    return HubClient(place.url, place.key, ca_file=place.ca_file)


def checked_url(url: str, origin: str) -> str:
    """The address without a slash at its end. ConfigError if it is malformed or contains a secret."""
    url = url.strip()
    parts = urlsplit(url if is_web_address(url) else "")
    if not parts.hostname or parts.port == 0 or not parts.path.isascii():
        raise ConfigError(t("cli.connection.bad_url", url=url, origin=origin))
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(t("cli.connection.secret_in_url", origin=origin))
    return url.rstrip("/")


def is_same_hub(one: str, other: str) -> bool:
    """True if two addresses mean the same place; all names of loopback are one."""
    if not (is_web_address(one) and is_web_address(other)):
        return one == other
    return _normal(one) == _normal(other)


def _normal(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname in LOOPBACK else parts.hostname or ""
    return parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")


def _dot_env(path: Path) -> dict[str, str]:
    """Address and keys among its `NAME=value` lines; never `…_FILE`, which could name any secret of the reader."""
    names = {env for name in ("hub", *API_KEYS, *ADMIN_KEYS) for env in config.table()[name].env}
    if not path.is_file():  # a pipe would be waited for without end
        return {}
    try:
        text = config.read_given(path, str(path))
    except OSError:
        return {}
    return config.assignments(text, str(path), names)
