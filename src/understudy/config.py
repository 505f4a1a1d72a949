"""Every setting in one table: name, default, unit, environment name, check; read once, given downwards as values.

Weaker to stronger: the default below, `understudy.toml` in the data directory (or `UNDERSTUDY_CONFIG`), the
environment, an option of the command line. Plain dataclasses, because client commands read this in their 300 ms.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from understudy.errors import ConfigError
from understudy.texts import t

FILE_NAME = "understudy.toml"
FILE_BYTES_MAX = 1 << 20
SECRET_CHARS_MAX = 512  # as the hub takes them
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def duration_ms(text: str) -> int:
    """`100ms`, `30s`, `5m`, `2h`, `1d`, `1h30m` in milliseconds; ValueError with the mend for anything else."""
    compact = text.strip().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        raise ValueError(t("config.bare_number", value=compact))
    if not _DURATION.fullmatch(compact):
        raise ValueError(t("config.not_a_duration", value=text))
    return round(sum(float(count) * UNITS_MS[unit] for count, unit in _PART.findall(compact)))


def duration_text(ms: int) -> str:
    """The shortest way to write a duration exactly: `90s`, `3m`, `1d`."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % UNITS_MS[unit] == 0:
            return f"{ms // UNITS_MS[unit]}{unit}"
    return f"{ms}ms"


# ---- kinds of values


@dataclass(frozen=True, slots=True)
class Kind:
    """How a setting is read (text, or what TOML gives; ValueError tells what was expected) and shown."""

    parse: Callable[[Any], Any]
    expects: str = ""  # what may be written, for the documentation
    show: Callable[[Any], str] = str


def duration(least: str, most: str) -> Kind:
    """A duration with its unit, kept in ms."""

    def parse(raw: Any) -> int:
        ms = duration_ms(str(raw))
        if not duration_ms(least) <= ms <= duration_ms(most):
            raise ValueError(t("config.out_of_range", value=raw, least=least, most=most))
        return ms

    return Kind(parse, f"{least} … {most}", duration_text)


def number(least: int, most: int) -> Kind:
    """A whole number."""

    def parse(raw: Any) -> int:
        text = str(raw).strip()
        if isinstance(raw, bool) or not re.fullmatch(r"-?\d{1,18}", text):
            raise ValueError(t("config.not_a_number", value=raw))
        if not least <= int(text) <= most:
            raise ValueError(t("config.out_of_range", value=text, least=least, most=most))
        return int(text)

    return Kind(parse, f"{least} … {most}")


def one_of(*words: str) -> Kind:
    """One of some words."""

    def parse(raw: Any) -> str:
        text = str(raw).strip()
        if text not in words:
            raise ValueError(t("config.not_one_of", value=raw, words=", ".join(words)))
        return text

    return Kind(parse, ", ".join(words))


def _flag(raw: Any) -> bool:
    word = str(raw).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(t("config.not_one_of", value=raw, words="true, false"))
    return word in _TRUE


def _words(raw: Any) -> tuple[str, ...]:
    parts = raw if isinstance(raw, list) else str(raw).split(",")
    return tuple(word for part in parts if (word := str(part).strip()))


def _secret(raw: Any) -> str:
    """A header must be able to hold it."""
    text = str(raw).strip()
    if len(text) > SECRET_CHARS_MAX or not re.fullmatch(r"[\x21-\x7e\xa1-\xff]*", text):
        raise ValueError(t("config.not_a_key"))
    return text


TEXT = Kind(lambda raw: str(raw).strip())
FLAG = Kind(_flag, "true, false", lambda value: "true" if value else "false")
WORDS = Kind(_words, "a,b,c", ",".join)
SECRET = Kind(_secret, "", lambda value: "…" if value else "")


@dataclass(frozen=True, slots=True)
class Of:
    """What the table says about a field beside its type and default."""

    section: str
    kind: Kind
    env: tuple[str, ...] = ()  # instead of UNDERSTUDY_<NAME>


