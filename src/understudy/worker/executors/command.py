"""Executor `command`: any program; the prompt on stdin byte for byte, stdout is the answer, the exit code decides."""

from __future__ import annotations

import shutil

from understudy.worker.executors import Ended, Outcome, Plan, Reading, SignsOfLife, Task, markers

_ERROR_TAIL_CHARS = 2000


class Command:
    """Runs `argv` once a task. It may do anything to the machine, so it claims with `wait`."""

    name = "command"

    def __init__(
        self, argv: tuple[str, ...], env: dict[str, str], *, cwd: str | None = None, on_loss: str = "wait"
    ) -> None:
        self._argv = argv
        self._env = env
        self._cwd = cwd
        self.on_loss = on_loss

    def provides(self) -> tuple[str, ...]:
        return ()

    def probe(self) -> Plan | None:
        return None

    def readiness(self, probed: Ended | None) -> str:
        return "ok" if shutil.which(self._argv[0], path=self._env.get("PATH")) else "missing"

    def plan(self, task: Task, run_id: str) -> Plan:
        return Plan(
            argv=self._argv,
            env={**self._env, **markers(task, run_id)},
            stdin=task.content.encode("utf-8", "surrogatepass"),
            cwd=self._cwd,
        )

    def reading(self) -> Reading:
        return SignsOfLife()

    def outcome(self, ended: Ended) -> Outcome:
        output = text_of(ended.stdout)
        if ended.code == 0:
            return Outcome(success=True, output=output)
        return Outcome(success=False, output=output or None, error=exit_error(ended), failure_class="exit_code")


def text_of(raw: bytes) -> str:
    """Bytes of a program as text: what is not UTF-8 is replaced, never refused."""
    return raw.decode("utf-8", "replace")


def exit_error(ended: Ended) -> str:
    """Why it failed, for people: the code and the end of what it said on stderr."""
    if ended.code is None:
        head = "exit code unknown"
    elif ended.code < 0:
        head = f"ended by signal {-ended.code}"
    else:
        head = f"exit code {ended.code}"
    tail = text_of(ended.stderr).strip()[-_ERROR_TAIL_CHARS:]
    return f"{head}: {tail}" if tail else head
