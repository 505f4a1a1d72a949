"""The verdict on a run of codex: a success if its turn completed with a message and nothing was declined."""

from __future__ import annotations

import msgspec

from understudy.texts import t
from understudy.worker.executors import Ended, Outcome
from understudy.worker.executors.assistant import answer_of
from understudy.worker.executors.codex_reading import CodexReading
from understudy.worker.executors.command import exit_error, replaced_text
from understudy.worker.executors.failures import Failure, api_failure, failed, not_begun
from understudy.worker.executors.fault_words import fault_of

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
    fault = _fault(ended, seen)
    if ended.was_interrupted and not fault:
        return failed(Failure("interrupted"), CLI, exit_error(ended))
    if seen.is_completed and seen.text:
        return Outcome(success=True) if ended.code == 0 else failed(Failure("exit_code"), CLI, exit_error(ended))
    if ended.code == 0:
        return failed(Failure("no_output"), CLI, seen.error or exit_error(ended))
    return _refused(ended, seen, fault)


def _fault(ended: Ended, seen: CodexReading) -> str:
    """The fault of this machine that ended it before it began, in a word; "" for none that is known."""
    if seen.has_begun or ended.code == 0:
        return ""
    return fault_of(ended, seen.error or replaced_text(ended.stderr))


def _refused(ended: Ended, seen: CodexReading, fault: str) -> Outcome:
    """It ended with an error before a turn did."""
    words = seen.error or replaced_text(ended.stderr)
    if fault:
        return failed(not_begun(fault, words), CLI, seen.error or exit_error(ended), is_untouched=True)
    is_resumed = seen.start.session is not None
    if is_resumed and not seen.has_acted and (not seen.has_begun or _is_about_session(words)):
        outcome = failed(Failure("session"), CLI, exit_error(ended))
        return msgspec.structs.replace(outcome, again="session")
    known = api_failure(0, words)
    if known.name != "api_error":
        return failed(known, CLI, words, is_untouched=not seen.has_acted)
    if not seen.has_begun:
        failure = not_begun("", words, is_usage=ended.code == USAGE_ERROR)
        return failed(failure, CLI, seen.error or exit_error(ended), is_untouched=True)
    if ended.code == USAGE_ERROR:
        return failed(Failure("usage", is_final=True), CLI, exit_error(ended))
    return failed(known if seen.error else Failure("exit_code"), CLI, seen.error or exit_error(ended))


def _is_about_session(words: str) -> bool:
    return any(word in words.lower() for word in _SESSION_WORDS)
