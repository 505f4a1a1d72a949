"""Faults in the files of a Worker: a necessary setting that is missing, or a secret in the open."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

from understudy.cli.findings.finding import NOTICE, OK, PROBLEM, Finding
from understudy.config.table import table
from understudy.config.worker_vars import texts_of
from understudy.errors import ConfigError, UnderstudyError
from understudy.redact import Redactor
from understudy.texts import language_from, t

FILE, PACKAGES, OURS = "wrangler.jsonc", "requirements.txt", "python_modules/understudy"
BINDING, OBJECT, WORKER = "TASK_COORDINATOR", "TaskCoordinator", "Default"
DATE = "2026-11-01"  # of the template; an earlier one has another Python
FLAGS = ("python_workers", "enable_request_signal", "request_signal_passthrough")
FILE_BYTES_MAX = 1 << 20
# may be secrets: of a key, and of every channel that works in a Worker
_TOKENS = ("UNDERSTUDY_API_KEY", "TELEGRAM_BOT_TOKEN", "UNDERSTUDY_WEBHOOK_SECRET")
_ADDRESSES = ("SLACK_WEBHOOK_URL", "DISCORD_WEBHOOK_URL", "NTFY_URL", "UNDERSTUDY_WEBHOOK_URL")
_STRING = r'("(?>(?:[^"\\\n]|\\.){0,4096})")'
_STRING_OR_COMMENT = re.compile(_STRING + r"|//[^\n]{0,4096}+|/\*(?>(?:[^*]|\*(?!/)){0,8192})\*/")
_LAST_COMMA = re.compile(_STRING + r"|,(?=\s{0,256}+[}\]])")


def configuration_of(directory: Path) -> dict[str, Any]:
    """The content of wrangler.jsonc. ConfigError with its place if it cannot be read."""
    path = directory / FILE
    try:
        text = path.read_bytes()[:FILE_BYTES_MAX].decode()
        found = json.loads(_LAST_COMMA.sub(_kept, _STRING_OR_COMMENT.sub(_kept, text)))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            t("cli.check.unreadable", path=path, reason=getattr(error, "strerror", "") or error)
        ) from None
    if not isinstance(found, dict):
        raise ConfigError(t("cli.check.unreadable", path=path, reason="{…}"))
    return found


def _kept(match: re.Match[str]) -> str:
    return match.group(1) or " "


def look(directory: Path, found: dict[str, Any]) -> Iterator[Finding]:
    """All that is wrong, or one line that nothing is."""
    wrong = [*_object(found), *_flags(found), *_vars(found), *_entry(directory, found), *_packages(directory)]
    yield from wrong
    if all(finding.level == OK for finding in wrong):
        yield Finding("settings", OK, t("cli.check.settings.ok", path=directory / FILE))


def _wrong(setting: str, **values: Any) -> Finding:
    what, fix = t(f"cli.check.{setting}.what", **values), t(f"cli.check.{setting}.fix", **values)
    return Finding(setting, PROBLEM, what, t(f"cli.check.{setting}.why", **values), fix)


def _object(found: dict[str, Any]) -> Iterator[Finding]:
    """The binding and its migration; without them the object has no storage that is ours."""
    bindings = _list(_dict(found.get("durable_objects")).get("bindings"))
    if {"name": BINDING, "class_name": OBJECT} not in [
        {key: _dict(row).get(key) for key in ("name", "class_name")} for row in bindings
    ]:
        yield _wrong("binding", name=BINDING, object=OBJECT)
    migrations = [_dict(row) for row in _list(found.get("migrations"))]
    if not any(row.get("tag") and OBJECT in _list(row.get("new_sqlite_classes")) for row in migrations):
        yield _wrong("migration", object=OBJECT)


def _flags(found: dict[str, Any]) -> Iterator[Finding]:
    missing = [flag for flag in FLAGS if flag not in _list(found.get("compatibility_flags"))]
    if missing:
        yield _wrong("flags", flags=", ".join(missing))
    if str(found.get("compatibility_date") or "") < DATE:
        yield _wrong("date", date=DATE)


def _vars(found: dict[str, Any]) -> Iterator[Finding]:
    """Everybody who may see the account's Workers can read these: no secret belongs here."""
    given = _dict(found.get("vars"))
    values = texts_of(given)
    secret = {env for row in table().values() if row.is_secret for env in row.env}
    for name, value in given.items():
        if name in secret or Redactor(()).clean(str(value)) != str(value):
            yield _wrong("secret", name=name)
        if name not in values:
            yield _wrong("shape", name=name)
    yield from _start({name: value for name, value in values.items() if name not in secret})


