"""Where a client finds its hub and key: environment and settings, `.env` here, or what `up` saved.

A key goes only to an address from a source that is trusted as much: an address out of a `.env` (which may have
come with somebody's repository) never gets the key of the environment or a saved one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from understudy import config
from understudy.cli.client import HubClient
from understudy.cli.exits import RefusedError
from understudy.cli.saved import Saved, load_saved
from understudy.cli.terminal import note
from understudy.errors import ConfigError
from understudy.texts import t

API_KEYS = ("api_key", "assistant_api_key", "queue_api_key", "workers_api_key")
ADMIN_KEYS = ("admin_api_key",)
_NAMES = frozenset({"hub", "ca_file", "port", *API_KEYS, *ADMIN_KEYS})
DOT_ENV = ".env"
_DOT_ENV_BYTES_MAX = 64 << 10
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the hub is, with which key, and where each was found."""

    url: str
    url_from: str
    key: str = ""
    key_from: str = ""
    ca_file: str = ""
    data: Path | None = None  # of a hub that ran on this machine

    @property
    def is_loopback(self) -> bool:
        """Whether the hub is on this machine."""
        return urlsplit(self.url).hostname in LOOPBACK


@dataclass(frozen=True, slots=True)
class Source:
    """One place to look: the values by setting, and how each is called in a message."""

    values: Mapping[str, str]
    origins: Mapping[str, str]

    def first(self, names: tuple[str, ...]) -> tuple[str, str]:
        """(value, origin) of the first of these that is set; ("", "") if none is."""
        return next(((self.values[n], self.origins[n]) for n in names if self.values.get(n)), ("", ""))


def find_place(environ: Mapping[str, str], here: Path, *, admin: bool = False) -> Place:
    """The hub to speak to. ConfigError if none is known; the key may be missing."""
    data_dir = config.user_data_dir(environ)
    values, origins = config.read(environ, data_dir, _NAMES)
    near, _ = config.read(_dot_env(here / DOT_ENV), None, _NAMES)
    kept = load_saved(data_dir)
    ours, dot_env = Source(values, origins), Source(near, dict.fromkeys(near, DOT_ENV))
    saved = _saved_source(kept, str(data_dir))
    url, url_from, sources = _address(ours, dot_env, saved)
    if not is_same_hub(saved.values.get("hub", ""), url):
        sources = tuple(source for source in sources if source is not saved)
    key, key_from = _key(sources, admin=admin)
    if url_from == DOT_ENV:
        if not key and (other := ours.first(API_KEYS + ADMIN_KEYS))[0]:
            raise RefusedError(t("cli.connection.mixed", url=url, key_from=other[1]))
        note(t("cli.connection.in_use", url=url, origin=here / DOT_ENV))
    data = Path(kept.data) if kept and kept.data and is_same_hub(kept.hub, url) else None
    return Place(url, url_from, key, key_from, str(values.get("ca_file", "")), data)


def _address(ours: Source, dot_env: Source, saved: Source) -> tuple[str, str, tuple[Source, ...]]:
    """(address, where it is from, whose keys it may be sent), the strongest first."""
    for source, trusted in ((ours, (ours, dot_env, saved)), (dot_env, (dot_env, saved)), (saved, (ours, saved))):
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


def connect_place(*, admin: bool = False) -> Place:
    """The hub and key that this shell means. ConfigError, RefusedError if no key is known."""
    place = find_place(os.environ, Path.cwd(), admin=admin)
    if not place.key:
        raise RefusedError(t("cli.connection.no_key", url=place.url, origin=place.url_from))
    return place


def connect(*, admin: bool = False) -> HubClient:
    """A client of that hub."""
    place = connect_place(admin=admin)
    return HubClient(place.url, place.key, ca_file=place.ca_file)


def checked_url(url: str, origin: str) -> str:
    """The address without a slash at its end. ConfigError for what is none, or holds a secret."""
    parts = urlsplit(url.strip())
    try:
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigError(t("cli.connection.bad_url", url=url, origin=origin))
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(t("cli.connection.secret_in_url", origin=origin))
    return url.strip().rstrip("/")


def is_same_hub(one: str, other: str) -> bool:
    """Whether two addresses mean the same place; all names of loopback are one."""
    return _normal(one) == _normal(other)


def _normal(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname in LOOPBACK else parts.hostname or ""
    return parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")


def _dot_env(path: Path) -> dict[str, str]:
    """Address and keys among its `NAME=value` lines; never `…_FILE`, which could name any secret of the reader."""
    names = {env for name in ("hub", *API_KEYS, *ADMIN_KEYS) for env in config.table()[name].env}
    try:
        with path.open(encoding="utf-8") as file:
            lines = file.read(_DOT_ENV_BYTES_MAX).splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    found = {}
    for line in lines:
        name, is_set, value = line.strip().removeprefix("export ").partition("=")
        if is_set and name.strip() in names:
            found[name.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    for quote in "\"'":
        if value.startswith(quote) and value.count(quote) > 1:
            return value[1 : value.index(quote, 1)]
    return value.partition(" #")[0].strip()
