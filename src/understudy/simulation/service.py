"""A played Messages API: answers, refuses, hangs and overloads, and keeps its own bill."""

from __future__ import annotations

import msgspec

from understudy.coordinator.prices import Price, Tokens, cost_micro_usd
from understudy.hub.calls import Job
from understudy.simulation.world import World
from understudy.wire.outbound import HttpAnswer, NoAnswer

PRICES = {"simulated": Price(1, 5), "in its stead": Price(2, 10)}
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
    """What the hub calls; what it was billed for is known to nobody else."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.billed_micro_usd = 0
        self.calls = 0

    def call(self, job: Job) -> tuple[int, HttpAnswer | NoAnswer]:
        """How long it takes, and what arrives."""
        chance = self._world.random
        self.calls += 1
        (deed,) = chance.choices([name for name, _ in DEEDS], [weight for _, weight in DEEDS])
        took_ms = self._world.between(*chance.choice(ANSWER_MS))
        if deed in ERRORS:
            headers = {"retry-after": "20"} if deed == "rate_limited" else {}
            return min(took_ms, job.timeout_ms), HttpAnswer(ERRORS[deed], headers, b"{}")
        if deed == "unreached":
            return 50, NoAnswer("refused", was_sent=False)
        tokens = self._bill(job)
        if deed == "hang" or took_ms >= job.timeout_ms:
            return job.timeout_ms, NoAnswer("too slow")
        body = self._message(job, tokens, "refusal" if deed == "refusal" else "end_turn")
        return took_ms, HttpAnswer(200, {}, body[: len(body) // 2] if deed == "cut" else body)

    def _bill(self, job: Job) -> Tokens:
        worst = job.prompt.worst_tokens
        tokens = Tokens(self._world.between(1, worst.input), self._world.between(1, worst.output))
        self.billed_micro_usd += cost_micro_usd(PRICES[job.prompt.model], tokens)
        return tokens

    @staticmethod
    def _message(job: Job, tokens: Tokens, stop: str) -> bytes:
        text = [{"type": "text", "text": f"{job.task_id}|{job.token}|{job.call_id}"}]
        usage = {"input_tokens": tokens.input, "output_tokens": tokens.output}
        return msgspec.json.encode({"content": text, "stop_reason": stop, "usage": usage})
