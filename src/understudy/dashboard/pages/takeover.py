"""Takeover: what the hub does while no daemon is available, what stops it, what it has spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, Struct

from understudy.api.app import endpoint_named
from understudy.coordinator.takeover_nouns import NOTIFY
from understudy.dashboard.page import Act, Fragment, Given, Page
from understudy.hub.takeover_story import last_calls, takeover_story
from understudy.hub.views import View
from understudy.money import MICRO_PER_USD, usd_text
from understudy.texts import LANGUAGES, catalogue
from understudy.wire.answers.takeover import PeriodJson, TakeoverAnswer

BAR = 1000  # thousandths
MOST, ALL = 800, 1000  # from these shares on a bar looks different
DAEMONS_NAMED = 3
OUTCOME, CIRCUIT = "pages.takeover.outcome.", "pages.takeover.circuit."


class Money(Struct, frozen=True):
    """A day's or month's budget as amounts in words and parts of a bar."""

    kind: str
    spent: str
    reserved: str
    left: str
    limit: str
    calls: int
    renews_at: str
    spent_part: int
    reserved_part: int
    look: str  # calm | most | spent


def _money(kind: str, period: PeriodJson) -> Money:
    limit = period.limit_usd or 1
    spent = min(round(period.spent_usd / limit * BAR), BAR)
    reserved = min(round(period.reserved_usd / limit * BAR), BAR - spent)
    look = "spent" if spent + reserved >= ALL else "most" if spent + reserved >= MOST else "calm"
    return Money(
        kind,
        _usd(period.spent_usd),
        _usd(period.reserved_usd),
        _usd(period.left_usd),
        _usd(period.limit_usd),
        period.calls,
        period.renews_at,
        spent,
        reserved,
        look,
    )


def _usd(amount: float) -> str:
    return usd_text(round(amount * MICRO_PER_USD))


def state_word(answer: TakeoverAnswer) -> str:
    """The state in one word, here and on Home. A pause and a circuit stop nothing where no calls are made."""
    if not answer.on:
        return "off"
    if makes_no_calls(answer):
        return "open" if answer.open else "ready"
    if answer.paused:
        return "paused"
    if not answer.ready:
        return "lacking"
    if answer.circuit is not UNSET:
        return "stopped"
    return "open" if answer.open else "ready"


def makes_no_calls(answer: TakeoverAnswer) -> bool:
    """True if no source has a mode with calls: senders are notified at most."""
    return answer.stopped_by == NOTIFY


def _stops(answer: TakeoverAnswer, money: list[Money]) -> list[str]:
    """Everything that stops calls now, as words; the widest first."""
    if makes_no_calls(answer):
        return []
    found = [str(answer.lacks)] if answer.on and answer.lacks is not UNSET else []
    found += ["paused"] if answer.paused else []
    found += ["circuit"] if answer.circuit is not UNSET else []
    return found + [period.kind for period in money if period.left == "0"]


def _takeover(_: Given, view: View) -> Mapping[str, Any]:
    story = takeover_story(view)
    answer = story.takeover
    money = [_money("day", answer.budget.day), _money("month", answer.budget.month)]
    return {
        "takeover": answer,
        "cause": story.cause,
        "named": story.cause.here[:DAEMONS_NAMED],
        "more_here": sum(group.count for group in story.cause.here) - len(story.cause.here[:DAEMONS_NAMED]),
        "word": state_word(answer),
        "calls_made": not makes_no_calls(answer),
        "stops": _stops(answer, money),
        "circuit_word": _known(CIRCUIT, answer.circuit.reason) if answer.circuit else "",
        "money": money,
        "task_limit": _usd(answer.budget.task_usd),
    }


def _calls(_: Given, view: View) -> Mapping[str, Any]:
    rows = last_calls(view)
    return {"calls": rows, "outcomes": {row.id: _known(OUTCOME, row.outcome) for row in rows if row.settled_at}}


def _known(prefix: str, word: str) -> str:
    """The key of the text for a word of the service's; that of `other` if there is none."""
    return prefix + (word if prefix + word in catalogue(LANGUAGES[0]) else "other")


PAGE = Page(
    "/takeover",
    "takeover",
    (
        Fragment("takeover", _takeover, frozenset({"takeover", "budget", "daemon", "hub"}), every_s=5),
        Fragment("takeover_calls", _calls, frozenset({"takeover", "budget", "task", "lease"}), every_s=5, pace_s=1),
    ),
)
ACTS = (
    Act("takeover.pause", "/takeover/pause", endpoint_named("POST", "/api/takeover/pause")),
    Act("takeover.resume", "/takeover/resume", endpoint_named("POST", "/api/takeover/resume")),
)
