"""The program of a service: this one with the settings of this shell; secrets go to files, never into a unit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path

from understudy import config
from understudy.cli.connection import HubAddress
from understudy.cli.env_file import ENV_FILE
from understudy.cli.machine import user_name
from understudy.cli.saved import keep
from understudy.config.channels import notices_of
from understudy.config.policy import hub_drain_s
from understudy.config.reading import OF_LIBPQ, beside
from understudy.daemon.index import sources_of
from understudy.daemon.service import Program, service_dir
from understudy.errors import ConfigError
from understudy.redact.values import SECRET_CHARS_MIN
from understudy.runtime.supervisor import STOP_MORE_S
from understudy.store_address import is_postgres
from understudy.texts import t
from understudy.wire.proxies import NAMES as PROXIES

HUB, DAEMON = "hub", "daemon"
DAEMON_SECTIONS = frozenset({"daemon", "health", "log", "executors", "notices"})  # it may have channels of its own
SYSTEM = ("PATH", "HOME", "USER", "LANG")  # launchd gives a bare PATH, and the keychain needs USER
TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # in place of the system's certificates
STORE = "UNDERSTUDY_STORE"
LIBPQ_FILES = ("PGPASSFILE", "PGSERVICEFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY")
LIBPQ = (*LIBPQ_FILES, "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGSSLMODE")
FILES = frozenset({"CLAUDE_CONFIG_DIR", "CODEX_HOME", "NODE_EXTRA_CA_CERTS"})  # beside those of sources_of


def program_of(
    role: str, environ: Mapping[str, str], data_dir: Path, launcher: tuple[str, ...], options: tuple[str, ...]
) -> Program:
    """The program with its environment, every secret left out. ConfigError for settings that are wrong."""
    environ = with_store_password(environ, data_dir)
    loaded = config.load(environ, data_dir)
    notices_of(loaded.settings, environ, data_dir)
    argv = (*launcher, role, *options)
    refuse_secrets(argv, environ)
    env = (
        dict(_system(environ))
        | (dict(_libpq(environ)) if role == HUB else {})
        | dict(_plain(role, environ))
        | {"UNDERSTUDY_DATA": str(data_dir)}
    )
    if sys.platform == "darwin":  # launchd keeps no log: ours must rotate
        env.setdefault("UNDERSTUDY_LOG_DIR", str(data_dir / "logs"))
        env["UNDERSTUDY_LOG_STDERR"] = "false"
    _refuse_unwritable((*argv, *env.values()))
    _refuse_unwritable((str(data_dir),), but_for="")  # it stands in the unit without quotes
    return Program(role=role, argv=argv, env=env, data_dir=data_dir, stop_s=stop_s_of(role, loaded.settings))


def stop_s_of(role: str, settings: config.Settings) -> int:
    """The seconds that an orderly end may take."""
    return STOP_MORE_S + ceil(settings.drain_ms / 1000 if role == DAEMON else hub_drain_s(settings, is_public=True))


def with_hub(program: Program, place: HubAddress) -> Program:
    """The daemon's program with the hub it speaks to."""
    env = {name: value for name, value in program.env.items() if name != "WORKERS_URL"}
    env["UNDERSTUDY_HUB"] = place.url
    if place.ca_file:
        env["UNDERSTUDY_CA_FILE"] = place.ca_file
    return Program(role=program.role, argv=program.argv, env=env, data_dir=program.data_dir, stop_s=program.stop_s)


def secret_files(
    role: str, environ: Mapping[str, str], data_dir: Path, place: HubAddress | None
) -> dict[str, tuple[Path, str]]:
    """(file, value) by the variable that names the file; the value is "" where the file is the owner's own."""
    environ = with_store_password(environ, data_dir)
    folder = service_dir(data_dir) / role
    found: dict[str, tuple[Path, str]] = {}
    for row in config.table().values():
        if not row.is_secret or (role == DAEMON and row.of.section not in DAEMON_SECTIONS):
            continue
        for env in row.env:
            if given := environ.get(f"{env}_FILE"):
                found[f"{env}_FILE"] = (Path(given).expanduser().absolute(), "")
            elif environ.get(env):
                found[f"{env}_FILE"] = (folder / env.lower().replace("_", "-"), environ[env])
    if place is not None:
        own = environ.get(place.key_from, "") if place.key_from.endswith("_FILE") else ""
        path = Path(own).expanduser().absolute() if own else folder / "api-key"
        found["UNDERSTUDY_API_KEY_FILE"] = (path, "" if own else place.key)
    of_children = _for_children(environ, data_dir) if role == DAEMON else ()
    names = dict.fromkeys((*_with_log_in(role, environ), *TRUST, *of_children))
    in_full = {**environ, **{name: str(Path(environ[name]).absolute()) for name in FILES if environ.get(name)}}
    in_full |= sources_of(environ)
    lines = [config.assignment(name, in_full[name]) for name in names if environ.get(name)]
    if lines:
        found[ENV_FILE] = (folder / "env", "\n".join(lines))
    return found


