"""Executor `codex`: `codex exec --json`, the prompt on stdin, its sandbox on every start, one thread a conversation.

The contract was measured (docs/measured.md, codex): a resumed thread forgets its sandbox, and usage counts by thread.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import msgspec

from understudy.coordinator.prices import Price
from understudy.worker.executors import NEW, OK, Ended, Outcome, Plan, Reading, Start, TaskToRun, markers
from understudy.worker.executors.assistant import checked_prompt
from understudy.worker.executors.codex_reading import CodexReading
from understudy.worker.executors.codex_verdict import verdict
from understudy.worker.executors.failures import not_ready
from understudy.worker.executors.fault_words import OTHER, WORDS

CREDENTIALS = ("CODEX_API_KEY", "OPENAI_API_KEY")  # at most one of them, the first that is set
ENV_KEPT = (
    "CODEX_HOME",
    "OPENAI_BASE_URL",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
)
ENV_SET = {"NO_COLOR": "1"}


class CodexOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's options for it."""

    cli: str = "codex"
    sandbox: str = "workspace-write"
    model: str = ""
    has_owner_settings: bool = True
    start_ms_max: int = 30_000
    idle_ms_max: int = 600_000
    prices: dict[str, Price] = {}


class Codex:
    """It changes files and runs commands, so it claims with `wait`."""

    name = "codex"
    on_loss = "wait"

    def __init__(self, options: CodexOptions, env: Mapping[str, str]) -> None:
        self._options = options
        self._env = {**env, **ENV_SET}

    def provides(self) -> tuple[str, ...]:
        return ()

    def probe(self) -> Plan | None:
        return Plan(argv=(self._options.cli, "login", "status"), env=self._env) if self._is_here() else None

    def readiness(self, probed: Ended | None) -> str:
        """`login status` ends with 1 when logged out; a key in the environment needs no login, but it must start."""
        if not self._is_here():
            return "missing"
        has_key = any(self._env.get(name) for name in CREDENTIALS)
        if probed is None:
            return OK if has_key else "unknown"
        words = (probed.stdout + probed.stderr).decode("utf-8", "replace")
        if probed.code == 0 and (has_key or "not logged in" not in words.lower()):
            return OK
        word = not_ready(probed, words, is_logged_out=probed.code == 0)
        is_broken = word in WORDS and not (word == OTHER and "login" in words.lower())
        return OK if has_key and not is_broken else word

    def plan(self, task: TaskToRun, run_id: str, start: Start = NEW) -> Plan:
        return Plan(
            argv=self._argv(start),
            env={**self._env, **markers(task, run_id)},
            stdin=checked_prompt(task, start),
            cwd=start.cwd,
            start_ms_max=self._options.start_ms_max,
            idle_ms_max=self._options.idle_ms_max,
        )

    def _argv(self, start: Start) -> tuple[str, ...]:
        """Options before `resume`: behind it they are not known."""
        chosen = self._options
        argv = [chosen.cli, "exec", "--json", "--color", "never", "-s", chosen.sandbox, "--skip-git-repo-check"]
        argv += ["-c", 'shell_environment_policy.inherit="core"']
        if start.cwd:
            argv += ["-C", start.cwd]
        if not chosen.has_owner_settings:
            argv += ["-c", "mcp_servers={}"]
        if chosen.model:
            argv += ["-m", chosen.model]
        return (*argv, "resume", start.session.id, "-") if start.session is not None else (*argv, "-")

    def reading(self, start: Start = NEW) -> CodexReading:
        return CodexReading(start, self._options.model, self._options.prices)

    def outcome(self, ended: Ended, reading: Reading | None = None) -> Outcome:
        return verdict(ended, reading if isinstance(reading, CodexReading) else self._read(ended))

    def _read(self, ended: Ended) -> CodexReading:
        seen = self.reading()
        seen.feed(ended.stdout, 0)
        return seen

    def _is_here(self) -> bool:
        return shutil.which(self._options.cli, path=self._env.get("PATH")) is not None
