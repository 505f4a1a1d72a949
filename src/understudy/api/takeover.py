"""The endpoints about takeover."""

from __future__ import annotations

from typing import Any, Literal

from understudy.api.endpoint import Endpoint, Request
from understudy.hub.operation import Operation
from understudy.hub.takeover import SwitchTakeover
from understudy.hub.takeover_view import takeover_answer
from understudy.wire.answers.base import Done
from understudy.wire.answers.takeover import TakeoverAnswer


def _steer(verb: Literal["pause", "resume"]) -> Any:
    def make(request: Request) -> Operation:
        return SwitchTakeover(verb, request.caller.key_id)

    return make


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET", "/api/takeover", "The state of takeover and its spending", ("read",),
        show=lambda _, view: takeover_answer(view), answer=(TakeoverAnswer,),
    ),
    Endpoint("POST", "/api/takeover/pause", "Make no more calls", ("admin",), make=_steer("pause"), answer=(Done,)),
    Endpoint(
        "POST", "/api/takeover/resume", "Make calls again; closes the circuit", ("admin",), make=_steer("resume"),
        answer=(Done,),
    ),
)  # fmt: skip
