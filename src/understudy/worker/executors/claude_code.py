"""Executor `claude_code`: `claude -p`, the prompt on stdin, its permissions on every start, one session a conversation.

The contract was measured (docs/measured.md, claude): neither the exit code nor `subtype` tells whether it worked.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from uuid import NAMESPACE_OID, uuid5

import msgspec

from understudy.coordinator.prices import Price
from understudy.worker.executors import NEW, Ended, Outcome, Plan, Reading, Start, TaskToRun, markers
from understudy.worker.executors.assistant import checked_prompt
from understudy.worker.executors.claude_reading import ClaudeReading
from understudy.worker.executors.claude_verdict import verdict
from understudy.worker.executors.failures import not_ready

CREDENTIALS = ("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY")  # at most one of them, the first that is set
ENV_KEPT = (
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CONFIG_DIR",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "all_proxy",
    "no_proxy",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
)
ENV_SET = {
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_MAX_RETRIES": "1",  # ten by default: a 401 would hang for minutes without a word
    "NO_COLOR": "1",
}


class ClaudeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's options for it."""

    cli: str = "claude"
    permission_mode: str = "acceptEdits"
    allowed_tools: str = ""
    model: str = ""
    budget_usd: str = ""  # for one run
    has_owner_settings: bool = True  # the owner's skills, MCP servers and settings are the assistant
    start_ms_max: int = 30_000
    idle_ms_max: int = 600_000
    prices: dict[str, Price] = {}


class ClaudeCode:
    """It changes files and runs commands, so it claims with `wait`."""

    name = "claude_code"
    on_loss = "wait"

    def __init__(self, options: ClaudeOptions, env: Mapping[str, str]) -> None:
        self._options = options
        self._env = {**env, **ENV_SET}

    def provides(self) -> tuple[str, ...]:
        return ()

    def probe(self) -> Plan | None:
        return Plan(argv=(self._options.cli, "auth", "status"), env=self._env) if self._is_here() else None

    def readiness(self, probed: Ended | None) -> str:
        """`auth status` prints JSON and ends with 1 when logged out; it does not notice an expired token."""
        if not self._is_here():
            return "missing"
        if probed is None:
            return "unknown"
        said = probed.stdout.decode("utf-8", "replace")
        if probed.code == 0 and '"loggedIn":false' not in said.replace(" ", ""):
            return "ok"
        words = said + probed.stderr.decode("utf-8", "replace")
        return not_ready(probed, words, is_logged_out='"loggedIn"' in said)

    def plan(self, task: TaskToRun, run_id: str, start: Start = NEW) -> Plan:
        return Plan(
            argv=self._argv(run_id, start),
            env={**self._env, **markers(task, run_id)},
            stdin=checked_prompt(task, start),
            cwd=start.cwd,
            start_ms_max=self._options.start_ms_max,
            idle_ms_max=self._options.idle_ms_max,
        )

    def _argv(self, run_id: str, start: Start) -> tuple[str, ...]:
        chosen = self._options
        argv = [chosen.cli, "-p", "--output-format", "stream-json", "--verbose"]
        if chosen.permission_mode:
            argv += ["--permission-mode", chosen.permission_mode]
        if chosen.allowed_tools:
            argv += [f"--allowedTools={chosen.allowed_tools}"]  # in one word: it swallows what follows
        if not chosen.has_owner_settings:
            argv += ["--setting-sources", "", "--strict-mcp-config"]
        if chosen.model:
            argv += ["--model", chosen.model]
        if chosen.budget_usd:
            argv += ["--max-budget-usd", chosen.budget_usd]
        if start.session is not None:
            return (*argv, "--resume", start.session.id)
        return (*argv, "--session-id", session_id(run_id, start.nth))

    def reading(self, start: Start = NEW) -> ClaudeReading:
        return ClaudeReading(start, self._options.prices)

    def outcome(self, ended: Ended, reading: Reading | None = None) -> Outcome:
        seen = reading if isinstance(reading, ClaudeReading) else self._read(ended)
        return verdict(ended, seen)

    def _read(self, ended: Ended) -> ClaudeReading:
        seen = self.reading()
        seen.feed(ended.stdout, 0)
        return seen

    def _is_here(self) -> bool:
        return shutil.which(self._options.cli, path=self._env.get("PATH")) is not None


def session_id(run_id: str, nth: int) -> str:
    """Chosen by us, so that it is known before the first word; another one for another start of the same run."""
    return str(uuid5(NAMESPACE_OID, f"{run_id}/{nth}"))
