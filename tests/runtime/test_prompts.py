"""Any prompt reaches the assistant's process byte for byte, through a real pipe; what cannot is refused."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.waiting import eventually
from tests.worker.stubs import KINDS, Stub
from understudy.clock import SystemClock
from understudy.runtime.machine.children import Child
from understudy.worker.executors import Ended, TaskToRun

HUNDRED_KB = "行 \\ tab\t\r\n" * 8_000
ODD = [
    "-",
    "--help",
    "-- -p x",
    "\n\n\tx\n",
    "\\n \\\\ \\u0000",
    "\"'`$(x)",
    "質問です。\u200d",
    "x\u2028y",
    "\ufeffx",
    "x\r\ny",
]
PROMPTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=2_000)


@pytest.fixture(scope="module", params=KINDS)
def stub(request: pytest.FixtureRequest) -> Iterator[Stub]:
    with tempfile.TemporaryDirectory() as folder:
        yield Stub(Path(folder), request.param, "ok")


def arrives(stub: Stub, prompt: str) -> bytes:
    for old in (stub.folder / "calls").glob("*.json"):
        old.unlink()
    executor = stub.executor()
    run_id = str(uuid.uuid4())
    plan, reading = executor.plan(TaskToRun(id="t1", content=prompt), run_id), executor.reading()
    child = Child(run_id, plan, reading, SystemClock(), lambda: None)
    ended = eventually(lambda: isinstance(news := child.look(), Ended) and news, within_s=20)
    assert executor.outcome(ended, reading).success
    return stub.prompts()[0]


@given(prompt=PROMPTS.filter(lambda text: text.strip()))
@example(prompt=HUNDRED_KB)
@settings(max_examples=10)
def test_any_prompt_arrives_as_it_is(stub: Stub, prompt: str) -> None:
    assert arrives(stub, prompt) == prompt.encode()


@pytest.mark.parametrize("prompt", ODD)
def test_an_odd_prompt_arrives_as_it_is(stub: Stub, prompt: str) -> None:
    assert arrives(stub, prompt) == prompt.encode()


@given(before=st.text(max_size=50), after=st.text(max_size=50))
@settings(max_examples=20)
def test_nul_is_refused_clearly(stub: Stub, before: str, after: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        stub.executor().plan(TaskToRun(id="t1", content=f"x{before}\0{after}"), "run-1")
