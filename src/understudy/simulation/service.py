"""A played Messages API: answers, refuses, hangs and overloads, and keeps its own bill."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.coordinator.prices import Price, Tokens, cost_micro_usd
from understudy.coordinator.prompts import Prompt
from understudy.services.claude import ClaudeApi
from understudy.simulation.world import World
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer, OutboundRequest

PRICES = {"simulated": Price(1, 5), "in its stead": Price(2, 10)}
PROBES_WELL = 0.7
ANSWER_MS = ((300, 3_000), (300, 3_000), (3_000, 40_000), (30_000, 90_000))
# what it does, and how often in a hundred calls
DEEDS = (
    ("answer", 70),
    ("overloaded", 8),
    ("rate_limited", 4),
    ("server", 4),
    ("hang", 5),
    ("cut", 4),
    ("refusal", 2),
    ("unreached", 2),
    ("authentication", 1),
)
ERRORS = {"overloaded": 529, "rate_limited": 429, "server": 500, "authentication": 401}


class Service:
    """The service that the hub calls; only it knows what it has billed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.api = ClaudeApi("key")
        self.billed_micro_usd = 0
        self.calls = 0

    def asked(self, request: OutboundRequest) -> tuple[int, HttpAnswer | NoAnswer]:
        """The duration and the answer of a request; a GET only probes whether the world can be reached."""
        assert isinstance(request, HttpRequest)
        if request.method == "GET":
            is_well = self._world.chance(PROBES_WELL)
            return self._world.between(0, 200), HttpAnswer(200) if is_well else NoAnswer("refused", was_sent=False)
        return self._called(msgspec.json.decode(request.body, type=_Body).prompt, request.timeout_ms)

    def _called(self, prompt: Prompt, timeout_ms: int) -> tuple[int, HttpAnswer | NoAnswer]:
        chance = self._world.random
        self.calls += 1
        (deed,) = chance.choices([name for name, _ in DEEDS], [weight for _, weight in DEEDS])
        took_ms = self._world.between(*chance.choice(ANSWER_MS))
        if deed in ERRORS:
            headers = {"retry-after": "20"} if deed == "rate_limited" else {}
            return min(took_ms, timeout_ms), HttpAnswer(ERRORS[deed], headers, b"{}")
        if deed == "unreached":
            return 50, NoAnswer("refused", was_sent=False)
        tokens = self._bill(prompt)
        if deed == "hang" or took_ms >= timeout_ms:
            return timeout_ms, NoAnswer("too slow")
        body = self._message(tokens, "refusal" if deed == "refusal" else "end_turn")
        return took_ms, HttpAnswer(200, {}, body[: len(body) // 2] if deed == "cut" else body)

    def _bill(self, prompt: Prompt) -> Tokens:
        worst = prompt.worst_tokens
        tokens = Tokens(self._world.between(1, worst.input), self._world.between(1, worst.output))
        self.billed_micro_usd += cost_micro_usd(PRICES[prompt.model], tokens)
        return tokens

    def _message(self, tokens: Tokens, stop: str) -> bytes:
        text = [{"type": "text", "text": f"answer {self.calls}"}]
        usage = {"input_tokens": tokens.input, "output_tokens": tokens.output}
        return msgspec.json.encode({"content": text, "stop_reason": stop, "usage": usage})


class _Body(msgspec.Struct):
    """A request of the Messages API."""

    model: str
    max_tokens: int
    system: str
    messages: tuple[dict[str, Any], ...]

    @property
    def prompt(self) -> Prompt:
        """The hub's question."""
        return Prompt(self.model, self.system, self.messages, self.max_tokens)
