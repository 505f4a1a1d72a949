"""Puts a real daemon together and runs it: lock, leftovers, loops, signals, end."""

from __future__ import annotations

import os
import random
import select
import signal
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from understudy import __version__
from understudy.clock import Clock, SystemClock
from understudy.coordinator.stuck import fix_of
from understudy.daemon.caffeinate import Awake, caffeinate
from understudy.daemon.directive_file import DirectiveFile
from understudy.daemon.duties import duties_of
from understudy.daemon.executors import executors_of, workspaces_of
from understudy.daemon.guard_link import GuardLink
from understudy.daemon.home import Home, checked_daemon_id, default_daemon_id
from understudy.daemon.hub_calls import HubCalls
from understudy.daemon.inputs import DaemonInputs
from understudy.daemon.life import main_loop
from understudy.daemon.machine import Machine
from understudy.daemon.planned_stop import announced_ms, withdraw
from understudy.daemon.pulse import Pulse
from understudy.daemon.sleep import SleepMeter, SleepWatch
from understudy.daemon.succession import Succession
from understudy.ids import IdMaker
from understudy.log import Log
from understudy.log_file import log_places
from understudy.redact import Redactor, secrets_of
from understudy.runtime.machine.drive import Driver
from understudy.runtime.machine.local_notice import LocalNotices
from understudy.runtime.signals import heeded
from understudy.runtime.supervisor import Watchdog
from understudy.runtime.transport import Transport
from understudy.texts import t
from understudy.worker.directives import STARTED
from understudy.worker.effects import Loop
from understudy.worker.executors import OK
from understudy.worker.guard_policy import Hello
from understudy.worker.state import HAS_TOKEN, Identity, WorkerState

RULE = "=" * 60
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TOO_MANY_SIGNALS = 3
EXIT_UNCLEAN = 1
NO_THREAD_S = 5.0


