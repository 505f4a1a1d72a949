"""The verdict on a run of claude, by the full rule (docs/measured.md, claude)."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.texts import t
from understudy.worker.executors import Ended, Outcome
from understudy.worker.executors.assistant import answer_of
from understudy.worker.executors.claude_reading import ClaudeReading, input_shown
from understudy.worker.executors.command import exit_error, replaced_text
from understudy.worker.executors.events import list_in, number_in, text_in, value_in
from understudy.worker.executors.failures import Failure, api_failure, failed, not_begun
from understudy.worker.executors.fault_words import fault_of

CLI = "claude"
_SESSION_WORDS = ("no conversation found", "already in use", "session id")
_SUBTYPES = {
    "error_max_budget_usd": Failure("budget", is_final=True),
    "error_max_turns": Failure("max_turns", is_final=True),
}
_STOPS = {
    "refusal": Failure("refused", is_final=True),
    "max_tokens": Failure("max_tokens", is_final=True),
    "model_context_window_exceeded": Failure("too_long", is_final=True),
}


def verdict(ended: Ended, seen: ClaudeReading) -> Outcome:
    """Success: exit code 0, a result line, no error, completed, and no tool denied."""
    seen.finish()
    outcome = _without_result(ended, seen) if seen.result is None else _by_result(ended, seen, seen.result)
    said = answer_of(text_in(seen.result, "result") or seen.text) or None
    return msgspec.structs.replace(
        outcome,
        output=said if outcome.success or said != outcome.error else None,
        usage=seen.usage(),
    )


def _by_result(ended: Ended, seen: ClaudeReading, result: dict[str, Any]) -> Outcome:
    denied = _denied(result)
    if denied or result.get("terminal_reason") == "tool_deferred":
        return _blocked(denied or [result.get("deferred_tool_use")])
    if ended.code == 0 and result.get("is_error") is False and _is_completed(result):
        return Outcome(success=True)
    if _is_answer(result):
        return failed(Failure("interrupted" if ended.was_interrupted else "exit_code"), CLI, exit_error(ended))
    reason = _reason(ended, result)
    if not seen.has_begun and _is_about_session(reason):
        return _without_session(reason)
    return failed(_failure_of(result), CLI, reason, is_untouched=not seen.has_acted)


def _denied(result: dict[str, Any]) -> list[Any]:
    """The tools that were denied; what says so in another shape than a list is one of unknown name."""
    denied = value_in(result, "permission_denials")
    return denied if isinstance(denied, list) else [denied] if denied else []


def _is_about_session(words: str) -> bool:
    return any(word in words.lower() for word in _SESSION_WORDS)


def _without_session(reason: str) -> Outcome:
    return msgspec.structs.replace(failed(Failure("session"), CLI, reason), again="session")


def _is_completed(result: dict[str, Any]) -> bool:
    """Versions without `terminal_reason` say `subtype: success` for the same; with it, only it counts."""
    reason = result.get("terminal_reason")
    return reason == "completed" if reason is not None else result.get("subtype") == "success"


def _is_error(result: dict[str, Any]) -> bool:
    """True if the text of the result is that of an error, not of an answer."""
    is_of_api = bool(number_in(result, "api_error_status")) or text_in(result, "terminal_reason") == "api_error"
    return result.get("is_error") is True or is_of_api


def _is_answer(result: dict[str, Any]) -> bool:
    """True if the answer is complete, whatever became of its process afterwards."""
    return not _is_error(result) and _is_completed(result) and text_in(result, "stop_reason") not in _STOPS


def _failure_of(result: dict[str, Any]) -> Failure:
    subtype, stop = text_in(result, "subtype"), text_in(result, "stop_reason")
    if subtype in _SUBTYPES:
        return _SUBTYPES[subtype]
    if stop in _STOPS:
        return _STOPS[stop]
    if subtype == "error_during_execution" or text_in(result, "terminal_reason").startswith("aborted"):
        return Failure("interrupted")
    said = text_in(result, "result") if _is_error(result) else ""
    words = " ".join((said, *(str(error) for error in list_in(result, "errors"))))
    return api_failure(number_in(result, "api_error_status"), words)


def _reason(ended: Ended, result: dict[str, Any]) -> str:
    errors = "; ".join(str(error) for error in list_in(result, "errors"))
    return text_in(result, "result") or errors or text_in(result, "terminal_reason") or exit_error(ended)


def _blocked(denied: list[Any]) -> Outcome:
    """Work was not done, although it looks like a success: who was to be asked is not here."""
    names = (
        f"{text_in(d, 'tool_name') or text_in(d, 'name')}({input_shown(value_in(d, 'tool_input'))})" for d in denied
    )
    tools = ", ".join(dict.fromkeys(names))
    error = t("executors.blocked", cli=CLI, tools=tools[:1_000])
    return Outcome(success=False, error=error, failure_class="blocked", failure_final=True)


def _without_result(ended: Ended, seen: ClaudeReading) -> Outcome:
    """It ended without a result line: what it wrote on stderr, or nothing at all."""
    words = replaced_text(ended.stderr)
    fault = "" if seen.has_begun or ended.code == 0 else fault_of(ended, words)
    if fault:
        return failed(not_begun(fault, words), CLI, exit_error(ended), is_untouched=True)
    if ended.was_interrupted:
        return failed(Failure("interrupted"), CLI, exit_error(ended))
    if ended.code == 0:
        return failed(Failure("no_output"), CLI, exit_error(ended))
    if not seen.has_begun and (_is_about_session(words) or seen.start.session is not None):
        return _without_session(exit_error(ended))  # whatever it says on resuming: without the session it may work
    known = api_failure(number_in(seen.retry, "error_status"), f"{text_in(seen.retry, 'error')} {words}")
    if known.name != "api_error":
        return failed(known, CLI, exit_error(ended), is_untouched=not seen.has_acted)
    failure = Failure("exit_code") if seen.has_begun else not_begun("", words)
    return failed(failure, CLI, exit_error(ended), is_untouched=not seen.has_begun)
