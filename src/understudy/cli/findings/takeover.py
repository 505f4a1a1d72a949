"""Checks of takeover before it is needed: key, price, budget and service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from understudy import config
from understudy.cli.client import HubClient
from understudy.cli.connection import HubAddress
from understudy.cli.exits import AbsentError, ClientError
from understudy.cli.findings.finding import NOTICE, OK, PROBLEM, Finding, Here, said
from understudy.cli.takeover import makes_no_calls
from understudy.errors import ConfigError
from understudy.texts import t

if TYPE_CHECKING:
    from understudy.runtime.transport import Transport
    from understudy.services.claude import ClaudeApi

PING_TIMEOUT_MS = 15_000
NAME = "takeover"


def look(client: HubClient, here: Here, place: HubAddress) -> Iterator[Finding]:
    """Checks of takeover; the service itself is asked only where its key is available."""
    try:
        seen = client.get("/api/takeover")
    except AbsentError:  # an older hub
        return
    except ClientError as error:
        yield Finding(NAME, NOTICE, said(error))
        return
    found = list(_of_hub(seen))
    yield from found
    if all(finding.level == OK for finding in found) and seen.get("on") and not makes_no_calls(seen):
        yield from _of_service(here, place)


def _of_hub(seen: dict[str, Any]) -> Iterator[Finding]:
    lacks = seen.get("lacks")
    circuit = seen.get("circuit")
    if lacks == "off":
        yield Finding(NAME, OK, t("cli.doctor.takeover.off"))
    elif lacks:
        what = t(f"cli.doctor.takeover.{lacks}.what", model=seen.get("model", ""))
        fix = t(f"cli.doctor.takeover.{lacks}.fix", model=seen.get("model", ""))
        yield Finding(NAME, PROBLEM, what, t("cli.doctor.takeover.why"), fix)
    elif makes_no_calls(seen):
        yield Finding(NAME, OK, t("cli.doctor.takeover.notifies"))
    elif circuit:
        yield _refused(str(circuit["reason"]), t("cli.doctor.takeover.circuit", reason=circuit["reason"]))
    elif seen.get("paused"):
        what, fix = t("cli.doctor.takeover.paused"), "understudy takeover resume"
        yield Finding(NAME, NOTICE, what, t("cli.doctor.takeover.why"), fix)
    elif _is_too_dear(seen):
        what = t("cli.doctor.takeover.dear.what", limit=f"{seen['budget']['taskUsd']:.6g}")
        yield Finding(NAME, PROBLEM, what, t("cli.doctor.takeover.why"), t("cli.doctor.takeover.dear.fix"))
    else:
        yield Finding(NAME, OK, t("cli.doctor.takeover.ok", model=seen.get("model", "")))


def _is_too_dear(seen: dict[str, Any]) -> bool:
    """True if the longest answer alone costs more than one task may."""
    price = seen.get("priceUsdPerMTok") or {"output": 0}
    return bool(price["output"] * seen.get("answerTokensMax", 0) / 1e6 > seen["budget"]["taskUsd"])


def _of_service(here: Here, place: HubAddress) -> Iterator[Finding]:
    """One question to each model with an answer of a token, if this machine's settings hold the key."""
    from understudy.config.policy import claude_of, takeover_of
    from understudy.runtime.transport import Transport

    try:
        settings = config.load(here.environ, place.data or config.user_data_dir(here.environ)).settings
        policy, api = takeover_of(settings), claude_of(settings)
    except ConfigError:
        return  # said already
    if not policy.has_key:
        yield Finding(NAME, OK, t("cli.doctor.takeover.elsewhere"))
        return
    transport = Transport(ca_file=settings.ca_file)
    yield _of_model(policy.model, api, transport)
    if policy.fallback_model and policy.fallback_price is None:
        what = t("cli.doctor.takeover.no_fallback_price.what", model=policy.fallback_model)
        fix = t("cli.doctor.takeover.no_price.fix", model=policy.fallback_model)
        yield Finding(NAME, NOTICE, what, t("cli.doctor.takeover.no_fallback_price.why"), fix)
    elif policy.fallback_model:
        yield _of_model(policy.fallback_model, api, transport)


def _of_model(model: str, api: ClaudeApi, transport: Transport) -> Finding:
    from understudy.coordinator.prompts import prompt_of

    called = api.outcome_of(transport.http(api.request_for(prompt_of("ping", (), model, 1), PING_TIMEOUT_MS)))
    if called.kind in ("stop", "failed") and called.reason != "refused":
        return _refused(called.reason, t("cli.doctor.takeover.refused", reason=called.said or called.reason))
    if called.kind == "again" and called.reason != "empty":
        what = t("cli.doctor.takeover.silent", reason=called.said or called.reason)
        return Finding(NAME, NOTICE, what, t("cli.doctor.takeover.why"), t("cli.doctor.takeover.silent.fix"))
    return Finding(NAME, OK, t("cli.doctor.takeover.pinged", model=model))


def _refused(reason: str, what: str) -> Finding:
    fix = t(f"cli.doctor.takeover.fix.{reason}")
    return Finding(NAME, PROBLEM, what, t("cli.doctor.takeover.why"), f"{fix} {t('cli.doctor.takeover.resume')}")
