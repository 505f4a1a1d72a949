"""Settings read once.

Weaker to stronger: default, `understudy.toml` in the data directory (or `UNDERSTUDY_CONFIG`), the environment, an
option of the command line.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.config.given_text import read_given, without_line_end
from understudy.config.relations import related
from understudy.config.table import ENVIRONMENT_ONLY, INTERNAL, OLD_IN_MS, Setting, Settings, table
from understudy.errors import ConfigError
from understudy.store_address import is_postgres
from understudy.texts import t

FILE_NAME = "understudy.toml"
PATHS = frozenset({"store", "ca_file", "task_cwd", "workspaces", "log_dir"})
PROGRAMS = frozenset({"claude_cli", "codex_cli"})  # paths if there is a / in them
OF_LIBPQ = "PGPASSWORD"
TABLES = frozenset({"channels", "groups", "routes", "maintenance"})  # no settings: config/channels.py reads them


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, where each that is no default came from, and what was adapted or looks wrong."""

    settings: Settings
    origins: dict[str, str]
    notes: tuple[str, ...] = ()
    adapted: frozenset[str] = frozenset()  # the names of those that were changed to fit the others


def user_data_dir(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """`UNDERSTUDY_DATA`, else where this platform keeps a user's data."""
    if chosen := environ.get("UNDERSTUDY_DATA"):
        return Path(chosen).expanduser()
    try:
        home = Path(environ.get("HOME") or Path.home())
    except RuntimeError:  # no HOME, and no user of this number: a container
        raise ConfigError(t("config.no_home")) from None
    if platform == "darwin":
        return home / "Library" / "Application Support" / "understudy"
    shared = environ.get("XDG_DATA_HOME", "")
    return (Path(shared) if shared.startswith("/") else home / ".local" / "share") / "understudy"


def load(environ: Mapping[str, str], data_dir: Path, **options: Any) -> Loaded:
    """All settings of this start, paths in full; `options` are those of the command line, None where not given.

    ConfigError.
    """
    values, origins = read(environ, data_dir)
    for name, value in options.items():
        if value is not None:
            values[name] = value
            origins[name] = f"--{name.replace('_', '-')}"
    rows = table()
    given = Settings(**{rows[name].attribute: beside(Path(), rows[name], value) for name, value in values.items()})
    settings, notes = related(given, origins)
    adapted = {row.name for row in rows.values() if getattr(given, row.attribute) != getattr(settings, row.attribute)}
    if adapted & {"store", "store_password"}:  # the address, with its password apart
        adapted -= {"store", "store_password"}
        origins |= {"store_password": origins["store"]} if settings.store_password != given.store_password else {}
    if is_postgres(settings.store) and not settings.store_password and (password := environ.get(OF_LIBPQ)):
        settings = dataclasses.replace(settings, store_password=password)  # libpq sees it no more: worker/hidden.py
        origins["store_password"] = OF_LIBPQ
    return Loaded(settings, origins, (*notes, *unknown_names(environ)), frozenset(adapted))


def read(
    environ: Mapping[str, str], data_dir: Path | None, names: frozenset[str] = frozenset()
) -> tuple[dict[str, Any], dict[str, str]]:
    """(values, origins) by name of what is set at all; only `names`, if any are given. ConfigError."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    lines = _from_file(environ, data_dir) if data_dir is not None else ()
    for name, raw, origin in (*lines, *_from_environment(environ)):
        if not names or name in names:
            values[name] = _parsed(table()[name], raw, origin)
            origins[name] = origin
    return values, origins


def environment_keys(settings: Settings) -> dict[str, str]:
    """The keys that are set, by their names in the environment (docs/contract.md, section 1)."""
    rows = [row for row in table().values() if row.of.section == "keys"]
    return {row.env[0]: value for row in rows if (value := getattr(settings, row.attribute))}


def secrets_in(settings: Settings) -> tuple[str, ...]:
    """The value of every setting that is a secret."""
    return tuple(value for row in table().values() if row.is_secret and (value := getattr(settings, row.attribute)))


def _parsed(row: Setting, raw: Any, origin: str) -> Any:
    try:
        return row.of.kind.parse(raw)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None


def tables_of(environ: Mapping[str, str], data_dir: Path) -> tuple[dict[str, Any], str]:
    """The file's tables, which are no settings, and how to call the file in a message. ConfigError."""
    path = _path(environ, data_dir)
    if path is None:
        return {}, FILE_NAME
    found = _toml(path)
    channels = found.get("channels")
    for channel in channels.values() if isinstance(channels, dict) else ():
        for key in [key for key in channel if key.endswith("_file")] if isinstance(channel, dict) else ():
            channel[key] = channel[key] and str(_in_folder(path, channel[key]))
    return {key: value for key, value in found.items() if key in TABLES}, str(path)


def beside(folder: Path, row: Setting, value: Any) -> Any:
    """A path in full, if this setting is one: a service has another directory than the shell of its owner."""
    text = str(value).strip()
    is_path = (row.name in PATHS and "://" not in text and not is_postgres(text)) or (
        row.name in PROGRAMS and "/" in text
    )
    return str((folder / Path(text).expanduser()).absolute()) if text and is_path else value


def _in_folder(file: Path, path: Any) -> Path:
    """A path that a settings file names, relative to that file."""
    return file.absolute().parent / Path(str(path)).expanduser()


def _path(environ: Mapping[str, str], data_dir: Path) -> Path | None:
    chosen = environ.get("UNDERSTUDY_CONFIG")
    path = Path(chosen).expanduser() if chosen else data_dir / FILE_NAME
    return path if chosen or path.exists() else None


def _from_file(environ: Mapping[str, str], data_dir: Path) -> Iterator[tuple[str, Any, str]]:
    """(name, value, origin) of each line of the file, if there is one."""
    path = _path(environ, data_dir)
    if path is None:
        return
    lines = _toml(path)
    for key, raw in lines.items():
        row = table().get(key)
        if key in TABLES:
            continue
        if row is None and (secret := table().get(key.removesuffix("_file"))) and secret.is_secret:
            if lines.get(secret.name):
                raise ConfigError(f"{path}: {t('config.both_in_file', name=secret.name)}")
            yield secret.name, secret_text(_in_folder(path, raw), key), f"{path}: {key}"
        elif row is None:
            raise ConfigError(t("config.unknown_key", path=path, key=key, fix=_nearest(key, tuple(table()))))
        else:
            yield key, beside(path.absolute().parent, row, raw), f"{path}: {key}"


def _toml(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - most clients have no such file

    try:
        return tomllib.loads(read_given(path, str(path)))
    except OSError as error:
        raise ConfigError(t("config.unreadable", path=path, reason=error.strerror or error)) from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError names the line
        raise ConfigError(t("config.not_toml", path=path, reason=error)) from None


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    """(name, value, origin) of each variable that is set; an empty one is not."""
    for row in table().values():
        for env in reversed(row.env):  # the first name is the strongest
            found, origin = environ.get(env, ""), env
            if row.is_secret and (path := environ.get(f"{env}_FILE")):
                if found:
                    raise ConfigError(t("config.both", name=env))
                found, origin = secret_text(Path(path).expanduser(), f"{env}_FILE"), f"{env}_FILE"
            _must_be_text(found, origin)
            if env in OLD_IN_MS and found.strip().isdecimal():
                found = f"{found.strip()}ms"
            if found:
                yield row.name, found, origin


def _must_be_text(value: str, name: str) -> None:
    """ConfigError for bytes of another encoding in a variable; Python shows them as halves of surrogate pairs."""
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise ConfigError(t("config.not_text", place=name, line=1))


def secret_text(path: Path, name: str) -> str:
    """The content of a secret's file, without one line end at its end. ConfigError names the setting."""
    try:
        text = without_line_end(read_given(path, f"{path} ({name})", as_is=True))
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(t("config.secret_unreadable", name=name, path=path, reason=reason)) from None
    if not text.strip():
        raise ConfigError(t("config.secret_empty", name=name, path=path))
    return text


def unknown_names(environ: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each `UNDERSTUDY_…` variable that means nothing to us: likely a slip of the keyboard."""
    known = {env for row in table().values() for env in row.env} | {*ENVIRONMENT_ONLY, *INTERNAL}
    known |= {f"{row.env[0]}_FILE" for row in table().values() if row.is_secret}
    strange = sorted(name for name in environ if name.startswith("UNDERSTUDY_") and name not in known)
    return tuple(t("config.unknown_name", name=name, fix=_nearest(name, tuple(known))) for name in strange)


def _nearest(word: str, known: tuple[str, ...]) -> str:
    import difflib  # noqa: PLC0415 - for mistakes only

    close = difflib.get_close_matches(word, known, 1)
    return t("config.did_you_mean", name=close[0]) if close else t("config.see_documentation")