class DaemonRuntime:
    """One life of a daemon. `run` returns when it is over; `stop` ends it from another thread."""

    def __init__(
        self, given: DaemonInputs, *, clock: Clock | None = None, ambient: Mapping[str, str] | None = None
    ) -> None:
        self._given = given
        self._settings = settings = given.settings
        self._clock = clock or SystemClock()
        self._ambient = dict(os.environ if ambient is None else ambient)
        self._ids = IdMaker(self._clock)
        self.succession: Succession | None = None  # after `run`: what this process is to become
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._replaced: dict[int, Any] = {}  # the handlers of signals that were there before
        self._redactor = Redactor((*given.secrets, *secrets_of(self._ambient)))
        self._log = Log(
            self._clock,
            level=settings.log_level,
            form=settings.log_form,
            redactor=self._redactor,
            **log_places(settings.log_dir, "daemon", is_on_stderr=settings.log_stderr),
        )

    def run(self) -> int:
        """Live → exit code: 0 after an orderly end. ConfigError if it cannot begin."""
        daemon_id = checked_daemon_id(self._settings.daemon_id or default_daemon_id())
        home = Home(self._given.data_dir, daemon_id)
        lock = home.lock()
        self._install_signals()  # a stop from here on is noted, and waits for the loops
        try:
            return self._live(daemon_id, home)
        finally:
            self._restore_signals()
            lock.release()

    def stop(self) -> None:
        """As a SIGTERM would."""
        os.write(self._wake_write, b"s")

    def _live(self, daemon_id: str, home: Home) -> int:
        machine_id = home.machine_id(self._ids)
        identity = Identity(daemon_id, machine_id, home.new_boot_id(self._ids), __version__)
        state = self._state(identity)
        self._introduce(state)
        state.starts_last_hour = home.count_start(self._clock.now_ms())
        driver = Driver(state.signals, self._clock, SleepWatch(state.slept_ms).has_slept)
        given = self._given
        hub = HubCalls(given.hub_url, given.api_key, version=__version__, ca_file=given.ca_file)
        guard = GuardLink(self._hello(identity), self._ambient, lambda: driver.raise_signal("guard"))
        directives = DirectiveFile(home, identity.boot_id)
        machine = Machine(driver, self._clock, self._log, hub, guard, home, directives, self._awake())
        machine.owner = self._owner()
        driver.use(machine)
        state.sessions = machine.sessions.load()
        state.open_alarms = machine.alarms.load()
        machine.end_leftovers()
        try:
            is_orderly = self._drive(driver, state, home)
        finally:
            driver.change(partial(_drop_runs, state))
            machine.end_everything()
            guard.close()
            if state.planned_for_ms is not None:
                withdraw(home)
        self.succession = self._succession(state, home)
        return 0 if is_orderly and state.is_stopped else EXIT_UNCLEAN

    def _state(self, identity: Identity) -> WorkerState:
        executors = executors_of(self._given, self._ambient)
        jitter, meter = random.SystemRandom().random, SleepMeter(self._clock)
        state = WorkerState(
            identity,
            self._clock,
            self._ids,
            executors,
            duties_of(self._given),
            jitter=jitter,
            slept_ms=meter.slept_ms,
        )
        state.redactor = self._redactor if self._settings.redact_results else self._redactor.by_value_only()
        state.workspaces = workspaces_of(self._given)
        state.auth = {name: executor.readiness(None) for name, executor in executors.items()}
        return state

    def _owner(self) -> LocalNotices:
        """Channels of this machine's own, for when the hub is out of reach."""
        transport = Transport(ca_file=self._given.ca_file, user_agent=f"understudy/{__version__}")
        return LocalNotices(self._given.channels, transport, self._clock, self._log, self._log.redactor.clean)

    def _awake(self) -> Awake:
        return Awake(caffeinate(self._settings.caffeinate))

    def _succession(self, state: WorkerState, home: Home) -> Succession | None:
        """The succession that this life ended for; None if it ended for good."""
        if not state.successor or not state.is_stopped:
            return None
        if state.successor == "restart":
            return Succession(home, state.identity.boot_id)
        (outcome,) = [r for r in state.outcomes.values() if r.state == STARTED and r.environment == state.successor]
        confirm_ms = self._settings.update_confirm_ms
        return Succession(home, state.identity.boot_id, outcome.id, outcome.environment, confirm_ms)

    def _hello(self, identity: Identity) -> Hello:
        return Hello(
            hub_url=self._given.hub_url,
            api_key=self._given.api_key,
            worker_id=identity.worker_id,
            ca_file=self._given.ca_file,
        )

    def _introduce(self, state: WorkerState) -> None:
        """The banner and the lines that operators look for; no secret among them."""
        identity, settings = state.identity, self._settings
        if settings.log_form == "pretty":
            for line in (RULE, f" understudy daemon v{__version__} (ClaimTask API + Lease Management)", RULE):
                self._log.write(line)
        say = self._log.emit
        url = urlsplit(self._given.hub_url)
        say("info", "Startup", f"Daemon {identity.daemon_id}", version=__version__, pid=os.getpid())
        say("info", "Startup", f"Boot {identity.boot_id}", machineId=identity.machine_id)
        say("info", "Config", f"Hub {url.scheme}://{url.hostname}" + (f":{url.port}" if url.port else ""))
        say("info", "Config", f"Data {self._given.data_dir}")
        say("info", "Config", f"Heartbeat every {settings.heartbeat_interval_ms / 1000:g} s")
        say("info", "Config", f"Executors {', '.join(state.executors)}", capacity=state.duties.capacity)
        say("info", "Config", f"Provides {', '.join(state.provides)}")
        word = state.token_word(HAS_TOKEN, OK)
        if HAS_TOKEN in state.executors and word != OK:
            date, fix = word.partition(":")[2], fix_of(HAS_TOKEN, word)
            say("warning", "Auth", t("liveness.token_expiring", executor=HAS_TOKEN, date=date, fix=fix))

    def _drive(self, driver: Driver, state: WorkerState, home: Home) -> bool:
        """Start the loops and wait for their end → whether it was waited for."""
        pulse = Pulse(state)
        watchdog = Watchdog(self._ambient, lambda: driver.ask(pulse.is_well), self._clock)
        asked = 0
        try:
            self._start_main(driver, state)
            watchdog.ready()
            while asked < TOO_MANY_SIGNALS:
                select.select([self._wake_read], [], [])
                for byte in os.read(self._wake_read, 64):
                    if byte == ord("e"):
                        return True
                    asked += 1
                    watchdog.stopping(self._settings.drain_ms / 1000)
                    home.note_stop(state.identity.boot_id)
                    planned_ms = announced_ms(home, self._clock.now_ms())
                    driver.change(partial(state.ask_to_stop, planned_ms))
            return False
        finally:
            watchdog.close()
            self._restore_signals()

    def _start_main(self, driver: Driver, state: WorkerState) -> None:
        """Once this machine has a thread for it. A signal is not lost meanwhile: its byte waits in our pipe."""
        while True:
            try:
                driver.start("main", lambda: self._main(state), again=False)
            except RuntimeError as error:
                self._log.emit("critical", "Daemon", t("daemon.no_thread", loop="main"), reason=str(error))
                if not select.select([self._wake_read], [], [], NO_THREAD_S)[0]:
                    continue
                raise
            return

    def _main(self, state: WorkerState) -> Loop:
        try:
            yield from main_loop(state)
        finally:
            os.write(self._wake_write, b"e")

    def _install_signals(self) -> None:
        """Signals become bytes in our pipe, but for those that we were started to ignore; only in the main thread."""
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
            self._replaced = {number: signal.signal(number, lambda *_: None) for number in heeded(SIGNALS)}

    def _restore_signals(self) -> None:
        if self._replaced:
            signal.set_wakeup_fd(-1)
        while self._replaced:
            signal.signal(*self._replaced.popitem())


def _drop_runs(state: WorkerState) -> None:
    """A run that is killed with this life is given back: it is no failure of its task."""
    for run in state.runs.values():
        state.stop_run(run, "drain")
