"""The checks of `doctor`, in an order in which one finding may explain the next. They change nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from understudy import config
from understudy.cli.client import HUNG_S, HubClient
from understudy.cli.connection import HubAddress, find_place
from understudy.cli.findings import (
    channels,
    daemons,
    database,
    hub,
    key,
    machine,
    service,
    store_file,
    takeover,
    worker,
)
from understudy.cli.findings.finding import NOTICE, OK, PROBLEM, AutomaticFix, Finding, Here, said
from understudy.config.channels import notes_of, notices_of
from understudy.errors import ConfigError, UnderstudyError
from understudy.texts import t

__all__ = ["NOTICE", "OK", "PROBLEM", "AutomaticFix", "Finding", "Here", "examine", "look_around"]

ANSWER_S = HUNG_S


def examine(environ: Mapping[str, str], cwd: Path) -> list[Finding]:
    """All findings, of this machine and of the hub."""
    return look_around(Here(environ, cwd))


def look_around(here: Here) -> list[Finding]:
    """All findings."""
    findings = list(_settings(here.environ))
    place: HubAddress | None = None
    try:
        place = find_place(here.environ, here.cwd)
    except UnderstudyError as error:
        fix = t("cli.doctor.no_hub.fix") if isinstance(error, ConfigError) else t("cli.doctor.key.fix")
        findings.append(Finding("hub", PROBLEM, said(error), fix=fix))
    services = service.services_of(here)
    if place is not None:
        client = HubClient(place.url, place.key, ca_file=place.ca_file, answer_s=ANSWER_S)
        with contextlib.closing(client):
            findings += _of_the_hub(client, here, place, services)
    findings += _all_of(service.look(here, place, services))
    findings += _all_of(machine.look(here, place, services))
    findings += _all_of(store_file.look(machine.stores(here, place, services)))
    findings += _all_of(database.look(machine.databases(here, place, services)))
    return findings


def _all_of(look: Iterable[Finding]) -> Iterator[Finding]:
    """The findings of a check; if the system refuses it that is a finding too, and the other checks go on."""
    try:
        yield from look
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        yield Finding("machine", PROBLEM, t("cli.os_error", reason=f"{error.strerror or error}", name=name))


def _of_the_hub(client: HubClient, here: Here, place: HubAddress, services: service.Services) -> Iterator[Finding]:
    reached = hub.reach(client, place, services)
    yield reached
    if reached.level == PROBLEM:
        return
    is_worker = worker.is_worker(client, place)
    if is_worker:
        yield from worker.look()
    for look in (hub.transport(place), hub.clock(client), hub.store(client, is_worker=is_worker)):
        yield from look
    found = list(key.look(client, place))
    yield from found
    if all(finding.level != PROBLEM for finding in found):
        yield from daemons.look(client, place, services, is_worker=is_worker)
        yield from takeover.look(client, here, place)
        yield from channels.look(client)


def _settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        loaded = config.load(environ, config.user_data_dir(environ))
    except ConfigError as error:
        yield Finding("settings", PROBLEM, error.message, fix=t("cli.doctor.settings.fix"))
        return
    for sentence in (*loaded.notes, *_notes_of_routes(loaded.settings, environ)):
        yield Finding("settings", NOTICE, sentence, fix=t("cli.doctor.settings.fix"))


def _notes_of_routes(settings: config.Settings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the channels that are configured here, if all that they need can be read."""
    try:
        return notes_of(settings, notices_of(settings, environ, config.user_data_dir(environ))[1])
    except ConfigError:
        return ()
