"""Bodies and parameters from our own OpenAPI document: right, nearly right, and wrong on purpose."""

from __future__ import annotations

import random
import string
from typing import Any

DEPTH_MAX = 6
ODD_TEXTS = (
    "", " ", "\0", "a\0b", "é", "日本語", "🙂", "\u202e", "\ufeff", "a" * 300, "../../etc/passwd", "%00",
    "'; DROP TABLE task; --",
    '{"a":1}', "null", "NaN", "\r\nX-Injected: 1", "[object Object]", "task:1.2-3_4", "9" * 40,
    "daemon_host_1738591000000",
    "worker_1738591000000", "-1", "2026-02-04T14:13:28.213Z", "2026-13-40T99:99:99Z", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999Z", "2026-02-04T14:13:28", "x" * 5000,
    "word " * 2000, "9" * 20_000, "\ud83d", "a\udc00b", "\u2028\u2029",
    "[" * 5000, "\x1b[1;31mred\x1b[0m", "-----BEGIN PRIVATE KEY-----" * 50,
)  # fmt: skip
ODD_NUMBERS = (
    0, -0.0, 1, -1, 0.5, 1e-9, 2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 1e308, -1e308, 60.0,
    1e300, 10**400, 253402300799, 1_700_000_000_000,
)  # fmt: skip
ID_CHARS = string.ascii_letters + string.digits + "._:-"


class Values:
    """Random values for schemas; `known` are ids and numbers that the hub itself has named."""

    def __init__(self, document: dict[str, Any], rng: random.Random) -> None:
        self._schemas = document["components"]["schemas"]
        self._rng = rng
        self.known: list[Any] = []
        self.tokens: dict[str, int] = {}  # task → the token granted last

    def learn(self, answer: Any, depth: int = 0) -> None:
        """Remember ids and tokens of an answer, so that later requests reach deeper."""
        if isinstance(answer, dict) and depth < DEPTH_MAX:
            lease, task = answer.get("lease"), answer.get("task")
            if isinstance(lease, dict) and isinstance(task, dict) and "token" in lease:
                self.tokens[task["id"]] = lease["token"]
            for name, value in answer.items():
                if name in ("id", "taskId", "daemonId", "token", "bootId", "next") and isinstance(value, str | int):
                    self._keep(value)
                else:
                    self.learn(value, depth + 1)
        elif isinstance(answer, list):
            for value in answer[:5]:
                self.learn(value, depth + 1)
        while len(self.tokens) > 200:
            del self.tokens[next(iter(self.tokens))]

    def _keep(self, value: Any) -> None:
        if len(self.known) < 300:
            self.known.append(value)
        else:
            self.known[self._rng.randrange(300)] = value

    def odd(self, depth: int = 0) -> Any:
        """Any JSON value at all."""
        rng = self._rng
        kind = rng.randrange(9)
        if kind in (0, 1):
            return rng.choice((ODD_NUMBERS, (None, True, False))[kind])
        if kind in (2, 3) and depth < 3:
            return [self.odd(depth + 1) for _ in range(rng.randrange(4))]
        if kind in (4, 5) and depth < 3:
            return {rng.choice(ODD_TEXTS)[:40]: self.odd(depth + 1) for _ in range(rng.randrange(4))}
        if kind == 6 and self.known:
            return rng.choice(self.known)
        return rng.choice(ODD_TEXTS)

    def of(self, schema: dict[str, Any], depth: int = 0) -> Any:
        """A value for a schema: most often one that fits, sometimes one just outside, sometimes anything."""
        rng = self._rng
        if rng.random() < 0.04:
            return self.odd()
        if "$ref" in schema:
            return self.of(self._schemas[schema["$ref"].rsplit("/", 1)[1]], depth)
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self.of(rng.choice(schema[choice]), depth)
        if "enum" in schema or "const" in schema:
            return rng.choice(schema.get("enum") or [schema["const"]])
        kind = schema.get("type")
        makers = {
            "object": self._object, "array": self._array, "string": self._text, "integer": self._integer,
            "number": self._number,
        }  # fmt: skip
        if kind in makers:
            return makers[kind](schema, depth)
        return {"boolean": rng.random() < 0.5, "null": None}.get(str(kind), self.odd())

    def _object(self, schema: dict[str, Any], depth: int) -> Any:
        rng = self._rng
        needed = set(schema.get("required", ()))
        made: dict[str, Any] = {}
        for name, part in schema.get("properties", {}).items():
            is_there = rng.random() > 0.02 if name in needed else rng.random() < 0.35
            if is_there and depth < DEPTH_MAX:
                made[name] = self.of(part, depth + 1)
        if not schema.get("properties") or rng.random() < 0.03:
            made |= {rng.choice(ODD_TEXTS)[:60]: self.odd() for _ in range(rng.randrange(3))}
        self._pair_up(made)
        return made

    def _pair_up(self, made: dict[str, Any]) -> None:
        """A known task goes with its own token, half of the time."""
        if "taskId" in made and self.tokens and self._rng.random() < 0.5:
            made["taskId"], made["token"] = self._rng.choice(tuple(self.tokens.items()))

    def _array(self, schema: dict[str, Any], depth: int) -> Any:
        rng = self._rng
        most = min(schema.get("maxItems", 4), 4)
        count = rng.randint(schema.get("minItems", 0), max(most, 1))
        if rng.random() < 0.01:
            count = min(schema.get("maxItems", 20), 300) + rng.choice((0, 1))
            one = self.of(schema.get("items", {}), depth + 1)
            return [one] * count
        return [self.of(schema.get("items", {}), depth + 1) for _ in range(count)]

    def _text(self, schema: dict[str, Any], depth: int) -> str:
        rng = self._rng
        roll = rng.random()
        if roll < 0.35 and self.known:
            return str(rng.choice(self.known))
        if roll < 0.5:
            return rng.choice(ODD_TEXTS)
        least, most = schema.get("minLength", 0), schema.get("maxLength", 24)
        if roll < 0.55:
            return "x" * max(0, min(rng.choice((least - 1, least, most, most + 1)), 70_000))
        if roll < 0.6:
            return f"{rng.randrange(24):02}:{rng.randrange(60):02}"
        return "".join(rng.choices(ID_CHARS, k=rng.randint(max(1, least), max(1, least, min(most, 24)))))

    def _integer(self, schema: dict[str, Any], depth: int) -> Any:
        rng = self._rng
        low, high = schema.get("minimum", -5), schema.get("maximum", 10_000)
        roll = rng.random()
        if roll < 0.1:
            return rng.choice((low - 1, low, high, high + 1))
        if roll < 0.2:
            return rng.choice(ODD_NUMBERS)
        if roll < 0.4 and self.tokens:
            return rng.choice(tuple(self.tokens.values()))
        return rng.randint(int(low), int(high))

    def _number(self, schema: dict[str, Any], depth: int) -> Any:
        rng = self._rng
        low, high = schema.get("minimum", schema.get("exclusiveMinimum", -5)), schema.get("maximum", 10_000)
        if rng.random() < 0.2:
            return rng.choice((*ODD_NUMBERS, low, high))
        return rng.uniform(float(low), float(high))