def write_secrets(secrets: Mapping[str, tuple[Path, str]]) -> None:
    """The files, each for its owner alone."""
    for path, value in secrets.values():
        if value:
            keep(path, f"{value}\n")  # one line end is taken off again


def with_store_password(environ: Mapping[str, str], data_dir: Path) -> Mapping[str, str]:
    """The environment with the password of the store's address, or of libpq, where every secret of ours stands.

    A password in the settings file stays there. ConfigError.
    """
    loaded = config.load(environ, data_dir)
    settings = loaded.settings
    if not is_postgres(settings.store):
        return environ
    address = {STORE: settings.store} if environ.get(STORE) else {}
    is_elsewhere = loaded.origins.get("store_password") in (STORE, OF_LIBPQ)
    secret = {f"{STORE}_PASSWORD": settings.store_password} if is_elsewhere else {}
    return {**environ, **address, **secret}


def _libpq(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The variables by which this shell tells every client of PostgreSQL, but for the password."""
    for name in LIBPQ:
        if value := environ.get(name):
            yield name, str(Path(value).expanduser().absolute()) if name in LIBPQ_FILES else value


def _system(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in SYSTEM:
        if value := environ.get(name) or (user_name() if name == "USER" else ""):
            yield name, os.pathsep.join(_absolute_parts(value)) if name == "PATH" else value
    yield from ((name, value) for name, value in environ.items() if name.lower() in PROXIES and not has_log_in(value))


def _absolute_parts(path: str) -> Iterator[str]:
    """Directories of PATH; an empty one means the current directory, which is another one for a service."""
    return (str(Path(part).expanduser().absolute()) for part in path.split(os.pathsep) if part)


def _plain(role: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every setting of this shell that is no secret, and has none in its address."""
    apart = {*_with_log_in(role, environ)}
    for row in _rows(role):
        for env in row.env:
            if (value := environ.get(env)) and env not in apart:
                yield env, beside(Path(), row, value)  # a service has another directory than this shell
    for env in ("UNDERSTUDY_LANG", "UNDERSTUDY_CONFIG"):
        if value := environ.get(env):
            yield env, str(Path(value).expanduser().absolute()) if env == "UNDERSTUDY_CONFIG" else value


def _rows(role: str) -> Iterator[config.Setting]:
    """The settings of this role that are no secrets."""
    for row in config.table().values():
        if not row.is_secret and (role == HUB or row.of.section in DAEMON_SECTIONS):
            yield row


def _with_log_in(role: str, environ: Mapping[str, str]) -> Iterator[str]:
    """The names of the variables in which an address, also of a proxy, contains a log-in: no unit gets that."""
    proxies = [name for name in environ if name.lower() in PROXIES]
    addresses = [env for row in _rows(role) if row.name.endswith("_url") for env in row.env]
    return (name for name in (*proxies, *addresses) if has_log_in(environ.get(name, "")))


def has_log_in(address: str) -> bool:
    """True if a name or a password may stand before its host; a / in a password hides nothing."""
    return "@" in address


def _for_children(environ: Mapping[str, str], data_dir: Path) -> Iterator[str]:
    """The names of what the owner lets through to runs, of what the assistants need, and of where updates are from."""
    from understudy.worker.executors import claude_code, codex

    yield from config.load(environ, data_dir).settings.task_env_pass
    yield from _credentials()
    yield from (name for name in (*claude_code.ENV_KEPT, *codex.ENV_KEPT) if name.lower() not in PROXIES)
    yield from sources_of(environ)


def _credentials() -> tuple[str, ...]:
    """The names of what the assistants' own programs are let in with; never in a unit either."""
    from understudy.worker.executors import claude_code, codex

    return (*claude_code.CREDENTIALS, *codex.CREDENTIALS)


def _refuse_unwritable(words: tuple[str, ...], but_for: str = "\n\t") -> None:
    """A unit or plist holds UTF-8 without control characters, but for tabs and line ends in quotes. ConfigError."""
    for word in words:
        if any((char < " " and char not in but_for) or "\ud800" <= char <= "\udfff" or char == "\x7f" for char in word):
            raise ConfigError(t("service.unwritable", word=ascii(word)))


def refuse_secrets(argv: tuple[str, ...], environ: Mapping[str, str]) -> None:
    """A key in an argument would be in the unit and in `ps`."""
    names = [env for row in config.table().values() if row.is_secret for env in row.env]
    values = [value for name in (*names, *_credentials()) if (value := environ.get(name, ""))]
    if any(_is_reported(value, word) for value in values for word in argv):
        raise ConfigError(t("service.secret_in_argv"))


def _is_reported(secret: str, word: str) -> bool:
    """A short key stands in many words by chance: only the word as a whole is one, or its value behind `=`."""
    if len(secret) >= SECRET_CHARS_MIN:
        return secret in word
    return secret in (word, word.partition("=")[2])
