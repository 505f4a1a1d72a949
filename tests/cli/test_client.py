"""The commands' HTTP client: what may be repeated is repeated, what came back is never taken for something else."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time

import pytest

from understudy.api import health
from understudy.cli import client, daemons, findings, incidents, keys, notices, submit, task_commands, tasks
from understudy.cli.client import HubClient, path_of
from understudy.cli.drill import live
from understudy.cli.exits import AbsentError, ClientError, Exit, RefusedError, RejectedError, UnreachableError
from understudy.cli.submit import enqueue, wait_for_result
from understudy.cli.watch import command as watch
from understudy.runtime.hub import reading

AT = "2026-02-04T14:13:28.213Z"


@contextlib.contextmanager
def hub(*answers):
    """A server that gives one of these after the other, the last one for ever: (status, body) or "cut"."""
    heard = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            heard.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
            given = answers[min(len(heard), len(answers)) - 1]
            if given == "cut":
                self.close_connection = True
                return
            raw = given[1] if isinstance(given[1], bytes) else json.dumps(given[1]).encode()
            self.send_response(given[0])
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    made = HubClient(f"http://127.0.0.1:{server.server_port}/below", "usk_secret", answer_s=2)
    try:
        yield made, heard
    finally:
        made.close()
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_key_is_in_a_header_and_nowhere_else():
    with hub((200, {})) as (one, heard):
        one.get("/api/tasks", q="a b&c", limit=5, status=None)
        one.post("/api/queue", {"content": "ü\ud800"})
    assert heard[0][1] == "/below/api/tasks?q=a+b%26c&limit=5"
    assert all(headers["X-API-Key"] == "usk_secret" for _, _, headers, _ in heard)
    assert "usk_secret" not in heard[0][1] + heard[1][3].decode("utf-8", "replace")


def test_a_hub_that_gives_up_is_heard_before_a_command_gives_up():
    assert watch.ANSWER_S > health.PROBE_MAX_S
    of_a_look_s = max(health.PROBE_MAX_S, reading.LOOK_WITHIN_MS / 1000)
    of_a_search_s = (reading.WAIT_WITHIN_MS + reading.SEARCH_WITHIN_MS) / 1000
    assert of_a_look_s < min(watch.ANSWER_S, findings.ANSWER_S)
    assert max(of_a_look_s, of_a_search_s) < client.ANSWER_S


def test_what_reads_is_tried_again():
    with hub("cut", (503, {"error": "Store unavailable"}), (200, {"a": 1})) as (one, heard):
        assert one.get("/api/queue") == {"a": 1}
        assert len(heard) == 3


def test_the_hub_says_when_to_come_back():
    with hub((503, {"error": "x", "retryAfter": 1}), (200, {})) as (one, _):
        started = time.monotonic()
        one.get("/api/queue")
        assert time.monotonic() - started >= 1


def test_what_may_not_be_repeated_is_sent_once():
    with hub("cut") as (one, heard):
        with pytest.raises(UnreachableError):
            one.post("/api/keys", {"name": "x"})
        assert len(heard) == 1


@pytest.mark.parametrize(
    ("group", "command", "given", "refusal"),
    [
        (daemons, daemons.forget, "mini", (404, {"error": "Daemon not found"})),
        (notices, notices.notices, "n-1", (409, {"error": "Notice is sent", "code": "not_resendable"})),
        (task_commands, task_commands.retry, "t-1", (409, {"error": "Not failed", "code": "not_retryable"})),
        (task_commands, task_commands.move, "t-1", (409, {"error": "Not waiting", "code": "not_waiting"})),
        (keys, keys.rotate, "key-1", (409, {"error": "Key is revoked", "code": "revoked"})),
    ],
)
def test_a_lost_answer_is_not_followed_by_a_refusal_of_what_was_done(monkeypatch, group, command, given, refusal):
    with hub("cut", refusal) as (one, heard):
        monkeypatch.setattr(group, "connect", lambda **_: one)
        words = ["--resend", given] if command is notices.notices else [given]
        with pytest.raises(UnreachableError):
            command.main(words, standalone_mode=False)
        assert len(heard) == 1


def test_a_daemon_of_a_drill_whose_answer_was_lost_is_forgotten():
    with hub("cut", (404, {"error": "Daemon not found"})) as (one, heard):
        live.MadeUp(one).forget()
        assert [method for method, *_ in heard] == ["DELETE", "DELETE"]


def test_a_drill_finds_a_healthy_daemon_wherever_the_list_is_parted():
    parts = [{"daemons": [{"daemonId": "a", "state": "down"}], "next": "a"}]
    parts += [{"daemons": [{"daemonId": "b", "state": "healthy"}]}]
    with hub(*((200, part) for part in parts)) as (one, _):
        assert live._look(live.MadeUp(one))["count"] == 1


def test_a_wait_asks_nothing_more_of_a_hub_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(client, "TRIES", 1)
    monkeypatch.setattr(submit, "TELL_AFTER_MS", 0)
    with hub("cut", (200, {"success": True})) as (one, heard):
        wait_for_result(one, "t-1")
    assert [path for _, path, *_ in heard] == ["/below/api/result/t-1"] * 2


def test_tries_are_bounded():
    with hub((503, {"error": "x"})) as (one, heard):
        with pytest.raises(UnreachableError):
            one.post("/api/queue", {}, repeatable=True)
        assert len(heard) == client.TRIES


def test_a_task_whose_answer_was_lost_is_handed_in_once():
    """The same Idempotency-Key both times, another one for the next task, none where the task has a name."""
    with hub("cut", (201, {"taskId": "t"})) as (one, heard):
        enqueue(one, "x")
        enqueue(one, "x")
        enqueue(one, "x", task_id="mine")
    keys = [headers.get("Idempotency-Key") for _, _, headers, _ in heard]
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]
    assert keys[3] is None


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (400, {"error": "Validation failed", "details": ["id: bad"]}, RejectedError, Exit.FAILED),
        (401, {"error": "Unauthorized"}, RefusedError, Exit.REFUSED),
        (403, {"error": "Forbidden", "code": "scope"}, RefusedError, Exit.REFUSED),
        (404, {"error": "Task not found"}, AbsentError, Exit.NOT_FOUND),
        (409, {"error": "Lease lost", "code": "lease_lost"}, RejectedError, Exit.FAILED),
        (403, b"<html>blocked</html>", RefusedError, Exit.REFUSED),
        (406, b"<html>blocked</html>", RejectedError, Exit.FAILED),
        (507, {"error": "Store full", "code": "store_full"}, RejectedError, Exit.FAILED),
        (200, b"<html>welcome to the hotel</html>", UnreachableError, Exit.UNREACHABLE),
        (404, b"<html>default backend</html>", UnreachableError, Exit.UNREACHABLE),
        (404, {"error": {"code": 404, "message": "no route"}}, UnreachableError, Exit.UNREACHABLE),
        (301, b"", UnreachableError, Exit.UNREACHABLE),
        (308, b'{"error": "use https"}', UnreachableError, Exit.UNREACHABLE),
        (200, b"[]", UnreachableError, Exit.UNREACHABLE),
        (204, b"", UnreachableError, Exit.UNREACHABLE),
    ],
)
def test_every_answer_has_its_error_and_is_not_asked_for_again(status, body, error, code):
    with hub((status, body)) as (one, heard):
        with pytest.raises(error) as raised:
            one.get("/api/queue")
        assert raised.value.exit_code == code
        assert len(heard) == 1
        if status == 400:
            assert "id: bad" in raised.value.message


@pytest.mark.parametrize("status", [429, 500, 502, 503, 520, 530])
def test_what_says_nothing_about_the_request_is_tried_again(status):
    """Cloudflare and proxies answer so while a hub restarts; 429 asks for a pause."""
    with hub((status, b"<html>"), (status, {"error": "x", "retryAfter": 0.1}), (201, {"taskId": "t"})) as (one, heard):
        assert enqueue(one, "x") == {"taskId": "t"}
        assert len(heard) == 3
    with hub((status, b"<html>")) as (one, _), pytest.raises(UnreachableError) as raised:
        one.post("/api/keys", {"name": "x"})
    assert raised.value.exit_code == Exit.UNREACHABLE
    assert raised.value.fields["status"] == status


@pytest.mark.parametrize("status", [429, 500, 520])
def test_a_wait_for_an_answer_survives_a_hub_that_restarts(status, monkeypatch):
    monkeypatch.setattr(client, "TRIES", 1)
    absent = (404, {"error": "Result not found"})
    with hub(absent, (status, b"<html>"), absent, (200, {"success": True, "output": "42"})) as (one, _):
        assert wait_for_result(one, "t")["output"] == "42"


@pytest.mark.parametrize("seen", [(), ((200, {"status": "pending"}), (404, {"error": "Result not found"}))])
def test_a_wait_ends_when_the_hub_no_longer_has_the_task(seen, monkeypatch):
    monkeypatch.setattr(submit, "TELL_AFTER_MS", 0)
    monkeypatch.setattr(submit, "LOOK_EVERY_MS", 0)
    answers = ((404, {"error": "Result not found"}), *seen, (404, {"error": "Task not found"}))
    with hub(*answers) as (one, _), pytest.raises(AbsentError, match="no longer has the task t-1"):
        wait_for_result(one, "t-1", within_ms=30_000)


@pytest.mark.parametrize(
    ("module", "command", "answer"),
    [
        (tasks, tasks.tasks, {"tasks": [{"id": "t-1", "status": "done"}]}),
        (notices, notices.notices, {"notices": [{"id": "n-1", "channel": "c", "createdAt": AT, "cause": "late"}]}),
        (
            incidents,
            incidents.list_,
            {"incidents": [{"id": "i-1", "daemonId": "mini", "state": "down", "openedAt": AT}]},
        ),
    ],
)
def test_a_list_that_is_cut_says_so(module, command, answer, monkeypatch, capsys):
    for more, said in (
        ({"next": "x"}, "The newest 1 are shown; if there are more, a higher --limit shows them.\n"),
        ({}, ""),
    ):
        with hub((200, answer | more)) as (one, _):
            monkeypatch.setattr(module, "connect", lambda one=one: one)
            command.main(["--limit", "1"], standalone_mode=False)
        shown = capsys.readouterr()
        assert "-1 " in shown.out
        assert shown.err == said


def test_a_refusal_by_a_firewall_is_not_called_the_hubs():
    with hub((403, b"<html>blocked</html>")) as (one, _), pytest.raises(RefusedError, match="before the hub"):
        one.post("/api/queue", {"content": "<script>"})


def test_an_endless_answer_is_cut(monkeypatch):
    monkeypatch.setattr(client, "ANSWER_BYTES_MAX", 1000)
    with hub((200, {"x": "y" * 2000})) as (one, _), pytest.raises(ClientError, match="--limit"):
        one.get("/api/tasks")


def test_what_a_hub_says_of_a_refusal_is_cut():
    said = {"error": "e" * 10**5, "details": ["d" * 10**5]}
    for status in (400, 403, 503):
        with hub((status, said)) as (one, _), pytest.raises(ClientError) as raised:
            one.post("/api/queue")
        assert "e" * 100 in raised.value.message
        assert len(raised.value.message) < client.ERROR_CHARS_MAX + 500


def test_an_empty_id_is_nobody_and_never_the_whole_list():
    with pytest.raises(AbsentError):
        path_of("tasks", "")


def test_a_part_of_a_path_cannot_change_the_path():
    assert path_of("tasks", "../keys?x=1#y", "cancel") == "/api/tasks/..%2Fkeys%3Fx%3D1%23y/cancel"


def test_daemons_that_come_in_parts_are_one_list():
    first = {"daemons": [{"daemonId": "a"}], "next": "a/ä"}
    with hub((200, first), (200, {"daemons": [{"daemonId": "b"}]})) as (one, heard):
        assert one.daemons() == [{"daemonId": "a"}, {"daemonId": "b"}]
    assert [path for _, path, *_ in heard] == ["/below/api/daemons", "/below/api/daemons?cursor=a%2F%C3%A4"]


def test_a_hub_that_never_ends_its_list_is_asked_no_more(monkeypatch):
    monkeypatch.setattr(client, "LIST_PARTS_MAX", 3)
    with hub((200, {"daemons": [{"daemonId": "a"}], "next": "a"})) as (one, heard):
        assert len(one.daemons()) == len(heard) == 4
