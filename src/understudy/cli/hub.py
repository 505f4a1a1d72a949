"""`understudy hub`: settings and keys, then the server until it is stopped."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import click

from understudy import config
from understudy.addresses import bracketed, is_loopback
from understudy.cli import starter
from understudy.cli.commands import Command
from understudy.cli.env_file import read_env_file
from understudy.cli.options import address_options, data_dir_of, data_option, eof_option, own_data_dir, with_warnings
from understudy.cli.saved import ADMIN_KEY_FILE, API_KEY_FILE, Saved, has_local_key, load_local_keys, local_keys, save
from understudy.cli.terminal import note
from understudy.clock import SystemClock
from understudy.config.strength import is_easy_to_guess
from understudy.errors import ConfigError
from understudy.line_queue import queue_streams
from understudy.texts import t
from understudy.worker.hidden import hide


@click.command(
    "hub", cls=Command, help=t("cli.hub.help"), example="understudy hub --port 9000 --data /var/lib/understudy"
)
@address_options
@data_option
@eof_option
def hub(host: str | None, port: int | None, data: Path | None, stop_at_eof: bool) -> int:
    """Serve until SIGTERM or SIGINT."""
    hide()
    queue_streams("stderr")
    os.environ.update(read_env_file(os.environ))
    hide()  # of what came with the file, too
    data_dir = data_dir_of(data)
    loaded = config.load(os.environ, data_dir, host=host, port=port)
    settings = with_warnings(loaded)
    own_data_dir(data_dir)
    keys = keys_of(settings, data_dir)
    if stop_at_eof:
        starter.watch()
    from msgspec.structs import replace

    from understudy.config.policy import hub_inputs
    from understudy.config.shown import settings_shown
    from understudy.runtime.hub.server import serve

    given = hub_inputs(settings, os.environ, data_dir, keys)
    for sentence in given.notes:
        note(f"understudy: {sentence}")
    saved = {} if config.environment_keys(settings) or not keys else _key_files(data_dir)
    given = replace(given, shown=settings_shown(loaded, given.secrets, saved))
    return serve(given, lambda: _leave_for_clients(settings, data_dir))


def _key_files(data_dir: Path) -> dict[str, str]:
    """The files of the keys that were made for this data directory, by the settings in whose place they stand."""
    return {"api_key": str(data_dir / API_KEY_FILE), "admin_api_key": str(data_dir / ADMIN_KEY_FILE)}


def _leave_for_clients(settings: config.Settings, data_dir: Path) -> None:
    """Save where commands find this hub, once directory and port are its own; before that another hub may own them."""
    made = None if config.environment_keys(settings) else load_local_keys(data_dir)
    if made and settings.port:
        save(data_dir, Saved(client_url(settings.host, settings.port), made.api_key, made.admin_key, str(data_dir)))


def keys_of(settings: config.Settings, data_dir: Path) -> dict[str, str]:
    """The keys of this start; without any, two are made for loopback, and everything else is refused.

    Where one of the two is there, the other is made anew for every address.
    """
    keys = config.environment_keys(settings)
    if keys:
        check_strength(keys, settings)
        return keys
    made = load_local_keys(data_dir)
    if not is_loopback(settings.host) and not has_local_key(data_dir):
        if _has_stored_key(settings, data_dir):
            return {}
        raise ConfigError(t("cli.hub.no_key", host=settings.host))
    if made is None:
        made = local_keys(data_dir)
        note(t("cli.hub.key_made", api=data_dir / API_KEY_FILE, admin=data_dir / ADMIN_KEY_FILE))
    return {"UNDERSTUDY_API_KEY": made.api_key, "ADMIN_API_KEY": made.admin_key}


def check_strength(keys: dict[str, str], settings: config.Settings) -> None:
    """ConfigError for keys that can be guessed where others can ask: no hub stops them for long enough."""
    reached_at = settings.public_url or settings.host
    if is_loopback(settings.host) and is_loopback(urlsplit(settings.public_url).hostname or "localhost"):
        return
    weak = [name for name, secret in keys.items() if is_easy_to_guess(secret)]
    if weak:
        raise ConfigError(t("cli.hub.weak_key", names=", ".join(weak), host=reached_at))


def client_url(host: str, port: int) -> str:
    """The address by which clients on this machine reach a hub that listens there."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{bracketed(reached)}:{port}"


def _has_stored_key(settings: config.Settings, data_dir: Path) -> bool:
    """True if `keys create` made one that is still valid."""
    from understudy.runtime.lock import hub_locks
    from understudy.store.opening import file_of, open_store
    from understudy.store.queries import VALID_KEYS

    path = file_of(settings.store, data_dir)
    if path is not None and not path.exists():
        return False
    with hub_locks(data_dir, path):
        store = open_store(settings.store, settings.store_password, data_dir, SystemClock())
        try:
            return bool(store.read(lambda reader: reader.find(VALID_KEYS, limit=1)))
        finally:
            store.close()
