"""The verdict on a run of codex: a success if its turn completed with a message and nothing was declined."""

from __future__ import annotations

import msgspec

from understudy.texts import t
from understudy.worker.executors import Ended, Outcome
from understudy.worker.executors.assistant import answer_of
from understudy.worker.executors.codex_reading import CodexReading
from understudy.worker.executors.command import exit_error, replaced_text
from understudy.worker.executors.failures import Failure, api_failure, failed

CLI = "codex"
USAGE_ERROR = 2
_SESSION_WORDS = ("no rollout", "not found", "no saved session", "unknown thread", "no thread")


def verdict(ended: Ended, seen: CodexReading) -> Outcome:
    """Exit code 0 alone proves nothing: a refused command ends so too (docs/measured.md, codex)."""
    seen.finish()
    outcome = _judged(ended, seen)
    return msgspec.structs.replace(outcome, output=answer_of(seen.text) or None, usage=seen.usage())


def _judged(ended: Ended, seen: CodexReading) -> Outcome:
    if seen.declined:
        error = t("executors.blocked", cli=CLI, tools=", ".join(seen.declined)[:1_000])
        return Outcome(success=False, error=error, failure_class="blocked", failure_final=True)
    if seen.failure is not None:
        return failed(api_failure(0, seen.failure), CLI, seen.failure, is_untouched=not seen.has_acted)
    if ended.was_interrupted:
        return failed(Failure("interrupted"), CLI, exit_error(ended))
    if ended.code == 0:
        if seen.is_completed and seen.text:
            return Outcome(success=True)
        return failed(Failure("no_output"), CLI, seen.error or exit_error(ended))
    return _refused(ended, seen)


def _refused(ended: Ended, seen: CodexReading) -> Outcome:
    """It ended with an error before a turn did."""
    words = seen.error or replaced_text(ended.stderr)
    is_resumed = seen.start.session is not None
    if is_resumed and not seen.has_acted and (not seen.has_begun or _is_about_session(words)):
        outcome = failed(Failure("session"), CLI, exit_error(ended))
        return msgspec.structs.replace(outcome, again="session")
    known = api_failure(0, words)
    if known.name != "api_error":
        return failed(known, CLI, words, is_untouched=not seen.has_acted)
    if ended.code == USAGE_ERROR or not seen.has_begun:
        return failed(Failure("usage", is_final=True), CLI, exit_error(ended))
    return failed(known if seen.error else Failure("exit_code"), CLI, seen.error or exit_error(ended))


def _is_about_session(words: str) -> bool:
    return any(word in words.lower() for word in _SESSION_WORDS)
