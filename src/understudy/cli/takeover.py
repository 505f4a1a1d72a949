"""`understudy takeover`: what the hub does while no daemon is there, what it has spent; pause and resume."""

from __future__ import annotations

from typing import Any

import click

from understudy.cli.commands import Group
from understudy.cli.connection import connect
from understudy.cli.options import json_option
from understudy.cli.terminal import ago, clock_time, paint, safe, say, say_json
from understudy.texts import t

NOTIFY = "notify"  # as the answer has it in `stoppedBy`
STOPPED = frozenset({"off", "no_key", "no_price", "circuit", "paused"})


@click.group("takeover", cls=Group, help=t("cli.takeover.help"), example="understudy takeover status")
def takeover() -> None:
    """See the commands below."""


@takeover.command("status", help=t("cli.takeover.status"), example="understudy takeover status --json")
@json_option
def status(as_json: bool) -> None:
    """As it stands."""
    seen = connect().get("/api/takeover")
    say_json(seen) if as_json else say("\n".join(lines_of(seen)))


@takeover.command("pause", help=t("cli.takeover.pause"), example="understudy takeover pause")
@json_option
def pause(as_json: bool) -> None:
    """No more calls."""
    _steer("pause", as_json=as_json)


@takeover.command("resume", help=t("cli.takeover.resume"), example="understudy takeover resume")
@json_option
def resume(as_json: bool) -> None:
    """Calls again; also closes the circuit."""
    _steer("resume", as_json=as_json)


def _steer(verb: str, *, as_json: bool) -> None:
    answer = connect(admin=True).post(f"/api/takeover/{verb}", repeatable=True)
    say_json(answer) if as_json else say(t(f"cli.takeover.{verb}d"))


def line_of(seen: dict[str, Any]) -> str:
    """Takeover in one line, for `status`."""
    doing = doing_of(seen)
    text = t("cli.takeover.line", doing=t(f"takeover.doing.{doing}"))
    if seen.get("open") and doing not in STOPPED:
        return paint(f"{text}  {t('cli.takeover.open', ago=ago(seen['since']))}", "yellow")
    return paint(text, "yellow") if seen.get("on") and doing in STOPPED - {"paused"} else text


def doing_of(seen: dict[str, Any]) -> str:
    """The text for its mode, or for the reason why it does nothing."""
    if seen.get("lacks"):
        return str(seen["lacks"])
    if seen.get("circuit") and not makes_no_calls(seen):
        return "circuit"
    if seen.get("paused") and not makes_no_calls(seen):
        return "paused"
    return str(seen["mode"]) if seen.get("mode") not in ("", "off") else "sources"


def makes_no_calls(seen: dict[str, Any]) -> bool:
    """True if no source has a mode with calls: neither a pause nor a circuit stops anything then."""
    return bool(seen.get("stoppedBy") == NOTIFY)


def lines_of(seen: dict[str, Any]) -> list[str]:
    """All of it as text."""
    lines = [line_of(seen)]
    if seen.get("sources"):
        lines.append(
            t("cli.takeover.sources", sources=", ".join(f"{k} {v}" for k, v in sorted(seen["sources"].items())))
        )
    price = seen.get("priceUsdPerMTok")
    known = (
        t("cli.takeover.price", input=price["input"], output=price["output"]) if price else t("cli.takeover.no_price")
    )
    lines.append(t("cli.takeover.model", model=safe(seen["model"]), price=known))
    circuit = seen.get("circuit")
    if circuit and not makes_no_calls(seen):
        lines.append(
            paint(t("cli.takeover.circuit", reason=circuit["reason"], at=clock_time(circuit["openedAt"])), "red")
        )
        lines.append(t("cli.takeover.fix"))
    for kind in ("day", "month"):
        row = seen["budget"][kind]
        left, limit = f"{row['leftUsd']:.6g}", f"{row['limitUsd']:.6g}"
        lines.append(t(f"cli.takeover.{kind}", left=left, limit=limit, calls=row["calls"]))
    return lines
