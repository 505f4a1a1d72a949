"""Executor `command`: any program; the prompt on stdin byte for byte, stdout is the answer, the exit code decides."""

from __future__ import annotations

import shutil

from understudy.worker.executors import NEW, Ended, Outcome, PlainReading, Plan, Reading, Start, TaskToRun, markers
from understudy.worker.executors.prompt import prompt_of

_ERROR_TAIL_CHARS = 2000


class CommandExecutor:
    """Runs `argv` once a task. It may do anything to the machine, so it claims with `wait`."""

    name = "command"

    def __init__(self, argv: tuple[str, ...], env: dict[str, str], *, on_loss: str = "wait") -> None:
        self._argv = argv
        self._env = env
        self.on_loss = on_loss

    def provides(self) -> tuple[str, ...]:
        return ()

    def probe(self) -> Plan | None:
        return None

    def readiness(self, probed: Ended | None) -> str:
        return "ok" if shutil.which(self._argv[0], path=self._env.get("PATH")) else "missing"

    def plan(self, task: TaskToRun, run_id: str, start: Start = NEW) -> Plan:
        return Plan(
            argv=self._argv,
            env={**self._env, **markers(task, run_id)},
            stdin=prompt_of(task),
            cwd=start.cwd,
        )

    def reading(self, start: Start = NEW) -> Reading:
        return PlainReading()

    def outcome(self, ended: Ended, reading: Reading | None = None) -> Outcome:
        output = replaced_text(ended.stdout)
        if ended.code == 0:
            return Outcome(success=True, output=output)
        return Outcome(success=False, output=output or None, error=exit_error(ended), failure_class="exit_code")


def replaced_text(raw: bytes) -> str:
    """Bytes of a program as text: what is not UTF-8 is replaced, never refused."""
    return raw.decode("utf-8", "replace")


def exit_error(ended: Ended) -> str:
    """The error for people: the exit code and the end of stderr."""
    if ended.code is None:
        head = "exit code unknown"
    elif ended.code < 0:
        head = f"ended by signal {-ended.code}"
    else:
        head = f"exit code {ended.code}"
    tail = end_of(replaced_text(ended.stderr).strip())
    return f"{head}: {tail}" if tail else head


def end_of(said: str) -> str:
    """The last words, from the beginning of one: half a secret would not be recognised as one."""
    if len(said) <= _ERROR_TAIL_CHARS:
        return said
    return said[-_ERROR_TAIL_CHARS:].split(maxsplit=1)[-1]
