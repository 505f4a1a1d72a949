"""No regular expression reaches a person: each pattern of the wire has its words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from understudy.api.app import ENDPOINTS
from understudy.cli.forms import FORMS, in_plain_words
from understudy.errors import BadRequestError
from understudy.texts import t
from understudy.wire.daemons import DirectiveBody, SettingsBody
from understudy.wire.decode import decode
from understudy.wire.limits import NO_LAST_NEWLINE
from understudy.wire.tasks import EnqueueBody


def patterns(schema: Any) -> Iterator[str]:
    """All that a schema names, except names of fields."""
    if isinstance(schema, dict):
        if isinstance(found := schema.get("pattern"), str):
            yield found
        for inner in schema.values():
            yield from patterns(inner)
    if isinstance(schema, list):
        for inner in schema:
            yield from patterns(inner)


def test_each_pattern_of_the_wire_has_its_words():
    schemas = [msgspec.json.schema(endpoint.shape) for endpoint in ENDPOINTS if endpoint.shape]
    found = {pattern.removesuffix(NO_LAST_NEWLINE) for pattern in patterns(schemas)}
    assert len(found) >= 4
    assert found <= set(FORMS)


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        (EnqueueBody, {"content": "x", "id": "a b"}),
        (EnqueueBody, {"content": "x", "executor": "a b"}),
        (SettingsBody, {"expectedSleep": [{"from": "24:00", "to": "07:00"}]}),
        (DirectiveBody, {"kind": "update", "version": "../.."}),
        (DirectiveBody, {"kind": "update", "sha256": "x"}),
    ],
)
def test_what_the_hub_expects_is_told_in_words(shape, body):
    with pytest.raises(BadRequestError) as refused:
        decode(msgspec.json.encode(body), shape)
    (detail,) = refused.value.fields["details"]
    told = in_plain_words(detail)
    assert "regex" in detail
    assert "regex" not in told
    assert any(t(words) in told for words in FORMS.values())


def test_a_pattern_of_another_hub_is_not_shown_either():
    assert "^z+$" not in in_plain_words("id: Expected `str` matching regex '^z+$'")


def test_other_details_stay():
    assert in_plain_words("id: Expected `str`") == "id: Expected `str`"
