"""Carries out the loops' effects on the real machine: hub, processes, guard, disk, log."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from understudy.clock import Clock
from understudy.daemon.caffeinate import Awake
from understudy.daemon.directive_file import DirectiveFile
from understudy.daemon.guard_link import GuardLink
from understudy.daemon.home import Home
from understudy.daemon.hub_calls import HubCalls
from understudy.daemon.installation import InstallError
from understudy.daemon.open_alarms import OpenAlarms
from understudy.daemon.outputs import Outputs
from understudy.daemon.sessions import SessionFile
from understudy.daemon.spool import Spool
from understudy.daemon.survivors import Survivors
from understudy.log import Log
from understudy.private import write_private
from understudy.runtime.machine.children import Child
from understudy.runtime.machine.drive import Driver
from understudy.runtime.machine.local_notice import LocalNotices
from understudy.worker.directives import ReceivedDirective
from understudy.worker.effects import (
    Abort,
    ArchiveResult,
    AskGuard,
    AwaitRun,
    Call,
    Effect,
    Failed,
    Install,
    Installed,
    LoadDirectives,
    LoadSpool,
    NotifyOwner,
    Plan,
    Probe,
    ResetConnections,
    SaveDirectives,
    SaveSessions,
    Spawn,
    Spawned,
    SpoolResult,
    StartGuard,
    StopRun,
    TellGuard,
    UnspoolResult,
    WriteLog,
)
from understudy.worker.executors import MARKER, Ended, PlainReading, RunProgress
from understudy.worker.process_tree import KILL_MS_MAX, ProcessTree
from understudy.worker.start_faults import not_started

NOTE_MS = 3_000  # how often the processes of a run are noted (docs/measured.md, Process trees)


class Machine:
    """The performer of a real daemon."""

    def __init__(
        self,
        driver: Driver,
        clock: Clock,
        log: Log,
        hub: HubCalls,
        guard: GuardLink,
        home: Home,
        directives: DirectiveFile,
        awake: Awake,
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._log = log
        self._hub = hub
        self._guard = guard
        self._home = home
        self._directives = directives
        self._awake = awake
        self.owner: LocalNotices | None = None  # by which this machine's owner gets notices, past the hub
        self._spool = Spool(home)
        self._outputs = Outputs(home.outputs)
        self.sessions = SessionFile(home.root / "sessions.json")
        self.alarms = OpenAlarms(home.alarms)
        self._children: dict[str, Child] = {}
        self._left = Survivors(clock, home.markers)
        self._is_over = False  # nobody will end what begins from here on, but the guard its runs

    def perform(self, effect: Effect) -> Any:  # noqa: C901, PLR0911, PLR0912 - one line per effect
        match effect:
            case Call():
                return self._hub.call(effect)
            case WriteLog(level, component, message, fields):
                return self._log.emit(level, component, message, **fields)
            case NotifyOwner(level, title, text, about):
                if self.owner is not None:
                    self.owner.tell(level, title, text, about)
                return self.alarms.note(level, about)  # last: the disk may hang
            case AwaitRun(run_id, timeout_ms):
                return self._await_run(run_id, timeout_ms)
            case TellGuard(message):
                return self._guard.tell(message)
            case AskGuard(run_id):
                return self._guard.has_killed(run_id)
            case Spawn():
                return self._spawn(effect)
            case StopRun(run_id, grace_ms):
                return self._stop(run_id, grace_ms)
            case Probe(plan, timeout_ms):
                return self._probe(plan, timeout_ms)
            case SaveSessions(sessions, nth):
                return self.sessions.save(sessions, nth)
            case LoadDirectives(has_arrived):
                return self._directives.load(has_arrived=has_arrived)
            case SaveDirectives(saved):
                return self._directives.save(saved)
            case Install(directive, timeout_ms):
                return self._install(directive, timeout_ms)
            case SpoolResult(result):
                return _or_failed(lambda: self._spool.keep(result))
            case UnspoolResult(name):
                return self._spool.forget(name)
            case ArchiveResult(result, reason):
                return self._spool.shelve(result, reason)
            case LoadSpool():
                return self._spool.load()
            case StartGuard():
                return _or_failed(self._guard.start)
            case Abort(name):
                return self._hub.abort(name)
            case ResetConnections():
                return self._hub.reset()
        raise TypeError(f"nobody performs {effect!r}")

    def end_leftovers(self) -> int:
        """Kill what earlier lives of this daemon left running → how many runs that were."""
        found = 0
        for path in _files_in(self._home.markers):
            tree = ProcessTree(path.name, self._clock)
            left = 0
            if _may_live(tree):
                found += 1
                left = tree.kill(limit_ms=5_000)
                fields = {"task": _said_in(path), "left": left or None}
                self._log.emit("warning", "Startup", "Killed a run of an earlier life", **fields)
            if not left:  # else the next life tries again
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        return found

    def end_everything(self) -> None:
        """The last resort of an orderly end: no child outlives it."""
        self._directives.installation.stop()
        if self.owner is not None:
            self.owner.stop()
        self.end_children()

    def end_children(self) -> None:
        """Every run and probe that is left; a probe that begins after this ends at once."""
        self._is_over = True
        for child in list(self._children.values()):
            child.end(0)
        self._left.kill_all(KILL_MS_MAX)

    def _spawn(self, effect: Spawn) -> Spawned | Failed:
        marker = self._home.markers / effect.run_id
        try:
            write_private(marker, effect.plan.env.get("UNDERSTUDY_TASK_ID", "").encode("utf-8", "replace"))
            child = Child(
                effect.run_id,
                effect.plan,
                effect.reading,
                self._clock,
                lambda: self._driver.raise_signal(f"run:{effect.run_id}"),
                self._outputs.begin(effect.run_id),
            )
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError):
                marker.unlink(missing_ok=True)
            return not_started(effect.plan, error)
        self._children[effect.run_id] = child
        self._awake.hold(effect.run_id)
        return Spawned(child.pid, child.birth)

    def _probe(self, plan: Plan, timeout_ms: int) -> Ended | Failed:
        """A run of its own, short and unguarded: it does nothing but look."""
        run_id = f"probe-{uuid4()}"
        plan = msgspec.structs.replace(plan, env={**plan.env, MARKER: run_id})
        is_over = threading.Event()
        marker = self._home.markers / run_id
        try:
            write_private(marker, b"probe")
            child = Child(run_id, plan, PlainReading(), self._clock, is_over.set)
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError):
                marker.unlink(missing_ok=True)
            return not_started(plan, error)
        self._children[run_id] = child
        if self._is_over:
            child.end(0)
        ended = self._await_probe(child, is_over, timeout_ms)
        self._children.pop(run_id, None)
        with contextlib.suppress(OSError):
            marker.unlink(missing_ok=True)
        return ended or Failed(f"{plan.argv[0]}: no answer within {timeout_ms} ms")

    def _await_probe(self, child: Child, is_over: threading.Event, timeout_ms: int) -> Ended | None:
        until_ms = self._clock.mono_ms() + timeout_ms
        while not isinstance(news := child.look(), Ended):
            left_s = (until_ms - self._clock.mono_ms()) / 1000
            if left_s <= 0:
                child.end(0)
                return None
            is_over.wait(left_s)
            is_over.clear()
        return news

    def _await_run(self, run_id: str, timeout_ms: int) -> Ended | RunProgress | None:
        child = self._children.get(run_id)
        if child is None:
            return Ended(code=None)
        until_ms = self._clock.mono_ms() + timeout_ms
        while (news := child.look()) is None:
            left_ms = until_ms - self._clock.mono_ms()
            if left_ms <= 0 or self._driver.wait(f"run:{run_id}", min(left_ms, NOTE_MS)):
                news = child.look()
                break
            child.tree.note()
        if isinstance(news, Ended):
            self._put_away(run_id, child.tree, news.survivors)
        return news

    def _stop(self, run_id: str, grace_ms: int) -> Ended | None:
        child = self._children.get(run_id)
        if child is not None:
            ended = child.end(grace_ms)
            self._put_away(run_id, child.tree, ended.survivors)
            return ended
        survivors = self._left.kill(run_id)
        return None if survivors is None else Ended(code=None, survivors=survivors)

    def _put_away(self, run_id: str, tree: ProcessTree, survivors: int) -> None:
        """A run is over: it keeps no machine awake, and only what survived it is remembered, by its marker too."""
        self._left.kill_now_and_then()
        self._children.pop(run_id, None)
        self._awake.let_go(run_id)
        if survivors:
            self._left.keep(run_id, tree)
        else:
            self._left.forget(run_id, tree)

    def _install(self, directive: ReceivedDirective, timeout_ms: int) -> Installed | Failed:
        try:
            environment, version = self._directives.installation.install(directive, timeout_ms)
        except InstallError as error:
            return Failed(error.message)
        except OSError as error:  # no descriptor, no process, no room on the disk
            return Failed(str(error))
        return Installed(environment, version)


def _may_live(tree: ProcessTree) -> bool:
    """Also if this machine cannot look."""
    try:
        return bool(tree.alive())
    except OSError:
        return True


def _or_failed(action: Any) -> Failed | None:
    try:
        action()
    except (OSError, RuntimeError) as error:  # RuntimeError: "can't start new thread"
        return Failed(str(error))
    return None


def _files_in(directory: Path) -> list[Path]:
    """Nothing where it cannot be read: no reason not to start."""
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _said_in(marker: Path) -> str:
    try:
        return marker.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
