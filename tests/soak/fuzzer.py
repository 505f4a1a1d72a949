"""Requests of all kinds at a real hub: from its own OpenAPI document, damaged, and plain garbage on sockets."""

from __future__ import annotations

import random
import socket
import threading
from typing import Any
from urllib.parse import quote, urlencode

import jsonschema_rs
import msgspec
from msgspec import Struct

from bench.processes import KEY, Hub
from tests.soak.values import ODD_TEXTS, Values
from understudy.api.protocol import IGNORED_BYTES_MAX

ANSWER_WITHIN_S = 20.0  # nothing that is asked for here may take longer: else the hub hangs
HALVES_MAX = 50
WAIT_S_MAX = 0.02  # long polls are cut to this
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "QUERY", "get")
HEADS = (
    b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n", b"POST /api/queue HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/queue HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"POST /api/queue HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /api/queue HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    b"POST /api/queue HTTP/1.1\r\nHost: h\r\nX-API-Key: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /%ff%fe/%00/\xc3\x28 HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 3000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nX:" + b"z" * 100_000 + b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00" * 100,
    b"GET http://elsewhere/ HTTP/1.1\r\nHost: h\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"POST /api/queue HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 9\r\n\r\nGET / HTT",
    b"POST /api/queue HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9000000\r\n\r\n",
    b"POST /api/queue HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: t\r\n" * 9000 + b"\r\n",
    b"GET / HTTP/1.1\r\n\r\n" * 20_000, b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n" * 10_000,
)  # fmt: skip


OFFERS = (
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "Connection: Upgrade, Content-Length\r\nUpgrade: h2c", "Connection: upgrade\r\nUpgrade: websocket",
)  # fmt: skip
MIB = 1 << 20


