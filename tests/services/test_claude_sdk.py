"""The official SDK is the oracle: on the same fake it sees the same answers and errors as our own client."""

from __future__ import annotations

import warnings

import pytest

from tests.fakes.claude import FakeClaude
from understudy.coordinator.prompts import prompt_of
from understudy.runtime.transport import Transport
from understudy.services.claude import ClaudeApi

MODEL = "claude-haiku-5-5"
PROMPT = prompt_of("2 + 2?", (), MODEL, 100)


@pytest.fixture
def service():
    with FakeClaude() as fake:
        yield fake


@pytest.fixture(scope="module")
def anthropic():
    """The official SDK; imported by who needs it, since that takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anthropic
    return anthropic


@pytest.fixture
def sdk(anthropic, service):
    with anthropic.Anthropic(api_key=service.key, base_url=service.url, max_retries=0, timeout=60) as client:
        yield client


def asked(sdk):
    return sdk.messages.create(
        model=PROMPT.model, max_tokens=PROMPT.answer_tokens_max, system=PROMPT.system, messages=list(PROMPT.messages)
    )


def ours(service, timeout_ms=5_000):
    api = ClaudeApi(service.key, service.url)
    return api.outcome_of(Transport().http(api.request_for(PROMPT, timeout_ms)))


def test_both_send_the_same_body_and_read_the_same_answer(service, sdk):
    service.usage = (21, 8)
    message, called = asked(sdk), ours(service)
    assert service.bodies[0] == service.bodies[1]
    assert called.text == "".join(block.text for block in message.content)
    assert (called.tokens.input, called.tokens.output) == (message.usage.input_tokens, message.usage.output_tokens)
    assert service.problems == []


@pytest.mark.parametrize(
    ("step", "error", "kind", "reason"),
    [
        (401, "AuthenticationError", "stop", "authentication"),
        (403, "PermissionDeniedError", "stop", "permission"),
        ("credit", "BadRequestError", "stop", "credit"),
        (402, "APIStatusError", "stop", "credit"),
        (404, "NotFoundError", "stop", "model"),
        (413, "APIStatusError", "failed", "too_large"),
        (429, "RateLimitError", "again", "rate_limited"),
        ("spend_limit", "RateLimitError", "stop", "spend_limit"),
        (500, "InternalServerError", "again", "server"),
        (503, "InternalServerError", "again", "server"),
        (504, "InternalServerError", "again", "server"),
        (529, "InternalServerError", "again", "overloaded"),
        ("cut", "APIConnectionError", "again", "no_answer"),
    ],
)
def test_both_meet_the_same_error(anthropic, service, sdk, step, error, kind, reason):
    service.plan([step, step])
    with pytest.raises(getattr(anthropic, error)):
        asked(sdk)
    called = ours(service)
    assert (called.kind, called.reason) == (kind, reason)


def test_both_see_a_refusal_and_a_limit(service, sdk):
    service.plan(["refusal", "refusal", "max_tokens", "max_tokens"])
    assert (asked(sdk).stop_reason, ours(service).reason) == ("refusal", "refused")
    assert (asked(sdk).stop_reason, ours(service).is_truncated) == ("max_tokens", True)


def test_where_the_sdk_takes_a_cut_stream_for_an_answer_we_do_not(service, sdk):
    service.plan(["cut_stream"])
    with sdk.messages.stream(
        model=PROMPT.model, max_tokens=100, system=PROMPT.system, messages=list(PROMPT.messages)
    ) as stream:
        message = stream.get_final_message()
    assert message.stop_reason is None
    from msgspec.structs import replace

    api = ClaudeApi(service.key, service.url)
    service.plan(["cut_stream"])
    request = api.request_for(PROMPT, 5_000)
    asks = replace(request, body=request.body[:-1] + b',"stream":true}')
    assert api.outcome_of(Transport().http(asks)).reason == "cut"