# ---- the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings; durations in ms. `_ms` is no part of a setting's name."""

    host: Annotated[str, Of("hub", TEXT)] = "127.0.0.1"
    port: Annotated[int, Of("hub", number(0, 65_535))] = 8787
    store: Annotated[str, Of("hub", TEXT)] = ""
    docs: Annotated[bool, Of("hub", FLAG)] = True
    rate_per_s: Annotated[int, Of("hub", number(1, 1_000_000))] = 200
    rate_burst: Annotated[int, Of("hub", number(1, 1_000_000))] = 1000

    late_after_ms: Annotated[int, Of("health", duration("100ms", "30d"))] = 180_000
    down_after_ms: Annotated[int, Of("health", duration("100ms", "30d"))] = 300_000
    heartbeat_interval_ms: Annotated[int, Of("health", duration("100ms", "1d"))] = 10_000

    lease_duration_ms: Annotated[int, Of("tasks", duration("2s", "10m"))] = 30_000
    task_timeout_ms: Annotated[int, Of("tasks", duration("1s", "7d"))] = 3_600_000
    overtime_ms: Annotated[int, Of("tasks", duration("1s", "1h"))] = 60_000
    losses_max: Annotated[int, Of("tasks", number(1, 1000))] = 5

    task_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 30 * 86_400_000
    event_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 30 * 86_400_000
    events_max: Annotated[int, Of("retention", number(1000, 100_000_000))] = 1_000_000
    evidence_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 30 * 86_400_000
    period_kept_ms: Annotated[int, Of("retention", duration("1d", "3650d"))] = 400 * 86_400_000
    memory_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 90 * 86_400_000
    memory_messages_max: Annotated[int, Of("retention", number(1, 1_000_000))] = 1000
    dedup_kept_ms: Annotated[int, Of("retention", duration("1h", "3650d"))] = 7 * 86_400_000

    hub: Annotated[str, Of("daemon", TEXT, ("UNDERSTUDY_HUB", "WORKERS_URL"))] = ""
    daemon_id: Annotated[str, Of("daemon", TEXT)] = ""
    capacity: Annotated[int, Of("daemon", number(1, 256))] = 1
    provides: Annotated[tuple[str, ...], Of("daemon", WORDS)] = ("machine",)
    poll_wait_ms: Annotated[int, Of("daemon", duration("0s", "60s"))] = 15_000
    drain_ms: Annotated[int, Of("daemon", duration("0s", "1d"))] = 20_000
    task_cwd: Annotated[str, Of("daemon", TEXT)] = ""
    task_env_pass: Annotated[tuple[str, ...], Of("daemon", WORDS)] = ()
    ca_file: Annotated[str, Of("daemon", TEXT)] = ""

    log_level: Annotated[str, Of("log", one_of("debug", "info", "warning", "critical"))] = "info"
    log_form: Annotated[str, Of("log", one_of("pretty", "json"))] = "pretty"

    api_key: Annotated[str, Of("keys", SECRET)] = field(default="", repr=False)
    assistant_api_key: Annotated[str, Of("keys", SECRET, ("ASSISTANT_API_KEY",))] = field(default="", repr=False)
    queue_api_key: Annotated[str, Of("keys", SECRET, ("QUEUE_API_KEY",))] = field(default="", repr=False)
    workers_api_key: Annotated[str, Of("keys", SECRET, ("WORKERS_API_KEY",))] = field(default="", repr=False)
    admin_api_key: Annotated[str, Of("keys", SECRET, ("ADMIN_API_KEY",))] = field(default="", repr=False)


# Read from the environment only: where the file is, and what concerns a terminal rather than a program.
ENVIRONMENT_ONLY = ("UNDERSTUDY_DATA", "UNDERSTUDY_CONFIG", "UNDERSTUDY_LANG", "UNDERSTUDY_DEBUG")
# what a run of ours carries, and what crash tests set
_INTERNAL = frozenset({"UNDERSTUDY_RUN_ID", "UNDERSTUDY_TASK_ID", "UNDERSTUDY_FAIL_POINT_FILE"})


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table."""

    name: str
    attribute: str
    of: Of
    default: Any

    @property
    def env(self) -> tuple[str, ...]:
        """Its names in the environment, the first one is the one to show."""
        return self.of.env or (f"UNDERSTUDY_{self.name.upper()}",)

    @property
    def is_secret(self) -> bool:
        """Whether its value is never shown."""
        return self.of.kind is SECRET


@cache
def table() -> dict[str, Setting]:
    """Every setting by name, in the order above."""
    hints = get_type_hints(Settings, include_extras=True)
    rows = (
        Setting(f.name.removesuffix("_ms"), f.name, hints[f.name].__metadata__[0], f.default)
        for f in dataclasses.fields(Settings)
    )
    return {row.name: row for row in rows}


# ---- reading


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, where each that is no default came from, and what was adapted or looks wrong."""

    settings: Settings
    origins: dict[str, str]
    notes: tuple[str, ...] = ()


