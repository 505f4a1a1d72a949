"""Keys and address that a hub leaves for clients on its machine, in files that only their owner can read."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

from understudy.clock import SystemClock
from understudy.config import secret_text
from understudy.errors import ConfigError
from understudy.ids import IdMaker
from understudy.private import make_directory, write_durably
from understudy.texts import t

CLIENT_FILE = "client.json"
API_KEY_FILE = "api-key"
ADMIN_KEY_FILE = "admin-key"
_BYTES_MAX = 64 << 10


@dataclass(frozen=True, slots=True)
class Saved:
    """Address and keys of the hub that ran here last; `data` is its data directory."""

    hub: str
    api_key: str = ""
    admin_key: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True)
class LocalKeys:
    """The two keys a hub without any makes: one for work, one that may do everything."""

    api_key: str
    admin_key: str


def load_saved(directory: Path) -> Saved | None:
    """The values saved in this directory; None if there are none, or if they cannot be read."""
    try:
        with (directory / CLIENT_FILE).open("rb") as file:
            found = json.loads(file.read(_BYTES_MAX))
        return Saved(**{name: str(found.get(name, "")) for name in ("hub", "api_key", "admin_key", "data")})
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def save(directory: Path, saved: Saved) -> Path:
    """Keep it for later commands → the file."""
    path = directory / CLIENT_FILE
    keep(path, json.dumps(asdict(saved), indent=2) + "\n")
    return path


def load_local_keys(directory: Path) -> LocalKeys | None:
    """The keys that were made here earlier; None if there are none, or if a crash has spoilt them."""
    try:
        found = [secret_text(directory / name, name).strip() for name in (API_KEY_FILE, ADMIN_KEY_FILE)]
    except ConfigError:
        return None
    return LocalKeys(*found) if all(key.isascii() and key.isprintable() for key in found) else None


def local_keys(directory: Path) -> LocalKeys:
    """The keys of this data directory, made if there are none yet."""
    known = load_local_keys(directory)
    if known is not None:
        return known
    ids = IdMaker(SystemClock(), random.SystemRandom().getrandbits)
    made = LocalKeys(ids.secret("usk"), ids.secret("usk"))
    keep(directory / API_KEY_FILE, made.api_key + "\n")
    keep(directory / ADMIN_KEY_FILE, made.admin_key + "\n")
    return made


def keep(path: Path, text: str) -> None:
    """Write a file for its owner alone, whole or not at all. ConfigError if the place is not ours to write."""
    try:
        make_directory(path.parent)
        write_durably(path, text.encode())
    except OSError as error:
        raise ConfigError(t("cli.cannot_write", path=path, reason=error.strerror or error)) from None
