"""How long a command takes from its start to its end, with compiled bytecode, as an installed program has it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, Plan
from bench.processes import KEY, Hub

HELP_MS, COMMAND_MS = 150, 300  # docs/performance.md
TIMES = 15


def measure(plan: Plan) -> Iterator[Figure]:
    """`--help`, and commands that ask a hub; the bare interpreter beside them."""
    with Hub(plan.folder / "commands") as hub:
        hub.call("POST", "/api/queue", {"content": "hello"})
        program = str(Path(sys.executable).with_name("understudy"))
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        env |= {"UNDERSTUDY_HUB": f"http://127.0.0.1:{hub.port}", "UNDERSTUDY_API_KEY": KEY}
        bare = _runs(plan, [sys.executable, "-c", "pass"], env)
        yield Figure("commands", "the interpreter alone (`python -c pass`)", "ms", bare)
        for argv, limit in (
            (["--help"], HELP_MS),
            (["tasks"], COMMAND_MS),
            (["status"], COMMAND_MS),
            (["submit", "hello"], COMMAND_MS),
        ):
            runs = _runs(plan, [program, *argv], env)
            figure = Figure("commands", f"`understudy {' '.join(argv)}`", "ms", runs, target=f"≤ {limit} ms")
            figure.holds = figure.median <= limit
            yield figure


def _runs(plan: Plan, argv: list[str], env: dict[str, str]) -> list[float]:
    """The middle of several starts, once a round; the first start, which compiles, is not counted."""
    _run_ms(argv, env)
    times = 5 if plan.is_quick else TIMES
    return [sorted(_run_ms(argv, env) for _ in range(times))[times // 2] for _ in range(plan.rounds)]


def _run_ms(argv: list[str], env: dict[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)
    passed = (time.perf_counter() - started) * 1000
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr[-500:]}")
    return passed
