"""The services behind `claude` and `codex`, on loopback: enough of both to finish a turn, use a tool, or refuse.

What it does is told by words in the prompt: `TOOL <command>` uses the shell first; anything else is answered.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER = "four"


class ModelApi:
    """Both services at one address; `refuses` is an HTTP status and what is said with it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.logins: list[str] = []
        self.refuses: tuple[int, dict[str, Any]] | None = None
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def asked(self, path: str) -> list[dict[str, Any]]:
        """The bodies of all questions to a path."""
        return [body for seen, body in self.seen if seen == path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: ModelApi


def claude_events(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A streamed message of the Messages API."""
    last = [message for message in body["messages"] if message["role"] == "user"][-1]["content"]
    parts = last if isinstance(last, list) else [{"type": "text", "text": last}]
    text = " ".join(part.get("text", "") for part in parts if part.get("type") == "text")
    is_answered = any(part.get("type") == "tool_result" for part in parts)
    tools = [tool["name"] for tool in body.get("tools", [])]
    usage = {"input_tokens": 12, "output_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    begin = {
        "type": "message_start",
        "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": []}
        | {"stop_reason": None, "stop_sequence": None, "usage": usage},
    }
    if "TOOL " in text and not is_answered and "Bash" in tools:
        command = text.split("TOOL ", 1)[1].split("\n")[0].strip()
        block = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}
        given = json.dumps({"command": command, "description": "as asked"})
        delta, stop = {"type": "input_json_delta", "partial_json": given}, "tool_use"
    else:
        block = {"type": "text", "text": ""}
        delta, stop = {"type": "text_delta", "text": ANSWER}, "end_turn"
    return [
        begin,
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]


def codex_events(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A streamed answer of the Responses API."""
    said = [item for item in body["input"] if item.get("type") == "message" and item.get("role") == "user"]
    text = " ".join(part.get("text", "") for part in said[-1]["content"])
    is_answered = body["input"][-1].get("type") in ("function_call_output", "custom_tool_call_output")
    shell = next((tool for tool in body.get("tools", []) if tool.get("name") in _SHELLS), None)
    if "TOOL " in text and not is_answered and shell is not None:
        command = text.split("TOOL ", 1)[1].split("\n")[0].strip()
        given = _SHELLS[shell["name"]](command)
        item = {"type": "function_call", "call_id": "call_1", "name": shell["name"], "arguments": json.dumps(given)}
    else:
        content = [{"type": "output_text", "text": ANSWER, "annotations": []}]
        item = {"type": "message", "id": "m_1", "role": "assistant", "status": "completed", "content": content}
    usage = {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    return [
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}},
    ]


_SHELLS = {
    "exec_command": lambda command: {"cmd": command, "yield_time_ms": 60_000},
    "shell_command": lambda command: {"command": command},
    "shell": lambda command: {"command": ["bash", "-c", command]},
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        api = self.server.api
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw)
        except ValueError:
            body = {}
        path = self.path.split("?")[0]
        api.seen.append((path, body))
        if path not in ("/v1/messages", "/v1/responses"):
            return self._json(200, {"input_tokens": 12} if path.endswith("count_tokens") else {})
        api.logins.append(self.headers.get("Authorization") or self.headers.get("x-api-key") or "")
        if api.refuses is not None:
            return self._json(*api.refuses)
        return self._stream(claude_events(body) if path == "/v1/messages" else codex_events(body))

    def do_GET(self) -> None:
        self._json(200, {"data": [], "models": []})

    def do_HEAD(self) -> None:
        self._json(200, {})

    def _stream(self, events: list[dict[str, Any]]) -> None:
        content = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
        self._send(200, "text/event-stream", content)

    def _json(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Quiet."""
