"""Versions of this program on a daemon's machine: each in an environment of its own, one of them current.

```
<data>/daemon/environments/<version>-<id>/  a virtual environment made by an update; `original/`: the first installation
<data>/daemon/current -> environments/…     what a service starts: `current/bin/understudy`
```
An update is remote code: a wheel must have the SHA-256 that the directive names, before anything of it is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from understudy.clock import MS_PER_S, SystemClock
from understudy.daemon.home import aged_files, environments_in_use
from understudy.daemon.index import has_own_index, sources_of
from understudy.daemon.interpreter import missing_part
from understudy.daemon.saved_directives import updates_begun
from understudy.errors import UnderstudyError
from understudy.private import OTHERS, open_private, own_directory, sync_directory, sync_to_disk, write_private
from understudy.wire.causes import cause_of
from understudy.wire.dial import TROUBLE, Server, TrustedCertificates
from understudy.wire.limits import is_id
from understudy.worker.directives import ReceivedDirective

PACKAGE = "understudy"
ORIGINAL = "original"
INCOMING = ".incoming-"
LEFT_OVER_MS = 86_400_000  # no installation takes a day: what is older is of one that was killed
KEPT = 2  # environments besides the original: the current one, and the one to go back to
WHEEL_BYTES_MAX = 64 << 20
CHUNK_BYTES = 1 << 16
FETCHES_MAX = 3  # redirects and failures together
CONNECT_S, STEP_S = 10.0, 30.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
SAID_CHARS_MAX = 500
_WHEEL = re.compile(r"[A-Za-z0-9_.+-]{1,200}\.whl")
_ASKED = re.compile(r"[0-9A-Za-z][0-9A-Za-z.!+_-]{0,63}")  # a version, as it becomes the name of a directory
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_VERSION = re.compile(rf"^{PACKAGE} (\S{{1,100}})$", re.MULTILINE)
# what an installer needs to know of its surroundings, and nothing that is secret
ENV_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "TZ")
_LOWER = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
ENV_KEPT_LIKE = ("LC_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", *_LOWER)


class InstallError(UnderstudyError):
    """A version could not be installed; nothing has changed."""

    code = "install"


def launcher(data_dir: Path) -> Path:
    """The command of the current version, for services: its path stays the same through updates."""
    return Installation(data_dir).launcher()


class Installation:
    """The environments below one data directory."""

    def __init__(self, data_dir: Path, ambient: Mapping[str, str] | None = None) -> None:
        self.root = data_dir.absolute() / "daemon"
        self.environments = self.root / "environments"
        self.current = self.root / "current"
        ambient = os.environ if ambient is None else ambient
        kept = {k: v for k, v in ambient.items() if k in ENV_KEPT or k.startswith(ENV_KEPT_LIKE)}
        self._env = {**kept, **sources_of(ambient), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def launcher(self) -> Path:
        """`current/bin/understudy`, for a service that is being installed.

        `original` is this program, unless an update made this one: what it named before may be old, or gone.
        """
        script = self._original()
        if script.exists() and not self.running():
            self._make_original(script)
        self.have_current()
        return self.current / "bin" / PACKAGE

    def have_current(self) -> None:
        """Make the program that runs now the current one if the current one is not there, or its Python is not."""
        if missing_part(self.current / "bin" / PACKAGE) is not None:
            self._make_original(self._original())
            self.switch(ORIGINAL)

    def _original(self) -> Path:
        return self.environments / ORIGINAL / "bin" / PACKAGE

    def switch(self, environment: str) -> None:
        """Make an environment the current one, in one step, on disk when this returns. OSError."""
        fresh = self.root / f".current-{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("environments") / environment)
        fresh.replace(self.current)
        sync_to_disk(self.root)

    def running(self) -> str:
        """The name of the environment that this process runs in; "" if no update made it."""
        prefix = Path(sys.prefix).absolute()
        return prefix.name if prefix.parent == self.environments else ""

    def prune(self, kept: str, taken_back: Iterable[str] = ()) -> None:
        """Remove what updates with these ids made and old environments: all but `kept`, the original, the newest.

        The current one, and those in which other daemons of this data directory run or are about to run stay as well.
        """
        self._remove_left_over()
        if not self.environments.is_dir():
            return
        current = {self.current.readlink().name} if self.current.is_symlink() else set()
        spared = {kept, ORIGINAL, *current, *environments_in_use(self.root.parent)}
        coming = tuple(_tail(t) for t in updates_begun(self.root.parent).difference(taken_back) if is_id(t))
        found = (path for path in self.environments.iterdir() if path.name not in spared)
        others = [path for path in found if not path.name.endswith(coming)]
        for path in others:
            if any(path.name.endswith(_tail(t)) for t in taken_back if is_id(t)):
                shutil.rmtree(path, ignore_errors=True)
        made = [path for _, path in sorted(aged_files(others), key=lambda found: found[0].st_mtime)]
        beside = KEPT - (kept not in ("", ORIGINAL))
        for path in made[: max(0, len(made) - beside)]:
            shutil.rmtree(path, ignore_errors=True)

    def _remove_left_over(self) -> None:
        """Wheels of installations that were killed; another daemon of this directory may be installing one now."""
        for path in self.root.glob(f"{INCOMING}*"):
            with contextlib.suppress(OSError):
                if abs(SystemClock().now_ms() - path.stat().st_mtime * MS_PER_S) > LEFT_OVER_MS:
                    shutil.rmtree(path, ignore_errors=True)

    def install(self, directive: ReceivedDirective, timeout_ms: int) -> tuple[str, str]:
        """Install what a directive names → (environment, version). InstallError if that fails or takes too long."""
        check_update(directive)
        until_s = time.monotonic() + timeout_ms / 1000
        self._make_room()
        environment = self.environments / f"{directive.version or 'wheel'}{_tail(directive.id)}"
        shutil.rmtree(environment, ignore_errors=True)
        try:
            with tempfile.TemporaryDirectory(dir=self.root, prefix=INCOMING) as folder:
                wheel = self._wheel(directive, Path(folder), until_s)
                self._make(environment, wheel, until_s)
                version = self._proven(environment, directive, until_s)
                _sync(environment)
                return environment.name, version
        except (InstallError, OSError, ValueError) as error:  # ValueError: a path or an address that is none
            shutil.rmtree(environment, ignore_errors=True)
            raise (
                error if isinstance(error, InstallError) else InstallError(f"it could not be installed: {error}")
            ) from error

    def stop(self) -> None:
        """End what is being installed: this life is over."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                _end(self._process)

    def _make_room(self) -> None:
        for path in (self.root, self.environments):
            own_directory(path)

    def _make_original(self, path: Path) -> None:
        """A script that starts this very program, as long as no update has been made."""
        script = os.fsencode(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m {PACKAGE} "$@"\n')
        if path.exists() and path.read_bytes() == script:
            return
        self._make_room()
        own_directory(path.parent.parent)
        own_directory(path.parent)
        write_private(path, script, executable=True)

    def _wheel(self, directive: ReceivedDirective, folder: Path, until_s: float) -> Path:
        if directive.wheel is None:
            if directive.sha256 is None and not has_own_index(self._env):
                raise InstallError(
                    f"the public index has another program called {PACKAGE}: give the wheel's SHA-256 as well, "
                    "or name an index of yours in PIP_INDEX_URL on the daemon's machine"
                )
            requirement = f"{PACKAGE}=={directive.version}"
            self._run(
                [*_pip(), "download", "--no-deps", "--only-binary", ":all:", "-d", str(folder), requirement], until_s
            )
            found = next(folder.glob("*.whl"), None)
            if found is None:
                raise InstallError("pip downloaded no wheel")
            wheel = found
        else:
            wheel = folder / _name_of(directive.wheel)
            _fetch(directive.wheel, wheel, until_s)
        if directive.sha256 is not None and _sha256(wheel) != directive.sha256.lower():
            raise InstallError("the wheel is not the one that was asked for: its SHA-256 is another")
        return wheel

    def _make(self, environment: Path, wheel: Path, until_s: float) -> None:
        python = str(environment / "bin" / "python")
        has_pip = importlib.util.find_spec("pip") is not None
        self._run(
            [sys.executable, "-P", "-m", "venv", *(["--without-pip"] if has_pip else []), str(environment)], until_s
        )
        pip = [*_pip(), "--python", python] if has_pip else [python, "-P", "-m", "pip"]
        self._run([*pip, "install", "--no-input", "--no-compile", "--disable-pip-version-check", str(wheel)], until_s)

    def _proven(self, environment: Path, directive: ReceivedDirective, until_s: float) -> str:
        """The version that it says it is, once it was started."""
        said = self._run([str(environment / "bin" / PACKAGE), "--version"], until_s)
        found = _VERSION.search(said)
        if found is None:
            raise InstallError(f"what was installed does not start: {said[-SAID_CHARS_MAX:]}")
        if directive.version is not None and found[1] != directive.version:
            raise InstallError(f"version {directive.version} was asked for, {found[1]} was installed")
        return found[1]

    def _run(self, argv: Sequence[str], until_s: float) -> str:
        """Run one step to its end → what it said. InstallError, with its whole tree killed, if it is not in time."""
        with self._lock:
            if self._is_stopped:
                raise InstallError("the daemon was stopped meanwhile")
            process = self._process = subprocess.Popen(
                list(argv),
                env=self._env,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=OTHERS,
            )
        try:
            said = process.communicate(timeout=max(0.1, until_s - time.monotonic()))[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            raise InstallError("it did not get ready in time") from None
        finally:
            with self._lock:
                self._process = None
            _end(process)
            if process.stdout is not None:
                process.stdout.close()
        if process.returncode:
            raise InstallError(f"{Path(argv[0]).name} failed: {_last_words(said)}")
        return said


def _sync(environment: Path) -> None:
    """All of it on disk: after a power cut `current` points at files that are whole."""
    for folder, _, names in os.walk(environment):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            if not path.is_symlink():
                sync_directory(path)
    sync_to_disk(environment.parent)


def check_update(directive: ReceivedDirective) -> None:
    """InstallError for a name that must not become a path, and for a wheel without its hash.

    The hub checks the same; this machine does not rely on it.
    """
    if not is_id(directive.id):
        raise InstallError("the directive has no valid id")
    if directive.version is not None and not _ASKED.fullmatch(directive.version):
        raise InstallError(f"{directive.version[:80]!r} is no version")
    if directive.sha256 is not None and not _SHA256.fullmatch(directive.sha256):
        raise InstallError("the SHA-256 is none: it has 64 hexadecimal digits")
    if (directive.version is None) == (directive.wheel is None):
        raise InstallError("it names neither a version nor a wheel, or both")
    if directive.wheel is not None and directive.sha256 is None:
        raise InstallError("a wheel needs its SHA-256")


def _last_words(said: str) -> str:
    """The end of what a step said, whole lines of it."""
    end = said.strip()[-SAID_CHARS_MAX:]
    return end if len(end) == len(said.strip()) else end[end.find("\n") + 1 :]


def _tail(directive_id: str) -> str:
    """The suffix that distinguishes the environments of two updates."""
    return f"-{directive_id[-12:]}"


def _pip() -> list[str]:
    return [sys.executable, "-P", "-m", "pip"]


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _name_of(wheel: str) -> str:
    """The name of the file, which tells an installer what is in it; InstallError for any other."""
    try:
        name = unquote(urlsplit(wheel).path if "://" in wheel else wheel).rpartition("/")[2]
    except ValueError:
        name = wheel[:80]
    if not _WHEEL.fullmatch(name):
        raise InstallError(f"{name!r} is no name of a wheel")
    return name


def _fetch(source: str, target: Path, until_s: float) -> None:
    """Bring the wheel here, from a path or a URL, at most so large."""
    if not source.startswith(("http://", "https://")):
        if Path(source).stat().st_size > WHEEL_BYTES_MAX:
            raise InstallError(f"the wheel is larger than {WHEEL_BYTES_MAX} bytes")
        if not Path(source).is_file():  # a pipe would be waited for without end
            raise InstallError("the wheel is no file")
        with Path(source).open("rb") as given, open_private(target, "wb") as file:
            shutil.copyfileobj(given, file)
        return
    why = "redirected too often"
    for _ in range(FETCHES_MAX):
        try:
            moved_to = _fetch_from(source, target, until_s)
        except TROUBLE as error:
            why = cause_of(error)
            continue
        if not moved_to:
            return
        source = urljoin(source, moved_to)
    raise InstallError(f"the wheel could not be fetched: {why}")


def _fetch_from(url: str, target: Path, until_s: float) -> str:
    """Write what is there; "" then, else where it has moved. InstallError, or one of TROUBLE: it may be tried again."""
    server = Server(url, TrustedCertificates())
    step_s = max(0.1, min(STEP_S, until_s - time.monotonic()))
    with contextlib.closing(server.connect(min(CONNECT_S, step_s), step_s)) as connection:
        connection.request("GET", server.target, headers={"User-Agent": PACKAGE, **server.headers})
        with contextlib.closing(connection.getresponse()) as answer:
            moved_to = answer.headers.get("Location", "")
            if answer.status in REDIRECTS and moved_to:
                return moved_to
            if answer.status != HTTPStatus.OK:
                raise InstallError(f"the wheel could not be fetched: HTTP {answer.status}")
            _write(answer, target, until_s)
    return ""


def _write(answer: HTTPResponse, target: Path, until_s: float) -> None:
    with open_private(target, "wb") as file:
        while chunk := answer.read1(CHUNK_BYTES):
            file.write(chunk)
            if file.tell() > WHEEL_BYTES_MAX or time.monotonic() > until_s:
                raise InstallError("the wheel is too large, or too slow to come")
    if answer.length:
        raise IncompleteRead(b"", answer.length)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
