"""The bridge of docs/cloudflare.md: the old Worker's own JSON is taken as it is, and the lines pass it on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.cloudflare.evicted import Place, on_a_loop
from tests.hub_process import KEY, running_hub
from tests.project.tree import ROOT

DOCUMENTS = ("docs/cloudflare.md", "docs/ja/cloudflare.md")
OLD: dict[str, Any] = {
    "id": "slack_1706745600.123456",
    "type": "message",
    "source": "slack",
    "content": "質問: what is left to do?",
    "metadata": {"channel": "C0123456789", "threadTs": "1706745600.123456", "user_id": {"id": "U1", "name": "ada"}},
    "timestamp": "2026-02-04T14:13:28.213Z",
    "status": "pending",
}


def lines_of(name: str) -> str:
    """The lines that a document gives."""
    (found,) = re.findall(r"```js bridge\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
    return str(found)


@on_a_loop
async def test_the_old_workers_json_is_taken_as_it_is_and_twice_is_once(place: Place) -> None:
    assert (await place.ask("POST", "/api/queue", OLD))[0] == 201
    assert await place.ask("POST", "/api/queue", OLD) == (200, {"success": True, "taskId": OLD["id"], "created": False})
    _, claim = await place.ask("POST", "/api/queue/claim", {"workerId": "daemon_mini_1738591000000"})
    assert claim["taskId"] == OLD["id"]
    assert {name: claim["task"][name] for name in OLD if name != "status"} == {
        name: value for name, value in OLD.items() if name != "status"
    }


@on_a_loop
async def test_another_body_under_the_same_id_is_no_second_task(place: Place) -> None:
    assert (await place.ask("POST", "/api/queue", OLD))[0] == 201
    status, said = await place.ask("POST", "/api/queue", {**OLD, "content": "something else"})
    assert (status, said["code"]) == (422, "idempotency_mismatch")


def test_both_documents_give_the_same_lines() -> None:
    assert len({lines_of(name) for name in DOCUMENTS}) == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="NOT RUN: no node, so nobody sees whether the bridge works")
def test_the_lines_pass_a_task_on_and_a_refusal_is_an_error(tmp_path) -> None:
    script = tmp_path / "bridge.mjs"
    script.write_text(
        f"async function pass(task, env) {{\n{lines_of(DOCUMENTS[0])}}}\n"
        "const [url, key, task] = process.argv.slice(2);\n"
        "const env = { UNDERSTUDY_URL: url, UNDERSTUDY_API_KEY: key };\n"
        "await pass(JSON.parse(task), env);\n"
        "await pass(JSON.parse(task), { ...env, UNDERSTUDY_API_KEY: 'wrong' }).then(\n"
        "  () => process.exit(3), (error) => console.log(error.message));\n"
    )
    with running_hub(tmp_path / "data") as hub:
        command = ["node", str(script), hub.url, KEY, json.dumps(OLD)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stdout) == (0, "understudy: HTTP 401\n"), done.stderr
        assert hub.get(f"/api/queue/{OLD['id']}")["content"] == OLD["content"]
