"""`understudy up`: the first five minutes: hub and local daemon in one terminal, and a first task answered."""

from __future__ import annotations

import os
import queue
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click

from understudy import __version__, config
from understudy.addresses import is_loopback
from understudy.cli.children import EndedError, LoggedChild
from understudy.cli.client import HubClient
from understudy.cli.commands import Command
from understudy.cli.exits import ClientError, Exit, UnreachableError
from understudy.cli.given_command import refuse_empty
from understudy.cli.hub import check_strength, client_url
from understudy.cli.options import address_options, data_dir_of, data_option, with_warnings
from understudy.cli.port import check_free, free_port
from understudy.cli.saved import API_KEY_FILE, Saved, has_local_key, local_keys, save
from understudy.cli.submit import enqueue, wait_for_result
from understudy.cli.terminal import note, paint, safe, safe_lines, say
from understudy.clock import SystemClock
from understudy.errors import ConfigError
from understudy.line_queue import QueuedStream, queue_streams
from understudy.runtime.signals import heeded
from understudy.spans import span
from understudy.texts import t
from understudy.worker.hidden import hide

READY_MS_MAX = 30_000
NOTED_EVERY_MS = 300_000
FIRST_TASK_MS_MAX = 60_000
ANSWER_LINES_MAX = 16
HUB_STOP_S = 10.0
ADMIN_KEY = "ADMIN_API_KEY"
DAEMON_MORE_S = 10.0  # beyond its drain
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(
    "up",
    cls=Command,
    help=t("cli.up.help"),
    example="understudy up\nunderstudy up --port 9000 --data ./var\nunderstudy up -- claude -p",
    context_settings={"allow_interspersed_args": False},
)
@address_options
@data_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def up(host: str | None, port: int | None, data: Path | None, command: tuple[str, ...]) -> int:
    """Until Ctrl-C."""
    hide()
    wait_for_no_terminal()
    refuse_empty(command)
    data_dir = data_dir_of(data)
    settings = with_warnings(config.load(os.environ, data_dir, host=host, port=port))
    chosen = settings.port or free_port(settings.host)
    url = client_url(settings.host, chosen)
    check_free(settings.host, chosen, url)
    keys = config.environment_keys(settings)
    check_strength(keys, settings)
    if not keys and not is_loopback(settings.host) and not has_local_key(data_dir):
        raise ConfigError(t("cli.hub.no_key", host=settings.host))
    interruption = Interruption()
    session = UpSession(settings, data_dir, chosen, url, keys, command, interruption)
    with interruption.heeded():
        try:
            session.start()
            session.wait()
        except KeyboardInterrupt:
            return session.stop()
        except BaseException:
            session.stop(is_reported=False)
            raise
    return Exit.FAILED


