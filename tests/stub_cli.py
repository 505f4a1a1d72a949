"""A stub of `claude` and `codex`: speaks their JSON events, and misbehaves on demand.

It is copied (with an interpreter line) to a file called `claude` or `codex`; which of the two it is, is told by
`exec` among its arguments. What it is to do stands in `modes` beside it, one word a call (the last one stays).
What it was given (argv, environment, stdin, cwd) goes to `calls/<n>.json` there.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
IS_CODEX = Path(__file__).name == "codex"
SLEEP = "import time; time.sleep(120)"


def say(**event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def note_call(stdin: bytes) -> int:
    folder = HERE / "calls"
    folder.mkdir(exist_ok=True)
    n = len(list(folder.glob("*.json")))
    call = {
        "argv": sys.argv[1:],
        "env": dict(os.environ),
        "stdin": base64.b64encode(stdin).decode(),
        "cwd": str(Path.cwd()),
        "pid": os.getpid(),
        "ps": Path(f"/proc/{os.getpid()}/cmdline").read_bytes().decode(errors="replace").split("\0")
        if sys.platform == "linux"
        else [],
    }
    whole = folder / f"{n}.tmp"
    whole.write_text(json.dumps(call))
    whole.rename(folder / f"{n}.json")
    return n


def mode_of(n: int) -> str:
    path = HERE / "modes"
    words = path.read_text().split() if path.exists() else ["ok"]
    return words[min(n, len(words) - 1)]


def session() -> str:
    argv = sys.argv
    for flag in ("--resume", "--session-id", "resume"):
        if flag in argv:
            return argv[argv.index(flag) + 1]
    return "thread-1"


def is_resumed() -> bool:
    return "--resume" in sys.argv or "resume" in sys.argv


def begin():
    if IS_CODEX:
        say(type="thread.started", thread_id=session())
        say(type="turn.started")
    else:
        say(type="system", subtype="init", session_id=session(), model="claude-haiku-4-5", tools=["Bash"])


def text(words: str):
    if IS_CODEX:
        say(type="item.completed", item={"id": "i1", "type": "agent_message", "text": words})
    else:
        content = [{"type": "text", "text": words}]
        say(type="assistant", message={"id": "m1", "content": content, "usage": {"input_tokens": 12}})


def tool(command: str):
    if IS_CODEX:
        item = {"id": "i0", "type": "command_execution", "command": command, "status": "in_progress"}
        say(type="item.started", item=item)
        say(type="item.completed", item={**item, "status": "completed", "exit_code": 0, "aggregated_output": ""})
    else:
        content = [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": command}}]
        say(type="assistant", message={"id": "m0", "content": content, "usage": {"input_tokens": 12}})


def end(words="answer", code=0, **result):
    if IS_CODEX:
        counted = 11 * (1 + len(list((HERE / "calls").glob("*.json"))))
        say(type="turn.completed", usage={"input_tokens": counted, "cached_input_tokens": 0, "output_tokens": counted})
    else:
        usage = {"input_tokens": 12, "output_tokens": 5, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
        whole = {"type": "result", "subtype": "success", "is_error": False, "result": words, "session_id": session()}
        whole |= {"total_cost_usd": 0.000148, "usage": usage, "num_turns": 1, "permission_denials": []}
        say(**{**whole, "terminal_reason": "completed", **result})
    sys.exit(code)


def api_error(status: int, words: str, **more):
    begin()
    if IS_CODEX:
        say(type="error", message=f"Reconnecting... 1/1: {status}")
        say(type="turn.failed", error={"message": words})
        sys.exit(1)
    end(words, 1, is_error=True, api_error_status=status, terminal_reason="api_error", **more)


def hang():
    while True:
        time.sleep(60)


def fail(words: str, code: int = 1):
    sys.stderr.write(words + "\n")
    sys.exit(code)


def spawn(*, is_own_session: bool) -> int:
    return subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=is_own_session).pid


def note_pids(*pids: int):
    (HERE / "pids.tmp").write_text(" ".join(map(str, pids)))
    (HERE / "pids.tmp").rename(HERE / "pids")


def slow_words():
    """Waits for a file, so that a test decides how long it takes."""
    begin()
    tool("make all")
    while not (HERE / "go").exists():
        time.sleep(0.02)
    text("answer")
    end()


def run(mode: str, prompt: bytes):  # noqa: C901, PLR0912, PLR0915 - one branch a mode
    match mode:
        case "ok":
            begin()
            text("answer")
            end()
        case "echo":
            begin()
            words = prompt.decode("utf-8", "surrogateescape")
            text(words)
            end(words)
        case "tool_then_ok":
            begin()
            tool("git status")
            text("answer")
            end()
        case "no_login":
            if IS_CODEX:
                api_error(401, "unexpected status 401 Unauthorized: Missing bearer")
            begin()
            end("Not logged in · Please run /login", 1, is_error=True)
        case "credit":
            api_error(400, "Credit balance is too low")
        case "401":
            api_error(401, "OAuth token has expired · Please run /login")
        case "401_after_tool":
            begin()
            tool("rm -r build")
            api_error(401, "unexpected status 401 Unauthorized")
        case "429":
            api_error(429, "exceeded retry limit, last status: 429 Too Many Requests")
        case "500":
            api_error(500, "Internal server error")
        case "529":
            api_error(529, "Overloaded")
        case "refusal":
            api_error(0, "the model refused", stop_reason="refusal")
        case "max_tokens":
            api_error(0, "exceeded the output token maximum", stop_reason="max_tokens")
        case "budget":
            begin()
            end(
                None,
                1,
                subtype="error_max_budget_usd",
                is_error=True,
                terminal_reason="budget_exhausted",
                errors=["Reached maximum budget"],
            )
        case "denied":
            begin()
            if IS_CODEX:
                say(
                    type="item.completed",
                    item={"id": "i1", "type": "command_execution", "command": "rm x", "status": "declined"},
                )
                text("I could not do it")
                end()
            text("I could not do it")
            end("I could not do it", permission_denials=[{"tool_name": "Write", "tool_input": {"file_path": "/etc/x"}}])
        case "deferred":
            begin()
            end(terminal_reason="tool_deferred", deferred_tool_use={"id": "t", "name": "Bash", "input": {}})
        case "aborted":
            begin()
            end(None, 0, is_error=True, subtype="error_during_execution", terminal_reason="aborted_tools")
        case "nothing":
            sys.exit(0)
        case "begun_then_nothing":
            begin()
            sys.exit(0)
        case "sigint":
            begin()
            signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
            os.kill(os.getpid(), signal.SIGINT)
            hang()
        case "143":
            sys.exit(143)
        case "unknown_session":
            fail(f"No conversation found with session ID: {session()}")
        case "no_conversation":  # as 2.1.197 says it in stream-json
            errors = [f"No conversation found with session ID: {session()}"]
            say(type="result", subtype="error_during_execution", is_error=True, session_id=session(), errors=errors)
            fail(errors[0])
        case "no_rollout":
            fail(f"Error: thread/resume failed: no rollout found for thread id {session()}")
        case "id_in_use":
            fail(f"Error: Session ID {session()} is already in use.")
        case "dies_on_resume":
            if is_resumed():
                fail(f"No conversation found with session ID: {session()}")
            begin()
            text("answer")
            end()
        case "bad_flag":
            fail("error: unknown option '--wrong'", 2 if IS_CODEX else 1)
        case "untrusted":
            fail("Not inside a trusted directory and --skip-git-repo-check was not specified.")
        case "crash":
            begin()
            fail("TypeError: undefined is not a function", 7)
        case "hang":
            begin()
            hang()
        case "slow":
            slow_words()
        case "slow_start":
            hang()
        case "ignores_term":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            begin()
            note_pids(os.getpid(), spawn(is_own_session=True))
            hang()
        case "own_session":
            begin()
            tool("sleep 120")
            note_pids(os.getpid(), spawn(is_own_session=True), spawn(is_own_session=False))
            hang()
        case "huge":
            begin()
            for _ in range(64):
                sys.stdout.write("x" * (1 << 20) + "\n")
            text("after the flood")
            end("answer")
        case "huge_line":
            begin()
            for _ in range(12):
                sys.stdout.write("y" * (1 << 20))
            sys.stdout.write("\n")
            text("answer")
            end()
        case "long_answer":
            begin()
            end("a" * (3 << 20) + "z")
        case "bad_utf8":
            begin()
            sys.stdout.flush()
            sys.stdout.buffer.write(b"\xff\xfe not json \xc3\n")
            sys.stdout.buffer.write(b'{"type":"assistant","message":{"content":[{"type":"text","text":"a\xffb"}]}}\n')
            sys.stdout.buffer.write(b'{"type":"item.completed","item":{"type":"agent_message","text":"a\xffb"}}\n')
            sys.stdout.buffer.flush()
            end("answer")
        case _:
            fail(f"no mode {mode}", 99)


def auth_status() -> int:
    """`claude auth status`, `codex login status`."""
    word = (HERE / "auth").read_text().strip() if (HERE / "auth").exists() else "ok"
    if IS_CODEX:
        sys.stderr.write("Logged in using an API key\n" if word == "ok" else "Not logged in\n")
    else:
        sys.stdout.write(json.dumps({"loggedIn": word == "ok", "authMethod": "none"}) + "\n")
        sys.stderr.write("the keychain is locked\n" if word == "keychain_locked" else "")
    return 0 if word == "ok" else 1


if __name__ == "__main__":
    if sys.argv[1:] in (["auth", "status"], ["login", "status"]):
        sys.exit(auth_status())
    given = sys.stdin.buffer.read()
    run(mode_of(note_call(given)), given)
