"""The simulation asks the same endpoints as the wire does, and gets the same refusals."""

from __future__ import annotations

import random

import pytest

from understudy.clock import ManualClock
from understudy.errors import UnderstudyError
from understudy.ids import IdMaker
from understudy.simulation.edge import Edge


@pytest.fixture
def edge():
    clock = ManualClock()
    return Edge(clock, IdMaker(clock, random.Random(1).getrandbits))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/queue", b"not json", 400),
        ("POST", "/api/queue", b'{"content": 1}', 400),
        ("POST", "/api/queue/bad id/renew", b"{}", 400),
        ("GET", "/api/nothing", b"", 404),
        ("PUT", "/api/queue", b"{}", 404),
    ],
)
def test_a_bad_request_is_refused_before_the_batch(edge, method, path, body, status):
    with pytest.raises(UnderstudyError) as refused:
        edge.matched("key", method, path, body)
    reply = edge.reply(None, refused.value)
    assert reply.status == status
    assert reply.body["error"]


def test_a_good_request_becomes_an_operation_or_a_view(edge):
    assert edge.matched("key", "POST", "/api/queue/claim", b"").operation is not None
    assert edge.matched("key", "GET", "/api/tasks/t-1", b"").show is not None
