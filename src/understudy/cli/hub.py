"""`understudy hub`: settings and keys, then the server until it is told to stop."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import click

from understudy import config
from understudy.addresses import is_web_address
from understudy.cli import parent
from understudy.cli.commands import Command
from understudy.cli.options import address_options, data_dir_of, data_option, eof_option, own_data_dir, told
from understudy.cli.saved import ADMIN_KEY_FILE, API_KEY_FILE, Saved, load_local_keys, local_keys, save
from understudy.cli.terminal import note
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
    data_dir = data_dir_of(data)
    settings = told(config.load(os.environ, data_dir, host=host, port=port))
    own_data_dir(data_dir)
    keys = keys_of(settings, data_dir)
    if stop_at_eof:
        parent.watch()
    return _serve(settings, data_dir, keys)


def _serve(settings: config.Settings, data_dir: Path, keys: dict[str, str]) -> int:
    from understudy.cli.notifying import notifying
    from understudy.cli.taking_over import taking_over
    from understudy.coordinator.nouns import Policy
    from understudy.redact import secrets_of
    from understudy.runtime.server import HubSettings, serve

    if settings.watchdog_url and not is_web_address(settings.watchdog_url):
        raise ConfigError(f"UNDERSTUDY_WATCHDOG_URL: {t('config.not_an_address')}")
    targets, routes = notifying(settings, os.environ, data_dir)
    takeover, claude = taking_over(settings)
    policy = Policy(
        lease_ms=settings.lease_duration_ms,
        late_after_ms=settings.late_after_ms,
        down_after_ms=settings.down_after_ms,
        losses_max=settings.losses_max,
        overtime_ms=settings.overtime_ms,
        timeout_s=settings.task_timeout_ms // 1000,
        heartbeat_interval_ms=settings.heartbeat_interval_ms,
        task_kept_ms=settings.task_kept_ms,
        event_kept_ms=settings.event_kept_ms,
        events_max=settings.events_max,
        store_bytes_max=settings.store_mb_max << 20,
        key_tasks_max=settings.key_tasks_max,
        key_bytes_max=(settings.store_mb_max << 20) * settings.key_store_percent // 100,
        disk_free_bytes_min=settings.disk_free_mb_min << 20,
        evidence_kept_ms=settings.evidence_kept_ms,
        period_kept_ms=settings.period_kept_ms,
        memory_kept_ms=settings.memory_kept_ms,
        memory_messages_max=settings.memory_messages_max,
        dedup_kept_ms=settings.dedup_kept_ms,
        notice_kept_ms=settings.notice_kept_ms,
        routes=routes,
        takeover=takeover,
    )
    return serve(
        HubSettings(
            host=settings.host,
            port=settings.port,
            data_dir=data_dir,
            store=settings.store,
            policy=policy,
            environment_keys=keys,
            secrets=(*config.secrets_in(settings), *secrets_of(os.environ)),
            redacts_results=settings.redact_results,
            log_level=settings.log_level,
            log_form=settings.log_form,
            log_dir=settings.log_dir and str(Path(settings.log_dir).expanduser().absolute()),
            log_stderr=settings.log_stderr,
            rate_per_s=settings.rate_per_s,
            rate_burst=settings.rate_burst,
            publishes_docs=settings.docs,
            targets=targets,
            ca_file=settings.ca_file,
            watchdog_url=settings.watchdog_url,
            watchdog_interval_ms=settings.watchdog_interval_ms,
            claude=claude,
            probe_url=settings.probe_url,
            fail_point_file=os.environ.get("UNDERSTUDY_FAIL_POINT_FILE", ""),
        ),
        lambda: _leave_for_clients(settings, data_dir),
    )


def _leave_for_clients(settings: config.Settings, data_dir: Path) -> None:
    """Where commands find this hub, once directory and port are its own: else the one that has them stays known."""
    made = None if config.environment_keys(settings) else load_local_keys(data_dir)
    if made and settings.port:
        save(data_dir, Saved(address_of(settings.host, settings.port), made.api_key, made.admin_key, str(data_dir)))


def keys_of(settings: config.Settings, data_dir: Path) -> dict[str, str]:
    """The keys of this start; without any, two are made for loopback, and everything else is refused."""
    keys = config.environment_keys(settings)
    if keys:
        check_strength(keys, settings)
        return keys
    made = load_local_keys(data_dir)
    if made is None and not is_loopback(settings.host):
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


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def address_of(host: str, port: int) -> str:
    """The address by which clients on this machine reach a hub that listens there."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def _has_stored_key(settings: config.Settings, data_dir: Path) -> bool:
    """Whether `keys create` made one that is still valid."""
    from understudy.coordinator.nouns import Key
    from understudy.runtime.lock import FileLock
    from understudy.store.sqlite import SqliteStore

    path = Path(settings.store) if settings.store else data_dir / "hub.db"
    if not path.exists():
        return False
    lock = FileLock(data_dir / "hub.lock")
    lock.take(t("cli.hub.data_dir", path=data_dir))
    try:
        store = SqliteStore(path)
        try:
            return any(not key.revoked_at for key in store.read(lambda reader: reader.load_all(Key, 1000)))
        finally:
            store.close()
    finally:
        lock.release()
