"""The build: packages for the Python of a Worker, wrangler's own trial, its size, and the CPU of the start."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy.cli.deploy_check import INSTALL, programs
from understudy.cli.deploy_check.settings import FILE, PACKAGES
from understudy.cli.findings.finding import OK, PROBLEM, Finding
from understudy.private import write_private
from understudy.texts import t

MODULES, FETCHED = "python_modules", "msgspec"  # one of those that pip fetches
FETCH_S_MAX, TRIAL_S_MAX, START_S_MAX = 300.0, 300.0, 60.0
KIB = 1024
GZIP_KIB_MAX, FREE_KIB_MAX, PAID_KIB_MAX = 3 * KIB // 2, 3 * KIB, 10 * KIB  # ours; of Cloudflare's plans, free and paid
CPU_S_MAX, CLOUDFLARE_CPU_S_MAX = 0.5, 1.0  # ours; what an upload may take at its start (Cloudflare's limits)
# The CPU of an import in workerd over the CPU of the same here, at most; see `bench/worker_start.py`.
WORKERD_FACTOR = 2.0
WORDS_MAX = 600
_SIZE = re.compile(r"Total Upload:.{0,60}?gzip:\s{0,4}([\d.]{1,12})\s{0,4}(KiB|MiB)")
_START = """
import sys, types, time
workers = types.ModuleType("workers")
workers.DurableObject = workers.WorkerEntrypoint = object
sys.modules["workers"] = workers
sys.path[:0] = sys.argv[2:]
begun = time.process_time()
with open(sys.argv[1], "rb") as entry:
    exec(compile(entry.read(), sys.argv[1], "exec"), {"__name__": "entry"})
print(time.process_time() - begun)
"""


def look(directory: Path, found: dict[str, Any], environ: Mapping[str, str]) -> Iterator[Finding]:
    """Build it elsewhere, and judge what came of it. ConfigError if a program is missing."""
    command = programs.wrangler(environ)
    with tempfile.TemporaryDirectory(prefix="understudy-check-") as made:
        place = Path(made)
        main = str(found.get("main") or "")
        _copy(directory, place, main)
        if not (place / MODULES / FETCHED).is_dir():
            fetched = _fetch(place, environ)
            yield fetched
            if fetched.level == PROBLEM:
                return
        yield from _trial(command, place, environ)
        yield _start(place, main, environ)


def _copy(directory: Path, place: Path, main: str) -> None:
    """The files that belong to an upload, without secrets that lie beside it."""
    folder = Path(main).parts[0]  # the file itself, if it lies in no folder: then what lies beside it may go along
    beside = [] if (directory / folder).is_dir() else [path.name for path in directory.glob("*.py")]
    for name in (FILE, PACKAGES, *beside):
        if (directory / name).is_file():
            write_private(place / name, (directory / name).read_bytes())
    packages = [path.parent.name for path in directory.glob("*/__init__.py")] if beside else [folder]
    for name in {*packages, MODULES}:
        if (directory / name).is_dir():
            shutil.copytree(directory / name, place / name)


def _fetch(place: Path, environ: Mapping[str, str]) -> Finding:
    pip = [sys.executable, "-P", "-m", *INSTALL.split(), "--quiet", "--disable-pip-version-check", "--no-compile"]
    ran = programs.run(pip, place, FETCH_S_MAX, environ)
    if ran.code == 0:
        return Finding("fetch", OK, t("cli.check.fetch.ok"))
    return Finding("fetch", PROBLEM, t("cli.check.fetch.what", reason=_reason(ran, FETCH_S_MAX)), fix=INSTALL)


def _trial(command: tuple[str, ...], place: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    ran = programs.run([*command, "deploy", "--dry-run"], place, TRIAL_S_MAX, environ)
    if ran.code != 0:
        yield Finding("wrangler", PROBLEM, t("cli.check.wrangler.what", reason=_reason(ran, TRIAL_S_MAX)))
        return
    yield Finding("wrangler", OK, t("cli.check.wrangler.ok"))
    size = _SIZE.search(ran.said)
    if size is None:
        yield Finding("size", PROBLEM, t("cli.check.size.none"))
        return
    kib = float(size.group(1)) * (KIB if size.group(2) == "MiB" else 1)
    limits: dict[str, Any] = {
        "kib": round(kib),
        "most": GZIP_KIB_MAX,
        "free": FREE_KIB_MAX // KIB,
        "paid": PAID_KIB_MAX // KIB,
    }
    if kib < GZIP_KIB_MAX:
        yield Finding("size", OK, t("cli.check.size.ok", **limits))
    else:
        yield Finding("size", PROBLEM, t("cli.check.size.what", **limits), fix=t("cli.check.size.fix"))


def _start(place: Path, main: str, environ: Mapping[str, str]) -> Finding:
    """The CPU of the entry, which is all that an upload runs: its files from source, Python's own compiled."""
    command = [sys.executable, "-I", "-B", "-c", _START]
    paths = [str(place / main), str((place / main).parent), str(place / MODULES)]
    ran = programs.run([*command, *paths], place, START_S_MAX, environ)
    try:
        cpu_s = float(ran.said) * WORKERD_FACTOR if ran.code == 0 else -1.0
    except ValueError:
        cpu_s = -1.0
    if cpu_s < 0:
        return Finding("start", PROBLEM, t("cli.check.start.none", reason=_reason(ran, START_S_MAX)))
    limits: dict[str, Any] = {
        "ms": round(cpu_s * 1000),
        "most": round(CPU_S_MAX * 1000),
        "theirs": round(CLOUDFLARE_CPU_S_MAX * 1000),
    }
    limits |= {"factor": f"{WORKERD_FACTOR:g}"}
    if cpu_s <= CPU_S_MAX:
        return Finding("start", OK, t("cli.check.start.ok", **limits))
    return Finding("start", PROBLEM, t("cli.check.start.what", **limits), fix=t("cli.check.start.fix"))


def _reason(ran: programs.ProgramOutcome, within_s: float) -> str:
    """Its last words, or that it took too long."""
    if ran.code is None:
        return t("cli.check.too_slow", seconds=round(within_s))
    return " ".join(ran.said.split())[-WORDS_MAX:] or f"{ran.code}"