def _hard(rng: random.Random) -> bytes:
    """JSON that costs much for its size: deep, long, or many of something; halves of surrogate pairs; long words."""
    size = rng.choice((1_000, 60_000, 300_000, MIB - 200))
    return rng.choice((
        lambda: b"[" * size, lambda: b"[" * (size // 2) + b"]" * (size // 2), lambda: b'{"a":' * (size // 5),
        lambda: b"[" + b"{}," * (size // 3) + b"1]", lambda: b"[" + b"1," * (size // 2) + b"1]",
        lambda: b"9" * size, lambda: b"-1." + b"3" * size, lambda: b"1e" + b"9" * size,
        lambda: b'"' + b"x" * size + b'"', lambda: b'"' + b"word " * (size // 5) + b'"',
        lambda: b'"' + b"\\ud83d" * (size // 6) + b'"', lambda: b'"' + b"\\u0000" * (size // 6) + b'"',
        lambda: b'"' + b'\\"' * (size // 2) + b'"', lambda: b'"' + "\u202e\u00e9".encode() * (size // 5) + b'"',
        lambda: b'"' + b"-----BEGIN " * (size // 11) + b'"', lambda: b'"' + b"a@" * (size // 2) + b'"',
        lambda: b'"' + b"sk-" * (size // 3) + b'"', lambda: b'"' + b"\\n" * (size // 2) + b'"',
        lambda: b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(size // 14)) + b"}",
    ))()  # fmt: skip


class Sent(Struct):
    """One request as bytes on the wire, and whether its connection can be used again."""

    raw: bytes
    name: str
    is_head: bool = False
    ends: bool = False  # the connection is not usable for another
    operation: tuple[str, str] = ("", "")  # of the document, where it is surely that one which answers


def validators_of(document: dict[str, Any]) -> dict[tuple[str, str, str], Any]:
    """By method, path and status: the question whether an answer is as the document says."""
    return {
        (method.upper(), path, status): jsonschema_rs.validator_for(
            response["content"]["application/json"]["schema"] | {"components": document["components"]}
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for status, response in operation["responses"].items()
        if status < "300" and "application/json" in response["content"]
    }


class Fuzzer(threading.Thread):
    """One connection's worth of requests; `problems` is what must stay empty."""

    def __init__(self, hub: Hub, document: dict[str, Any], seed: int, requests: int) -> None:
        super().__init__(daemon=True, name=f"fuzzer-{seed}")
        self._hub = hub
        self._rng = random.Random(seed)
        self._values = Values(document, self._rng)
        self._operations = [
            (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        self._validators = validators_of(document)
        self._left = requests
        self._line: socket.socket | None = None
        self._halves: list[socket.socket] = []
        self.done = 0
        self.by_status: dict[int, int] = {}
        self.problems: list[str] = []

    def run(self) -> None:
        try:
            while self.done < self._left and len(self.problems) < 5:
                self._one()
                self.done += 1
        except OSError as trouble:
            self.problems.append(f"no connection: {trouble}")
        finally:
            self._hang_up()
            for half in self._halves:
                half.close()

    def _one(self) -> None:
        roll = self._rng.random()
        if roll < 0.04:
            self._garbage()
            return
        if roll < 0.05:
            self._half()
            return
        sent = self._request() if roll < 0.92 else self._damaged(self._request()) if roll < 0.98 else self._costly()
        try:
            answer = self._exchange(sent)
        except TimeoutError:
            self.problems.append(f"hangs: {sent.name}: {sent.raw[:400]!r}")
            self._hang_up()
            return
        except (OSError, ValueError) as trouble:
            if not sent.ends and len(sent.raw) <= IGNORED_BYTES_MAX:  # the hub reads no more of what it has refused
                self.problems.append(f"no answer ({trouble!r}): {sent.name}: {sent.raw[:400]!r}")
            self._hang_up()
            return
        if answer is not None:
            self._judge(sent, *answer)
        if sent.ends:
            self._hang_up()

    def _judge(self, sent: Sent, status: int, body: bytes) -> None:
        self.by_status[status] = self.by_status.get(status, 0) + 1
        if status >= 500:
            self.problems.append(f"{status} {body[:300]!r} to {sent.name}: {sent.raw[:600]!r}")
            return
        try:
            answer = msgspec.json.decode(body) if body[:1] in (b"{", b"[") else None
        except msgspec.DecodeError:
            self.problems.append(f"no JSON: {body[:200]!r} to {sent.name}")
            return
        if status >= 400 and isinstance(answer, dict) and not isinstance(answer.get("error"), str):
            self.problems.append(f"{status} without `error`: {body[:200]!r} to {sent.name}")
        if status < 300 and answer is not None:
            self._values.learn(answer)
            self._hold_to_schema(sent, status, answer)

    def _hold_to_schema(self, sent: Sent, status: int, answer: Any) -> None:
        validator = self._validators.get((*sent.operation, str(status)))
        if validator is not None:
            wrong = [f"{error.instance_path}: {error.message[:200]}" for error in validator.iter_errors(answer)]
            self.problems += [f"not as described: {wrong[:3]} to {sent.name}: {sent.raw[:600]!r}"] if wrong else []

    # ---- what is sent

    def _request(self) -> Sent:
        rng, values = self._rng, self._values
        asked, template, operation = rng.choice(self._operations)
        method, path = asked, template
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                path = path.replace("{" + parameter["name"] + "}", self._path_value(parameter))
        query = {
            parameter["name"]: str(values.of(parameter["schema"]))[:2000]
            for parameter in operation["parameters"]
            if parameter["in"] == "query" and rng.random() < 0.4 and parameter["name"] != "follow"
        }
        target = path + ("?" + urlencode(query, errors="replace") if query else "")
        if rng.random() < 0.02:
            method = rng.choice(METHODS)
        body = b""
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            body = encoded(self._tamed(values.of(schema)))
        raw, name = self._raw(method, target, body), f"{method} {path}"
        is_sure = asked == method and not any(odd in f"{path}/" for odd in ("%2F", "..", "//"))
        return Sent(raw, name, is_head=method == "HEAD", operation=(method, template) if is_sure else ("", ""))

    def _path_value(self, parameter: dict[str, Any]) -> str:
        values, rng = self._values, self._rng
        if values.tokens and rng.random() < 0.3:
            return quote(rng.choice(tuple(values.tokens)), safe="")
        if values.known and rng.random() < 0.5:
            return quote(str(rng.choice(values.known)), safe="")
        return quote(str(values.of(parameter["schema"]))[:500] or "x", safe="", errors="replace")

    def _tamed(self, body: Any) -> Any:
        """Long polls must not look like hangs."""
        if isinstance(body, dict):
            wait = body.get("waitSec")
            if isinstance(wait, int | float) and not isinstance(wait, bool) and WAIT_S_MAX < wait <= 60:
                body["waitSec"] = WAIT_S_MAX
        return body

    def _raw(self, method: str, target: str, body: bytes) -> bytes:
        rng = self._rng
        key = KEY if rng.random() < 0.99 else rng.choice(("", "wrong", "x" * 600, "é"))
        head = [f"{method} {target} HTTP/1.1", "Host: hub", f"X-API-Key: {key}"]
        if rng.random() < 0.03:
            head.append(f"Idempotency-Key: {rng.choice((*ODD_TEXTS[4:6], 'k' * 256, 'k' * 257, 'k1', 'k2'))}")
        if rng.random() < 0.03:
            head.append(rng.choice(OFFERS))
        if rng.random() < 0.03:
            head.append(f"Content-Type: {rng.choice(('text/plain', 'application/json; charset=utf-16', 'x/y'))}")
        if rng.random() < 0.02 and body:
            cut = rng.randrange(len(body) + 1)
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:cut], body[cut:]) if part)
            return (
                "\r\n".join([*head, "Transfer-Encoding: chunked", "", ""]).encode("latin-1", "replace")
                + chunks
                + b"0\r\n\r\n"
            )
        head.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*head, "", ""]).encode("latin-1", "replace") + body

    def _damaged(self, sent: Sent) -> Sent:
        """A good request with its body hurt: the head still tells the truth about its length."""
        rng = self._rng
        head, _, body = sent.raw.partition(b"\r\n\r\n")
        if not body or b"chunked" in head:
            return sent
        hurt = bytearray(body)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(hurt))
            step = rng.randrange(4)
            if step == 0:
                hurt[at] = rng.randrange(256)
            elif step == 1:
                del hurt[at : at + rng.randint(1, 8)]
            elif step == 2:
                hurt[at:at] = rng.choice(
                    (b"\xff", b'"', b"\x00", b"{", b"[" * 2000, b"\\ud800", b"1e999", b"\xed\xa0\x80")
                )
            else:
                hurt[at:at] = hurt[max(0, at - 20) : at]
            if not hurt:
                hurt = bytearray(b"[")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        raw = b"\r\n".join([*lines, b"Content-Length: %d" % len(hurt), b"", b""]) + bytes(hurt)
        return Sent(raw, f"damaged {sent.name}", sent.is_head)

    def _costly(self) -> Sent:
        """A request of which one field, or the whole body, costs much."""
        rng = self._rng
        sent = self._request()
        head, _, body = sent.raw.partition(b"\r\n\r\n")
        hard = _hard(rng)
        try:
            fields = msgspec.json.decode(body)
        except msgspec.DecodeError:
            fields = None
        if isinstance(fields, dict) and fields:
            fields = {name: msgspec.Raw(encoded(value)) for name, value in fields.items()}
            fields[rng.choice(tuple(fields))] = msgspec.Raw(hard)
            hard = b"{" + b",".join(encoded(name) + b":" + bytes(value) for name, value in fields.items()) + b"}"
        if b"POST" not in head[:5]:
            head = head.replace(head.split(b" ")[0], b"POST", 1)
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"content-length", b"transfer"))]
        raw = b"\r\n".join([*lines, b"Content-Length: %d" % len(hard), b"", b""]) + hard
        return Sent(raw, f"costly {sent.name}")

    def _half(self) -> None:
        """A request that stops in the middle and is left open beside the others, as by a client that has died."""
        whole = self._request().raw
        line = socket.create_connection(("127.0.0.1", self._hub.port), timeout=ANSWER_WITHIN_S)
        line.sendall(whole[: self._rng.randrange(len(whole))])
        self._halves.append(line)
        if len(self._halves) > HALVES_MAX:
            self._halves.pop(self._rng.randrange(HALVES_MAX)).close()

    def _garbage(self) -> None:
        """Bytes that are no HTTP, or that stop in the middle, on a connection of their own."""
        rng = self._rng
        roll = rng.random()
        if roll < 0.4:
            raw = rng.choice(HEADS)
        elif roll < 0.7:
            raw = rng.randbytes(rng.randint(1, 3000))
        else:
            whole = self._request().raw
            raw = whole[: rng.randrange(1, len(whole))]
        with socket.create_connection(("127.0.0.1", self._hub.port), timeout=ANSWER_WITHIN_S) as line:
            try:
                line.sendall(raw)
                line.shutdown(socket.SHUT_WR)
                said = line.recv(4096)
            except TimeoutError:
                self.problems.append(f"garbage hangs: {raw[:200]!r}")
                return
            except OSError:
                return
        if said[:9] == b"HTTP/1.1 " and said[9:10] == b"5":
            self.problems.append(f"{said[:200]!r} to garbage {raw[:300]!r}")

    # ---- the wire

    def _exchange(self, sent: Sent) -> tuple[int, bytes] | None:
        if self._line is None:
            self._line = socket.create_connection(("127.0.0.1", self._hub.port), timeout=ANSWER_WITHIN_S)
        self._line.sendall(sent.raw)
        said = b""
        while b"\r\n\r\n" not in said:
            part = self._line.recv(65536)
            if not part:
                raise ValueError("closed before an answer")
            said += part
        head, _, body = said.partition(b"\r\n\r\n")
        lowered = head.lower()
        status = int(head[9:12])
        if b"connection: close" in lowered:
            sent.ends = True
        if sent.is_head or status in (204, 304):
            return status, b""
        if b"content-length:" in lowered:
            length = int(lowered.split(b"content-length:")[1].split(b"\r\n")[0])
            while len(body) < length:
                body += self._more()
            return status, body
        if b"transfer-encoding: chunked" in lowered:
            while not body.endswith(b"0\r\n\r\n"):
                body += self._more()
            return status, b""
        sent.ends = True
        return status, body

    def _more(self) -> bytes:
        assert self._line is not None
        part = self._line.recv(1 << 20)
        if not part:
            raise ValueError("closed in the middle of an answer")
        return part

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def encoded(value: Any) -> bytes:
    """JSON, for every value that Python has: what msgspec refuses is written another way."""
    try:
        return msgspec.json.encode(value)
    except (msgspec.MsgspecError, OverflowError, UnicodeEncodeError, ValueError):
        import json

        return json.dumps(value).encode()