def user_data_dir(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """`UNDERSTUDY_DATA`, else where this platform keeps a user's data."""
    if chosen := environ.get("UNDERSTUDY_DATA"):
        return Path(chosen).expanduser()
    home = Path(environ.get("HOME") or Path.home())
    if platform == "darwin":
        return home / "Library" / "Application Support" / "understudy"
    shared = environ.get("XDG_DATA_HOME", "")
    return (Path(shared) if shared.startswith("/") else home / ".local" / "share") / "understudy"


def load(environ: Mapping[str, str], data_dir: Path, **options: Any) -> Loaded:
    """All settings of this start; `options` are those of the command line, None where not given. ConfigError."""
    values, origins = read(environ, data_dir)
    for name, value in options.items():
        if value is not None:
            values[name] = value
            origins[name] = f"--{name.replace('_', '-')}"
    settings = Settings(**{table()[name].attribute: value for name, value in values.items()})
    settings, notes = related(settings, origins)
    return Loaded(settings, origins, (*notes, *unknown_names(environ)))


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
    """The keys that are set, by their names in the environment (CONTRACT 0)."""
    rows = [row for row in table().values() if row.is_secret]
    return {row.env[0]: value for row in rows if (value := getattr(settings, row.attribute))}


def _parsed(row: Setting, raw: Any, origin: str) -> Any:
    try:
        return row.of.kind.parse(raw)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _from_file(environ: Mapping[str, str], data_dir: Path) -> Iterator[tuple[str, Any, str]]:
    """(name, value, origin) of each line of the file, if there is one."""
    chosen = environ.get("UNDERSTUDY_CONFIG")
    path = Path(chosen).expanduser() if chosen else data_dir / FILE_NAME
    if not chosen and not path.exists():
        return
    for key, raw in _toml(path).items():
        row = table().get(key)
        if row is None and (secret := table().get(key.removesuffix("_file"))) and secret.is_secret:
            yield secret.name, _file_text(Path(str(raw)).expanduser(), key), f"{path}: {key}"
        elif row is None:
            raise ConfigError(t("config.unknown_key", path=path, key=key, mend=_nearest(key, tuple(table()))))
        else:
            yield key, raw, f"{path}: {key}"


def _toml(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - most clients have no such file

    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(t("config.file_too_large", path=path, limit=FILE_BYTES_MAX))
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(t("config.unreadable", path=path, reason=error.strerror or error)) from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
        raise ConfigError(t("config.not_toml", path=path, reason=error)) from None


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    """(name, value, origin) of each variable that is set; an empty one is not."""
    for row in table().values():
        for env in reversed(row.env):  # the first name is the strongest
            found, origin = environ.get(env, ""), env
            if row.is_secret and (path := environ.get(f"{env}_FILE")):
                if found:
                    raise ConfigError(t("config.both", name=env))
                found, origin = _file_text(Path(path).expanduser(), f"{env}_FILE"), f"{env}_FILE"
            if found:
                yield row.name, found, origin


def _file_text(path: Path, name: str) -> str:
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(t("config.secret_unreadable", name=name, path=path, reason=reason)) from None
    if not text:
        raise ConfigError(t("config.secret_empty", name=name, path=path))
    return text


def unknown_names(environ: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each `UNDERSTUDY_…` variable that means nothing to us: likely a slip of the keyboard."""
    known = {env for row in table().values() for env in row.env} | {*ENVIRONMENT_ONLY, *_INTERNAL}
    known |= {f"{row.env[0]}_FILE" for row in table().values() if row.is_secret}
    strange = sorted(name for name in environ if name.startswith("UNDERSTUDY_") and name not in known)
    return tuple(t("config.unknown_name", name=name, mend=_nearest(name, tuple(known))) for name in strange)


def _nearest(word: str, known: tuple[str, ...]) -> str:
    import difflib  # noqa: PLC0415 - for mistakes only

    close = difflib.get_close_matches(word, known, 1)
    return t("config.did_you_mean", name=close[0]) if close else t("config.see_documentation")


# ---- relations between settings (STYLE 17)


def related(settings: Settings, origins: Mapping[str, str]) -> tuple[Settings, tuple[str, ...]]:
    """The settings that hold together, with a sentence for each that was adapted; ConfigError if none would."""
    notes: list[str] = []
    if "://" in settings.store:
        raise ConfigError(t("config.store_unsupported", scheme=settings.store.partition("://")[0]))
    beats = 2 * settings.heartbeat_interval_ms
    distance = max(settings.down_after_ms - settings.late_after_ms, 0)
    if settings.late_after_ms < beats:
        shown = {"late": settings.late_after_ms, "interval": settings.heartbeat_interval_ms, "used": beats}
        notes.append(t("config.late_too_short", **{name: duration_text(ms) for name, ms in shown.items()}))
        down_ms = settings.down_after_ms if settings.down_after_ms > beats else beats + distance
        settings = dataclasses.replace(settings, late_after_ms=beats, down_after_ms=down_ms)
    if settings.down_after_ms <= settings.late_after_ms:
        settings, note = _in_order(settings, origins)
        notes.append(note)
    return settings, tuple(notes)


def _in_order(settings: Settings, origins: Mapping[str, str]) -> tuple[Settings, str]:
    """Down comes after late: the one that nobody set gives way; two that were set contradict each other."""
    late, down = settings.late_after_ms, settings.down_after_ms
    shown = {"late": duration_text(late), "down": duration_text(down)}
    if "down_after" not in origins:
        used = late + table()["down_after"].default - table()["late_after"].default
        return dataclasses.replace(settings, down_after_ms=used), t(
            "config.down_follows", **shown, used=duration_text(used)
        )
    used = max(down * 3 // 5, 2 * settings.heartbeat_interval_ms)
    if "late_after" not in origins and used < down:
        return dataclasses.replace(settings, late_after_ms=used), t(
            "config.late_follows", **shown, used=duration_text(used)
        )
    raise ConfigError(t("config.contradiction", **shown))
