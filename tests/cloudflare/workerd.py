"""One workerd: its configuration, its process, its end by any signal, and its start on what it left on disk."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from tests.cloudflare.place import SNAPSHOT, TEMPLATE, Place
from tests.ports import free_port
from tests.project.tree import ROOT

OBJECT, BINDING = "TaskCoordinator", "TASK_COORDINATOR"
DATE = "2026-11-01"
FLAGS = (
    *("python_workers", "python_workers_development", "experimental"),
    *("no_python_workers_20250116", "no_python_workers_20260610", "no_python_workers_314"),
    *("enable_request_signal", "request_signal_passthrough"),
)
SOURCE = ROOT / "src" / "understudy"
MODULES = (".py", ".pyc", ".so", ".js", ".sql", ".html", ".svg", ".css", ".png")
STARTED_WITHIN_S = 300.0  # Pyodide, the wheels and the hub are loaded with the first request
_CONFIG = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "state", disk = (path = {state}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = "127.0.0.1:{port}", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [
{modules}
  ],
  compatibilityDate = "{date}",
  compatibilityFlags = {flags},
  durableObjectNamespaces = [(className = "{object}", uniqueKey = "{object}", enableSql = true)],
  durableObjectStorage = (localDisk = "state"),
  bindings = [
    (name = "{binding}", durableObjectNamespace = "{object}"),
{variables}
  ],
);
"""


class Workerd:
    """A Worker of these Python modules (name → file; the first is the entry) on a directory of its own."""

    def __init__(
        self,
        place: Place,
        directory: Path,
        modules: Mapping[str, Path],
        variables: Mapping[str, str] | None = None,
        *,
        starts_from_snapshot: bool = True,
        wheels: bool = True,
    ) -> None:
        """`wheels`: add what pip made to the modules."""
        self._place = place
        self._directory = directory
        self._wheels = wheels
        self._starts_from_snapshot = starts_from_snapshot
        self._saving: Path | None = None  # the directory of a snapshot that is being written
        self.state = directory / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._config = directory / "config.capnp"
        self._config.write_text(self._configuration(modules, variables or {}), "utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def _configuration(self, modules: Mapping[str, Path], variables: Mapping[str, str]) -> str:
        every = {**modules, **(dict(packages(self._place.python_modules)) if self._wheels else {})}
        return _CONFIG.format(
            state=_text(str(self.state)),
            port=self.port,
            modules="\n".join(self._module(name, path) for name, path in every.items()),
            date=DATE,
            flags=json.dumps(FLAGS),
            object=OBJECT,
            binding=BINDING,
            variables="\n".join(f"    (name = {_text(n)}, text = {_text(v)})," for n, v in variables.items()),
        )

    def _module(self, name: str, path: Path) -> str:
        """Files are embedded by a path that is relative to the configuration; `/` begins one of workerd's own."""
        kind = "pythonModule" if path.suffix == ".py" else "data"
        return f"    (name = {_text(name)}, {kind} = embed {_text(os.path.relpath(path, self._directory))}),"

    # ---- its process

    def start(self) -> None:
        """Start, and wait for the first answer, whatever it is."""
        self.begin()
        self.answers()

    def begin(self) -> None:
        """Start, and ask it nothing: only an alarm that it has kept wakes its object."""
        command = [str(self._place.program), "serve", "--experimental"]
        command += ["--pyodide-bundle-disk-cache-dir", str(self._place.root), *self._snapshot_options()]
        command.append(str(self._config))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory)

    def answers(self) -> None:
        """Wait for an answer, whatever it is."""
        assert self.is_up(STARTED_WITHIN_S), f"no answer of workerd: {self.said()[-3000:]}"

    def _snapshot_options(self) -> list[str]:
        """Start from Pyodide's memory after its own start, which no Worker changes; the first start writes it.

        It halves the CPU of a start. The Worker's own modules are in no snapshot: they are imported each time.
        """
        if not self._starts_from_snapshot:
            return []
        kept = self._place.snapshot
        if kept.exists():
            return [f"--python-load-snapshot={kept.name}", f"--python-snapshot-dir={kept.parent}"]
        self._saving = Path(tempfile.mkdtemp(dir=self._place.root))
        return ["--python-save-baseline-snapshot", f"--python-snapshot-dir={self._saving}"]

    def _keep_snapshot(self) -> None:
        """What this start wrote is there for all that follow; it is whole, because workerd answers after it."""
        if self._saving is not None:
            (self._saving / SNAPSHOT).replace(self._place.snapshot)
            self._forget_saving()

    def _forget_saving(self) -> None:
        if self._saving is not None:
            shutil.rmtree(self._saving, ignore_errors=True)
            self._saving = None

    def is_up(self, within_s: float) -> bool:
        """True once it answers; False if it has not done so by then."""
        until = time.monotonic() + within_s
        while (left_s := until - time.monotonic()) > 0:
            assert self._process is not None
            assert self._process.poll() is None, f"workerd ended: {self.said()[-3000:]}"
            with suppress(OSError):
                self.ask("GET", "/health", timeout_s=left_s)
                self._keep_snapshot()
                return True
            time.sleep(0.05)
        return False

    def kill(self) -> None:
        """SIGKILL, whatever it is doing."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)
        self._process = None
        self._forget_saving()

    def stop(self) -> None:
        """The same, if it runs: at a SIGTERM it would wait for every stream to end."""
        if self._process is not None:
            self.kill()

    @property
    def pid(self) -> int:
        """Of its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        """The file of what it says."""
        return self._directory / "workerd.log"

    def said(self) -> str:
        """All that it has said."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = STARTED_WITHIN_S,
    ) -> tuple[int, bytes]:
        """One request on a connection of its own: status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def packages(python_modules: Path) -> Iterator[tuple[str, Path]]:
    """What pip made, as modules of a Worker."""
    for name, path in _taken_along(python_modules, ""):
        yield f"python_modules/{name}", path


def understudy() -> Iterator[tuple[str, Path]]:
    """The package as modules of a Worker."""
    return _taken_along(SOURCE, "understudy/")


def _taken_along(directory: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """Name and file of each module, without what the configuration of `deploy init` leaves out."""
    left_out = worker_configuration()["python_modules"]["exclude"]
    for path in files(directory):
        name = f"{prefix}{path.relative_to(directory).as_posix()}"
        if not any(fnmatch(name, pattern) for pattern in left_out):
            yield name, path


@cache
def worker_configuration() -> Any:
    """wrangler.jsonc as `deploy init` writes it."""
    lines = (TEMPLATE / "wrangler.jsonc").read_text("utf-8").splitlines()
    return json.loads("\n".join(line for line in lines if not line.strip().startswith("//")))


def files(directory: Path, suffixes: Iterable[str] = MODULES) -> Iterator[Path]:
    """Files of these kinds in and below a directory, in order; nothing that an interpreter left there."""
    for path in sorted(directory.rglob("*")):
        inside = path.relative_to(directory).parts
        is_kept = path.suffix in suffixes or ("zoneinfo" in inside and path.is_file())  # time zones have no suffix
        if is_kept and "__pycache__" not in inside and inside[0] != "bin":
            yield path


def _text(value: str) -> str:
    """A text in a configuration."""
    return json.dumps(value, ensure_ascii=False)
