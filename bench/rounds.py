"""Interleaved rounds: bare application, hub with few tasks, hub with many, again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.figures import Figure, Plan
from bench.load import Load, load
from bench.processes import Bare, Hub
from bench.stock import stock

TASKS_FEW = 1_000
COSTS_AS_WITH_FEW = 1.5  # docs/performance.md


class Stand:
    """The three servers of a comparison."""

    def __init__(self, bare: Bare, few: Hub, many: Hub, plan: Plan) -> None:
        self.bare = bare
        self.hubs = {TASKS_FEW: few, plan.tasks_many: many}


@contextmanager
def stand(plan: Plan, name: str, *, spare_tasks: int = 0) -> Iterator[Stand]:
    """The servers, started; `spare_tasks` more than 1,000 where the load eats tasks."""
    with ExitStack() as stack:
        hubs = []
        for tasks in (TASKS_FEW + spare_tasks, plan.tasks_many):
            folder = plan.folder / f"{name}-{len(hubs)}"
            stock(tasks, folder / "hub.db")
            hubs.append(stack.enter_context(Hub(folder)))
        bare = stack.enter_context(Bare(plan.folder))
        yield Stand(bare, *hubs, plan)


def compared(  # noqa: PLR0913 - keywords that each say what they are
    plan: Plan,
    servers: Stand,
    kind: str,
    *,
    subject: str,
    what: str,
    unit: str,
    least: float = 0.0,
    least_per_s: float = 0.0,
    per_request: float = 1.0,
) -> Iterator[Figure]:
    """Rates at each number of connections beside bare, with few and with many tasks; `least`: × bare at the most."""
    for connections in plan.connections:
        bare: list[Load] = []
        ours: dict[int, list[Load]] = {tasks: [] for tasks in servers.hubs}
        for _ in range(plan.rounds):
            bare.append(load(servers.bare, "bare", connections, plan.seconds))
            for tasks, hub in servers.hubs.items():
                ours[tasks].append(load(hub, kind, connections, plan.seconds))
        for tasks, loads in ours.items():
            figure = Figure(
                subject,
                f"{what}, {_connections(connections)}, {tasks:,} tasks",
                unit,
                [one.rate_per_s * per_request for one in loads],
                [one.rate_per_s for one in bare],
            )
            figure.note = _cpu(loads, bare)
            is_judged = connections == max(plan.connections)
            if is_judged and least:
                figure.target = f"{least:g} × bare"
                figure.holds = _middle(figure.ratios) >= least
            if is_judged and least_per_s:
                figure.target = f"{least_per_s:,.0f}{unit}"
                figure.holds = figure.median >= least_per_s
            yield figure
        yield _ratio(plan, ours, subject, f"{what}, {_connections(connections)}")


def _ratio(plan: Plan, ours: dict[int, list[Load]], subject: str, what: str) -> Figure:
    few, many = (
        [one.rate_per_s for one in ours[TASKS_FEW]],
        [one.rate_per_s for one in ours[plan.tasks_many]],
    )
    figure = Figure(
        subject,
        f"{what}: cost with {plan.tasks_many:,} tasks by cost with {TASKS_FEW:,}",
        "×",
        [a / b for a, b in zip(few, many, strict=True)],
        target=f"≤ {COSTS_AS_WITH_FEW}",
    )
    figure.holds = figure.median <= COSTS_AS_WITH_FEW
    return figure


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _cpu(loads: list[Load], bare: list[Load]) -> str:
    ours, theirs = _middle([one.cpu_us for one in loads]), _middle([one.cpu_us for one in bare])
    p99 = _middle([one.p99_ms for one in loads])
    return f"CPU {ours:.0f} µs a request, bare {theirs:.0f}; p99 {p99:.1f} ms"
