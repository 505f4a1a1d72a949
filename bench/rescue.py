"""How long a `requeue` task waits for another daemon when its own is killed, restarted or cut off."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.figures import Figure, Plan
from bench.processes import Hub
from bench.proxy import Proxy
from bench.runs import Diary, daemon, end_s, guard_of, submit, wait_idle

RUN_S = 90.0
LEASE_S = 6.0  # the default is 30 s: what counts is how much later than the lease it is
AGES_S = (1.0, 3.0, 5.0)  # of the run when its daemon is lost


def measure(plan: Plan) -> Iterator[Figure]:
    """Each loss at three ages of the run."""
    rescued, tree = _measured(plan, killed)
    yield _figure("daemon killed (SIGKILL), another one idle → body starts there", rescued, 2.0)
    yield _figure("daemon killed (SIGKILL) → its whole process tree is dead", tree, 1.0)
    again = [restarted(plan.folder / f"restarted-{age}", age) for age in AGES_S[: plan.rounds]]
    yield _figure("daemon and guard killed, daemon launched again → body starts, launch included", again, 1.0)
    for lose, what in ((cut_off, "network gone"), (frozen, "daemon frozen (SIGSTOP)")):
        rescued, before = _measured(plan, lose)
        yield _figure(f"{what}, lease {LEASE_S:g} s → body starts elsewhere", rescued, LEASE_S + 1)
        yield _figure(f"{what}, lease {LEASE_S:g} s: tree dead before the other one starts by", before, None)


def _measured(plan: Plan, lose: Callable[[Path, float], tuple[float, float]]) -> tuple[list[float], list[float]]:
    pairs = [lose(plan.folder / f"{lose.__name__}-{age}", age) for age in AGES_S[: plan.rounds]]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _figure(what: str, runs: list[float], limit_s: float | None) -> Figure:
    figure = Figure("rescue", what, "s", runs)
    if limit_s is None:
        figure.target, figure.holds = "> 0 s", min(runs) > 0
    else:
        figure.target, figure.holds = f"≤ {limit_s:g} s", sorted(runs)[len(runs) // 2] <= limit_s
    return figure


class Scene:
    """A hub, daemon `first` with a run of a `requeue` task, and an idle daemon `second`."""

    def __init__(
        self, stack: ExitStack, folder: Path, age_s: float, *, is_proxied: bool = False, on_loss: str = "requeue"
    ) -> None:
        self.hub = stack.enter_context(Hub(folder / "hub", policy={"lease_ms": round(LEASE_S * 1000)}))
        self.proxy = stack.enter_context(Proxy(self.hub.port)) if is_proxied else None
        self.diary = Diary(folder / "diary")
        port = self.proxy.port if self.proxy else self.hub.port
        self.first = stack.enter_context(daemon(port, folder, "first", self.diary, RUN_S))
        self.task_id = submit(self.hub, "the task", onLoss=on_loss)
        self.run = self.diary.wait("the task")
        self.pids = [self.run["pid"], *self.run["strays"]]
        self.second = stack.enter_context(daemon(self.hub.port, folder, "second", self.diary, RUN_S))
        wait_idle(self.hub, "second")
        time.sleep(max(0.0, self.run["at"] + age_s - time.time()))

    def second_start(self, within_s: float = 60) -> float:
        """The wall instant at which the task began again."""
        return float(self.diary.wait("the task", count=2, within_s=within_s)["began"])


def killed(folder: Path, age_s: float) -> tuple[float, float]:
    """Seconds to the start elsewhere, and to the death of the tree."""
    with ExitStack() as stack:
        scene = Scene(stack, folder, age_s)
        killed_at = time.time()
        os.kill(scene.first.pid, signal.SIGKILL)
        tree_s = end_s(scene.pids)
        return scene.second_start() - killed_at, tree_s


def restarted(folder: Path, age_s: float) -> float:
    """Without a guard there is no last will: the first beat of the new boot frees the old lease."""
    with ExitStack() as stack:
        scene = Scene(stack, folder, age_s)
        os.kill(guard_of(scene.first), signal.SIGKILL)
        scene.first.kill()
        started_at = time.time()
        stack.enter_context(daemon(scene.hub.port, folder, "first", scene.diary, RUN_S))
        return scene.second_start() - started_at


def cut_off(folder: Path, age_s: float) -> tuple[float, float]:
    """Seconds to the start elsewhere, and how long before it the tree was dead."""
    with ExitStack() as stack:
        scene = Scene(stack, folder, age_s, is_proxied=True)
        assert scene.proxy is not None
        silent_at = time.time()
        scene.proxy.silence()
        end_s(scene.pids)
        dead_at = time.time()
        began_at = scene.second_start()
        return began_at - silent_at, began_at - dead_at


def frozen(folder: Path, age_s: float) -> tuple[float, float]:
    """The same for a daemon that is stopped, not gone."""
    with ExitStack() as stack:
        scene = Scene(stack, folder, age_s)
        frozen_at = time.time()
        os.kill(scene.first.pid, signal.SIGSTOP)
        end_s(scene.pids)
        dead_at = time.time()
        began_at = scene.second_start()
        return began_at - frozen_at, began_at - dead_at
