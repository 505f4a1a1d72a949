"""Sets the stub up as `claude` and `codex` in a folder, and reads what it was given."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import stub_cli
from tests.waiting import eventually
from understudy.worker.executors import NEW, AssistantSession, Ended, Outcome, Start, TaskToRun
from understudy.worker.executors.claude_code import ClaudeCode, ClaudeOptions
from understudy.worker.executors.codex import Codex, CodexOptions

KINDS = ("claude", "codex")
TASK = TaskToRun(id="t1", content="what is it?")


class Stub:
    """One stub in a folder of its own."""

    def __init__(self, folder: Path, kind: str = "claude", *modes: str) -> None:
        self.folder = folder
        self.kind = kind
        folder.mkdir(parents=True, exist_ok=True)
        self.cli = folder / kind
        source = Path(stub_cli.__file__).read_text("utf-8")
        # the path of the interpreter may contain a space: no `#!` can name it then
        head = f"#!/bin/sh\n'''exec' \"{sys.executable}\" -S \"$0\" \"$@\"\n' '''\n"
        self.cli.write_text(head + source.replace("from __future__ import annotations\n", ""), "utf-8")
        self.cli.chmod(0o700)
        self.does(*modes)

    def does(self, *modes: str) -> None:
        """What it does from call to call; the last mode stays."""
        if modes:
            (self.folder / "modes").write_text(" ".join(modes))

    def says_of_login(self, word: str) -> None:
        (self.folder / "auth").write_text(word)

    def calls(self) -> list[dict[str, Any]]:
        paths = sorted((self.folder / "calls").glob("*.json"), key=lambda path: int(path.stem))
        return [json.loads(path.read_text()) for path in paths]

    def prompts(self) -> list[bytes]:
        return [base64.b64decode(call["stdin"]) for call in self.calls()]

    def pids(self) -> list[int]:
        path = self.folder / "pids"
        noted = eventually(lambda: path.exists() and path.read_text(), within_s=30, what="pids")
        return [int(pid) for pid in noted.split()]

    def executor(self, **options: Any) -> ClaudeCode | Codex:
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder)}
        if self.kind == "claude":
            return ClaudeCode(ClaudeOptions(cli=str(self.cli), **options), env)
        return Codex(CodexOptions(cli=str(self.cli), **options), env)

    def run(
        self, *, session: AssistantSession | None = None, task: TaskToRun = TASK, start: Start = NEW, **options: Any
    ) -> Outcome:
        """One start, without daemon or guard: plan, process, reading, verdict."""
        executor = self.executor(**options)
        begun = start if session is None else Start(session=session)
        plan, reading = executor.plan(task, "run-1", begun), executor.reading(begun)
        done = subprocess.run(
            plan.argv, input=plan.stdin, env=plan.env, cwd=plan.cwd, capture_output=True, check=False, timeout=60
        )
        for at in range(0, len(done.stdout), 60_000):
            reading.feed(done.stdout[at : at + 60_000], at)
        self.reading = reading
        return executor.outcome(Ended(code=done.returncode, stdout=done.stdout[-1000:], stderr=done.stderr), reading)
