"""A machine: disk, processes, clock and link, on which the lives of a daemon begin and end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from understudy.clock import Clock
from understudy.ids import IdMaker
from understudy.simulation.life import Life
from understudy.simulation.loops import Loops
from understudy.simulation.network import Network
from understudy.simulation.oracle import Oracle
from understudy.simulation.processes import SimulatedProcess
from understudy.simulation.world import World
from understudy.worker.directives import SavedDirectives
from understudy.worker.effects import LoadedDirectives, RunResult
from understudy.worker.state import IDLE, Duties

WALL_SKEW_MS_MAX = 5_000
TAKEN_BACK = 0.4  # of all updates
COMES_BACK_MS = (200, 1_500)


class MachineClock:
    """A machine's own wall clock; elapsed time passes for all machines alike."""

    def __init__(self, world: World, ahead_ms: int) -> None:
        self._world = world
        self._ahead_ms = world.clock.now_ms() - world.clock.mono_ms() + ahead_ms

    def now_ms(self) -> int:
        """Its wall clock."""
        return self._world.clock.mono_ms() + self._ahead_ms

    def mono_ms(self) -> int:
        """Elapsed time, sleep included."""
        return self._world.clock.mono_ms()


class SimulatedMachine:
    """Everything that a crash of its daemon leaves behind."""

    def __init__(self, world: World, network: Network, oracle: Oracle, name: str, on_loss: str, duties: Duties) -> None:
        self.world = world
        self.network = network
        self.oracle = oracle
        self.name = name
        self.machine_id = f"machine-of-{name}"
        self.on_loss = on_loss
        self.duties = duties
        self.clock: Clock = MachineClock(world, world.between(-WALL_SKEW_MS_MAX, WALL_SKEW_MS_MAX))
        self.spool: dict[str, RunResult] = {}
        self.processes: dict[str, SimulatedProcess] = {}  # by run id; dead ones until their daemon has looked
        self.disk_fails = 0.0
        self.cut_until_ms = 0
        self.is_asleep = False
        self.slept_ms = 0
        self.directives = SavedDirectives()
        self.environment = ""  # of the version that runs
        self.verdicts: dict[str, str] = {}
        self.life: Life | None = None
        self._last_boot_id = ""
        self._is_daemon_stopped = False
        self._fell_asleep_ms = 0
        self._held: list[Callable[[], None]] = []

    @property
    def is_cut(self) -> bool:
        """True if nothing gets through."""
        return self.is_asleep or self.world.now_ms < self.cut_until_ms

    def boot(self) -> None:
        """Start a new life, unless there is one: there is one lock per id."""
        if self.life is not None or self.is_asleep:
            return
        self._end_processes()  # what earlier lives left, found by its marker
        self.processes = {}
        self._is_daemon_stopped = False
        self.life = Life(self)
        self.life.begin()

    def new_boot_id(self, ids: IdMaker) -> str:
        """As daemon/home.py makes it, from what the disk keeps."""
        self._last_boot_id = ids.new_after("boot", self._last_boot_id)
        return self._last_boot_id

    def remembered(self) -> LoadedDirectives:
        """The directives and updates on its disk."""
        return LoadedDirectives(self.directives, dict(self.verdicts), self.environment)

    def come_back(self, successor: str) -> None:
        """Its daemon has ended for another life; a new version may turn out to be none."""
        if successor != "restart" and self.world.chance(TAKEN_BACK):
            reported = {r.id: "taken back" for r in self.directives.outcomes if r.environment == successor}
            self.verdicts.update(reported)
        elif successor != "restart":
            self.environment = successor
        self.world.after(self.world.between(*COMES_BACK_MS), self.boot)

    def remember(self, saved: SavedDirectives) -> None:
        """Its daemon's directives are on its disk now."""
        self.directives = saved

    def over(self, loops: Loops) -> None:
        """The daemon with these loops ended by itself."""
        if self.life is not None and self.life.loops is loops:
            self.life = None
            self._end_processes()

    def crash(self, *, with_guard: bool) -> None:
        """SIGKILL of the daemon, with or without its guard."""
        life, self.life = self.life, None
        if life is None:
            return
        self.world.tell(f"{self.name} daemon is killed{' with its guard' if with_guard else ''}")
        life.die(with_guard=with_guard)

    def lose_power(self) -> None:
        """Everything on it is gone at once, but the disk."""
        self.crash(with_guard=True)
        self._end_processes()

    def stop_daemon(self) -> None:
        """SIGSTOP of the daemon; guard and processes go on."""
        self.world.tell(f"{self.name} daemon stands still")
        self._is_daemon_stopped = True
        self._freeze_or_thaw()

    def continue_daemon(self) -> None:
        """SIGCONT."""
        self._is_daemon_stopped = False
        self._freeze_or_thaw()

    def sleep(self) -> None:
        """The lid is closed: daemon, guard and processes stand still, the clock does not."""
        if self.is_asleep:
            return
        self.world.tell(f"{self.name} falls asleep")
        self.is_asleep = True
        self._fell_asleep_ms = self.world.now_ms
        self.oracle.slept(self.name)
        self._freeze_or_thaw()

    def wake(self) -> None:
        """Everything goes on where it was."""
        if not self.is_asleep:
            return
        self.world.tell(f"{self.name} wakes up")
        self.is_asleep = False
        self.slept_ms += self.world.now_ms - self._fell_asleep_ms
        held, self._held = self._held, []
        for step in held:
            self.world.after(self.world.between(0, 20), partial(self.unless_asleep, step))
        self._freeze_or_thaw()

    def _freeze_or_thaw(self) -> None:
        if self.life is not None:
            self.life.loops.hold(frozen=self.is_asleep or self._is_daemon_stopped)

    def recover(self) -> None:
        """All is well with it."""
        self.cut_until_ms, self.disk_fails = 0, 0.0
        self.wake()
        self.continue_daemon()
        self.look_after()

    def look_after(self) -> None:
        """The owner starts a daemon that stands idle or does not run."""
        if self.life is not None and self.life.state.mode == IDLE:
            self.crash(with_guard=False)
        self.boot()

    def unless_asleep(self, step: Callable[[], None]) -> None:
        """Do it now, or at the next wake-up."""
        if self.is_asleep:
            self._held.append(step)
        else:
            step()

    def end_process(self, run_id: str, code: int | None = None) -> None:
        """A process is dead from here on."""
        process = self.processes.get(run_id)
        if process is None or process.ended is not None:
            return
        process.end(code)
        self.world.tell(f"{self.name} process of {process.task_id} {process.token} ends: {code}")
        self.oracle.stopped(self.name, process.task_id, process.token)
        if self.life is not None:
            self.life.loops.raise_signal(f"run:{run_id}")

    def _end_processes(self) -> None:
        for run_id in list(self.processes):
            self.end_process(run_id, -9)