class UpSession:
    """One life of `up`: two children and what is said about them."""

    def __init__(
        self,
        settings: config.Settings,
        data_dir: Path,
        port: int,
        url: str,
        keys: dict[str, str],
        command: tuple[str, ...],
        interruption: Interruption,
    ) -> None:
        self._settings = settings
        self._data_dir = data_dir
        self._port = port
        self._url = url
        self._environment_keys = keys
        self._command = command
        self._interruption = interruption
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._children: list[LoggedChild] = []
        self._key = ""
        self._admin_key = keys.get(ADMIN_KEY, "")

    def start(self) -> None:
        """Hub, daemon, first task. EndedError, ClientError."""
        say(f"{paint('understudy', 'bold')} {__version__}")
        made = self._make_keys()
        no_proxy = {"UNDERSTUDY_HUB_DRAIN": "0s"} if self._settings.hub_drain_ms < 0 else {}
        self._spawn("hub", ["hub", "--host", self._settings.host, "--port", str(self._port), *self._data()], no_proxy)
        hub = HubClient(self._url, self._key)
        self._wait_ready(hub)
        saved_in = self._leave_for_clients(made)
        where = {"UNDERSTUDY_HUB": self._url}
        self._spawn("daemon", ["daemon", *self._data()], where | self._key_file(), self._command)
        self._tell(saved_in)
        self._first_task(hub)
        for line in (
            "",
            t("cli.up.try", command=command_here()),
            "",
            paint(t("cli.shared_machine"), "yellow"),
            "",
            t("cli.up.end"),
            *self._login_link(),
        ):
            say(line)
        for child in self._children:
            child.is_talkative = True

    def wait(self) -> None:
        """Until a child ends: EndedError; Ctrl-C is KeyboardInterrupt."""
        while True:
            self._look()
            self._news.get()

    def stop(self, *, is_reported: bool = True) -> int:
        """The daemon first, so that it can give back what it holds; bounded. A second Ctrl-C does not wait."""
        if is_reported:
            _say_if_possible("\n" + t("cli.up.stopping"))
        is_orderly = True
        hub_s = max(self._settings.hub_drain_ms, 0) / 1000 + HUB_STOP_S
        patience = {"daemon": self._settings.drain_ms / 1000 + DAEMON_MORE_S, "hub": hub_s}
        for child in reversed(self._children):
            try:
                is_orderly &= child.stop(patience[child.name])
            except KeyboardInterrupt:
                child.kill()
        if is_reported:
            _say_if_possible(t("cli.up.stopped", path=self._data_dir) if is_orderly else t("cli.up.killed"))
        return Exit.OK

    def _make_keys(self) -> Saved:
        """The hub's keys: those of the environment, else of the data directory → what clients here will need."""
        if self._environment_keys:
            self._key = next(iter(self._environment_keys.values()))
            return Saved(self._url, data=str(self._data_dir))
        keys = local_keys(self._data_dir)
        self._key, self._admin_key = keys.api_key, keys.admin_key
        return Saved(self._url, keys.api_key, keys.admin_key, str(self._data_dir))

    def _leave_for_clients(self, saved: Saved) -> Path:
        """Save the hub's address for clients once it runs: a failed `up` must not replace a good one → the file."""
        home = config.user_data_dir(os.environ).expanduser().absolute()
        if home != self._data_dir:
            save(self._data_dir, saved)
        return save(home, saved)

    def _key_file(self) -> dict[str, str]:
        if self._environment_keys:
            return {}
        return {"UNDERSTUDY_API_KEY_FILE": str(self._data_dir / API_KEY_FILE)}

    def _data(self) -> list[str]:
        return ["--data", str(self._data_dir)]

    def _spawn(self, name: str, arguments: list[str], more: dict[str, str], command: tuple[str, ...] = ()) -> None:
        env = {n: v for n, v in os.environ.items() if n not in ("UNDERSTUDY_HUB", "WORKERS_URL")}
        env |= {"UNDERSTUDY_LOG_FORM": "pretty", **more}
        log = self._data_dir / "logs" / f"{name}.log"
        with self._interruption.held():
            self._children.append(LoggedChild(name, arguments, env, log, lambda: self._news.put(None), command))

    def _look(self) -> None:
        """EndedError if a child is gone."""
        for child in self._children:
            if not child.is_alive:
                words = child.last_words()
                raise EndedError(
                    t("cli.up.ended", name=child.name, code=child.process.returncode, log=child.log, words=words)
                )

    def _wait_ready(self, hub: HubClient) -> None:
        """One that lives and does not answer yet opens its store: a new version may need minutes to convert it."""
        clock, log = SystemClock(), self._children[0].log
        noted_at = clock.mono_ms() + READY_MS_MAX
        until = 0  # begins with its first answer
        while not until or clock.mono_ms() < until:
            self._look()
            try:
                if hub.status_of("/ready")[0] == 200:  # noqa: PLR2004
                    return
                until = until or clock.mono_ms() + READY_MS_MAX
            except UnreachableError:
                pass
            if not until and clock.mono_ms() >= noted_at:
                note(t("cli.up.still_opening", log=log))
                noted_at += NOTED_EVERY_MS
            time.sleep(0.03)
        raise UnreachableError(t("cli.up.not_ready", log=log))

    def _tell(self, saved_in: Path) -> None:
        runs = answers_with(self._settings, self._data_dir, self._command)
        rows = (
            (t("cli.up.hub"), paint(self._url, "bold")),
            (t("cli.up.daemon"), t("cli.up.runs", command=runs)),
            (t("cli.up.data"), str(self._data_dir)),
            (t("cli.up.key"), t("cli.up.key_env") if self._environment_keys else str(saved_in)),
        )
        for head, text in rows:
            say(f"  {head}  {text}")
        say()

    def _login_link(self) -> tuple[str, ...]:
        """The lines about the pages of this hub; the link that opens them, once, is alone on the last one."""
        if not self._admin_key:
            return ()
        answer = HubClient(self._url, self._admin_key).post("/api/login-links", {"scope": "admin"})
        within = span(int(answer["expiresInSec"]) * 1000)
        return "", t("cli.up.pages", span=within), f"{self._url}{answer['path']}"

    def _first_task(self, hub: HubClient) -> None:
        clock = SystemClock()
        started = clock.mono_ms()
        given: dict[str, Any] = {"executor": "diagnostic", "priority": "critical", "source": "up"}
        task_id = str(enqueue(hub, t("cli.up.first"), **given)["taskId"])
        say(t("cli.up.submitted", id=task_id))
        try:
            result = wait_for_result(hub, task_id, within_ms=FIRST_TASK_MS_MAX, look=self._look)
        except ClientError as error:
            note(error.message)
            return
        took = span(clock.mono_ms() - started)
        if not result.get("success"):
            note(t("cli.submit.failed", id=task_id, error=safe(result.get("error") or "?")))
            return
        say(t("cli.up.answered", span=took))
        lines = safe_lines(str(result.get("output", ""))).splitlines()
        for line in lines[:ANSWER_LINES_MAX]:
            say(paint(f"  │ {line}", "dim"))