def _start(values: dict[str, str]) -> Iterator[Finding]:
    """All that the hub judges at its start, beside secrets that nobody sees here."""
    from understudy.config.worker_inputs import inputs_of

    try:
        notes = inputs_of(_with_secrets(values), language_from(os.environ)).notes
    except UnderstudyError as error:
        yield Finding("vars", PROBLEM, error.message, fix=t("cli.check.vars.fix"))
        return
    for note in notes:
        yield Finding("vars", NOTICE, note, fix=t("cli.check.vars.fix"))


def _with_secrets(values: dict[str, str]) -> dict[str, str]:
    """With a stand-in for each secret that a start may need: what is only wrong without it is not known to be wrong."""
    token, address = token_hex(32), "https://secret.invalid/topic"
    secrets = dict.fromkeys(_TOKENS, token) | dict.fromkeys(_ADDRESSES, address) | {"TELEGRAM_CHAT_ID": "1"}
    if "SLACK_CHANNEL_ID" in values:
        secrets["SLACK_BOT_TOKEN"] = token
    return secrets | values


def _entry(directory: Path, found: dict[str, Any]) -> Iterator[Finding]:
    """The file must give both classes; a class of its own without `alarm` would never look at a deadline."""
    main = Path(str(found.get("main") or ""))
    path = directory / main
    if main.is_absolute() or ".." in main.parts:
        yield _wrong("entry", path=path, reason=t("cli.check.outside", path=directory))
        return
    try:
        tree = ast.parse(path.read_bytes()[:FILE_BYTES_MAX])
    except (OSError, ValueError, SyntaxError, RecursionError) as error:
        yield _wrong("entry", path=path, reason=getattr(error, "strerror", "") or getattr(error, "msg", "") or error)
        return
    names = {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    missing = [name for name in (WORKER, OBJECT) if name not in names | classes.keys()]
    if missing:
        yield _wrong("exports", path=path, names=", ".join(missing))
    if OBJECT in classes and not _has_alarm(classes[OBJECT], names):
        yield _wrong("alarm", path=path, object=OBJECT)


def _has_alarm(node: ast.ClassDef, imported: set[str]) -> bool:
    """It has the method, or is built on a class that was imported under another name."""
    own = {part.name for part in node.body if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))}
    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
    return "alarm" in own or bool(bases & (imported - {"DurableObject"}))


def _packages(directory: Path) -> Iterator[Finding]:
    from importlib.resources import files

    from understudy import __version__

    ours = directory / OURS
    try:
        lines = (directory / PACKAGES).read_bytes()[:FILE_BYTES_MAX].decode().split()
        version = (ours / "__init__.py").read_bytes()[:FILE_BYTES_MAX].decode()
    except (OSError, ValueError) as error:
        path = getattr(error, "filename", None) or directory / PACKAGES
        yield _wrong("packages", path=path, reason=getattr(error, "strerror", "") or error)
        return
    if any(line.lower().startswith("understudy") for line in lines):
        yield _wrong("stranger", path=directory / PACKAGES)
    needed = (files("understudy.cloudflare") / "template" / PACKAGES).read_text("utf-8").split()
    if missing := _names(needed) - _names(lines):
        yield _wrong("missing", path=directory / PACKAGES, names=", ".join(sorted(missing)))
    if f'"{__version__}"' not in version:
        what = t("cli.check.version.what", path=ours, wanted=__version__)
        yield Finding("version", NOTICE, what, t("cli.check.version.why"), t("cli.check.version.fix"))


def _names(lines: list[str]) -> set[str]:
    """The packages of a list, by names that are spelt alike."""
    return {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-") for line in lines}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
