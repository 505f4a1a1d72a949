"""From settings to what a hub is given, without the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from understudy.config import Settings
from understudy.config.policy import HubInputs, hub_inputs, policy_of, takeover_of
from understudy.coordinator.nouns import Policy
from understudy.coordinator.prices import price_of
from understudy.coordinator.routes import Routes
from understudy.coordinator.takeover_nouns import TakeoverPolicy
from understudy.errors import ConfigError
from understudy.services.claude import ClaudeApi


def test_the_defaults_of_settings_and_of_rules_are_the_same():
    own = takeover_of(Settings())
    decided = {"model": own.model, "access": own.access, "price": price_of(own.model, {})}
    assert own == msgspec.structs.replace(TakeoverPolicy(), **decided)
    assert policy_of(Settings(), Routes()) == Policy(takeover=own)
    assert ClaudeApi("").base_url == Settings().anthropic_base_url


@pytest.mark.parametrize(
    ("changed", "first", "fallback"),
    [
        ({"anthropic_api_key": "sk-2"}, True, True),
        ({"anthropic_base_url": "https://gateway.example"}, True, True),
        ({"takeover_model": "other"}, True, False),
        ({"takeover_fallback_model": "other"}, False, True),
    ],
)
def test_what_a_service_may_refuse_of_each_model_has_a_fingerprint(changed, first, fallback):
    before = Settings(anthropic_api_key="sk-1", takeover_model="m", takeover_fallback_model="n")
    old, new = takeover_of(before), takeover_of(dataclasses.replace(before, **changed))
    assert (new.access != old.access, new.fallback_access != old.fallback_access) == (first, fallback)


def test_a_fallback_model_leaves_the_fingerprint_as_hubs_without_one_know_it():
    without, with_one = (takeover_of(Settings(takeover_fallback_model=model)) for model in ("", "n"))
    assert (without.access, without.fallback_access) == (with_one.access, "")


def test_every_secret_is_known_to_the_hub_and_none_is_in_its_policy():
    environ = {"MY_TOKEN": "from-the-shell-0001"}
    settings = Settings(ntfy_url="https://ntfy.example/top", ntfy_token="tk-1", anthropic_api_key="sk-ant-1")
    given = hub_inputs(settings, environ, Path("/nowhere"), {"ADMIN_API_KEY": "usk_1"})
    assert {"tk-1", "sk-ant-1", "usk_1", "https://ntfy.example", "from-the-shell-0001"} <= set(given.secrets)
    shown = repr(given.policy)
    assert not [secret for secret in given.secrets if secret and secret in shown]


@pytest.mark.parametrize("value", ["nothing", "http://[::1"])
def test_a_watchdog_that_nobody_can_call_is_refused(value):
    with pytest.raises(ConfigError, match="UNDERSTUDY_WATCHDOG_URL"):
        hub_inputs(Settings(watchdog_url=value), {}, Path("/nowhere"), {})


def test_the_inputs_of_a_hub_are_data():
    given = hub_inputs(Settings(port=0, prices=("m=1/2",)), {}, Path("/nowhere"), {})
    raw = msgspec.json.encode(given, enc_hook=str)
    assert msgspec.json.decode(raw, type=HubInputs, dec_hook=lambda kind, value: kind(value)) == given