def answers_with(settings: config.Settings, data_dir: Path, command: tuple[str, ...]) -> str:
    """The command to which the daemon passes tasks, else the executor that it will choose. ConfigError."""
    if command:
        return " ".join(command)
    from understudy.daemon.executors import executors_of
    from understudy.daemon.inputs import DaemonInputs

    given = DaemonInputs(hub_url="", api_key="", data_dir=data_dir, settings=settings)
    return t(f"cli.up.runs.{next(iter(executors_of(given, os.environ)))}")


def wait_for_no_terminal() -> None:
    """A terminal that was stopped by Ctrl-S, or a pipe that is not read, stops neither our children nor their end."""
    queue_streams("stdout", "stderr")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, QueuedStream):
            stream.queue.missing_line = lambda count: t("cli.up.missing", count=count)


def _say_if_possible(text: str) -> None:
    """A terminal that was closed must not keep us from stopping in order."""
    with suppress(OSError, ValueError):
        say(text)


class Interruption:
    """Every request to stop is KeyboardInterrupt in the main thread, but never in the middle of a spawn."""

    def __init__(self) -> None:
        self._is_held = False
        self._is_asked = False

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Within, our signals interrupt."""
        before = {number: signal.signal(number, self._stop_asked) for number in heeded(SIGNALS)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, an interruption waits: a child that is not registered yet could not be stopped."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._is_asked:
            raise KeyboardInterrupt

    @contextmanager
    def ignored(self) -> Iterator[None]:
        """Within, an interruption is only remembered: for a cleaning up that is short."""
        self._is_held = True
        yield

    def _stop_asked(self, _: int, __: FrameType | None) -> None:
        if self._is_held:
            self._is_asked = True
        else:
            raise KeyboardInterrupt


def command_here() -> str:
    """The command that calls this program: its name alone if the shell finds it."""
    if shutil.which("understudy"):
        return "understudy"
    python, folder = Path(sys.executable), Path.cwd()
    shown = python.relative_to(folder) if python.is_relative_to(folder) else python
    return f"{shlex.quote(str(shown))} -P -m understudy"
