"""The programs of a check: each has a deadline, its whole tree ends with it, and it sees no key of this shell."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import ConfigError
from understudy.texts import t

NODE_MIN, NODE = 22, "node@22"  # wrangler 4 refuses an older one
WRANGLER = "wrangler@4"
VERSION_S_MAX = 20.0
OUTPUT_BYTES_MAX = 4 << 20
# what npm, pip and wrangler need: no key of this shell, and no word to anybody
_TAKEN = re.compile(
    r"PATH|HOME|TMPDIR|LANG|LC_\w{1,64}+|PIP_\w{1,64}+|npm_config_\w{1,64}+|(?:HTTPS?|NO)_PROXY|SSL_CERT_\w{1,64}+|NODE_EXTRA_CA_CERTS",
    re.IGNORECASE,
)
_QUIET = {"WRANGLER_SEND_METRICS": "false", "NO_UPDATE_NOTIFIER": "1", "CI": "1", "NO_COLOR": "1"}


@dataclass(frozen=True, slots=True)
class ProgramOutcome:
    """The end of a program; `code` None: it was ended at its deadline."""

    code: int | None
    said: str


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of every program here."""
    return {name: value for name, value in environ.items() if _TAKEN.fullmatch(name)} | _QUIET


def wrangler(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The command of npm's wrangler; with npm's Node where this machine's is too old. ConfigError without npm."""
    path = environ.get("PATH")
    npx, node = shutil.which("npx", path=path), shutil.which("node", path=path)
    if npx is None or node is None:
        raise ConfigError(t("cli.check.no_npm"))
    newer = () if _major(node, environ) >= NODE_MIN else ("-p", NODE)
    return (npx, "--yes", *newer, "-p", WRANGLER, "wrangler")


def _major(node: str, environ: Mapping[str, str]) -> int:
    found = re.match(r"v(\d{1,4})\.", run((node, "--version"), Path("/"), VERSION_S_MAX, environ).said)
    return int(found.group(1)) if found else 0


def run(command: Sequence[str], directory: Path, within_s: float, environ: Mapping[str, str]) -> ProgramOutcome:
    """Run it to its end, or end it with all that it started. ConfigError if it cannot be started."""
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ConfigError(t("cli.check.no_start", program=command[0], reason=error.strerror or error)) from None
    try:
        said, _ = process.communicate(timeout=within_s)
        return ProgramOutcome(process.returncode, said[-OUTPUT_BYTES_MAX:].decode("utf-8", "replace"))
    except subprocess.TimeoutExpired:
        return ProgramOutcome(None, "")
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole tree: a session of its own is a process group, and what left that is found by its parents."""
    import psutil

    try:
        tree = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        tree = []
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all of it has ended
        os.killpg(process.pid, signal.SIGKILL)
    for child in tree:
        try:
            child.kill()
        except psutil.Error:
            continue
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
